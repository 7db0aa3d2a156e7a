"""The two machines: how they start, how config space is written from outside, what a guest is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.lab import faults, machine, scenarios, topologies
from analyzer.lab.arm64_packages import libraries, with_libraries
from analyzer.lab.build.live_update import configuration
from analyzer.lab.build.sources import archive_lines
from analyzer.lab.kernel_package import Kernel
from analyzer.lab.parts import LabParts
from analyzer.lab.platforms import Q35, VIRT, Platform


def started(platform: Platform) -> str:
    found = LabParts(Path("/q"), "", Kernel(Path("/k"), None, ""), {}, platform=platform)
    recipe = machine.Recipe(found, topologies.load("switch", platform), Path("/i"), "x", "tcg")
    sockets = {name: 10 + number for number, name in enumerate(machine.CHANNELS)}
    return " ".join(machine.command_line(recipe, sockets))


def test_q35_has_three_serial_ports() -> None:
    words = started(Q35)
    assert "-machine q35" in words
    assert "-serial chardev:console -serial chardev:control -serial file:recording.gz" in words
    assert "-chardev socket,id=qtest,fd=13" in words


def test_virt_has_one_serial_port_and_a_virtio_device_that_is_no_pci_function() -> None:
    words = started(VIRT)
    assert "-machine virt -cpu cortex-a57" in words
    assert words.count(" -serial ") == 1
    assert "-device virtio-serial-device -device virtserialport,chardev=control,nr=1" in words
    assert "-chardev socket,id=qtest,fd=13" in words
    assert "-qtest chardev:qtest" in words


def test_the_root_bus_of_each_machine() -> None:
    own = [set(topologies.load("switch", platform).functions) for platform in (Q35, VIRT)]
    assert own[0] - own[1] == {"0000:00:1f.0", "0000:00:1f.2", "0000:00:1f.3"}
    assert own[1] < own[0]


@pytest.mark.parametrize(
    ("bdf", "register", "value", "expected"),
    [
        ("0000:02:00.0", "CAP_EXP+28.w", 0, "writew 0x40102000b8 0x0"),
        ("0000:02:01.0", "CAP_EXP+28.b", 0x20, "writeb 0x40102080b8 0x20"),
        ("0000:00:03.0", "BRIDGE_CONTROL.w", 0x42, "writew 0x401001803e 0x42"),
        ("0000:00:03.0", "3c.l", 1 << 22, "writel 0x401001803c 0x400000"),
    ],
)
def test_a_write_in_memory_mapped_config_space(bdf: str, register: str, value: int, expected: str) -> None:
    write = faults.write_of(topologies.load("switch", VIRT), bdf, register, value)
    assert faults.bus_command(write, VIRT.ecam) == expected


@pytest.mark.parametrize(
    ("bdf", "register", "expected", "by_ports"),
    [
        ("0000:00:04.0", "ECAP_ACS+6.w", "writew 0xb002014e 0x0", False),
        ("0000:03:00.0", "ECAP_SRIOV+8.w", "writew 0xb0300128 0x0", False),
        ("0000:03:00.0", "fc.l", "writel 0xb03000fc 0x0", True),
    ],
)
def test_what_the_ports_of_a_pc_do_not_reach(bdf: str, register: str, expected: str, by_ports: bool) -> None:
    write = faults.write_of(topologies.load("switch"), bdf, register, 0)
    assert faults.bus_command(write, Q35.ecam) == expected
    assert faults.within_ports(write) is by_ports


def test_arm_scenarios_need_debian_s_packages_only() -> None:
    arm = [scenario for scenario in scenarios.load_all() if scenario.parts == "arm64"]
    assert [scenario.platform for scenario in arm] == [VIRT] * len(arm)
    assert len(arm) >= 3
    for scenario in arm:
        assert not any("x-" in device.options for device in scenario.topology.devices)
        assert not any(boot.preserved for boot in scenario.boots)


def test_programs_come_with_their_libraries_only() -> None:
    depends = {
        "pciutils": ["libc6", "libpci3", "pci.ids"],
        "libpci3": ["libc6", "zlib1g"],
        "kexec-tools": ["libc6", "debconf", "dpkg"],
        "libc6": ["libgcc-s1"],
        "libgcc-s1": ["libc6"],
    }
    found = with_libraries(["kexec-tools", "pciutils"], lambda name: depends.get(name, []))
    assert found == ["kexec-tools", "libc6", "libgcc-s1", "libpci3", "pciutils", "zlib1g"]


def test_libraries_of_unpacked_packages(tmp_path: Path) -> None:
    for name in (
        "lib/ld-linux-aarch64.so.1",
        "lib/aarch64-linux-gnu/libc.so.6",
        "usr/lib/aarch64-linux-gnu/libpci.so.3",
        "usr/lib/aarch64-linux-gnu/gconv/UTF-16.so",
        "usr/share/doc/libpci3/copyright",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in libraries(tmp_path)] == [
        "lib/aarch64-linux-gnu/libc.so.6",
        "lib/ld-linux-aarch64.so.1",
        "usr/lib/aarch64-linux-gnu/libpci.so.3",
    ]


def test_archives_of_another_architecture_have_no_sources() -> None:
    lines = archive_lines("bookworm-backports", mirror="http://m.example", architecture="arm64")
    assert lines == (
        "deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://m.example/debian bookworm-backports main\n"
    )


def test_the_live_update_kernel_has_no_edit_of_the_lab_s() -> None:
    lines = configuration().splitlines()
    assert {"CONFIG_LIVEUPDATE=y", "CONFIG_KEXEC_HANDOVER_DEBUGFS=y", "CONFIG_SYSCTL=y"} <= set(lines)
    assert not any("BOOT_CONFIG" in line or "PROC_SYSCTL" in line for line in lines)
