"""Read what people paste: ``trace-cmd report``, tracefs ``trace`` and ``trace_pipe``, ``perf script``.

The same events become accesses as in a trace.dat (:mod:`analyzer.readers.trace.dat`), known by the names of
their fields in the text (``reg=4``). The order is that of the lines.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from analyzer.capture.accesses import READ
from analyzer.plurals import counted
from analyzer.readers.config_events import FieldNames, refuse
from analyzer.readers.line_cleaning import FTRACE
from analyzer.readers.tallies import Count, ProblemList, report_kinds
from analyzer.readers.text_blocks import TextBlocks
from analyzer.readers.trace import ftrace_lines, rows
from analyzer.readers.trace.ftrace_events import CONFIG_PORT, EventText
from analyzer.readers.trace.row_accesses import TraceAccesses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.trace.rows import TraceRows
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 4 << 20
_MOST_EVENTS = 10_000
#: Lines of an event that are looked at to learn how it is printed: the first may be damaged.
_LEARN_FROM = 8
_MOST_THREADS = 100_000
#: What stands in front of the text of a print event where it is shown field by field.
_TEXT_FIELD = r"^(?:ip=\S+ )?buf="
_QEMU_TEXT = r"(?:pci_cfg_|memory_region_ops_|vfio_pci_)(?:read|write)"


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of such a text in frames of ``accesses.READER_SCHEMA``.

    ``where`` is the start of the line; ``time_ns`` is null where the text does not count seconds.

    Raises:
        SeveralGuestsError: it holds accesses of several guests.
        UnsupportedFormatError: an event that may be a read or a write.
        UsageError: ``field_map`` has a field that does not exist.
    """
    reading = EventReading(notes, options)
    blocks = TextBlocks(stream, notes, FTRACE)
    for text, base in blocks.read(_BLOCK):
        yield from reading.take(text, base)
    blocks.close()
    yield from reading.close()


class EventReading:
    """The state of reading one text.

    Args:
        notes: filled with what the text says besides its accesses.
        options: ``field_map`` names fields and events, ``ecam_base`` the ECAM window of a guest.
    """

    def __init__(self, notes: Notes, options: Options) -> None:
        self._notes = notes
        self._options = options
        self._names = FieldNames.of(options.field_map)
        self._events: dict[tuple[str, str, str], EventText | None] = {}
        self._read_returns = False
        self._found: TraceAccesses | None = None
        self._damaged, self._several, self._entries = Count(), Count(), Count()
        self._others: Counter[str] = Counter()
        self._threads: set[int] = set()
        self._lost = self._unsaid = 0
        self._marks = ProblemList(notes, "marks of lost events")

    def take(self, text: bytes, base: int) -> list[pl.DataFrame]:
        """Return the accesses of whole lines."""
        return self.take_lines(ftrace_lines.parse(text, base))

    def take_lines(self, lines: ftrace_lines.EventLines) -> list[pl.DataFrame]:
        """Return the accesses of lines that were taken apart."""
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
                "dropped",
                counted(
                    "the header says that {} [event was|events were] overwritten", self._unsaid - self._lost
                ),
            )
        notes.dropped += max(self._lost, self._unsaid)
        self._damaged.report(
            notes,
            "damaged",
            "{} [line of a config access lacks a field or is cut, and is|lines of config accesses lack"
            " a field"
            " or are cut, and are] left out",
        )
        self._several.report(
            notes,
            "unsupported",
            "{} [access|accesses] to the config ports [is|are] of several items and left out",
        )
        self._entries.report(
            notes,
            "foreign",
            "{} [read is|reads are] not used: recorded at the entry of a function, where the value is"
            " not known"
            " yet; other events record its return",
            loses=False,
        )
        report_kinds(notes, "events of other kinds", self._others)
        return frames

    def _note(self, lines: ftrace_lines.EventLines) -> None:
        self._notes.foreign_lines += lines.foreign
        self._unsaid += lines.unsaid
        for where, number in lines.lost:
            self._lost += number
            self._marks.add(
                "dropped", counted("{} [event was|events were] lost before this line", number), where
            )

    def _learn(self, event: pl.DataFrame) -> None:
        """Look at the first line of an event: what it is, and how its lines are made."""
        buffer, group, name = event.select("buffer", "group", "event").row(0)
        key = (buffer, group, name)
        if key in self._events or len(self._events) >= _MOST_EVENTS:
            return
        known = None
        for said in event["said"].head(_LEARN_FROM):
            known = known or EventText.of(group, name, said, self._names, len(self._events))
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
            self._others[f"{event['group'][0]}:{event['event'][0]}".removeprefix(":")] += event.height
            return None
        if known.kind in (rows.PORT, rows.MEMORY, rows.PRINT) and self._found is not None:
            self._name_threads(event, self._found)
        if known.kind == rows.CONFIG and known.op == READ and known.enters and self._read_returns:
            self._entries.add(event.height, int(event["where"][0]))
            return None
        if known.kind in (rows.PRINT, rows.EVIDENCE):
            return self._texts(event, known, texts)
        wanted = event
        if known.kind == rows.PORT:
            wanted = event.filter(pl.col("said").str.contains(CONFIG_PORT))
        table = known.take_apart(wanted)
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

    def _name_threads(self, event: pl.DataFrame, found: TraceAccesses) -> None:
        known = self._threads
        for thread, left in event.unique("pid", keep="first").select("pid", "left").iter_rows():
            if thread not in known and len(known) < _MOST_THREADS:
                known.add(thread)
                found.threads.name(thread, *ftrace_lines.thread_of(left))

    def _texts(
        self, event: pl.DataFrame, known: EventText, texts: list[bytes]
    ) -> tuple[TraceRows, np.ndarray[Any, np.dtype[np.int64]]]:
        if known.kind == rows.PRINT:
            event = event.filter(pl.col("said").str.contains(_QEMU_TEXT))
            said = event["said"].str.replace(_TEXT_FIELD, "")
        else:
            said = pl.Series([known.name + "\n"]) + event["said"]
        first = len(texts)
        texts.extend(line.encode("latin-1") for line in said)
        found = known.made(event, text=np.arange(first, len(texts)))
        return found, event["row"].cast(pl.Int64).to_numpy()
