"""Chunk headers of a native file, and a window on its bytes in which they are found again after damage."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from schemas.bulk import dtype_of
from schemas.native import CHUNK_HEADER, CHUNK_MAGIC, MAX_ACCESSES, RECORDS, ChunkType

_HEAD: Final = dtype_of(CHUNK_HEADER)
HEAD_SIZE: Final = _HEAD.itemsize
RECORD_SIZE: Final[dict[int, int]] = {int(kind): record.sizeof() for kind, (record, _) in RECORDS.items()}
_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """The fields of ``schemas.native.CHUNK_HEADER``."""

    magic: bytes
    type: int
    codec: int
    flags: int
    count: int
    stored_length: int
    raw_length: int
    payload_crc: int
    first_access: int
    number: int
    header_crc: int

    def accesses(self) -> int:
        """How many accesses the chunk holds by its own account (0 where that account is impossible)."""
        size = RECORD_SIZE.get(self.type, 0) * self.count
        if self.type == ChunkType.ACCESSES:
            return self.count if size == self.raw_length else 0
        if self.type == ChunkType.SNAPSHOTS:
            return max(0, self.raw_length - size) // 4  # one access for each dword
        return 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """An intact chunk: ``offset`` is where its raw ``payload`` begins in the uncompressed stream."""

    head: ChunkHead
    offset: int
    payload: bytes


def parse_header(data: bytes) -> ChunkHead | None:
    """Decode the chunk header that ``data`` begins with; None if it is not intact."""
    if len(data) < HEAD_SIZE or data[:4] != CHUNK_MAGIC:
        return None
    if zlib.crc32(data[: HEAD_SIZE - 4]) != int.from_bytes(data[HEAD_SIZE - 4 : HEAD_SIZE], "little"):
        return None
    head = ChunkHead(*np.frombuffer(data, _HEAD, 1)[0].item())
    return head if head.first_access <= MAX_ACCESSES else None


def find_header(data: bytes) -> int:
    """Return where the first intact chunk header in ``data`` begins, or -1."""
    at = data.find(CHUNK_MAGIC)
    while at >= 0:
        if parse_header(data[at : at + HEAD_SIZE]) is not None:
            return at
        at = data.find(CHUNK_MAGIC, at + 1)
    return -1


class Stream(Protocol):
    """What a reader reads from: sequential, decompressed; fewer bytes than asked for only at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next ``size`` bytes."""
        ...


class LookAhead:
    """A look ahead into a sequential stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0

    def peek(self, size: int, ahead: int = 0) -> bytes:
        """Return the next ``size`` bytes without taking them; fewer only at the end of the stream.

        Args:
            size: bytes wanted.
            ahead: bytes to read beyond them, so that a search does not read in small steps.
        """
        missing = size - (len(self._buffer) - self._at)
        if missing > 0:
            self._buffer = self._buffer[self._at :] + self._stream.read(missing + ahead)
            self._at = 0
        return self._buffer[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer only at the end of the stream."""
        if self._at == len(self._buffer):  # nothing looked at: no copy of a large payload
            return self._stream.read(size)
        data = self.peek(size)
        self._at += len(data)
        return data

    def skip(self, size: int) -> int:
        """Pass over ``size`` bytes in small steps; return how many there were."""
        left = size
        while left:
            step = len(self.take(min(left, _BLOCK)))
            if not step:
                break
            left -= step
        return size - left

    def unread(self, data: bytes) -> None:
        """Put back what was just taken."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0

    def skip_to_header(self) -> int:
        """Pass over bytes up to the next intact chunk header or the end; return how many."""
        skipped = 0
        while True:
            block = self.peek(_BLOCK, ahead=_BLOCK)
            found = find_header(block)
            if found < 0:
                # A header may begin in the last bytes of the block, unless they are the last of the stream.
                found = len(block) if len(block) < _BLOCK else _BLOCK - HEAD_SIZE + 1
                ended = len(block) < _BLOCK
            else:
                ended = True
            self._at += found
            skipped += found
            if ended:
                return skipped
