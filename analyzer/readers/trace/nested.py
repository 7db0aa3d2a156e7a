"""Tell records of one access: by nested functions (raw_pci_read calls pci_conf1_read), or in two buffers.

Rows of one thread that directly follow each other, are equal in everything but the event, and are close in
time, are one access or several of them; those of the event that came first count.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from analyzer.readers.tallies import Count
from analyzer.readers.trace import rows

if TYPE_CHECKING:
    from analyzer.readers.trace.rows import TraceRows

#: What is equal in one access; ``domain`` is not, as only some functions are given it.
_SAME = ("kind", "op", "bus", "devfn", "address", "width", "value")
#: Longer apart, rows are no nested calls.
_MOST_NS = 10_000_000


class NestedProbes:
    """Remembers the last row of every thread from one batch to the next.

    Attributes:
        count: rows that were found to repeat others.
    """

    def __init__(self) -> None:
        self.count = Count()
        self._events: dict[int, set[int]] = defaultdict(set)
        self._last = rows.make(0)

    def without_repeats(self, batch: TraceRows) -> TraceRows:
        """Return the batch without rows that repeat another."""
        at = np.flatnonzero(batch.kind <= rows.MEMORY)
        if not len(at):
            return batch
        # Only events of one kind and direction can tell of the same access.
        codes = np.unique(batch.event[at].astype(np.int64) << 8 | batch.kind[at] << 1 | batch.op[at]).tolist()
        for code in codes:
            self._events[code & 0xFF].add(code >> 8)
        if all(len(events) < 2 for events in self._events.values()):
            return batch
        known = len(self._last)
        joined = rows.concat([self._last, batch.pick(at)])
        order = np.argsort(joined.agent, kind="stable")
        table = joined.pick(order)
        same = np.ones(len(table), bool)
        same[0] = False
        for name in ("agent", *_SAME):
            column = getattr(table, name)
            same[1:] &= column[1:] == column[:-1]
        same[1:] &= np.abs(table.time[1:] - table.time[:-1]) <= _MOST_NS
        starts = np.flatnonzero(~same)
        first_event = table.event[starts][np.cumsum(~same) - 1]
        again = np.zeros(len(table), bool)
        again[order] = table.event != first_event
        last = np.append(table.agent[1:] != table.agent[:-1], True)
        columns = {name: getattr(table, name)[last] for name in ("time", "agent", *_SAME)}
        self._last = rows.make(int(last.sum()), event=first_event[last], **columns)
        repeated = at[again[known:]]
        if not len(repeated):
            return batch
        self.count.add(len(repeated), int(batch.where[repeated[0]]))
        kept = np.ones(len(batch), bool)
        kept[repeated] = False
        return batch.pick(kept)
