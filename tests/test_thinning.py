"""Very long captures: what is left out, what never is, and that no verdict changes."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.analysis import analyze, analyze_capture
from analyzer.capture import Boundary, Notes, accesses, thinning
from analyzer.converting.native import NativeWriter
from analyzer.errors import UnreadableInputError
from analyzer.options import Options
from analyzer.readers import open_capture
from schemas.native import CHUNK_MAGIC

TRACES = Path(__file__).parent.parent / "traces"
READ, WRITE = 0, 1


def table(*rows: tuple[int, int, int, int], first: int = 1) -> pl.DataFrame:
    """Rows of (devfn, offset, op, value); ``first`` is the number of the first access."""
    devfn, offset, op, value = (np.array(column) for column in zip(*rows, strict=True))
    columns = {
        "bus": np.zeros(len(rows), np.uint8),
        "devfn": devfn.astype(np.uint8),
        "offset": offset.astype(np.uint16),
        "op": op.astype(np.uint8),
        "value": value.astype(np.uint32),
        "width": np.full(len(rows), 2, np.uint8),
        "where": np.arange(len(rows), dtype=np.uint64),
    }
    return accesses.from_columns(columns, len(rows)).with_columns(
        seq=pl.int_range(first, first + len(rows), dtype=pl.UInt64)
    )


def kept(*rows: tuple[int, int, int, int], marks: tuple[int, ...] = ()) -> list[int]:
    """Rows that stay; ``marks`` are rows that are the first behind a boundary."""
    left = thinning.thin(table(*rows), np.array(marks, np.int64) + 1)
    return [number - 1 for number in left.get_column("seq").to_list()]


POLL = (8, 0x52, READ, 0x1011)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([POLL] * 20, [0, 19], id="a poll: first and last"),
        pytest.param([POLL] * 15, list(range(15)), id="a short run stays"),
        pytest.param([POLL] * 20 + [(8, 0x52, READ, 0)] + [POLL] * 20, [0, 19, 20, 21, 40], id="a change"),
        pytest.param([POLL] * 20 + [(8, 0x28, WRITE, 0)] + [POLL] * 20, [0, 19, 20, 21, 40], id="a write"),
        pytest.param([POLL] * 20 + [(9, 0x28, WRITE, 0)] + [POLL] * 20, [0, 20, 40], id="another's write"),
        pytest.param(
            [POLL, (8, 0x104, READ, 7)] * 20, [0, 1, 38, 39], id="two registers of a function in turn"
        ),
        pytest.param([(8, 0x28, WRITE, 1)] * 20, list(range(20)), id="writes stay"),
        pytest.param([(8, 0, READ, 7)] * 20, [0, 19], id="the header: reads that follow each other"),
        pytest.param(
            [(8, 0, READ, 7), (8, 0x0E, READ, 1)] * 20, list(range(40)), id="the header: a scan stays"
        ),
        pytest.param([(8, 0, READ, 7), POLL] * 20, [*range(0, 40, 2), 1, 39], id="the header beside a poll"),
    ],
)
def test_what_stays(rows: list[tuple[int, int, int, int]], expected: list[int]) -> None:
    assert kept(*rows) == sorted(expected)


OTHER = (9, 0x52, READ, 0x1011)


@pytest.mark.parametrize(
    ("rows", "marks", "expected"),
    [
        pytest.param([POLL] * 40, [20], [0, 19, 20, 39], id="the last before it, the first behind it"),
        pytest.param([POLL] * 40, [20, 21], [0, 19, 20, 21, 39], id="a boot of one access"),
        pytest.param([POLL] * 40, range(1, 40), range(40), id="a boundary before each"),
        pytest.param([POLL] * 40, [0], [0, 39], id="in front of everything"),
        pytest.param([POLL] * 30, [15], [*range(15), *range(15, 30)], id="two short runs stay"),
        pytest.param([POLL, OTHER] * 40, [41], [0, 1, 39, 40, 41, 42, 78, 79], id="two functions in turn"),
        pytest.param(
            [POLL] * 20 + [OTHER] * 20 + [POLL] * 20,
            [25, 50],
            [0, 19, *range(20, 25), *range(25, 41), *range(40, 60)],
            id="a register that the boot in between read once more",
        ),
    ],
)
def test_every_boot_stays(
    rows: list[tuple[int, int, int, int]], marks: list[int], expected: list[int]
) -> None:
    assert kept(*rows, marks=tuple(marks)) == sorted(set(expected))


def test_no_silence_appears() -> None:
    numbers = thinning.thin(table(*[POLL] * 2000, first=0)).get_column("seq").to_list()
    assert max(np.diff(numbers)) <= thinning.SAMPLE


@given(
    st.lists(
        st.tuples(
            st.sampled_from([8, 9]), st.sampled_from([0, 0x0E, 0x52]), st.sampled_from([0, 0, 0, 1]),
            st.sampled_from([1, 2]),
        ),
        min_size=1,
        max_size=300,
    ),
    st.integers(1, 20),
)  # fmt: skip
def test_the_history_of_every_register_stays(rows: list[tuple[int, int, int, int]], often: int) -> None:
    """Without the reads that repeat what the same register last showed, nothing is missing."""
    whole = table(*[row for row in rows for _ in range(often)])
    left = thinning.thin(whole)

    def history(frame: pl.DataFrame) -> dict[tuple[int, int], list[tuple[str, int]]]:
        told: dict[tuple[int, int], list[tuple[str, int]]] = {}
        for devfn, offset, op, value in frame.select("devfn", "offset", "op", "value").iter_rows():
            register = told.setdefault((devfn, offset), [])
            if op == "write" or not register or register[-1] != (op, value):
                register.append((op, value))
        return told

    assert history(left) == history(whole)
    assert left.filter(pl.col("op") == "write").equals(whole.filter(pl.col("op") == "write"))


@pytest.mark.parametrize("name", ["lost-explicit-write", "hidden-after-secondary-bus-reset", "clean-inherit"])
def test_no_verdict_changes(name: str, tmp_path: Path) -> None:
    """A driver polls every bridge's link status for a long time before the kexec."""
    short = open_capture(str(TRACES / f"{name}.bin"))
    expected = analyze_capture(short)
    at = expected.kexecs[0].at_access - 2000
    bridges = [bridge.bdf for bridge in expected.kexecs[0].bridges]
    source = short.accesses.filter((pl.col("offset") == 0) & (pl.col("op") == "read") & ~pl.col("absent"))
    poll = pl.concat([source.head(1)] * len(bridges) * 2).with_columns(
        bus=pl.Series([int(bdf[5:7], 16) for bdf in bridges] * 2, dtype=pl.UInt8),
        devfn=pl.Series([int(bdf[8:10], 16) << 3 | int(bdf[11]) for bdf in bridges] * 2, dtype=pl.UInt8),
        offset=pl.lit(0x66, pl.UInt16),
        value=pl.lit(0x2011, pl.UInt32),
        time_ns=pl.lit(short.accesses["time_ns"][at]),
    )
    path = tmp_path / "long.bin"
    times = thinning.LONG // poll.height + 1
    with path.open("wb") as file, NativeWriter(file) as writer:
        writer.accesses(short.accesses.slice(0, at))
        block = pl.concat([poll] * 100)
        for _ in range(-(-times // 100)):
            writer.accesses(block)
        writer.accesses(short.accesses.slice(at))
        writer.preserved(*short.notes.preserved)
        writer.log(*short.notes.log)
    long = open_capture(str(path))
    added = long.recorded - short.recorded
    assert added >= thinning.LONG
    assert long.accesses.height < short.recorded + added // 50
    found = analyze_capture(long)
    assert found.accesses == long.recorded

    def said(result: object) -> list[object]:
        kexec = result.kexecs[0]  # type: ignore[attr-defined]
        return [
            kexec.observed,
            kexec.policies,
            [replace(device, bus_master_access=None) for device in kexec.devices],  # a number of its own
            [(bridge.bdf, bridge.verdict, bridge.cause, bridge.confidence) for bridge in kexec.bridges],
            [asdict(item) for item in kexec.divergences],
            kexec.blackout_ns,
        ]

    assert said(found) == said(expected)
    assert found.kexecs[0].at_access == expected.kexecs[0].at_access + added


def polled(path: Path, marks: list[int], *, reads: int, place: str) -> list[Boundary]:
    """Write equal reads with boundaries in front of each of ``marks``; return the boundaries.

    Args:
        path: a native file.
        marks: numbers of accesses, ascending.
        reads: how many.
        place: of the boundary records: ``front``, ``among`` (each where it belongs) or ``behind``.
    """
    whole = table(*[POLL] * reads, first=0)
    boundaries = [Boundary(mark, "kexec") for mark in marks]
    with path.open("wb") as file, NativeWriter(file) as writer:
        if place == "front":
            writer.boundary(*boundaries)
        for boundary in boundaries if place == "among" else []:
            writer.accesses(whole.slice(writer.accesses_written, boundary.seq - writer.accesses_written))
            writer.boundary(boundary)
        writer.accesses(whole.slice(writer.accesses_written))
        if place == "behind":
            writer.boundary(*boundaries)
    return boundaries


#: Boots of three equal reads each, within a frame and at its edges, and far behind.
SHORT_BOOTS = [5, *range(1000, 1030, 3), 1 << 16, (1 << 16) + 3, 270_001, 270_004, 330_000]


@pytest.mark.parametrize("place", ["front", "among", "behind"])
def test_no_boot_is_lost_in_a_long_poll(place: str, tmp_path: Path) -> None:
    path = tmp_path / "polled.bin"
    boundaries = polled(path, SHORT_BOOTS, reads=400_000, place=place)
    capture = open_capture(str(path))
    assert capture.thinned > 390_000
    assert capture.notes.boundaries == boundaries
    assert set(SHORT_BOOTS) | {mark - 1 for mark in SHORT_BOOTS} <= set(capture.accesses["seq"].to_list())
    (result,) = analyze([str(path)]).captures
    assert [kexec.at_access for kexec in result.kexecs] == SHORT_BOOTS
    assert [boot.last_access + 1 for boot in result.boots] == [*SHORT_BOOTS, 400_000]


def test_a_boundary_where_accesses_are_lost(tmp_path: Path) -> None:
    """Rows move up where a chunk is damaged: it is known only behind the boundary records in front."""
    path = tmp_path / "polled.bin"
    polled(path, SHORT_BOOTS, reads=400_000, place="front")
    data = bytearray(path.read_bytes())
    second = data.index(CHUNK_MAGIC, data.index(CHUNK_MAGIC, data.index(CHUNK_MAGIC) + 4) + 4)
    data[second + 48] ^= 1  # of 8192 accesses, from 8192
    path.write_bytes(data)
    capture = open_capture(str(path))
    assert capture.notes.dropped == 8192
    marks = [mark.seq for mark in capture.notes.boundaries]
    assert marks == [mark if mark < 8192 else mark - 8192 for mark in SHORT_BOOTS]
    assert set(marks) <= set(capture.accesses["seq"].to_list())


@pytest.mark.parametrize("place", ["front", "behind"])
def test_boundaries_of_a_capture_from_a_pipe(place: str, tmp_path: Path) -> None:
    """It cannot be read twice: boundaries that come too late are not passed over in silence."""
    path, pipe = tmp_path / "polled.bin", tmp_path / "pipe"
    polled(path, SHORT_BOOTS, reads=400_000, place=place)
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    try:
        if place == "front":
            assert set(SHORT_BOOTS) <= set(open_capture(str(pipe)).accesses["seq"].to_list())
        else:
            with pytest.raises(UnreadableInputError, match=r"found 16 after them \(the first at access 5\)"):
                open_capture(str(pipe))
    finally:
        writer.join()


@pytest.mark.parametrize(
    ("kexec_at", "first", "expected"),
    [
        (("access:1234",), 0, 1234),
        (("access:1234",), 1000, 234),
        (("time:5000",), 0, 1000),
        (("access:0", "access:999999999999", "access:x", f"time:{1 << 70}", "nothing"), 0, None),
        (("access:²", "time:9999999999999999999", "access:9999999999999999999"), 0, None),
    ],
)
def test_boundaries_by_hand(kexec_at: tuple[str, ...], first: int, expected: int | None) -> None:
    frame = table(*[POLL] * 2000, first=0).with_columns(time_ns=pl.col("seq").cast(pl.Int64) * 5)
    marks = thinning.Marks(Notes("a.bin"), kexec_at, first).within(frame)
    assert [mark for mark in marks.tolist() if mark] == ([] if expected is None else [expected])


def test_a_time_of_today_by_hand() -> None:
    """Nanoseconds since 1970 have 19 digits."""
    now = 1_795_328_049_973_985_000
    frame = table(*[POLL] * 2000, first=0).with_columns(time_ns=pl.col("seq").cast(pl.Int64) * 5 + now)
    assert thinning.Marks(Notes("a.bin"), (f"time:{now + 5000}",)).within(frame).tolist() == [1000]


def test_a_boundary_by_hand_stays(tmp_path: Path) -> None:
    path = tmp_path / "polled.bin"
    polled(path, [], reads=400_000, place="front")
    capture = open_capture(str(path), Options(kexec_at=("access:100001", "access:100002")))
    assert {100_000, 100_001, 100_002} <= set(capture.accesses["seq"].to_list())
