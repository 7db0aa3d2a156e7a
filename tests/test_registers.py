"""Registers out of accesses: widths, partial coverage, dead reads, capability lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tiny_trace import index

from analyzer import bdf
from analyzer.observed.registers.reading import Wanted, read

if TYPE_CHECKING:
    from analyzer.observed.registers.capability_lists import Capabilities
    from analyzer.observed.registers.samples import RegisterView, Sample

PORT = bdf.parse("02:00.0")


def samples(text: str, start: int, size: int) -> list[Sample]:
    return view(text).samples(start, size)


def view(text: str) -> RegisterView:
    accesses = index(text)
    (found,) = read([Wanted(accesses, 0, accesses.rows - 1, [PORT])])
    return found[PORT].view


@pytest.mark.parametrize(
    ("access", "bit"),
    [
        ("r 02:00.0 b8.w 0020", True),
        ("r 02:00.0 b8.b 20", True),
        ("r 02:00.0 b8.l ffff0020", True),  # DEVSTA2 in the high half
        ("r 02:00.0 b8.w 0000", False),
        ("r 02:00.0 b8.? 20", True),  # QEMU does not record the width
        ("w 02:00.0 b8.w 0020", True),
        ("r 02:00.0 b8.w ffff", None),  # nobody answers
        ("r 02:00.0 b8.w error", None),
        ("r 02:00.0 b9.b 00", "not covered"),
        ("r 02:00.0 ba.w 0000", "not covered"),
        ("r 02:00.0 b4.l 00300020", "not covered"),  # DEVCAP2
        ("r 02:00.0 b4.? 300020", "not covered"),
        ("r 02:00.0 bc.l 00000000", "not covered"),
    ],
)
def test_which_accesses_show_bit_5_of_devctl2(access: str, bit: bool | str | None) -> None:
    found = samples(access, 0xB8, 2)
    covering = [sample for sample in found if sample.mask & 0x20]
    if bit == "not covered":
        assert covering == []
    else:
        assert [sample.field(0x20) for sample in covering] == [bit]


def test_a_byte_of_a_register_shows_only_its_bits() -> None:
    (sample,) = samples("r 02:00.0 19.b 03", 0x18, 4)
    assert (sample.value, sample.mask) == (0x0300, 0xFF00)


def test_an_access_that_starts_before_the_register_is_moved_into_place() -> None:
    (sample,) = samples("r 02:00.0 3c.l 00420000", 0x3E, 2)
    assert (sample.value, sample.mask, sample.field(0x40)) == (0x0042, 0xFFFF, 1)


@pytest.mark.parametrize(
    ("value", "dead", "failed"), [("gone", True, False), ("error", True, True), ("0000", False, False)]
)
def test_dead_and_failed_reads_are_told_apart(value: str, dead: bool, failed: bool) -> None:
    (sample,) = samples(f"r 02:00.0 b8.w {value}", 0xB8, 2)
    assert (sample.dead, sample.failed) == (dead, failed)


def test_first_reads_skip_writes_and_silence() -> None:
    seen = view(
        """
        r 02:00.0 18.l gone
        w 02:00.0 18.l 00050402
        r 02:00.0 18.l 00030302
        r 02:00.0 18.l 00000000
        """
    )
    assert seen.register(0x18, 4) == (0x00030302, 2)


def capabilities(values: dict[int, int], *more: str) -> Capabilities:
    """The lists of a function whose registers were read once each, with a neighbour of other registers."""
    reads = [f"r 02:00.0 {offset:x}.? {value:x}" for offset, value in values.items()]
    accesses = index("\n".join([*reads, *more, "r 02:00.0 fc.b 00", "r 02:00.1 34.? 40", "r 02:00.1 40.? 1"]))
    (found,) = read([Wanted(accesses, 0, accesses.rows - 1, [PORT, PORT + 1])])
    assert found[PORT + 1].capabilities == ({1: 0x40}, {}, True, False)
    return found[PORT].capabilities


CHAINS = {
    "kernel: words": (
        {0x34: 0x90, 0x90: 0x8010, 0x80: 0x700D, 0x70: 0x0005},
        {0x10: 0x90, 0x0D: 0x80, 0x05: 0x70},
        True,
    ),
    "setpci: bytes": (
        {0x34: 0x90, 0x90: 0x10, 0x91: 0x80, 0x80: 0x05, 0x81: 0x00},
        {0x10: 0x90, 0x05: 0x80},
        True,
    ),
    "pointers are masked to dwords": ({0x34: 0x93, 0x90: 0x0010}, {0x10: 0x90}, True),
    "stops where the capture stops": ({0x34: 0x90, 0x90: 0x8010}, {0x10: 0x90}, False),
    "a loop ends": ({0x34: 0x90, 0x90: 0x9010}, {0x10: 0x90}, True),
    "identity ff ends": ({0x34: 0x90, 0x90: 0x80FF, 0x80: 0x0010}, {}, True),
    "no list read": ({}, {}, False),
}


@pytest.mark.parametrize(("values", "found", "whole"), CHAINS.values(), ids=list(CHAINS))
def test_standard_capabilities(values: dict[int, int], found: dict[int, int], whole: bool) -> None:
    known = capabilities(values)
    assert (known.standard, known.standard_end) == (found, whole)


EXTENDED = {
    "two entries": ({0x100: 0x1481000E, 0x148: 0x00010010}, {0x0E: 0x100, 0x10: 0x148}, True),
    "cut": ({0x100: 0x1481000E}, {0x0E: 0x100}, False),
    "empty": ({0x100: 0}, {}, True),
    "loop": ({0x100: 0x1001000E}, {0x0E: 0x100}, True),
    "aliased header": ({0x00: 0x12348086, 0x100: 0x12348086, 0x200: 0x12348086}, {}, True),
    "next below 0x100 ends": ({0x100: 0x0FC1000E}, {0x0E: 0x100}, True),
}


@pytest.mark.parametrize(("values", "found", "whole"), EXTENDED.values(), ids=list(EXTENDED))
def test_extended_capabilities(values: dict[int, int], found: dict[int, int], whole: bool) -> None:
    known = capabilities(values)
    assert (known.extended, known.extended_end) == (found, whole)


def test_a_function_of_256_bytes_has_no_extended_capabilities() -> None:
    known = capabilities({}, "r 02:00.0 100.l gone")
    assert (known.extended, known.extended_end) == ({}, True)
