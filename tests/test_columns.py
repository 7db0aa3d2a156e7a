"""What a field of a result becomes: its dtype, its cell, and the same in every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl
import pytest
import result_samples as samples

from analyzer.fleet.rows import TABLES
from analyzer.results import BridgeVerdict, Evidence, Window, frames
from analyzer.results.columns import cells, columns, table


@dataclass
class Inner:
    word: Literal["a", "b"] | None
    numbers: list[int]


@dataclass
class Outer:
    number: int | None
    inner: Inner | None
    inners: list[Inner]
    by_word: dict[Literal["x", "y"], Inner]


class OneField(NamedTuple):
    truth: bool


INNER = pl.Struct({"word": pl.String(), "numbers": pl.List(pl.Int64())})


@pytest.mark.parametrize(
    ("kind", "without", "expected"),
    [
        (Inner, (), {"word": pl.String(), "numbers": pl.List(pl.Int64())}),
        (
            Outer,
            (),
            {
                "number": pl.Int64(),
                "inner": INNER,
                "inners": pl.List(INNER),
                "by_word": pl.Struct({"x": INNER, "y": INNER}),
            },
        ),
        (Outer, ("inners", "by_word"), {"number": pl.Int64(), "inner": INNER}),
        (OneField, (), {"truth": pl.Boolean()}),
        (Window, (), {"last_on": pl.Int64(), "first_off": pl.Int64(), "phase": pl.String()}),
    ],
)
def test_dtypes(kind, without, expected):
    assert columns(kind, without) == expected


def test_cells():
    inner = Inner("a", [1, 2])
    plain = {"word": "a", "numbers": [1, 2]}
    assert list(cells(Outer)(Outer(None, inner, [inner], {"x": inner}))) == [
        None, plain, [plain], {"x": plain}
    ]  # fmt: skip
    assert list(cells(Outer, ("inners", "by_word"))(Outer(3, None, [], {}))) == [3, None]
    assert list(cells(OneField)(OneField(True))) == [True]


def test_a_byte_that_is_not_utf8_stays_visible_in_objects_too():
    inner = Inner("\udcff", [])  # type: ignore[arg-type]  # as a file's name may be
    found = table([cells(Outer)(Outer(1, inner, [inner], {}))], columns(Outer))
    assert found["inner"].to_list() == [{"word": "\\xff", "numbers": []}]
    assert found["inners"].to_list() == [[{"word": "\\xff", "numbers": []}]]


@pytest.mark.parametrize("name", TABLES)
def test_frames_and_fleet_agree_on_every_dtype(name):
    frame = getattr(frames, name)(samples.analysis()).schema
    both = [column for column in TABLES[name] if column in frame]
    assert len(both) >= 6
    assert {column: frame[column] for column in both} == {column: TABLES[name][column] for column in both}


def test_verdicts_agree_with_the_tables_of_their_kind():
    for column, dtype in columns(BridgeVerdict).items():
        assert frames.VERDICT_COLUMNS.get(column, dtype) == dtype
    assert frames.VERDICT_COLUMNS["evidence"] == pl.List(pl.Struct(columns(Evidence)))
