"""Where the length and count fields of each binary format are, and values that they should not have."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from native_chunks import chunks

from schemas.native import CHUNK_HEADER, FILE_HEADER_START, RECORDS, ChunkType

if TYPE_CHECKING:
    from collections.abc import Iterator


class Field(NamedTuple):
    """A number in a file: what it is, where, of how many bytes, in which byte order."""

    what: str
    place: int
    size: int
    order: str = "little"


def wrong_values(data: bytes, field: Field) -> Iterator[bytes]:
    """The file with the field set to 0, 1, the largest it holds, and one off what it is."""
    now = int.from_bytes(data[field.place : field.place + field.size], field.order)
    most = (1 << 8 * field.size) - 1
    for value in {0, 1, most, most >> 1, (now + 1) & most, (now - 1) & most} - {now}:
        yield data[: field.place] + value.to_bytes(field.size, field.order) + data[field.place + field.size :]


def fields_of(layout: object, base: int, what: str, wanted: tuple[str, ...]) -> Iterator[Field]:
    """The fields of a declaration whose names end so."""
    at = base
    for part in layout.subcons:
        size = part.sizeof()
        if part.name and part.name.endswith(wanted):
            yield Field(f"{what}.{part.name}", at, size)
        at += size


def native(data: bytes) -> list[Field]:
    found = list(fields_of(FILE_HEADER_START, 0, "file header", ("size", "count", "version")))
    for begin, _ in chunks(data):
        head = CHUNK_HEADER.parse(data[begin:])
        name = ChunkType(head.type).name
        wanted = ("length", "count", "access", "number", "type", "codec")
        found += fields_of(CHUNK_HEADER, begin, f"{name} chunk", wanted)
        if head.type in RECORDS and head.type != ChunkType.ACCESSES:  # whose offsets are registers
            wanted = ("length", "access", "accesses", "dropped", "kexec", "offset", "kind")
            found += fields_of(RECORDS[head.type][0], begin + CHUNK_HEADER.sizeof(), name, wanted)
    return found


def repaired(data: bytes, begin: int) -> bytes:
    """The native file with the checksums of the chunk at ``begin`` made right again (0: the file header)."""
    changed = bytearray(data)
    if not begin:
        size = min(int.from_bytes(data[10:12], "little"), len(data))
        if size > 4:
            struct.pack_into("<I", changed, size - 4, zlib.crc32(changed[: size - 4]))
        return bytes(changed)
    stored = int.from_bytes(data[begin + 12 : begin + 16], "little")
    payload = data[begin + 40 : begin + 40 + stored]
    struct.pack_into("<I", changed, begin + 20, zlib.crc32(payload))
    struct.pack_into("<I", changed, begin + 36, zlib.crc32(changed[begin : begin + 36]))
    return bytes(changed)


def simpletrace(data: bytes) -> list[Field]:
    found, at = [Field("version", 16, 8)], 24
    while at < len(data) and len(found) < 12:
        if data[at] == 0:
            found.append(Field("mapping.len", at + 16, 4))
            at += 20 + int.from_bytes(data[at + 16 : at + 20], "little")
        else:
            found += [Field("event.length", at + 24, 4), Field("event.name_length", at + 32, 4)]
            at += 8 + int.from_bytes(data[at + 24 : at + 28], "little")
    return [*found, Field("type", 24, 8), Field("event_id", 32, 8)]


def pcap(data: bytes) -> list[Field]:
    found, at = [Field("snaplen", 16, 4), Field("network", 20, 4), Field("version", 4, 2)], 24
    while at < len(data) and len(found) < 16:
        found += [
            Field("incl_len", at + 8, 4),
            Field("orig_len", at + 12, 4),
            Field("ip.total", at + 32, 2, "big"),
        ]
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    return found


def pcapng(data: bytes) -> list[Field]:
    found, at = [], 0
    while at < len(data) and len(found) < 24:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found += [
            Field("block.type", at, 4),
            Field("block.length", at + 4, 4),
            Field("end", at + size - 4, 4),
        ]
        found += [Field("first", at + 8, 4), Field("captured", at + 20, 4), Field("original", at + 24, 4)]
        at += size
    return found


def tar(data: bytes) -> Iterator[bytes]:
    """The archive with the size of its first member set to strange numbers, the checksum right."""
    now = int(data[124:135], 8)
    base_256 = b"\x80" + bytes(3) + (1 << 61).to_bytes(8, "big")
    numbers = [b"%011o\0" % size for size in (0, 1, now - 1, now + 1, 8**11 - 1)]
    for number in (*numbers, base_256, b"\xff" * 12):
        header = bytearray(data[:512])
        header[124:136], header[148:156] = number, b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        yield bytes(header) + data[512:]


def trace_dat_v7(data: bytes) -> list[Field]:
    """The file head, the options, each section, the buffer with its CPUs, and the first pages."""
    head = data.index(b"\0", 10) + 1  # behind magic and version
    at = data.index(b"\0", data.index(b"\0", head + 6) + 1) + 1  # behind compression and its version
    found = [Field("long_size", head + 1, 1), Field("page_size", head + 2, 4), Field("options", at, 8)]
    options = int.from_bytes(data[at : at + 8], "little")
    found += [Field("section.size", options + 8, 8), Field("section.flags", options + 2, 2)]
    place, end = options + 16, options + 16 + int.from_bytes(data[options + 8 : options + 16], "little")
    while place + 6 <= end:
        kind, size = int.from_bytes(data[place : place + 2], "little"), int.from_bytes(
            data[place + 2 : place + 6], "little"
        )  # fmt: skip
        found += [Field(f"option {kind}.id", place, 2), Field(f"option {kind}.size", place + 2, 4)]
        if kind in (3, 16, 17, 18):
            found.append(Field(f"option {kind}.place", place + 6, 8))
            section = int.from_bytes(data[place + 6 : place + 14], "little")
            found += [Field(f"section {kind}.id", section, 2), Field(f"section {kind}.size", section + 8, 8)]
            found += [Field(f"section {kind}.first", section + 16, 4), Field("second", section + 20, 8)]
        if kind == 3:
            name = place + 14
            clock = data.index(b"\0", name) + 1
            page = data.index(b"\0", clock) + 1
            found += [Field("buffer.page_size", page, 4), Field("buffer.cpus", page + 4, 4)]
            for cpu in range(int.from_bytes(data[page + 4 : page + 8], "little")):
                entry = page + 8 + 20 * cpu
                found += [
                    Field("cpu", entry, 4),
                    Field("cpu.offset", entry + 4, 8),
                    Field("cpu.size", entry + 12, 8),
                ]
                start = int.from_bytes(data[entry + 4 : entry + 12], "little")
                found += [
                    Field("page.time", start, 8),
                    Field("page.commit", start + 8, 8),
                    Field("record", start + 16, 4),
                ]
        place += 6 + size
    return found


def trace_dat_v6(data: bytes) -> list[Field]:
    """The file head, the sizes of the texts of formats, and the places of the CPU data."""
    head = data.index(b"\0", 10) + 1
    found = [Field("long_size", head + 1, 1), Field("page_size", head + 2, 4)]
    names = (b"header_page\0", b"header_event\0")
    found += [Field(name[:-1].decode(), data.index(name) + len(name), 8) for name in names]
    at = data.index(b"header_event\0") + 13
    at += 8 + int.from_bytes(data[at : at + 8], "little")
    found += [Field("ftrace events", at, 4), Field("format", at + 4, 8)]
    flyrecord = data.index(b"flyrecord\0") + 10
    for place in range(flyrecord, flyrecord + 64, 16):
        found += [Field("cpu.offset", place, 8), Field("cpu.size", place + 8, 8)]
    options = data.index(b"options  \0") + 10
    return [*found, Field("option.id", options, 2), Field("option.size", options + 2, 4)]
