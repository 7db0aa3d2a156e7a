"""The captures that the numbers of a fleet's page count: bounded lists, and the query that gives the rest.

Captures are named as text, never as links: a page is mailed and opened elsewhere, a browser could not show a
capture anyway, and a path is written by whoever made the file. Links only lead from a number to its list.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from markupsafe import escape

from analyzer.escaping import inert
from analyzer.fleet.drilldown import MOST, Cell
from analyzer.plurals import count
from analyzer.report.html import fleet_queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.fleet.answers import FleetReport
    from analyzer.fleet.drilldown import CountedCapture, DrillDown

#: Characters that all lists of a page may take; they get shorter together until they fit.
BUDGET = 2_200_000
_LENGTHS: Final = (MOST, 30, 20, 10, 5, 3, 1)
#: Characters of a list without an entry, and of an entry without its text.
_PER_LIST, _PER_ENTRY = 400, 60
_LONGEST_DETAIL = 200


@dataclass(frozen=True)
class Number:
    """A count in a table; ``word`` says to screen readers what is counted, ``target`` names its list."""

    text: str
    word: str = ""
    target: str | None = None
    sign: str = ""


@dataclass(frozen=True)
class ListedCaptures:
    """One list: ``total`` captures or kexecs were counted, ``entries`` of them are named.

    ``condition`` picks all of them in the query of the section; None where a text cannot be written in it.
    """

    anchor: str
    title: str
    entries: list[tuple[str, str]]
    total: int
    condition: str | None


@dataclass(frozen=True)
class ListSection:
    """The lists of one dimension."""

    anchor: str
    title: str
    back: str
    query: list[str]
    lists: list[ListedCaptures]


@dataclass(frozen=True)
class _Wanted:
    anchor: str
    cell: Cell
    title: str
    total: int


class FleetLists:
    """Gives each list a name while the tables are made, then gives the lists themselves."""

    def __init__(self, counted: DrillDown, report: FleetReport) -> None:
        """Make lists of ``counted``, which are the captures that the report counts."""
        self._counted = counted
        self._tables, self._trend_by = fleet_queries.tables_of(report), report.trend_by
        self._wanted: dict[str, list[_Wanted]] = {}
        self._named = 0

    def number(self, cell: Cell, total: int, name: str, word: str) -> Number:
        """A count with a link to the captures that it counts.

        Args:
            cell: what was counted.
            total: the count.
            name: of the row, as the list's title shows it.
            word: what is counted, in words.
        """
        sign = {"lost": "bad", "healed": "warn", "undetermined": "unknown", "stranded": "bad"}.get(
            cell.state, ""
        )
        if not total or cell not in self._counted.sources:
            return Number(f"{total:,}", word, None, sign if total else "")
        self._named += 1
        anchor = f"b{self._named}"
        title = f"{name}: {word}" if name else word
        self._wanted.setdefault(cell.dimension, []).append(_Wanted(anchor, cell, title, total))
        return Number(f"{total:,}", word, anchor, sign)

    def sections(self, titles: dict[str, tuple[str, str]]) -> list[ListSection]:
        """Return the lists by dimension, in the order of ``titles``: title, and name of the table."""
        most = self._most()
        return [
            ListSection(
                f"lists-{dimension.replace('_', '-')}",
                title,
                back,
                self._query(dimension).splitlines(),
                [self._list(one, most) for one in self._wanted[dimension]],
            )
            for dimension, (title, back) in titles.items()
            if dimension in self._wanted
        ]

    def _query(self, dimension: str) -> str:
        conditions = (fleet_queries.condition(one.cell) for one in self._wanted[dimension])
        where = next(filter(None, conditions), None)
        return fleet_queries.query(dimension, where, self._tables, self._trend_by)

    def _most(self) -> int:
        every = [one for wanted in self._wanted.values() for one in wanted]
        fixed = sum(_PER_LIST + _written(one.title) for one in every)
        sizes = [
            [sum(map(_written, _entry(source))) + _PER_ENTRY for source in self._counted.sources[one.cell]]
            for one in every
        ]
        fitting = (
            length for length in _LENGTHS if fixed + sum(sum(size[:length]) for size in sizes) <= BUDGET
        )
        return next(fitting, 0)

    def _list(self, one: _Wanted, most: int) -> ListedCaptures:
        sources = self._counted.sources[one.cell]
        return ListedCaptures(
            one.anchor,
            one.title,
            [_entry(source) for source in sources[:most]],
            one.total,
            fleet_queries.condition(one.cell) if one.total > min(most, len(sources)) else "",
        )


def _entry(source: CountedCapture) -> tuple[str, str]:
    """The path as a shell takes it, and where in the capture, or why there was no answer."""
    plain = inert(source.path) == source.path
    path = shlex.quote(source.path) if plain else source.path
    words = [] if source.kexec is None else [f"kexec {source.kexec}"]
    if source.detail:
        detail = source.detail
        words.append(detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]}...")
    return path, ", ".join(words)


def _written(text: str) -> int:
    """Characters that a text takes on the page, with all its escapes."""
    return len(escape(inert(text)))


def shortened(text: str, most: int = 80) -> str:
    """A name from a capture, short enough for a table; a cut name is followed by its length."""
    return text if len(text) <= most else f"{text[:most]}... ({count(len(text), 'character')})"


def named(values: Sequence[str | None]) -> str:
    """The parts of a value as one name."""
    return " ".join("unknown" if value is None else shortened(value) for value in values)
