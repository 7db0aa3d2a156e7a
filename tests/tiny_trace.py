"""The index of an access table that is written as text (analyzer.testing), for tests of single rules."""

from __future__ import annotations

from analyzer.observed.index import AccessIndex
from analyzer.testing import table


def index(text: str) -> AccessIndex:
    return AccessIndex(table(text))
