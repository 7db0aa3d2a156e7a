"""The parts of a trace.dat that versions 6 and 7 have in common: options, event formats, places of CPU data.

Layouts: :mod:`schemas.trace_dat`. Sources of the ``format`` texts of events and of ``header_page``: Linux
``Documentation/trace/events.rst`` (event formats) and ``kernel/trace/ring_buffer.c``
(``ring_buffer_print_page_header``). Offsets and sizes are those of the kernel that recorded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from analyzer.errors import UnsupportedFormatError
from analyzer.readers.trace.dat_cursor import Cursor, CursorError
from schemas import trace_dat as layout
from schemas.trace_dat import MAX_PAGE, MIN_PAGE, Option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.capture import Notes
    from analyzer.readers.trace.whole_content import WholeContent

_NAME = re.compile(r"^name: *(\S+)", re.MULTILINE)
_ID = re.compile(r"^ID: *(\d{1,5})\s*$", re.MULTILINE)
_FIELD = re.compile(
    r"^\s*field:(?P<type>[^;\n]{0,200}?)\s*\b(?P<name>\w{1,100})(?P<array>\[[^];\n]{0,20}\])?;"
    r"\s*offset:(?P<offset>\d{1,6});\s*size:(?P<size>\d{1,6});(?:\s*signed:(?P<signed>\d);)?",
    re.MULTILINE,
)
#: Longest format text that is looked at; the longest of Linux 6.12 has 30 KiB.
MAX_FORMAT = 1 << 20
_MOST_FIELDS = 500


@dataclass(frozen=True)
class Field:
    """One field of a record, in bytes from the start of its payload."""

    name: str
    type: str
    offset: int
    size: int
    signed: bool

    @property
    def is_string(self) -> bool:
        """Whether the field is a place and length of text elsewhere in the record."""
        return self.type.startswith(("__data_loc", "__rel_loc"))


@dataclass(frozen=True)
class EventFormat:
    """How records of one event are laid out.

    Attributes:
        system: the event's group, as in ``kvm``.
        name: its name, as in ``kvm_pio``.
        id: the number that its records begin with.
        text: the whole format text.
    """

    system: str
    name: str
    id: int
    text: str

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Fields by name, in the order of the text."""
        found = {}
        for match in _FIELD.finditer(self.text):
            name = match["name"]
            found[name] = Field(
                name=name,
                type=match["type"],
                offset=int(match["offset"]),
                size=int(match["size"]),
                signed=match["signed"] == "1",
            )
            if len(found) > _MOST_FIELDS:
                break
        return found

    def mentions(self, names: Iterable[str]) -> bool:
        """Whether the text has a field of one of these names: much cheaper than parsing it."""
        return any(f" {name};" in self.text for name in names)


def parse_format(system: str, text: str) -> EventFormat | None:
    """Return the format that ``text`` says, None if it has no name or no id."""
    name, number = _NAME.search(text), _ID.search(text)
    if name is None or number is None or len(text) > MAX_FORMAT or int(number[1]) > 0xFFFF:
        return None
    return EventFormat(system, name[1], int(number[1]), text)


@dataclass(frozen=True)
class PageHeader:
    """What ``header_page`` says.

    Attributes:
        commit_size: bytes of ``commit``, which are those of a long of the kernel: 4 or 8.
        data_offset: where the records of a page begin.
        page_size: size of a ring-buffer page, None if the text does not say it.
    """

    commit_size: int
    data_offset: int
    page_size: int | None


def parse_header_page(text: str) -> PageHeader | None:
    """Return the layout of ring-buffer pages, None if ``text`` does not say one that exists."""
    fields = {match["name"]: match for match in _FIELD.finditer(text)}
    stamp, commit, data = fields.get("timestamp"), fields.get("commit"), fields.get("data")
    if stamp is None or commit is None or data is None:
        return None
    size, start = int(commit["size"]), int(data["offset"])
    if (int(stamp["offset"]), int(stamp["size"]), int(commit["offset"])) != (0, 8, 8):
        return None
    if size not in (4, 8) or start != 8 + size:
        return None
    page = start + int(data["size"])
    fits = MIN_PAGE <= page <= MAX_PAGE and page % MIN_PAGE == 0
    return PageHeader(size, start, page if fits else None)


#: Limits that no recording reaches: bytes of a section and of a text, and counts.
MOST_SECTION, MOST_TEXT = 256 << 20, 16 << 20
_MOST_OPTIONS, _MOST_SYSTEMS, _MOST_EVENTS, _MOST_CPUS, _MOST_BUFFERS = (
    100_000,
    10_000,
    1_000_000,
    65_536,
    1000,
)
_MOST_DIGITS = 10


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
    """What the file says besides its records.

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
        comms: names of threads by their id, of those that the kernel still knew.
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
    comms: dict[int, str] = field(default_factory=dict)

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

    def comms(self, cursor: Cursor) -> None:
        """Read the names of threads: lines of an id, a blank and a name (``saved_cmdlines`` of tracefs)."""
        text = cursor.sized(8, "command lines", MOST_TEXT).split(b"\0", 1)[0].decode("utf-8", "replace")
        for line in text.split("\n"):
            thread, _, name = line.partition(" ")
            if thread.isascii() and thread.isdigit() and len(thread) <= _MOST_DIGITS:
                self.file.comms[int(thread)] = name

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
