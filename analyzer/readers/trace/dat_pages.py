"""Ring-buffer pages of a trace.dat: bring those of one CPU out of the file, and find the records in them.

Records are of variable length and follow each other without marks, so within a page each is found through the
one before. Pages do not depend on each other: each step does the same arithmetic for all of them.
Source: Linux ``kernel/trace/ring_buffer.c`` (``rb_event_length``, ``rb_event_time_stamp``) and libtraceevent
``kbuffer-parse.c``, which differs from the kernel in one thing: the time of a discarded record counts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analyzer.readers.tallies import Count
from analyzer.readers.trace.dat_cursor import Cursor, CursorError, expand
from schemas import trace_dat as layout
from schemas.bulk import dtype_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.readers.trace.dat_parts import Buffer, CpuData, PageHeader, TraceFile
    from analyzer.readers.trace.whole_content import WholeContent

#: Limit that no recording reaches; trace-cmd puts ten pages in a chunk.
_MOST_CHUNK = 64 << 20


@dataclass(frozen=True)
class Block:
    """Whole pages, one after the other; of the last one ``missing`` bytes are not in the file (zeros)."""

    data: NDArray[np.uint8]
    where: int
    missing: int = 0


class Trouble:
    """What is wrong with the CPU data: number and first place by kind, in the order of the first."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = defaultdict(Count)

    def add(self, kind: str, place: int, number: int = 1) -> None:
        """Count ``number`` troubles of a kind, the first of them at byte ``place``."""
        self._counts[kind].add(number, place)

    def close(self, notes: Notes) -> None:
        """Write the account into ``notes``."""
        for kind, count in self._counts.items():
            word, message = _TROUBLES[kind]
            count.report(notes, word, message, loses=kind not in _WITHOUT_LOSS)
            notes.truncated |= word == "truncated"


#: Troubles that lose no record, or none that is known of.
_WITHOUT_LOSS = ("cut", "clock", "entry")
#: Problem kind and message of each kind of trouble.
_TROUBLES = {
    "cut": ("truncated", "the file ends within the data of {} [CPU: it is|CPUs: they are] read up to there"),
    "chunk": (
        "damaged",
        "{} [chunk|chunks] of compressed pages [is|are] damaged and left out; this is the first",
    ),
    "page": (
        "damaged",
        "{} ring-buffer [page|pages] with more data by the header than fits [is|are] left out",
    ),
    "record": (
        "damaged",
        "in {} [page|pages] the records end before the data of the page does; the rest is left out",
    ),
    "clock": (
        "damaged",
        "the time of {} ring-buffer [page|pages] does not fit between those of the pages beside it",
    ),
    "unnamed": (
        "damaged",
        "{} [record is of an event|records are of events] that the file does not describe; this is the first",
    ),
    "short": (
        "damaged",
        "{} [record is|records are] shorter than the format of the event says and left out",
    ),
    "entry": (
        "foreign",
        (
            "{} [read is|reads are] not used: recorded at the entry of a function, where the value is not"
            " known yet; other events record its return"
        ),
    ),
    "several": (
        "unsupported",
        "{} [access|accesses] to the config ports [is|are] of several items (rep) and left out",
    ),
}


def page_blocks(
    content: WholeContent, file: TraceFile, buffer: Buffer, cpu: CpuData, trouble: Trouble, size: int
) -> Iterator[Block]:
    """Yield the pages of one CPU in order, about ``size`` bytes at a time.

    ``Block.where`` is the place of the CPU's data in the file plus that in the expanded pages: a place in the
    file where the data is not compressed.
    """
    if buffer.compressed:
        yield from _joined(_expanded(content, file, cpu, trouble), buffer.page_size, cpu.offset, size)
        return
    step = max(size // buffer.page_size, 1) * buffer.page_size
    end = min(cpu.offset + cpu.size, content.size)
    for offset in range(cpu.offset, end, step):
        data = np.frombuffer(content.at(offset, min(step, end - offset)), np.uint8)
        yield _padded(data, buffer.page_size, offset)
    if cpu.offset + cpu.size > content.size:
        trouble.add("cut", content.size)


def _padded(data: NDArray[np.uint8], page_size: int, where: int) -> Block:
    missing = -len(data) % page_size
    if missing:
        data = np.concatenate([data, np.zeros(missing, np.uint8)])
    return Block(data, where, missing)


def _joined(chunks: Iterator[bytes], page_size: int, where: int, least: int) -> Iterator[Block]:
    """Put expanded chunks together to blocks."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= max(least, page_size):
            data = b"".join(parts)
            whole = size - size % page_size
            yield Block(np.frombuffer(data, np.uint8, whole), where)
            parts = [data[whole:]]
            size -= whole
            where += whole
    if size:
        yield _padded(np.frombuffer(b"".join(parts), np.uint8), page_size, where)


def _expanded(content: WholeContent, file: TraceFile, cpu: CpuData, trouble: Trouble) -> Iterator[bytes]:
    """Yield the expanded chunks of one CPU; those that are damaged are left out."""
    if not cpu.size:
        return
    lay: Any = file.layouts
    # trace-cmd does not count the number of chunks in the size that it writes.
    size = cpu.size + 4
    available = content.at(cpu.offset, size)
    cursor = Cursor(available, lay.order, cpu.offset)
    place = cpu.offset
    try:
        # A number that was damaged asks for more chunks than there are, and ends where the data does.
        for _ in range(cursor.number(4, "the number of chunks")):
            place = cursor.place
            sizes = cursor.parse(lay.compressed, "the sizes of a chunk")
            packed = cursor.take(sizes.compressed_size, "a chunk")
            if sizes.size > _MOST_CHUNK:
                trouble.add("chunk", place)
                continue
            try:
                yield expand(file.compression, packed, sizes.size, place)
            except CursorError:
                trouble.add("chunk", place)
    except CursorError as error:
        if error.short and len(available) < size:
            trouble.add("cut", content.size)
        else:
            trouble.add("chunk", place)


_WORD = 4
_TOP_BITS = np.uint64((1 << 64) - (1 << layout.STAMP_BITS))
_STAMP_OVERFLOW = np.uint64(1 << layout.STAMP_BITS)
_DELTA_SHIFT = np.uint64(layout.DELTA_BITS)


def _sizes() -> NDArray[np.int64]:
    """Return the words of an event by ``type_len``, 0 where they stand in the word after the header."""
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
        # The guard: looking at the word after a header stays within the buffer.
        words = np.concatenate([block.data, np.zeros(2 * _WORD, np.uint8)]).view(self._word)
        if words.dtype != np.uint32:
            words = words.astype(np.uint32)
        found = self._walk(words, first // _WORD, np.minimum(end, limit) // _WORD, page_time)
        for page in found.broken:
            # A record over the edge of a file that was cut is not damage.
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
    """Return the time after events of which some are not data: time extends and absolute time stamps."""
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
