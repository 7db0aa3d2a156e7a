"""Headers of Transaction Layer Packets in non-flit mode: configuration requests and completions.

Sources: PCI Express Base Specification 6.0, 2.2.1 (fields common to all TLPs), 2.2.1.1 (non-flit mode),
2.2.6.2 (transaction descriptor, tags), 2.2.7.3 (configuration request rules; 2.2.7 in earlier revisions),
2.2.9 (completion rules, table of completion status values), 2.2.10 (prefixes), 2.7.1 (ECRC), 3.6.2 (LCRC).
Byte 0 is the first on the wire and multi-byte fields are big-endian, but the data of a configuration access
is a register: its first byte is the one of the lowest address.
"""

from __future__ import annotations

import construct as cs

#: Bytes of a header without and with a 64-bit address, of one prefix, of the end-to-end CRC, of a doubleword.
HEADER_SIZE, LONG_HEADER_SIZE, PREFIX_SIZE, ECRC_SIZE, DWORD = 12, 16, 4, 4, 4

#: Byte 0: Fmt[7:5] Type[4:0]. Fmt 0 and 1 are headers of 3 and 4 doublewords, 2 and 3 the same with data.
FMT_LONG, FMT_DATA = 0x20, 0x40
#: Fmt 4 is a prefix: as many as there are stand in front of the header.
PREFIX_MASK, PREFIX = 0xE0, 0x80
#: At most four end-end prefixes (2.2.10.4); local ones are not limited, but only two kinds exist.
MAX_PREFIXES = 8

CFG_RD0, CFG_WR0, CFG_RD1, CFG_WR1 = 0x04, 0x44, 0x05, 0x45
CPL, CPL_D, CPL_LK, CPL_D_LK = 0x0A, 0x4A, 0x0B, 0x4B
CONFIG_READS, CONFIG_WRITES = (CFG_RD0, CFG_RD1), (CFG_WR0, CFG_WR1)
#: "Trusted" configuration requests, withdrawn with revision 2.1; 0x5B is a Deferrable Memory Write since 6.0.
TCFG_RD, TCFG_WR = 0x1B, 0x5B

#: Words of the specification for every defined byte 0 (table of Fmt[2:0] and Type[4:0] encodings).
NAMES = {
    0x00: "MRd",
    0x20: "MRd",
    0x01: "MRdLk",
    0x21: "MRdLk",
    0x40: "MWr",
    0x60: "MWr",
    0x02: "IORd",
    0x42: "IOWr",
    CFG_RD0: "CfgRd0",
    CFG_WR0: "CfgWr0",
    CFG_RD1: "CfgRd1",
    CFG_WR1: "CfgWr1",
    TCFG_RD: "TCfgRd",
    TCFG_WR: "TCfgWr or DMWr",
    0x7B: "DMWr",
    CPL: "Cpl",
    CPL_D: "CplD",
    CPL_LK: "CplLk",
    CPL_D_LK: "CplDLk",
    0x4C: "FetchAdd",
    0x6C: "FetchAdd",
    0x4D: "Swap",
    0x6D: "Swap",
    0x4E: "CAS",
    0x6E: "CAS",
    **dict.fromkeys(range(0x30, 0x38), "Msg"),
    **dict.fromkeys(range(0x70, 0x78), "MsgD"),
}
#: Requests that a completion answers, besides the configuration requests: they use the same tags.
OTHER_NON_POSTED = tuple(
    code
    for code, name in NAMES.items()
    if name in ("MRd", "MRdLk", "IORd", "IOWr", "TCfgRd", "TCfgWr or DMWr", "DMWr", "FetchAdd", "Swap", "CAS")
)

# Byte 1: T9[7] TC[6:4] T8[3] Attr2[2] LN[1] TH[0].
T9, TC, T8 = 0x80, 0x70, 0x08
#: No configuration request has a hint in non-flit mode. In flit mode this byte is TC[7:5] OHC[4:0], and every
#: configuration request has the orthogonal header content OHC-A3 (2.2.1.2, 2.2.7.3), which sets this bit.
TH = 0x01

# Bytes 2 and 3: TD[15] EP[14] Attr[13:12] AT[11:10] Length[9:0] (in doublewords, 0 is 1024).
TD, EP, AT, LENGTH = 0x8000, 0x4000, 0x0C00, 0x03FF
MAX_LENGTH = 1024

# Byte 7 of a request: Last DW BE[7:4] First DW BE[3:0].
LAST_BE, FIRST_BE = 0xF0, 0x0F
#: Bytes 10 and 11 of a configuration request: Extended Register[11:8] Register[7:2], a byte offset in place.
REGISTER = 0x0FFC

# Bytes 6 and 7 of a completion: Status[15:13] BCM[12] Byte Count[11:0].
STATUS_SHIFT = 13
BYTE_COUNT, LOWER_ADDRESS = 0x0FFF, 0x7F
#: Completions of configuration requests have this byte count, and lower address 0 (2.2.9.1).
CONFIG_BYTE_COUNT = 4
SUCCESSFUL, UNSUPPORTED_REQUEST, REQUEST_RETRY, COMPLETER_ABORT = 0, 1, 2, 4
#: A request and its completion agree in requester and tag; tags have 5, 8 or 10 bits, the others are then 0.
TAG_BITS = 10

_DW0 = ("fmt_type" / cs.Int8ub, "attributes" / cs.Int8ub, "length" / cs.Int16ub)
CONFIG_REQUEST = cs.Struct(
    *_DW0,
    "requester_id" / cs.Int16ub,
    "tag" / cs.Int8ub,
    "enables" / cs.Int8ub,
    "bus" / cs.Int8ub,
    "devfn" / cs.Int8ub,
    "register" / cs.Int16ub,
)
COMPLETION = cs.Struct(
    *_DW0,
    "completer_id" / cs.Int16ub,
    "status" / cs.Int16ub,
    "requester_id" / cs.Int16ub,
    "tag" / cs.Int8ub,
    "lower_address" / cs.Int8ub,
)
#: The doubleword after the header of CfgWr and CplD.
DATA = cs.Struct("data" / cs.Int32ul)

#: By First DW BE: the accesses it stands for, as byte in the doubleword and width. Bytes that are enabled
#: without a gap are one access, three of them an aligned pair and one.
ACCESSES_OF_ENABLES: tuple[tuple[tuple[int, int], ...], ...] = (
    (),
    ((0, 1),),
    ((1, 1),),
    ((0, 2),),
    ((2, 1),),
    ((0, 1), (2, 1)),
    ((1, 2),),
    ((0, 2), (2, 1)),
    ((3, 1),),
    ((0, 1), (3, 1)),
    ((1, 1), (3, 1)),
    ((0, 2), (3, 1)),
    ((2, 2),),
    ((0, 1), (2, 2)),
    ((1, 1), (2, 2)),
    ((0, 4),),
)
