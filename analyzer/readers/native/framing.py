"""From the bytes of a native file to its intact chunks: order, checksums, decompression, resynchronisation.

A damaged payload costs its chunk. A damaged chunk header costs the bytes up to the next header whose checksum
is right. Sizes are checked against the limits of the format before anything is read or allocated.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import zstandard

from analyzer.errors import LimitExceededError
from analyzer.readers.native.chunks import HEAD_SIZE, RECORD_SIZE, Chunk, find_header, parse_header
from schemas.native import ALIGNMENT, CHUNK_MAGIC, MAX_RAW, MAX_RAW_SNAPSHOTS, MAX_STORED, ChunkType, Codec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.readers.native.chunks import ChunkHead, LookAhead
    from analyzer.readers.native.ledger import Ledger

#: Bytes of bad payloads that are searched for chunk headers; a file made to exceed it is not worth more time.
MAX_SEARCHED: Final = 1 << 28
#: Chunks that become more than ``_BOMB_BYTES``, and ``_BOMB_RATIO`` times their size, are no recording.
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
        for kind, (count, first) in sorted(self._unknown.items()):
            self._ledger.problem("unknown-chunk", f"{count} chunks of unknown type {kind} skipped", first)

    def _resynchronise(self, data: bytes) -> None:
        start = self.position
        skipped = self._window.skip(1) + self._window.skip_to_header()
        self.position += skipped
        if len(data) < HEAD_SIZE and CHUNK_MAGIC.startswith(data[:4]):
            self.end = "inside a chunk header"
            return
        if not self._lost:
            found = data[:8].hex(" ")
            message = f"expected a chunk header, found {found}; {skipped} bytes passed over"
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
            self._ledger.problem("damaged", f"{trouble}; passed over", start)
            self._number = max(self._number, number)
            self._pass(head)
            return False
        missing = number - self._number - 1
        if missing and not self._lost:
            self._ledger.problem("damaged", f"{missing} chunks before chunk {number} are missing", start)
        self._ledger.skip_to(head.first_access, start)
        self._number = number
        self._lost = False
        return True

    def _chunk(self, head: ChunkHead, start: int) -> Chunk | None:
        """Read the payload behind an intact header; None where it cannot be used."""
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
        """Skip the payload behind a header."""
        if self._window.skip(head.stored_length) < head.stored_length:
            self.end = f"inside chunk {head.number}"
        self._window.skip(_padding(head.stored_length))
        self._advance(head)

    def _damaged(self, head: ChunkHead, start: int, reason: object) -> None:
        accesses = head.accesses()
        cost = f"; {accesses} accesses lost" if accesses else ""
        name = ChunkType(head.type).name.lower()
        self._ledger.problem("damaged", f"chunk {head.number} ({name}): {reason}{cost}", start)
        self._ledger.lose(accesses)

    def _leave_bad_payload(self, head: ChunkHead, stored: bytes) -> None:
        """Go on behind the payload if a header is there; else bytes were lost: search the payload for one."""
        padding = _padding(head.stored_length)
        behind = self._window.peek(padding + HEAD_SIZE)
        if len(behind) > padding and parse_header(behind[padding:]) is None and self._may_search(stored):
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
        self.end = f"inside chunk {head.number} with {head.count} records, of which none is used"

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
