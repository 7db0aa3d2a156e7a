"""trace-cmd's ``trace.dat``, file versions 6 and 7, and the ring-buffer pages that it carries.

Sources: ``trace-cmd.dat.v6(5)`` and ``trace-cmd.dat.v7(5)``, libtracecmd 1.1 to 1.5 (``trace-input.c``,
``trace-output.c``), Linux ``kernel/trace/ring_buffer.c`` and libtraceevent ``kbuffer-parse.c``. All integers
are in the byte order that the file head names, and nothing is aligned.

Two facts that the manual pages leave out: the string id of a section head is followed by a size of 8 bytes,
and the long size in the file head is that of the program that wrote the file. What the kernel used stands in
the text ``header_page``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import construct as cs

MAGIC = b"\x17\x08\x44tracing"
#: Bytes of the magic and the shortest version text after it, ``6\0``.
VERSIONS = {b"6": 6, b"7": 7}
BYTE_ORDERS: dict[int, Literal["little", "big"]] = {0: "little", 1: "big"}

#: Section flag: the content is compressed.
SECTION_COMPRESSED = 1


class Section(IntEnum):
    """Ids of sections (v7) and of the options that hold their places."""

    OPTIONS = 0
    BUFFER = 3
    STRINGS = 15
    HEADER_INFO = 16
    FTRACE_EVENTS = 17
    EVENT_FORMATS = 18
    KALLSYMS = 19
    PRINTK = 20
    CMDLINES = 21
    BUFFER_TEXT = 22


class Option(IntEnum):
    """Ids of the options that are read. In v7 the place of a section is an option with the section's id."""

    DONE = 0
    DATE = 1
    CPUSTAT = 2
    BUFFER = 3
    TRACECLOCK = 4
    UNAME = 5
    OFFSET = 7
    CPUCOUNT = 8
    VERSION = 9
    TSC2NSEC = 14
    BUFFER_TEXT = 22


HEADER_PAGE_NAME, HEADER_EVENT_NAME = b"header_page\0", b"header_event\0"
#: What stands in front of the options and of the CPU data in v6, each 10 bytes.
OPTIONS_MARK, LATENCY_MARK, FLYRECORD_MARK = b"options  \0", b"latency  \0", b"flyrecord\0"

#: Largest ring-buffer page: the kernel's write counter has 20 bits (RB_WRITE_MASK).
MAX_PAGE = 1 << 20
#: Smallest: a kernel page.
MIN_PAGE = 4096

#: ``commit`` of a page: bytes of data (kbuffer's COMMIT_MASK), events were lost in front of this page, and
#: how many they were follows the data.
COMMIT_SIZE, MISSED_EVENTS, MISSED_STORED = (1 << 27) - 1, 1 << 31, 1 << 30

#: ``type_len`` of an event header: 0 = the length is in the next word, 1 to 28 = words of data, and the rest.
TYPE_DATA_MAX, TYPE_PADDING, TYPE_TIME_EXTEND, TYPE_TIME_STAMP = 28, 29, 30, 31
TYPE_BITS, DELTA_BITS = 5, 27
#: Absolute time stamps lack the top 5 bits, which are those of the time before (rb_fix_abs_ts).
STAMP_BITS = 59


@dataclass(frozen=True)
class TraceDatLayouts:
    """The declarations of one byte order.

    ``head`` is what versions 6 and 7 have in common. ``head7`` follows it in version 7.
    """

    order: Literal["little", "big"]
    head: Any
    head7: Any
    section: Any
    compressed: Any
    option: Any
    buffer: Any
    buffer_cpu: Any
    tsc2nsec: Any
    cpu_place: Any
    page: dict[int, Any]


def _layouts(order: Literal["little", "big"], u16: Any, u32: Any, u64: Any) -> TraceDatLayouts:
    text = cs.NullTerminated(cs.GreedyBytes)
    buffer_cpu = cs.Struct("cpu" / u32, "offset" / u64, "size" / u64)
    return TraceDatLayouts(
        order=order,
        head=cs.Struct(
            "magic" / cs.Const(MAGIC),
            "version" / text,
            "endian" / cs.Int8ub,
            "long_size" / cs.Int8ub,
            "page_size" / u32,
        ),
        head7=cs.Struct("compression" / text, "compression_version" / text, "options_offset" / u64),
        section=cs.Struct("id" / u16, "flags" / u16, "string_id" / u32, "size" / u64),
        # In front of the content of a compressed section, and of each chunk of compressed CPU data.
        compressed=cs.Struct("compressed_size" / u32, "size" / u32),
        option=cs.Struct("id" / u16, "size" / u32),
        buffer=cs.Struct(
            "offset" / u64,
            "name" / text,
            "clock" / text,
            "page_size" / u32,
            "cpus" / cs.PrefixedArray(u32, buffer_cpu),
        ),
        buffer_cpu=buffer_cpu,
        tsc2nsec=cs.Struct("mult" / u32, "shift" / u32, "offset" / u64),
        cpu_place=cs.Struct("offset" / u64, "size" / u64),
        page={
            4: cs.Struct("timestamp" / u64, "commit" / u32),
            8: cs.Struct("timestamp" / u64, "commit" / u64),
        },
    )


LAYOUTS: dict[Literal["little", "big"], TraceDatLayouts] = {
    "little": _layouts("little", cs.Int16ul, cs.Int32ul, cs.Int64ul),
    "big": _layouts("big", cs.Int16ub, cs.Int32ub, cs.Int64ub),
}
