"""The regular files of a tar archive, streamed: name, size and place of each, content on demand.

Source: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (long names, numbers
in base 256). The standard library's ``tarfile`` is not used: it reads headers of any claimed size into
memory, and the places of the content are what evidence needs. Nothing is ever unpacked; links, devices and
sparse files are only counted, but for links whose text somebody wants.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from analyzer.errors import LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.readers.unwrap import ByteStream

BLOCK: Final = 512
MAGIC: Final = b"ustar"
MAGIC_AT: Final = 257
#: A long name or extended header above this is not looked at.
_MAX_EXTENSION: Final = 64 << 10
_SKIP: Final = 1 << 20
#: Members of all kinds: every file of a sysfs tree of five thousand functions. Packed, each is a byte.
MAX_MEMBERS: Final = 1 << 18

_PAX_RECORD = re.compile(rb"(\d{1,6}) (path|linkpath|size|GNU\.sparse\.[a-z]{1,20})=([^\n]{0,4096})\n")
_REGULAR: Final = (b"0", b"\0", b"7")
_DIRECTORY: Final = b"5"
_LINK: Final = b"2"
#: GNU's long name and long link name, pax headers of one member and of all.
_EXTENSIONS: Final = (b"L", b"K", b"x", b"g")
_KINDS: Final = {
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "device",
    b"4": "device",
    b"6": "pipe",
    b"S": "sparse file",
}


def starts(head: bytes) -> bool:
    """Whether bytes are the beginning of an archive."""
    return head.startswith(MAGIC, MAGIC_AT)


@dataclass(frozen=True)
class Member:
    """A regular file.

    Attributes:
        name: path in the archive; bytes that are not UTF-8 stay as surrogates.
        size: bytes of content.
        where: place of the content in the uncompressed archive.
    """

    name: str
    size: int
    where: int


@dataclass
class Archive:
    """An archive, read once from its beginning.

    Attributes:
        others: members that are neither regular files nor directories, by kind.
        damage: what ended the reading early (kind, message, place), or None.
        named: asked of every member with its path and, of a symbolic link, where that leads; a link for which
            it returns true is not counted.
    """

    stream: ByteStream
    others: Counter[str] = field(default_factory=Counter)
    damage: tuple[str, str, int] | None = None
    named: Callable[[str, str | None], bool] = lambda _name, _link: False
    _left: int = 0

    def members(self) -> Iterator[Member]:
        """Yield the regular files in order; :meth:`content` reads the one that was yielded last.

        Raises:
            LimitExceededError: more members than ``MAX_MEMBERS``.
        """
        name: str | None = None
        link: str | None = None
        sparse = False
        number = 0
        while (header := self._header()) is not None:
            number += 1
            if number > MAX_MEMBERS:
                raise LimitExceededError(
                    f"expected at most {MAX_MEMBERS} members in an archive, found more",
                    path=self.stream.path,
                    offset=self.stream.offset - BLOCK,
                    advice="pack nothing but the config files",
                )
            kind = header[156:157]
            size = _number(header[124:136])
            if size is None:
                self._end("damaged", "a header of this archive has no valid size", BLOCK)
                return
            self._left = size + -size % BLOCK
            if kind in _EXTENSIONS:
                extension = self._extension(size)
                if kind == b"L":
                    name = _text(extension)
                elif kind == b"K":
                    link = _text(extension)
                elif kind == b"x":
                    name, link, sparse = _pax(extension, name, link)
            elif kind in _REGULAR and not sparse:
                member = Member(name or _name(header), size, self.stream.offset)
                self.named(member.name, None)
                yield member
                name = link = None
            else:
                leads_to = (link or _text(header[157:257])) if kind == _LINK else None
                taken = self.named(name or _name(header), leads_to) and leads_to is not None
                if kind != _DIRECTORY and not taken:
                    self.others["sparse file" if sparse else _KINDS.get(kind, "special file")] += 1
                name, link, sparse = None, None, False
            if not self._skip():
                return

    def content(self, member: Member) -> bytes:
        """Return the content of the member that was yielded last; shorter only if the archive is cut."""
        data = self.stream.read(member.size)
        self._left -= len(data)
        return data

    def _header(self) -> bytes | None:
        """Return the next header; None at the end, complete or cut."""
        header = self.stream.read(BLOCK)
        if header.strip(b"\0") == b"":
            if len(header) < BLOCK:
                self._end("truncated", "this archive has no end: it is cut", len(header))
            return None
        if len(header) < BLOCK:
            self._end("truncated", "this archive ends within a header", len(header))
            return None
        if header[MAGIC_AT : MAGIC_AT + 5] != MAGIC or _number(header[148:156]) != _checksum(header):
            self._end("damaged", "expected a header of a tar archive, found something else", BLOCK)
            return None
        return header

    def _extension(self, size: int) -> bytes:
        data = self.stream.read(min(size, _MAX_EXTENSION))
        self._left -= len(data)
        return data

    def _skip(self) -> bool:
        while self._left > 0:
            data = self.stream.read(min(self._left, _SKIP))
            self._left -= len(data)
            if not data:
                self._end("truncated", "this archive ends within a file", 0)
                return False
        return True

    def _end(self, kind: str, message: str, back: int) -> None:
        self.damage = (kind, message, self.stream.offset - back)


def _checksum(header: bytes) -> int:
    """Sum of the header's bytes, with its own field as blanks."""
    return sum(header[:148]) + 8 * 0x20 + sum(header[156:])


def _number(text: bytes) -> int | None:
    """A number in octal, or in base 256 after a set top bit; None if it is neither, negative or absurd."""
    if text[0] & 0x80:
        value = int.from_bytes(bytes([text[0] & 0x7F]) + text[1:], "big")
        return value if value < 1 << 62 else None
    digits = text.split(b"\0")[0].strip(b" ")
    return int(digits or b"0", 8) if re.fullmatch(rb"[0-7]*", digits) else None


def _name(header: bytes) -> str:
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    # GNU tar keeps times where ustar has the prefix, and says so by a blank after the magic.
    whole = prefix + b"/" + name if prefix and header[262:263] == b"\0" else name
    return whole.decode("utf-8", "surrogateescape")


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _pax(extension: bytes, name: str | None, link: str | None) -> tuple[str | None, str | None, bool]:
    """Path, where a link leads, and whether the file is sparse (its size says nothing then)."""
    sparse = False
    for _, key, value in _PAX_RECORD.findall(extension):
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif key == b"linkpath":
            link = value.decode("utf-8", "surrogateescape")
        else:
            sparse = True
    return name, link, sparse
