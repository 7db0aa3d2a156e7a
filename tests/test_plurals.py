"""Numbers agree with their noun and verb."""

from __future__ import annotations

import pytest

from analyzer.plurals import count, counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (20_123, "20,123 rows")]
)
def test_count(number, text):
    assert count(number, "row") == text


def test_a_plural_of_its_own():
    assert count(2, "access", "accesses") == "2 accesses"


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1 row of x is left out"), (2, "2 rows of x are left out"), (1000, "1,000 rows of x are left out")],
)
def test_words_that_depend_on_the_number(number, text):
    assert counted("{} [row|rows] of x [is|are] left out", number) == text
