"""One function of lspci's text, line by line: which bits of which dwords are known, and what is not.

Lines are those of lspci 3.9 and 3.13 on real machines; where a line is missing or broken, derived.
"""

from __future__ import annotations

from typing import Any

import pytest
from lspci_functions import (
    AER,
    ARI,
    AT,
    BRIDGE,
    CARDBUS,
    ETHERNET,
    EXPRESS,
    MSI,
    ONES,
    PM,
    Dwords,
    closed,
    known,
    new,
    with_capabilities,
)

from analyzer.readers.snapshot.lspci_lines import Bits

# --- dwords ---


@pytest.mark.parametrize(
    ("puts", "dwords"),
    [
        ([(Bits(0x0E, 1, 0x7F), 0)], {0x0C: (0x10000, 0x7F0000)}),
        # What is shown twice and is the same is known; what differs is not, whatever comes then.
        ([(Bits(4, 0, 1), 0), (Bits(4, 0, 1), 0)], {4: (0, 1)}),
        ([(Bits(4, 1, 1), 0), (Bits(4, 1, 3), 0)], {4: (1, 3)}),
        ([(Bits(4, 1, 3), 0), (Bits(4, 2, 2), 0)], {4: (1, 1)}),
        ([(Bits(4, 1, 1), 0), (Bits(4, 0, 1), 0), (Bits(4, 2, 2), 0)], {4: (2, 2)}),
        # Bits outside the mask are none of the value's.
        ([(Bits(4, 0xFF, 0xF0), 0)], {4: (0xF0, 0xF0)}),
        # A capability ends with the 256 or 4096 bytes; the header has registers in both.
        ([(Bits(4, 1, 1), 0xFC)], {}),
        ([(Bits(8, 1, 1), 0xFC)], {}),
        ([(Bits(0, 1, 1), 0xFC)], {0xFC: (1, 1)}),
        ([(Bits(4, 1, 1), 0xFFC)], {}),
        ([(Bits(0, 1, 1), 0xFFC)], {0xFFC: (1, 1)}),
        ([(Bits(4, 1, 1), 0x100)], {0x104: (1, 1)}),
        ([(Bits(0x100, 0, ONES), 0)], {0x100: (0, ONES)}),
    ],
)
def test_bits(puts: list[tuple[Bits, int]], dwords: Dwords) -> None:
    function = new("X")
    for bits, start in puts:
        function.put(bits, 9, start)
    assert known(function) == dwords


def test_the_place_of_a_dword_is_that_of_its_first_bits() -> None:
    function = new("X (rev 01)")
    function.put(Bits(4, 1, 1), 20)
    function.put(Bits(6, 1, 1), 30)
    function.put(Bits(0, 1, 1), 40, 0x40)
    places = {offset: where for offset, _, _, where in function.reads().T.tolist()}
    assert places == dict.fromkeys(range(0, 0x40, 4), AT) | {4: 20, 0x40: 40}


def test_bits_that_are_asked_for() -> None:
    function = new("X")
    function.put(Bits(4, 0b0101, 0b0111), 9)
    function.put(Bits(4, 0b0001, 0b0001), 9)
    assert [function.bit(4, mask) for mask in (0b1, 0b10, 0b111, 0b1000, 0b1100)] == [1, 0, 5, None, None]
    function.put(Bits(4, 0, 0b0001), 9)
    assert [function.bit(4, mask) for mask in (0b1, 0b10, 0b100, 0b101)] == [None, 0, 4, None]
    assert function.bit(8, 1) is None


# --- the header ---


@pytest.mark.parametrize(
    ("first", "dwords"),
    [
        ("Ethernet controller: Intel Corporation 82576 (rev 1f)", {8: (0x1F, 0xFF)}),
        ("PCI bridge: Intel Corporation X", {8: (0x06040000, 0xFFFF0000)}),
        ("Host bridge: Intel Corporation X (rev 10)", {8: (0x06000010, 0xFFFF00FF)}),
        ("0200: 8086:10c9 (rev 01)", {0: (0x10C98086, ONES), 8: (0x02000001, 0xFFFF00FF)}),
        ("Ethernet controller [0200]: Intel X [8086:10c9] (rev 01)",
         {0: (0x10C98086, ONES), 8: (0x02000001, 0xFFFF00FF)}),
        ("Class [ff00]: Device [1af4:1110]", {0: (0x11101AF4, ONES), 8: (0xFF000000, 0xFFFF0000)}),
        ("Ethernet controller: Device 1af4:1041", {0: (0x10411AF4, ONES)}),
        ("Ethernet controller: X Device 1af4:1041", {}),
    ],
)  # fmt: skip
def test_first_lines(first: str, dwords: Dwords) -> None:
    assert known(new(first)) == dwords
    assert set(new(first).reads()[3].tolist()) == {AT}


@pytest.mark.parametrize(
    ("first", "lines", "dwords"),
    [
        # The type of the header follows from the class, once more than the first line is shown.
        (ETHERNET, [], {}),
        (ETHERNET, ["Flags: fast devsel"], {0x0C: (0, 0x7F0000)}),
        (BRIDGE, ["Flags: fast devsel"], {8: (0x06040000, 0xFFFF0000), 0x0C: (0x10000, 0x7F0000)}),
        (CARDBUS, ["Flags: fast devsel"], {0x0C: (0x20000, 0x7F0000)}),
        ("0607: 8086:1234", ["Flags: fast devsel"],
         {0: (0x12348086, ONES), 8: (0x06070000, 0xFFFF0000), 0x0C: (0x20000, 0x7F0000)}),
        # Or from the lines that only one type has.
        (ETHERNET, ["Bus: primary=00, secondary=1f, subordinate=e0, sec-latency=0"],
         {0x0C: (0x10000, 0x7F0000), 0x18: (0xE01F00, 0xFFFFFF)}),
        (ETHERNET, ["Bus: primary=10, secondary=11, subordinate=12"],
         {0x0C: (0x10000, 0x7F0000), 0x18: (0x121110, 0xFFFFFF)}),
        (ETHERNET, ["I/O behind bridge: 0000f000-00000fff [disabled]"], {0x0C: (0x10000, 0x7F0000)}),
        (ETHERNET, ["BridgeCtl: Parity- SERR+"], {0x0C: (0x10000, 0x7F0000)}),
        (ETHERNET, ["Secondary status: 66MHz-"], {0x0C: (0x10000, 0x7F0000)}),
        # The bus numbers of a CardBus bridge mean the same, and are in another header.
        (CARDBUS, ["Bus: primary=00, secondary=01, subordinate=02, sec-latency=0"],
         {0x0C: (0x20000, 0x7F0000)}),
        (CARDBUS, ["BridgeCtl: Parity- SERR+"], {0x0C: (0x20000, 0x7F0000)}),
        (ETHERNET, ["Memory behind bridge", "Control: I/O+"], {0x0C: (0, 0x7F0000)}),
    ],
)  # fmt: skip
def test_header_lines(first: str, lines: list[str], dwords: Dwords) -> None:
    function = new(first)
    for line in lines:
        function.header_line(line, 9)
    assert function.detailed is bool(lines)
    assert closed(function) == dwords


def test_the_header_type_that_lspci_complains_about() -> None:
    function = new()
    function.odd_header(3)
    assert (function.detailed, function.silent) == (True, False)
    assert closed(function) == {0x0C: (0x30000, 0x7F0000)}


def test_a_function_that_does_not_answer_reads_all_ones() -> None:
    function = new("Ethernet controller: X (rev ff)")
    function.capability(0x40, "Null", None, 9)
    function.put(Bits(4, 0, 1), 9, 0x40)
    function.odd_header(0x7F)
    assert (function.detailed, function.silent) == (True, True)
    assert closed(function) == dict.fromkeys(range(0, 0x40, 4), (ONES, ONES))


# --- registers of capabilities ---

UPSTREAM = "Express (v2) Upstream Port, MSI 00"


@pytest.mark.parametrize(
    ("title", "terse", "layout", "forwarding"),
    [
        ("Express (v2) Root Port (Slot+), MSI 00", False, 1, None),
        ("Express (v2) Downstream Port (Slot+), MSI 00", False, 1, None),
        ("Express (v2) PCI-Express to PCI/PCI-X Bridge, MSI 00", False, 1, None),
        (UPSTREAM, False, 1, 0),
        ("Express Upstream Port", True, 1, None),  # lspci -v
        ("Express (v2) Endpoint, MSI 00", False, 0, None),
        ("Express (v2) Unknown type 13, MSI 00", False, 0, None),
    ],
)
def test_what_follows_from_the_type_of_a_port(
    title: str, terse: bool, layout: int, forwarding: int | None
) -> None:
    """The header's layout; and that in a switch upstream port both bits of ARI Forwarding are 0."""
    function = with_capabilities((0x40, title))
    assert function.terse is terse
    dwords = closed(function)
    assert dwords[0x0C] == (layout << 16, 0x7F0000)
    assert (function.bit(0x64, 1 << 5), function.bit(0x68, 1 << 5)) == (forwarding, forwarding)


def test_an_express_capability_is_one_of_the_standard_list() -> None:
    """The extended ID 0x10 is SR-IOV."""
    function = with_capabilities((0x40, EXPRESS), (0x100, "Single Root I/O Virtualization (SR-IOV)", 1))
    assert not function.terse
    assert closed(function)[0x100] == (0x10010, 0xFFCFFFFF)


@pytest.mark.parametrize(
    ("titles", "label", "text", "dwords"),
    [
        ([(0x40, EXPRESS)], "DevCtl2", "DevCtl2: LTR+ ARIFwd-", {0x68: (0x400, 0x420)}),
        ([(0x40, EXPRESS), (0x80, PM)], "Status", "Status: D3 NoSoftRst+ PME-Enable-", {0x84: (0xB, 0x10B)}),
        ([(0x40, EXPRESS), (0x100, AER)], "UESta", "UESta: DLP+ SDES-", {0x104: (0x10, 0x30)}),
        ([(0x40, EXPRESS), (0x100, ARI)], "ARICap", "ARICap: MFVC- ACS+, Next Function: 3",
         {0x104: (0x302, 0xFF03)}),
        ([(0x40, EXPRESS), (0x100, "Single Root I/O Virtualization")], "IOVSta",
         ("IOVSta: Migration+ Initial VFs: 8, Total VFs: 10, Number of VFs: 2, VF offset: 384, stride: 2, "
          "Device ID: 10ca"),
         {0x108: (0x10000, 0x10000), 0x10C: (0xA0008, ONES), 0x110: (2, 0xFFFF), 0x114: (0x20180, ONES),
          0x118: (0x10CA0000, 0xFFFF0000)}),
        # "Flags" stands for two fields each; other labels for none, and other capabilities have none.
        ([(0x40, PM)], "Flags", "Flags: PMEClk- DSI- D1+ D2-", {}),
        ([(0x40, EXPRESS)], "Interrupt", "Interrupt: DevCtl2: ARIFwd+", {}),
        ([(0x40, MSI)], "Status", "Status: D3", {}),
        ([(0x40, "A later one")], "Status", "Status: D3", {}),
        ([(0x40, EXPRESS), (0x100, "Null")], "DevCtl2", "DevCtl2: ARIFwd+", {}),
        ([], "DevCtl2", "DevCtl2: ARIFwd+", {}),
    ],
)  # fmt: skip
def test_lines_of_a_capability(titles: list[Any], label: str, text: str, dwords: Dwords) -> None:
    function = with_capabilities(*titles)
    before = known(function)
    function.lines(label, text, 77)
    assert {at: dword for at, dword in known(function).items() if at not in before} == dwords
    places = {offset: where for offset, _, _, where in function.reads().T.tolist()}
    assert {places[at] for at in dwords} <= {77}


# --- virtual functions, several functions ---

SRIOV = "Single Root I/O Virtualization (SR-IOV)"
PLACES = ("Number of VFs: 2, VF offset: 384, stride: 3", "IOVCtl: Enable+ MSE+")


@pytest.mark.parametrize(
    ("identity", "lines", "places"),
    [
        (SRIOV, PLACES, (2, 384, 3)),
        (SRIOV, (PLACES[0], "IOVCtl: Enable- MSE+"), None),
        (SRIOV, (PLACES[0], "IOVCtl: MSE+"), None),
        (SRIOV, ("VF offset: 384, stride: 3", PLACES[1]), None),
        (SRIOV, ("Number of VFs: 2, stride: 3", PLACES[1]), None),
        (SRIOV, ("Number of VFs: 2, VF offset: 384", PLACES[1]), None),
        (AER, PLACES, None),
    ],
)
def test_where_virtual_functions_are(
    identity: str, lines: tuple[str, str], places: tuple[int, int, int] | None
) -> None:
    function = with_capabilities((0x40, EXPRESS), (0x100, ARI, 1), (0x140, identity, 1))
    for text in lines:
        function.lines("IOVCtl", text, 9)
    assert function.virtual_functions() == places
    assert new().virtual_functions() is None


def test_a_virtual_function() -> None:
    """lspci shows the IDs that the kernel made up."""
    function = new("Ethernet controller: Device 8086:10ca (rev 01)")
    assert not function.is_virtual
    function.set_virtual()
    assert function.is_virtual
    assert known(function) == {0: (ONES, ONES), 8: (1, 0xFF)}


def test_one_of_several_functions() -> None:
    function = new()
    function.set_multifunction()
    function.header_line("Flags: x", 9)
    assert closed(function) == {0x0C: (0x800000, 0xFF0000)}
