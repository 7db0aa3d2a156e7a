"""A rule is asked once for each distinct row of facts: machines of one model ask few distinct questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import polars as pl

Answer = TypeVar("Answer")

#: Rule -> how many distinct questions it was asked, of how many, in the last call of the main job (``-vvv``).
ASKED: dict[str, tuple[int, int]] = {}


def each(rule: Callable[..., Answer], facts: Iterable[tuple[Any, ...]]) -> list[Answer]:
    """The answer to every row of facts, in order.

    Args:
        rule: a pure function of plain values.
        facts: rows of its arguments.
    """
    answers, places = _distinct(rule, facts)
    return [answers[place] for place in places]


def _distinct(
    rule: Callable[..., Answer], facts: Iterable[tuple[Any, ...]]
) -> tuple[list[Answer], list[int]]:
    """The answers to the distinct rows, and which of them each row has."""
    known: dict[tuple[Any, ...], int] = {}
    places = [known.setdefault(row, len(known)) for row in facts]
    name = f"{rule.__module__.rpartition('.')[2]}.{rule.__name__.lstrip('_')}"
    distinct, every = ASKED.get(name, (0, 0))
    ASKED[name] = distinct + len(known), every + len(places)
    return [rule(*row) for row in known], places


def ask(
    frame: pl.DataFrame, facts: Sequence[str], rule: Callable[..., Any], answers: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    """Add a rule's answers to a table.

    Args:
        frame: the rows.
        facts: the columns that are the rule's arguments, in order.
        rule: returns one value, or a tuple of several.
        answers: the columns for what it returns.
    """
    import polars as pl

    found, places = _distinct(rule, frame.select(facts).iter_rows())
    columns: Sequence[Sequence[Any]] = [found] * len(answers)
    if found and len(answers) > 1:
        columns = list(zip(*found, strict=True))
    return frame.with_columns(
        pl.Series(name, column, dtype).gather(places)
        for (name, dtype), column in zip(answers.items(), columns, strict=True)
    )
