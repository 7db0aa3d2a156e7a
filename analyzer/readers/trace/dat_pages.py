"""Find the records of ring-buffer pages: very many pages at once, one record of each at a step.

Records are of variable length and follow each other without marks, so within a page each is found through the
one before. Pages do not depend on each other: a step of the walk does the same arithmetic for all of them.
Source: Linux ``kernel/trace/ring_buffer.c`` (``rb_event_length``, ``rb_event_time_stamp``) and libtraceevent
``kbuffer-parse.c``, which differs from the kernel in one thing: the time of a discarded record counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from schemas import trace_dat as layout
from schemas.bulk import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.readers.trace.dat_blocks import Block, Trouble
    from analyzer.readers.trace.dat_formats import PageHeader

_WORD = 4
_TOP_BITS = np.uint64((1 << 64) - (1 << layout.STAMP_BITS))
_STAMP_OVERFLOW = np.uint64(1 << layout.STAMP_BITS)
_DELTA_SHIFT = np.uint64(layout.DELTA_BITS)


def _sizes() -> NDArray[np.int64]:
    """Return the words of an event by ``type_len``, 0 where they stand in the word behind the header."""
    sizes = np.arange(1, 33, dtype=np.int64)
    sizes[[0, layout.TYPE_PADDING]] = 0
    sizes[[layout.TYPE_TIME_EXTEND, layout.TYPE_TIME_STAMP]] = 2
    return sizes


_SIZES = _sizes()


@dataclass(frozen=True)
class Records:
    """The records of a block in order, and what its pages say.

    Attributes:
        page: number of the page in the block.
        payload: where the payload begins, in bytes from the start of the block.
        size: bytes of the payload.
        time: what the trace clock said.
        page_time: per page, the time that its records count from.
        missed: per page, events lost in front of it: 0 = none, -1 = some.
    """

    page: NDArray[np.int64]
    payload: NDArray[np.int64]
    size: NDArray[np.int64]
    time: NDArray[np.uint64]
    page_time: NDArray[np.uint64]
    missed: NDArray[np.int64]


class PageDecoder:
    """Decodes blocks of pages of one layout."""

    def __init__(self, order: Literal["little", "big"], header: PageHeader, page_size: int) -> None:
        sign = "<" if order == "little" else ">"
        self._big = order == "big"
        self._word = np.dtype(sign + "u4")
        self._long = np.dtype(f"{sign}u{header.commit_size}")
        self._head = dtype_of(layout.LAYOUTS[order].page[header.commit_size])
        self._start = header.data_offset
        self._page_size = page_size

    def decode(self, block: Block, trouble: Trouble) -> Records:
        """Return the records of a block; what is damaged is left out and counted in ``trouble``."""
        pages = len(block.data) // self._page_size
        rows = block.data.reshape(pages, self._page_size)
        heads = np.ascontiguousarray(rows[:, : self._head.itemsize]).view(self._head)[:, 0]
        page_time, commit = heads["timestamp"].astype(np.uint64), heads["commit"].astype(np.int64)
        used = commit & layout.COMMIT_SIZE
        # The kernel adds the int 1 << 31 to a long, which sets all bits above it.
        high = commit >> 32
        wrong = ((high != 0) & (high != -1)) | (used > self._page_size - self._start)
        if wrong.any():
            place = block.where + int(np.argmax(wrong)) * self._page_size
            trouble.add("page", place, int(wrong.sum()))
            used[wrong] = 0
        missed = self._missed(rows, commit, used)
        missed[wrong] = 0
        first = np.arange(pages, dtype=np.int64) * self._page_size + self._start
        end = first + used
        limit = len(block.data) - block.missing
        # The guard: looking at the word behind a header stays within the buffer.
        words = np.concatenate([block.data, np.zeros(2 * _WORD, np.uint8)]).view(self._word)
        if words.dtype != np.uint32:
            words = words.astype(np.uint32)
        found = self._walk(words, first // _WORD, np.minimum(end, limit) // _WORD, page_time)
        for page in found.broken:
            # A record over the edge of a file that was cut is no damage.
            if end[page] <= limit:
                trouble.add("record", block.where + int(first[page]))
        return found.records(page_time, missed)

    def _missed(
        self, rows: NDArray[np.uint8], commit: NDArray[np.int64], used: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        lost = commit & layout.MISSED_EVENTS != 0
        missed = np.where(lost, np.int64(-1), np.int64(0))
        size = self._long.itemsize
        for page in np.flatnonzero(lost & (commit & layout.MISSED_STORED != 0)).tolist():
            at = self._start + int(used[page])
            if at + size <= self._page_size:
                number = int(rows[page, at : at + size].copy().view(self._long)[0])
                missed[page] = number if 0 < number < 1 << 40 else -1
        return missed

    def _walk(
        self,
        words: NDArray[np.uint32],
        first: NDArray[np.int64],
        end: NDArray[np.int64],
        page_time: NDArray[np.uint64],
    ) -> _Found:
        """Go through all pages at once, from the words ``first`` to ``end``."""
        found = _Found()
        active = np.flatnonzero(first < end)
        at, stop, time = first[active], end[active], page_time[active]
        while len(active):
            head, extra = words[at], words[at + 1]
            if self._big:
                kind, delta = head >> layout.DELTA_BITS, head & ((1 << layout.DELTA_BITS) - 1)
            else:
                kind, delta = head & ((1 << layout.TYPE_BITS) - 1), head >> layout.TYPE_BITS
            size = _SIZES[kind]
            before = time
            time = time + delta
            data = kind <= layout.TYPE_DATA_MAX
            shown = at + 1
            length = (size - 1) * _WORD
            done = None
            if not data.all() or not size.all():
                unsized = size == 0
                size = np.where(unsized, 1 + (extra.astype(np.int64) + 3) // _WORD, size)
                done = (kind == layout.TYPE_PADDING) & (delta == 0)
                time = _special_time(kind, delta, extra, before, time)
                long = unsized & data
                shown = shown + long
                length = np.where(long, extra.astype(np.int64) - _WORD, length)
                # A length that does not even count itself.
                size = np.where(unsized & (extra < _WORD) & ~done, len(words), size)
            following = at + size
            over = following > stop
            if done is not None:
                over &= ~done
            if over.any():
                found.broken.extend(active[over].tolist())
                data &= ~over
            found.add(active, shown, length, time, data)
            alive = following < stop
            if done is not None:
                alive &= ~done
            if alive.all():
                at = following
            else:
                active, at, stop, time = active[alive], following[alive], stop[alive], time[alive]
        return found


def _special_time(
    kind: NDArray[Any],
    delta: NDArray[Any],
    extra: NDArray[np.uint32],
    before: NDArray[np.uint64],
    time: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Return the time behind events of which some are no data: time extends and absolute time stamps."""
    high = extra.astype(np.uint64) << _DELTA_SHIFT
    time = np.where(kind == layout.TYPE_TIME_EXTEND, time + high, time)
    stamped = kind == layout.TYPE_TIME_STAMP
    if stamped.any():
        absolute = high | delta | before & _TOP_BITS
        # Linux rb_fix_abs_ts: the top bits were those of a time before the clock carried into them.
        carried = (before & _TOP_BITS != 0) & (absolute < before)
        time = np.where(stamped, np.where(carried, absolute + _STAMP_OVERFLOW, absolute), time)
    return time


class _Found:
    """Records in the order of the steps, which is not that of the pages."""

    def __init__(self) -> None:
        self.broken: list[int] = []
        self._steps: list[tuple[NDArray[np.int64], ...]] = []
        self._times: list[NDArray[np.uint64]] = []

    def add(
        self,
        page: NDArray[np.int64],
        word: NDArray[np.int64],
        length: NDArray[np.int64],
        time: NDArray[np.uint64],
        chosen: NDArray[np.bool_],
    ) -> None:
        """Take over the records of one step."""
        if chosen.all():
            self._steps.append((page, word, length))
            self._times.append(time)
        else:
            self._steps.append((page[chosen], word[chosen], length[chosen]))
            self._times.append(time[chosen])

    def records(self, page_time: NDArray[np.uint64], missed: NDArray[np.int64]) -> Records:
        """Return the records in the order of the pages."""
        none = np.zeros(0, np.int64)
        columns = [np.concatenate(parts) for parts in zip(*self._steps, strict=True)] or [none] * 3
        page, word, length = columns
        time = np.concatenate(self._times) if self._times else np.zeros(0, np.uint64)
        # A radix sort, where the numbers are small.
        small = page.astype(np.uint16) if len(page_time) <= 1 << 16 else page
        order = np.argsort(small, kind="stable")
        return Records(page[order], word[order] * _WORD, length[order], time[order], page_time, missed)
