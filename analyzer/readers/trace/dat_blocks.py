"""Bring the ring-buffer pages of one CPU out of a trace.dat, some at a time, expanded if compressed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.readers.tallies import Count
from analyzer.readers.trace.dat_cursor import Cursor, CursorError, expand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.readers.trace.dat_parts import Buffer, CpuData, TraceFile
    from analyzer.readers.trace.whole_content import WholeContent

#: Limit that no recording reaches; trace-cmd puts ten pages in a chunk.
_MOST_CHUNK = 64 << 20


@dataclass(frozen=True)
class Block:
    """Whole pages, one behind the other; of the last one ``missing`` bytes are not in the file (zeros)."""

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
    "cut": ("truncated", "the file ends within the data of {} CPUs: they are read up to there"),
    "chunk": ("damaged", "{} chunks of compressed pages are damaged and left out; this is the first"),
    "page": ("damaged", "{} ring-buffer pages say more data than they have and are left out"),
    "record": ("damaged", "records end before the data of their page does in {} pages; the rest is left out"),
    "clock": ("damaged", "the time of {} ring-buffer pages does not fit between their neighbours"),
    "unnamed": ("damaged", "{} records are of events that the file does not describe; this is the first"),
    "short": ("damaged", "{} records are shorter than their event's format says and left out"),
    "entry": (
        "foreign",
        (
            "{} reads are not used: they were recorded where a function is entered and their value is not"
            " known yet, and other events record its return"
        ),
    ),
    "several": ("unsupported", "{} accesses to the config ports are of several items (rep) and left out"),
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
