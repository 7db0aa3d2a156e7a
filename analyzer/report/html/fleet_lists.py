"""The captures behind the numbers of a fleet's page: bounded lists, and the query that gives the rest.

Captures are named as text, never as links: a page is mailed and opened elsewhere, a browser could not show a
capture anyway, and a path is written by whoever made the file. Links only lead from a number to its list.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.fleet.behind import MOST, Cell
from analyzer.report.inert import inert
from analyzer.report.wording import count
from analyzer.results import POLICIES
from analyzer.verdicts.findings import LOSSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.fleet.behind import Behind, Source

#: Characters that all lists of a page may take; they get shorter together until they fit.
BUDGET = 2_200_000
_LENGTHS: Final = (MOST, 30, 20, 10, 5, 3, 1)
#: Characters of a list without an entry, and of an entry beside its text.
_PER_LIST, _PER_ENTRY = 400, 60
_LONGEST_DETAIL = 200
_BRIDGE_COLUMNS: Final = ("host", "bdf", "vendor_device")


@dataclass(frozen=True)
class Number:
    """A count in a table; ``word`` says aloud what is counted, ``target`` is the name of its list."""

    text: str
    word: str = ""
    target: str | None = None
    sign: str = ""


@dataclass(frozen=True)
class SourceList:
    """One list: ``total`` captures or kexecs are behind the number, ``entries`` of them are named.

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
    query: str
    lists: list[SourceList]


@dataclass(frozen=True)
class _Wanted:
    anchor: str
    cell: Cell
    title: str
    total: int


class FleetLists:
    """Hands out names of lists while tables are made, then the lists themselves."""

    def __init__(self, behind: Behind, directory: str, trend_by: str) -> None:
        """Make lists of ``behind``; ``directory`` and ``trend_by`` are those of the report."""
        self._behind, self._directory, self._trend_by = behind, directory, trend_by
        self._wanted: dict[str, list[_Wanted]] = {}
        self._named = 0

    def number(self, cell: Cell, total: int, name: str, word: str) -> Number:
        """A count that leads to the captures behind it.

        Args:
            cell: what was counted.
            total: the count.
            name: of the row, as the list's title shows it.
            word: what is counted, in words.
        """
        sign = {"lost": "bad", "healed": "warn", "undetermined": "unknown", "stranded": "bad"}.get(
            cell.state, ""
        )
        if not total or cell not in self._behind.sources:
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
                self._query(dimension),
                [self._list(one, most) for one in self._wanted[dimension]],
            )
            for dimension, (title, back) in titles.items()
            if dimension in self._wanted
        ]

    def _most(self) -> int:
        every = [one for wanted in self._wanted.values() for one in wanted]
        fixed = sum(_PER_LIST + len(one.title) for one in every)
        sizes = [
            [sum(map(len, _entry(source))) + _PER_ENTRY for source in self._behind.sources[one.cell]]
            for one in every
        ]
        fitting = (
            length for length in _LENGTHS if fixed + sum(sum(size[:length]) for size in sizes) <= BUDGET
        )
        return next(fitting, 0)

    def _list(self, one: _Wanted, most: int) -> SourceList:
        sources = self._behind.sources[one.cell]
        return SourceList(
            one.anchor,
            one.title,
            [_entry(source) for source in sources[:most]],
            one.total,
            _condition(one.cell) if one.total > min(most, len(sources)) else "",
        )

    def _query(self, dimension: str) -> str:
        folder = self._directory.rstrip("/") or "/"

        def table(name: str) -> str:
            return f"read_parquet({_sql(f'{folder}/{name}/**/*.parquet')}, hive_partitioning = true)"

        first = next((one for one in self._wanted[dimension] if _condition(one.cell)), None)
        where = None if first is None else _condition(first.cell)
        order = "path" if dimension == "outcome" else "path, kexec"
        inner = _inner(dimension, table("kexecs"), table("bridges"), table("captures"), self._trend_by)
        return f"SELECT * FROM (\n{inner}\n)\nWHERE {where or 'true'}\nORDER BY {order};"


def _inner(dimension: str, kexecs: str, bridges: str, captures: str, trend_by: str) -> str:
    columns = _columns(dimension)
    if dimension == "outcome":
        return f"  SELECT outcome AS state, path, reason FROM {captures}"
    if dimension in ("policies", "policies_plain"):
        which = "ari = 'plain'" if dimension == "policies_plain" else "ari IN ('lost', 'healed', 'kept')"
        return "\n  UNION ALL\n".join(
            f"  SELECT '{policy}' AS policy, 'stranded' AS state, path, kexec, policies.{policy}.stranded\n"
            f"  FROM {kexecs}\n  WHERE {which} AND len(policies.{policy}.stranded) > 0"
            for policy in POLICIES
        )
    if dimension in ("vendor_device", "port_type", "cause", "bridge"):
        losses = ", ".join(_sql(name) for name in sorted(LOSSES))
        named = ", ".join(dict.fromkeys([*columns, "path", "kexec", "bdf"]))
        counted = "'lost', 'healed', 'kept'" + ("" if dimension == "cause" else ", 'undetermined'")
        hit = " AND (state IN ('lost', 'healed'))" if dimension == "cause" else ""
        return (
            f"  SELECT {named},\n"
            f"    CASE WHEN verdict IN ({losses}) THEN 'lost'\n"
            "      WHEN verdict = 'undetermined' OR ari_after IS NULL THEN 'undetermined'\n"
            "      WHEN NOT ari_after THEN 'healed' ELSE 'kept' END AS state\n"
            f"  FROM {bridges}\n"
            "  WHERE preserved AND verdict <> 'not-applicable'\n"
            f"    AND (ari_before OR verdict IN ({losses}, 'undetermined')){hit}\n"
            f"    AND (capture, kexec) IN (SELECT (capture, kexec) FROM {kexecs}\n"
            f"      WHERE ari IN ({counted}))"
        )
    texts = {"period": f"{_period(trend_by)} AS period"}
    named = "".join(f"{texts.get(column, column)}, " for column in columns)
    some = "" if dimension == "all" else "\n  WHERE ari IN ('lost', 'healed', 'kept', 'undetermined')"
    return f"  SELECT {named}ari AS state, path, kexec FROM {kexecs}{some}"


def _columns(dimension: str) -> tuple[str, ...]:
    return {
        "all": (),
        "outcome": (),
        "release": ("incoming_release",),
        "trend": ("period",),
        "bridge": _BRIDGE_COLUMNS,
        "policies": ("policy",),
        "policies_plain": ("policy",),
    }.get(dimension, (dimension,))


def _period(trend_by: str) -> str:
    form = "%G-W%V" if trend_by == "week" else "%Y-%m-%d"
    return f"strftime(make_timestamp_ns(time_ns), '{form}')"


def _condition(cell: Cell) -> str | None:
    columns = _columns(cell.dimension)
    parts = []
    for column, value in zip(columns, cell.value, strict=False):
        if value is not None and (inert(value) != value or len(value) > _LONGEST_DETAIL):
            return None
        parts.append(f"{column} IS NULL" if value is None else f"{column} = {_sql(value)}")
    if cell.state != "shown":
        parts.append(f"state = {_sql(cell.state)}")
    return " AND ".join(parts)


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _entry(source: Source) -> tuple[str, str]:
    """The path as a shell takes it, and where in the capture, or why there was no answer."""
    path = inert(source.path)
    if path == source.path:
        path = shlex.quote(path)
    words = [] if source.kexec is None else [f"kexec {source.kexec}"]
    if source.detail:
        detail = source.detail
        words.append(detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]}...")
    return path, inert(", ".join(words))


def shortened(text: str, most: int = 80) -> str:
    """A name from a capture as a table has room for it; what is cut is said."""
    return text if len(text) <= most else f"{text[:most]}... ({count(len(text), 'character')})"


def named(values: Sequence[str | None]) -> str:
    """The parts of a value as one name."""
    return " ".join("unknown" if value is None else shortened(value) for value in values)
