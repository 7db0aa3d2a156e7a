"""Read the binary trace files of QEMU's ``simple`` backend (layout: :mod:`schemas.simpletrace`).

Records are of variable length and follow each other without marks, so each is found through the length of the
one before. Where that chain breaks, the reader looks for the next place at which two records follow each
other, and keeps account of what it left out.
"""

from __future__ import annotations

import re
import struct
from array import array
from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzer.capture.accesses import READ, WRITE
from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.plurals import count, counted
from analyzer.readers.qemu.events import CfgEvents, EventTally
from analyzer.readers.tallies import ProblemList
from schemas import simpletrace as layout
from schemas.bulk import dtype_of, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

#: Bounds of ``length`` of a pci_cfg_* record: older schema with an empty name, newer with the longest.
_SHORTEST_CFG = layout.EVENT_HEADER_SIZE + 4 + 8 * len(layout.OLD_CFG_ARGUMENTS)
_LONGEST_CFG = layout.EVENT_HEADER_SIZE + 4 + layout.MAX_STRING + 8 * len(layout.CFG_BITS)
#: Bytes of an event record in front of its arguments, and of a mapping record in front of its name.
_EVENT_HEAD, _MAPPING_HEAD = 8 + layout.EVENT_HEADER_SIZE, 8 + 12
_OPS = {layout.READ_EVENT: READ, layout.WRITE_EVENT: WRITE}
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
#: Limits that no file of QEMU reaches: event names, broken places, places tried after broken ones, ids, and
#: the length of a record that may mark the end of damage.
_MOST_NAMES, _MOST_DAMAGES, _MOST_TRIES, _MOST_ID, _MOST_LENGTH = 1 << 16, 1000, 1 << 20, 1 << 32, 4096
#: The count of dropped events is an int in QEMU.
_MOST_DROPPED = (1 << 31) - 1
_SCAN = 1 << 16


class RecordFinder:
    """Finds the records of one file, block by block.

    Attributes:
        found: places, in the last block, of whole ``pci_cfg_*`` records.
        ops: ``READ`` or ``WRITE`` by event id.
    """

    def __init__(self, order: Literal["little", "big"], notes: Notes, tally: EventTally) -> None:
        sign = "<" if order == "little" else ">"
        self.found = array("q")
        self.ops: dict[int, int] = {}
        self._notes = notes
        self._tally = tally
        self._words = np.dtype(sign + "u8")
        self._event = struct.Struct(sign + "QQ8xI").unpack_from  # type, event id, length
        self._mapping = struct.Struct(sign + "QQI").unpack_from  # type, event id, length of the name
        self._u64 = struct.Struct(sign + "Q").unpack_from
        self._names: dict[int, str] = {}
        self._others: dict[int, int] = {}
        self._marks = ProblemList(notes, "marks of dropped events")
        self._lost_from: int | None = None  # start of damage whose end is not found yet
        self._first_damage: int | None = None
        self._damages = self._skipped = self._tries = 0

    def advance(self, data: bytes, base: int, *, last: bool) -> int:
        """Go through ``data``, which starts at byte ``base`` of the file and, if ``last``, ends with it.

        Returns the number of bytes that are done with; the others begin a record that ``data`` holds in part.
        """
        self.found = array("q")
        # Everything that the loop needs is local: it runs once for every record of the file.
        found, event_at, ops, others = self.found.append, self._event, self.ops, self._others
        shortest, longest, most = _SHORTEST_CFG, _LONGEST_CFG, layout.MAX_RECORD
        pos = self._resume(data, 0, base, last=last) if self._lost_from is not None else 0
        end = len(data)
        head_end = end - _EVENT_HEAD
        while pos <= head_end:
            kind, event, length = event_at(data, pos)
            following = pos + 8 + length
            if kind == 1 and following <= end:  # TYPE_EVENT
                if event in ops and shortest <= length <= longest:
                    found(pos)
                    pos = following
                    continue
                if event in others and length <= most:
                    others[event] += 1
                    pos = following
                    continue
            size = self._size(data, pos)
            if size and pos + size <= end:
                self._take(data, pos, size, base)
                pos += size
            elif size and not last:
                break
            else:  # no record, or one that claims more than the file has
                self._lost_from = base + pos
                pos = self._resume(data, pos + 1, base, last=last)
        if last and end - pos >= _MAPPING_HEAD and self._mapping_size(data, pos) == end - pos:
            pos = end  # a mapping record shorter than the head of an event, and nothing follows it
        return min(pos, end)

    def finish(self, left: int, base: int) -> None:
        """Write the notes; the last ``left`` bytes of the file, at byte ``base``, are not a whole record."""
        notes = self._notes
        if self._lost_from is not None:
            base, left = self._lost_from, base + left - self._lost_from
        if left:
            notes.truncated = True
            notes.problem(
                "truncated", counted("the last {} [byte is|bytes are] not a whole record", left), base
            )
        if self._damages:
            notes.dropped += self._damages
            notes.problem(
                "damaged",
                f"the chain of records breaks at {count(self._damages, 'place')}, this is the first;"
                f" left out:"
                f" {count(self._skipped, 'byte')}, with at least one record at each place",
                self._first_damage,
            )
        self._marks.close("dropped")
        # QEMU names both, or its build has neither: events may have the damaged name.
        if len(self.ops) == 1 and any(event in self._names for event in self._others):
            notes.dropped += 1
            notes.problem("damaged", "only one of pci_cfg_read and pci_cfg_write has its name in the file")
        nameless = 0
        for event, number in self._others.items():
            if event in self._names:
                self._tally.others[self._names[event]] += number
            else:
                nameless += number
        if nameless:
            notes.dropped += nameless
            notes.problem(
                "damaged",
                counted(
                    "{} [event has|events have] a number that the file gives no name, and may be of a config"
                    " access",
                    nameless,
                ),
            )

    def _size(self, data: bytes, pos: int) -> int:
        """Return the size of the record that begins at ``pos``, or 0 if none can."""
        kind, event, length = self._event(data, pos)
        if kind != layout.TYPE_EVENT:
            return self._mapping_size(data, pos)
        if event in self.ops:
            fits = _SHORTEST_CFG <= length <= _LONGEST_CFG
        else:
            fits = layout.EVENT_HEADER_SIZE <= length <= layout.MAX_RECORD
        return 8 + length if fits else 0

    def _take(self, data: bytes, pos: int, size: int, base: int) -> None:
        """Take the record of ``size`` bytes at ``pos``, unless it is of the frequent kinds."""
        kind, event, length = self._event(data, pos)
        if kind == layout.TYPE_MAPPING:
            self._learn(event, data[pos + _MAPPING_HEAD : pos + size].decode("ascii"), base + pos)
        elif event == layout.DROPPED_EVENT_ID:
            number = self._u64(data, pos + _EVENT_HEAD)[0] if length == layout.DROPPED_LENGTH else -1
            self._mark(number, base + pos)
        elif len(self._others) < _MOST_NAMES:
            self._others[event] = 1
        else:
            self._tally.others["more kinds"] += 1

    def _mark(self, number: int, place: int) -> None:
        """Note that QEMU dropped ``number`` events."""
        if not 0 <= number <= _MOST_DROPPED:
            self._tally.damaged.add(1, place)
            return
        self._notes.dropped += number
        # The writer thread puts the mark in front of what its full ring still held.
        self._marks.add(
            "dropped",
            f"QEMU dropped {count(number, 'event')}, missing somewhere in the next"
            f" {layout.MAX_RECORD >> 10} KiB",
            place,
        )

    def _learn(self, event: int, name: str, place: int) -> None:
        """Note the name of an event."""
        if self._names.get(event, name) != name:
            self._tally.damaged.add(1, place)
        elif len(self._names) < _MOST_NAMES:
            self._names[event] = name
            if name in _OPS:
                self.ops[event] = _OPS[name]

    def _mapping_size(self, data: bytes, pos: int) -> int:
        """Return the size of the mapping record that begins at ``pos``, or 0 if none can."""
        kind, event, length = self._mapping(data, pos)
        if kind != layout.TYPE_MAPPING or event >= _MOST_ID or not 0 < length <= layout.MAX_NAME:
            return 0
        start = pos + _MAPPING_HEAD
        name = data[start : start + length]
        return _MAPPING_HEAD + length if _NAME.fullmatch(name) else 0

    def _resume(self, data: bytes, pos: int, base: int, *, last: bool) -> int:
        """Return the place at or after ``pos`` where the chain of records goes on.

        Without one, return the place up to which there is none, and stay lost.
        """
        start = base + pos if self._lost_from is None else self._lost_from
        end = len(data)
        # A place is only tried with the whole record and the head of the next one in sight.
        limit = end - _EVENT_HEAD if last else end - 2 * _MOST_LENGTH
        while pos < limit and self._damages <= _MOST_DAMAGES and self._tries <= _MOST_TRIES:
            count = min(_SCAN, limit - pos)
            kinds, events = (np.ndarray((count,), self._words, data, at, (1,)) for at in (pos, pos + 8))
            for place in (np.flatnonzero((kinds <= layout.TYPE_EVENT) & (events < _MOST_ID)) + pos).tolist():
                self._tries += 1
                size = self._trusted_size(data, place)
                if size and (self._trusted_size(data, place + size) or (last and place + size == end)):
                    self._damages += 1
                    self._skipped += base + place - start
                    self._first_damage = start if self._first_damage is None else self._first_damage
                    self._lost_from = None
                    return int(place)
            pos += count
        return max(pos, limit) if not last else end

    def _trusted_size(self, data: bytes, pos: int) -> int:
        """Return the size of a record at ``pos`` that is hardly there by chance, or 0."""
        if pos + _EVENT_HEAD > len(data):
            return 0
        kind, event, _ = self._event(data, pos)
        size = self._size(data, pos) if kind == layout.TYPE_MAPPING or event in self._names else 0
        return size if size <= _MOST_LENGTH else 0


_BLOCK = 4 << 20
_LARGEST_TIME = np.iinfo(np.int64).max


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a simpletrace file in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is CLOCK_MONOTONIC of the host; ``where`` is the byte of the record's type word.

    Raises:
        DamagedInputError: the file ends within its header.
        UnsupportedFormatError: a file version other than 4, or accesses of which none says its bus.
    """
    del options  # the format says everything itself
    order = _read_header(stream)
    notes.clock = "monotonic"  # QEMU's get_clock()
    tally = EventTally()
    finder = RecordFinder(order, notes, tally)
    pending, base, last = b"", layout.HEADER_SIZE, False
    while not last:
        data = pending + stream.read(_BLOCK)
        last = not stream.peek(1)
        used = finder.advance(data, base, last=last)
        if len(finder.found):
            events = _decode(data, np.frombuffer(finder.found, np.int64), finder.ops, order, tally, base)
            tally.accesses += len(events)
            if len(events):
                yield events.frame()
        pending = data[used:]
        base += used
    finder.finish(len(pending), base)
    tally.close(notes, "record")


def _read_header(stream: ByteStream) -> Literal["little", "big"]:
    head = stream.read(layout.HEADER_SIZE)
    order: Literal["little", "big"] = "big" if head.startswith(layout.MAGIC["big"]) else "little"
    if len(head) < layout.HEADER_SIZE:
        raise DamagedInputError(
            f"expected a file header of {layout.HEADER_SIZE} bytes, found {len(head)} bytes in all",
            path=stream.path,
            offset=0,
            advice="record again: nothing but the start of the header was written",
        )
    version = layout.LAYOUTS[order].header.parse(head).version
    if version != layout.VERSION:
        raise UnsupportedFormatError(
            f"expected simpletrace version {layout.VERSION}, found {version}"
            + (", which does not name its events" if version in (0, 2, 3) else ""),
            path=stream.path,
            offset=16,
            advice="record with QEMU 7.0 or newer",
        )
    return order


def _decode(
    data: bytes,
    places: NDArray[np.int64],
    ops: dict[int, int],
    order: Literal["little", "big"],
    tally: EventTally,
    base: int,
) -> CfgEvents:
    """Return the events of the ``pci_cfg_*`` records at ``places``; count those that cannot be used."""
    layouts = layout.LAYOUTS[order]
    head_type, arguments_type = dtype_of(layouts.cfg_head), dtype_of(layouts.cfg_arguments)
    old_size = dtype_of(layouts.old_cfg_arguments).itemsize
    head = gather(data, head_type, places)
    name_length = head["name_len"].astype(np.int64)
    size = head["length"].astype(np.int64) - layout.EVENT_HEADER_SIZE - 4 - name_length
    old = size == old_size
    if old.any():
        tally.no_bus.add(int(old.sum()), base + int(places[old][0]))
    good = size == arguments_type.itemsize
    at = places + np.where(good, head_type.itemsize + name_length, 0)
    arguments = gather(data, arguments_type, at)
    # A field of 64 bits that holds more than its 8, 5, 3, 12 or 32 bits is damage, not an access.
    for field, bits in layout.CFG_BITS.items():
        good &= arguments[field] < 1 << bits
    bad = ~(good | old)
    if bad.any():
        tally.damaged.add(int(bad.sum()), base + int(places[bad][0]))
    if not good.all():
        arguments, head, places = arguments[good], head[good], places[good]
    name = gather(data, np.dtype(f"S{len(layout.ABSENT_NAME)}"), places + head_type.itemsize)
    time = head["timestamp_ns"]
    writes = [event for event, op in ops.items() if op == WRITE]
    return CfgEvents.bare(
        where=places + base,
        time_ns=time.astype(np.int64),
        timed=time <= _LARGEST_TIME,
        op=np.isin(head["event_id"], np.array(writes, np.uint64)).astype(np.uint8),
        bus=arguments["bus"].astype(np.uint8),
        devfn=(arguments["slot"] << np.uint64(3) | arguments["func"]).astype(np.uint8),
        offset=arguments["offs"].astype(np.uint16),
        value=arguments["val"].astype(np.uint32),
        absent=(head["name_len"] == len(layout.ABSENT_NAME)) & (name == layout.ABSENT_NAME),
    )
