"""The parts of a trace.dat that versions 6 and 7 have in common: options, event formats, places of CPU data.

Layouts: :mod:`schemas.trace_dat`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.errors import UnsupportedFormatError
from analyzer.readers.trace.dat_cursor import Cursor, CursorError
from analyzer.readers.trace.dat_formats import parse_format, parse_header_page
from schemas import trace_dat as layout
from schemas.trace_dat import Option

if TYPE_CHECKING:
    from analyzer.capture import Notes
    from analyzer.readers.trace.dat_formats import EventFormat, PageHeader
    from analyzer.readers.trace.whole_content import WholeContent

#: Limits that no recording reaches: bytes of a section and of a text, and counts.
MOST_SECTION, MOST_TEXT = 256 << 20, 16 << 20
_MOST_OPTIONS, _MOST_SYSTEMS, _MOST_EVENTS, _MOST_CPUS, _MOST_BUFFERS = (
    100_000,
    10_000,
    1_000_000,
    65_536,
    1000,
)


@dataclass(frozen=True)
class CpuData:
    """Where the ring-buffer pages of one CPU are. ``cpu`` is None where the file does not say it any more."""

    cpu: int | None
    offset: int
    size: int


@dataclass(frozen=True)
class Buffer:
    """One ring buffer; ``name`` is empty for the top one, ``clock`` None if the file does not say it."""

    name: str
    clock: str | None
    page_size: int
    compressed: bool
    cpus: list[CpuData]


@dataclass
class TraceFile:
    """What the file says beside its records.

    Attributes:
        layouts: declarations in the byte order of the file.
        version: 6 or 7.
        page_size: of the kernel that recorded, as the file head has it.
        compression: ``none``, ``zlib`` or ``zstd``.
        header: layout of ring-buffer pages.
        formats: events that records may be of.
        buffers: the CPU data.
        options: id and content, in order.
        clock: text of ``trace_clock``.
    """

    layouts: layout.TraceDatLayouts
    version: int
    page_size: int
    compression: str = "none"
    header: PageHeader | None = None
    formats: list[EventFormat] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    options: list[tuple[int, bytes]] = field(default_factory=list)
    clock: str | None = None

    def option(self, kind: Option) -> list[bytes]:
        """Return the contents of all options of one kind."""
        return [data for option, data in self.options if option == kind]


class PartReader:
    """Reads parts of one file into its ``TraceFile``.

    Every method that takes a cursor raises ``CursorError`` where the part is cut or damaged.
    """

    def __init__(self, content: WholeContent, notes: Notes, file: TraceFile) -> None:
        self.content = content
        self.notes = notes
        self.file = file
        self.lay = file.layouts

    def cursor(self, offset: int) -> Cursor:
        """Return a cursor at a place of the file."""
        return Cursor(self.content.at(offset, self.content.size), self.lay.order, offset)

    def header_info(self, cursor: Cursor) -> None:
        """Read the layout of ring-buffer pages."""
        for name in (layout.HEADER_PAGE_NAME, layout.HEADER_EVENT_NAME):
            place = cursor.place
            found = cursor.take(len(name), "a name")
            if found != name:
                raise CursorError(f"expected {name!r}, found {found!r}", place)
            text = cursor.sized(8, "a format text", MOST_TEXT).decode("utf-8", "replace")
            if name == layout.HEADER_PAGE_NAME:
                self.file.header = parse_header_page(text)
                if self.file.header is None:
                    raise CursorError("expected a layout of ring-buffer pages that we know", place)

    def ftrace_formats(self, cursor: Cursor) -> None:
        """Read the formats of ftrace's own events."""
        self._formats("ftrace", cursor)

    def event_formats(self, cursor: Cursor) -> None:
        """Read the formats of all other events."""
        place = cursor.place
        systems = cursor.number(4, "the number of event systems")
        if systems > _MOST_SYSTEMS:
            raise CursorError(f"expected at most {_MOST_SYSTEMS} event systems, found {systems}", place)
        for _ in range(systems):
            self._formats(cursor.text("the name of an event system"), cursor)

    def _formats(self, system: str, cursor: Cursor) -> None:
        place = cursor.place
        number = cursor.number(4, "the number of formats")
        if number > _MOST_EVENTS:
            raise CursorError(f"expected at most {_MOST_EVENTS} formats, found {number}", place)
        for _ in range(number):
            text = cursor.sized(8, "a format text", MOST_TEXT).decode("utf-8", "replace")
            parsed = parse_format(system, text)
            if parsed is not None:
                self.file.formats.append(parsed)

    def options(self, cursor: Cursor) -> int:
        """Read a list of options; return the place of the next list, 0 if there is none."""
        for _ in range(_MOST_OPTIONS):
            option = cursor.number(2, "the kind of an option")
            if option == Option.DONE and self.file.version == 6:
                return 0
            data = cursor.sized(4, "an option", MOST_SECTION)
            if option == Option.DONE:
                return int.from_bytes(data[:8], self.lay.order)
            self.file.options.append((option, data))
        raise CursorError(f"expected at most {_MOST_OPTIONS} options, found more", cursor.place)

    def cpu_count(self, cursor: Cursor) -> int:
        """Read a number of CPUs."""
        cpus = cursor.number(4, "the number of CPUs")
        if cpus > _MOST_CPUS:
            raise CursorError(f"expected at most {_MOST_CPUS} CPUs, found {cpus}", cursor.place)
        return cpus

    def add(self, buffer: Buffer, place: int) -> None:
        """Take over a buffer, if its pages are of a size that the kernel has."""
        fits = layout.MIN_PAGE <= buffer.page_size <= layout.MAX_PAGE
        if not fits or buffer.page_size % layout.MIN_PAGE:
            self.lost(
                CursorError(
                    f"expected pages of {layout.MIN_PAGE} to {layout.MAX_PAGE} bytes in buffer"
                    f" {buffer.name!r}, found {buffer.page_size}",
                    place,
                )
            )
        elif len(self.file.buffers) < _MOST_BUFFERS:
            self.file.buffers.append(buffer)

    def lost(self, error: CursorError, what: str = "") -> None:
        """Note that a part of the file cannot be used."""
        message = f"{what}: {error.message}" if what else error.message
        if error.short or error.offset >= self.content.size:
            self.notes.truncated = True
            self.notes.problem("truncated", f"the file ends early: {message}", error.offset)
        else:
            self.notes.dropped += 1
            self.notes.problem("damaged", message, error.offset)

    def refuse_text(self) -> None:
        """Refuse what a latency tracer wrote.

        Raises:
            UnsupportedFormatError: always.
        """
        raise UnsupportedFormatError(
            "expected recorded events, found the text of a latency tracer",
            path=self.notes.path,
            advice="record events with trace-cmd record -e, without -p",
        )
