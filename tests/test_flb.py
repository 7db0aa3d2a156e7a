"""Decoding raw dumps of the preserved set, and refusing what says nothing."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preserved_dumps import ENTRIES, HOLE, array, entry, h7, h8

from analyzer import bdf
from analyzer.errors import AritraceError, DamagedInputError, EmptyInputError, UnsupportedFormatError
from analyzer.preservation import flb

EXPECTED = tuple((domain << 16 | function, count) for domain, function, count in ENTRIES)


@pytest.mark.parametrize(
    ("data", "name", "layout", "version", "page"),
    [
        (array(ENTRIES), "", "H6", None, None),
        (array(ENTRIES), "pci-v3", "H6", None, None),
        (array(ENTRIES, slots=5), "pci-v3", "H6", None, None),
        (h7(ENTRIES), "", "H7", None, 4096),
        (h7(ENTRIES), "pci-v2", "H7", None, 4096),
        (h7(ENTRIES, page=16384), "pci-v2", "H7", None, 16384),
        (h8(ENTRIES), "", "H8", 2, 4096),
        (h8(ENTRIES), "pci", "H8", 2, 4096),
        (h8(ENTRIES, version=1), "pci", "H8", 1, 4096),
        (h8(ENTRIES, per_block=2), "pci", "H8", 2, 4096),
        (h8(ENTRIES, page=16384), "", "H8", 2, 16384),
        (h8(ENTRIES, page=65536, per_block=2), "", "H8", 2, 65536),
    ],
)
def test_every_decoded_layout(data, name, layout, version, page):
    found = flb.decode(data, name)
    assert (found.layout, found.version, found.page_size) == (layout, version, page)
    assert found.entries == EXPECTED
    assert bdf.text(max(found.functions)) == "0000:01:01.1"


def test_h8_by_hand():
    header = bytes.fromhex("02000000 02000000 0000400000000000")
    block = bytes.fromhex(
        "0000000000000000 0300000000000000 00000000 1800 0100 0000000000000000 00000100 0803 0100"
    )
    found = flb.decode(header + block.ljust(4096, b"\0"), "pci")
    assert [bdf.text(function) for function, _ in found.entries] == ["0000:00:03.0", "10000:03:01.0"]


@pytest.mark.parametrize("build", [array, h7, h8])
def test_unused_slots_are_skipped(build):
    found = flb.decode(build([HOLE, *ENTRIES[:2], HOLE, *ENTRIES[2:]]))
    assert found.entries == EXPECTED


@pytest.mark.parametrize(
    ("data", "layout"),
    [(array([]), "H6"), (h7([]), "H7"), (h8([]), "H8"), (h8([HOLE, HOLE]), "H8")],
)
def test_an_empty_set_is_a_set(data, layout):
    found = flb.decode(data)
    assert (found.layout, found.entries) == (layout, ())


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_the_header_may_come_as_a_page(page):
    data = h8(ENTRIES, page=page, per_block=3)
    assert flb.decode(data[:16].ljust(page, b"\0") + data[16:]).entries == EXPECTED


@pytest.mark.parametrize(
    ("data", "name", "named"),
    [
        (struct.pack("<Q", 2) + bytes.fromhex("0000 0001 0000 0101"), "pci-v1", "H1 (series v1)"),
        (struct.pack("<QQ", 3, 1) + bytes.fromhex("0000 0001") * 3, "pci-v1", "H2 (series v2)"),
        (struct.pack("<QQ", 3, 1) + entry(0, 0x100, 0) * 3, "pci-v1", "H3 (series v3)"),
        (struct.pack("<QQ", 3, 1) + entry(0, 0x100, 1) * 3, "pci-v2", "H4"),
        (array(ENTRIES), "pci-v2", "H5"),
        (struct.pack("<QQ", 3, 1) + entry(0, 0x100, 1) * 3, "", "H3 (series v3) or H4"),
    ],
)
def test_older_layouts_are_named_and_refused(data, name, named):
    with pytest.raises(UnsupportedFormatError, match="expected the pci_ser layout H6, H7 or H8") as refused:
        flb.decode(data, name)
    assert named in refused.value.message
    assert "--preserved" in refused.value.advice


def cycle():
    data = bytearray(h8(ENTRIES, per_block=2))
    first = struct.unpack_from("<Q", data, 8)[0]
    struct.pack_into("<Q", data, 16 + 2 * 4096, first)
    return bytes(data)


def patched(data, at, layout, value):
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "name", "offset", "words"),
    [
        (h8([*ENTRIES, ENTRIES[1]]), "pci", 16 + 16 + 5 * 8, "found 0000:01:00.0 twice (the incoming"),
        (array([*ENTRIES, ENTRIES[1]]), "pci-v3", 8 + 5 * 8, "found 0000:01:00.0 twice"),
        (patched(h8(ENTRIES), 24, "<Q", 0), "pci", 24, "expected 1 to 510 entries in KHO block 0"),
        (patched(h8(ENTRIES), 24, "<Q", 511), "pci", 24, "expected 1 to 510 entries in KHO block 0"),
        (patched(h7(ENTRIES), 20, "<Q", 1 << 40), "pci-v2", 20, "expected 1 to 510 entries"),
        (cycle(), "pci", 16 + 2 * 4096, "without a cycle"),
        (patched(h8(ENTRIES), 16, "<Q", 0x7000), "pci", 16, "expected another KHO block"),
        (patched(h8(ENTRIES, per_block=2), 16, "<Q", 0), "pci", 16, "expected the end of the data"),
        (patched(h8(ENTRIES, per_block=2), 16, "<Q", 0x7001), "pci", 16, "page-aligned address"),
        (patched(h8(ENTRIES), 4, "<I", 6), "pci", 4, "expected 6 devices (nr_devices in the"),
        (patched(h7(ENTRIES), 0, "<I", 4), "pci-v2", 0, "expected 4 devices"),
        (patched(array(ENTRIES), 4, "<I", 4), "pci-v3", 4, "expected 4 devices"),
        (patched(array(ENTRIES), 4, "<I", 65), "pci-v3", 0, "65 devices in 64 slots"),
        (array(ENTRIES)[:-1], "pci-v3", 8 + 64 * 8 - 1, "expected 520 bytes"),
        (array(ENTRIES) + b"\0", "pci-v3", 8 + 64 * 8, "expected 520 bytes"),
        (array(ENTRIES)[:-8], "", 8 + 63 * 8, "expected 520 bytes"),
        (array(ENTRIES)[:5], "pci-v3", 0, "H6 header of 8 bytes, found 5"),
        (h8(ENTRIES)[:-1], "pci", 16, "expected KHO blocks of 4096, 16384, 65536 bytes"),
        (h8(ENTRIES)[:-1], "", 16, "expected KHO blocks"),
        (h8(ENTRIES)[:16], "pci", 16, "expected KHO blocks"),
        (h8(ENTRIES)[:15], "pci", 0, "H8 header of 16 bytes, found 15"),
        (h7(ENTRIES)[:100], "pci-v2", 12, "expected KHO blocks"),
        (h8([]) + bytes(4096), "pci", 16, "expected no KHO blocks"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_with_their_place(data, name, offset, words):
    with pytest.raises(DamagedInputError) as refused:
        flb.decode(data, name, path="set.flb")
    assert words in refused.value.message
    assert (refused.value.offset, refused.value.path) == (offset, "set.flb")


@pytest.mark.parametrize("version", [0, 3, 15, 255])
def test_other_versions_of_h8_are_refused(version):
    with pytest.raises(
        UnsupportedFormatError, match=f"expected version 1 or 2 in the H8 header, found {version}"
    ):
        flb.decode(h8(ENTRIES, version=version), "pci")


def test_a_newer_version_is_recognised_without_the_name():
    with pytest.raises(UnsupportedFormatError, match="expected version 1 or 2"):
        flb.decode(h8(ENTRIES, version=3))


@pytest.mark.parametrize(
    ("data", "name"), [(b"x" * 100, ""), (b"\0" * 4096, ""), (h8(ENTRIES), "pci-v2"), (b"?", "")]
)
def test_other_data_is_refused(data, name):
    with pytest.raises((UnsupportedFormatError, DamagedInputError)):
        flb.decode(data, name)


def test_no_data():
    with pytest.raises(EmptyInputError):
        flb.decode(b"")


def test_unknown_name():
    with pytest.raises(UnsupportedFormatError, match="found 'memfd'"):
        flb.decode(h8(ENTRIES), "memfd")


def test_too_many_blocks():
    data = h8([(0, number & 0xFFFF, 0) for number in range(10_001)], per_block=1, first=1 << 50)
    with pytest.raises(DamagedInputError, match="expected at most 10000 KHO blocks, found 10001"):
        flb.decode(data)


functions = st.tuples(st.integers(0, 0x1FFFF), st.integers(0, 0xFFFF))


@settings(max_examples=30)
@given(
    st.dictionaries(functions, st.integers(0, 5), max_size=40),
    st.sampled_from(["array", "h7", "h8"]),
    st.sampled_from([4096, 16384, 65536]),
    st.integers(1, 20),
)
def test_round_trip(counts, layout, page, per_block):
    entries = [(domain, function, count) for (domain, function), count in counts.items()]
    if layout == "array":
        data = array(entries, slots=max(len(entries), 1))
    else:
        data = {"h7": h7, "h8": h8}[layout](entries, page=page, per_block=per_block, first=1 << 40)
    found = flb.decode(data)
    assert found.entries == tuple(
        (domain << 16 | function, count) for domain, function, count in entries if count
    )


@settings(max_examples=300)
@given(
    st.sampled_from([array(ENTRIES), h7(ENTRIES), h8(ENTRIES), h8(ENTRIES, per_block=2)]),
    st.integers(0, 200),
    st.integers(0, 255),
    st.integers(0, 13_000),
    st.sampled_from(["", "pci", "pci-v1", "pci-v2", "pci-v3"]),
)
def test_damage_gives_an_error_or_a_set_but_nothing_else(data, at, byte, length, name):
    damaged = bytearray(data[:length])
    if at < len(damaged):
        damaged[at] = byte
    with contextlib.suppress(AritraceError):
        flb.decode(bytes(damaged), name)
