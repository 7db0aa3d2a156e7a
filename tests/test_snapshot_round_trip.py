"""Capture, snapshot, and what is read from the snapshot: nothing becomes known or unknown on the way."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_dumps import EIGHTH, FIRST, ONES, PORT, SILENT, ZEROS, dump

from analyzer import analysis, bdf
from analyzer.observed import decisions
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk_of
from analyzer.questions.snapshot import take, take_capture
from analyzer.readers import open_capture
from analyzer.report.lspci_text import lspci_text
from analyzer.verdicts import handovers
from schemas import extended_capabilities

TRACES = Path(__file__).parents[1] / "traces"
CAPTURES = sorted(TRACES.glob("*.bin"))
DUMPS = [
    TRACES / "formats" / name
    for name in (
        "lspci-xxx.txt",
        "lspci-xxxx-vvv.txt.zst",
        "sysfs-config.tar.zst",
        "earlydump-console.txt.zst",
    )
]
FACTS = (
    "vendor_device",
    "header_type",
    "capabilities",
    "is_pcie",
    "pcie_flags",
    "ari_supported",
    "has_ari",
    "next_function",
    "bus_numbers",
)


@functools.cache
def study(path):
    return analysis.study(open_capture(str(path)))


@functools.cache
def snapshot(path, boot):
    """The snapshot of one boot, which no test changes."""
    return take_capture(open_capture(str(path)), boot)


def reread(path, boot, folder):
    """The snapshot of one boot, and the capture that its text is."""
    taken = snapshot(path, boot)
    file = folder / f"{boot}.txt"
    file.write_text("".join(lspci_text(taken)))
    return taken, open_capture(str(file))


def boots(path, *, kernels=True):
    return [
        topology
        for topology in study(path).topologies
        if topology.functions and not (kernels and topology.boot.kind == "firmware")
    ]


def same_bytes(ours, theirs):
    assert [bdf.text(each.function) for each in ours] == [bdf.text(each.function) for each in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert np.array_equal(one.known, two.known)
        assert np.array_equal(one.data, two.data)


@pytest.mark.parametrize("path", CAPTURES + DUMPS, ids=lambda path: path.name)
def test_the_text_reads_back_as_what_is_known(path, tmp_path):
    for topology in boots(path, kernels=False):
        taken, again = reread(path, topology.boot.index, tmp_path)
        same_bytes(taken.functions, take_capture(again).functions)
        assert (again.notes.dropped, again.notes.truncated) == (0, False)
        # What a snapshot of 64 or 256 bytes cannot show is said; no row counts as missing.
        assert {problem.kind for problem in again.notes.problems} <= {"short"}
        assert not any("row" in problem.message for problem in again.notes.problems)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_the_functions_are_those_that_the_boot_found(path):
    """What it never enumerated is not in it (stranded functions, which firmware or a sweep may read)."""
    for topology in boots(path):
        taken = snapshot(path, topology.boot.index)
        virtual = {space.function for space in taken.functions} - topology.functions.keys()
        assert topology.functions.keys() <= {space.function for space in taken.functions}
        enabled = path.stem == "inherit-virtual-functions" and topology.boot.index == 1
        assert virtual == ({bdf.parse(f"04:00.{number}") for number in range(1, 5)} if enabled else set())


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_function_says_the_same_of_itself(path, tmp_path):
    for topology in boots(path):
        _, again = reread(path, topology.boot.index, tmp_path)
        (only,) = analysis.study(again).topologies
        assert only.functions.keys() == topology.functions.keys()
        for key, function in topology.functions.items():
            for fact in FACTS:
                assert getattr(only.functions[key], fact) == getattr(function, fact), (bdf.text(key), fact)
        assert only.orphans == topology.orphans == {}


def outgoing_states(capture):
    """What the last kernel used on each bridge."""
    found = analysis.study(capture)
    last = found.topologies[-1]
    return handovers.outgoing_states(last, decisions.of_boot(last))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_at_risk_is_the_same(path, tmp_path):
    """Of ports whose bit in hardware is the one that the kernel uses: a dump shows hardware alone."""
    compared = 0
    for topology in boots(path):
        capture = open_capture(str(path))
        first, last = (int(study(path).index.seq[row]) for row in (topology.boot.first, topology.boot.end))
        capture.notes.boundaries = []
        its = pl.col("seq").is_between(first, last)  # what an earlier kernel read is not in a dump
        capture = replace(capture, accesses=capture.accesses.filter(its))
        _, again = reread(path, topology.boot.index, tmp_path)
        ours, theirs = outgoing_states(capture), outgoing_states(again)
        agreed = {bdf.text(key) for key, one in ours.items() if one.enabled is theirs[key].enabled}
        one, two = atrisk_of(capture), atrisk_of(again)
        assert one.functions == two.functions
        ports, again = (
            {port.bdf: (port.secondary, port.lost_with_bit) for port in risk.ports if port.bdf in agreed}
            for risk in (one, two)
        )
        assert ports == again
        compared += len(ports)
    assert compared > 0


#: Joined snapshots that differ from what is predicted, though the capture does not: what a dump cannot say.
NOT_IN_A_DUMP = {
    # The kernel ran with pci=noari, and so found functions that are not in the chain.
    "multi-function-noari": {"0000:01:00.2"},
}


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_joined_snapshots_do_not_diverge(path, tmp_path):
    for kexec_analysis in study(path).kexec_analyses:
        pair = kexec_analysis.result.outgoing_boot, kexec_analysis.result.incoming_boot
        for boot in pair:
            reread(path, boot, tmp_path)
        pieces = [str(tmp_path / f"{boot}.txt") for boot in pair]
        (capture,) = analysis.analyze(pieces, Options(join=True)).captures
        (kexec,) = capture.kexecs
        found = {item.bdf for item in kexec.divergences if not item.explained}
        own = {item.bdf for item in kexec_analysis.result.divergences}
        assert found - own == NOT_IN_A_DUMP.get(path.stem, set())


def test_all_ones_stay_what_they_are(tmp_path):
    """Dwords that a function holds, a function that is silent, and a virtual one, which has no vendor."""
    text = dump(
        rows={
            **SILENT,
            (PORT, 0x80): ONES,
            (PORT, 0xF0): ONES,
            (FIRST, 0x50): f"{ONES[:23]} {ZEROS[:23]}",
            (FIRST, 0x00): "ff ff ff ff 07 04 10 00 01 00 00 02 00 00 80 00",
        }
    )
    (tmp_path / "given").write_text(text)
    spaces = {bdf.text(space.function)[5:]: space for space in take(str(tmp_path / "given")).functions}
    assert list(spaces) == [PORT, FIRST, EIGHTH]
    for function, space in spaces.items():
        assert space.known[:256].all()
        rows = text.split(f"{function} ")[1].split("\n\n")[0].splitlines()[1:]
        assert space.data[:256].tobytes() == bytes.fromhex("".join(row.split(":")[1] for row in rows))
    _, again = reread(tmp_path / "given", 0, tmp_path)
    same_bytes(list(spaces.values()), take_capture(again).functions)


@pytest.mark.parametrize(
    ("changed", "unknown"),
    [
        ({(FIRST, 0x100): "0e 00 01 00 00"}, [*range(0x105, 0x110)]),
        ({(FIRST, 0x60): None}, [*range(0x60, 0x70)]),
        ({(FIRST, 0x00): None}, [*range(16)]),
    ],
)
def test_what_a_damaged_dump_lacks_stays_unknown(tmp_path, changed, unknown):
    (tmp_path / "given").write_text(dump(size=4096, rows=changed))
    taken, again = reread(tmp_path / "given", 0, tmp_path)
    (space,) = (space for space in taken.functions if space.function == bdf.parse(FIRST))
    assert np.flatnonzero(~space.known).tolist() == unknown
    same_bytes(taken.functions, take_capture(again).functions)


def test_virtual_functions_end_with_vf_enable():
    """The kernel after the kexec does not enable them: they are in the snapshot of the one before only."""
    path = TRACES / "inherit-virtual-functions.bin"
    before, after = (take(str(path), boot) for boot in (1, 2))
    pf = bdf.parse("04:00.0")
    at = study(path).topologies[1].functions[pf].capabilities.extended[extended_capabilities.SRIOV_ID]
    enabled = [
        next(space for space in taken.functions if space.function == pf).value(at + 8, 2) & 1
        for taken in (before, after)
    ]
    assert enabled == [1, 0]
    assert len(before.functions) - len(study(path).topologies[1].functions) == 4


@pytest.mark.system
def test_lspci_shows_a_silent_function_as_one(tmp_path):
    (tmp_path / "given").write_text(dump(rows=SILENT))
    reread(tmp_path / "given", 0, tmp_path)
    shown = [
        subprocess.run(
            ["lspci", "-vvv", "-D", "-F", str(tmp_path / name)], check=True, capture_output=True, text=True
        ).stdout
        for name in ("given", "0.txt")
    ]
    assert "(rev ff)" in shown[0]
    assert shown[0] == shown[1]
