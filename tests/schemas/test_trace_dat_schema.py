"""The heads of two real trace.dat files, by hand, and sizes that the code relies on."""

from __future__ import annotations

import pytest

from schemas.trace_dat import LAYOUTS, MAGIC, Section

VERSION_7 = bytes.fromhex(
    "170844 74726163696e67 3700 00 08 00100000 7a73746400 312e352e3400 8e5a040000000000"
    "1000 0100 00000000 0201000000000000 fa000000 aa010000 28b52ffd"
)
VERSION_6 = bytes.fromhex("170844 74726163696e67 3600 00 04 00100000") + b"header_page\0" + b"\xcd" + bytes(7)


def test_version_7():
    lay = LAYOUTS["little"]
    head = lay.head.parse(VERSION_7)
    assert (head.magic, head.version, head.endian, head.long_size, head.page_size) == (
        MAGIC,
        b"7",
        0,
        8,
        4096,
    )
    size = len(lay.head.build(head))
    head7 = lay.head7.parse(VERSION_7[size:])
    assert (head7.compression, head7.compression_version, head7.options_offset) == (
        b"zstd",
        b"1.5.4",
        0x45A8E,
    )
    size += len(lay.head7.build(head7))
    section = lay.section.parse(VERSION_7[size:])
    assert (section.id, section.flags, section.size) == (Section.HEADER_INFO, 1, 8 + 0xFA)
    packed = lay.compressed.parse(VERSION_7[size + lay.section.sizeof() :])
    assert (packed.compressed_size, packed.size) == (0xFA, 0x1AA)


def test_version_6():
    head = LAYOUTS["little"].head.parse(VERSION_6)
    assert (head.version, head.long_size, head.page_size) == (b"6", 4, 4096)


@pytest.mark.parametrize("order", ["little", "big"])
def test_sizes(order):
    lay = LAYOUTS[order]
    sizes = (lay.section, lay.compressed, lay.option, lay.cpu_place, lay.tsc2nsec, lay.page[4], lay.page[8])
    assert [layout.sizeof() for layout in sizes] == [16, 8, 6, 16, 16, 12, 16]
    assert lay.option.build({"id": 3, "size": 4}) == (3).to_bytes(2, order) + (4).to_bytes(4, order)
