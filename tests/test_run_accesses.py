"""Accesses of many functions to one register: the first and the last between two places, and bits of them."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.run_accesses import ChosenAccesses, RunAccesses, flags_of, place


def accesses(*listed: tuple[int, int, str, int, int, str]) -> RunAccesses:
    """Function, row, read or write, value, mask, and ``dead`` or ``failed`` (which is dead, too)."""
    functions, rows, ops, values, masks, how = zip(*listed, strict=True) if listed else [()] * 6
    return RunAccesses(
        place(np.array(functions, np.int64), np.array(rows, np.int64)),
        np.array([op == "write" for op in ops], np.bool_),
        np.array(values, np.int64),
        np.array(masks, np.int64),
        np.array([one != "" for one in how], np.bool_),
        np.array([one == "failed" for one in how], np.bool_),
    )


#: Of functions 0, 2 and 3.
SOME = accesses(
    (0, 10, "read", 0x20, 0xFFFF, ""),
    (0, 12, "write", 0x00, 0xFFFF, ""),
    (0, 15, "read", 0xFFFF, 0xFFFF, "failed"),
    (2, 10, "read", 0xFFFF, 0xFFFF, "dead"),
    (3, 11, "write", 0x0400, 0xFF00, ""),
)


def shown(chosen: ChosenAccesses) -> list[tuple[bool, int, bool, int, int, bool, bool] | None]:
    """Each access, or None where there is none."""
    rows = list(zip(*(column.tolist() for column in chosen), strict=True))
    for there, row, write, _, _, dead, failed in rows:
        assert there or (row, write, dead, failed) == (NONE, False, False, False)
    return [row[1:] if row[0] else None for row in rows]


def between(*pairs: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Places of functions, and rows that the accesses are between."""
    functions, after, before = np.array(pairs, np.int64).reshape(-1, 3).T
    return place(functions, after), place(functions, before)


READ, WRITE = (10, False, 0x20, 0xFFFF, False, False), (12, True, 0x00, 0xFFFF, False, False)
FAILED, DEAD = (15, False, 0xFFFF, 0xFFFF, True, True), (10, False, 0xFFFF, 0xFFFF, True, False)
PART = (11, True, 0x0400, 0xFF00, False, False)


@pytest.mark.parametrize(
    ("function", "after", "before", "first", "last"),
    [
        (0, 0, 100, READ, FAILED),
        (0, 9, 16, READ, FAILED),
        (0, 10, 15, WRITE, WRITE),  # neither end counts
        (0, 10, 16, WRITE, FAILED),
        (0, 9, 11, READ, READ),
        (0, 12, 15, None, None),
        (0, 15, 100, None, None),
        (0, 0, 10, None, None),
        (0, NONE, 100, READ, FAILED),  # from the beginning
        (1, 0, 100, None, None),  # none of its own
        (2, 0, 100, DEAD, DEAD),
        (2, 10, 100, None, None),
        (3, 0, 100, PART, PART),
        (3, 0, 11, None, None),
        (4, 0, 100, None, None),
    ],
)
def test_first_and_last_between_two_rows(
    function: int, after: int, before: int, first: tuple[object, ...], last: tuple[object, ...]
) -> None:
    asked = between((function, after, before))
    assert (shown(SOME.first(*asked)), shown(SOME.last(*asked))) == ([first], [last])


def test_many_questions_at_once() -> None:
    asked = between((3, 0, 100), (0, 10, 15), (1, 0, 100), (0, 0, 100))
    assert shown(SOME.first(*asked)) == [PART, WRITE, None, READ]
    assert shown(SOME.last(*asked)) == [PART, WRITE, None, FAILED]


def test_without_accesses_or_questions() -> None:
    nothing, asked = accesses(), between((0, 0, 100), (1, 0, 100))
    assert shown(nothing.first(*asked)) == shown(nothing.last(*asked)) == [None, None]
    assert shown(SOME.first(*between())) == shown(nothing.last(*between())) == []


def test_some_of_the_accesses() -> None:
    asked = between((0, 0, 100), (3, 0, 100))
    assert shown(SOME.of(SOME.writes).first(*asked)) == [WRITE, PART]
    assert shown(SOME.of(~SOME.writes).last(*asked)) == [FAILED, None]
    assert shown(SOME.of(SOME.values > 0xFFFF).first(*asked)) == [None, None]


def test_a_bit_of_what_was_accessed() -> None:
    """Unknown where there is no access, where it was dead, and in bytes that it does not hold."""
    asked = between((0, 0, 100), (0, 10, 13), (0, 12, 16), (2, 0, 100), (3, 0, 100), (4, 0, 100))
    assert SOME.first(*asked).flag(0x20).tolist() == [1, 0, NONE, NONE, NONE, NONE]
    assert SOME.first(*asked).flag(0x0400).tolist() == [0, 0, NONE, NONE, 1, NONE]


def test_places_are_in_the_order_of_functions_and_rows() -> None:
    places = place(np.array([0, 0, 0, 1, 1]), np.array([NONE, 0, 1 << 39, NONE, 0]))
    assert places.tolist() == sorted(places.tolist())
    assert len(set(places.tolist())) == 5


def test_flags_as_plain_values() -> None:
    assert flags_of(np.array([0, 1, NONE, 1], np.int64)) == [False, True, None, True]
    assert flags_of(np.array([True, False])) == [True, False]
    assert flags_of(np.array([], np.int64)) == []
