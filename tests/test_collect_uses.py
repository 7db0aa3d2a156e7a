"""What functions are used as, and by which virtual machine, in a file of ``analyze collect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_hosts import AFTER, BEFORE, functions, give, host, process

from analyzer.analysis import analyze
from analyzer.capture import FunctionUse
from analyzer.converting import vfio_users
from analyzer.converting.collection import collect
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

DISK, GIVEN, OTHER = "0000:03:00.0", "0000:03:01.0", "0000:03:01.1"
QEMU = ["/usr/bin/qemu-system-x86_64", "-name", "guest=web1,debug-threads=on", "-m", "4096"]


def running(root: Path) -> str:
    """A host before the kexec: a disk, a function by its device in web1, another by its group in db,2."""
    path = host(root, functions(BEFORE))
    give(path, DISK, "nvme", group=16)
    give(path, GIVEN, "vfio-pci", group=17, vfio=3)
    give(path, OTHER, "vfio-pci", group=18)
    process(path, 1, ["/sbin/init"], ["/dev/null", "socket:[4711]"])
    process(path, 900, QEMU, ["/dev/kvm", "/dev/vfio/vfio", "/dev/vfio/devices/vfio3"])
    process(path, 901, ["qemu", "-name", "db,,2"], ["/dev/vfio/18"])
    return path


def uses(path: str) -> dict[int, FunctionUse]:
    return {one.function: one.use for one in open_capture(path).notes.uses}


def test_a_host(tmp_path):
    output = str(tmp_path / "x.bin")
    found = collect(output, Options(), root=running(tmp_path / "host"))
    assert uses(output) == {
        0x0300: FunctionUse("nvme", 16, source="sysfs"),
        0x0308: FunctionUse("vfio-pci", 17, "vfio3", vm="web1", source="sysfs, /proc"),
        0x0309: FunctionUse("vfio-pci", 18, vm="db,2", source="sysfs, /proc"),
    }
    assert [thing.what for thing in found.missing if "virtual machine" in thing.what] == []
    ports = {one.bdf: one.use.vm for port in atrisk(output).ports for one in port.uses}
    assert (ports[GIVEN], ports[DISK]) == ("web1", None)


@pytest.mark.slow
def test_the_function_that_the_kexec_stranded_is_named_with_its_virtual_machine(tmp_path):
    before, after = str(tmp_path / "before.bin"), str(tmp_path / "after.bin")
    collect(before, Options(), moment="before", root=running(tmp_path / "a"))
    later = host(tmp_path / "b", functions(AFTER), boot=1)
    give(later, "0000:00:1f.2", "ahci", group=3)
    collect(after, Options(), moment="after", root=later)
    (capture,) = analyze([before, after], Options(join=True)).captures
    devices = {device.bdf: device for device in capture.kexecs[0].devices}
    assert (devices[GIVEN].verdict, devices[GIVEN].was.vm) == ("stranded", "web1")
    assert devices[GIVEN].bus_master is None  # two dumps do not show the shutdown
    assert devices["0000:00:1f.2"].was is None  # only the later kernel says so


def test_redacted(tmp_path):
    output = str(tmp_path / "x.bin")
    collect(output, Options(), redact=True, root=running(tmp_path / "host"))
    found = uses(output)
    assert (found[0x0308].vm, found[0x0309].vm) == ("vm-1", "vm-2")
    assert found[0x0308].iommu_group == 17


def test_processes_that_may_not_be_looked_at_are_named(tmp_path, monkeypatch):
    def refuse(*_arguments):
        raise PermissionError

    monkeypatch.setattr(vfio_users, "_links", refuse)
    found = collect(str(tmp_path / "x.bin"), Options(), root=running(tmp_path / "host"))
    (thing,) = [thing for thing in found.missing if "virtual machine" in thing.what]
    assert (thing.decides, thing.advice) == (False, "run it as root")


def test_a_host_without_vfio_is_not_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(vfio_users, "_links", None)
    path = host(tmp_path / "host", functions(BEFORE))
    give(path, DISK, "nvme", group=16)
    process(path, 900, QEMU, ["/dev/vfio/devices/vfio3"])
    collect(str(tmp_path / "x.bin"), Options(), root=path)
    assert uses(str(tmp_path / "x.bin")) == {0x0300: FunctionUse("nvme", 16, source="sysfs")}


@pytest.mark.parametrize(
    ("cmdline", "name"),
    [
        (["qemu", "-name", "web1"], "web1"),
        (["qemu", "-name", "web1,process=x"], "web1"),
        (["qemu", "-name", "guest=web,,1,debug-threads=on"], "web,1"),
        (["qemu", "--name", "guest=web1"], "web1"),
        (["qemu", "-name", "debug-threads=on"], None),
        (["cloud-hypervisor", "--device", "path=/sys/bus/pci/devices/0000:03:01.0"], None),
        (["qemu", "-name"], None),
    ],
)
def test_names_of_virtual_machines(tmp_path, cmdline, name):
    path = host(tmp_path, {GIVEN: bytes(64)})
    give(path, GIVEN, "vfio-pci", group=17)
    process(path, 900, cmdline, ["/dev/vfio/17"])
    collect(str(tmp_path / "x.bin"), Options(), root=path)
    assert uses(str(tmp_path / "x.bin"))[0x0308].vm == name


def test_open_files_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(vfio_users, "MAX_FILES", 2)
    found = collect(str(tmp_path / "x.bin"), Options(), root=running(tmp_path / "host"))
    assert [thing.what[:21] for thing in found.missing if "too many" in thing.what] == [
        "which virtual machine"
    ]
