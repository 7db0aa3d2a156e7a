"""Bus numbers of bridges, out of every access to them; of many bridges at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed.registers.first_reads import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.observed.registers.samples import RegisterAccesses


def of_runs(
    seen: RegisterAccesses, run: NDArray[np.int64], runs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bus numbers that each run read first, before it wrote, and those that it last used.

    Returns:
        twice a table with a row for each run: primary, secondary, subordinate, and the row of the access that
        shows or sets them; all :data:`NONE` where there is none.
    """
    first, last = np.full((runs, 4), NONE, np.int64), np.full((runs, 4), NONE, np.int64)
    its = run[seen.places]
    places = np.arange(len(its))
    begin = np.searchsorted(its, its)  # of the run that each sample is of
    shown = [~seen.dead & (seen.masks >> 8 * byte & 1 == 1) for byte in range(3)]
    bytes_of = [seen.values >> 8 * byte & 0xFF for byte in range(3)]

    wrote = _latest(places, seen.writes, begin)
    state = [_latest(places, one, begin) for one in shown]
    whole = (state[0] >= 0) & (state[1] >= 0) & (state[2] >= 0) & ~seen.dead
    used = np.flatnonzero(whole & (bytes_of[1][state[1]] > 0))
    _fill(last, its, used, seen.rows, [bytes_of[byte][state[byte]] for byte in range(3)])

    # The first sample that completes the three, each byte as it was shown first.
    complete = np.flatnonzero(whole & (wrote < 0))[::-1]
    earliest = [_earliest(places, one, its, runs) for one in shown]
    _fill(first, its, complete, seen.rows, [bytes_of[byte][earliest[byte][its]] for byte in range(3)])
    return first, last


def _fill(
    found: NDArray[np.int64],
    its: NDArray[np.int64],
    chosen: NDArray[np.int64],
    rows: NDArray[np.int64],
    values: list[NDArray[np.int64]],
) -> None:
    """Note the bus numbers of the last chosen sample of each run."""
    winner = np.full(len(found), NONE, np.int64)
    winner[its[chosen]] = chosen
    runs = np.flatnonzero(winner != NONE)
    for place, column in enumerate((*values, rows)):
        found[runs, place] = column[winner[runs]]


def _latest(
    places: NDArray[np.int64], marked: NDArray[np.bool_], begin: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each sample the place of the last marked one up to it in its run, or NONE."""
    latest = np.maximum.accumulate(np.where(marked, places, NONE))
    return np.where(latest >= begin, latest, NONE)


def _earliest(
    places: NDArray[np.int64], marked: NDArray[np.bool_], its: NDArray[np.int64], runs: int
) -> NDArray[np.int64]:
    """For each run the place of its first marked sample (0 where there is none)."""
    first = np.zeros(runs, np.int64)
    chosen = places[marked][::-1]
    first[its[chosen]] = chosen
    return first
