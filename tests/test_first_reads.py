"""Registers put together of reads of any width, beside a plain second implementation."""

from __future__ import annotations

import naive_functions as naive
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_functions import naively, table
from tiny_trace import index

from analyzer import bdf
from analyzer.observed.index import windows
from analyzer.observed.registers.reading import Wanted, read

PORT = bdf.parse("02:00.0")
#: A window of three dwords, and the last bytes that there are.
PLACES = (*range(0x100, 0x10C), 0xFFC, 0xFFD, 0xFFE, 0xFFF)

one_access = st.fixed_dictionaries(
    {
        "key": st.just(PORT),
        "op": st.sampled_from(("read", "read", "read", "write")),
        "offset": st.sampled_from(PLACES),
        "width": st.integers(0, 4),
        "value": st.sampled_from((0, 1, 0x80, 0xFF, 0x100, 0xFFFF, 0xFFFFFFFF)) | st.integers(0, 0xFFFFFFFF),
        "status": st.sampled_from(("ok", "ok", "ok", "ok", "unsupported", "abort")),
    }
)


@given(rows=st.lists(one_access, min_size=1, max_size=30))
def test_every_register_is_what_its_bytes_are(rows):
    (found,) = windows([table(rows)])
    (functions,) = read([Wanted(found, 0, len(rows) - 1, [PORT])])
    plain = naive.Reads(naively(rows, PORT, 0, len(rows) - 1))
    registers = [(at, size) for at in PLACES for size in (1, 2, 4)]
    assert {each: (functions[PORT].register(*each) or (None,))[0] for each in registers} == {
        each: plain.value(*each) for each in registers
    }


@pytest.mark.parametrize(
    ("reads", "size", "value", "row"),
    [
        ("104.w 0801", 2, 0x0801, 0),
        ("104.l 00000801", 2, 0x0801, 0),
        ("104.b 01", 2, None, None),
        ("105.b 08", 2, None, None),
        ("104.b 01; 105.b 08", 2, 0x0801, 1),
        ("105.b 08; 104.b 01", 2, 0x0801, 1),
        ("104.w 0801", 4, None, None),
        ("104.w 0801; 106.w 0002", 4, 0x00020801, 1),
        ("104.b 01; 105.b 08; 106.w 0002", 4, 0x00020801, 2),
        # One read of the whole register counts more than its bytes, whichever came first.
        ("104.b 05; 105.b 05; 104.w 0801", 2, 0x0801, 2),
        ("104.l 00000801; 104.w 0505", 2, 0x0801, 0),
        # A byte of ones is a value; wider reads of ones are nobody's.
        ("104.w ffff; 104.b ff; 105.b ff", 2, 0xFFFF, 2),
        ("104.w ffff", 2, None, None),
        ("104.w gone; 104.w error", 2, None, None),
        ("103.w 0100; 105.b 08", 2, 0x0801, 1),
        # Of unknown width: the register that begins there, and elsewhere what the value needs.
        ("104.? 01", 2, 0x0001, 0),
        ("104.? 01", 4, 0x00000001, 0),
        ("104.? 01; 105.? 08", 2, 0x0801, 1),
        ("104.? 01; 104.w 0801", 2, 0x0001, 0),
        ("104.w 0801; 104.? 01", 2, 0x0801, 0),
        ("100.? 1481000e", 4, None, None),
        ("102.? 08011481", 2, 0x0801, 0),
    ],
)  # fmt: skip
def test_the_register_at_104(reads, size, value, row):
    accesses = index("\n".join(f"r 02:00.0 {each.strip()}" for each in reads.split(";")))
    (functions,) = read([Wanted(accesses, 0, accesses.rows - 1, [PORT])])
    assert functions[PORT].register(0x104, size) == (None if value is None else (value, row))


#: A downstream port with an ARI capability at 0x100, as reads of its dwords show it.
SPACE = {0x00: 0x00101B36, 0x04: 0x00100000, 0x0C: 0x00810000, 0x34: 0x40, 0x40: 0x00620010, 0x64: 0x20,
         0x100: 0x0001000E, 0x104: 0x00000800}  # fmt: skip
FACTS = ("vendor_device", "header_type", "is_pcie", "pcie_type", "ari_supported", "has_ari", "next_function")
WHOLE = ("1b36:0010", 0x81, True, 6, True, True, 8)


def facts(*reads):
    accesses = index("\n".join(f"r 02:00.0 {read}" for read in reads))
    (functions,) = read([Wanted(accesses, 0, accesses.rows - 1, [PORT])])
    return tuple(getattr(functions[PORT], name) for name in FACTS)


def pieces(width, suffix):
    return [
        f"{at + byte:x}.{suffix} {value >> 8 * byte & (1 << 8 * width) - 1:x}"
        for at, value in SPACE.items()
        for byte in range(0, 4, width)
    ]


@pytest.mark.parametrize(("width", "suffix"), [(4, "l"), (2, "w"), (1, "b")])
def test_the_width_of_the_reads_makes_no_difference(width, suffix):
    assert facts(*pieces(width, suffix)) == WHOLE


@pytest.mark.parametrize(
    ("left_out", "fact", "value"),
    [
        ("0.b", "vendor_device", None),
        ("e.b", "header_type", None),
        ("34.b", "is_pcie", None),
        ("40.b", "is_pcie", None),
        ("41.b", "is_pcie", True),  # the identity alone names the capability
        ("42.b", "pcie_type", None),
        ("43.b", "pcie_type", 6),  # the low byte alone holds version and type
        ("64.b", "ari_supported", None),
        ("67.b", "ari_supported", True),
        ("100.b", "has_ari", None),
        ("101.b", "has_ari", None),
        ("103.b", "has_ari", True),
        ("104.b", "next_function", 8),
        ("105.b", "next_function", None),
    ],
)
def test_a_byte_that_was_not_read_makes_unknown_what_needs_it(left_out, fact, value):
    reads = [read for read in pieces(1, "b") if not read.startswith(f"{left_out} ")]
    assert len(reads) == 4 * len(SPACE) - 1
    found = dict(zip(FACTS, facts(*reads), strict=True))
    assert found[fact] == value
