"""Conversion to .bin and Parquet and back loses nothing: any table of a reader, and every sample."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analyzer.capture import (
    Boundary,
    Capture,
    Event,
    LogLine,
    Notes,
    PreservedDump,
    Problem,
    SourceFile,
    accesses,
)
from analyzer.converting import proof
from analyzer.converting.native import write_capture
from analyzer.converting.parquet import write_parquet
from analyzer.errors import AritraceError
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
SAMPLES = sorted(
    path
    for path in [*TRACES.glob("*.bin"), *(TRACES / "formats").iterdir()]
    if path.suffix != ".md" and not path.name.startswith("console")
)
#: What a native file does not store: places in the source, and what it was called there.
NOT_STORED = ("where", "file")

INTEGERS = {"domain": 32, "bus": 8, "devfn": 8, "value": 32}


def numbers(bits):
    # Small numbers and edges, so that functions, registers and boots come together at all.
    return st.one_of(st.integers(0, 3), st.integers(0, (1 << bits) - 1), st.just((1 << bits) - 1))


OFFSETS = st.one_of(
    st.sampled_from([0x00, 0x04, 0x06, 0x0A, 0x0E, 0x18, 0x1A, 0x1E, 0x34, 0x3E, 0x40, 0x68, 0x100, 0x104]),
    st.integers(0, 4095),
)
ROW = st.fixed_dictionaries(
    {name: numbers(bits) for name, bits in INTEGERS.items()}
    | {
        "time_ns": st.none() | st.integers(0, (1 << 63) - 1),
        "offset": OFFSETS,
        "width": st.sampled_from([0, 1, 2, 4]),
        "op": st.sampled_from(["read", "write"]),
        "status": st.sampled_from(["ok", "unsupported", "retry", "abort", "unknown"]),
        "absent": st.booleans(),
        "cpu": st.none() | numbers(16),
        "where": st.integers(0, (1 << 63) - 1),
    }
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@st.composite
def captures(draw):
    rows = draw(st.lists(ROW, min_size=1, max_size=60))
    table = pl.DataFrame(rows, schema=accesses.READER_SCHEMA)
    keys = [pl.lit(0, accesses.SCHEMA[name]).alias(name) for name in ("capture", "file")]
    table = table.select(*keys, pl.int_range(len(rows), dtype=pl.UInt64).alias("seq"), pl.all())
    place = st.integers(0, len(rows))
    time = st.none() | st.integers(0, (1 << 63) - 1)
    kinds = st.sampled_from(["boot", "kexec", "live-update", "plain", "crash"])
    release = st.none() | TEXT.filter(bool)
    function = st.tuples(numbers(32), numbers(8), numbers(8))
    marks = draw(st.lists(st.builds(Boundary, place, kinds, release), max_size=3))
    notes = Notes(
        "source",
        host=draw(release),
        tool=draw(release),
        truncated=draw(st.booleans()),
        dropped=draw(st.integers(0, 1 << 40)),
        problems=draw(st.lists(st.builds(Problem, TEXT, TEXT, place, TEXT), max_size=2)),
        boundaries=sorted(marks, key=lambda mark: mark.seq),
        log=draw(st.lists(st.builds(LogLine, TEXT, st.none() | place, time), max_size=3)),
        preserved=draw(
            st.lists(st.builds(PreservedDump, st.binary(max_size=9), TEXT, st.none() | place), max_size=2)
        ),
        events=draw(st.lists(st.builds(Event, TEXT, place, st.none() | function, TEXT, time), max_size=2)),
        clock=draw(st.sampled_from([None, "monotonic", "realtime", "boot", "tai", "local"])),
        created_ns=draw(time),
        releases=draw(st.lists(TEXT.filter(bool), max_size=2)),
        source_format="test",
    )
    return Capture("source", [SourceFile("source", "test", "00")], "test", table, notes)


def through_bin(capture, folder):
    write_capture(capture, folder / "x.bin")
    return open_capture(str(folder / "x.bin"))


def through_parquet(capture, folder):
    write_parquet(capture, folder / "x.parquet")
    about = json.loads(pl.read_parquet_metadata(folder / "x.parquet")["aritrace"])
    given = about["notes"]
    rebuilt = {
        "problems": [Problem(**item) for item in given["problems"]],
        "boundaries": [Boundary(**item) for item in given["boundaries"]],
        "log": [LogLine(**item) for item in given["log"]],
        "preserved": [
            PreservedDump(**{**item, "data": bytes.fromhex(item["data"])}) for item in given["preserved"]
        ],
        "events": [
            Event(**{**item, "bdf": tuple(item["bdf"]) if item["bdf"] else None}) for item in given["events"]
        ],
    }
    files = [SourceFile(**item) for item in about["files"]]
    table = pl.read_parquet(folder / "x.parquet")
    return Capture(about["path"], files, about["format"], table, Notes(**{**given, **rebuilt}))


WAYS = [through_bin, through_parquet]


def notes_of(capture):
    """The notes less the path, and less what was said of the text around the accesses."""
    notes = dataclasses.asdict(capture.notes)
    problems = [(item["kind"], item["offset_bytes"], item["message"]) for item in notes.pop("problems")]
    return {key: value for key, value in notes.items() if key not in ("path", "foreign_lines")} | {
        "problems": problems
    }


def answer_of(capture):
    try:
        return proof.answer(capture).results
    except AritraceError as error:  # a preserved set of random bytes
        return type(error), error.message


def assert_same(after, before):
    assert_frame_equal(
        after.accesses.drop(NOT_STORED, strict=False), before.accesses.drop(NOT_STORED, strict=False)
    )
    assert answer_of(after) == answer_of(before)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(capture=captures())
def test_any_table(way, capture, tmp_path):
    after = way(capture, tmp_path)
    assert_same(after, capture)
    assert notes_of(after) == notes_of(capture)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample(path, tmp_path):
    try:
        before = open_capture(str(path))
    except AritraceError as error:
        pytest.skip(f"no capture by itself: {error.message}")
    before.notes.source_format = before.notes.source_format or before.format
    for way in WAYS:
        after = way(before, tmp_path)
        assert_same(after, before)
        assert notes_of(after) == notes_of(before)
