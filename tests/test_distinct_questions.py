"""A rule is asked once for each distinct row of facts, and every row gets its answer."""

from __future__ import annotations

import polars as pl
import pytest

from analyzer import distinct_questions

#: What the rules below were asked, in order.
QUESTIONS: list[tuple[object, ...]] = []


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Nothing was asked or counted before."""
    monkeypatch.setattr(distinct_questions, "ASKED", {})
    QUESTIONS.clear()
    return QUESTIONS


def total(first: int | None, second: int) -> int | None:
    QUESTIONS.append((first, second))
    return None if first is None else first + second


def _both_ways(first: int | None, second: int) -> tuple[int | None, str]:
    QUESTIONS.append((first, second))
    return (None if first is None else first - second, f"{first}-{second}")


ROWS = [(3, 1), (None, 1), (3, 1), (1, 3), (None, 1)]


def test_each_row_has_its_answer_in_order(questions: list[tuple[object, ...]]) -> None:
    assert distinct_questions.each(total, iter(ROWS)) == [4, None, 4, 4, None]
    assert questions == [(3, 1), (None, 1), (1, 3)]
    assert distinct_questions.ASKED == {"test_distinct_questions.total": (3, 5)}


def test_questions_of_a_rule_add_up(questions: list[tuple[object, ...]]) -> None:
    distinct_questions.each(total, ROWS)
    distinct_questions.each(total, ROWS[:1])
    distinct_questions.each(_both_ways, ROWS[:2])
    assert distinct_questions.ASKED == {
        "test_distinct_questions.total": (4, 6),
        "test_distinct_questions.both_ways": (2, 2),
    }
    assert len(questions) == 6  # answers are not kept from one call to the next


def test_no_rows(questions: list[tuple[object, ...]]) -> None:
    assert distinct_questions.each(total, []) == []
    assert questions == []


def test_a_column_of_answers(questions: list[tuple[object, ...]]) -> None:
    """The other columns stay, whatever their order; null is None in the question and in the answer."""
    frame = pl.DataFrame(
        {"second": [1, 1, 1, 3, 1], "name": list("abcde"), "first": [3, None, 3, 1, None]},
        schema={"second": pl.Int64, "name": pl.String, "first": pl.Int64},
    )
    asked = distinct_questions.ask(frame, ("first", "second"), total, {"total": pl.Int64()})
    assert asked.columns == ["second", "name", "first", "total"]
    assert asked.drop("total").equals(frame)
    assert asked["total"].to_list() == [4, None, 4, 4, None]
    assert questions == [(3, 1), (None, 1), (1, 3)]


def test_several_columns_of_answers(questions: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(ROWS, schema={"first": pl.Int64, "second": pl.Int64}, orient="row")
    answers = {"rest": pl.Int64(), "text": pl.String()}
    asked = distinct_questions.ask(frame, ["first", "second"], _both_ways, answers)
    assert asked.select("rest", "text").rows() == [
        (2, "3-1"),
        (None, "None-1"),
        (2, "3-1"),
        (-2, "1-3"),
        (None, "None-1"),
    ]
    assert len(questions) == 3


def test_an_answer_may_be_a_list() -> None:
    frame = pl.DataFrame({"count": [2, 0, 2]})
    asked = distinct_questions.ask(
        frame, ["count"], lambda count: list(range(count)), {"all": pl.List(pl.Int64())}
    )
    assert asked["all"].to_list() == [[0, 1], [], [0, 1]]


def test_an_answer_replaces_the_column_of_its_name() -> None:
    frame = pl.DataFrame({"first": [1, 2]})
    assert distinct_questions.ask(frame, ["first"], lambda first: -first, {"first": pl.Int64()}).rows() == [
        (-1,),
        (-2,),
    ]


@pytest.mark.parametrize(
    ("rule", "answers"),
    [(total, {"total": pl.Int64()}), (_both_ways, {"rest": pl.Int64(), "text": pl.String()})],
)
def test_a_table_without_rows(rule: object, answers: dict[str, pl.DataType]) -> None:
    frame = pl.DataFrame(schema={"first": pl.Int64, "second": pl.Int64})
    asked = distinct_questions.ask(frame, ("first", "second"), rule, answers)
    assert (asked.height, asked.schema) == (0, {**frame.schema, **answers})
