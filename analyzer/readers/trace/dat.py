"""Read trace-cmd's ``trace.dat``, file versions 6 and 7 (layout: :mod:`schemas.trace_dat`).

Which events become accesses: those with the fields of a config access, whoever named them
(:mod:`analyzer.readers.config_events`), ``kvm:kvm_pio`` and ``kvm:kvm_mmio`` of a KVM host, and what QEMU's
ftrace backend printed. ``where`` is the place of the record's payload: that of its CPU's data in the file
plus that in the pages, which is a place in the file if the data is not compressed (``trace-cmd convert
--compression none``).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.plurals import count
from analyzer.readers.config_events import FieldNames
from analyzer.readers.tallies import ProblemList
from analyzer.readers.trace.dat_events import EventReader
from analyzer.readers.trace.dat_facts import TraceClock, clock_of, lost_events, note_facts
from analyzer.readers.trace.dat_merge import CpuRows, KeyMaker, merged
from analyzer.readers.trace.dat_pages import PageDecoder, Trouble, page_blocks
from analyzer.readers.trace.dat_sections import open_file
from analyzer.readers.trace.row_accesses import TraceAccesses
from analyzer.readers.trace.whole_content import WholeContent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.trace.dat_pages import Block, Records
    from analyzer.readers.trace.dat_parts import Buffer, CpuData, TraceFile
    from analyzer.readers.trace.rows import TraceRows
    from analyzer.readers.unwrap import ByteStream

#: Bytes of pages that are held of all CPUs together, and most and least of one.
_HELD, _MOST, _LEAST = 64 << 20, 1 << 20, 64 << 10


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a trace.dat in frames of ``accesses.READER_SCHEMA``.

    Args:
        stream: the file from its first byte.
        notes: filled with what the file says besides its accesses; complete when the iteration has ended.
        options: ``field_map`` names fields and events, ``ecam_base`` the ECAM window of a guest.

    Raises:
        DamagedInputError: nothing of it can be decoded.
        SeveralGuestsError: it holds accesses of several guests.
        UnsupportedFormatError: another file version, or an event that may be a read or a write.
        UsageError: ``field_map`` has a field that does not exist.
    """
    names = FieldNames.of(options.field_map)
    with WholeContent(stream) as content:
        file = open_file(content, notes)
        note_facts(file, notes)
        clock = clock_of(file, notes)
        notes.clock = clock.name
        found = TraceAccesses(notes, options, timed=clock.counts_ns)
        for thread, name in file.comms.items():
            found.threads.name(thread, name, None)
        decoding = _Decoding(
            content, file, EventReader(file.formats, names, file.layouts.order, notes), notes
        )
        for batch in decoding.batches():
            yield from found.take(batch.with_time(clock.nanoseconds(batch.time)), decoding.events.texts)
        yield from found.close()
        decoding.close(clock)


class _Where(NamedTuple):
    """Which CPU data it is: number of the buffer, buffer, CPU, and the keys of its records."""

    number: int
    buffer: Buffer
    cpu: CpuData
    keys: KeyMaker


class _Decoding:
    """The way from the CPU data of all buffers to rows in order."""

    def __init__(self, content: WholeContent, file: TraceFile, events: EventReader, notes: Notes) -> None:
        self.events = events
        self._content = content
        self._file = file
        self._notes = notes
        self._trouble = Trouble()
        self._missed: dict[tuple[str, int | None], int] = defaultdict(int)
        self._marks = ProblemList(notes, "marks of lost events")
        self._cpus: set[int | None] = set()
        data = sum(len(buffer.cpus) for buffer in file.buffers)
        self._block = min(max(_HELD // max(data, 1), _LEAST), _MOST)

    def batches(self) -> Iterator[TraceRows]:
        """Yield the rows of all CPUs in order."""
        return merged(
            [
                self._parts(number, buffer, cpu)
                for number, buffer in enumerate(self._file.buffers)
                for cpu in buffer.cpus
                if cpu.size
            ]
        )

    def _parts(self, number: int, buffer: Buffer, cpu: CpuData) -> Iterator[CpuRows]:
        assert self._file.header is not None  # noqa: S101 open_file() has seen to it
        decoder = PageDecoder(self._file.layouts.order, self._file.header, buffer.page_size)
        where = _Where(number, buffer, cpu, KeyMaker())
        held: tuple[Block, Records] | None = None
        for block in page_blocks(self._content, self._file, buffer, cpu, self._trouble, self._block):
            records = decoder.decode(block, self._trouble)
            self._note_missed(block, records, buffer, cpu)
            if held is not None:
                yield self._part(*held, int(records.page_time[0]), where)
            held = block, records
        if held is not None:
            yield self._part(*held, None, where)

    def _part(self, block: Block, records: Records, next_page: int | None, where: _Where) -> CpuRows:
        keys, last, repaired = where.keys.keys(records, next_page)
        if len(repaired):
            place = block.where + int(repaired[0]) * where.buffer.page_size
            self._trouble.add("clock", place, len(repaired))
        cpu = where.cpu.cpu
        rows, index = self.events.rows(block, records, cpu, where.number, self._trouble)
        if len(rows):
            self._cpus.add(cpu)
        return CpuRows(rows, keys[index], last)

    def _note_missed(self, block: Block, records: Records, buffer: Buffer, cpu: CpuData) -> None:
        for page in np.flatnonzero(records.missed).tolist():
            number = int(records.missed[page])
            self._missed[buffer.name, cpu.cpu] += max(number, 1)
            self._marks.add(
                "dropped",
                f"the kernel lost {count(number, 'event') if number > 0 else 'some events'} of CPU {cpu.cpu}"
                " before this page; record with a larger buffer (trace-cmd record -b)",
                block.where + page * buffer.page_size,
            )

    def close(self, clock: TraceClock) -> None:
        """Write the account into the notes."""
        notes = self._notes
        self._trouble.close(notes)
        self.events.close()
        self._marks.close("dropped")
        for buffer, cpu, overwritten, refused in lost_events(self._file):
            beyond = max(overwritten - self._missed[buffer, cpu], 0) + refused
            if beyond:
                notes.dropped += beyond
                of = f" of buffer {buffer!r}" if buffer else ""
                notes.problem(
                    "dropped",
                    f"the kernel counted {beyond} more lost events on CPU {cpu}{of} than its pages say",
                )
        notes.dropped += sum(self._missed.values())
        if clock.name == "local" and len(self._cpus) > 1 and self._is_local():
            notes.problem(
                "clock",
                f"{len(self._cpus)} CPUs recorded with the clock 'local', which differs between them: their"
                " order may be wrong by some microseconds; record with trace-cmd record -C boot",
            )

    def _is_local(self) -> bool:
        clocks = {buffer.clock for buffer in self._file.buffers}
        return "local" in clocks or "[local]" in (self._file.clock or "[local]")
