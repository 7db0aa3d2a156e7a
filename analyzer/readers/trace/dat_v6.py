"""Version 6 of trace.dat: one sequence from the first byte on, with the places of the CPU data at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.readers.trace.dat_cursor import Cursor, CursorError
from analyzer.readers.trace.dat_parts import MOST_SECTION, MOST_TEXT, Buffer, CpuData
from schemas import trace_dat as layout
from schemas.trace_dat import Option

if TYPE_CHECKING:
    from analyzer.readers.trace.dat_parts import PartReader

_MARK_SIZE = len(layout.FLYRECORD_MARK)


def read_v6(parts: PartReader, cursor: Cursor) -> None:
    """Read everything behind the file head.

    Raises:
        CursorError: the file ends, or is damaged, before the CPU data of its first buffer is known.
        UnsupportedFormatError: it holds the text of a latency tracer.
    """
    parts.header_info(cursor)
    parts.ftrace_formats(cursor)
    parts.event_formats(cursor)
    cursor.sized(4, "kallsyms", MOST_SECTION)
    cursor.sized(4, "printk formats", MOST_TEXT)
    cursor.sized(8, "command lines", MOST_TEXT)
    cpus = parts.cpu_count(cursor)
    mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
    if mark == layout.OPTIONS_MARK:
        parts.options(cursor)
        mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
    for data in parts.file.option(Option.CPUCOUNT):
        # A file that trace-cmd converted or split may have CPUs that the count before did not know.
        if len(data) == 4:
            cpus = parts.cpu_count(Cursor(data, parts.lay.order, cursor.place, fixed=True))
    _buffer(parts, mark, cursor, "", cpus)
    if parts.file.option(Option.TRACECLOCK):
        _clock(parts, cursor)
    for data in parts.file.option(Option.BUFFER):
        _instance(parts, data, cpus)


def _buffer(parts: PartReader, mark: bytes, cursor: Cursor, name: str, cpus: int) -> None:
    if mark == layout.LATENCY_MARK:
        parts.refuse_text()
    place = cursor.place
    if mark != layout.FLYRECORD_MARK:
        raise CursorError(f"expected {layout.FLYRECORD_MARK!r}, found {mark!r}", place - len(mark))
    places = [cursor.parse(parts.lay.cpu_place, "the place of CPU data") for _ in range(cpus)]
    data = [CpuData(cpu, int(found.offset), int(found.size)) for cpu, found in enumerate(places)]
    header = parts.file.header
    # header_page knows of sub-buffers larger than a page, the file head does not.
    page_size = (header.page_size if header is not None else None) or parts.file.page_size
    parts.add(Buffer(name, None, page_size, compressed=False, cpus=data), place)


def _clock(parts: PartReader, cursor: Cursor) -> None:
    try:
        parts.file.clock = cursor.sized(8, "the trace clock", 4096).decode("utf-8", "replace")
    except CursorError:
        # libtracecmd: there are files with the option and without the text; it goes on without it, too.
        parts.file.clock = None


def _instance(parts: PartReader, data: bytes, cpus: int) -> None:
    """Read a buffer beside the top one: the option holds its place and its name."""
    name = ""
    try:
        option = Cursor(data, parts.lay.order, 0, fixed=True)
        offset = option.number(8, "the place of a buffer")
        name = option.text("the name of a buffer")
        cursor = parts.cursor(offset)
        mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
        if mark == layout.OPTIONS_MARK:
            kept, parts.file.options = parts.file.options, []
            parts.options(cursor)
            parts.file.options = kept
            mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
        _buffer(parts, mark, cursor, name, cpus)
    except CursorError as error:
        parts.lost(error, f"the buffer {name!r} cannot be read")
