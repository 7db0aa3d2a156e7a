"""Queries for DuckDB that give all captures that a number of a fleet's report counts."""
# ruff: noqa: S608 these are texts for people to run; what comes from a capture is quoted, or left out

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.escaping import inert
from analyzer.fleet.result_tables import DECIDED, STATES
from analyzer.fleet.run_selection import days
from analyzer.results import LOSSES, POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.fleet.answers import FleetReport
    from analyzer.fleet.drilldown import Cell

_LONGEST: Final = 200
#: What is a pattern in the name of a file to DuckDB; in brackets it is itself.
_PATTERN: Final = re.compile(r"[*?\[]")
_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "all": (),
    "outcome": (),
    "release": ("incoming_release",),
    "trend": ("period",),
    "bridge": ("host", "bdf", "vendor_device"),
    "policies": ("policy",),
    "policies_plain": ("policy",),
    "register": ("register",),
}


@dataclass(frozen=True)
class CountedTables:
    """The tables of one or more runs, as a report counts their rows.

    Attributes:
        directories: outputs of the runs, as they were given; with each, whether it has replaced captures.
        bounds_ns: first moment of the period, and first after it.
        repeated: captures that are in several runs.
    """

    directories: Sequence[tuple[str, bool]]
    bounds_ns: tuple[int | None, int | None] = (None, None)
    repeated: int = 0

    @property
    def key(self) -> str:
        """What tells captures apart."""
        return "run, capture" if len(self.directories) > 1 else "capture"

    def rows(self, name: str) -> str:
        """What stands after FROM for a table."""
        within = [
            f"time_ns {sign} {bound}"
            for sign, bound in zip((">=", "<"), self.bounds_ns, strict=True)
            if bound is not None
        ]
        every = self._of_all_runs(name)
        if not within or name not in ("kexecs", "captures"):
            return every
        inside = " AND ".join(within)
        if name == "captures":
            kexecs = self.rows("kexecs")
            inside = (
                f"CASE WHEN kexec_count = 0 THEN {inside}\n"
                f"    ELSE ({self.key}) IN (SELECT ({self.key}) FROM {kexecs}) END"
            )
        return f"(SELECT * FROM {every}\n    WHERE {inside})"

    def _of_all_runs(self, name: str) -> str:
        several = len(self.directories) > 1
        texts = []
        for number, (directory, replaced) in enumerate(self.directories, start=1):
            folder = _PATTERN.sub(r"[\g<0>]", directory.rstrip("/") or "/")
            text = f"read_parquet({_sql(f'{folder}/{name}/**/*.parquet')}, hive_partitioning = true)"
            if several or replaced:
                text = f"SELECT *{f', {number} AS run' if several else ''} FROM {text}"
            if replaced:
                counted = f"SELECT capture FROM read_parquet({_sql(f'{folder}/replaced/*.parquet')})"
                text = f"{text}\n    WHERE capture NOT IN ({counted})"
            texts.append(text)
        plain = not several and not self.directories[0][1]
        return texts[0] if plain else "({})".format("\n    UNION ALL BY NAME ".join(texts))


def tables_of(report: FleetReport) -> CountedTables:
    """Return the tables that a report counts."""
    within = days(report.since, report.until)
    return CountedTables(
        [(run.directory, run.replaced > 0) for run in report.runs],
        (None, None) if within is None else within.bounds_ns,
        report.captures.repeated,
    )


def query(dimension: str, where: str | None, tables: CountedTables, trend_by: str) -> str:
    """Return a query over the tables of runs; another condition in place of ``where`` asks another.

    Args:
        dimension: as in :class:`analyzer.fleet.drilldown.Cell`.
        where: a :func:`condition`; None: everything.
        tables: of the report.
        trend_by: ``day`` or ``week``.
    """
    order = "path" if dimension == "outcome" else "path, kexec"
    inner = _inner(dimension, tables, trend_by)
    note = "-- a capture that is in several runs is listed for each of them\n" if tables.repeated else ""
    return f"{note}SELECT * FROM (\n{inner}\n)\nWHERE {where or 'true'}\nORDER BY {order};"


def condition(cell: Cell) -> str | None:
    """What picks one number in the query of its dimension; None where a text cannot be shown as it is."""
    columns = _columns(cell.dimension)
    parts = []
    for column, value in zip(columns, cell.value, strict=False):
        if value is not None and (inert(value) != value or len(value) > _LONGEST):
            return None
        parts.append(f"{column} IS NULL" if value is None else f"{column} = {_sql(value)}")
    if cell.state != "shown":
        parts.append(f"state = {_sql(cell.state)}")
    return " AND ".join(parts)


def _inner(dimension: str, tables: CountedTables, trend_by: str) -> str:
    columns = _columns(dimension)
    kexecs, bridges, captures = map(tables.rows, ("kexecs", "bridges", "captures"))
    if dimension == "outcome":
        return f"  SELECT outcome AS state, path, reason FROM {captures}"
    if dimension in ("policies", "policies_plain"):
        which = "ari = 'plain'" if dimension == "policies_plain" else f"ari IN ({_sqls(DECIDED)})"
        return "\n  UNION ALL\n".join(
            f"  SELECT '{policy}' AS policy, 'stranded' AS state, path, kexec, policies.{policy}.stranded\n"
            f"  FROM {kexecs}\n  WHERE {which} AND len(policies.{policy}.stranded) > 0"
            for policy in POLICIES
        )
    if dimension in ("vendor_device", "port_type", "cause", "bridge"):
        losses = _sqls(sorted(LOSSES))
        named = ", ".join(dict.fromkeys([*columns, "path", "kexec", "bdf"]))
        counted = _sqls(DECIDED if dimension == "cause" else STATES)
        hit = " AND (state IN ('lost', 'healed'))" if dimension == "cause" else ""
        return (
            f"  SELECT {named},\n"
            f"    CASE WHEN verdict IN ({losses}) THEN 'lost'\n"
            "      WHEN verdict = 'undetermined' OR ari_after IS NULL THEN 'undetermined'\n"
            "      WHEN NOT ari_after THEN 'healed' ELSE 'kept' END AS state\n"
            f"  FROM {bridges}\n"
            "  WHERE preserved AND verdict <> 'not-applicable'\n"
            f"    AND (ari_before OR verdict IN ({losses}, 'undetermined')){hit}\n"
            f"    AND ({tables.key}, kexec) IN (SELECT ({tables.key}, kexec) FROM {kexecs}\n"
            f"      WHERE ari IN ({counted}))"
        )
    if dimension == "register":
        rows = tables.rows("state")
        return (
            "  SELECT register, path, kexec, CASE WHEN lost > 0 THEN 'lost'\n"
            "      WHEN undetermined > 0 THEN 'undetermined' WHEN cleared > 0 THEN 'cleared'\n"
            "      WHEN kept > 0 THEN 'kept' ELSE 'nothing' END AS state\n"
            f"  FROM (SELECT name AS register, path, {tables.key}, kexec,\n"
            "      sum(lost + changed + healed) AS lost, sum(undetermined) AS undetermined,\n"
            "      sum(cleared) AS cleared, sum(kept - kept_at_reset) AS kept\n"
            f"    FROM {rows}\n"
            "    WHERE preserved\n"
            f"      AND ({tables.key}, kexec) IN (SELECT ({tables.key}, kexec) FROM {kexecs})\n"
            "    GROUP BY ALL)"
        )
    texts = {"period": f"{_period(trend_by)} AS period"}
    named = "".join(f"{texts.get(column, column)}, " for column in columns)
    some = "" if dimension == "all" else f"\n  WHERE ari IN ({_sqls(STATES)})"
    return f"  SELECT {named}ari AS state, path, kexec FROM {kexecs}{some}"


def _columns(dimension: str) -> tuple[str, ...]:
    return _COLUMNS.get(dimension, (dimension,))


def _period(trend_by: str) -> str:
    form = "%G-W%V" if trend_by == "week" else "%Y-%m-%d"
    return f"strftime(make_timestamp_ns(time_ns), '{form}')"


def _sqls(texts: Iterable[str]) -> str:
    return ", ".join(map(_sql, texts))


def _sql(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
