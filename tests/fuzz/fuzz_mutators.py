"""Changes to an input that keep enough of its form to get past the first check: what a fuzzer cannot guess.

Each mutator is ``(data, random, other) -> data``; ``other`` is a second input to take pieces from.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Mutator = Callable[[bytes, random.Random, bytes], bytes]

_EDGES = (0, 1, 2, 3, 4, 7, 8, 15, 16, 0x1F, 0x20, 0x3F, 0x40, 0x7F, 0x80, 0xFE, 0xFF, 0x100, 0xFFC, 0xFFF)
_EDGES = (*_EDGES, 0x1000, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_EDGES = (*_EDGES, 1 << 32, 1 << 40, 1 << 48, (1 << 53) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_SIZES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_VALUE = re.compile(rb'"(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|\[\]|\{\}')
_VALUES = (
    b"null", b"true", b"[]", b"{}", b'""', b"[1]", b"[[]]", b'{"a": 1}', b"-1", b"0", b"1e999", b"NaN",
    b"9" * 40, b"9" * 5000, b'"x"', b'"\\ud800"', b'"\\u0000"', b'["x", 1]', b"[" * 500, b"2026-01-01",
)  # fmt: skip
_CHUNK_MAGIC, _CHUNK_HEADER = b"\xab\x43\x48\x4b", 40
_STRANGE = (
    b"\0", b"\xff", b"\xc3\x28", b"\xe2\x80\xae", b"\xed\xa0\x80", b"\x1b[2J", b"\r", b"\t", b"\n\n", b"-",
    b"=cmd|' /C calc'!A0", b"<script>", b"%s%n", b"ffff:ff:1f.7", b"10000:e1:00.0", b"0x", b"-1", b"1e999",
    b"99999999999999999999", "\u0661\u0662".encode(), b":", b"...", b" " * 64, b"[", b"]", b"(", b"{",
    b"null", b"true", b"[]", b"{}", b'""', b"NaN", b"1.5",
)  # fmt: skip


def blocks(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Take out, repeat, move or fetch a block."""
    start, size = rng.randrange(len(data) + 1), 1 << rng.randrange(13)
    block = data[start : start + size]
    kind = rng.randrange(4)
    if kind == 0:
        return data[:start] + data[start + size :]
    if kind == 1:
        return data[:start] + block * rng.randrange(1, 5) + data[start:]
    if kind == 2:
        rest = data[:start] + data[start + size :]
        at = rng.randrange(len(rest) + 1)
        return rest[:at] + block + rest[at:]
    at = rng.randrange(len(other) + 1)
    return data[:start] + other[at : at + size] + data[start + (size if rng.randrange(2) else 0) :]


def numbers(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Set a binary number to an edge, or one off what it is."""
    size = rng.choice(tuple(_SIZES))
    if len(data) < size:
        return blocks(data, rng, other)
    at = rng.randrange(len(data) - size + 1)
    at -= at % size if rng.randrange(3) else 0
    code = rng.choice("<>") + _SIZES[size]
    if rng.randrange(2):
        value = rng.choice(_EDGES)
    else:
        value = struct.unpack_from(code, data, at)[0] + rng.choice((-1, 1, -8, 8, 256))
    return data[:at] + struct.pack(code, value & (1 << 8 * size) - 1) + data[at + size :]


def bits(data: bytes, rng: random.Random, _: bytes) -> bytes:
    """Flip some bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def lines(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change lines of text: drop, repeat, swap, join, cut, fetch."""
    own = data.split(b"\n")
    at = rng.randrange(len(own))
    kind = rng.randrange(6)
    if kind == 0:
        del own[at : at + rng.randrange(1, 4)]
    elif kind == 1:
        own[at:at] = [own[at]] * rng.choice((1, 1, 2, 40))
    elif kind == 2:
        to = rng.randrange(len(own))
        own[at], own[to] = own[to], own[at]
    elif kind == 3 and at + 1 < len(own):
        own[at : at + 2] = [own[at] + own[at + 1]]
    elif kind == 4:
        own[at] = own[at][: rng.randrange(len(own[at]) + 1)]
    else:
        own.insert(at, rng.choice(other.split(b"\n")))
    return b"\n".join(own)


def digits(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change a number or a word written in text."""
    places = list(re.finditer(rb"[0-9a-fA-F]+|\w+", data[:65536]))
    if not places:
        return blocks(data, rng, other)
    place = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0:
        value = rng.choice(_EDGES)
        new = (b"%x" if rng.randrange(2) else b"%d") % value
    elif kind == 1:
        new = rng.choice(_STRANGE)
    elif kind == 2:
        new = place[0] + b"%x" % rng.randrange(16)
    else:
        new = rng.choice(places)[0]
    return data[: place.start()] + new + data[place.end() :]


def values(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Put another value in place of one of JSON or TOML, or into a list."""
    places = list(_VALUE.finditer(data[:65536]))
    if not places:
        return lines(data, rng, other)
    place, new = rng.choice(places), rng.choice(_VALUES)
    end = place.start() if rng.randrange(3) == 0 else place.end()  # in front of it, or in its place
    return data[: place.start()] + new + (b", " if end < place.end() else b"") + data[end:]


def native_repaired(data: bytes, rng: random.Random) -> bytes:
    """Make the checksums of a native file right again, and often its running numbers."""
    changed = bytearray(data)
    if len(changed) >= 16:
        size = int.from_bytes(changed[10:12], "little")
        if 4 < size <= len(changed):
            changed[size - 4 : size] = struct.pack("<I", zlib.crc32(changed[: size - 4]))
    renumber, sizes = rng.randrange(3) == 0, rng.randrange(3) == 0
    starts = [match.start() for match in re.finditer(re.escape(_CHUNK_MAGIC), data)]
    ends = [*starts[1:], len(changed)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=False)):  # no chunk is left: no start
        if start + _CHUNK_HEADER > end:
            continue
        if sizes:  # the payload became longer or shorter: say so
            room = end - start - _CHUNK_HEADER
            struct.pack_into("<II", changed, start + 12, room, room)
            if changed[start + 4] == 1:
                struct.pack_into("<I", changed, start + 8, room // 24)
        if renumber:
            struct.pack_into("<I", changed, start + 32, number)
        stored = int.from_bytes(changed[start + 12 : start + 16], "little")
        payload = changed[start + _CHUNK_HEADER : start + _CHUNK_HEADER + stored]
        struct.pack_into("<I", changed, start + 20, zlib.crc32(payload))
        struct.pack_into("<I", changed, start + 36, zlib.crc32(changed[start : start + 36]))
    return bytes(changed)


def tar_repaired(data: bytes, _: random.Random) -> bytes:
    """Make the checksums of the headers of a tar archive right again."""
    changed = bytearray(data)
    for at in range(0, len(changed) - 511, 512):
        if changed[at + 257 : at + 262] == b"ustar":
            changed[at + 148 : at + 156] = b" " * 8
            changed[at + 148 : at + 156] = b"%06o\0 " % (sum(changed[at : at + 512]) & 0o777777)
    return bytes(changed)


STRUCTURED: tuple[Mutator, ...] = (lines, digits, values, values, blocks, bits)
BINARY: tuple[Mutator, ...] = (blocks, numbers, numbers, bits)
MIXED: tuple[Mutator, ...] = (blocks, numbers, bits, lines, digits)
TEXT: tuple[Mutator, ...] = (lines, lines, digits, digits, blocks, bits)


def mutate(data: bytes, kinds: tuple[Mutator, ...], rng: random.Random, other: bytes) -> bytes:
    """Apply a few mutators of ``kinds``, one after the other."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4, 8))):
        data = rng.choice(kinds)(data, rng, other)
    return data
