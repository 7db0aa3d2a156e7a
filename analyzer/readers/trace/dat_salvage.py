"""Tell the CPUs of a buffer apart when the option that held their places is lost.

trace-cmd writes the data of one CPU behind that of the other, each from a page edge on. Which CPU it is
cannot be told any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.readers.trace.whole_content import WholeContent
    from schemas.trace_dat import TraceDatLayouts

#: Limits that no recording reaches.
_MOST_CHUNKS, _MOST_REGIONS, _MOST_PAGES = 1 << 24, 65_536, 1 << 24


def split_chunks(
    content: WholeContent, lay: TraceDatLayouts, page: int, start: int, end: int
) -> list[tuple[int, int]]:
    """Return offset and size of each list of compressed chunks between ``start`` and ``end``."""
    regions: list[tuple[int, int]] = []
    while start < end and len(regions) < _MOST_REGIONS:
        count = int.from_bytes(content.at(start, 4), lay.order)
        if not 0 < count <= _MOST_CHUNKS:
            break
        at = start + 4
        for _ in range(count):
            head = content.at(at, lay.compressed.sizeof())
            if at >= end or len(head) < lay.compressed.sizeof():
                at = end
                break
            at += len(head) + lay.compressed.parse(head).compressed_size
        regions.append((start, min(at, end) - start - 4))  # as trace-cmd counts: without the number
        start = at + -at % page
    return regions


def split_pages(
    content: WholeContent, lay: TraceDatLayouts, page: int, start: int, end: int
) -> list[tuple[int, int]]:
    """Return offset and size of each run of pages whose time does not go back, from ``start`` to ``end``."""
    regions: list[tuple[int, int]] = []
    first, before = start, 0
    for at in range(start, min(end, start + _MOST_PAGES * page), page):
        time = int.from_bytes(content.at(at, 8), lay.order)
        if time < before and len(regions) < _MOST_REGIONS:
            regions.append((first, at - first))
            first = at
        before = time
    if first < end:
        regions.append((first, end - first))
    return regions
