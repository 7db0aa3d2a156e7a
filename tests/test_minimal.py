"""--minimal: much less, and the same answer, which is compared here with none of the program's own means."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.analysis import analyze, analyze_capture
from analyzer.capture import Boundary, LogLine
from analyzer.converting import minimal
from analyzer.converting.conversion import convert
from analyzer.converting.minimal import minimise
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
CAPTURES = sorted(TRACES.glob("*.bin"))
PLACES = {
    "access", "at_access", "first_access", "last_access", "last_on", "first_off", "offset_bytes",
    "access_before", "access_after", "bus_master_access",
}  # fmt: skip
#: What describes the file, and how much of the machine is in it.
ORIGIN = {"path", "files", "file", "format", "accesses", "errors", "state_counts"}


def verdict(result):
    """A result without places in the file, as JSON text."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key not in PLACES | ORIGIN}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return json.dumps(strip(dataclasses.asdict(result)), sort_keys=True)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_the_corpus_becomes_much_smaller_and_says_the_same(path, tmp_path):
    target = tmp_path / "x.bin"
    done = convert(str(path), str(target), minimal=True)
    whole = open_capture(str(path)).accesses
    assert done.of == whole.height
    # Most of what is left out are probes of absent functions, which QEMU before 10.0 does not log.
    accesses, size = (5, 4) if whole["absent"].any() else (2.5, 1.6)
    assert done.accesses * accesses < done.of
    assert done.size * size < path.stat().st_size
    (before,), (after,) = (analyze([str(name)]).captures for name in (path, target))
    assert verdict(after) == verdict(before)
    assert after.accesses == done.accesses


def test_evidence_names_the_same_accesses_under_new_numbers(tmp_path):
    path = TRACES / "lost-explicit-write.bin"
    convert(str(path), str(tmp_path / "x.bin"), minimal=True)
    tables = [open_capture(str(name)).accesses for name in (path, tmp_path / "x.bin")]
    results = [analyze([str(name)]).captures[0] for name in (path, tmp_path / "x.bin")]
    columns = ["time_ns", "domain", "bus", "devfn", "offset", "op", "value"]
    named = []
    for table, result in zip(tables, results, strict=True):
        evidence = [item for bridge in result.kexecs[0].bridges for item in bridge.evidence]
        rows = [item.access for item in evidence if item.access is not None]
        named.append([table.filter(pl.col("seq") == row).select(columns).row(0) for row in rows])
    assert len(named[0]) > 5
    assert named[0] == named[1]


def test_what_lies_beside_the_accesses_is_kept_with_its_place():
    capture = open_capture(str(TRACES / "clean-inherit.bin"))
    incoming = analyze_capture(capture).kexecs[0].at_access
    capture.notes.boundaries.append(Boundary(incoming, "live-update", "7.3.4"))
    capture.notes.log.append(LogLine("placed", seq=incoming))
    smaller = minimise(capture).capture
    (mark,) = smaller.notes.boundaries
    assert smaller.accesses["seq"].to_list() == list(range(smaller.accesses.height))
    assert mark.seq == analyze_capture(smaller).kexecs[0].at_access == smaller.notes.log[-1].seq < incoming
    assert len(smaller.notes.log) == len(capture.notes.log)


def test_a_choice_that_changes_the_answer_is_widened(monkeypatch):
    capture = open_capture(str(TRACES / "lost-explicit-write.bin"))
    levels = [lambda study: study.index.offset == 0x1000, *minimal._LEVELS]
    monkeypatch.setattr(minimal, "_LEVELS", levels)
    assert minimise(capture).level == 1


def test_at_worst_everything_is_kept(monkeypatch):
    capture = open_capture(str(TRACES / "clean-inherit.bin"))
    monkeypatch.setattr(minimal, "_LEVELS", [lambda study: study.index.offset == 0x1000])
    result = minimise(capture)
    assert (result.kept, result.of) == (capture.accesses.height, capture.accesses.height)
    assert verdict(analyze_capture(result.capture)) == verdict(analyze_capture(capture))


def test_a_minimal_capture_stays_what_it_is():
    once = minimise(open_capture(str(TRACES / "healed-by-stock-kernel.bin")))
    twice = minimise(once.capture)
    assert twice.kept <= once.kept
    assert twice.kept > once.kept * 0.9


@pytest.mark.parametrize(
    "name", ["lspci-xxxx-vvv.txt.zst", "earlydump-console.txt.zst", "qemu-log-dialect-d.log"]
)
def test_captures_without_a_kexec(name):
    capture = open_capture(str(TRACES / "formats" / name))
    result = minimise(capture)
    assert result.kept <= result.of
    assert analyze_capture(result.capture).verdict == analyze_capture(capture).verdict


@settings(max_examples=8)
@given(
    path=st.sampled_from(CAPTURES),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    holes=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 500)), max_size=3),
)
def test_captures_with_holes_keep_their_answer_too(path, cut, holes):
    capture = open_capture(str(path))
    rows = capture.accesses.height
    low, high = sorted(int(part * rows) for part in cut)
    lost = pl.lit(value=False)
    for place, size in holes:
        lost |= pl.col("seq").is_between(int(place * rows), int(place * rows) + size)
    table = capture.accesses.filter(pl.col("seq").is_between(low, high) & ~lost)
    holed = dataclasses.replace(capture, accesses=table, path="-")
    if table.height:
        assert verdict(analyze_capture(minimise(holed).capture)) == verdict(analyze_capture(holed))
