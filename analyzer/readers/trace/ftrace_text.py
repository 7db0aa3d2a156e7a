"""Read what people paste: ``trace-cmd report``, tracefs ``trace`` and ``trace_pipe``, ``perf script``.

The same events become accesses as in a trace.dat (:mod:`analyzer.readers.trace.dat`), known by the names of
their fields in the text (``reg=4``). The order is that of the lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.config_events import ROLES, FieldNames, refuse
from analyzer.readers.tallies import Count, ProblemList
from analyzer.readers.text_blocks import TextBlocks
from analyzer.readers.trace import ftrace_lines, rows
from analyzer.readers.trace.evidence import KINDS
from analyzer.readers.trace.row_accesses import TraceAccesses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.trace.rows import TraceRows
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 4 << 20
_MOST_EVENTS = 10_000
_NAME = re.compile(r"(?:^|[\s(])(\w{1,64})=")
#: A return probe prints where it was and where it returned to: (func <- caller).
_RETURNS = re.compile(r"^\([^)]{0,200}<-")
_ENTRY = re.compile(r"^\([^)<]{0,200}\)")
#: TP_printk of kvm_pio and kvm_mmio (arch/x86/kvm/trace.h, include/trace/events/kvm.h).
_PIO = {
    "op": r"^pio_(read|write) at ",
    "address": r" at (0x[0-9a-f]+) ",
    "width": r" size (\d) ",
    "count": r" count (\d+) ",
    "value": r" val (0x[0-9a-f]+)\b",
}
_MMIO = {
    "op": r"^mmio (read|write|unsatisfied-read) ",
    "width": r" len (\d) ",
    "address": r" gpa (0x[0-9a-f]+) ",
    "value": r" val (0x[0-9a-f]+)\b",
}
_CONFIG_PORT = r" at 0xcf[89a-f] "
_PRINTS = ("print", "tracing_mark_write", "bprint", "bputs")
#: A number in a line that may be cut: the next field or the end of the line has to follow.
_VALUE = r"(-?(?:0x[0-9a-f]+|\d+))(?:[\s),]|$)"
_QEMU_TEXT = r"(?:pci_cfg_|memory_region_ops_|vfio_pci_)(?:read|write)"


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of such a text in frames of ``accesses.READER_SCHEMA``.

    ``where`` is the start of the line; ``time_ns`` is null where the text does not count seconds.

    Raises:
        UnsupportedFormatError: an event that may be a read or a write.
        UsageError: ``field_map`` has a field that does not exist.
    """
    reading = _Reading(notes, options)
    blocks = TextBlocks(stream, notes)
    for text, base in blocks.read(_BLOCK):
        yield from reading.take(text, base)
    blocks.close()
    yield from reading.close()


class _Reading:
    """The state of reading one text."""

    def __init__(self, notes: Notes, options: Options) -> None:
        self._notes = notes
        self._options = options
        self._names = FieldNames.of(options.field_map)
        self._events: dict[tuple[str, str, str], _EventText | None] = {}
        self._read_returns = False
        self._found: TraceAccesses | None = None
        self._damaged, self._several, self._entries = Count(), Count(), Count()
        self._lost = self._unsaid = 0
        self._marks = ProblemList(notes, "marks of lost events")

    def take(self, text: bytes, base: int) -> list[pl.DataFrame]:
        """Return the accesses of whole lines."""
        lines = ftrace_lines.parse(text, base)
        self._note(lines)
        if not lines.events.height:
            return []
        if self._found is None:
            # If the time of one line does not count seconds (x86-tsc, counter), no line has a time.
            timed = lines.events["time_ns"].null_count() == 0
            self._found = TraceAccesses(self._notes, self._options, timed=timed)
        groups = lines.events.with_columns(pl.col("buffer", "group").fill_null("")).with_row_index("row")
        texts: list[bytes] = []
        parts: list[TraceRows] = []
        places: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        wanted = groups.partition_by("buffer", "group", "event", maintain_order=True)
        for event in wanted:
            self._learn(event)
        for event in wanted:
            found = self._rows(event, texts)
            if found is not None and len(found[0]):
                parts.append(found[0])
                places.append(found[1])
        if not parts:
            return []
        order = np.argsort(np.concatenate(places), kind="stable")
        return self._found.take(rows.concat(parts).pick(order), texts)

    def close(self) -> list[pl.DataFrame]:
        """Return what still waited, and write the account into the notes."""
        notes = self._notes
        frames = self._found.close() if self._found is not None else []
        self._marks.close("dropped")
        if self._unsaid > self._lost:
            notes.problem(
                "dropped", f"the header says that {self._unsaid - self._lost} events were overwritten"
            )
        notes.dropped += max(self._lost, self._unsaid)
        self._damaged.report(
            notes, "damaged", "{} lines of config accesses lack a field or are cut, and are left out"
        )
        self._several.report(
            notes, "unsupported", "{} accesses to the config ports are of several items and left out"
        )
        self._entries.report(
            notes,
            "foreign",
            "{} reads are not used: they were recorded where a function is entered and their value is not"
            " known yet, and others record its return",
            loses=False,
        )
        return frames

    def _note(self, lines: ftrace_lines.EventLines) -> None:
        self._notes.foreign_lines += lines.foreign
        self._unsaid += lines.unsaid
        for where, number in lines.lost:
            self._lost += number
            self._marks.add("dropped", f"{number} events were lost in front of this line", where)

    def _learn(self, event: pl.DataFrame) -> None:
        """Look at the first line of an event: what it is, and how its lines are made."""
        buffer, group, name = event.select("buffer", "group", "event").row(0)
        key = (buffer, group, name)
        if key in self._events or len(self._events) >= _MOST_EVENTS:
            return
        known = _EventText.of(group, name, event["said"][0], self._names, len(self._events))
        self._events[key] = known
        if known is not None and known.kind == rows.CONFIG:
            if known.op is None:
                raise refuse(self._notes.path, name, int(event["where"][0]))
            self._read_returns |= known.op == READ and known.returns

    def _rows(
        self, event: pl.DataFrame, texts: list[bytes]
    ) -> tuple[TraceRows, np.ndarray[Any, np.dtype[np.int64]]] | None:
        known = self._events.get(tuple(event.select("buffer", "group", "event").row(0)))
        if known is None:
            return None
        if known.kind == rows.CONFIG and known.op == READ and known.enters and self._read_returns:
            self._entries.add(event.height, int(event["where"][0]))
            return None
        if known.kind in (rows.PRINT, rows.EVIDENCE):
            return self._texts(event, known, texts)
        wanted = event
        if known.kind == rows.PORT:
            wanted = event.filter(pl.col("said").str.contains(_CONFIG_PORT))
        table = wanted.with_columns(
            pl.col("said").str.extract(pattern).alias(name) for name, pattern in known.columns.items()
        ).with_columns(_number(name) for name in known.columns if name != "op")
        missing = pl.any_horizontal(pl.col(*known.columns).is_null())
        bad = table.filter(missing)
        if bad.height:
            self._damaged.add(bad.height, int(bad["where"][0]))
        table = table.filter(~missing)
        if known.kind == rows.PORT:
            several = table.filter(pl.col("count") != 1)
            if several.height:
                self._several.add(several.height, int(several["where"][0]))
            table = table.filter(pl.col("count") == 1)
        elif known.kind == rows.MEMORY:
            table = table.filter(pl.col("op") != "unsatisfied-read")
        return known.rows(table), table["row"].cast(pl.Int64).to_numpy()

    def _texts(
        self, event: pl.DataFrame, known: _EventText, texts: list[bytes]
    ) -> tuple[TraceRows, np.ndarray[Any, np.dtype[np.int64]]]:
        if known.kind == rows.PRINT:
            event = event.filter(pl.col("said").str.contains(_QEMU_TEXT))
            said = event["said"]
        else:
            said = pl.Series([known.name + "\n"]) + event["said"]
        first = len(texts)
        texts.extend(line.encode("latin-1") for line in said)
        found = known.made(event, text=np.arange(first, len(texts)))
        return found, event["row"].cast(pl.Int64).to_numpy()


class _EventText:
    """How the lines of one event are made.

    Attributes:
        kind: as in :mod:`analyzer.readers.trace.rows`.
        op: of config events; None if it is not known.
        returns: a config event that a return probe recorded.
        enters: one that was recorded where a function is entered, or in its middle.
        columns: by name, an expression whose group is its value; none for text.
    """

    def __init__(
        self,
        kind: int,
        name: str,
        number: int,
        columns: Mapping[str, str] | None = None,
        op: int | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.number = number
        self.columns = columns or {}
        self.op = op
        self.returns = self.enters = False

    @classmethod
    def of(cls, group: str, name: str, said: str, names: FieldNames, number: int) -> _EventText | None:
        """Return what an event is by its first line, None if it has nothing to do with config space."""
        if name == "kvm_pio" and group in ("", "kvm"):
            return cls(rows.PORT, name, number, _PIO)
        if name == "kvm_mmio" and group in ("", "kvm"):
            return cls(rows.MEMORY, name, number, _MMIO)
        if name in _PRINTS and group in ("", "ftrace"):
            return cls(rows.PRINT, name, number)
        if name in KINDS:
            return cls(rows.EVIDENCE, name, number)
        present = _NAME.findall(said)
        matched = names.match(present)
        if matched is None:
            return None
        returns = _RETURNS.match(said) is not None
        op = names.direction(group, name, returns=returns, has_status="status" in matched)
        columns = {role: rf"(?:^|[\s(]){re.escape(field)}={_VALUE}" for role, field in matched.items()}
        found = cls(rows.CONFIG, name, number, columns, op)
        found.returns = returns
        found.enters = _ENTRY.match(said) is not None
        return found

    def rows(self, table: pl.DataFrame) -> TraceRows:
        """Return the rows of lines that the pattern took apart."""
        if self.kind != rows.CONFIG:
            return self.made(
                table,
                op=np.where((table["op"] == "write").to_numpy(), WRITE, READ),
                address=table["address"].to_numpy(),
                width=table["width"].to_numpy(),
                value=table["value"].to_numpy().astype(np.uint64),
            )
        zero = np.zeros(table.height, np.int64)
        columns = {role: table[role].to_numpy() if role in self.columns else zero for role in ROLES}
        return self.made(
            table,
            op=self.op,
            domain=columns["domain"],
            bus=columns["bus"],
            devfn=columns["devfn"],
            address=columns["offset"],
            width=columns["width"],
            value=columns["value"].astype(np.uint64),
            failed=columns["status"] != 0,
        )

    def made(self, table: pl.DataFrame, **columns: Any) -> TraceRows:
        """Return rows with these columns and what every line says."""
        return rows.make(
            table.height,
            time=table["time_ns"].fill_null(0).to_numpy(),
            cpu=table["cpu"].to_numpy(),
            agent=table["pid"].to_numpy(),
            where=table["where"].to_numpy(),
            kind=self.kind,
            event=self.number,
            **columns,
        )


def _number(name: str) -> pl.Expr:
    """Return numbers written in decimal, or in hexadecimal with 0x; null where they do not fit 64 bits.

    Those of 64 bits without sign are their two's complement.
    """
    text = pl.col(name)
    digits = text.str.strip_prefix("0x")
    unsigned = pl.coalesce(
        pl.when(text.str.starts_with("0x")).then(
            digits.str.to_integer(base=16, dtype=pl.UInt64, strict=False)
        ),
        text.cast(pl.UInt64, strict=False),
    )
    return pl.coalesce(text.cast(pl.Int64, strict=False), unsigned.reinterpret(signed=True)).alias(name)
