"""The words of lspci: numbers and flags of a register, versions, and which capability a label is of."""

from __future__ import annotations

import pytest

from analyzer.readers.snapshot import lspci_lines
from analyzer.readers.snapshot.lspci_lines import Bits
from schemas.registers import REGISTERS


@pytest.mark.parametrize(
    ("base", "text", "shown"),
    [
        # As lspci prints the SR-IOV capability: decimal numbers, the device ID in hex.
        ("ECAP_SRIOV", "Initial VFs: 8, Total VFs: 64, Number of VFs: 10, Function Dependency Link: 00",
         [Bits(0x0C, 8, 0xFFFF), Bits(0x0E, 64, 0xFFFF), Bits(0x10, 10, 0xFFFF)]),
        ("ECAP_SRIOV", "VF offset: 384, stride: 2, Device ID: 10ca",
         [Bits(0x14, 384, 0xFFFF), Bits(0x16, 2, 0xFFFF), Bits(0x1A, 0x10CA, 0xFFFF)]),
        ("ECAP_SRIOV", "Device ID: 1520", [Bits(0x1A, 0x1520, 0xFFFF)]),
        # Registers have 16 bits, and a decimal number has no letters.
        ("ECAP_SRIOV", "VF offset: 65535", [Bits(0x14, 65535, 0xFFFF)]),
        ("ECAP_SRIOV", "VF offset: 65536, stride: 1", [Bits(0x16, 1, 0xFFFF)]),
        ("ECAP_SRIOV", "VF offset: 99999, stride: 1", [Bits(0x16, 1, 0xFFFF)]),
        ("ECAP_SRIOV", "VF offset: 1a, stride: 1", [Bits(0x16, 1, 0xFFFF)]),
        ("ECAP_SRIOV", "VF offset: 123456", []),
        ("ECAP_SRIOV", "Supported Page Size: 00000553, System Page Size: 00000001", []),
        ("ECAP_ARI", "VF offset: 1", []),
    ],
)  # fmt: skip
def test_registers_that_are_numbers(base: str, text: str, shown: list[Bits]) -> None:
    assert list(lspci_lines.numbers(base, text)) == shown


@pytest.mark.parametrize(
    ("base", "offset", "text", "shown"),
    [
        ("ECAP_ARI", 4, "ARICap: MFVC+ ACS-, Next Function: 255", Bits(4, 0xFF01, 0xFF03)),
        ("ECAP_ARI", 4, "ARICap: MFVC+ ACS-, Next Function: 256", Bits(4, 0x0001, 0x0003)),
        ("ECAP_ARI", 4, "ARICap: MFVC+ ACS-, Next Function: 0", Bits(4, 0x0001, 0xFF03)),
        ("CAP_EXP", 8, "DevCtl: MaxPayload 4096 bytes, MaxReadReq 128 bytes", Bits(8, 0xA0, 0x70E0)),
        ("CAP_EXP", 8, "DevCtl: MaxPayload 4097 bytes, MaxReadReq 4096 bytes", Bits(8, 0x5000, 0x7000)),
        ("CAP_EXP", 4, "DevCap: MaxPayload 512 bytes, PhantFunc 0", Bits(4, 2, 7)),
        ("CAP_PM", 4, "Status: D0 NoSoftRst+ PME-Enable-", Bits(4, 0x0008, 0x010B)),
        ("HEADER0", 6, "Status: Cap- DEVSEL=slow", Bits(6, 0x0400, 0x0610)),
        # Words before and after "Changed:" are of other bits.
        ("CAP_EXP", 0x1A, "SltSta: Status: MRL+ PresDet- Changed: MRL- PresDet+ LinkState+",
         Bits(0x1A, 0x0128, 0x016C)),
        ("CAP_EXP", 0x1A, "SltSta: Status: MRL+ PresDet-", Bits(0x1A, 0x20, 0x60)),
        # A word that is no flag's shows nothing, also that of a field of several bits.
        ("CAP_EXP", 8, "DevCtl: Foo+ MaxPayload+ ExtTag+x", Bits(8, 0, 0)),
    ],
)  # fmt: skip
def test_fields_of_a_register(base: str, offset: int, text: str, shown: Bits) -> None:
    assert lspci_lines.of_register(REGISTERS[base][offset], text) == shown


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Express (v15) Endpoint, MSI 00", Bits(2, 0x0F, 0xFF)),
        ("Express (v16) Endpoint, MSI 00", Bits(2, 0, 0xF0)),
        ("Express (v0) Endpoint", Bits(2, 0, 0xFF)),
        ("Express", Bits(2, 0, 0)),
        ("MSI: Enable-", Bits(2, 0, 0)),
    ],
)
def test_titles_of_an_express_capability(title: str, shown: Bits) -> None:
    assert lspci_lines.express(title) == shown


@pytest.mark.parametrize(
    ("label", "owners"),
    [
        ("DevCtl2", {(False, 0x10)}),
        ("UESta", {(True, 0x01)}),
        ("RootSta", {(False, 0x10), (True, 0x01)}),
        ("ACSCtl", {(True, 0x0D)}),
        ("L1SubCap", {(True, 0x1E)}),
        ("Flags", None),  # of many
        ("Status", None),
        ("ID", None),  # the head of every capability
        ("Initial VFs", None),  # no label begins a line with it
        ("Latency", None),
    ],
)
def test_labels_of_capabilities(label: str, owners: set[tuple[bool, int]] | None) -> None:
    assert lspci_lines.OWNERS.get(label) == owners
