"""The wire between kernels and the machine: passes config requests on and writes each of them down.

A recorder has the habits of one producer: QEMU's trace events know no width, mark absent functions and miss
ECAM requests that hit nothing; a probe inside the kernel knows widths and sees all ones; a bus analyser sees
the completion status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from analyzer.capture import Boundary, Capture, LogLine, Notes, SourceFile, accesses

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.capture import BoundaryName
    from simulator.machine import Machine

Unanswered = Literal["empty", "ones", "unsupported"]

#: Nanoseconds that a config request takes.
_STEP = 4_000
#: Bytes that a record takes in the imagined file (only so that ``where`` grows).
_RECORD = 64

Row = tuple[int, int, int, int, int, int, int, int, int]


class Recorder:
    """Config requests in, table rows out.

    Attributes:
        machine: the hardware.
        widths: record access widths (False imitates QEMU).
        unanswered: how a read that nobody answers is recorded: ``empty`` marks it absent (QEMU), ``ones``
            shows nothing but its value (probes inside the kernel), ``unsupported`` records the completion
            status (bus analysers).
        cpu: recorded with each access; None: the producer does not know it.
        now: time in ns.
        failed: the accessor of the last request returned an error (recorded as ``abort``).
        muted: accesses happen, but the producer does not see them.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        widths: bool = True,
        unanswered: Unanswered = "ones",
        cpu: int | None = None,
        start_ns: int = 1_000_000_000,
    ) -> None:
        self.machine = machine
        self.widths = widths
        self.unanswered = unanswered
        self.cpu = cpu
        self.now = start_ns
        self.failed = False
        self.muted = False
        self.rows: list[Row] = []
        self.boundaries: list[Boundary] = []
        self.log: list[LogLine] = []

    def read(self, domain: int, bus: int, devfn: int, offset: int, width: int) -> int:
        """Read a register; ``failed`` tells whether the accessor returned an error."""
        value = self.machine.read(domain, bus, devfn, offset, width)
        self._record(accesses.READ, domain << 16 | bus << 8 | devfn, offset, width, value)
        return value

    def write(self, domain: int, bus: int, devfn: int, offset: int, width: int, value: int) -> None:
        """Write a register."""
        self.machine.write(domain, bus, devfn, offset, width, value)
        self._record(accesses.WRITE, domain << 16 | bus << 8 | devfn, offset, width, value)

    def _record(self, op: int, function: int, offset: int, width: int, value: int) -> None:
        machine = self.machine
        self.failed = machine.failed
        self.now += _STEP
        if self.muted:
            return
        status, absent = accesses.OK, 0
        if machine.failed:
            status = accesses.ABORT
        elif not machine.answered:
            if self.unanswered == "unsupported":
                status = accesses.UNSUPPORTED
            elif self.unanswered == "empty":
                if machine.hidden:
                    return
                absent = 1
        cpu = -1 if self.cpu is None else self.cpu
        self.rows.append((self.now, function, offset, width, op, value, status, absent, cpu))

    def sleep(self, nanoseconds: int) -> None:
        """Let time pass without accesses."""
        self.now += nanoseconds

    def mark(self, kind: BoundaryName, release: str | None = None) -> None:
        """Note an explicit boundary in front of the next access (see :class:`analyzer.capture.Boundary`)."""
        self.boundaries.append(Boundary(len(self.rows), kind, release))

    def say(self, text: str) -> None:
        """Add a line to the kernel log."""
        self.log.append(LogLine(text, len(self.rows), self.now))

    def capture(
        self,
        *,
        path: str = "simulated",
        upto: int | None = None,
        drop: Callable[[Row], bool] | None = None,
        counted: bool = True,
        log: bool = False,
    ) -> Capture:
        """What was recorded, as a capture.

        Args:
            path: name of the imagined file.
            upto: cut the capture behind so many accesses (it then says that it is truncated).
            drop: leave out the accesses for which this is true: a row is (time_ns, function key, offset,
                width, op, value, status, absent, cpu) with op and status as codes of
                :mod:`analyzer.capture.accesses`.
            counted: the producer noticed how many it lost (``Notes.dropped``).
            log: give it the kernel log.
        """
        rows = self.rows[:upto]
        dropped = 0
        if drop is not None:
            kept = [row for row in rows if not drop(row)]
            dropped, rows = len(rows) - len(kept), kept
        notes = Notes(path, tool="simulator", truncated=upto is not None and upto < len(self.rows))
        notes.dropped = dropped if counted else 0
        notes.boundaries = [mark for mark in self.boundaries if mark.seq < len(rows)]
        notes.log = self.log if log else []
        file = SourceFile(path, "simulated", "")
        return Capture(path, [file], "simulated", table(rows, widths=self.widths), notes)


def table(rows: Sequence[Row], *, widths: bool) -> pl.DataFrame:
    """Rows as an access table of one capture (columns of :data:`analyzer.capture.accesses.SCHEMA`)."""
    columns = np.array(rows, np.int64).reshape(len(rows), 9).T
    time, function, offset, width, op, value, status, absent, cpu = columns
    count = len(rows)
    frame = accesses.from_columns(
        {
            "time_ns": pl.Series(time),
            "domain": function >> 16,
            "bus": function >> 8 & 0xFF,
            "devfn": function & 0xFF,
            "offset": offset,
            "width": width if widths else np.zeros(count, np.uint8),
            "op": op.astype(np.uint8),
            "value": value,
            "status": status.astype(np.uint8),
            "absent": absent.astype(bool),
            "cpu": pl.Series(cpu, dtype=pl.Int64).replace(-1, None),
            "where": np.arange(count, dtype=np.uint64) * _RECORD,
        },
        count,
    )
    return frame.select(
        pl.lit(0, pl.UInt32).alias("capture"),
        pl.lit(0, pl.UInt16).alias("file"),
        pl.int_range(pl.len(), dtype=pl.UInt64).alias("seq"),
        *accesses.READER_SCHEMA,
    )
