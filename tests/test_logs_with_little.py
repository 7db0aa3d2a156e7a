"""Logs that hold little: what each shows, and what the answer names as missing (derived from users' logs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze
from analyzer.cli.application import run
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = "pci_cfg_read nvme 03:02.0 @0x0 -> 0x101b36\npci_cfg_read nvme 03:02.0 @0xe -> 0x0\n"
#: QEMU before 7.0: the bus is in the access to the address port.
OLD_SCHEMA = """\
4242@1700000000.000001:memory_region_ops_write cpu 0 mr 0x55d1c0 addr 0xcf8 value 0x80010000 size 4 \
name 'pci-conf-idx'
4242@1700000000.000002:pci_cfg_read nvme 00:0 @0x0 -> 0x101b36
4242@1700000000.000003:memory_region_ops_read cpu 0 mr 0x55d1c1 addr 0xcfc value 0x101b36 size 4 \
name 'pci-conf-data'
"""
VFIO = """\
1@1700000000.000001:vfio_pci_read_config  (0000:81:00.0, @0x0, len=0x2) 0x8086
2@1700000000.000002:vfio_pci_read_config  (0000:81:00.0, @0x2, len=0x2) 0x1572
3@1700000000.000003:vfio_pci_read_config  (0000:81:00.0, @0x6, len=0x2) 0x10
"""
WITHOUT_BRIDGE = (
    "the bridge above bus 03 is not in the capture (0000:03:02.0 below it): whether ARI Forwarding applies "
    "there is unknown"
)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (ENDPOINT, [WITHOUT_BRIDGE]),
        (ENDPOINT.replace("03:02.0", "00:02.0"), []),  # bus 0 is a root bus
        (
            "".join(ENDPOINT.replace("03:", f"{bus:02x}:") for bus in range(3, 9)),
            [
                *(WITHOUT_BRIDGE.replace("03", f"{bus:02x}") for bus in range(3, 7)),
                "the bridges above 2 more buses are not in the capture",
            ],
        ),
        (
            "".join(ENDPOINT.replace("02.0", f"{slot:02x}.0") for slot in range(6)),
            [
                WITHOUT_BRIDGE.replace(
                    "0000:03:02.0", "0000:03:00.0, 0000:03:01.0, 0000:03:02.0, 0000:03:03.0 and 2 more"
                )
            ],
        ),
    ],
)
def test_functions_without_their_bridge(text: str, messages: list[str], tmp_path: Path) -> None:
    path = tmp_path / "cfg.log"
    path.write_text(text)
    (capture,) = analyze([str(path)]).captures
    assert [problem.message for problem in capture.errors if problem.kind == "no-bridge"] == messages
    assert (capture.verdict, capture.weight) == ("no-kexec", "doubt")  # it ends within a scan


def test_the_report_names_the_bridge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cfg.log"
    path.write_text(ENDPOINT)
    assert run([str(path)]) == 3
    assert f"no-bridge: {WITHOUT_BRIDGE}" in " ".join(capsys.readouterr().out.split())


def test_a_capture_with_its_bridges_lacks_none() -> None:
    captures = analyze(["traces/clean-inherit.bin", "traces/formats/lspci-xxx.txt"]).captures
    assert [problem.kind for capture in captures for problem in capture.errors] == ["short"]


def test_the_bus_comes_from_the_address_port(tmp_path: Path) -> None:
    path = tmp_path / "cfg.log"
    path.write_text(OLD_SCHEMA)
    capture = open_capture(str(path))
    columns = ("bus", "devfn", "offset", "width", "value")  # 0x80010000: bus 1, function 0
    assert capture.accesses.select(columns).rows() == [(1, 0, 0, 4, 0x101B36)]
    assert (capture.notes.dropped, capture.notes.problems) == (0, [])


def test_the_host_side_of_an_assigned_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cfg.log"
    path.write_text(VFIO)
    assert run([str(path)]) == 3
    error = capsys.readouterr().err
    for said in (
        "3 vfio_pci_read_config of host device 0000:81:00.0",
        "no bridge shows",
        "-trace 'pci_cfg_*' -D cfg.log",
    ):
        assert said in error
