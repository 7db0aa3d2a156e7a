"""What a function was that the incoming kernel did not find, in every output; and whether that may wait."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from simulator import Kernel
from stories import BELOW_PORT, Story, port, tell

from analyzer import analysis
from analyzer.analysis import analyze_capture
from analyzer.capture import FunctionUse, LogLine, PlacedUse
from analyzer.capture.joining import join
from analyzer.cli.application import run
from analyzer.converting.native import write_capture
from analyzer.converting.redaction import redact
from analyzer.options import Options
from analyzer.questions.explain.function import explain
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from analyzer.capture import Capture

TRACES = Path(__file__).parents[1] / "traces"
ROOT_PORT, EIGHT, NINE = "0000:00:01.0", "0000:01:01.0", "0000:01:01.1"
GIVEN = FunctionUse("vfio-pci", 17, "vfio3", vm="web1", source="sysfs, /proc")
GIVEN_TEXT = "vfio-pci, IOMMU group 17, vfio3, virtual machine web1"


def lost() -> Story:
    """ARI Forwarding is cleared in the blackout."""
    return tell(
        port(),
        preserve=BELOW_PORT,
        outgoing=Kernel(keeps_bus_master=True),
        blackout=lambda machine: machine.clear(ROOT_PORT, "CAP_EXP+28.w", 0x20),
    )


def recorded(story: Story, *, bus_master: bool = False, log: bool = False) -> Capture:
    """What was recorded; with Bus Master on, derived: no driver of the simulator leaves it on."""
    capture = story.recording.capture(log=log)
    if not bus_master:
        return capture
    command = (pl.col("bus") == 1) & (pl.col("devfn") >= 8) & (pl.col("offset") == 4) & (pl.col("width") == 2)
    last = command & pl.col("seq").is_between(story.kexec.at_access - 100, story.kexec.at_access - 1)
    value = pl.when(last).then(pl.col("value") | 4).otherwise(pl.col("value")).cast(pl.UInt32)
    return replace(capture, accesses=capture.accesses.with_columns(value=value))


def judged(story: Story, *uses: PlacedUse, bus_master: bool = False):
    """The kexec, and what follows by its code; uses without a place are of the outgoing kernel's end."""
    capture = recorded(story, bus_master=bus_master)
    capture.notes.uses = [replace(one, seq=one.seq or story.kexec.at_access - 1) for one in uses]
    result = analyze_capture(capture, Options(preserved=",".join(BELOW_PORT)))
    (kexec,) = result.kexecs
    return kexec, {item.code: item for item in kexec.consequences}


def test_bus_master_on_cannot_wait():
    kexec, follows = judged(lost(), PlacedUse(0x0108, 0, GIVEN), bus_master=True)
    device = next(device for device in kexec.devices if device.bdf == EIGHT)
    assert (device.verdict, device.was, device.bus_master) == ("stranded", GIVEN, True)
    assert kexec.consequences[0].code == "dma-continues"
    assert follows["dma-continues"].functions == [EIGHT, NINE]
    assert follows["dma-continues"].text.startswith(
        "Do this first: stop the virtual machines that hold them:"
        f" {EIGHT} ({GIVEN_TEXT}), {NINE}. Bus Master was on when the outgoing kernel ended"
    )
    assert f"({ROOT_PORT}: setpci COMMAND=0:4)" in follows["dma-continues"].text
    assert not {"dma-stopped", "dma-unattended"} & follows.keys()


def test_bus_master_off_may_wait():
    kexec, follows = judged(lost(), PlacedUse(0x0108, 0, GIVEN))
    device = next(device for device in kexec.devices if device.bdf == EIGHT)
    assert device.bus_master is False
    assert follows["dma-stopped"].functions == [EIGHT, NINE]
    assert follows["dma-stopped"].text.startswith(f"{EIGHT} ({GIVEN_TEXT}), {NINE} can wait for the reboot.")
    assert not {"dma-continues", "dma-unattended"} & follows.keys()


def test_the_access_that_is_named_shows_bus_master():
    story = lost()
    for on in (True, False):
        kexec, _ = judged(story, bus_master=on)
        device = next(device for device in kexec.devices if device.bdf == EIGHT)
        row = recorded(story, bus_master=on).accesses.row(device.bus_master_access, named=True)
        assert (row["bus"], row["devfn"], row["offset"]) == (1, 8, 4)
        assert bool(row["value"] & 4) == on


def test_where_the_shutdown_is_not_in_the_input_bus_master_is_unknown():
    story = lost()
    capture = recorded(story, bus_master=True)
    kexec = story.kexec.at_access
    accesses = capture.accesses.filter(
        (capture.accesses["seq"] < kexec - 60) | (capture.accesses["seq"] >= kexec)
    )
    result = analyze_capture(replace(capture, accesses=accesses), Options(preserved=",".join(BELOW_PORT)))
    follows = {item.code for item in result.kexecs[0].consequences}
    assert all(device.bus_master is None for device in result.kexecs[0].devices)
    assert "dma-unattended" in follows
    assert not {"dma-continues", "dma-stopped"} & follows


@pytest.mark.parametrize("bus_master", [False, True])
def test_where_accesses_are_missing_bus_master_is_unknown(bus_master: bool):
    """A later write to Command may be among them."""
    story = lost()
    capture = recorded(story, bus_master=bus_master)
    capture.notes.dropped = 1
    (kexec,) = analyze_capture(capture, Options(preserved=",".join(BELOW_PORT))).kexecs
    assert {device.bus_master for device in kexec.devices if device.verdict == "stranded"} == {None}
    follows = {item.code for item in kexec.consequences}
    assert "dma-unattended" in follows
    assert not {"dma-continues", "dma-stopped"} & follows


def test_found_siblings_can_be_given_back():
    _, follows = judged(lost())
    assert follows["siblings-usable"].functions == ["0000:01:00.0", "0000:01:00.1"]
    assert "Linux 7.3 luo_retrieve_file()" in follows["siblings-usable"].source


def test_a_reset_left_nothing_that_could_do_dma():
    story = tell(
        port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.port_reset(ROOT_PORT),
    )
    codes = {item.code for item in story.kexec.consequences}
    assert "device-state-lost" in codes
    assert not {"dma-continues", "dma-stopped", "dma-unattended"} & codes


def test_interfaces_and_disks_that_are_gone():
    _, follows = judged(
        lost(),
        PlacedUse(0x0108, 0, FunctionUse("ixgbe", None, None, ["eth0"], None, None, "sysfs")),
        PlacedUse(0x0109, 0, FunctionUse("nvme", None, None, None, ["nvme3", "nvme3n1"], None, "sysfs")),
    )
    assert follows["names-gone"].text == (
        f"Gone from this host with the functions: eth0 ({EIGHT}), nvme3 nvme3n1 ({NINE})."
    )


def test_what_the_kernel_after_the_kexec_says_is_not_what_it_was():
    story = lost()
    after = PlacedUse(0x0108, story.kexec.at_access, FunctionUse("nvme", source="sysfs"))
    kexec, _ = judged(story, after)
    assert next(device for device in kexec.devices if device.bdf == EIGHT).was is None


def test_pieces_keep_their_place():
    piece = lost().recording.capture()
    piece.notes.uses = [PlacedUse(0x0108, 3, GIVEN)]
    joined = join([piece, piece], lambda _number: None)
    assert [one.seq for one in joined.notes.uses] == [3, piece.accesses.height + 3]


@pytest.fixture(scope="module")
def stranded(tmp_path_factory) -> str:
    """The capture of a kexec that stranded a function that a virtual machine had."""
    story = lost()
    capture = recorded(story, bus_master=True, log=True)
    capture.notes.uses = [PlacedUse(0x0108, story.kexec.at_access - 1, GIVEN)]
    capture.notes.log.append(LogLine("never a kernel message", None))
    path = str(tmp_path_factory.mktemp("stranded") / "host17.bin")
    write_capture(capture, path)
    return path


def output(capsys, *args: str) -> str:
    run(list(args))
    return capsys.readouterr().out


def test_text(stranded, capsys):
    text = " ".join(output(capsys, stranded).split())
    assert f"STRANDED: only ARI can address it and ARI is off; was {GIVEN_TEXT}" in text
    assert "What to do now - Do this first: stop" in text


def test_json(stranded, capsys):
    (capture,) = json.loads(output(capsys, stranded, "--format", "json"))["captures"]
    devices = {device["bdf"]: device for device in capture["kexecs"][0]["devices"]}
    assert devices[EIGHT]["was"] == {
        "driver": "vfio-pci", "iommu_group": 17, "vfio": "vfio3", "net": None, "block": None, "vm": "web1",
        "source": "sysfs, /proc",
    }  # fmt: skip
    assert devices[EIGHT]["bus_master"] is True
    assert devices["0000:01:00.0"]["bus_master"] is None  # it was found


def test_csv(stranded, capsys):
    rows = list(csv.DictReader(io.StringIO(output(capsys, stranded, "--format", "csv"))))
    (row,) = [row for row in rows if row["bdf"] == EIGHT and row["row"] == "device"]
    assert (row["was"], row["bus_master"]) == (GIVEN_TEXT, "true")


def test_html(stranded, tmp_path, capsys):
    output(capsys, stranded, "--html", str(tmp_path / "x.html"))
    page = (tmp_path / "x.html").read_text("utf-8")
    assert f"only ARI can address it and ARI is off; was {GIVEN_TEXT}" in page
    assert "Do this first" in page


def test_explain(stranded, capsys):
    text = " ".join(output(capsys, "explain", stranded, EIGHT).split())
    assert f"used as, in boot 1: {GIVEN_TEXT}" in text
    (used,) = [used for used in explain(stranded, EIGHT).uses if used.use.vm]
    assert used.use == GIVEN


def test_atrisk_names_what_may_be_stranded(capsys):
    text = " ".join(output(capsys, "atrisk", str(TRACES / "inherit-partial.bin")).split())
    assert "the next kernel does not find: 0000:03:01.0 (nvme, nvme2)" in text  # of the kernel that had it
    assert "without the bit, not discovered: 0000:05:01.0 (nvme, nvme4)" in text


def test_hostile_names_are_escaped_where_they_are_shown(tmp_path, capsys):
    story = lost()
    capture = story.recording.capture()
    use = FunctionUse(
        "=cmd|' /C calc'!A0", 1, net=["eth0\x1b[31m"], vm="<script>alert(1)</script>", source="sysfs"
    )
    capture.notes.uses = [PlacedUse(0x0108, story.kexec.at_access - 1, use)]
    path = str(tmp_path / "x.bin")
    write_capture(capture, path)
    text = output(capsys, path, "--html", str(tmp_path / "x.html"))
    assert "\x1b[31m" not in text
    assert "eth0\\x1b[31m" in text
    assert "<script>alert" not in (tmp_path / "x.html").read_text("utf-8")
    cells = csv.DictReader(io.StringIO(output(capsys, path, "--format", "csv")))
    assert [row["was"][:6] for row in cells if row["was"]] == ["'=cmd|"]


def test_a_redacted_file_keeps_numbers_and_which_belong_together(stranded):
    capture = open_capture(stranded)
    capture.notes.uses = [
        PlacedUse(0x0108, 0, GIVEN),
        PlacedUse(0x0109, 0, replace(GIVEN, vfio="vfio4", driver="acme_vfio")),
        PlacedUse(
            0x0100, 0, FunctionUse("nvme", None, None, ["acme0", "eth3"], ["nvme1n1", "acme-disk"], "db")
        ),
    ]
    uses = {one.function: one.use for one in redact(capture).capture.notes.uses if one.function >= 0x0100}
    assert uses[0x0108] == replace(GIVEN, vm="vm-1")
    assert uses[0x0109] == replace(GIVEN, vfio="vfio4", driver="driver-1", vm="vm-1")
    assert (uses[0x0100].net, uses[0x0100].block) == (["net-1", "eth3"], ["nvme1n1", "block-1"])
    assert uses[0x0100].vm == "vm-2"


def test_a_redacted_log_still_says_what_functions_were(tmp_path):
    """The lines of the drivers are left out; what they say is kept."""
    path = str(TRACES / "inherit-partial.bin")
    write_capture(redact(open_capture(path)).capture, tmp_path / "x.bin")
    of_both = []
    for one in (path, str(tmp_path / "x.bin")):
        (result,) = analysis.analyze([one]).captures
        of_both.append([device.was for device in result.kexecs[0].devices])
    assert of_both[0] == of_both[1]
    assert FunctionUse("nvme", block=["nvme2"], source="kernel log") in of_both[0]


def test_no_text_holds_an_access_number():
    """Smaller captures number anew, and must say the same (:mod:`analyzer.converting.proof`)."""
    for on in (True, False):
        kexec, follows = judged(lost(), bus_master=on)
        numbers = {str(device.bus_master_access) for device in kexec.devices if device.bus_master_access}
        assert numbers
        assert not [item.code for item in follows.values() if any(one in item.text for one in numbers)]


def test_the_virtual_machines_to_stop_are_named():
    _, follows = judged(lost(), PlacedUse(0x0108, 0, GIVEN), PlacedUse(0x0109, 0, replace(GIVEN, vm="db")))
    assert follows["reboot"].text.endswith(
        f"Stop or move the affected virtual machines first: db ({NINE}), web1 ({EIGHT}), as far as the input"
        " names them."
    )
    _, follows = judged(lost())
    assert follows["reboot"].text.endswith("Stop or move the affected virtual machines first.")
