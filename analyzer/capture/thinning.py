"""Very long captures without what they say over and over: a driver that polls a register for hours.

Only captures beyond :data:`LONG` accesses are thinned, at decode, so that memory does not grow with the file.
A read is left out where the same register of the same function was just read with the same result, nothing
was written to that function in between, and the same will be read again; of at least ``RUN`` such reads in a
row the first and the last remain. In the header (below 0x40), where the order of a scan is recognised, the
reads must follow each other without any other access to the function. Every ``SAMPLE``-th access remains
whatever it is, so that no silence appears where there was none. Access numbers stay those of the recording.

A run ends at every boundary between kernels that the capture or the user states: what a kernel reads is not
what the one before it read, and a boot keeps its first access, its last, and each register that it read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.options import explicit_boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Notes

#: Captures of up to so many accesses are kept whole.
LONG: Final = 1 << 18
RUN: Final = 16
SAMPLE: Final = 256
_HEADER: Final = 0x40
#: Larger numbers than this name neither an access nor a time.
_MOST: Final = (1 << 63) - 1


class Marks:
    """Boundaries of one file, as far as they are known while it is read.

    Args:
        notes: of the reader; a file may state a boundary before its accesses or after them.
        kexec_at: boundaries that the user gives, as ``Options.kexec_at``; wrong ones are reported elsewhere.
        first: accesses of the pieces that this file goes on from, which ``kexec_at`` counts too.
        given: boundaries that are known beforehand, as numbers of accesses of the file.
    """

    def __init__(
        self, notes: Notes, kexec_at: Sequence[str] = (), first: int = 0, given: Sequence[int] = ()
    ) -> None:
        by_hand = [found for text in kexec_at if (found := explicit_boundary(text)) and found[1] <= _MOST]
        self._times = [number for word, number in by_hand if word == "time"]
        numbers = [number - first for word, number in by_hand if word == "access"]
        self._known = np.array([*given, *numbers], np.int64)
        self._notes = notes
        self._taken = 0
        self._used: list[NDArray[np.int64]] = []

    def within(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """Return the accesses of a frame that are the first after a boundary, sorted; they count as used."""
        marks = self._notes.boundaries
        if len(marks) > self._taken:
            fresh = np.array([min(mark.seq, _MOST) for mark in marks[self._taken :]], np.int64)
            self._known, self._taken = np.concatenate([self._known, fresh]), len(marks)
        seq = _numbers(frame)
        found = self._known[(self._known >= seq[0]) & (self._known <= seq[-1])] if seq.size else seq
        for time in self._times:
            rows = (frame.get_column("time_ns") >= time).arg_true()
            found = np.append(found, seq[rows[:1].to_numpy()])
        found.sort()
        self._used.append(found)
        return found

    def late(self, recorded: int) -> list[int]:
        """Return the boundaries of a file of so many accesses that were not known when they were due."""
        seqs = {mark.seq for mark in self._notes.boundaries if 0 < mark.seq < recorded}
        return sorted(seqs.difference(*(found.tolist() for found in self._used)))


def thin(frame: pl.DataFrame, marks: NDArray[np.int64] | None = None) -> pl.DataFrame:
    """Leave out the reads that say nothing new.

    Args:
        frame: columns of ``accesses.SCHEMA``, in order.
        marks: numbers of its accesses that are the first after a boundary, sorted.
    """
    if not frame.height:
        return frame
    seq = _numbers(frame)
    boot = None if marks is None or not marks.size else np.searchsorted(marks, seq, side="right")
    keep = ~_repeats(frame, boot)
    keep |= seq % SAMPLE == 0
    return frame if keep.all() else frame.filter(keep)


def _repeats(frame: pl.DataFrame, boot: NDArray[np.int64] | None) -> NDArray[np.bool_]:
    """Mask of the reads inside a run of equal reads of one register; ``boot``: in which each access is."""
    functions = _codes(frame)
    offsets = frame.get_column("offset").to_numpy()
    is_write = frame.get_column("op").to_physical().to_numpy() == 1
    by_function = np.argsort(functions, kind="stable")
    place = np.empty(frame.height, np.int64)  # of an access, function by function
    place[by_function] = np.arange(frame.height)
    written = np.empty(frame.height, np.int64)  # writes to the function so far; other functions' count too
    written[by_function] = np.cumsum(is_write[by_function])
    by_offset = np.argsort(offsets, kind="stable")
    order = by_offset[np.argsort(functions[by_offset], kind="stable")]

    here, before = order[1:], order[:-1]
    same = (functions[here] == functions[before]) & (offsets[here] == offsets[before])
    same &= ~is_write[here] & ~is_write[before] & (written[here] == written[before])
    for name in ("value", "width", "status", "absent"):
        column = frame.get_column(name)
        values = (column.to_physical() if name == "status" else column).to_numpy()
        same &= values[here] == values[before]
    same &= (offsets[here] >= _HEADER) | (place[here] == place[before] + 1)
    if boot is not None:
        same &= boot[here] == boot[before]

    again = np.r_[False, same]  # equal to the one before
    more = np.r_[same, False]  # and so is the one after
    run = np.cumsum(~again) - 1
    long = np.bincount(run)[run] >= RUN
    found = np.zeros(frame.height, np.bool_)
    found[order[again & more & long]] = True
    return found


def _numbers(frame: pl.DataFrame) -> NDArray[np.int64]:
    return frame.get_column("seq").to_numpy().astype(np.int64)  # together with marks, u64 would become floats


def _codes(frame: pl.DataFrame) -> NDArray[np.unsignedinteger]:
    """A small number for each function: 16 bits sort in linear time."""
    domain = frame.get_column("domain").to_numpy()
    routing = frame.get_column("bus").to_numpy().astype(np.uint16) << 8 | frame.get_column("devfn").to_numpy()
    if not domain.any():
        return np.asarray(routing)
    _, codes = np.unique(domain.astype(np.int64) << 16 | routing, return_inverse=True)
    return codes.astype(np.uint16 if codes.max() < 1 << 16 else np.uint32)
