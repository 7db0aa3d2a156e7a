"""The native ``.bin`` container: a recorder appends to it while the machine dies, a fleet scans it as arrays.

Source: this file is the specification; docs/format.md is its readable form, and a test holds the two equal.
All integers are little-endian. A file is one file header and then chunks; each chunk is one chunk header and
a payload, padded with zeros to a multiple of 8 bytes. Every payload, once decompressed, has one shape:
``count`` fixed records of the chunk's type, then a *heap* with the variable parts of those records in order.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any, Final

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Flag,
    GreedyBytes,
    Int8ul,
    Int16ul,
    Int32sl,
    Int32ul,
    Int64sl,
    Int64ul,
    Padding,
    Prefixed,
    Struct,
    Tell,
    this,
)

#: First bytes of a file. As in PNG: not ASCII, holds CR LF and a lone LF: it shows text-mode transfers.
MAGIC: Final = b"\x89ARI\r\n\x1a\n"
VERSION: Final = 1
#: Chunk headers are found again by this after damage; ``header_crc`` then shows which are real.
CHUNK_MAGIC: Final = b"\xabCHK"
ALIGNMENT: Final = 8

#: Limits of version 1; a reader refuses a chunk beyond them before it allocates anything.
MAX_RAW: Final = 16 << 20
MAX_STORED: Final = MAX_RAW + (1 << 17)
MAX_ACCESSES: Final = 1 << 48
MAX_SNAPSHOT: Final = 4096
#: Payload of a chunk of snapshots: each of its dwords becomes an access.
MAX_RAW_SNAPSHOTS: Final = 1 << 20


class HeaderFlag(IntFlag):
    """Bits of ``FILE_HEADER.flags``."""

    CREATED_KNOWN = 1 << 0


class Clock(IntEnum):
    """What ``time_ns`` counts; names of clock_gettime(2) and of the kernel's trace clocks."""

    UNKNOWN = 0
    MONOTONIC = 1
    REALTIME = 2
    BOOT = 3
    TAI = 4
    LOCAL = 5


class ChunkType(IntEnum):
    """What the records of a chunk are. A reader skips and counts types that it does not know."""

    ACCESSES = 1
    BOUNDARIES = 2
    PRESERVED = 3
    LOG = 4
    EVENTS = 5
    SNAPSHOTS = 6
    PROBLEMS = 7
    TRAILER = 8
    USES = 9


class Codec(IntEnum):
    """How a payload is stored: as it is, or as exactly one zstd frame."""

    NONE = 0
    ZSTD = 1


class BoundaryKind(IntEnum):
    """Who takes over: firmware (``BOOT``, no kexec), or the next kernel by a kexec of this kind."""

    BOOT = 1
    KEXEC = 2
    LIVE_UPDATE = 3
    PLAIN = 4
    CRASH = 5


class AccessFlag(IntFlag):
    """Masks of ``ACCESS.flags``; :data:`ACCESS_FLAGS` declares the same bits."""

    WRITE = 1 << 0
    STATUS = 7 << 1
    ABSENT = 1 << 4
    TIME_NULL = 1 << 5
    CPU_NULL = 1 << 6


STATUS_SHIFT: Final = 1
#: Highest defined completion status (0 ok, 1 unsupported, 2 retry, 3 abort, 4 not recorded).
STATUS_MAX: Final = 4


class RecordFlag(IntFlag):
    """Bits of ``flags`` in the records of every other chunk type: which optional field holds a value."""

    TIME_KNOWN = 1 << 0
    PLACE_KNOWN = 1 << 1
    """LOG: ``access`` is the line's position. EVENTS: domain, bus and devfn name a function."""


class ProblemFlag(IntFlag):
    """Bits of ``PROBLEM.flags``."""

    OFFSET_KNOWN = 1 << 0


class TrailerFlag(IntFlag):
    """Bits of ``TRAILER.flags``."""

    SOURCE_TRUNCATED = 1 << 0


#: UTF-8 text after its length.
TEXT = Prefixed(Int16ul, GreedyBytes)

#: Start of the file header. It and the place of the CRC (the last 4 bytes) are the same in all versions.
FILE_HEADER_START = Struct(
    "magic" / Bytes(8),
    "version" / Int16ul,
    "header_size" / Int16ul,
    "flags" / Int16ul,
    "clock" / Int8ul,
    "release_count" / Int8ul,
    "created_ns" / Int64sl,
)

FILE_HEADER = Struct(
    *FILE_HEADER_START.subcons,
    "host" / TEXT,
    "tool" / TEXT,
    "source_format" / TEXT,
    "releases" / Array(this.release_count, TEXT),
    "text_end" / Tell,
    "padding" / Bytes(this.header_size - 4 - this.text_end),
    "header_crc" / Int32ul,
)

CHUNK_HEADER = Struct(
    "magic" / Bytes(4),
    "type" / Int16ul,
    "codec" / Int8ul,
    "flags" / Int8ul,
    "count" / Int32ul,
    "stored_length" / Int32ul,
    "raw_length" / Int32ul,
    "payload_crc" / Int32ul,
    "first_access" / Int64ul,
    "number" / Int32ul,
    "header_crc" / Int32ul,
)

#: One config-space access: 24 bytes, 8-aligned, so that a chunk is one numpy view.
ACCESS = Struct(
    "time_ns" / Int64sl,
    "domain" / Int32ul,
    "value" / Int32ul,
    "offset" / Int16ul,
    "cpu" / Int16ul,
    "bus" / Int8ul,
    "devfn" / Int8ul,
    "width" / Int8ul,
    "flags" / Int8ul,
)

#: ``ACCESS.flags`` bit by bit, most significant first.
ACCESS_FLAGS = BitStruct(
    "reserved" / Flag,
    "cpu_null" / Flag,
    "time_null" / Flag,
    "absent" / Flag,
    "status" / BitsInteger(3),
    "write" / Flag,
)

BOUNDARY = Struct(
    "access" / Int64ul,
    "kind" / Int8ul,
    Padding(1),
    "release_length" / Int16ul,
    Padding(4),
)

PRESERVED = Struct(
    "data_length" / Int32ul,
    "kexec" / Int32sl,
    "name_length" / Int16ul,
    Padding(6),
)

LOG = Struct(
    "time_ns" / Int64sl,
    "access" / Int64ul,
    "text_length" / Int32ul,
    "flags" / Int8ul,
    Padding(3),
)

EVENT = Struct(
    "time_ns" / Int64sl,
    "access" / Int64ul,
    "domain" / Int32ul,
    "bus" / Int8ul,
    "devfn" / Int8ul,
    "flags" / Int8ul,
    "kind_length" / Int8ul,
    "text_length" / Int32ul,
    Padding(4),
)

SNAPSHOT = Struct(
    "time_ns" / Int64sl,
    "domain" / Int32ul,
    "data_length" / Int16ul,
    "bus" / Int8ul,
    "devfn" / Int8ul,
    "flags" / Int8ul,
    Padding(7),
)

PROBLEM = Struct(
    "offset" / Int64ul,
    "message_length" / Int32ul,
    "file_length" / Int16ul,
    "kind_length" / Int8ul,
    "flags" / Int8ul,
)

#: One thing that is known of what a function is used as; several of one function have the same ``access``.
USE = Struct(
    "access" / Int64ul,
    "domain" / Int32ul,
    "bus" / Int8ul,
    "devfn" / Int8ul,
    "name_length" / Int8ul,
    "value_length" / Int8ul,
)

TRAILER = Struct(
    "accesses" / Int64ul,
    "dropped" / Int64ul,
    "flags" / Int32ul,
    Padding(4),
)

#: The record of each chunk type, and the fields that give the lengths of its heap parts, in heap order.
RECORDS: Final[dict[ChunkType, tuple[Any, tuple[str, ...]]]] = {
    ChunkType.ACCESSES: (ACCESS, ()),
    ChunkType.BOUNDARIES: (BOUNDARY, ("release_length",)),
    ChunkType.PRESERVED: (PRESERVED, ("name_length", "data_length")),
    ChunkType.LOG: (LOG, ("text_length",)),
    ChunkType.EVENTS: (EVENT, ("kind_length", "text_length")),
    ChunkType.SNAPSHOTS: (SNAPSHOT, ("data_length",)),
    ChunkType.PROBLEMS: (PROBLEM, ("kind_length", "file_length", "message_length")),
    ChunkType.TRAILER: (TRAILER, ()),
    ChunkType.USES: (USE, ("name_length", "value_length")),
}


def payload(kind: ChunkType, count: int) -> Any:
    """Return the interpreted layout of a raw payload: ``count`` records and the heap after them."""
    record, _ = RECORDS[kind]
    return Struct("records" / Array(count, record), "heap" / GreedyBytes)
