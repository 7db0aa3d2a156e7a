"""A capture without what identifies its host (``analyze convert --redact``, docs/sharing.md).

Only what is known to be harmless stays: the bytes of registers in
:mod:`analyzer.converting.redaction_registers`, the kernel messages of
:mod:`analyzer.converting.redaction_log`, and of all other notes the texts that are listed here; nothing is
searched for names. The verdict is checked to stay the same, else nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from analyzer import analysis
from analyzer.capture import LACKING, OUT_OF_ORDER, PlacedUse, PreservedDump, SourceFile
from analyzer.converting import proof
from analyzer.converting.native_records import CLOCKS
from analyzer.converting.redaction_log import REMOVED, Messages, phrases, plain_release
from analyzer.converting.redaction_registers import shown_values
from analyzer.converting.redaction_uses import UseNames
from analyzer.errors import AritraceError
from analyzer.kernel_logs import log_lines
from analyzer.preservation import flb
from analyzer.readers import formats
from analyzer.verdicts import former_uses
from schemas.kho_block import CAPACITY, KhoBlockHeader
from schemas.pci_ser import PciDevSerD3, PciSerH6, PciSerH7, PciSerH8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.capture import Boundary, Capture, Event, LogLine, Notes, Problem
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Fields of a result whose words come from the log, the host or the command line.
_WORDS: Final = frozenset({"note", "cmdline", "text", "was"})
#: What a redacted file is called in its own notes.
_NAME: Final = "capture"
_UNKNOWN: Final = "unknown"
#: Names of formats, as readers give them.
_FORMATS: Final = frozenset(
    value.name for value in vars(formats).values() if isinstance(value, formats.Format)
)  # fmt: skip
#: Programs that make captures, with numbers as their versions.
_TOOL: Final = re.compile(
    r"aritrace traces/capture/record\.py|(?:aritrace|trace-cmd)(?: v?\d{1,3}(?:\.\d{1,3}){0,3})?"
    r"(?: collect(?: --before| --after)?)?"
)
_EVENT_KINDS: Final = frozenset({"aer", "dpc", "hotplug", "link"})
_PROBLEM_KINDS: Final = frozenset(
    {
        "changed", "clock", "damaged", "dropped", "duplicate", "foreign", "interface", "lost-completion",
        "no-boundary", "no-bus", "no-bytes", "not-followed", "nullified", "poisoned", "short", "too-large",
        "truncated", "unknown-chunk", "unsupported",
        OUT_OF_ORDER, *LACKING,  # answers depend on these
    }
)  # fmt: skip
_OTHER: Final = "other"
#: Page size where a set has no blocks that show it.
_PAGE = 4096
#: Slots of an array at least: with fewer, an empty one would look like a header of the later layouts.
_SLOTS = 64


@dataclass(frozen=True)
class Redacted:
    """A redacted capture.

    Attributes:
        capture: what stays.
        values: accesses of whose value at least a part was replaced by 0.
        log_lines: lines of the kernel log that were left out.
    """

    capture: Capture
    values: int
    log_lines: int


def redact(capture: Capture) -> Redacted:
    """Remove everything from a capture that is not known to be harmless.

    Args:
        capture: with everything that is to be in the new file.

    Raises:
        AritraceError: the verdict would not stay the same, or a raw preserved set cannot be decoded.
    """
    wanted = _plain(proof.answer(capture, ignore=_WORDS).results)
    table, values, uses = _harmless(capture)
    for keep_times in (False, True):
        scrubber = Scrubber()
        notes = scrubber.notes(replace(capture.notes, uses=uses), _NAME, keep_times=keep_times)
        files = [SourceFile(_NAME, known_format(file.format) or _UNKNOWN, "") for file in capture.files]
        result = replace(
            capture,
            path=_NAME,
            files=files,
            format=known_format(capture.format) or _UNKNOWN,
            accesses=table,
            notes=notes,
            joined=(),
        )
        if _plain(proof.answer(result, ignore=_WORDS).results) == wanted:
            return Redacted(result, values, scrubber.left_out)
    raise AritraceError(
        "without the parts that are not known to be harmless this capture does not give the same verdict;"
        " nothing was written",
        path=capture.path,
        advice="convert it without --redact, or with a kernel log that you made anonymous yourself (--dmesg)",
    )


def _plain(value: Any) -> Any:
    """Results with every kernel release as a redacted capture has it."""
    if isinstance(value, dict):
        return {
            key: plain_release(item) if key == "release" and item is not None else _plain(item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _harmless(capture: Capture) -> tuple[pl.DataFrame, int, list[PlacedUse]]:
    """The access table with harmless values only, the number of rows that this changed, and every use.

    What the kernel log says of uses counts too: its lines do not stay.
    """
    study = analysis.study(replace(capture, path="-", joined=()))
    index = study.index
    value = shown_values(index, [topology.boot for topology in study.topologies])
    # Bits beyond the width of an access are not part of it, and are removed too.
    changed = value.astype(np.uint32) != capture.accesses["value"].to_numpy()
    series = pl.Series("value", value.astype(np.uint32))
    uses = [
        PlacedUse(key, int(index.seq[topology.boot.first]), use)
        for topology in study.topologies
        for key, use in former_uses.of_boot(
            topology.boot.index, index, study.logs, capture.notes.uses
        ).items()
    ]
    return capture.accesses.with_columns(series), int(changed.sum()), uses


def known_format(name: str | None) -> str | None:
    """Return the name of a format, or of several that were joined, if it is one; else None."""
    return name if name is not None and _FORMATS.issuperset(name.split("+")) else None


class Scrubber:
    """Removes everything from the notes of a capture that is not known to be harmless.

    Attributes:
        left_out: log lines that were left out.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._messages = Messages()
        self._uses = UseNames()

    def notes(self, notes: Notes, name: str, *, keep_times: bool = False) -> Notes:
        """Return the notes of a capture without names.

        Args:
            notes: of the capture.
            name: replaces the paths of its files.
            keep_times: keep an empty line with its time for each log message that is left out; dumps of a log
                are recognised by them.

        Raises:
            AritraceError: a raw preserved set cannot be decoded.
        """
        return replace(
            notes,
            path=name,
            host=None,
            tool=notes.tool if notes.tool is not None and _TOOL.fullmatch(notes.tool) else None,
            problems=[_problem(problem, name) for problem in notes.problems],
            boundaries=[_boundary(mark) for mark in notes.boundaries],
            log=[line for given in notes.log for line in self._log_line(given, keep_times=keep_times)],
            preserved=[rebuilt(dump) for dump in notes.preserved],
            events=[_event(event) for event in notes.events],
            uses=self._uses.harmless(notes.uses),
            clock=notes.clock if notes.clock in CLOCKS else None,
            created_ns=None,
            releases=list(dict.fromkeys(map(plain_release, notes.releases))),
            source_format=known_format(notes.source_format),
        )

    def _log_line(self, line: LogLine, *, keep_times: bool) -> Iterator[LogLine]:
        """The messages of a line that are used, each as a line of its own."""
        found = False
        for message in log_lines.messages(line.text.encode("utf-8", "replace")):
            text = self._messages.message(message.text)
            if text is not None:
                found = True

                yield replace(line, text=_timed(message, text))
            elif keep_times and message.time_us is not None:
                found = True
                yield replace(line, text=_timed(message, REMOVED))
        self.left_out += not found


def _problem(problem: Problem, name: str) -> Problem:
    kind = problem.kind if problem.kind in _PROBLEM_KINDS else _OTHER
    return replace(problem, kind=kind, file=name, message=REMOVED)


def _boundary(mark: Boundary) -> Boundary:
    return mark if mark.release is None else replace(mark, release=plain_release(mark.release))


def _event(event: Event) -> Event:
    kind = event.kind if event.kind in _EVENT_KINDS else _OTHER
    return replace(event, kind=kind, text=phrases(event.text) or REMOVED)


def _timed(message: KernelMessage, text: str) -> str:
    if message.time_us is None:
        return text
    return f"[{message.time_us // 1_000_000:5}.{message.time_us % 1_000_000:06}] {text}"


def rebuilt(dump: PreservedDump) -> PreservedDump:
    """Return a dump of the same layout and version with the same entries.

    Unused slots and what follows the entries in a block are 0, and the physical addresses of the blocks are
    those of pages 1, 2, ...

    Raises:
        AritraceError: the dump cannot be decoded.
    """
    found = flb.decode(dump.data, dump.name)
    entries = [
        PciDevSerD3.build({"domain": key >> 16, "bdf": key & 0xFFFF, "refcount": count})
        for key, count in found.entries
    ]
    if found.layout == "H6":
        slots = max(len(entries), _SLOTS)
        header = PciSerH6.build({"max_nr_devices": slots, "nr_devices": len(entries)})
        data = (header + b"".join(entries)).ljust(PciSerH6.sizeof() + slots * PciDevSerD3.sizeof(), b"\0")
        return PreservedDump(data, dump.name, dump.kexec)
    page = found.page_size or _PAGE
    fields = {"nr_devices": len(entries), "devices": page if entries else 0}
    if found.layout == "H7":
        header = PciSerH7.build(fields)
    else:
        header = PciSerH8.build({"version": found.version, **fields})
    return PreservedDump(header + b"".join(_blocks(entries, page)), dump.name, dump.kexec)


def _blocks(entries: Sequence[bytes], page: int) -> list[bytes]:
    room = CAPACITY[page]
    blocks = [entries[at : at + room] for at in range(0, len(entries), room)]
    return [
        (
            KhoBlockHeader.build(
                {"next": page * (number + 1) if number < len(blocks) else 0, "count": len(block)}
            )
            + b"".join(block)
        ).ljust(page, b"\0")
        for number, block in enumerate(blocks, 1)
    ]
