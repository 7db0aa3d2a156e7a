"""QEMU's ``simple`` trace backend, file version 4 (QEMU 2.8 and later).

Sources: QEMU ``trace/simple.c`` (``TraceLogHeader``, ``TraceRecord``, ``st_write_event_mapping``,
``trace_record_start``), ``scripts/simpletrace.py``, ``hw/pci/trace-events``. All integers are in the byte
order of the host that ran QEMU and nothing is aligned; a big-endian file shows its magic byte-swapped.

The file holds the names of events but not the types of their arguments: those of ``pci_cfg_read`` and
``pci_cfg_write`` are known by the length of the record (``CFG_BITS``, ``OLD_CFG_ARGUMENTS``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import construct as cs

HEADER_EVENT_ID = 0xFFFF_FFFF_FFFF_FFFF
HEADER_MAGIC = 0xF2B1_77CB_0AA4_29B4
DROPPED_EVENT_ID = 0xFFFF_FFFF_FFFF_FFFE
VERSION = 4
HEADER_SIZE = 24

#: Bytes that every file starts with, by byte order.
MAGIC: dict[Literal["little", "big"], bytes] = {
    "little": HEADER_EVENT_ID.to_bytes(8, "little") + HEADER_MAGIC.to_bytes(8, "little"),
    "big": HEADER_EVENT_ID.to_bytes(8, "big") + HEADER_MAGIC.to_bytes(8, "big"),
}

#: Record types, the u64 in front of each record.
TYPE_MAPPING, TYPE_EVENT = 0, 1

#: ``length`` of an event record counts this header and the arguments, not the 8-byte type before it.
EVENT_HEADER_SIZE = 24
#: TRACE_BUF_LEN: the ring that records pass through, so none is longer.
MAX_RECORD = 256 * 1024
#: MAX_TRACE_STRLEN: where string arguments are cut.
MAX_STRING = 512
#: Longest event name accepted; the longest of QEMU 10.0 has 59 characters.
MAX_NAME = 512
#: The dropped-events record has one argument, the count.
DROPPED_LENGTH = EVENT_HEADER_SIZE + 8

READ_EVENT, WRITE_EVENT = "pci_cfg_read", "pci_cfg_write"
#: u64 arguments after the device name. QEMU >= 7.0, and before (devid and fnid only, no bus).
#: With the number of bits that each can hold.
CFG_BITS = {"bus": 8, "slot": 5, "func": 3, "offs": 12, "val": 32}
OLD_CFG_ARGUMENTS = ("devid", "fnid", "offs", "val")
#: PCIDevice name of the stand-in for a function that does not exist (QEMU >= 10.0).
ABSENT_NAME = b"empty"


@dataclass(frozen=True)
class SimpletraceLayouts:
    """The declarations of one byte order.

    ``record`` is any record as a whole. ``cfg_head``, with the name after it and then ``cfg_arguments`` (or
    ``old_cfg_arguments``), is a ``pci_cfg_*`` record in parts of fixed size.
    """

    header: Any
    record: Any
    cfg_head: Any
    cfg_arguments: Any
    old_cfg_arguments: Any


def _layouts(u32: Any, u64: Any) -> SimpletraceLayouts:
    mapping = cs.Struct("event_id" / u64, "len" / u32, "name" / cs.Bytes(cs.this.len))
    event = cs.Struct("event_id" / u64, "timestamp_ns" / u64, "length" / u32, "pid" / u32)
    size_of_arguments = cs.this.length - EVENT_HEADER_SIZE
    return SimpletraceLayouts(
        header=cs.Struct("event_id" / u64, "magic" / u64, "version" / u64),
        record=cs.Struct(
            "type" / u64,
            "body"
            / cs.Switch(
                cs.this.type,
                {
                    TYPE_MAPPING: mapping,
                    TYPE_EVENT: cs.Struct(*event.subcons, "args" / cs.Bytes(size_of_arguments)),
                },
                cs.Error,
            ),
        ),
        cfg_head=cs.Struct("type" / u64, *event.subcons, "name_len" / u32),
        cfg_arguments=cs.Struct(*(name / u64 for name in CFG_BITS)),
        old_cfg_arguments=cs.Struct(*(name / u64 for name in OLD_CFG_ARGUMENTS)),
    )


LAYOUTS: dict[Literal["little", "big"], SimpletraceLayouts] = {
    "little": _layouts(cs.Int32ul, cs.Int64ul),
    "big": _layouts(cs.Int32ub, cs.Int64ub),
}
