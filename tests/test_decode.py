"""Registers in lspci's words and setpci's names."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.questions.explain import decode
from schemas.registers import REGISTERS, setpci_name


@pytest.mark.parametrize(
    ("base", "offset", "value", "words"),
    [
        ("CAP_EXP", 0x28, 0x0420, ["ARIFwd+", "LTR+", "TimeoutDis-", "CTO 50us to 50ms,"]),
        ("CAP_EXP", 0x28, 0x0400, ["ARIFwd-", "LTR+"]),
        ("CAP_EXP", 0x24, 0x0820, ["ARIFwd+", "LTR+"]),
        ("CAP_EXP", 0x12, 0x7043, ["Speed 8GT/s, Width x4,", "DLActive+", "ABWMgmt-"]),
        ("CAP_EXP", 0x08, 0x2810, ["CorrErr-", "RlxdOrd+", "MaxReadReq 512 bytes"]),
        ("HEADER1", 0x3E, 0x0042, ["SERR+", ">Reset+", "MAbort-"]),
        ("HEADER1", 0x04, 0x0400, ["Mem-", "BusMaster-", "DisINTx+"]),
        ("ECAP_ARI", 0x04, 0x0900, ["MFVC-", "Next Function 9"]),
        ("ECAP_SRIOV", 0x08, 0x0019, ["Enable+", "MSE+", "ARIHierarchy+"]),
        ("ECAP_ACS", 0x06, 0x001D, ["SrcValid+", "TransBlk-", "UpstreamFwd+"]),
        ("CAP_PM", 0x04, 0x0003, ["PowerState D3,", "NoSoftRst-"]),
        ("HEADER1", 0x0A, 0x0604, ["CLASS_DEVICE 0x604"]),
        ("CAP_EXP", 0x28, 0x0003, ["CTO 3,"]),
    ],
)
def test_describe(base, offset, value, words):
    text = decode.describe(decode.register_at(base, offset), value)
    for word in words:
        assert word in text


def test_fields_of_device_control_2():
    register = decode.register_at("CAP_EXP", 0x28)
    found = dict(decode.fields(register, 0x0420))
    assert [name for name, value in found.items() if value is True] == ["ARIFwd", "LTR"]
    assert found["CTO"] == "50us to 50ms"
    assert next(iter(found)) == "CTO"


def test_reserved_bits_are_shown():
    assert decode.fields(decode.register_at("HEADER1", 0x3E), 0x8040)[-1] == ("reserved", 0x8000)


def test_a_byte_shows_only_its_own_fields():
    register = decode.register_at("CAP_EXP", 0x28)
    assert [name for name, _ in decode.fields(register, 0x20, 0x00FF)] == [
        "CTO", "TimeoutDis", "ARIFwd", "ReqEn", "EgressBlck",
    ]  # fmt: skip
    assert decode.describe(decode.register_at("HEADER1", 0x20), 0xFD00, 0xFF00) == "MEMORY_BASE&0xff00 0xfd00"


@pytest.mark.parametrize(
    ("base", "offset", "width", "text"),
    [
        ("CAP_EXP", 0x28, 2, "CAP_EXP+28.w"),
        ("CAP_EXP", 0x24, 4, "CAP_EXP+24.l"),
        ("CAP_EXP", 0x28, 0, "CAP_EXP+28"),
        ("ECAP_ARI", 0x04, 2, "ECAP_ARI+04.w"),
        ("HEADER1", 0x3E, 2, "BRIDGE_CONTROL"),
        ("HEADER1", 0x3E, 0, "BRIDGE_CONTROL"),
        ("HEADER1", 0x3E, 1, "BRIDGE_CONTROL.b"),
        ("HEADER1", 0x3F, 1, "BRIDGE_CONTROL+1.b"),
        ("HEADER1", 0x18, 4, "PRIMARY_BUS.l"),
        ("HEADER1", 0x35, 1, "35.b"),
        ("HEADER0", 0x3E, 1, "MIN_GNT"),
    ],
)
def test_place(base, offset, width, text):
    assert setpci_name(base, offset, width) == text


@pytest.mark.parametrize(
    ("base", "offset", "width", "value", "expected"),
    [
        ("CAP_EXP", 0x28, 2, 0x0420, [("DevCtl2", 0x0420, 0xFFFF)]),
        ("CAP_EXP", 0x28, 1, 0x20, [("DevCtl2", 0x20, 0xFF)]),
        ("CAP_EXP", 0x29, 1, 0x04, [("DevCtl2", 0x0400, 0xFF00)]),
        ("CAP_EXP", 0x28, 4, 0x10420, [("DevCtl2", 0x0420, 0xFFFF), ("DevSta2", 1, 0xFFFF)]),
        ("CAP_EXP", 0x28, 0, 0x20, [("DevCtl2", 0x20, 0xFFFF)]),
        ("HEADER1", 0x3C, 4, 0x0042010B, [("INTERRUPT_LINE", 0x0B, 0xFF), ("INTERRUPT_PIN", 1, 0xFF),
                                          ("BRIDGE_CONTROL", 0x42, 0xFFFF)]),
        ("ECAP_NONE", 0, 4, 0, []),
    ],
)  # fmt: skip
def test_parts(base, offset, width, value, expected):
    found = decode.parts(base, offset, width, value)
    assert [(part.register.name, part.value, part.mask) for part in found] == expected


@given(st.sampled_from(sorted(REGISTERS)), st.data())
def test_any_value_of_any_register_has_words(base, data):
    register = data.draw(st.sampled_from(sorted(REGISTERS[base].values(), key=lambda known: known.offset)))
    value = data.draw(st.integers(0, (1 << 8 * register.size) - 1))
    assert decode.describe(register, value)


PORT = [
    # offset in the config space, size, base, offset in it, value, the line of lspci -vvv that shows it
    (0x04, 2, "HEADER1", 0x04, 0x0507, "Control"),
    (0x3E, 2, "HEADER1", 0x3E, 0x0053, "BridgeCtl"),
    (0x58, 2, "CAP_EXP", 0x08, 0x202F, "DevCtl"),
    (0x60, 2, "CAP_EXP", 0x10, 0x0450, "LnkCtl"),
    (0x62, 2, "CAP_EXP", 0x12, 0x7043, "LnkSta"),
    (0x6C, 2, "CAP_EXP", 0x1C, 0x001F, "RootCtl"),
    (0x74, 4, "CAP_EXP", 0x24, 0x00080C7F, "DevCap2"),
    (0x78, 2, "CAP_EXP", 0x28, 0x0426, "DevCtl2"),
    (0x104, 4, "ECAP_AER", 0x04, 0x00100030, "UESta"),
    (0x110, 4, "ECAP_AER", 0x10, 0x2001, "CESta"),
    (0x14C, 2, "ECAP_ACS", 0x04, 0x005F, "ACSCap"),
    (0x14E, 2, "ECAP_ACS", 0x06, 0x001D, "ACSCtl"),
    (0x166, 2, "ECAP_DPC", 0x06, 0x0009, "DpcCtl"),
]
PORT_FRAME = [
    (0x00, 4, 0x000C1B36), (0x06, 2, 0x0010), (0x08, 4, 0x06040001), (0x0E, 1, 1), (0x34, 1, 0x50),
    (0x50, 2, 0x0010), (0x52, 2, 0x0142), (0x100, 4, 0x14820001), (0x148, 4, 0x1601000D),
    (0x160, 4, 0x0001001D),
]  # fmt: skip


@pytest.mark.system
def test_flags_are_those_that_lspci_prints(tmp_path):
    """Every flag that lspci shows for a crafted root port has the same name and state here."""
    space = bytearray(4096)
    for at, size, value in [*PORT_FRAME, *((row[0], row[1], row[4]) for row in PORT)]:
        space[at : at + size] = value.to_bytes(size, "little")
    rows = (f"{at:02x}: " + space[at : at + 16].hex(" ") for at in range(0, 4096, 16))
    dump = tmp_path / "port.txt"
    dump.write_text("00:03.0 port\n" + "\n".join(rows) + "\n")
    lspci = shutil.which("lspci")
    assert lspci, "pciutils is not installed"
    shown = subprocess.run([lspci, "-F", dump, "-vvv"], capture_output=True, text=True, check=True).stdout
    for _, _, base, offset, value, line in PORT:
        # A register's line and the deeper indented ones below it.
        block = re.search(rf"^\s+{line}:\s(.*(?:\n\t\t\t.*)*)", shown, re.MULTILINE)
        printed = dict(re.findall(r"([\w/<>.-]+)([+-])(?=[\s,]|$)", block[1]))
        ours = dict(decode.fields(decode.register_at(base, offset), value))
        flags = {name: "-+"[state] for name, state in ours.items() if isinstance(state, bool)}
        assert printed
        assert printed == {name: flags.get(name) for name in printed}, line
