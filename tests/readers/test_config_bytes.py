"""Bytes of a snapshot to reads: whole dwords, single bytes, nothing else."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture import Notes, accesses
from analyzer.errors import LimitExceededError
from analyzer.readers.snapshot import config_bytes
from analyzer.readers.snapshot.config_bytes import ConfigBytes, Reads

PIECES = st.lists(
    st.tuples(st.integers(0, 80), st.binary(min_size=1, max_size=20), st.integers(0, 1 << 40)), max_size=6
)


@given(PIECES, st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), max_size=2))
def test_reads_hold_every_known_byte_and_no_other(pieces, forgotten):
    function, known = ConfigBytes(0), {}
    for offset, data, where in pieces:
        function.put(offset, data, where)
        known |= {offset + n: (byte, where) for n, byte in enumerate(data)}
    for start, end in forgotten:
        function.forget(start, end)
        known = {offset: value for offset, value in known.items() if not start <= offset < end}
    found = {}
    last = -1
    for offset, width, value, where in zip(*function.reads(), strict=True):
        assert offset > last
        assert width in (1, 4)
        assert known[offset][1] == where
        found |= {offset + n: value >> 8 * n & 0xFF for n in range(width)}
        last = offset
    assert found == {offset: value for offset, (value, _) in known.items()}


def test_a_dword_that_is_known_in_part_is_read_byte_by_byte():
    function = ConfigBytes(0)
    function.put(0, bytes.fromhex("8680c929 0701"), 100)
    function.put(0x11, b"\x12", 200)
    assert [column.tolist() for column in function.reads()] == [
        [0, 4, 5, 0x11],
        [4, 1, 1, 1],
        [0x29C98086, 0x07, 0x01, 0x12],
        [100, 100, 100, 200],
    ]


def test_frames_are_of_moderate_size(monkeypatch):
    monkeypatch.setattr(config_bytes, "_FRAME_ROWS", 100)
    reads = Reads(Notes("x"))
    frames = []
    for number in range(40):
        function = ConfigBytes(0x10002 << 16 | number)
        function.put(0, bytes(64), number * 64, step=1)
        frames.extend(reads.add(function))
    frames.extend(reads.finish({}))
    assert [frame.height for frame in frames] == [112] * 5 + [80]
    table = pl.concat(frames)
    assert table.schema == accesses.READER_SCHEMA
    assert table["devfn"].to_list() == [number for number in range(40) for _ in range(16)]
    assert table.select(pl.col("domain", "width").unique()).row(0) == (0x10002, 4)
    assert table["where"].to_list() == list(range(0, 40 * 64, 4))
    assert reads.accesses == 640


@pytest.mark.parametrize(
    ("size", "said"),
    [(64, ["short"]), (65, ["short"]), (256, ["short"]), (260, []), (0, ["lacks-functions"])],
)
def test_what_a_snapshot_lacks_is_said(size, said):
    notes = Notes("x")
    reads = Reads(notes)
    function = ConfigBytes(0)
    function.put(0, bytes(size), 0)
    list(reads.add(function))
    list(reads.finish({64: "nothing", 256: "little"}))
    assert [problem.kind for problem in notes.problems] == said


def test_problems_are_counted_beyond_a_hundred():
    notes = Notes("x")
    reads = Reads(notes)
    for number in range(150):
        reads.problem("truncated", "short", number)
    list(reads.finish({}))
    assert notes.truncated
    assert len(notes.problems) == 101
    assert notes.problems[-1].message == "50 more problems, not listed"


def test_more_functions_than_a_host_has(monkeypatch):
    monkeypatch.setattr(config_bytes, "MAX_FUNCTIONS", 3)
    reads = Reads(Notes("x"))
    functions = [ConfigBytes(number) for number in range(4)]
    for function in functions:
        function.put(0, b"\0", 0)
        if function is not functions[-1]:
            list(reads.add(function))
    with pytest.raises(LimitExceededError, match="at most 3 functions"):
        list(reads.add(functions[-1]))
