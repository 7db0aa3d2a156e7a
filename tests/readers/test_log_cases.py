"""Small logs as several tools leave them: which accesses, with which times; derived from real lines."""

from __future__ import annotations

import pytest

from analyzer.errors import EmptyInputError
from analyzer.readers import open_capture

TWO = ("pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36", "pci_cfg_read nvme 03:00.0 @0xe -> 0x80")
REGIONS = """\
4242@1700000000.000001:memory_region_ops_write cpu 0 mr 0x55d1c0 addr 0xcf8 value 0x80010000 size 4 name 'pci-conf-idx'
4242@1700000000.000002:pci_cfg_read nvme 00:0 @0x0 -> 0x101b36
4242@1700000000.000003:memory_region_ops_read cpu 0 mr 0x55d1c1 addr 0xcfc value 0x101b36 size 4 name 'pci-conf-data'
"""  # noqa: E501 as QEMU writes it
VFIO = "".join(
    f"{n}@1700000000.00000{n}:vfio_pci_read_config  (0000:81:00.0, @0x{at:x}, len=0x2) 0x8086\n"
    for n, at in ((1, 0), (2, 2), (3, 6))
)


def lines(*prefixes: str, end: str = "\n") -> str:
    return "".join(f"{prefix}{event}{end}" for prefix, event in zip(prefixes, TWO, strict=True))


def read(tmp_path, text: str):
    path = tmp_path / "vm.log"
    path.write_bytes(text.encode())
    capture = open_capture(str(path))
    columns = capture.accesses.select("time_ns", "bus", "devfn", "offset", "value")
    return columns.rows(), capture.notes.dropped, capture.notes.foreign_lines


OWN = ("4242@1700000000.000001:", "4242@1700000000.000002:")
AT = (1700000000000001000, 1700000000000002000)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("\ufeff" + lines(*OWN), AT),
        (lines(*OWN, end="\r\r\n"), AT),
        (lines(*OWN, end=" \n"), AT),
        (lines(*(f"/var/log/libvirt/qemu/vm.log:{own}" for own in OWN)), AT),
        (lines(f"17:{OWN[0]}", f"18:{OWN[1]}"), AT),
        (
            lines("2026-09-22T07:14:04.123456789Z ", "2026-09-22T07:14:04.123457001Z "),
            (1790061244123456789, 1790061244123457001),
        ),
        (
            lines("2026-09-22T07:14:04.123456789Z stderr F ", "2026-09-22T07:14:04.123457001Z stderr F "),
            (1790061244123456789, 1790061244123457001),
        ),
        (
            lines("2026-09-22 07:14:04.125+0000: ", "2026-09-22 07:14:04.126+0000: "),
            (1790061244125000000, 1790061244126000000),
        ),
    ],
    ids=[
        "byte-order-mark",
        "cr-cr-lf",
        "trailing-blank",
        "grep-H",
        "grep-n",
        "docker-t",
        "cri",
        "libvirt-time",
    ],
)
def test_two_accesses_none_lost(text, times, tmp_path):
    rows = [(times[0], 3, 0, 0, 0x101B36), (times[1], 3, 0, 14, 0x80)]
    assert read(tmp_path, text) == (rows, 0, 0)


@pytest.mark.parametrize("prefix", ["", "> ", "vm.log:", "2026-09-22T07:14:04.123456789Z stderr F "])
def test_an_access_whose_lines_stand_after_a_prefix(prefix, tmp_path):
    text = "".join(f"{prefix}{line}\n" for line in REGIONS.splitlines())
    assert read(tmp_path, text) == ([(1700000000000002000, 1, 0, 0, 0x101B36)], 0, 0)  # bus 1: 0x80010000


@pytest.mark.parametrize("prefix", ["", "> ", "vm.log:"])
def test_the_hosts_side_of_a_device_alone(prefix, tmp_path):
    with pytest.raises(EmptyInputError, match=r"3 vfio_pci_read_config of host device 0000:81:00\.0"):
        read(tmp_path, "".join(f"{prefix}{line}\n" for line in VFIO.splitlines()))
