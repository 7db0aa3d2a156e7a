"""Open one input as a sequential stream of bytes, whatever compression it came in.

gzip (RFC 1952), zstd (RFC 8878), xz and bzip2 are detected from their magic, never from the file name,
and may be nested. Everything streams: a few MiB of memory, whatever the size of the input or of its
decompressed content.
"""

from __future__ import annotations

import bz2
import hashlib
import itertools
import lzma
import sys
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, Self

import zstandard

from analyzer.errors import (
    AritraceError,
    DamagedInputError,
    EmptyInputError,
    LimitExceededError,
    UnreadableInputError,
    UnsupportedFormatError,
)
from analyzer.readers.opening import open_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: How often an input may be compressed on top of another compression.
MAX_LAYERS = 3
#: Largest zstd window and xz dictionary: what ``zstd --long`` and ``xz -9e`` need, with room.
MAX_WINDOW = 128 << 20
#: A stream beyond ``_BOMB_BYTES`` that is more than ``_BOMB_RATIO`` times its input is not a recording.
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 1000
#: Compressed bytes fed at once: bounds the output of one step (zstd can make 128 KiB of 4 bytes) and what is
#: lost in front of damage, because a decoder that fails keeps the output of that step to itself.
_PIECE = 256
_RAW_BLOCK = 1 << 20
_LONGEST_MAGIC = 6
_SKIPPABLE_HEADER = 8
#: Members of one layer beyond ``_MANY`` hold that many bytes each, on average: smaller ones are no capture's,
#: and cost more time than the file is worth (a skippable frame has 8 bytes, a member of gzip 20).
_MANY, _LEAST_EACH = 100_000, 16
_WHY_EMPTY = "was the recording started, and was the disk full?"


class _Decoder(Protocol):
    """What zlib, lzma and zstandard decompression objects have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class _Codec:
    """A compression.

    Attributes:
        starts: whether bytes are the beginning of a member (a frame, a stream).
        layer: makes, for one stream, what makes the decoder of each member.
        error: what decoders raise for damage; ``memory_message`` is in it where it is about memory.
        skips: bytes of a member without content that begins so, or None.
    """

    name: str
    starts: Callable[[bytes], bool]
    layer: Callable[[], Callable[[], _Decoder]]
    error: type[Exception]
    memory_message: str = "\0"
    skips: Callable[[bytes], int | None] = lambda _head: None


def _zstd_starts(head: bytes) -> bool:
    # Skippable frames (pzstd writes one first) have the magics 0x184D2A50 .. 0x184D2A5F.
    return head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F)


def _skippable(head: bytes) -> int | None:
    """Bytes of a skippable frame, whose content is not of the stream (RFC 8878, 3.1.2)."""
    skipped = head[1:4] == b"\x2a\x4d\x18" and len(head) >= _SKIPPABLE_HEADER
    return _SKIPPABLE_HEADER + int.from_bytes(head[4:8], "little") if skipped else None


def _zstd_layer() -> Callable[[], _Decoder]:
    # One for all frames of a stream: making it is most of what a small frame costs.
    return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj


_CODECS = (
    _Codec(
        "gzip",
        lambda head: head.startswith(b"\x1f\x8b"),
        lambda: lambda: zlib.decompressobj(wbits=31),
        zlib.error,
    ),
    _Codec(
        "zstd",
        _zstd_starts,
        _zstd_layer,
        zstandard.ZstdError,
        "too much memory",
        _skippable,
    ),
    _Codec(
        "xz",
        lambda head: head.startswith(b"\xfd7zXZ\0"),
        lambda: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * MAX_WINDOW),
        lzma.LZMAError,
        "Memory usage limit",
    ),
    _Codec(
        "bzip2",
        # A level, and the magic of a block or, where there is none, of the end (bzip2's decompress.c).
        lambda head: head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:6] in (b"1A", b"\x17r"),
        lambda: bz2.BZ2Decompressor,
        OSError,
    ),
)


class ByteStream:
    """The content of one input, read once from front to back.

    Attributes:
        path: the input as the user named it (``-`` for standard input).
        damage: what is wrong with the compressed data, as problem kind and message: ``truncated`` (it ends
            early) or ``damaged`` (what was delivered may be wrong, too). Complete once the end was read.
    """

    def __init__(self, path: str, file: IO[bytes], *, keep_open: bool = False) -> None:
        self.path = path
        self.damage: list[tuple[str, str]] = []
        self._file = file
        self._keep_open = keep_open
        self._hash = hashlib.sha256()
        self._raw_bytes = 0
        self._raw_ended = False
        self._buffer = b""
        self._start = 0  # of the unread part of the buffer
        self._offset = 0
        self._chunks = self._unwrap()

    @property
    def offset(self) -> int:
        """Bytes read so far, counted in the uncompressed stream."""
        return self._offset

    @property
    def stored(self) -> int:
        """Bytes read so far as they are stored."""
        return self._raw_bytes

    @property
    def truncated(self) -> bool:
        """Whether the end of the content is missing; known for certain once the end was read."""
        return bool(self.damage)

    @property
    def reason(self) -> str:
        """Why the stream is truncated, or an empty string."""
        return "; ".join(message for _, message in self.damage)

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes on disk; reads what was not read yet."""
        while not self._raw_ended:
            self._read_raw()
        return self._hash.hexdigest()

    def peek(self, n: int) -> bytes:
        """Return the next ``n`` bytes without consuming them; fewer only at the end."""
        self._fill(n)
        return self._buffer[self._start : self._start + n]

    def read(self, n: int) -> bytes:
        """Return and consume the next ``n`` bytes; fewer only at the end.

        Raises:
            UnreadableInputError: the operating system failed to read the input.
            LimitExceededError: the content needs more memory, or grows more, than any recording would.
        """
        data = self.peek(n)
        self._start += len(data)
        self._offset += len(data)
        return data

    def close(self) -> None:
        """Close the file (standard input stays open)."""
        if not self._keep_open:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, n: int) -> None:
        missing = n - (len(self._buffer) - self._start)
        if missing <= 0:
            return
        parts = [self._buffer[self._start :]]
        while missing > 0 and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            missing -= len(chunk)
        self._buffer = b"".join(parts)
        self._start = 0
        size = self._offset + len(self._buffer)
        if size > _BOMB_BYTES and size > _BOMB_RATIO * self._raw_bytes:
            raise LimitExceededError(
                f"{self._raw_bytes} compressed bytes became more than {size}: this is not a recording",
                path=self.path,
                offset=self._offset,
            )

    def _read_raw(self) -> bytes:
        try:
            # Empty at the end; None where standard input is in non-blocking mode and has nothing yet.
            data: bytes = self._file.read(_RAW_BLOCK) or b""
        except OSError as error:
            raise UnreadableInputError(
                f"reading failed after {self._raw_bytes} bytes: {error.strerror}", path=self.path
            ) from error
        self._hash.update(data)
        self._raw_bytes += len(data)
        self._raw_ended = not data
        return data

    def _unwrap(self) -> Iterator[bytes]:
        """Yield the content in non-empty chunks, with every layer of compression removed."""
        chunks: Iterator[bytes] = iter(self._read_raw, b"")
        for _ in range(MAX_LAYERS):
            head, chunks = _look_ahead(chunks)
            codec = next((codec for codec in _CODECS if codec.starts(head)), None)
            if codec is None:
                break
            chunks = self._decompress(codec, chunks)
        else:
            head, chunks = _look_ahead(chunks)
            if any(codec.starts(head) for codec in _CODECS):
                raise UnsupportedFormatError(
                    f"expected at most {MAX_LAYERS} compressions on top of each other, found more",
                    path=self.path,
                    advice="decompress it first",
                )
        yield from chunks

    def _decompress(self, codec: _Codec, source: Iterator[bytes]) -> Iterator[bytes]:
        """Yield what one layer holds: any number of members or frames, with zeros allowed between them."""
        pieces = (chunk[i : i + _PIECE] for chunk in source for i in range(0, len(chunk), _PIECE))
        new_decoder = codec.layer()
        pending, eaten = b"", 0
        members = content = 0
        while True:
            pending = pending.lstrip(b"\0")
            while len(pending) < _SKIPPABLE_HEADER and (piece := next(pieces, b"")):
                pending = (pending + piece).lstrip(b"\0")
            if not pending:
                return
            if not codec.starts(pending):
                self.damage.append(("damaged", f"other data follows the {codec.name} data and was not read"))
                return
            if members > _MANY and content < members * _LEAST_EACH:
                raise self._too_many(codec, members, content)
            members += 1
            skipped = codec.skips(pending)
            if skipped is not None:
                pending, passed = _passed(skipped, pending, pieces)
                eaten += passed
                if passed < skipped:
                    self.damage.append(("truncated", _ends_early(codec, eaten)))
                    return
                continue
            decoder = new_decoder()
            while not decoder.eof:
                pending = pending or next(pieces, b"")
                if not pending:
                    self.damage.append(("truncated", _ends_early(codec, eaten)))
                    return
                eaten += len(pending)
                try:
                    output = decoder.decompress(pending)
                except codec.error as error:
                    self.damage.append(("damaged", self._decoder_failed(codec, error, eaten)))
                    return
                pending = decoder.unused_data
                eaten -= len(pending)
                if output:
                    content += len(output)
                    yield output

    def _too_many(self, codec: _Codec, members: int, content: int) -> LimitExceededError:
        return LimitExceededError(
            f"expected {_LEAST_EACH} bytes or more in a member of {codec.name} data, found {content} bytes"
            f" in {members} of them",
            path=self.path,
            advice="compress the capture as a whole",
        )

    def _decoder_failed(self, codec: _Codec, error: Exception, eaten: int) -> str:
        if codec.memory_message in str(error):
            raise LimitExceededError(
                f"this {codec.name} data needs more than {MAX_WINDOW >> 20} MiB of memory to decompress",
                path=self.path,
                advice="decompress it first, or compress it with the default settings",
            ) from error
        return f"the {codec.name} data is damaged within its first {eaten} bytes ({error})"


def _passed(size: int, pending: bytes, pieces: Iterator[bytes]) -> tuple[bytes, int]:
    """Pass over ``size`` bytes; return what follows them, and how many there were."""
    left = size
    while left > len(pending):
        left -= len(pending)
        pending = next(pieces, b"")
        if not pending:
            return b"", size - left
    return pending[left:], size


def _ends_early(codec: _Codec, eaten: int) -> str:
    return f"the {codec.name} data ends early, after {eaten} bytes of it"


def _look_ahead(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, enough for every magic if there are so many, and all chunks from the start."""
    head = b""
    while len(head) < _LONGEST_MAGIC and (chunk := next(chunks, b"")):
        head += chunk
    return head, itertools.chain([head] if head else [], chunks)


def open_stream(path: str, expected: str = "a capture") -> ByteStream:
    """Open ``path`` (``-``: standard input) as a stream of its uncompressed content.

    Args:
        path: as the user named it.
        expected: what it should hold, for messages.

    Raises:
        UnreadableInputError: missing, not permitted, or no file.
        EmptyInputError: there is not a single byte of content.
        DamagedInputError: compressed, and damaged before the first byte of content.
    """
    standard = path == "-"
    file = _open_stdin() if standard else open_input(path, expected)
    stream = ByteStream(path, file, keep_open=standard)
    try:
        if not stream.peek(1):
            if stream.truncated:
                raise DamagedInputError(
                    f"nothing can be decompressed: {stream.reason}", path=path, advice="fetch the file again"
                )
            raise EmptyInputError(f"expected {expected}, found nothing", path=path, advice=_WHY_EMPTY)
    except AritraceError:
        stream.close()
        raise
    return stream


def _open_stdin() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.closed:
        raise UnreadableInputError("standard input is closed", path="-")
    if sys.stdin.isatty():
        raise UnreadableInputError(
            "standard input is a terminal",
            path="-",
            advice="pipe a capture into it, as in: zcat FILE | analyze -",
        )
    return sys.stdin.buffer
