"""Registers by name, and the monitor commands that write them through 0xcf8 and 0xcfc."""

import pytest

from analyzer.errors import UsageError
from analyzer.lab import faults, topologies
from analyzer.lab.faults import ConfigWrite


@pytest.fixture(scope="module")
def switch():
    return topologies.load("switch")


@pytest.mark.parametrize(
    ("bdf", "register", "value", "expected"),
    [
        ("0000:02:00.0", "CAP_EXP+28.w", 0, ["o/4 0xcf8 0x800200b8", "o/2 0xcfc 0x0"]),
        ("0000:02:01.0", "CAP_EXP+28.b", 0x20, ["o/4 0xcf8 0x800208b8", "o/1 0xcfc 0x20"]),
        ("0000:00:04.0", "CAP_EXP+28.l", 0x20, ["o/4 0xcf8 0x8000207c", "o/4 0xcfc 0x20"]),
        ("0000:00:03.0", "BRIDGE_CONTROL.w", 0x42, ["o/4 0xcf8 0x8000183c", "o/2 0xcfe 0x42"]),
        ("0000:00:03.0", "3e.b", 0x40, ["o/4 0xcf8 0x8000183c", "o/1 0xcfe 0x40"]),
        ("0000:01:00.0", "SUBORDINATE_BUS.b", 0xFF, ["o/4 0xcf8 0x80010018", "o/1 0xcfe 0xff"]),
        ("0000:01:00.0", "SECONDARY_BUS.b", 0, ["o/4 0xcf8 0x80010018", "o/1 0xcfd 0x0"]),
        ("0000:03:00.0", "BASE_ADDRESS_1.l", 0, ["o/4 0xcf8 0x80030014", "o/4 0xcfc 0x0"]),
        ("0000:03:00.0", "CAP_MSIX+2.w", 0, ["o/4 0xcf8 0x80030040", "o/2 0xcfe 0x0"]),
    ],
)
def test_monitor_commands(switch, bdf, register, value, expected):
    write = faults.write_of(switch, bdf, register, value)
    assert faults.monitor_commands(write) == expected


def test_ari_functions_above_seven_have_their_device_number_in_the_address():
    write = ConfigWrite("0000:03:1f.7", 0x04, 2, 0)
    assert faults.address(write) == 0x8003FF04


@pytest.mark.parametrize(
    ("bdf", "register", "value", "message"),
    [
        ("0000:02:00.0", "DEVCTL2", 0, "expected a register such as"),
        ("0000:02:00.0", "ECAP_ACS+6.w", 0, "place of ECAP_ACS of xio3130-downstream is not known"),
        ("0000:02:00.0", "3d.w", 0, "not aligned"),
        ("0000:02:00.0", "1000.l", 0, "outside of config space"),
        ("0000:02:00.0", "CAP_EXP+28.w", 0x10000, "does not fit"),
        ("0000:03:00.0", "CAP_MSI+2.w", 0, "is not known"),
        ("0000:03:00.0", "STATUS.w", 0, "unknown register 'STATUS'"),
        ("0000:09:00.0", "3e.w", 0, "has nothing at"),
    ],
)
def test_a_register_that_cannot_be_written(switch, bdf, register, value, message):
    with pytest.raises(UsageError, match=message):
        faults.write_of(switch, bdf, register, value)
