"""What a field of a result becomes: its dtype, its cell, and the same in every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import polars as pl
import pytest
import result_samples as samples

from analyzer.fleet.rows import TABLES
from analyzer.results import BridgeVerdict, Evidence, Window, frames
from analyzer.results.columns import columns, table


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


class Truth(TypedDict):
    truth: bool


INNER = pl.Struct({"word": pl.String(), "numbers": pl.List(pl.Int64())})


@pytest.mark.parametrize(
    ("kinds", "without", "expected"),
    [
        ((Inner,), (), {"word": pl.String(), "numbers": pl.List(pl.Int64())}),
        (
            (Outer,),
            (),
            {
                "number": pl.Int64(),
                "inner": INNER,
                "inners": pl.List(INNER),
                "by_word": pl.Struct({"x": INNER, "y": INNER}),
            },
        ),
        ((Outer,), ("inners", "by_word"), {"number": pl.Int64(), "inner": INNER}),
        (
            (Truth, Window),
            (),
            {"truth": pl.Boolean(), "last_on": pl.Int64(), "first_off": pl.Int64(), "phase": pl.String()},
        ),
    ],
)
def test_dtypes(kinds, without, expected):
    assert columns(*kinds, without=without) == expected


def test_objects_become_cells():
    inner = Inner("a", [1, 2])
    plain = {"word": "a", "numbers": [1, 2]}
    rows = [{"number": None, "inner": inner, "inners": [inner], "by_word": {"x": inner, "y": inner}}, {}]
    found = table([*rows, {"number": 3, "inners": [], "other": "no column"}], columns(Outer))
    assert found.rows() == [
        (None, plain, [plain], {"x": plain, "y": plain}),
        (None, None, None, None),
        (3, None, [], None),
    ]


def test_objects_in_objects_become_cells():
    outer = Outer(1, None, [Inner("b", [])], {})
    found = table([{"deep": [outer]}], {"deep": pl.List(pl.Struct(columns(Outer)))})["deep"].to_list()
    by_word = {"x": None, "y": None}
    assert found == [
        [{"number": 1, "inner": None, "inners": [{"word": "b", "numbers": []}], "by_word": by_word}]
    ]


def test_a_byte_that_is_not_utf8_stays_visible_in_objects_too():
    inner = Inner("\udcff", [])  # type: ignore[arg-type]  # as a file's name may be
    found = table([vars(Outer(1, inner, [inner], {}))], columns(Outer))
    assert found["inner"].to_list() == [{"word": "\\xff", "numbers": []}]
    assert found["inners"].to_list() == [[{"word": "\\xff", "numbers": []}]]


@pytest.mark.parametrize("name", TABLES)
def test_frames_and_fleet_agree_on_every_dtype(name):
    frame = getattr(frames, name)(samples.analysis()).schema
    both = [column for column in TABLES[name] if column in frame]
    assert len(both) >= 6 - (name == "state")  # counts of functions there, single registers here
    assert {column: frame[column] for column in both} == {column: TABLES[name][column] for column in both}


def test_verdicts_agree_with_the_tables_of_their_kind():
    for column, dtype in columns(BridgeVerdict).items():
        assert frames.VERDICT_COLUMNS.get(column, dtype) == dtype
    assert frames.VERDICT_COLUMNS["evidence"] == pl.List(pl.Struct(columns(Evidence)))
