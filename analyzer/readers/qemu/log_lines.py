"""Take the ``pci_cfg_*`` lines of QEMU's ``log`` trace backend apart, a block of text at a time.

Every dialect and both argument schemas are one grammar (source: QEMU ``scripts/tracetool/backend/log.py`` and
``hw/pci/trace-events`` of 2.12 to 10.1)::

    [PREFIX ] [TIME] EVENT DEVICE ADDRESS @0xOFFSET {->|<-} 0xVALUE
    TIME      TID@SEC.USEC:  or  YYYY-MM-DDTHH:MM:SS[.USEC]Z and a space
    ADDRESS   BUS:SLOT.FUNC  or, before QEMU 7.0,  SLOT:FUNC in decimal

A line is read from both ends: the numbers from its end backwards, the time from the event's name backwards,
each step for all lines of the block at once. What does not fit in every detail is not an access.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.capture.accesses import READ, WRITE
from analyzer.readers.qemu.events import CfgEvents
from analyzer.readers.text_blocks import MAX_LINE
from schemas.simpletrace import ABSENT_NAME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

#: In front of the text, so that looking back from its first bytes stays within the buffer.
_MARGIN = b"\n" * 64
_NEWLINE, _RETURN, _SPACE, _TAB, _COLON = b"\n\r \t:"
_LATEST_NS = np.iinfo(np.int64).max


def _digit_values() -> NDArray[np.uint8]:
    values = np.full(256, 255, np.uint8)
    values[list(b"0123456789abcdef")] = np.arange(16)
    return values


_DIGITS = _digit_values()


@dataclass(frozen=True)
class Lines:
    """What the lines of a block are.

    Attributes:
        events: the accesses that say their bus; ``where`` is the start of the line.
        no_bus: the accesses in the schema before QEMU 7.0, ``bus`` 0 for want of a number.
        damaged: starts of lines that begin an access and do not end as one.
        long: starts of lines longer than ``MAX_LINE``.
        foreign: starts of the other lines that are not empty.
        foreign_text: these lines, each with its newline.
    """

    events: CfgEvents
    no_bus: CfgEvents
    damaged: Places
    long: Places
    foreign: Places
    foreign_text: bytes


def parse(text: bytes, base: int = 0) -> Lines:
    """Take whole lines apart.

    Args:
        text: lines, the last one with its newline too.
        base: place of ``text`` in the uncompressed stream; all places in the result count from there.
    """
    raw = np.frombuffer(_MARGIN + text, np.uint8)
    newlines = np.flatnonzero(raw[len(_MARGIN) :] == _NEWLINE) + len(_MARGIN)
    starts = np.concatenate(([len(_MARGIN)], newlines[:-1] + 1)) if len(newlines) else newlines
    ends = newlines - (raw[newlines - 1] == _RETURN)
    too_long = ends - starts > MAX_LINE
    names, ops = _find_events(raw)
    line_of = np.searchsorted(newlines, names)
    events_in = np.bincount(line_of, minlength=len(newlines))
    sole = (events_in[line_of] == 1) & ~too_long[line_of]
    lines = line_of[sole]
    parsed = _Parser(raw, starts[lines], names[sole], ends[lines]).parse(ops[sole], base - len(_MARGIN))
    damaged = events_in > 0
    damaged[lines[parsed.good]] = False
    foreign = (events_in == 0) & (ends > starts) & ~too_long
    shift = base - len(_MARGIN)
    return Lines(
        events=parsed.events.pick(parsed.good & parsed.has_bus),
        no_bus=parsed.events.pick(parsed.good & ~parsed.has_bus),
        damaged=starts[damaged & ~too_long] + shift,
        long=starts[too_long] + shift,
        foreign=starts[foreign] + shift,
        foreign_text=_lines_text(raw, starts, newlines, foreign),
    )


def _lines_text(raw: NDArray[np.uint8], starts: Places, newlines: Places, chosen: NDArray[np.bool_]) -> bytes:
    if not chosen.any():
        return b""
    kept = np.repeat(chosen, newlines + 1 - starts)
    return raw[starts[0] : newlines[-1] + 1][kept].tobytes()


def _find_events(raw: NDArray[np.uint8]) -> tuple[Places, NDArray[np.uint8]]:
    """Return the places of ``pci_cfg_read `` and ``pci_cfg_write `` in order, and which it is."""
    # Underscores are rare, and a numpy pass over bytes is fast: the second one of the name leads to it.
    marks = np.flatnonzero(raw == ord("_"))
    marks = marks[(marks >= len(_MARGIN)) & (marks < len(raw) - 8)] - 7
    marks = marks[_bytes_at(raw, marks, 8) == b"pci_cfg_"]
    read = _bytes_at(raw, marks + 8, 5) == b"read "
    write = _bytes_at(raw, marks + 8, 6) == b"write "
    event = read | write
    return marks[event], np.where(write[event], np.uint8(WRITE), np.uint8(READ))


def _bytes_at(raw: NDArray[np.uint8], places: Places, size: int) -> NDArray[Any]:
    """Return ``size`` bytes from each of ``places`` as numpy byte strings (trailing NULs do not count)."""
    return _window(raw, np.dtype(f"S{size}"))[places]


def _window(raw: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return ``raw`` as overlapping items of ``dtype``, one from every byte on (no copy)."""
    return np.ndarray((max(len(raw) - dtype.itemsize + 1, 0),), dtype, raw.data, 0, (1,))


@dataclass(frozen=True)
class _Parsed:
    events: CfgEvents
    good: NDArray[np.bool_]
    has_bus: NDArray[np.bool_]


class _Parser:
    """Lines with one event each: start of each line, place of the event's name, end of the line."""

    def __init__(self, raw: NDArray[np.uint8], starts: Places, names: Places, ends: Places) -> None:
        self.raw = raw
        self.starts = starts
        self.names = names
        self.ends = ends

    def parse(self, ops: NDArray[np.uint8], shift: int) -> _Parsed:
        """Return a row per line; ``shift`` turns a place in the buffer into one in the stream."""
        value, at, good = self._number_before(self.ends, 16, 8)
        arrow = _bytes_at(self.raw, at - 6, 6)
        good &= arrow == np.where(ops == WRITE, b" <- 0x", b" -> 0x")
        offset, at, fine = self._number_before(at - 6, 16, 8)
        good &= fine & (offset <= 0xFFF) & (_bytes_at(self.raw, at - 4, 4) == b" @0x")
        bus, devfn, has_bus, device_end, fine = self._address_before(at - 4)
        device = self.names + np.where(ops == WRITE, 14, 13)
        good &= fine & (device_end > device)
        absent = (device_end - device == len(ABSENT_NAME)) & (
            _bytes_at(self.raw, np.minimum(device, len(self.raw) - 5), len(ABSENT_NAME)) == ABSENT_NAME
        )
        time, timed, fine = self._time_before_name()
        good &= fine
        return _Parsed(
            events=CfgEvents.bare(
                where=self.starts + shift,
                time_ns=time,
                timed=timed,
                op=ops,
                bus=bus,
                devfn=devfn,
                offset=offset.astype(np.uint16),
                value=value.astype(np.uint32),
                absent=absent,
            ),
            good=good,
            has_bus=has_bus,
        )

    def _number_before(
        self, ends: Places, base: int, most: int
    ) -> tuple[NDArray[np.int64], Places, NDArray[np.bool_]]:
        """Return the number (1 to ``most`` digits) that stops at each end, its place, whether it is there."""
        columns = np.take(_DIGITS, self._columns_before(ends, most + 1).T)
        number = np.zeros(len(ends), np.int64)
        count = np.zeros(len(ends), np.int64)
        running = np.ones(len(ends), bool)  # whether there were only digits so far
        for position, column in enumerate(columns[:0:-1]):
            running &= column < base
            number += np.where(running, column, 0).astype(np.int64) * base**position
            count += running
        one_more = running & (columns[0] < base)
        return number, ends - count, (count > 0) & ~one_more

    def _columns_before(self, ends: Places, size: int) -> NDArray[np.uint8]:
        """Return the ``size`` bytes in front of each end as a row of a matrix."""
        rows = _window(self.raw, np.dtype(f"V{size}"))[ends - size]
        return rows.view(np.uint8).reshape(len(ends), size)

    def _address_before(
        self, ends: Places
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_], Places, NDArray[np.bool_]]:
        """Return bus, devfn, whether the bus is said, the end of the device's name, whether it all fits.

        QEMU >= 7.0 writes ``%02x:%02x.%x``, older ones ``%02u:%u`` (decimal: ``18:0`` is slot 0x12).
        """
        text = self._columns_before(ends, 8)
        digit = _DIGITS[text]
        ten, one, function = digit[:, 4], digit[:, 5], digit[:, 7]
        bus_high, bus_low = digit[:, 1], digit[:, 2]
        hexadecimal = (
            (text[:, 0] == _SPACE) & (bus_high < 16) & (bus_low < 16) & (text[:, 3] == _COLON)
            & (ten < 2) & (one < 16) & (text[:, 6] == ord("."))
        )  # fmt: skip
        decimal = (text[:, 3] == _SPACE) & (ten < 10) & (one < 10) & (text[:, 6] == _COLON)
        slot = np.where(hexadecimal, ten * np.uint8(16), ten * np.uint8(10)) + one
        fits = (hexadecimal | decimal) & (function < 8) & (slot < 32)
        bus = np.where(hexadecimal, bus_high << 4 | bus_low, 0).astype(np.uint8)
        devfn = (slot << 3 | function).astype(np.uint8)
        return bus, devfn, hexadecimal, ends - np.where(hexadecimal, 8, 5), fits

    def _time_before_name(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the time in ns, whether there is one, and whether the start of the line fits.

        Behind any prefix that ends in white space (syslog, journal) stands one of the times or none.
        """
        time = np.zeros(len(self.names), np.int64)
        timed = np.zeros(len(self.names), bool)
        before = self.raw[self.names - 1]
        fits = (self.names == self.starts) | (before == _SPACE) | (before == _TAB)
        seconds = np.flatnonzero((before == _COLON) & (self.names > self.starts))
        if len(seconds):
            time[seconds], fits[seconds] = self._unix_time(self.names[seconds] - 1, self.starts[seconds])
            timed[seconds] = fits[seconds]
        iso = np.flatnonzero((before == _SPACE) & (self.raw[self.names - 2] == ord("Z")))
        if len(iso):
            time[iso], timed[iso] = self._iso_time(self.names[iso] - 2, self.starts[iso])
        return time, timed, fits

    def _unix_time(self, ends: Places, starts: Places) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the ns of ``TID@SEC.USEC`` in front of each end, and whether that is what stands there."""
        micros, at, fits = self._number_before(ends, 10, 6)
        fits &= (at == ends - 6) & (self.raw[at - 1] == ord("."))
        seconds, at, fine = self._number_before(at - 1, 10, 10)
        fits &= fine & (self.raw[at - 1] == ord("@")) & (seconds < _LATEST_NS // 10**9)
        _, at, fine = self._number_before(at - 1, 10, 10)
        fits &= fine & self._at_word_start(at, starts)
        return seconds * 10**9 + micros * 1000, fits

    def _iso_time(self, ends: Places, starts: Places) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the ns of ``YYYY-MM-DDTHH:MM:SS[.USEC]`` in front of each end, and whether it is there."""
        fraction, at, _ = self._number_before(ends, 10, 6)
        has_fraction = self.raw[at - 1] == ord(".")
        nanos = np.where(has_fraction, fraction * 10 ** (9 - np.minimum(ends - at, 9)), 0)
        at = np.where(has_fraction, at - 1, ends)
        text = self._columns_before(at, 19)
        digit = _DIGITS[text].astype(np.int64)
        marks = [4, 7, 10, 13, 16]
        fits = (text[:, marks] == np.frombuffer(b"--T::", np.uint8)).all(axis=1)
        fits &= (np.delete(digit, marks, axis=1) < 10).all(axis=1)
        two = digit[:, :-1] * 10 + digit[:, 1:]  # column c: the two digits that begin there
        year, month, day = two[:, 0] * 100 + two[:, 2], two[:, 5], two[:, 8]
        hour, minute, second = two[:, 11], two[:, 14], two[:, 17]
        fits &= (year >= 1970) & (year < 2262) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
        fits &= (hour < 24) & (minute < 60) & (second <= 60) & self._at_word_start(at - 19, starts)
        first = ((year - 1970) * 12 + month - 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
        seconds = ((first + day - 1) * 24 + hour) * 3600 + minute * 60 + second
        return np.where(fits, seconds * 10**9 + nanos, 0), fits

    def _at_word_start(self, places: Places, starts: Places) -> NDArray[np.bool_]:
        before = self.raw[places - 1]
        fits: NDArray[np.bool_] = (places == starts) | (
            (places > starts) & ((before == _SPACE) | (before == _TAB))
        )
        return fits
