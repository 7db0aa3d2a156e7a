"""What each register held, and when: samples of one register out of the accesses of functions.

An access covers a register wholly, in part (byte of a word) or not at all; a sample therefore carries the
mask of the register bits that it shows (of lspci's text, which shows single bits, those alone). Where the
producer did not record the width (QEMU's trace events), an access at the first byte of a register is taken to
cover it, any other only as far as its value reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE, FirstReads, bytes_needed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from analyzer.observed.batches import Accesses


class Sample(NamedTuple):
    """One access as seen by one register.

    Attributes:
        row: row of the access.
        write: a write (the value need not have stuck) or a read.
        value: the register bits that the access carries, at their place in the register.
        mask: which bits those are.
        dead: a read of all ones: no response, so no data about the register.
        failed: the accessor returned an error to the kernel (then ``dead`` too).
    """

    row: int
    write: bool
    value: int
    mask: int
    dead: bool
    failed: bool = False

    def field(self, mask: int) -> int | None:
        """The field under ``mask``, shifted down; None where this access does not show all of it."""
        if self.dead or self.mask & mask != mask:
            return None
        return (self.value & mask) // (mask & -mask)


class RegisterAccesses(NamedTuple):
    """Accesses as one register sees them, those that miss it left out (fields as in :class:`Sample`).

    Attributes:
        places: positions in the accesses that were asked.
    """

    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    writes: NDArray[np.bool_]
    values: NDArray[np.int64]
    masks: NDArray[np.int64]
    dead: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def samples(self) -> list[Sample]:
        """One by one."""
        return list(map(Sample, *(column.tolist() for column in self[1:])))


class OfRuns(NamedTuple):
    """The accesses that one register of several runs sees; each run's become samples when they are asked for.

    Attributes:
        seen: of all runs, one run after the other.
        edges: where each run begins in them, and the end of the last.
    """

    seen: RegisterAccesses
    edges: list[int]

    def samples(self, run: int) -> list[Sample]:
        """Those of one run."""
        first, last = self.edges[run : run + 2]
        if first == last:
            return []
        return list(map(Sample, *(column[first:last].tolist() for column in self.seen[1:])))


def by_run(seen: RegisterAccesses, run: NDArray[np.int64], runs: int) -> OfRuns:
    """Keep accesses by run (``run``: of each access that was asked)."""
    return OfRuns(seen, np.searchsorted(run[seen.places], np.arange(runs + 1)).tolist())


def assembled(samples: Iterable[Sample]) -> tuple[int, int]:
    """The last known bits of a register, and the mask of those that are known: however it was accessed."""
    value = known = 0
    for sample in samples:
        if not sample.dead:
            value, known = value & ~sample.mask | sample.value & sample.mask, known | sample.mask
    return value, known


def seen(accesses: Accesses, starts: NDArray[np.int32] | int, size: int) -> RegisterAccesses:
    """Every access that shows or changes some of a register.

    Args:
        accesses: the accesses.
        starts: offset of the register, or one for each access.
        size: bytes of the register, 1 to 4.
    """
    into = accesses.offsets - starts
    places = np.flatnonzero((into > -4) & (into < size))
    into = into[places].astype(np.int64)
    value, wide = accesses.values[places], accesses.widths[places].astype(np.int64)
    write, failed = accesses.writes[places], accesses.failed[places]
    # Of unknown width: what the value certainly has, and the whole register from its first byte on.
    width = np.where(wide > 0, wide, np.maximum(bytes_needed(value), np.where(into == 0, size, 1)))
    low, high = np.maximum(into, 0), np.minimum(into + width, size)
    mask = np.where(low < high, ((1 << 8 * np.maximum(high - low, 0)) - 1) << 8 * low, 0)
    if accesses.known is not None:
        mask &= accesses.known[places] >> 8 * (low - into) << 8 * low
    moved = value >> 8 * (low - into) << 8 * low & mask
    dead = failed | (~write & (accesses.absent[places] | (value == _all_ones(value, wide))))
    found = RegisterAccesses(places, accesses.rows[places], write, moved, mask, dead, failed)
    inside = mask > 0
    return found if inside.all() else RegisterAccesses._make(column[inside] for column in found)


def _all_ones(value: NDArray[np.int64], width: NDArray[np.int64]) -> NDArray[np.int64]:
    """The all-ones value that a dead read of this width returns; unknown widths take the wide ones only."""
    unknown = np.where(value > 0xFFFF, 0xFFFFFFFF, 0xFFFF)
    return np.where(width > 0, (np.int64(1) << 8 * width) - 1, unknown)


@dataclass(frozen=True)
class RegisterView:
    """The accesses of one function between two rows, in order."""

    function: int
    accesses: Accesses
    _samples: dict[tuple[int, int], list[Sample]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the accesses in the capture."""
        return self.accesses.rows

    @property
    def offsets(self) -> NDArray[np.int32]:
        """Register offset of each access."""
        return self.accesses.offsets

    @property
    def writes(self) -> NDArray[np.bool_]:
        """Which of them are writes."""
        return self.accesses.writes

    def samples(self, start: int, size: int) -> list[Sample]:
        """Every access that shows or changes some of the register at ``start`` of ``size`` bytes."""
        known = self._samples.get((start, size))
        if known is None:
            known = self._samples[start, size] = seen(self.accesses, start, size).samples()
        return known

    def register(self, start: int, size: int, bits: int | None = None) -> tuple[int, int] | None:
        """Value of a register of 1, 2 or 4 bytes as the first answered reads show it, and the last's row.

        ``bits`` as in :meth:`analyzer.observed.registers.first_reads.FirstReads.at`.
        """
        values, places = self._first.find(np.zeros(1, np.int64), start, size, bits)
        return None if values[0] == NONE else (int(values[0]), int(self.rows[places[0]]))

    @cached_property
    def _first(self) -> FirstReads:
        return FirstReads(self.accesses, np.zeros(self.rows.size, np.int64), 1)
