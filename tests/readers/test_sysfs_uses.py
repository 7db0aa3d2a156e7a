"""What sysfs says that functions are used as: a tree, an archive of one, and what must not be believed."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from analyzer.capture import FunctionUse, PlacedUse, uses
from analyzer.converting.native import write_capture
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = bytes.fromhex("361b0c00 07051000 00000406 00000100") + bytes(range(240))
NIC, DISK, GIVEN, VIRTIO = "0000:01:00.0", "0000:03:00.0", "0000:03:01.0", "0000:05:00.0"
UEVENT = "DRIVER={}\nPCI_CLASS=20000\nPCI_ID=8086:1572\nMODALIAS=pci:v\n"
EXPECTED = {
    0x0100: FunctionUse("ixgbe", 17, None, ["eth0", "eth1"], None, None, "sysfs"),
    0x0300: FunctionUse("nvme", 20, None, None, ["nvme3", "nvme3n1"], None, "sysfs"),
    0x0308: FunctionUse("vfio-pci", 21, "vfio3", None, None, None, "sysfs"),
    0x0500: FunctionUse("virtio-pci", None, None, ["ens3"], ["vda"], None, "sysfs"),
}


def tree(root: Path) -> Path:
    """Devices as sysfs has them (Linux 6.12): folders below the root bus, links from the bus."""
    devices = root / "devices/pci0000:00"
    for name, driver, group, folders in (
        (NIC, "ixgbe", 17, ["net/eth0", "net/eth1", "msi_irqs/40"]),
        (DISK, "nvme", 20, ["nvme/nvme3/nvme3c3n1", "nvme/nvme3/hwmon2", "nvme/nvme3/power"]),
        (GIVEN, "vfio-pci", 21, ["vfio-dev/vfio3"]),
        (VIRTIO, "virtio-pci", None, ["virtio1/net/ens3", "virtio1/block/vda/vda1"]),
    ):
        device = devices / name
        for folder in folders:
            (device / folder).mkdir(parents=True)
        (device / "config").write_bytes(CONFIG)
        (device / "uevent").write_text(UEVENT.format(driver))
        (device / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
        if group is not None:
            (device / "iommu_group").symlink_to(f"../../../kernel/iommu_groups/{group}")
        link = root / "bus/pci/devices" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../../devices/pci0000:00/{name}")
    return devices


def of(path: Path) -> dict[int, FunctionUse]:
    return {one.function: one.use for one in open_capture(str(path)).notes.uses}


def test_a_tree(tmp_path):
    assert of(tree(tmp_path)) == EXPECTED


def test_an_archive_of_the_tree(tmp_path):
    tree(tmp_path / "sys")
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
            archive.add(tmp_path / "sys/devices", "devices")
        capture = open_capture(str(tmp_path / "x.tar"))
        assert {one.function: one.use for one in capture.notes.uses} == EXPECTED
        assert capture.notes.problems == []  # the links that say something are not "not followed"


def test_links_that_say_nothing_are_still_counted(tmp_path):
    device = tree(tmp_path / "sys") / NIC
    (device / "subsystem").symlink_to("../../../bus/pci")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "sys", "sys")
    (problem,) = open_capture(str(tmp_path / "x.tar")).notes.problems
    assert problem.message == "members of other kinds are not followed: 5 symbolic links"


def test_a_long_link_of_an_archive(tmp_path):
    (tmp_path / NIC).mkdir()
    (tmp_path / NIC / "config").write_bytes(CONFIG)
    (tmp_path / NIC / "driver").symlink_to("../" * 60 + "bus/pci/drivers/ixgbe")
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=form) as archive:
            archive.add(tmp_path / NIC, NIC)
        assert of(tmp_path / "x.tar") == {0x0100: FunctionUse("ixgbe", source="sysfs")}


def test_uevent_names_the_driver_where_the_links_were_followed(tmp_path):
    """As in: tar -chf config.tar */config */uevent; tar pads a file that was shorter than sysfs says."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, data in (
            ("config", CONFIG),
            ("uevent", UEVENT.format("ixgbe").encode().ljust(4096, b"\0")),
        ):
            member = tarfile.TarInfo(f"{NIC}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert of(tmp_path / "x.tar") == {0x0100: FunctionUse("ixgbe", source="sysfs")}


def test_what_is_not_there_is_not_known(tmp_path):
    (tmp_path / NIC).mkdir()
    (tmp_path / NIC / "config").write_bytes(CONFIG)
    (tmp_path / NIC / "net").mkdir()
    (tmp_path / NIC / "uevent").write_text("PCI_CLASS=20000\n")
    assert of(tmp_path) == {}


def test_nothing_is_followed_out_of_the_tree(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/eth7").mkdir()
    (tmp_path / "secret/uevent").write_text(UEVENT.format("stolen"))
    device = tmp_path / "copy" / NIC
    device.mkdir(parents=True)
    (device / "config").write_bytes(CONFIG)
    (device / "net").symlink_to(tmp_path / "secret")
    (device / "virtio0").symlink_to(tmp_path)
    (device / "uevent").symlink_to(tmp_path / "secret/uevent")
    assert of(tmp_path / "copy") == {}


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_file_is_not_opened(tmp_path):
    (tmp_path / NIC).mkdir()
    (tmp_path / NIC / "config").write_bytes(CONFIG)
    os.mkfifo(tmp_path / NIC / "uevent")
    assert of(tmp_path) == {}


def test_hostile_names(tmp_path):
    device = tmp_path / NIC
    device.mkdir()
    (device / "config").write_bytes(CONFIG)
    (device / "driver").symlink_to("a/\x1b[31mred")
    (device / "iommu_group").symlink_to("../../-5")
    for name in ("two\nlines", "ok", os.fsdecode(b"\xff")):
        (device / "net" / name).mkdir(parents=True)
    found = of(tmp_path)[0x0100]
    assert (found.driver, found.iommu_group, found.net) == ("\x1b[31mred", None, ["ok", os.fsdecode(b"\xff")])


def test_many_names(tmp_path):
    device = tmp_path / NIC
    device.mkdir()
    (device / "config").write_bytes(CONFIG)
    for number in range(uses.MAX_NAMES + 9):
        (device / "net" / f"e{number}").mkdir(parents=True)
    assert len(of(tmp_path)[0x0100].net) == uses.MAX_NAMES


def test_a_native_file_keeps_it(tmp_path):
    capture = open_capture(str(tree(tmp_path)))
    write_capture(capture, tmp_path / "x.bin")
    assert open_capture(str(tmp_path / "x.bin")).notes.uses == [
        PlacedUse(function, 0, use) for function, use in EXPECTED.items()
    ]


def test_names_of_a_later_version_are_ignored():
    facts = [("driver", "nvme"), ("colour", "red"), ("iommu_group", "x"), ("vm", ""), ("source", "hearsay")]
    assert uses.of_facts(facts) == FunctionUse("nvme")


@pytest.mark.parametrize(
    ("better", "other", "expected"),
    [
        (FunctionUse("nvme"), None, FunctionUse("nvme")),
        (
            FunctionUse("nvme", source="sysfs"),
            FunctionUse("nvme", 5, block=["nvme1"], source="kernel log"),
            FunctionUse("nvme", 5, block=["nvme1"], source="sysfs, kernel log"),
        ),
        # the names that another driver gave are gone; the group is the function's
        (
            FunctionUse("vfio-pci", source="sysfs"),
            FunctionUse("nvme", 5, block=["nvme1"], source="kernel log"),
            FunctionUse("vfio-pci", 5, source="sysfs, kernel log"),
        ),
        (
            FunctionUse("nvme", 5, source="a"),
            FunctionUse("nvme", 6, source="b"),
            FunctionUse("nvme", 5, source="a"),
        ),
    ],
)
def test_two_sources(better, other, expected):
    assert uses.merged(better, other) == expected
