"""Accesses of many functions to one register, searched for many questions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A row of a capture, of a function: the number of the function in its table times this, and the row.
_RUN = np.int64(1) << 40
_NOWHERE = np.iinfo(np.int64).max


class RunAccesses(NamedTuple):
    """Accesses of many functions to one register, by function and row.

    Attributes:
        places: function and row of each, ascending (:func:`place`).
        writes, values, masks, dead, failed: as in :class:`analyzer.observed.registers.samples.Sample`.
    """

    places: NDArray[np.int64]
    writes: NDArray[np.bool_]
    values: NDArray[np.int64]
    masks: NDArray[np.int64]
    dead: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    @classmethod
    def nothing(cls) -> RunAccesses:
        """No access."""
        numbers, flags = np.empty(0, np.int64), np.empty(0, np.bool_)
        return cls(numbers, flags, numbers, numbers, flags, flags)

    def of(self, chosen: NDArray[np.bool_]) -> RunAccesses:
        """Some of them."""
        return RunAccesses._make(column[chosen] for column in self)

    def first(self, after: NDArray[np.int64], before: NDArray[np.int64]) -> ChosenAccesses:
        """For each pair of places the first access between them."""
        at = np.searchsorted(self.places, after, side="right")
        return self._chosen(at, before > np.append(self.places, _NOWHERE)[at])

    def last(self, after: NDArray[np.int64], before: NDArray[np.int64]) -> ChosenAccesses:
        """For each pair of places the last access between them."""
        at = np.searchsorted(self.places, before) - 1
        return self._chosen(at, np.append(self.places, -_NOWHERE)[at] > after)

    def _chosen(self, at: NDArray[np.int64], there: NDArray[np.bool_]) -> ChosenAccesses:
        if not self.places.size:
            nothing = np.zeros(len(at), np.int64)
            return ChosenAccesses(there, nothing + NONE, there, nothing, nothing, there, there)
        at = np.where(there, at, 0)
        return ChosenAccesses(
            there,
            np.where(there, self.places[at] % _RUN, NONE),
            self.writes[at] & there,
            self.values[at],
            self.masks[at],
            self.dead[at] & there,
            self.failed[at] & there,
        )


class ChosenAccesses(NamedTuple):
    """One access, or none, for each of several questions; ``rows``: :data:`NONE` where there is none."""

    there: NDArray[np.bool_]
    rows: NDArray[np.int64]
    writes: NDArray[np.bool_]
    values: NDArray[np.int64]
    masks: NDArray[np.int64]
    dead: NDArray[np.bool_]
    failed: NDArray[np.bool_]

    def flag(self, mask: int) -> NDArray[np.int64]:
        """A bit as the accesses show it: 0, 1 or :data:`NONE` (see ``Sample.field``)."""
        shown = self.there & ~self.dead & (self.masks & mask == mask)
        return np.where(shown, self.values & mask != 0, NONE)


def place(functions: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for a function of the table and a row of its capture; that order, too."""
    return functions * _RUN + rows


def flags_of(column: NDArray[np.generic]) -> list[bool | None]:
    """A column of flags as plain values; :data:`NONE` is None."""
    return [None if value == NONE else bool(value) for value in column.tolist()]
