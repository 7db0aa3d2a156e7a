"""The captures that each number of a fleet's report counts, from the same rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from analyzer.fleet.register_survival import kexecs_by_word
from analyzer.fleet.result_tables import DECIDED, STATES, bridges_at_stake, opened, period
from analyzer.fleet.rows import TABLES
from analyzer.fleet.run_selection import days
from analyzer.results import POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.fleet.answers import FleetReport, Group
    from analyzer.fleet.result_tables import ResultTables

#: Captures named for a number.
MOST = 50


class Cell(NamedTuple):
    """One number: how often ``state`` was counted for the value of a dimension.

    Attributes:
        dimension: ``all``, ``release``, ``series``, ``vendor_device``, ``port_type``, ``cause``, ``host``,
            ``bridge``, ``trend``, ``policies``, ``policies_plain``, ``register`` or ``outcome``.
        value: of the dimension; a bridge's are host, address and vendor:device.
        state: what was counted.
    """

    dimension: str
    value: tuple[str | None, ...]
    state: str


class CountedCapture(NamedTuple):
    """A counted capture by its path, with the kexec and the bridge, or the reason why it has no answer."""

    path: str
    kexec: int | None
    detail: str | None


@dataclass(frozen=True)
class HostPeriod:
    """One host in one period: its kexecs by what became of ARI Forwarding."""

    lost: int
    healed: int
    kept: int
    undetermined: int


@dataclass(frozen=True)
class DrillDown:
    """What the numbers of a report count.

    Attributes:
        sources: by number, in the order of paths and kexecs; at most as many as asked for.
        hosts: by host and period (None: no wall-clock time), for the hosts asked for.
    """

    sources: dict[Cell, list[CountedCapture]] = field(default_factory=dict)
    hosts: dict[tuple[str, str | None], HostPeriod] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """What a page shows, and whose sources are therefore needed.

    Attributes:
        report: the answers, of the same directory.
        rows: values of each dimension.
        hosts: hosts, worst first.
        bridges: bridges, worst first.
        periods: of the trend, the latest.
    """

    report: FleetReport
    rows: int
    hosts: int
    bridges: int
    periods: int


def drill_down(shown: Shown, *, most: int = MOST) -> DrillDown:
    """Name the captures that the numbers of a page count.

    Args:
        shown: what the page shows. A run that still goes on adds sources and never removes one.
        most: captures named for one number.

    Raises:
        UnreadableInputError: the tables cannot be read any more.
    """
    report = shown.report
    with opened([run.directory for run in report.runs], days(report.since, report.until)) as tables:
        found = pl.concat([plan.collect() for plan in _plans(tables, shown, most)])
        paths = (
            tables.captures.join(found.lazy().select("capture").unique(), on="capture", how="semi")
            .select("capture", "path", "reason")
            .collect()
        )
        named = found.join(paths, on="capture").sort("order", "capture", "kexec", "detail", nulls_last=True)
        outcomes = named["dimension"] == "outcome"
        named = named.with_columns(
            detail=pl.when(outcomes).then(pl.col("reason")).otherwise(pl.col("detail"))
        )
        by_cell: dict[Cell, list[CountedCapture]] = {}
        for row in named.iter_rows(named=True):
            cell = Cell(row["dimension"], tuple(row["value"]), row["state"])
            by_cell.setdefault(cell, []).append(CountedCapture(row["path"], row["kexec"], row["detail"]))
        return DrillDown(by_cell, _hosts_over_time(tables, shown))


def _plans(tables: ResultTables, shown: Shown, most: int) -> Iterator[pl.LazyFrame]:
    """Each gives ``dimension, value, state, capture, kexec, detail``, and ``order`` to sort by."""
    report, kexecs = shown.report, tables.kexecs
    counted = kexecs.filter(pl.col("ari").is_in(STATES))
    bridges = bridges_at_stake(tables).rename({"bdf": "detail"})
    when = period(report.trend_by)
    shown_rows: list[tuple[str, pl.LazyFrame, Sequence[tuple[str | None, ...]]]] = [
        ("all", kexecs.with_columns(x=pl.lit(None, pl.String)), [(None,)]),
        ("release", counted.with_columns(x="incoming_release"), _values(report.by_release, shown.rows)),
        ("series", counted.with_columns(x="series"), _values(report.by_series, shown.rows)),
        (
            "vendor_device",
            bridges.with_columns(x="vendor_device"),
            _values(report.by_vendor_device, shown.rows),
        ),
        ("port_type", bridges.with_columns(x="port_type"), _values(report.by_port_type, shown.rows)),
        ("trend", counted.with_columns(x=when), _values(report.trend[-shown.periods :], shown.periods)),
        ("host", counted.with_columns(x="host"), [(one.host,) for one in report.hosts_worst[: shown.hosts]]),
    ]
    for at, (name, frame, values) in enumerate(shown_rows):
        yield _sources(frame, name, at, ["x"], values, most)
    hit = bridges.filter(pl.col("ari").is_in(["lost", "healed"]))
    causes = hit.filter(pl.col("of_kexec").is_in(DECIDED)).with_columns(x="cause", ari=pl.lit("shown"))
    yield _sources(causes, "cause", 10, ["x"], [(one.cause,) for one in report.causes], most)
    worst = [(one.host, one.bdf, one.vendor_device) for one in report.bridges_worst[: shown.bridges]]
    keys = ["host", "bdf", "vendor_device"]
    yield _sources(hit.with_columns(bdf="detail"), "bridge", 11, keys, worst, most)
    names = [(name,) for name in POLICIES]
    yield _sources(
        _strandings(kexecs.filter(pl.col("ari").is_in(DECIDED))), "policies", 12, ["x"], names, most
    )
    plain = _strandings(kexecs.filter(pl.col("ari") == "plain"))
    yield _sources(plain, "policies_plain", 12, ["x"], names, most)
    if report.registers is not None:
        states = [(one.name,) for one in report.registers.states]
        yield _sources(kexecs_by_word(tables).rename({"name": "x"}), "register", 14, ["x"], states, most)
    inputs = tables.captures.with_columns(x=pl.lit(None, pl.String), ari="outcome")
    yield _sources(inputs.drop("reason"), "outcome", 13, ["x"], [(None,)], most)


def _strandings(kexecs: pl.LazyFrame) -> pl.LazyFrame:
    """Kexecs at which a policy strands devices, once for each such policy (``x``)."""
    stranded = (
        (pl.col("policies").struct.field(name).struct.field("stranded").list.len() > 0).alias(name)
        for name in POLICIES
    )
    return (
        kexecs.select("capture", "kexec", *stranded)
        .unpivot(POLICIES, index=["capture", "kexec"], variable_name="x", value_name="hit")
        .filter("hit")
        .with_columns(ari=pl.lit("stranded"))
    )


def _values(groups: Sequence[Group], most: int) -> list[tuple[str | None]]:
    return [(group.value,) for group in groups[:most]]


def _sources(
    frame: pl.LazyFrame,
    dimension: str,
    order: int,
    keys: list[str],
    values: Sequence[tuple[str | None, ...]],
    most: int,
) -> pl.LazyFrame:
    """The first rows of each value and state. Only numbers are sorted; paths are looked up for these rows."""
    names = frame.collect_schema().names()
    missing = [
        pl.lit(None, kind).alias(name)
        for name, kind in (("kexec", TABLES["kexecs"]["kexec"]), ("detail", pl.String))
        if name not in names
    ]
    wanted = pl.LazyFrame(values, schema=dict.fromkeys(keys, pl.String), orient="row")
    order_by = ["capture", "kexec", "detail"]
    return (
        frame.with_columns(missing)
        .select(*keys, *order_by, state="ari")
        .join(wanted, on=keys, how="semi", nulls_equal=True)
        .group_by(*keys, "state")
        .agg(pl.col(order_by).sort_by(order_by, nulls_last=True).head(most))
        .explode(order_by)
        .select(
            pl.lit(order).alias("order"),
            pl.lit(dimension).alias("dimension"),
            pl.concat_list(keys).alias("value"),
            "state",
            *order_by,
        )
    )


def _hosts_over_time(tables: ResultTables, shown: Shown) -> dict[tuple[str, str | None], HostPeriod]:
    report = shown.report
    hosts = pl.LazyFrame(
        {"host": [one.host for one in report.hosts_worst[: shown.hosts]]}, schema={"host": pl.String}
    )
    rows = (
        tables.kexecs.filter(pl.col("ari").is_in(STATES))
        .join(hosts, on="host", how="semi")
        .group_by("host", period(report.trend_by).alias("period"))
        .agg(*((pl.col("ari") == state).sum().alias(state) for state in STATES))
        .collect()
    )
    return {
        (row["host"], row["period"]): HostPeriod(*(row[state] for state in STATES))
        for row in rows.iter_rows(named=True)
    }
