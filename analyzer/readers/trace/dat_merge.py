"""Bring the rows of many CPUs into one order: by time between CPUs, as recorded within each of them.

Works on blocks, so that memory stays bounded: what is earlier than the end of every CPU's block is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.readers.trace import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.readers.trace.dat_pages import Records
    from analyzer.readers.trace.rows import TraceRows

_LATEST = np.iinfo(np.int64).max


class CpuRows(NamedTuple):
    """Rows of a block of one CPU, a key that never falls for each, and the highest key of the block."""

    rows: TraceRows
    keys: NDArray[np.int64]
    last: int


class KeyMaker:
    """Makes keys of the records of one CPU: their time, except where damage forbids it.

    A page whose time is beyond that of the next one, or before that of the one before, while these two fit
    each other, was damaged: its records keep their place in the order of the CPU, at the next one's time.
    """

    def __init__(self) -> None:
        self._before: int | None = None  # time of the last page of the block before, repaired
        self._last = 0

    def keys(
        self, records: Records, next_page: int | None
    ) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
        """Return a key for each record, the highest key up to here, and the pages whose time was repaired.

        Args:
            records: a block of the CPU; blocks come in order.
            next_page: time of the first page of the next block, None if there is none.
        """
        page = _signed(records.page_time)
        after = np.append(page[1:], _LATEST if next_page is None else min(next_page, _LATEST))
        first = page[0] if self._before is None else self._before
        before = np.concatenate(([min(first, after[0])], page[:-1])) if len(page) else page
        high = (page > after) & (before <= after)
        low = (page < before) & (before <= after)
        empty = np.bincount(records.page, minlength=len(page)) == 0
        wrong = np.flatnonzero(high | low | empty)
        page = page.copy()
        for number in reversed(wrong.tolist()):
            following = page[number + 1] if number + 1 < len(page) else after[number]
            page[number] = following if following != _LATEST else before[number]
        if len(page):
            self._before = int(page[-1])
        upper = np.append(page[1:], after[-1:])
        if next_page is None and len(wrong) and wrong[-1] == len(page) - 1:
            upper[-2:] = _LATEST  # the last page of all says nothing of the one before
        low_edge, high_edge = page[records.page], np.maximum(page, upper)[records.page]
        keys = np.clip(_signed(records.time), low_edge, high_edge)
        if len(keys):
            keys = np.maximum(np.maximum.accumulate(keys), self._last)
            self._last = int(keys[-1])
        return keys, self._last, wrong[~empty[wrong]]


def _signed(time: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.minimum(time, np.uint64(_LATEST)).astype(np.int64)


class _CpuParts:
    """The parts of one CPU and what of the current one is not taken yet."""

    def __init__(self, parts: Iterable[CpuRows]) -> None:
        self._parts = iter(parts)
        self.rows = rows.make(0)
        self.keys = np.zeros(0, np.int64)
        self.last = -1
        self.ended = False

    def fill(self, horizon: int) -> None:
        """Get parts until one reaches beyond ``horizon``, or the CPU ends."""
        while not self.ended and not len(self.keys) and self.last <= horizon:
            part = next(self._parts, None)
            if part is None:
                self.ended = True
            else:
                self.rows, self.keys, self.last = part

    def take(self, horizon: int) -> tuple[TraceRows, NDArray[np.int64]]:
        """Return and remove the rows up to and with ``horizon``."""
        count = int(np.searchsorted(self.keys, horizon, side="right"))
        taken = self.rows.pick(slice(0, count)), self.keys[:count]
        self.rows, self.keys = self.rows.pick(slice(count, None)), self.keys[count:]
        return taken


def merged(cpus: Sequence[Iterable[CpuRows]]) -> Iterator[TraceRows]:
    """Yield the rows of all CPUs in order; where times are equal, that of the CPUs decides."""
    sources = [_CpuParts(parts) for parts in cpus]
    horizon = -1
    while True:
        for source in sources:
            source.fill(horizon)
        running = [source.last for source in sources if not source.ended]
        horizon = min(running) if running else _LATEST
        taken = [source.take(horizon) for source in sources if len(source.keys)]
        if taken:
            batch = rows.concat([part for part, _ in taken])
            if len(taken) > 1:
                order = np.argsort(np.concatenate([keys for _, keys in taken]), kind="stable")
                batch = batch.pick(order)
            if len(batch):
                yield batch
        if not running:
            return
        sources = [source for source in sources if not source.ended or len(source.keys)]
