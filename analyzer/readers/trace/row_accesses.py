"""From rows of a trace to the access table: the last step of every reader of ftrace events, binary or text.

What KVM saw becomes config accesses (:mod:`analyzer.readers.config_mechanisms`), what QEMU printed is parsed
(:mod:`analyzer.readers.qemu.log`), and an access that two nested functions recorded counts once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer.capture import Notes, accesses
from analyzer.capture.accesses import ABORT, OK, WRITE
from analyzer.plurals import counted
from analyzer.readers.config_mechanisms import ConfigMechanisms, Touches
from analyzer.readers.qemu.log import QemuText
from analyzer.readers.tallies import Count
from analyzer.readers.trace import rows
from analyzer.readers.trace.evidence import event_of
from analyzer.readers.trace.guests import HOST, Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.options import Options
    from analyzer.readers.config_mechanisms import Decoded
    from analyzer.readers.qemu.events import CfgEvents
    from analyzer.readers.trace.rows import TraceRows

#: What is equal in one access; ``domain`` is not, as only some functions are given it.
_SAME = ("kind", "op", "bus", "devfn", "address", "width", "value")
#: Rows further apart are not nested calls.
_MOST_NS = 10_000_000


class NestedProbes:
    """Remembers the last row of every thread from one batch to the next.

    Attributes:
        count: rows that were found to repeat others.
    """

    def __init__(self) -> None:
        self.count = Count()
        self._events: dict[int, set[int]] = defaultdict(set)
        self._last = rows.make(0)

    def without_repeats(self, batch: TraceRows) -> TraceRows:
        """Return the batch without rows that repeat another."""
        at = np.flatnonzero(batch.kind <= rows.MEMORY)
        if not len(at):
            return batch
        # Only events of one kind and direction can be of the same access.
        codes = np.unique(batch.event[at].astype(np.int64) << 8 | batch.kind[at] << 1 | batch.op[at]).tolist()
        for code in codes:
            self._events[code & 0xFF].add(code >> 8)
        if all(len(events) < 2 for events in self._events.values()):
            return batch
        known = len(self._last)
        joined = rows.concat([self._last, batch.pick(at)])
        order = np.argsort(joined.agent, kind="stable")
        table = joined.pick(order)
        same = np.ones(len(table), bool)
        same[0] = False
        for name in ("agent", *_SAME):
            column = getattr(table, name)
            same[1:] &= column[1:] == column[:-1]
        same[1:] &= np.abs(table.time[1:] - table.time[:-1]) <= _MOST_NS
        starts = np.flatnonzero(~same)
        first_event = table.event[starts][np.cumsum(~same) - 1]
        again = np.zeros(len(table), bool)
        again[order] = table.event != first_event
        last = np.append(table.agent[1:] != table.agent[:-1], True)
        columns = {name: getattr(table, name)[last] for name in ("time", "agent", *_SAME)}
        self._last = rows.make(int(last.sum()), event=first_event[last], **columns)
        repeated = at[again[known:]]
        if not len(repeated):
            return batch
        self.count.add(len(repeated), int(batch.where[repeated[0]]))
        kept = np.ones(len(batch), bool)
        kept[repeated] = False
        return batch.pick(kept)


class PrintedText:
    """Keeps lines until all that belongs to their access was seen."""

    def __init__(self, notes: Notes, options: Options) -> None:
        self._notes = notes
        self._own = Notes(notes.path)
        self._qemu = QemuText(self._own, options)
        self._size = 0
        self._rows = rows.make(0)
        self._starts = np.zeros(0, np.int64)

    def take(
        self, batch: TraceRows, texts: Sequence[bytes]
    ) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        """Return accesses, the row of each, and its number in ``batch`` (negative: of an earlier batch).

        Args:
            batch: rows of printed text.
            texts: what was printed, one of each row.
        """
        lines = [text.replace(b"\n", b" ").rstrip() + b"\n" for text in texts]
        starts = self._size + np.cumsum([0, *map(len, lines)], dtype=np.int64)
        events = self._qemu.take(b"".join(lines), self._size)
        known = len(self._rows)
        self._size = int(starts[-1])
        self._rows = rows.concat([self._rows, batch])
        self._starts = np.concatenate([self._starts, starts[:-1]])
        found = self._found(events, known)
        waiting = self._qemu.waiting_from
        done = len(self._starts) if waiting is None else int(np.searchsorted(self._starts, waiting))
        self._rows, self._starts = self._rows.pick(slice(done, None)), self._starts[done:]
        return found

    def close(self) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        """Return what still waited, and write the account into the notes."""
        found = self._found(self._qemu.close("record"), len(self._rows))
        self._notes.dropped += self._own.dropped
        for problem in self._own.problems:
            # Its place is one in the printed text alone.
            self._notes.problem(problem.kind, f"of what QEMU printed: {problem.message}")
        return found

    def _found(self, events: CfgEvents, known: int) -> tuple[CfgEvents, TraceRows, NDArray[np.int64]]:
        at = np.searchsorted(self._starts, events.where)
        return events, self._rows.pick(at), at - known


_WIDTHS = (0, 1, 2, 4)
_MOST_CPU = 0xFFFF
_MOST_EVENTS = 100_000
_NO_ADDRESS = (
    "{} [access to the port 0xcfc is|accesses to the port 0xcfc are] left out: what was written to 0xcf8"
    " before is not in the trace"
)
_NO_WINDOW = (
    "{} [access|accesses] to memory may be to an ECAM window: nothing in the trace says where it is; give"
    " --ecam-base"
    " (the guest's kernel log has it: MCFG)"
)
_ODD = "{} [access|accesses] to the ECAM window [has|have] a size or place that no config access has"
_IMPOSSIBLE = "{} [event names|events name] a register that does not exist and [is|are] left out"


class _Table:
    """The access table in the making: one row for each row of a batch, of which ``kept`` become accesses."""

    def __init__(self, batch: TraceRows) -> None:
        count = len(batch)
        self.batch = batch
        self.kept = np.zeros(count, bool)
        self.columns: dict[str, NDArray[Any]] = {
            "domain": np.zeros(count, np.uint32),
            "bus": np.zeros(count, np.uint8),
            "devfn": np.zeros(count, np.uint8),
            "offset": np.zeros(count, np.uint16),
            "width": np.zeros(count, np.uint8),
            "op": batch.op.copy(),
            "value": batch.value.copy(),
            "status": np.full(count, OK, np.uint8),
            "absent": np.zeros(count, bool),
        }

    def put(self, at: NDArray[np.int64], **columns: NDArray[Any]) -> None:
        """Make accesses of these rows."""
        self.kept[at] = True
        for name, values in columns.items():
            self.columns[name][at] = values

    def frame(self, *, timed: bool) -> pl.DataFrame:
        """Return the accesses."""
        at = np.flatnonzero(self.kept)
        columns: dict[str, Any] = {name: values[at] for name, values in self.columns.items()}
        # A register holds no more than its width, whatever else was in the variable that a probe saw.
        bits = np.where(columns["width"] == 0, 4, columns["width"]).astype(np.uint64) * np.uint64(8)
        columns["value"] &= (np.uint64(1) << bits) - np.uint64(1)
        columns["cpu"] = _known_cpu(self.batch.cpu[at])
        columns["where"] = self.batch.where[at]
        if timed:
            columns["time_ns"] = self.batch.time[at]
        return accesses.from_columns(columns, len(at))


class TraceAccesses:
    """Turns batches of rows into frames, in order.

    Args:
        notes: gets events other than accesses, and what could not be used.
        options: ``ecam_base`` helps where the trace does not say it.
        timed: whether the rows' time means anything.

    Attributes:
        threads: those that made accesses; a reader gives their names where it knows them.
    """

    def __init__(self, notes: Notes, options: Options, *, timed: bool = True) -> None:
        self._notes = notes
        self._options = options
        self._timed = timed
        self._mechanisms = ConfigMechanisms(options.ecam_base)
        self._printed: PrintedText | None = None
        self._nested = NestedProbes()
        self.threads = Threads()
        self._seq = 0
        self._impossible, self._no_address, self._no_window, self._odd = Count(), Count(), Count(), Count()

    def take(self, batch: TraceRows, texts: Sequence[bytes]) -> list[pl.DataFrame]:
        """Return the accesses of a batch.

        Args:
            batch: rows in order.
            texts: what their ``text`` counts in.
        """
        table = _Table(self._nested.without_repeats(self._of_guest(batch)))
        self._config(table)
        self._kvm(table)
        frames = self._print(table, texts)
        self._evidence(table, texts)
        return [*frames, *self._frame(table)]

    def _of_guest(self, batch: TraceRows) -> TraceRows:
        """Return what the chosen guest did, and what happened to the machine."""
        chosen = self._options.threads
        if not chosen:
            return batch
        own = batch.kind == rows.CONFIG
        by_thread = np.isin(batch.agent, np.array(sorted(chosen)))
        kept = np.where(own, HOST in chosen, by_thread | (batch.kind == rows.EVIDENCE))
        return batch.pick(kept)

    def close(self) -> list[pl.DataFrame]:
        """Return the accesses that waited for more, and write the account into the notes.

        Raises:
            SeveralGuestsError: they are of several machines.
        """
        if not self._options.threads:
            self.threads.refuse_several(self._notes.path, self._options.guest)
        frames: list[pl.DataFrame] = []
        if self._printed is not None:
            events, source, _ = self._printed.close()
            frames = self._late(events, source)
        for count, message in (
            (self._impossible, _IMPOSSIBLE),
            (self._no_address, _NO_ADDRESS),
            (self._odd, _ODD),
        ):
            count.report(self._notes, "dropped", message)
        if self._no_window.number and self._mechanisms.may_have_window:
            # Most memory that a guest touches is not an ECAM window; whether any of this is, is not known.
            self._notes.dropped += 1
            message = counted(_NO_WINDOW, self._no_window.number)
            self._notes.problem("dropped", message, self._no_window.first)
        self._nested.count.report(
            self._notes,
            "duplicate",
            "{} [record is of an access|records are of accesses] that another probe or buffer recorded"
            " too, and"
            " [does|do] not count again",
            loses=False,
        )
        return frames

    def _frame(self, table: _Table) -> list[pl.DataFrame]:
        if not table.kept.any():
            return []
        frame = table.frame(timed=self._timed)
        self._seq += frame.height
        return [frame]

    def _config(self, table: _Table) -> None:
        batch = table.batch
        at = np.flatnonzero(batch.kind == rows.CONFIG)
        if not len(at):
            return
        found = batch.pick(at)
        self.threads.add_host(len(found))
        fits = (found.bus >= 0) & (found.bus < 256) & (found.devfn >= 0) & (found.devfn < 256)
        fits &= (found.domain >= 0) & (found.domain < 1 << 32) & np.isin(found.width, _WIDTHS)
        fits &= (found.address >= 0) & (found.address < 4096) & (found.address + found.width <= 4096)
        if not fits.all():
            # The kernel's own functions refuse such parameters: then there was no access.
            wrong = ~fits & ~found.failed
            if wrong.any():
                self._impossible.add(int(wrong.sum()), int(found.where[wrong][0]))
            at, found = at[fits], found.pick(fits)
        table.put(
            at,
            domain=found.domain,
            bus=found.bus,
            devfn=found.devfn,
            offset=found.address,
            width=found.width,
            status=np.where(found.failed, np.uint8(ABORT), np.uint8(OK)),
        )

    def _kvm(self, table: _Table) -> None:
        batch = table.batch
        at = np.flatnonzero((batch.kind == rows.PORT) | (batch.kind == rows.MEMORY))
        if not len(at):
            return
        touched = batch.pick(at)
        found = self._mechanisms.decode(
            Touches(
                agent=touched.agent,
                memory=touched.kind == rows.MEMORY,
                address=touched.address,
                size=touched.width,
                write=touched.op == WRITE,
                value=touched.value.astype(np.int64),
            )
        )
        self._note_threads(touched, found)
        width = touched.width[found.row]
        table.put(at[found.row], bus=found.bus, devfn=found.devfn, offset=found.offset, width=width)
        for count, these in (
            (self._no_address, found.no_address),
            (self._no_window, found.no_window),
            (self._odd, found.odd),
        ):
            if len(these):
                count.add(len(these), int(touched.where[these[0]]))

    def _note_threads(self, touched: TraceRows, found: Decoded) -> None:
        used = np.concatenate([found.row, found.no_address])
        known = np.arange(len(used)) < len(found.row)
        self.threads.add(touched.agent[used], known)
        of_bridge = (found.bus == 0) & (found.devfn == 0)
        at = found.row[of_bridge]
        written = touched.op[at] == WRITE
        self.threads.add_writes(touched.agent[at][written], found.offset[of_bridge][written])

    def _print(self, table: _Table, texts: Sequence[bytes]) -> list[pl.DataFrame]:
        """Fill in what QEMU printed; return frames of accesses whose lines were in earlier batches."""
        at = np.flatnonzero(table.batch.kind == rows.PRINT)
        if not len(at):
            return []
        if self._printed is None:
            self._printed = PrintedText(self._notes, self._options)
        agents = table.batch.agent[at]
        self.threads.add(agents, np.ones(len(agents), bool), seen_by_kvm=False)
        lines = [texts[number] for number in table.batch.text[at].tolist()]
        events, source, number = self._printed.take(table.batch.pick(at), lines)
        now = number >= 0
        frames = self._late(events.pick(~now), source.pick(~now))
        _put_events(table, at[number[now]], events.pick(now))
        return frames

    def _late(self, events: CfgEvents, source: TraceRows) -> list[pl.DataFrame]:
        late = _Table(source)
        _put_events(late, np.arange(len(source)), events)
        return self._frame(late)

    def _evidence(self, table: _Table, texts: Sequence[bytes]) -> None:
        batch = table.batch
        at = np.flatnonzero(batch.kind == rows.EVIDENCE)
        if not len(at):
            return
        before = np.cumsum(table.kept)
        for row in at.tolist():
            if len(self._notes.events) >= _MOST_EVENTS:
                break
            name, _, text = texts[int(batch.text[row])].decode("utf-8", "replace").partition("\n")
            time = int(batch.time[row]) if self._timed else None
            self._notes.events.append(event_of(name, text, self._seq + int(before[row]), time))


def _known_cpu(cpu: NDArray[np.int32]) -> NDArray[np.uint16] | pl.Series:
    if len(cpu) and cpu.min() >= 0 and cpu.max() <= _MOST_CPU:
        return cpu.astype(np.uint16)
    known = pl.when(pl.col("cpu").is_between(0, _MOST_CPU)).then("cpu")
    return pl.DataFrame({"cpu": cpu}).select(known).to_series()


def _put_events(table: _Table, at: NDArray[np.int64], events: CfgEvents) -> None:
    table.put(
        at,
        bus=events.bus,
        devfn=events.devfn,
        offset=events.offset,
        width=events.width,
        op=events.op,
        value=events.value,
        status=events.status(),
        absent=events.absent,
    )
