"""Register layouts against the specification's numbers, and against setpci where it is installed."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import bits, config_header, extended_capabilities, pcie_capability, power_management
from schemas.registers import CAPABILITY_BASES, EXTENDED_BASES, REGISTERS

ALL = [register for table in REGISTERS.values() for register in table.values()]
WITH_FIELDS = [register for register in ALL if register.layout is not None]


def name_of(register):
    return f"{register.base}+{register.offset:02x}"


def named_mask(layout):
    """Bits that some field names."""
    mask = low = 0
    for part in reversed(layout.subcon.subcon.subcons):
        if part.name is not None:
            mask |= ((1 << part.sizeof()) - 1) << low
        low += part.sizeof()
    return mask


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("FLAGS", 0x02), ("DEVCAP", 0x04), ("DEVCTL", 0x08), ("DEVSTA", 0x0A), ("LNKCAP", 0x0C),
        ("LNKCTL", 0x10), ("LNKSTA", 0x12), ("SLTCAP", 0x14), ("SLTCTL", 0x18), ("SLTSTA", 0x1A),
        ("RTCTL", 0x1C), ("RTCAP", 0x1E), ("RTSTA", 0x20), ("DEVCAP2", 0x24),
        ("DEVCTL2", 0x28), ("DEVSTA2", 0x2A), ("LNKCAP2", 0x2C), ("LNKCTL2", 0x30),
        ("LNKSTA2", 0x32), ("SLTCAP2", 0x34), ("SLTCTL2", 0x38),
    ],
)  # fmt: skip
def test_pci_express_offsets(name, offset):
    assert getattr(pcie_capability, name) == offset
    assert offset in REGISTERS["CAP_EXP"]


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("VENDOR_ID", 0x00), ("COMMAND", 0x04), ("STATUS", 0x06), ("REVISION", 0x08), ("CLASS_DEVICE", 0x0A),
        ("CACHE_LINE_SIZE", 0x0C), ("HEADER_TYPE", 0x0E), ("PRIMARY_BUS", 0x18), ("SECONDARY_BUS", 0x19),
        ("SUBORDINATE_BUS", 0x1A), ("SEC_STATUS", 0x1E), ("CAPABILITIES", 0x34),
        ("BRIDGE_CONTROL", 0x3E),
    ],
)  # fmt: skip
def test_header_offsets(name, offset):
    assert getattr(config_header, name) == offset
    assert REGISTERS["HEADER1"][offset].name == name


@pytest.mark.parametrize("base", ["HEADER0", "HEADER1"])
def test_header_layout_and_what_has_a_constant_agree(base):
    for offset, register in REGISTERS[base].items():
        assert getattr(config_header, register.name, offset) == offset


def test_headers_are_64_bytes():
    assert config_header.Type0Header.sizeof() == config_header.Type1Header.sizeof() == 64


@pytest.mark.parametrize(
    ("base", "offset", "field", "bit"),
    [
        ("HEADER1", 0x04, "I/O", 0), ("HEADER1", 0x04, "Mem", 1), ("HEADER1", 0x04, "BusMaster", 2),
        ("HEADER1", 0x04, "DisINTx", 10), ("HEADER1", 0x06, "Cap", 4), ("HEADER1", 0x0E, "MultiFunction", 7),
        ("HEADER1", 0x3E, "SERR", 1), ("HEADER1", 0x3E, "VGA", 3), ("HEADER1", 0x3E, "MAbort", 5),
        ("HEADER1", 0x3E, ">Reset", 6),
        ("CAP_PM", 0x04, "NoSoftRst", 3), ("CAP_PM", 0x04, "PME", 15),
        ("CAP_EXP", 0x02, "Slot", 8), ("CAP_EXP", 0x04, "FLReset", 28), ("CAP_EXP", 0x08, "CorrErr", 0),
        ("CAP_EXP", 0x08, "UnsupReq", 3), ("CAP_EXP", 0x0C, "LLActRep", 20), ("CAP_EXP", 0x10, "Disabled", 4),
        ("CAP_EXP", 0x10, "Retrain", 5), ("CAP_EXP", 0x10, "CommClk", 6), ("CAP_EXP", 0x12, "Train", 11),
        ("CAP_EXP", 0x12, "DLActive", 13), ("CAP_EXP", 0x12, "BWMgmt", 14), ("CAP_EXP", 0x12, "ABWMgmt", 15),
        ("CAP_EXP", 0x1A, "Changed PresDet", 3), ("CAP_EXP", 0x1A, "PresDet", 6),
        ("CAP_EXP", 0x1A, "Changed LinkState", 8), ("CAP_EXP", 0x1C, "CRSVisible", 4),
        ("CAP_EXP", 0x24, "ARIFwd", 5), ("CAP_EXP", 0x24, "LTR", 11),
        ("CAP_EXP", 0x28, "TimeoutDis", 4), ("CAP_EXP", 0x28, "ARIFwd", 5), ("CAP_EXP", 0x28, "ReqEn", 6),
        ("CAP_EXP", 0x28, "EgressBlck", 7), ("CAP_EXP", 0x28, "IDOReq", 8), ("CAP_EXP", 0x28, "IDOCompl", 9),
        ("CAP_EXP", 0x28, "LTR", 10), ("CAP_EXP", 0x28, "EmergencyPowerReductionReq", 11),
        ("CAP_EXP", 0x28, "10BitTagReq", 12), ("CAP_EXP", 0x28, "EETLPPrefixBlk", 15),
        ("ECAP_ARI", 0x04, "MFVC", 0), ("ECAP_ARI", 0x04, "ACS", 1),
        ("ECAP_SRIOV", 0x04, "ARIHierarchyPreserved", 1), ("ECAP_SRIOV", 0x08, "Enable", 0),
        ("ECAP_SRIOV", 0x08, "MSE", 3), ("ECAP_SRIOV", 0x08, "ARIHierarchy", 4),
        ("ECAP_SRIOV", 0x08, "10BitTagReq", 5),
        ("ECAP_ACS", 0x06, "SrcValid", 0), ("ECAP_ACS", 0x06, "TransBlk", 1),
        ("ECAP_ACS", 0x06, "ReqRedir", 2), ("ECAP_ACS", 0x06, "CmpltRedir", 3),
        ("ECAP_ACS", 0x06, "UpstreamFwd", 4), ("ECAP_ACS", 0x06, "EgressCtrl", 5),
        ("ECAP_ACS", 0x06, "DirectTrans", 6),
        ("ECAP_AER", 0x04, "DLP", 4), ("ECAP_AER", 0x04, "SDES", 5), ("ECAP_AER", 0x04, "TLP", 12),
        ("ECAP_AER", 0x04, "CmpltTO", 14), ("ECAP_AER", 0x04, "UnsupReq", 20),
        ("ECAP_DPC", 0x06, "SwTrigger", 6), ("ECAP_DPC", 0x06, "INT", 3), ("ECAP_DPC", 0x08, "Trigger", 0),
        ("ECAP_DPC", 0x08, "RPBusy", 4),
    ],
)  # fmt: skip
def test_flag_stands_at_its_bit(base, offset, field, bit):
    register = REGISTERS[base][offset]
    parsed = register.layout.parse((1 << bit).to_bytes(register.size, "little"))
    assert [name for name, value in parsed.items() if value is True] == [field]


@pytest.mark.parametrize(
    ("base", "offset", "value", "field", "expected"),
    [
        ("CAP_EXP", 0x02, 0x0062, "Type", "Downstream Port"),
        ("CAP_EXP", 0x02, 0x0062, "Version", 2),
        ("CAP_EXP", 0x08, 0x2810, "MaxReadReq", "512 bytes"),
        ("CAP_EXP", 0x12, 0x7043, "Speed", "8GT/s"),
        ("CAP_EXP", 0x12, 0x7043, "Width", "x4"),
        ("CAP_EXP", 0x28, 0x0006, "CTO", "65ms to 210ms"),
        ("CAP_EXP", 0x28, 0x6000, "OBFF", "Via WAKE#"),
        ("CAP_PM", 0x04, 0x0003, "PowerState", "D3"),
        ("ECAP_ARI", 0x04, 0x0900, "Next Function", 9),
        ("ECAP_ARI", 0x06, 0x0030, "Function Group", 3),
        ("ECAP_ARI", 0x00, 0x1481000E, "ID", 0x000E),
        ("ECAP_ARI", 0x00, 0x1481000E, "Ver", 1),
        ("ECAP_ARI", 0x00, 0x1481000E, "Next", 0x148),
        ("ECAP_DPC", 0x08, 0x0005, "Reason", "ERR_FATAL"),
        ("HEADER1", 0x0E, 0x81, "Layout", "PCI bridge"),
    ],
)  # fmt: skip
def test_field_values(base, offset, value, field, expected):
    register = REGISTERS[base][offset]
    parsed = register.layout.parse(value.to_bytes(register.size, "little"))[field]
    assert (str(parsed) if isinstance(expected, str) else int(parsed)) == expected


def test_type_1_header_of_a_port_with_its_bus_numbers():
    port = bytes.fromhex(
        "361b0c00 07051000 01000406 00008100 00102ffe 00000000 00010400 1121 0000 a0fdd0fd 4104 7104"
        "00000000 00000000 00000000 40000000 00000000 0b010200"
    )
    header = config_header.Type1Header.parse(port)
    assert (header.VENDOR_ID, header.DEVICE_ID, header.CLASS_DEVICE) == (0x1B36, 0x000C, 0x0604)
    assert (header.PRIMARY_BUS, header.SECONDARY_BUS, header.SUBORDINATE_BUS) == (0, 1, 4)
    assert header.COMMAND.BusMaster
    assert header.HEADER_TYPE.MultiFunction
    assert header.BRIDGE_CONTROL.SERR
    assert config_header.Type1Header.build(header) == port


@pytest.mark.parametrize("register", WITH_FIELDS, ids=name_of)
def test_layout_has_the_size_of_its_register(register):
    assert register.layout.sizeof() == register.size


@pytest.mark.parametrize("register", WITH_FIELDS, ids=name_of)
@settings(max_examples=15)
@given(data=st.data())
def test_named_bits_survive_a_round_trip(register, data):
    value = data.draw(st.integers(0, (1 << 8 * register.size) - 1)) & named_mask(register.layout)
    raw = value.to_bytes(register.size, "little")
    assert register.layout.build(register.layout.parse(raw)) == raw


@pytest.mark.parametrize("base", REGISTERS)
def test_registers_do_not_overlap(base):
    end = 0
    for offset, register in sorted(REGISTERS[base].items()):
        assert offset == register.offset >= end
        end = offset + register.size


def test_every_capability_id_has_a_base():
    assert CAPABILITY_BASES == {0x01: "CAP_PM", 0x10: "CAP_EXP"}
    assert set(EXTENDED_BASES.values()) == set(extended_capabilities.REGISTERS)
    assert {*CAPABILITY_BASES.values(), *EXTENDED_BASES.values(), "HEADER0", "HEADER1"} == set(REGISTERS)


def test_masks_agree_with_the_layouts():
    assert pcie_capability.DevCtl2.build(
        dict.fromkeys(_names(pcie_capability.DevCtl2), 0) | {"ARIFwd": True}
    ) == (pcie_capability.DEVCTL2_ARI.to_bytes(2, "little"))
    assert config_header.BridgeCtl.parse(b"\x40\x00")[">Reset"] == bool(
        config_header.BRIDGE_CONTROL_SBR & 0x40
    )
    assert power_management.ControlStatus.parse(b"\x08\x00").NoSoftRst
    assert power_management.PMCSR_NO_SOFT_RESET == 0x08


def _names(layout):
    return [part.name for part in layout.subcon.subcon.subcons if part.name]


@pytest.mark.parametrize(
    "fields",
    [
        (bits.number("A", 3, 0), bits.flag("B", 3)),
        (bits.flag("A", 16),),
        (bits.number("A", 0, 3),),
    ],
)
def test_overlapping_or_misplaced_fields_are_refused(fields):
    with pytest.raises(ValueError, match="overlaps"):
        bits.register(2, *fields)


def setpci_registers():
    """What ``setpci --dumpregs`` lists: (offset or ID, width letter or -, name)."""
    setpci = shutil.which("setpci")
    assert setpci, "pciutils is not installed"
    listing = subprocess.run([setpci, "--dumpregs"], capture_output=True, text=True, check=True).stdout
    return [
        (int(number, 16), width, name)
        for number, width, name in re.findall(
            r"^ *([0-9a-f]{2,4})(?: 00)? ([BWL-]) (\w+)$", listing, re.MULTILINE
        )
    ]


@pytest.mark.system
def test_header_names_and_sizes_are_those_of_setpci():
    size = {"B": 1, "W": 2, "L": 4}
    known = {(number, name): size[width] for number, width, name in setpci_registers() if width != "-"}
    for base in ("HEADER0", "HEADER1"):
        for register in REGISTERS[base].values():
            assert known[register.offset, register.name] == register.size


@pytest.mark.system
def test_capability_names_are_those_of_setpci():
    known = {name: number for number, width, name in setpci_registers() if width == "-"}
    for number, base in [*CAPABILITY_BASES.items(), *EXTENDED_BASES.items()]:
        assert known[base] == number
