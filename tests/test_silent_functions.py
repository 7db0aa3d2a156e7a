"""Functions that a snapshot lists and that read all ones, and functions whose bridge is not in the input."""

from __future__ import annotations

import pytest
from small_dumps import EIGHTH, FIRST, OFF, ONES, PORT, SILENT, dump

from analyzer import analysis, bdf
from analyzer.capture import Capture, Notes
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk
from analyzer.questions.explain.function import explain
from analyzer.readers import open_capture
from analyzer.testing import table


def topology(tmp_path, text):
    path = tmp_path / "dump.txt"
    path.write_text(text)
    (only,) = analysis.study(open_capture(str(path))).topologies
    return only


def names(keys):
    return {bdf.text(key)[5:] for key in keys}


@pytest.mark.parametrize(
    ("changed", "silent"),
    [
        ({}, set()),
        (SILENT, {EIGHTH}),
        ({**SILENT, (EIGHTH, 0x00): None}, {EIGHTH}),  # its first row is missing
        ({**SILENT, (EIGHTH, 0x40): "ff ff ff ff ff ff"}, {EIGHTH}),  # a row is cut
        ({**SILENT, (EIGHTH, 0x40): "ff ff ff ff 00" + " ff" * 11}, set()),  # one byte answers
        ({(EIGHTH, 0x40): ONES}, set()),
        ({(PORT, -1): ONES, **SILENT}, {PORT, EIGHTH}),
    ],
)
def test_every_byte_reads_ones(tmp_path, changed, silent):
    found = topology(tmp_path, dump(rows=changed))
    assert names(found.silent) == silent
    assert names(found.functions) == names(found.enumerated) == {PORT, FIRST, EIGHTH}
    assert {bdf.text(key)[5:] for key, function in found.functions.items() if function.silent} == silent


def test_a_silent_function_says_nothing_of_itself(tmp_path):
    function = topology(tmp_path, dump(rows=SILENT)).functions[bdf.parse(EIGHTH)]
    facts = (function.vendor_device, function.header_type, function.is_pcie, function.has_ari)
    assert facts == (None, None, None, None)


def test_a_virtual_function_is_not_silent(tmp_path):
    """It answers everywhere but at its vendor and device (PCIe 9.3.4.1.1)."""
    rows = {(EIGHTH, 0x00): "ff ff ff ff 00 00 10 00 01 00 00 02 00 00 00 00"}
    found = topology(tmp_path, dump(rows=rows))
    assert (names(found.silent), names(found.functions)) == (set(), {PORT, FIRST})


def test_a_function_without_its_first_row_is_there(tmp_path):
    found = topology(tmp_path, dump(rows={(EIGHTH, 0x00): None}))
    assert names(found.functions) == {PORT, FIRST, EIGHTH}
    assert found.functions[bdf.parse(EIGHTH)].vendor_device is None


def test_probes_in_vain_are_no_functions():
    """A sweep over empty slots reads a register or two of each."""
    rows = [f"r 00:{slot:02x}.0 {at}.l gone" for slot in range(1, 32) for at in ("0", "8", "c")]
    accesses = table("\n".join(["r 00:00.0 0.l 00101b36", *rows]))
    (found,) = analysis.study(Capture("x", [], "test", accesses, Notes("x"))).topologies
    assert (names(found.functions), found.silent) == ({"00:00.0"}, frozenset())


@pytest.mark.parametrize(
    ("before", "after", "verdict", "reason"),
    [
        (SILENT, SILENT, "undetermined", "not-captured"),
        ({}, SILENT, "stranded", "no-response"),
        ({}, {**OFF, **SILENT}, "stranded", "ari-off"),  # off by now, and found when it was on
        ({**OFF, **SILENT}, SILENT, "undetermined", "not-captured"),
    ],
)
def test_joined_snapshots_do_not_diverge(tmp_path, before, after, verdict, reason):
    kexec = joined(tmp_path, dump(rows=before), dump(rows=after))
    assert kexec.divergences == []
    assert names(map(bdf.parse, kexec.observed.discovered)) == {PORT, FIRST, EIGHTH}
    (device,) = (device for device in kexec.devices if device.bdf.endswith(EIGHTH))
    assert (device.verdict, device.reason) == (verdict, reason)


def joined(tmp_path, *texts):
    paths = []
    for number, text in enumerate(texts):
        paths.append(str(tmp_path / f"{number}.txt"))
        (tmp_path / f"{number}.txt").write_text(text)
    (capture,) = analysis.analyze(paths, Options(join=True)).captures
    return capture.kexecs[0]


def test_function_0_fell_silent_beside_others_that_answer(tmp_path):
    """The walk of its bus began at it when it still answered."""
    kexec = joined(tmp_path, dump(), dump(rows={(FIRST, -1): ONES}))
    (difference,) = kexec.divergences
    assert difference.bdf.endswith(EIGHTH)
    assert difference.explained
    assert "0000:01:00.0 reads all ones now" in difference.note
    verdicts = {device.bdf[5:]: device.verdict for device in kexec.devices}
    assert verdicts == {PORT: "reachable", FIRST: "stranded", EIGHTH: "reachable"}


def test_a_bridge_fell_silent_with_all_below_it(tmp_path):
    silent = {(function, -1): ONES for function in (PORT, FIRST, EIGHTH)}
    kexec = joined(tmp_path, dump(), dump(rows=silent))
    assert kexec.divergences == []
    assert {device.bdf[5:]: device.reason for device in kexec.devices} == {
        PORT: "no-response",
        FIRST: "bridge-gone",
        EIGHTH: "bridge-gone",
    }
    assert [bridge.verdict for bridge in kexec.bridges] == ["gone"]


def test_explain_and_atrisk_know_a_silent_function(tmp_path):
    path = tmp_path / "dump.txt"
    path.write_text(dump(rows=SILENT))
    entry = explain(str(path), EIGHTH).timeline[-1]
    assert (entry.bdf, entry.kind) == (f"0000:{EIGHTH}", "shows")
    assert entry.note == "listed, but every byte reads ff: powered down, or off the bus"
    assert atrisk(str(path)).functions == 3


@pytest.mark.parametrize(
    ("functions", "orphans"),
    [
        ((), {}),
        ((PORT,), {}),
        ((EIGHTH,), {"01": {EIGHTH}}),
        ((FIRST, EIGHTH), {"01": {FIRST, EIGHTH}}),
    ],
)
def test_functions_whose_bridge_is_not_in_the_input(tmp_path, functions, orphans):
    found = topology(tmp_path, dump(*functions)).orphans
    assert {f"{bus & 0xFF:02x}": names(keys) for bus, keys in found.items()} == orphans


def test_a_silent_bridge_leaves_orphans(tmp_path):
    found = topology(tmp_path, dump(rows={(PORT, -1): ONES})).orphans
    assert {bus: names(keys) for bus, keys in found.items()} == {1: {FIRST, EIGHTH}}


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("r 80:00.0 0.l 00101b36", False),
        ("r 80:00.0 0.l 00101b36; r 80:00.0 a.w 0600", True),  # a host bridge
        ("r 80:00.0 0.l 00101b36; r 80:00.0 a.w 0604", False),
        ("r 80:00.0 0.l 00101b36; r 80:00.0 34.b 40; r 80:00.0 40.l 00420010", True),  # a root port
        (
            "r 80:00.0 0.l 00101b36; r 80:00.0 34.b 40; r 80:00.0 40.l 00920010",
            True,
        ),  # an integrated endpoint
        ("r 80:00.0 0.l 00101b36; r 80:00.0 34.b 40; r 80:00.0 40.l 00620010", False),  # a downstream port
    ],
)
def test_what_shows_that_a_bus_is_a_root_bus(text, root):
    accesses = table(text.replace("; ", "\n"))
    (found,) = analysis.study(Capture("x", [], "test", accesses, Notes("x"))).topologies
    assert found.is_root(0x80) is root
    assert found.is_root(0x00)


def test_a_scan_of_all_slots_shows_a_root_bus():
    """Beside bus 0 a second host bridge, as pxb-pcie of QEMU gives one."""
    scan = [
        f"r {bus}:{slot:02x}.0 0.l {'00101b36' if slot == 0 else 'gone'}"
        + (f"\nr {bus}:00.0 e.b 00" if slot == 0 else "")
        for bus in ("00", "80")
        for slot in range(32)
    ]
    for lines, root in ((scan, True), (scan[:-1], False)):
        accesses = table("\n".join(lines))
        (found,) = analysis.study(Capture("x", [], "test", accesses, Notes("x"))).topologies
        assert (found.is_root(0x80), bool(found.orphans)) == (root, not root)
