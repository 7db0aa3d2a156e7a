"""Captures analysed together: the same results as one by one, on the corpus and a sample of every format."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from analyzer import analysis
from analyzer.analysis import analyze_batch, analyze_capture, open_pieces
from analyzer.errors import AritraceError
from analyzer.observed.batches import Batch
from analyzer.options import Options

TRACES = Path(__file__).parent.parent / "traces"


@pytest.fixture(scope="module")
def captures():
    """Every capture of the corpus and every format's sample that is a capture by itself."""
    found = []
    for path in sorted([*TRACES.glob("*.bin"), *(TRACES / "formats").iterdir()]):
        try:
            found.append(open_pieces([str(path)], Options()))
        except AritraceError:
            continue
    assert len(found) > 60
    return found


@pytest.fixture(scope="module")
def alone(captures):
    return {capture.path: asdict(analyze_capture(capture)) for capture in captures}


@pytest.mark.parametrize("rows", [1, 30_000, 10_000_000])
def test_together_as_alone(captures, alone, rows, monkeypatch):
    monkeypatch.setattr("analyzer.verdicts.captures.INDEXED_ROWS", rows)
    monkeypatch.setattr(analysis, "REPLAYED_ROWS", 3 * rows)
    reversed_too = captures[::-1]
    assert [asdict(result) for result in analyze_batch(reversed_too)] == [
        alone[capture.path] for capture in reversed_too
    ]


def test_many_domains_are_searched_not_tabled(captures, monkeypatch):
    tables = [capture.accesses for capture in captures[:8]]
    tabled = Batch(tables).groups
    monkeypatch.setattr("analyzer.observed.batches._TABLE", 0)
    searched = Batch(tables).groups
    assert all((a == b).all() for a, b in zip(tabled, searched, strict=True))
