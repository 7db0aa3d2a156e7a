"""Open a trace.dat of either version: from its first byte to its event formats and the places of its data.

Version 6 is one sequence from the first byte on, with the places of the CPU data at its end. Version 7 has
sections whose places stand in a chain of options sections. Where that chain is cut or damaged, the sections
are found by going from one head to the next, so that a file that was cut short is still read up to the cut.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers.trace.dat_cursor import COMPRESSIONS, Cursor, CursorError, expand
from analyzer.readers.trace.dat_parts import MOST_SECTION, MOST_TEXT, Buffer, CpuData, PartReader, TraceFile
from schemas import trace_dat as layout
from schemas.trace_dat import Option, Section

if TYPE_CHECKING:
    from analyzer.capture import Notes
    from analyzer.readers.trace.whole_content import WholeContent
    from schemas.trace_dat import TraceDatLayouts

#: Bytes of a file that hold its head, with all texts in it.
_HEAD_SIZE = 4096


def open_file(content: WholeContent, notes: Notes) -> TraceFile:
    """Return the parts of a trace.dat; what else is cut or damaged is in ``notes``.

    Raises:
        DamagedInputError: it ends, or is damaged, before anything that can be decoded.
        UnsupportedFormatError: another version, an unknown compression, or the text of a latency tracer.
    """
    try:
        return _opened(content, notes)
    except CursorError as error:
        raise DamagedInputError(
            ("the file ends early: " if error.short else "") + error.message,
            path=notes.path,
            offset=error.offset,
            advice="copy the file again, or record again: trace-cmd record writes it whole only when it ends",
        ) from error


def _opened(content: WholeContent, notes: Notes) -> TraceFile:
    file, place = _head(content, notes)
    parts = PartReader(content, notes, file)
    (read_v6 if file.version == 6 else read_v7)(parts, parts.cursor(place))
    if not file.buffers:
        raise CursorError("expected a buffer with CPU data, found none", 0, short=notes.truncated)
    return file


def _head(content: WholeContent, notes: Notes) -> tuple[TraceFile, int]:
    """Return the file as its head describes it, and the place after the head."""
    data = content.at(0, _HEAD_SIZE)
    cursor = Cursor(data, "little", 0)
    cursor.take(len(layout.MAGIC), "the magic")
    version = cursor.text("the file version")
    if version.encode() not in layout.VERSIONS:
        raise UnsupportedFormatError(
            f"expected version 6 or 7 of trace.dat, found version {version[:20]!r}",
            path=notes.path,
            offset=len(layout.MAGIC),
            advice="convert it: trace-cmd convert --file-version 7 -i FILE -o NEW",
        )
    endian = cursor.number(1, "the byte order")
    if endian not in layout.BYTE_ORDERS:
        raise CursorError(f"expected byte order 0 or 1, found {endian}", cursor.place - 1)
    order = layout.BYTE_ORDERS[endian]
    rest = Cursor(data[cursor.position :], order, cursor.position)
    rest.take(1, "the size of a long")
    page_size = rest.number(4, "the page size")
    return TraceFile(layout.LAYOUTS[order], int(version), page_size), rest.place


_MARK_SIZE = len(layout.FLYRECORD_MARK)


def read_v6(parts: PartReader, cursor: Cursor) -> None:
    """Read everything after the file head.

    Raises:
        CursorError: the file ends, or is damaged, before the CPU data of its first buffer is known.
        UnsupportedFormatError: it holds the text of a latency tracer.
    """
    parts.header_info(cursor)
    parts.ftrace_formats(cursor)
    parts.event_formats(cursor)
    cursor.sized(4, "kallsyms", MOST_SECTION)
    cursor.sized(4, "printk formats", MOST_TEXT)
    parts.comms(cursor)
    cpus = parts.cpu_count(cursor)
    mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
    if mark == layout.OPTIONS_MARK:
        parts.options(cursor)
        mark = cursor.take(_MARK_SIZE, "the kind of the CPU data")
    for data in parts.file.option(Option.CPUCOUNT):
        # A file that trace-cmd converted or split may have CPUs that the count before did not know.
        if len(data) == 4:
            cpus = parts.cpu_count(Cursor(data, parts.lay.order, cursor.place, fixed=True))
    _flyrecord(parts, mark, cursor, "", cpus)
    if parts.file.option(Option.TRACECLOCK):
        _clock(parts, cursor)
    for data in parts.file.option(Option.BUFFER):
        _instance(parts, data, cpus)


def _flyrecord(parts: PartReader, mark: bytes, cursor: Cursor, name: str, cpus: int) -> None:
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
    """Read a buffer other than the top one: the option holds its place and its name."""
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
        _flyrecord(parts, mark, cursor, name, cpus)
    except CursorError as error:
        parts.lost(error, f"the buffer {name!r} cannot be read")


_MOST_SECTIONS = 10_000
_NEEDED = (Section.HEADER_INFO, Section.FTRACE_EVENTS, Section.EVENT_FORMATS)


def read_v7(parts: PartReader, cursor: Cursor) -> None:
    """Read everything after the file head.

    Raises:
        CursorError: the file ends, or is damaged, before its event formats are known.
        UnsupportedFormatError: an unknown compression, or the text of a latency tracer.
    """
    file = parts.file
    place = cursor.place
    file.compression = cursor.text("the compression")
    if file.compression not in COMPRESSIONS:
        raise UnsupportedFormatError(
            f"expected compression none, zlib or zstd, found {file.compression[:20]!r}",
            path=parts.notes.path,
            offset=place,
            advice="convert it: trace-cmd convert --compression zstd -i FILE -o NEW",
        )
    cursor.text("the version of the compression")
    offset = cursor.number(8, "the place of the options")
    whole = _chain(parts, offset)
    places = {section: _place(parts, section) for section in _NEEDED}
    if not whole or None in places.values() or not file.option(Option.BUFFER):
        found = _search(parts, cursor.place)
        places = {section: places[section] or found.get(section) for section in _NEEDED}
    for section, read in zip(
        _NEEDED, (parts.header_info, parts.ftrace_formats, parts.event_formats), strict=True
    ):
        at = places[section]
        if at is None:
            raise CursorError(f"expected the section {section.name}, found none", place, short=True)
        read(_section(parts, at)[1])
    _comms(parts)
    for data in file.option(Option.TRACECLOCK):
        file.clock = data.rstrip(b"\0").decode("utf-8", "replace")
    for data in file.option(Option.BUFFER):
        _buffer(parts, data)
    if file.option(Option.BUFFER_TEXT) and not file.buffers:
        parts.refuse_text()


def _comms(parts: PartReader) -> None:
    """Read the names of threads, without which every record can be read: that they are damaged loses none."""
    at = _place(parts, Section.CMDLINES)
    if at is not None:
        with contextlib.suppress(CursorError):
            parts.comms(_section(parts, at)[1])


def _place(parts: PartReader, section: Section) -> int | None:
    """Return where the options say that a section is."""
    for option, data in parts.file.options:
        if option == section and len(data) == 8:
            return int.from_bytes(data, parts.lay.order)
    return None


def _buffer(parts: PartReader, data: bytes) -> None:
    cursor = Cursor(data, parts.lay.order, 0, fixed=True)
    name = ""
    try:
        offset = cursor.number(8, "the place of a buffer")
        name = cursor.text("the name of a buffer")
        clock = cursor.text("the clock of a buffer")
        page_size = cursor.number(4, "the page size of a buffer")
        cpus = parts.cpu_count(cursor)
        places = [cursor.parse(parts.lay.buffer_cpu, "the place of CPU data") for _ in range(cpus)]
        head = _expect(Section.BUFFER, _section_head(parts, offset), offset)
    except CursorError as error:
        parts.lost(error, f"the buffer {name!r} cannot be read")
        return
    cpus_data = [CpuData(int(found.cpu), int(found.offset), int(found.size)) for found in places]
    compressed = bool(head.flags & layout.SECTION_COMPRESSED)
    parts.add(Buffer(name, clock or None, page_size, compressed, cpus_data), offset)


def _chain(parts: PartReader, offset: int) -> bool:
    """Read the options sections one after the other; return whether they are all there."""
    seen = {offset}
    while offset:
        try:
            head, body = _section(parts, offset)
            _expect(Section.OPTIONS, head, offset)
            offset = _next(parts.options(body), seen)
        except CursorError as error:
            parts.lost(error, "options are missing")
            return False
    return True


def _next(offset: int, seen: set[int]) -> int:
    """Return the place of the next options section, if the chain was not there before."""
    if offset in seen or len(seen) > _MOST_SECTIONS:
        raise CursorError("they lead back to themselves", offset)
    seen.add(offset)
    return offset


def _search(parts: PartReader, place: int) -> dict[int, int]:
    """Go from section head to section head; take over what the chain of options did not lead to.

    Returns the place of each section that is needed.
    """
    named = {int.from_bytes(data[:8], parts.lay.order) for data in parts.file.option(Option.BUFFER)}
    found: dict[int, int] = {}
    for _ in range(_MOST_SECTIONS):
        try:
            head = _section_head(parts, place)
        except CursorError:
            break
        if head.id not in tuple(Section) or head.flags & ~layout.SECTION_COMPRESSED:
            break
        if head.id == Section.BUFFER and place not in named:
            _orphan(parts, place, head)
        else:
            found.setdefault(head.id, place)
        place += parts.lay.section.sizeof() + head.size
    return found


def _orphan(parts: PartReader, place: int, head: Any) -> None:
    """Take over a buffer whose option is lost: neither its CPUs nor its clock are known any more."""
    page = parts.file.page_size
    if not layout.MIN_PAGE <= page <= layout.MAX_PAGE or page % layout.MIN_PAGE:
        return
    start = place + parts.lay.section.sizeof()
    end = min(start + head.size, parts.content.size)
    start += -start % page  # where trace-cmd puts the data of the first CPU
    compressed = bool(head.flags & layout.SECTION_COMPRESSED)
    split = split_chunks if compressed else split_pages
    regions = split(parts.content, parts.lay, page, start, end)
    if regions:
        cpus = [CpuData(None, offset, size) for offset, size in regions]
        parts.file.buffers.append(Buffer("", None, page, compressed, cpus))


def _expect(kind: Section, head: Any, offset: int) -> Any:
    if head.id != kind:
        raise CursorError(f"expected a section of kind {kind:d} ({kind.name}), found kind {head.id}", offset)
    return head


def _section_head(parts: PartReader, offset: int) -> Any:
    size = parts.lay.section.sizeof()
    data = parts.content.at(offset, size)
    if len(data) < size:
        raise CursorError(f"expected the head of a section, found {len(data)} bytes", offset, short=True)
    return parts.lay.section.parse(data)


def _section(parts: PartReader, offset: int) -> tuple[Any, Cursor]:
    """Return the head of the section at ``offset`` and a cursor at the start of its content."""
    head = _section_head(parts, offset)
    start = offset + parts.lay.section.sizeof()
    if head.size > MOST_SECTION:
        raise CursorError(f"expected at most {MOST_SECTION} bytes in a section, found {head.size}", offset)
    data = parts.content.at(start, head.size)
    if len(data) < head.size:
        raise CursorError(f"expected a section of {head.size} bytes, found {len(data)}", offset, short=True)
    inner = Cursor(data, parts.lay.order, start)
    if not head.flags & layout.SECTION_COMPRESSED:
        return head, inner
    sizes = inner.parse(parts.lay.compressed, "the sizes of compressed data")
    if sizes.size > MOST_SECTION:
        raise CursorError(f"expected at most {MOST_SECTION} bytes in a section, found {sizes.size}", offset)
    packed = inner.take(sizes.compressed_size, "compressed data")
    content = expand(parts.file.compression, packed, sizes.size, start)
    return head, Cursor(content, parts.lay.order, start, fixed=True)


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
