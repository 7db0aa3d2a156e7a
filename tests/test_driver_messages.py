"""What functions are used as, by the messages of a kernel log."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.capture import FunctionUse
from analyzer.capture.uses import KERNEL_LOG
from analyzer.kernel_logs import driver_messages, kernel_log
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
F = 0x0305  # 0000:03:00.5


def use(*lines: str, function: int = F) -> FunctionUse | None:
    text = ["[    0.000000] Linux version 6.12.95 (x) #1"]
    text += [f"[{number + 1:5}.000000] {line}" for number, line in enumerate(lines)]
    (run,) = kernel_log.parse_lines(text).runs
    return run.uses.get(function)


@pytest.mark.parametrize(
    ("lines", "driver", "group", "net", "block"),
    [
        (["vfio-pci 0000:03:00.5: enabling device (0400 -> 0402)"], "vfio-pci", None, None, None),
        (["pci 0000:03:00.5: Adding to iommu group 17"], None, 17, None, None),
        (["iommu: Adding device 0000:03:00.5 to group 17"], None, 17, None, None),
        (
            ["pci 0000:03:00.5: Adding to iommu group 17", "pci 0000:03:00.5: Removing from iommu group 17"],
            None, None, None, None,
        ),
        (
            ["iommu: Adding device 0000:03:00.5 to group 17",
             "iommu: Removing device 0000:03:00.5 from group 17"],
            None, None, None, None,
        ),
        # at the same microsecond
        (
            ["ixgbe 0000:03:00.5 eth0: up", "\r[    1.000000] vfio-pci 0000:03:00.5: x"],
            "vfio-pci", None, None, None,
        ),
        (["nvme nvme3: pci function 0000:03:00.5"], "nvme", None, None, ["nvme3"]),
        (
            ["ixgbe 0000:03:00.5 eth0: NIC Link is Up 10 Gbps, Flow Control: RX/TX"],
            "ixgbe", None, ["eth0"], None,
        ),
        (
            ["ixgbe 0000:03:00.5: Multiqueue Enabled", "ixgbe 0000:03:00.5 ens5f0: renamed from eth0"],
            "ixgbe", None, ["ens5f0"], None,
        ),
        (
            ["ixgbe 0000:03:00.5 eth0: up", "ixgbe 0000:03:00.5 ens5f0: renamed from eth0 (while UP)"],
            "ixgbe", None, ["ens5f0"], None,
        ),
        (
            ["ixgbe 0000:03:00.5 eth0: up", "ixgbe 0000:03:00.5 eth0 (unregistering): down"],
            "ixgbe", None, None, None,
        ),
        # a port with two interfaces
        (["sfc 0000:03:00.5 eth0: up", "sfc 0000:03:00.5 eth1: up"], "sfc", None, ["eth0", "eth1"], None),
        # given to VFIO afterwards: the interface was the other driver's, the group stays
        (
            ["pci 0000:03:00.5: Adding to iommu group 17", "ixgbe 0000:03:00.5 eth0: up",
             "vfio-pci 0000:03:00.5: vfio_ecap_init: hiding ecap 0x19@0x1d0"],
            "vfio-pci", 17, None, None,
        ),
        # and back, then unbound: messages of a function without a driver begin with its bus
        (
            ["vfio-pci 0000:03:00.5: enabling device (0400 -> 0402)", "pci 0000:03:00.5: x"],
            None, None, None, None,
        ),
        # a dump of the log in the console repeats an earlier message with its time
        (
            ["ixgbe 0000:03:00.5 eth0: up", "vfio-pci 0000:03:00.5: x",
             "\r[    1.000000] ixgbe 0000:03:00.5 eth0: up"],
            "vfio-pci", None, None, None,
        ),
    ],
)  # fmt: skip
def test_messages(
    lines: list[str], driver: str | None, group: int | None, net: list[str] | None, block: list[str] | None
) -> None:
    found = use(*lines) or FunctionUse()
    assert (found.driver, found.iommu_group, found.net, found.block) == (driver, group, net, block)
    assert (found.vfio, found.vm) == (None, None)  # no message says it
    assert found.source == (KERNEL_LOG if found.is_known else None)


@pytest.mark.parametrize(
    "line",
    [
        "pcieport 0000:00:1c.0: AER: Correctable error message received from 0000:03:00.5",
        "EXT4-fs (nvme3n1): mounted filesystem",
        "device 0000:03:00.5 is in use",
        "pci_bus 0000:03: resource 0 [mem 0xfe000000-0xfe1fffff]",
        "nvme nvme3: pci function 0000:03:00.5 and more",
        "ixgbe 0000:03:00.5 a/name: up",
        "ixgbe 0000:03:00.5 sixteen-letters-: up",
    ],
)
def test_what_is_no_message_of_the_function(line: str) -> None:
    assert use(line) is None


def test_a_kernel_that_ended_says_nothing_more() -> None:
    """What follows is the next kernel's, although its first line is missing."""
    found = use("vfio-pci 0000:03:00.5: x", "kexec_core: Starting new kernel", "nvme 0000:03:00.5: y")
    assert found is not None
    assert found.driver == "vfio-pci"


def test_a_log_that_has_lost_its_beginning() -> None:
    lines = ["ixgbe 0000:03:00.5 eth0: up", "pci 0000:01:00.0: [1b36:0010] type 00 class 0x010802"]
    (run,) = kernel_log.parse_lines(lines).runs
    assert run.uses[F].net == ["eth0"]


def test_two_kernels_of_one_console() -> None:
    first = ["Linux version 6.1.0 (x) #1", "vfio-pci 0000:03:00.5: x", "kexec_core: Starting new kernel"]
    second = ["Linux version 6.2.0 (x) #1", "nvme 0000:03:00.5: platform quirk"]
    runs = kernel_log.parse_lines([*first, *second]).runs
    assert [run.uses[F].driver for run in runs] == ["vfio-pci", "nvme"]


def test_a_real_log() -> None:
    """NVMe controllers of a Live Update: the incoming kernel counts anew, without those that it lost."""
    notes = open_capture(str(TRACES / "inherit-partial.bin")).notes
    outgoing, incoming = kernel_log.parse_lines(line.text for line in notes.log).runs
    names = {key: one.block for key, one in outgoing.uses.items() if one.driver == "nvme"}
    assert (names[0x0308], names[0x0400]) == (["nvme2"], ["nvme5"])
    assert 0x0308 not in incoming.uses
    assert incoming.uses[0x0400].block == ["nvme2"]


def test_names_and_functions_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_messages, "MAX_NAMES", 2)
    found = use(*(f"sfc 0000:03:00.5 eth{number}: up" for number in range(9)))
    assert found is not None
    assert found.net == ["eth0", "eth1"]
    monkeypatch.setattr(driver_messages, "MAX_FUNCTIONS", 1)
    lines = ["Linux version 6.1.0 (x) #1", "nvme 0000:03:00.5: x", "nvme 0000:03:00.6: x"]
    (run,) = kernel_log.parse_lines(lines).runs
    assert list(run.uses) == [F]
