"""Where the chunks of an undamaged native file are."""

from __future__ import annotations

from schemas.native import CHUNK_HEADER, FILE_HEADER_START


def chunks(data: bytes) -> list[tuple[int, int]]:
    """Begin and end of each chunk."""
    at, found = FILE_HEADER_START.parse(data).header_size, []
    while at < len(data):
        stored = CHUNK_HEADER.parse(data[at:]).stored_length
        found.append((at, at + CHUNK_HEADER.sizeof() + stored + -stored % 8))
        at = found[-1][1]
    return found
