"""From the bytes of a native file to its intact chunks: order, checksums, decompression, resynchronisation.

A damaged payload costs its chunk. A damaged chunk header costs the bytes up to the next header whose checksum
is right. Sizes are checked against the limits of the format before anything is read or allocated.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import zstandard

from analyzer.errors import LimitExceededError
from analyzer.plurals import count, counted
from schemas.bulk import dtype_of
from schemas.native import (
    ALIGNMENT,
    CHUNK_HEADER,
    CHUNK_MAGIC,
    MAX_ACCESSES,
    MAX_RAW,
    MAX_RAW_SNAPSHOTS,
    MAX_STORED,
    RECORDS,
    ChunkType,
    Codec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.readers.native.ledger import Ledger

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


#: Bytes of bad payloads that are searched for chunk headers; a file made to exceed it is not worth more time.
MAX_SEARCHED: Final = 1 << 28
#: Chunks that become more than ``_BOMB_BYTES``, and ``_BOMB_RATIO`` times their size, are not a recording.
_BOMB_BYTES, _BOMB_RATIO = 1 << 30, 1000


class _DamageError(Exception):
    """The payload cannot be used; the text says why."""


def _padding(length: int) -> int:
    return -length % ALIGNMENT


def _check_sizes(head: ChunkHead) -> None:
    """Hold the sizes of a known chunk type against each other and the limits, before anything is read."""
    raw, stored = head.raw_length, head.stored_length
    if head.codec not in (Codec.NONE, Codec.ZSTD):
        raise _DamageError(f"expected codec 0 or 1, found {head.codec}")
    limit = MAX_RAW_SNAPSHOTS if head.type == ChunkType.SNAPSHOTS else MAX_RAW
    if raw > limit or stored > MAX_STORED:
        raise _DamageError(f"expected at most {limit} bytes of payload, found {raw} (stored in {stored})")
    if head.codec == Codec.NONE and stored != raw:
        raise _DamageError(f"expected {raw} bytes stored as they are, found {stored}")
    size = head.count * RECORD_SIZE[head.type]
    if size > raw or (head.type == ChunkType.ACCESSES and size != raw):
        raise _DamageError(f"expected {size} bytes for {head.count} records, found {raw}")


class Framing:
    """Iterator over the intact chunks of known types, up to and including the trailer.

    Attributes:
        intact: chunk headers found intact so far.
        position: offset in the uncompressed stream.
        end: how the file ended, where that was inside a chunk; else an empty string.
    """

    def __init__(self, window: LookAhead, ledger: Ledger, position: int, *, lost: bool = False) -> None:
        self.position = position
        self.intact = 0
        self.end = ""
        self._window = window
        self._ledger = ledger
        self._lost = lost  # whole chunks may have been in what was just passed over
        self._number = -1
        self._searched = 0
        self._packed = self._unpacked = 0
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_RAW)
        self._unknown: dict[int, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[Chunk]:
        """Yield chunks; damage is recorded in the ledger."""
        while data := self._window.peek(HEAD_SIZE):
            head = parse_header(data)
            if head is None:
                self._resynchronise(data)
                continue
            self.intact += 1
            self._window.take(HEAD_SIZE)
            start = self.position
            self.position += HEAD_SIZE
            chunk = self._chunk(head, start) if self._in_order(head, start) else None
            if chunk is not None:
                yield chunk
                if head.type == ChunkType.TRAILER:
                    break
        for kind, (number, first) in sorted(self._unknown.items()):
            message = f"{count(number, 'chunk')} of unknown type {kind} left out"
            self._ledger.problem("unknown-chunk", message, first)

    def _resynchronise(self, data: bytes) -> None:
        start = self.position
        skipped = self._window.skip(1) + self._window.skip_to_header()
        self.position += skipped
        if len(data) < HEAD_SIZE and CHUNK_MAGIC.startswith(data[:4]):
            self.end = "inside a chunk header"
            return
        if not self._lost:
            found = data[:8].hex(" ")
            message = f"expected a chunk header, found {found}; {count(skipped, 'byte')} left out"
            self._ledger.problem("damaged", message, start)
        self._lost = True

    def _in_order(self, head: ChunkHead, start: int) -> bool:
        """Whether the chunk follows those before it; if not, pass over it."""
        number, due = head.number, self._ledger.due
        trouble = ""
        if number <= self._number:
            trouble = f"chunk number {number} comes after {self._number}: repeated, or from another file"
        elif head.first_access < due:
            trouble = f"chunk {number}: expected access {due} to come next, found {head.first_access}"
        if trouble:
            self._ledger.problem("damaged", f"{trouble}; left out", start)
            self._number = max(self._number, number)
            self._pass(head)
            return False
        missing = number - self._number - 1
        if missing and not self._lost:
            message = counted("{} [chunk|chunks] before chunk ", missing) + f"{number} missing"
            self._ledger.problem("damaged", message, start)
        self._ledger.skip_to(head.first_access, start)
        self._number = number
        self._lost = False
        return True

    def _chunk(self, head: ChunkHead, start: int) -> Chunk | None:
        """Read the payload after an intact header; None where it cannot be used."""
        if head.type not in RECORD_SIZE:
            count, first = self._unknown.get(head.type, (0, start))
            self._unknown[head.type] = (count + 1, first)
            self._pass(head)
            return None
        try:
            _check_sizes(head)
        except _DamageError as damage:
            self._damaged(head, start, damage)
            self._pass(head)
            return None
        stored = self._window.take(head.stored_length)
        if len(stored) < head.stored_length:
            self._cut(head, start, stored)
            return None
        checksum = zlib.crc32(stored)
        if checksum != head.payload_crc:
            self._damaged(head, start, f"expected checksum {head.payload_crc:#010x}, found {checksum:#010x}")
            self._leave_bad_payload(head, stored)
            return None
        offset = self.position
        self._window.skip(_padding(head.stored_length))
        self._advance(head)
        try:
            return Chunk(head, offset, self._raw(head, stored))
        except _DamageError as damage:
            self._damaged(head, start, damage)
            return None

    def _advance(self, head: ChunkHead) -> None:
        """Count a payload as it would lie in the file if it were stored raw."""
        self.position += head.raw_length + _padding(head.raw_length)

    def _pass(self, head: ChunkHead) -> None:
        """Skip the payload after a header."""
        if self._window.skip(head.stored_length) < head.stored_length:
            self.end = f"inside chunk {head.number}"
        self._window.skip(_padding(head.stored_length))
        self._advance(head)

    def _damaged(self, head: ChunkHead, start: int, reason: object) -> None:
        accesses = head.accesses()
        cost = f"; {count(accesses, 'access', 'accesses')} lost" if accesses else ""
        name = ChunkType(head.type).name.lower()
        self._ledger.problem("damaged", f"chunk {head.number} ({name}): {reason}{cost}", start)
        self._ledger.lose(accesses)

    def _leave_bad_payload(self, head: ChunkHead, stored: bytes) -> None:
        """Go on after the payload if a header is there; else bytes were lost: search the payload for one."""
        padding = _padding(head.stored_length)
        following = self._window.peek(padding + HEAD_SIZE)
        if (
            len(following) > padding
            and parse_header(following[padding:]) is None
            and self._may_search(stored)
        ):
            self._search(stored)
        else:
            self._window.skip(padding)
            self._advance(head)

    def _cut(self, head: ChunkHead, start: int, stored: bytes) -> None:
        """The stream ended inside a payload: cut short, unless a later chunk shows that bytes were lost.

        No checksum covers a part of a payload, so none of it is used.
        """
        if find_header(stored) >= 0 and self._may_search(stored):
            self._damaged(
                head, start, f"expected {head.stored_length} bytes of payload, found the next chunk"
            )
            self._search(stored)
            return
        self.end = f"inside chunk {head.number} with {head.count} records, which are not used"

    def _may_search(self, stored: bytes) -> bool:
        self._searched += len(stored)
        return self._searched <= MAX_SEARCHED

    def _search(self, stored: bytes) -> None:
        self._window.unread(stored)
        self.position += self._window.skip_to_header()
        self._lost = True

    def _raw(self, head: ChunkHead, stored: bytes) -> bytes:
        if head.codec == Codec.NONE:
            return stored
        self._packed += len(stored)
        self._unpacked += head.raw_length
        if self._unpacked > _BOMB_BYTES and self._unpacked > _BOMB_RATIO * self._packed:
            raise LimitExceededError(
                f"expected chunks that decompress to at most {_BOMB_RATIO} times their size, found "
                f"{self._unpacked} bytes from {self._packed}",
                path=self._ledger.notes.path,
                offset=self.position,
                advice="no recording compresses like that: the file is made to exhaust its reader",
            )
        try:
            payload = self._inflate(stored, head.raw_length + 1)
        except zstandard.ZstdError as error:
            raise _DamageError(f"expected one zstd frame ({error})") from error
        if len(payload) != head.raw_length:
            found = "more" if len(payload) > head.raw_length else str(len(payload))
            raise _DamageError(f"expected {head.raw_length} bytes from zstd, found {found}")
        return payload

    def _inflate(self, stored: bytes, limit: int) -> bytes:
        """Decompress at most ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        source: Any = self._decompressor.stream_reader(stored)
        while size < limit and (part := source.read(limit - size)):
            parts.append(part)
            size += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
