"""Read the configuration spaces that a kernel started with ``pci=earlydump`` prints into its log.

Source: Linux 4.20 to 7.3 ``early_dump_pci_device`` (drivers/pci/probe.c): when a function is set up, before
anything is written to it, ``pci DDDD:BB:DD.F: config space:`` and 16 rows ``00000000: 86 80 ...`` of its
first 256 bytes, each with whatever the log puts in front. Before 4.20 (``arch/x86/pci/early.c``) there is no
colon after the address, and rows begin with ``  00: 86 80``. A driver that dumps a function in the newer form
is read like the kernel. The log itself is kept too: it is the log of that kernel.

A console may hold several kernels, and a kernel's log a second time (``dmesg`` in a shell). Which is which is
for :mod:`analyzer.kernel_logs.kernel_log` to say; a dump repeated within the life of one kernel is read once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from analyzer import bdf
from analyzer.capture import LACKS_FUNCTIONS, Boundary, LogLine
from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import kernel_log, log_lines
from analyzer.plurals import count, counted
from analyzer.readers import text_blocks
from analyzer.readers.snapshot.config_bytes import NO_EXTENDED, ConfigBytes, Reads
from schemas.config_header import CONFIG_SIZE, EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK: Final = 1 << 20
#: Limits of the log that is kept, far above what kernels print; those of the native format.
MAX_LINES: Final = 1_000_000
MAX_BYTES: Final = 64 << 20

_DEVICE = re.compile(
    rb"([\w-]{1,40}) ([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])(:?) config space:\s*$",
    re.IGNORECASE,
)
#: Address of 8 digits; before Linux 4.20 of 2, after two blanks (arch/x86/pci/early.c).
_ROW = re.compile(
    rb"(?:(?<![0-9a-f])([0-9a-f]{8})|(?:^|\] ?)  ([0-9a-f]{2})): ([0-9a-f]{2}(?: [0-9a-f]{2}){0,31})\s*$",
    re.IGNORECASE,
)
#: Who prints the dumps of pci=earlydump; a driver's may be longer.
_KERNEL = re.compile(rb"pci(?:-\w{1,20})?", re.IGNORECASE)
#: The caller that CONFIG_PRINTK_CALLER prints: rows of two CPUs can be told apart by it.
_CALLER = re.compile(rb"\]\[ {0,6}([TC]\d{1,8})\]")
_PREFIX: Final = 300
_ROW_BYTES: Final = 16


@dataclass
class _FunctionDump:
    """One function's rows.

    Attributes:
        key: the function.
        line: number of its first line in the log, from 1.
        time_us: printk's time of that line, or None.
        rows: offset, bytes and place of each row.
        expected: offset of the row that comes next.
        missing: bytes of rows that did not come.
        limit: most bytes that it has.
    """

    key: int
    line: int
    time_us: int | None
    rows: list[tuple[int, bytes, int]] = field(default_factory=list)
    expected: int = 0
    missing: int = 0
    limit: int = CONFIG_SIZE

    @property
    def content(self) -> tuple[int, bytes]:
        """What makes it the same dump again."""
        return self.key, b"".join(data for _, data, _ in self.rows)

    def function(self) -> ConfigBytes:
        """The bytes of the function."""
        known = ConfigBytes(self.key)
        for offset, data, where in self.rows:
            known.put(offset, data, where)
        return known


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the dumps as dword reads in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is null (a dump is printed after it was read); ``where`` is the start of the row's line. Where
    a log holds several kernels and says how they followed each other, there is a boundary between their
    dumps.

    Raises:
        LimitExceededError: more kernels than a log can sensibly hold.
    """
    del options  # the format says everything itself
    log = _Log(notes)
    log.read(stream)
    runs = _runs(notes)
    reads = Reads(notes, repeats=True)
    known: set[tuple[int, bytes, int | None]] = set()
    current = 0
    for dump in log.dumps:
        while current + 1 < len(runs) and runs[current + 1].first_line <= dump.line:
            current += 1
            known = {identity for identity in known if identity[2] is not None}
            _mark(runs[current], reads.accesses, notes)
        identity = (*dump.content, dump.time_us)
        if identity not in known and (*dump.content, None) not in known:
            known |= {identity, (*dump.content, None)}
            yield from reads.add(dump.function())
    yield from reads.finish({CONFIG_SIZE: NO_EXTENDED})


class _Log:
    """The lines of a log and the dumps in it."""

    def __init__(self, notes: Notes) -> None:
        self.dumps: list[_FunctionDump] = []
        self._notes = notes
        self._number = 0
        self._current: dict[bytes, _FunctionDump] = {}
        self._last_row = 0  # number of its line
        self._ownerless = 0

    def read(self, stream: ByteStream) -> None:
        """Take every line up to the limits."""
        for line, where in text_blocks.log_lines(stream, self._notes, _BLOCK, MAX_LINES, MAX_BYTES):
            self._number += 1
            self._line(line, where)
        self._finish()

    def _line(self, line: bytes, where: int) -> None:
        self._notes.log.append(LogLine(line.decode("utf-8", "replace").rstrip("\r")))
        if b"config space:" in line:
            self._open(line)
        elif b": " in line:
            self._row(line, where)

    def _open(self, line: bytes) -> None:
        match = _DEVICE.search(line)
        if match is None or int(match[4], 16) > 0x1F:
            return
        key = bdf.key(int(match[2], 16), int(match[3], 16), int(match[4], 16) << 3 | int(match[5]))
        time_us = next((message.time_us for message in log_lines.messages(line)), None)
        dump = _FunctionDump(key, self._number, time_us)
        if _KERNEL.fullmatch(match[1]) is None:
            dump.limit = EXTENDED_CONFIG_SIZE
        self._current[_caller(line)] = dump
        self.dumps.append(dump)
        self._last_row = self._number

    def _row(self, line: bytes, where: int) -> None:
        match = _ROW.search(line)
        if match is None:
            return
        offset, data = int(match[1] or match[2], 16), bytes.fromhex(match[3].decode("ascii"))
        dump = self._current.get(_caller(line))
        if dump is None:
            self._ownerless += len(data) == _ROW_BYTES and offset in range(0, CONFIG_SIZE, _ROW_BYTES)
            return
        end = offset + len(data)
        if offset % _ROW_BYTES or offset < dump.expected or end > dump.limit:
            return  # another driver's hex dump, or a row again
        dump.missing += offset - dump.expected
        dump.expected = end
        dump.rows.append((offset, data, where))
        self._last_row = self._number
        if end == dump.limit:
            del self._current[_caller(line)]

    def _finish(self) -> None:
        """Report which dumps lack rows: kernel logs lose lines where buffer or console is too slow."""
        lacking = [dump for dump in self.dumps if dump.missing or dump.expected < CONFIG_SIZE]
        if lacking:
            missing = sum(dump.missing + max(CONFIG_SIZE - dump.expected, 0) for dump in lacking)
            self._notes.missing_dwords += missing // 4
            first = f"the first is {bdf.text(lacking[0].key)} at line {lacking[0].line}"
            self._notes.problem("damaged", f"rows are missing in {count(len(lacking), 'dump')}; {first}")
        if lacking and lacking[-1] is self.dumps[-1] and self._number <= self._last_row + 1:
            message = "this log ends within a dump: the dumps after it may be missing"
            self._notes.problem(LACKS_FUNCTIONS, message)
        if self._ownerless:
            self._notes.problem(
                "foreign",
                counted(
                    "{} [row|rows] of hex dumps [is|are] left out: of another driver, or the line with the"
                    " function is missing",
                    self._ownerless,
                ),
            )


def _caller(line: bytes) -> bytes:
    match = _CALLER.search(line, 0, _PREFIX)
    return match[1] if match is not None else b""


def _runs(notes: Notes) -> tuple[KernelRun, ...]:
    try:
        return kernel_log.parse_lines(line.text for line in notes.log).runs
    except LimitExceededError as error:
        error.path = notes.path
        raise


_ENTERED: Final[dict[str | None, Literal["boot", "kexec", "crash"]]] = {
    "firmware": "boot",
    "kexec": "kexec",
    "crash": "crash",
}


def _mark(run: KernelRun, seq: int, notes: Notes) -> None:
    """Put a boundary in front of the first dump of a kernel that is not the first."""
    if not seq:
        return
    kind = _ENTERED.get(run.entered_by)
    if kind is not None:
        notes.boundaries.append(Boundary(seq, kind, run.release))
        return
    notes.problem(
        "no-boundary",
        f"the log does not say how the kernel of its line {run.first_line} was started; if by kexec, give"
        f" --kexec-at access:{seq}",
    )
