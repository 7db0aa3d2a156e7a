"""Queries for DuckDB that give all captures that a number of a fleet's report counts."""
# ruff: noqa: S608 these are texts for people to run; what comes from a capture is quoted, or left out

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer.escaping import inert
from analyzer.fleet.result_tables import DECIDED, STATES
from analyzer.results import LOSSES, POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterable

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
}


def query(dimension: str, where: str | None, directory: str, trend_by: str) -> str:
    """Return a query over the tables of ``directory``; another condition in place of ``where`` asks another.

    Args:
        dimension: as in :class:`analyzer.fleet.drilldown.Cell`.
        where: a :func:`condition`; None: everything.
        directory: output of the run, as it was given.
        trend_by: ``day`` or ``week``.
    """
    folder = _PATTERN.sub(r"[\g<0>]", directory.rstrip("/") or "/")

    def table(name: str) -> str:
        return f"read_parquet({_sql(f'{folder}/{name}/**/*.parquet')}, hive_partitioning = true)"

    order = "path" if dimension == "outcome" else "path, kexec"
    inner = _inner(dimension, table("kexecs"), table("bridges"), table("captures"), trend_by)
    return f"SELECT * FROM (\n{inner}\n)\nWHERE {where or 'true'}\nORDER BY {order};"


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


def _inner(dimension: str, kexecs: str, bridges: str, captures: str, trend_by: str) -> str:
    columns = _columns(dimension)
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
            f"    AND (capture, kexec) IN (SELECT (capture, kexec) FROM {kexecs}\n"
            f"      WHERE ari IN ({counted}))"
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
