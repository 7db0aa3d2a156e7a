"""Match configuration requests with their completions, across batches and links.

A completion belongs to the last request before it with the same requester ID and tag on the same link (PCI
Express Base Specification 6.0, 2.2.6.2, 2.2.9). Memory and other requests use the same tags, so they are
followed too. Everything is sorted and compared as whole arrays; what may still change when a batch ends is
looked at again with the next one.

The same transaction may be seen several times: on each link that it crosses (a Type 1 request becomes Type 0
below the last bridge; requester ID and tag stay), and again when a link repeats it. It counts once, as its
requester saw it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analyzer.readers.tlp.decode import COMPLETION, EVENT, OTHER, READ, WRITE
from analyzer.readers.tlp.frames import NO_SEQUENCE
from schemas.tlp import TAG_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.readers.tlp.decode import Events
    from analyzer.readers.tlp.tally import TlpTally

    Mask = NDArray[np.bool_]

#: Packets after which a completion is no longer waited for.
HORIZON = 1 << 18
#: Interfaces that see only one direction are together one link.
_ONE_WAY = 0xFFFF
#: What two sightings of one request have in common besides requester and tag.
_CONTENT = ("kind", "function", "register", "enables", "data")


class Transactions(NamedTuple):
    """Config requests with their completions, row by row; ``answered`` where there is a completion."""

    request: Events
    completion: Events
    answered: Mask

    @property
    def position(self) -> NDArray[np.int64]:
        """Number of the packet at which the access stands in the order of the capture.

        A read stands where its completion is, because only then its value is known, a write at its request.
        """
        read = self.answered & (self.request["kind"] == READ)
        return np.where(read, self.completion["order"], self.request["order"])

    def pick(self, rows: NDArray[Any]) -> Transactions:
        """Return the transactions that a mask or index array selects."""
        return Transactions(self.request[rows], self.completion[rows], self.answered[rows])


class Matcher:
    """The transactions of one file, batch by batch."""

    def __init__(self, tally: TlpTally) -> None:
        self._tally = tally
        self._carried = np.empty(0, EVENT)
        self._asking: set[int] = set()
        self._answering: set[int] = set()
        self._first_asked = np.full(1 << 16, np.iinfo(np.int64).max)  # by requester ID
        self._newest = -1
        self._last_answer = -1

    def match(self, events: Events, *, last: bool) -> Transactions:
        """Return the transactions that cannot change any more once ``events`` are known, in their order.

        Args:
            events: the next events of the file.
            last: nothing follows them.
        """
        fresh_from = self._newest
        self._learn(events)
        events = np.concatenate([self._carried, events])
        links = self._links(events)
        order = np.lexsort((events["order"], events["key"], links))
        events, links = events[order], links[order]
        group = _starts(links.astype(np.int64) << 32 | events["key"])
        repeated = _repeats(events, group)
        self._tally.add("repeated", events["where"][repeated & (events["order"] > fresh_from)])

        # From here on rows are those that are not repetitions.
        rows = np.flatnonzero(~repeated)
        seen = _Sightings(events[rows], links[rows])
        self._tally_strays(seen, fresh_from)
        nested = seen.nested() & ~seen.events["done"]
        self._tally.add("repeated", seen.events["where"][nested])
        seen.events["done"] |= nested
        live = seen.config & ~seen.events["done"]
        waiting = live & seen.open & (seen.events["order"] > self._newest - HORIZON) & (not last)
        settled = np.flatnonzero(live & ~waiting)
        result = seen.transactions(settled)
        barrier = int(seen.events["order"][waiting].min(initial=self._newest + 1))
        done = result.position < barrier
        self._tally_unanswered(seen, settled[done])
        seen.events["done"][settled[done]] = True
        events["done"][rows] = seen.events["done"]
        self._carried = np.empty(0, EVENT) if last else self._unsettled(events, group, repeated)
        result = result.pick(done)
        return result.pick(np.argsort(result.position, kind="stable"))

    def _learn(self, events: Events) -> None:
        config, answer = events["kind"] <= WRITE, events["kind"] == COMPLETION
        self._asking.update(np.unique(events["link"][config]).tolist())
        self._answering.update(np.unique(events["link"][answer]).tolist())
        np.minimum.at(self._first_asked, events["key"][config] >> TAG_BITS, events["order"][config])
        self._newest = int(events["order"].max(initial=self._newest))
        self._last_answer = int(events["order"][answer].max(initial=self._last_answer))

    def _links(self, events: Events) -> NDArray[np.uint16]:
        """The link of each event: its interface, if that sees requests and completions."""
        both = list(self._asking & self._answering)
        return np.where(np.isin(events["link"], both), events["link"], _ONE_WAY).astype(np.uint16)

    def _tally_strays(self, seen: _Sightings, fresh_from: int) -> None:
        events = seen.events
        fresh = events["plain"] & (events["order"] > fresh_from)
        begun = self._first_asked[events["key"] >> TAG_BITS] < events["order"]
        self._tally.add("early", events["where"][fresh & seen.unasked & ~begun])
        self._tally.add("stray", events["where"][fresh & (seen.further | (seen.unasked & begun))])

    def _tally_unanswered(self, seen: _Sightings, rows: NDArray[np.int64]) -> None:
        rows = rows[~seen.answered[rows]]
        events, reused = seen.events[rows], ~seen.open[rows]
        at_end = ~reused & (events["order"] > self._last_answer) & (self._last_answer >= 0)
        for reason, which in (("reused", reused), ("open", at_end), ("lost", ~reused & ~at_end)):
            self._tally.add(reason, events["where"][which])
        self._tally.add("lost read", events["where"][~at_end & (events["kind"] == READ)])

    def _unsettled(self, events: Events, group: NDArray[np.int64], repeated: Mask) -> Events:
        """What the next batch has to see again, in its order.

        Under each key that is everything from the first request that is not done, and the last request with
        what follows it: it may get further completions.
        """
        request = (events["kind"] != COMPLETION) & ~repeated
        mark = (events["kind"] <= WRITE) & ~repeated & ~events["done"]
        latest = _last_of(request)
        ends = np.ones(len(events), bool)
        ends[:-1] = group[1:] != group[:-1]
        mark[latest[ends & (latest >= group)]] = True
        first = _last_of(mark)
        # However many completions a memory read gets, the request alone shows what they are.
        of_other = (events["kind"] == COMPLETION) & (events["kind"][latest] == OTHER)
        again = (first >= group) & ~of_other & (events["order"] > self._newest - 2 * HORIZON)
        carried = events[again]
        return np.asarray(carried[np.argsort(carried["order"], kind="stable")])


def _last_of(mask: Mask) -> NDArray[np.int64]:
    """For each row the last row up to it where the mask is true, or -1."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))


def _starts(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row of sorted keys the first row with the same key."""
    index = np.arange(len(keys))
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    return np.maximum.accumulate(np.where(new, index, 0))


def _repeats(events: Events, group: NDArray[np.int64]) -> Mask:
    """Which events are the one before them seen again."""
    repeated = np.zeros(len(events), bool)
    if len(events) < 2:
        return repeated
    one, two = events[:-1], events[1:]
    beside = group[1:] == group[:-1]
    same_frame = beside & (one["sequence"] == two["sequence"]) & (two["sequence"] != NO_SEQUENCE)
    config = two["kind"] <= WRITE
    forwarded = one["type1"] & ~two["type1"]
    repeated[1:] = config & beside & _same(one, two) & (forwarded | same_frame)
    # As many completions may come again as requests did.
    index = np.arange(len(events))
    request = events["kind"] != COMPLETION
    latest, head = _last_of(request), _last_of(request & ~repeated)
    extra = np.bincount(head[repeated], minlength=len(events))
    answers = ~request[1:] & ~request[:-1] & beside
    for name in ("status", "data", "has_data"):
        answers &= one[name] == two[name]
    further = (latest >= group) & (index - latest - 1 <= extra[head])
    repeated[1:] |= answers & (further[1:] | same_frame)
    return repeated


def _same(one: Events, two: Events) -> Mask:
    same = np.ones(len(one), bool)
    for name in _CONTENT:
        same &= one[name] == two[name]
    return same


class _Sightings:
    """Events without repetitions, sorted by link, key and order; all arrays have one entry per event.

    Attributes:
        config: a config request.
        answered: one whose next event is a completion.
        open: one with nothing after it.
        unasked: a completion under whose key there was no request yet.
        further: a completion after the one that its config request has.
    """

    def __init__(self, events: Events, links: NDArray[np.uint16]) -> None:
        self.events = events
        self._links = links
        group = _starts(links.astype(np.int64) << 32 | events["key"])
        index = np.arange(len(events))
        completion = events["kind"] == COMPLETION
        self.config: Mask = events["kind"] <= WRITE
        beside = np.zeros(len(events), bool)
        beside[:-1] = group[1:] == group[:-1]
        completes = np.zeros(len(events), bool)
        completes[:-1] = completion[1:]
        self.answered: Mask = self.config & beside & completes
        self.open: Mask = self.config & ~beside
        latest = _last_of(~completion)
        asked = latest >= group
        self.unasked: Mask = completion & ~asked
        self.further: Mask = completion & asked & (events["kind"][latest] <= WRITE) & (index - latest > 1)

    def transactions(self, rows: NDArray[np.int64]) -> Transactions:
        """The config requests in these rows, with their completions."""
        answered = self.answered[rows]
        return Transactions(self.events[rows], self.events[np.where(answered, rows + 1, rows)], answered)

    def nested(self) -> Mask:
        """Config requests that another link saw while they were under way: the same, further down."""
        inner = np.zeros(len(self.events), bool)
        rows = np.flatnonzero(self.config)
        if len(np.unique(self._links[rows])) < 2:
            return inner
        events = self.events[rows]
        rows = rows[np.lexsort((events["order"], events["key"]))]
        one, two = self.events[rows[:-1]], self.events[rows[1:]]
        answered = self.answered[rows[:-1]]
        until = self.events["order"][np.where(answered, rows[:-1] + 1, rows[:-1])]
        within = answered & (one["key"] == two["key"]) & (two["order"] < until)
        inner[rows[1:]] = within & _same(one, two) & (self._links[rows[1:]] != self._links[rows[:-1]])
        return inner
