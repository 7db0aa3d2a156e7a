"""Parse the ``format`` texts of events and ``header_page``, which a trace.dat carries along.

Source: Linux ``Documentation/trace/events.rst`` (event formats) and ``kernel/trace/ring_buffer.c``
(``ring_buffer_print_page_header``). Offsets and sizes are those of the kernel that recorded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from schemas.trace_dat import MAX_PAGE, MIN_PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

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
