"""Read the text of ``lspci -vv`` or ``-vvv`` (also ``-v``), with ``-D``, ``-n`` or ``-nn`` or without.

It shows single bits of registers: each dword that it shows something of becomes one read, with a mask of the
bits that are known (:data:`analyzer.capture.accesses.KNOWN`). The dump of ``-xxxx`` shows all of them; what
the text shows is the same. It never shows

* bit 7 of the header type. It is known to be set where the kernel found functions 1 to 7 of a device without
  ARI: it probes them then only if function 0 says so (Linux 7.3 next_fn);
* vendor and device ID, without ``-n`` or ``-nn``; those of a virtual function are the kernel's, its register
  reads all ones (PCIe 9.3.4.1.1);
* bits that have no word; ARI Forwarding of other ports than root ports and switch downstream ports: in a
  switch upstream port it is 0 (PCIe 7.5.3.15).

A line that is missing leaves no hole as a row of a dump does. What shows it all the same (lines of a register
below the title of another capability, a second header) makes what follows unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.capture import LACKS_FUNCTIONS, accesses
from analyzer.errors import LimitExceededError
from analyzer.plurals import count, counted
from analyzer.readers.line_cleaning import DUMP
from analyzer.readers.snapshot import lspci_lines
from analyzer.readers.snapshot.config_bytes import MAX_FUNCTIONS, NO_CAPABILITIES, NO_EXTENDED
from analyzer.readers.snapshot.lspci_function import FunctionText
from analyzer.readers.tallies import Count
from analyzer.readers.text_blocks import TextBlocks
from schemas.registers import REGISTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK: Final = 1 << 20
_FRAME_ROWS: Final = 1 << 17
#: Versions of extended capabilities have four bits.
_NO_VERSION: Final = 16
#: Lines of one register: more than any has.
_MOST_LINES: Final = 32
_RUN_AS_ROOT: Final = "run lspci -D -vvv or lspci -D -xxxx as root"

_DEVICE: Final = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-9a-fA-F]) (.*)")
_CAPABILITY: Final = re.compile(r"Capabilities: \[([0-9a-f]{2,3})(?: v(\d{1,2}))?\] (.*)")
_BROKEN: Final = re.compile(
    r"Capabilities: (?:\[[0-9a-f]{2,3}(?: v\d{1,2})?\] )?(<[a-z ]*(?:denied|unreadable|looped|broken)>)"
)
_ODD_HEADER: Final = re.compile(r"!!! (?:Unknown|Invalid class [0-9a-f]{4} for) header type ([0-9a-f]{2})\b")
_LABEL: Final = re.compile(r"([A-Z][A-Za-z0-9]*):(?=\s|$)")
#: Lines that lspci prints after the capabilities: what stands behind them is whole.
_KERNEL: Final = ("Kernel driver in use: ", "Kernel modules: ")
#: How a line of a header begins that stands there once.
_ONCE: Final = re.compile(r"Control: I/O|Status: Cap|Bus: primary=|BridgeCtl: |Subsystem: |Flags: (?!PMEClk)")


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield what the text shows as dword reads, in frames of ``accesses.READER_SCHEMA`` and ``known``.

    ``time_ns`` is null; ``where`` is the start of the line that shows the first of the dword's bits.

    Raises:
        LimitExceededError: more functions than any host has.
    """
    del options  # the format says everything itself
    text = _TextReader(notes)
    blocks = TextBlocks(stream, notes, DUMP, lambda line: line.decode("latin-1").lstrip().startswith(_KERNEL))
    for block, base in blocks.read(_BLOCK):
        where = base
        for line in block.removesuffix(b"\n").split(b"\n"):
            text.line(line.decode("latin-1").rstrip(), where)
            where += len(line) + 1
    yield from text.finish(cut=blocks.cut)


class _TextReader:
    """The functions of a text, in its order."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._functions: dict[int, FunctionText] = {}
        self._function: FunctionText | None = None
        # The register whose lines these are: label and place of the first, their text.
        self._label: tuple[str, int] | None = None
        self._text: list[str] = []
        self._ownerless = 0
        self._left_out = Count()  # functions whose address does not exist
        self._repeated = 0
        self._ends_whole = True

    def line(self, line: str, where: int) -> None:
        """Take the next line."""
        device = _DEVICE.match(line)
        words = line.strip()
        if device is not None:
            self._end()
            self._open(device, where)
        elif not words:
            self._end(whole=True)
        elif self._function is not None:
            self._of_function(self._function, words, where)
        elif _ONCE.match(words) or _CAPABILITY.match(words) or _is_owned(words):
            self._ownerless += 1

    def _open(self, device: re.Match[str], where: int) -> None:
        domain, bus, slot, function, rest = device.groups()
        if int(slot, 16) > 0x1F or function not in "01234567":
            self._left_out.add(1, where)
            return
        key = bdf.key(int(domain or "0", 16), int(bus, 16), int(slot, 16) << 3 | int(function))
        if key in self._functions:
            self._tell_repeated(key, where)
        elif len(self._functions) == MAX_FUNCTIONS:
            raise LimitExceededError(
                f"expected at most {MAX_FUNCTIONS} functions in a snapshot, found more", path=self._notes.path
            )
        self._function = self._functions[key] = FunctionText(key, rest, where)

    def _tell_repeated(self, key: int, where: int) -> None:
        self._repeated += 1
        if self._repeated == 1:
            self._notes.problem(
                "repeated",
                f"{bdf.text(key)} is shown twice, and others may be; the last one counts; if these are two"
                " snapshots, make two files of them and name both with --join",
                where,
            )

    def _of_function(self, function: FunctionText, words: str, where: int) -> None:
        """Take a line below the first of a function."""
        odd = _ODD_HEADER.match(words)
        broken = _BROKEN.match(words)
        title = _CAPABILITY.match(words)
        if words.startswith(_KERNEL):
            self._flush()
            function.whole = True
        elif broken is not None:
            self._flush()
            function.broken_list(broken[1])
        elif title is not None:
            self._flush()
            version = int(title[2] or _NO_VERSION)
            known = version if version < _NO_VERSION else None
            function.capability(int(title[1], 16), title[3], known, where)
        elif odd is not None:
            function.odd_header(int(odd[1], 16) & 0x7F)
        elif function.current is not None and _ONCE.match(words):
            self._flush()
            function.second_header()
        else:
            self._of_register(function, words, where)

    def _of_register(self, function: FunctionText, words: str, where: int) -> None:
        """Take a line of a register, or one that goes on with it."""
        label = "Secondary status" if words.startswith("Secondary status:") else None
        found = _LABEL.match(words)
        if found is not None:
            label = found[1]
        inside = label in lspci_lines.INSIDE and function.current is not None
        if label is not None and not inside:
            self._flush()
            if function.owned(label):
                self._label = label, where
        if function.current is None:
            function.header_line(words, where)
        if self._label is not None and len(self._text) < _MOST_LINES:
            self._text.append(words)

    def _flush(self) -> None:
        """Decode the lines of the register that end here."""
        begun, self._label = self._label, None
        text, self._text = " ".join(self._text), []
        function = self._function
        if begun is None or function is None:
            return
        label, where = begun
        if function.current is not None:
            function.lines(label, text, where)
        elif label in lspci_lines.HEADER:
            base, offset = lspci_lines.HEADER[label]
            function.put(lspci_lines.of_register(REGISTERS[base][offset], text), where)

    def _end(self, *, whole: bool = False) -> None:
        """End the function: ``whole`` where an empty line says so."""
        function = self._function
        if function is None:
            return
        self._flush()
        function.whole = function.whole or whole
        self._ends_whole = function.whole or not function.detailed
        self._function = None

    def finish(self, *, cut: bool) -> Iterator[pl.DataFrame]:
        """Yield the reads of all functions; ``cut``: the last line was left out."""
        self._end()
        if cut or not self._ends_whole:
            message = (
                "this text ends within a device (lspci ends each with an empty line): what follows is missing"
            )
            self._notes.problem(LACKS_FUNCTIONS, message)
        functions = list(self._functions.values())
        shown = any(function.has_extended for function in functions)
        for function in functions:
            function.close(extended_is_shown=shown)
        self._mark_virtual(functions)
        self._mark_multifunction()
        self._report(functions, extended=shown)
        parts: list[tuple[int, NDArray[np.int64], bool]] = []
        rows = 0
        for function in functions:
            parts.append((function.function, function.reads(), function.silent))
            rows += parts[-1][1].shape[1]
            if rows >= _FRAME_ROWS:
                yield _frame(parts)
                parts, rows = [], 0
        if parts:
            yield _frame(parts)

    def _mark_virtual(self, functions: list[FunctionText]) -> None:
        """Note which functions are virtual ones, by the registers of their physical functions."""
        keys = np.array(sorted(self._functions), np.int64)
        for physical in functions:
            places = physical.virtual_functions()
            if places is None:
                continue
            count, offset, stride = places
            numbers, rest = np.divmod(keys - physical.function - offset, max(stride, 1))
            within = (rest == 0) & (numbers >= 0) & (numbers < (count if stride else min(count, 1)))
            for key in keys[within & (keys >> 16 == physical.function >> 16)].tolist():
                if key != physical.function:
                    self._functions[key].set_virtual()

    def _mark_multifunction(self) -> None:
        """Note the devices of which the kernel found several functions without ARI."""
        for key, function in self._functions.items():
            first = self._functions.get(key & ~7)
            if not key & 7 or first is None or first.silent or function.is_virtual:
                continue
            without_ari = not key >> 8 & 0xFF or first.has_ari is False  # a root bus has no bridge to forward
            if without_ari and function.is_no_virtual_function:
                first.set_multifunction()

    def _report(self, functions: list[FunctionText], *, extended: bool) -> None:
        """Say what the text lacks."""
        notes = self._notes
        message = "{} [line names a device|lines name devices] whose address does not exist"
        self._left_out.report(notes, "damaged", message, loses=False)
        message = "{} [function|functions] of this text [is|are] left out"
        self._left_out.report(notes, LACKS_FUNCTIONS, message, loses=False)
        if self._ownerless:
            message = counted(
                "{} [line is|lines are] left out: the line with the function is missing", self._ownerless
            )
            notes.problem(LACKS_FUNCTIONS, message)
        lacking = [function for function in functions if function.lacking]
        if lacking:
            notes.missing_dwords += sum(function.lacking for function in lacking)
            names = ", ".join(bdf.text(function.function) for function in lacking[:4])
            functions_lacking = count(len(lacking), "function")
            message = f"lines are missing in {functions_lacking} ({names}): what follows them is not used"
            notes.problem("damaged", message, lacking[0].where)
            notes.problem(LACKS_FUNCTIONS, "functions may be missing where lines are")
        answering = [function for function in functions if not function.silent]
        denied = sum(function.denied for function in answering)
        plain = sum(not function.detailed for function in answering)
        terse = sum(function.terse for function in answering)
        if denied:
            shown = counted("{} [function shows|functions show] no capabilities", denied)
            message = f"{shown} (access denied): {NO_CAPABILITIES}"
            notes.problem("short", f"{message}; {_RUN_AS_ROOT}")
        elif plain:
            message = (
                f"without details (no -v): {plain} of {count(len(answering), 'function')}: {NO_CAPABILITIES}"
            )
            notes.problem("short", f"{message}; {_RUN_AS_ROOT}")
        elif terse:
            shown = counted("{} [function is|functions are] shown without registers", terse)
            message = f"{shown} (lspci -v): ARI Forwarding is unknown"
            notes.problem("short", f"{message}; {_RUN_AS_ROOT}")
        elif answering and not extended:
            notes.problem("short", f"no extended capability is shown: {NO_EXTENDED}; {_RUN_AS_ROOT}")


def _is_owned(words: str) -> bool:
    """Whether a line begins with the label of a register of a capability."""
    label = _LABEL.match(words)
    return label is not None and label[1] in lspci_lines.OWNERS


def _frame(parts: list[tuple[int, NDArray[np.int64], bool]]) -> pl.DataFrame:
    """The reads of several functions: key, reads, whether nothing answered."""
    lengths = [reads.shape[1] for _, reads, _ in parts]
    key = np.repeat([function for function, _, _ in parts], lengths)
    offset, value, known, where = np.concatenate([reads for _, reads, _ in parts], axis=1)
    rows = len(key)
    return accesses.from_columns(
        {
            **accesses.address_columns(key),
            "offset": offset,
            "width": np.full(rows, 4),
            "op": np.full(rows, accesses.READ),
            "value": value,
            "where": where,
            "absent": np.repeat([silent for _, _, silent in parts], lengths),
            accesses.KNOWN: known,
        },
        rows,
    )
