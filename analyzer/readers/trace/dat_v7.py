"""Version 7 of trace.dat: sections whose places stand in a chain of options sections.

Where that chain is cut or damaged, the sections are found by going from one head to the next, so that a file
that was cut short is still read up to the cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analyzer.errors import UnsupportedFormatError
from analyzer.readers.trace.dat_cursor import COMPRESSIONS, Cursor, CursorError, expand
from analyzer.readers.trace.dat_parts import MOST_SECTION, Buffer, CpuData
from analyzer.readers.trace.dat_salvage import split_chunks, split_pages
from schemas import trace_dat as layout
from schemas.trace_dat import Option, Section

if TYPE_CHECKING:
    from analyzer.readers.trace.dat_parts import PartReader

_MOST_SECTIONS = 10_000
_NEEDED = (Section.HEADER_INFO, Section.FTRACE_EVENTS, Section.EVENT_FORMATS)


def read_v7(parts: PartReader, cursor: Cursor) -> None:
    """Read everything behind the file head.

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
    for data in file.option(Option.TRACECLOCK):
        file.clock = data.rstrip(b"\0").decode("utf-8", "replace")
    for data in file.option(Option.BUFFER):
        _buffer(parts, data)
    if file.option(Option.BUFFER_TEXT) and not file.buffers:
        parts.refuse_text()


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
        head = _expect(Section.BUFFER, _head(parts, offset), offset)
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
            head = _head(parts, place)
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


def _head(parts: PartReader, offset: int) -> Any:
    size = parts.lay.section.sizeof()
    data = parts.content.at(offset, size)
    if len(data) < size:
        raise CursorError(f"expected the head of a section, found {len(data)} bytes", offset, short=True)
    return parts.lay.section.parse(data)


def _section(parts: PartReader, offset: int) -> tuple[Any, Cursor]:
    """Return the head of the section at ``offset`` and a cursor at the start of its content."""
    head = _head(parts, offset)
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
