"""Step through a part of a trace.dat: every length is checked against what is there before it is used."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Literal

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

    from construct import Construct

    Buffer = bytes | memoryview

#: Longest name or other short text.
_MOST_TEXT = 4096
#: Largest zstd window: trace-cmd compresses pieces of at most ten ring-buffer pages.
_MOST_WINDOW = 128 << 20


class CursorError(Exception):
    """The part ends early, or says something that cannot be.

    Attributes:
        offset: byte in the file.
        short: the part ends before what it announces.
    """

    def __init__(self, message: str, offset: int, *, short: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.short = short


class Cursor:
    """A place in a part of the file that only moves forward.

    Args:
        data: the part.
        order: byte order of the file.
        base: place of the part in the file, for messages. In a part that was compressed it is that of its
            start, so that messages name the section.
        fixed: the part was compressed: places in it are none in the file.
    """

    def __init__(
        self, data: Buffer, order: Literal["little", "big"], base: int, *, fixed: bool = False
    ) -> None:
        self._data = data
        self._order = order
        self._base = base
        self._fixed = fixed
        self.position = 0

    @property
    def place(self) -> int:
        """Where the cursor stands in the file."""
        return self._base if self._fixed else self._base + self.position

    @property
    def left(self) -> int:
        """Bytes after the cursor."""
        return len(self._data) - self.position

    def take(self, size: int, what: str) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            CursorError: there are fewer; ``what`` names what was expected.
        """
        if size > self.left:
            raise CursorError(
                f"expected {size} bytes of {what}, found {self.left}", self.place, short=not self._fixed
            )
        data = bytes(self._data[self.position : self.position + size])
        self.position += size
        return data

    def number(self, size: int, what: str) -> int:
        """Return the next unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size, what), self._order)

    def parse(self, layout: Construct, what: str) -> Construct:
        """Return what a Construct ``layout`` of fixed size says here."""
        return layout.parse(self.take(layout.sizeof(), what))

    def text(self, what: str) -> str:
        """Return the text up to the next NUL and step over it."""
        piece = bytes(self._data[self.position : self.position + _MOST_TEXT])
        end = piece.find(b"\0")
        if end < 0:
            raise CursorError(
                f"expected the end of {what}, found none in {len(piece)} bytes",
                self.place,
                short=len(piece) < _MOST_TEXT and not self._fixed,
            )
        self.position += end + 1
        return piece[:end].decode("utf-8", "replace")

    def sized(self, size_bytes: int, what: str, most: int) -> bytes:
        """Return the bytes that a length of ``size_bytes`` bytes announces, at most ``most``."""
        place = self.place
        size = self.number(size_bytes, f"the length of {what}")
        if size > most:
            raise CursorError(f"expected at most {most} bytes of {what}, found a length of {size}", place)
        return self.take(size, what)


def _zstd(data: Buffer, size: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
    # The frame may say another size than the header in front of it; only this much is ever made.
    reader = decoder.stream_reader(bytes(data))
    return reader.read(size + 1)


def _zlib(data: Buffer, size: int) -> bytes:
    return zlib.decompressobj().decompress(data, size + 1)


#: How a file of each compression is expanded: data and expected size to content.
_DECODERS: dict[str, Callable[[Buffer, int], bytes]] = {"zstd": _zstd, "zlib": _zlib}
COMPRESSIONS = frozenset({"none", *_DECODERS})


def expand(compression: str, data: Buffer, size: int, place: int) -> bytes:
    """Return the ``size`` bytes that ``data`` holds compressed.

    Raises:
        CursorError: the data is damaged, or holds another number of bytes.
    """
    if compression not in _DECODERS:
        raise CursorError("found compressed data in a file that names no compression", place)
    try:
        content = _DECODERS[compression](data, size)
    except (zstandard.ZstdError, zlib.error) as error:
        raise CursorError(f"the {compression} data is damaged ({error})", place) from error
    if len(content) != size:
        found = f"more than {size}" if len(content) > size else str(len(content))
        raise CursorError(f"expected {size} bytes of {compression} data, found {found}", place)
    return content
