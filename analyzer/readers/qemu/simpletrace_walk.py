"""Find the records of a simpletrace file (layout: :mod:`schemas.simpletrace`), whatever happened to it.

Records are of variable length and follow each other without marks, so each is found through the length of the
one before. Where that chain breaks, the walk looks for the next place at which two records follow each
other, and keeps account of what it left out.
"""

from __future__ import annotations

import re
import struct
from array import array
from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.tallies import ProblemList
from schemas import simpletrace as layout

if TYPE_CHECKING:
    from analyzer.capture import Notes
    from analyzer.readers.qemu.events import EventTally

#: Bounds of ``length`` of a pci_cfg_* record: older schema with an empty name, newer with the longest.
_SHORTEST_CFG = layout.EVENT_HEADER_SIZE + 4 + 8 * len(layout.OLD_CFG_ARGUMENTS)
_LONGEST_CFG = layout.EVENT_HEADER_SIZE + 4 + layout.MAX_STRING + 8 * len(layout.CFG_BITS)
#: Bytes of an event record in front of its arguments, and of a mapping record in front of its name.
_EVENT_HEAD, _MAPPING_HEAD = 8 + layout.EVENT_HEADER_SIZE, 8 + 12
_OPS = {layout.READ_EVENT: READ, layout.WRITE_EVENT: WRITE}
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
#: Limits that no file of QEMU reaches: event names, broken places, places tried behind broken ones, ids, and
#: the length of a record that may mark the end of damage.
_MOST_NAMES, _MOST_DAMAGES, _MOST_TRIES, _MOST_ID, _MOST_LENGTH = 1 << 16, 1000, 1 << 20, 1 << 32, 4096
#: The count of dropped events is an int in QEMU.
_MOST_DROPPED = (1 << 31) - 1
_SCAN = 1 << 16


class Walk:
    """The way through one file, block by block.

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
        """Write the notes; the last ``left`` bytes of the file, at byte ``base``, are no whole record."""
        notes = self._notes
        if self._lost_from is not None:
            base, left = self._lost_from, base + left - self._lost_from
        if left:
            notes.truncated = True
            notes.problem("truncated", f"the last {left} bytes are no whole record", base)
        if self._damages:
            notes.dropped += self._damages
            notes.problem(
                "damaged",
                f"the chain of records breaks at {self._damages} places, this is the first; {self._skipped}"
                " bytes with at least one record at each place are left out",
                self._first_damage,
            )
        self._marks.close("dropped")
        # QEMU names both, or its build has neither: events may hide behind the damaged name.
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
                f"{nameless} events have a number that the file gives no name: they may be config accesses",
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
            f"QEMU dropped {number} events, which are missing somewhere in the next"
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
        """Return the place at or behind ``pos`` where the chain of records goes on.

        Without one, return the place up to which there is none, and stay lost.
        """
        start = base + pos if self._lost_from is None else self._lost_from
        end = len(data)
        # A place is only judged with the whole record and the head of the next one in sight.
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
