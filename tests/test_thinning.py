"""Very long captures: what is left out, what never is, and that no verdict changes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import accesses, thinning
from analyzer.analysis import analyze_capture
from analyzer.readers import open_capture
from analyzer.writers.native import NativeWriter

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


def kept(*rows: tuple[int, int, int, int]) -> list[int]:
    return [number - 1 for number in thinning.thin(table(*rows)).get_column("seq").to_list()]


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
            kexec.devices,
            [(bridge.bdf, bridge.verdict, bridge.cause, bridge.confidence) for bridge in kexec.bridges],
            [asdict(item) for item in kexec.divergences],
            kexec.blackout_ns,
        ]

    assert said(found) == said(expected)
    assert found.kexecs[0].at_access == expected.kexecs[0].at_access + added
