"""``fleet report``: the tables of a run aggregated, by polars plans that stream over the Parquet files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from analyzer.fleet.answers import (
    AriCounts,
    BridgeCount,
    Captures,
    CauseCount,
    FleetReport,
    Group,
    HostCount,
    Hosts,
    OutsideRates,
    PolicyCount,
)
from analyzer.fleet.cell_checks import refuse_other_rows
from analyzer.fleet.rates import rate
from analyzer.fleet.register_survival import survival
from analyzer.fleet.result_tables import DECIDED, STATES, bridges_at_stake, opened, period
from analyzer.fleet.run_selection import period as period_of_days
from analyzer.results import POLICIES

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from analyzer.fleet.answers import TrendBy
    from analyzer.fleet.result_tables import ResultTables


#: Hosts and bridges that a report names; the tables have them all.
MOST_NAMED = 1000


def report(
    directory: str | Sequence[str],
    *,
    trend_by: TrendBy = "day",
    most_named: int = MOST_NAMED,
    since: dt.date | None = None,
    until: dt.date | None = None,
) -> FleetReport:
    """Report on a whole fleet from the output directories of one or more runs.

    Only finished batches count: a run that was stopped, or still goes on, gives consistent numbers.

    Args:
        directory: output of :func:`analyzer.fleet.run`; of several runs a sequence: each capture counts once.
        trend_by: length of a period.
        most_named: hosts and bridges to name.
        since: first UTC day to report on; what has no time is counted apart.
        until: last UTC day to report on.

    Raises:
        UnreadableInputError: it holds no run.
        UsageError: of another version, damaged, or an empty period.
    """
    directories = [directory] if isinstance(directory, str) else list(directory)
    with opened(directories, period_of_days(since, until)) as tables:
        refuse_other_rows(tables)
        found = _report(tables, trend_by, most_named)
        return replace(found, since=_iso(since), until=_iso(until))


def _iso(day: dt.date | None) -> str | None:
    return None if day is None else day.isoformat()


def _report(tables: ResultTables, trend_by: TrendBy, most: int) -> FleetReport:
    kexecs = tables.kexecs
    bridges = bridges_at_stake(tables)
    whole = _row(
        kexecs.select(
            pl.len().alias("kexecs"),
            pl.col("loss").sum().alias("losses"),
            pl.col("doubt").sum().alias("doubts"),
            pl.col("devices_stranded").sum(),
            *(_count(pl.col("ari") == word).alias(word) for word in ("nothing", "plain", "crash")),
        )
    )
    overall = _tally(_row(kexecs.select(_tally_columns())))
    decided = overall.loss.trials
    hosts = _by_host(kexecs)
    hit = hosts.filter(pl.col("lost") + pl.col("healed") > 0)
    bad = _bad_bridges(bridges)
    outcomes = _counts(tables.captures, "outcome")
    return FleetReport(
        directory=" + ".join(run.directory for run in tables.runs),
        complete=all(run.complete for run in tables.runs),
        batches=tables.batches,
        batches_done=tables.done,
        captures=Captures(
            listed=sum(run.captures - run.replaced for run in tables.runs) - tables.repeated,
            done=sum(outcomes.values()),
            outcomes=outcomes,
            verdicts=_counts(tables.captures, "verdict"),
            doubtful=_height(tables.captures.filter(pl.col("weight") == "doubt")),
            replaced=sum(run.replaced for run in tables.runs),
            repeated=tables.repeated,
        ),
        kexecs=whole["kexecs"],
        tally=overall,
        beside=OutsideRates(whole["nothing"], whole["plain"], whole["crash"]),
        losses=whole["losses"],
        doubts=whole["doubts"],
        devices_stranded=whole["devices_stranded"],
        hosts=_hosts(kexecs, hosts),
        by_release=_groups(kexecs, pl.col("incoming_release")),
        by_series=_groups(kexecs, pl.col("series")),
        by_vendor_device=_groups(bridges, pl.col("vendor_device")),
        by_port_type=_groups(bridges, pl.col("port_type")),
        causes=_causes(bridges, decided),
        policies=_policies(kexecs.filter(pl.col("ari").is_in(DECIDED))),
        policies_plain=_policies(kexecs.filter(pl.col("ari") == "plain")),
        hosts_with_loss=_height(hit),
        hosts_worst=_worst_hosts(hit, most),
        bridges_with_loss=_height(bad),
        bridges_worst=_worst_bridges(bad, most),
        trend_by=trend_by,
        trend=_groups(kexecs, period(trend_by), by_value=True),
        runs=tables.runs,
        untimed=tables.untimed,
        registers=survival(tables),
    )


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.fill_null(value=False).sum()


def _tally_columns() -> list[pl.Expr]:
    decided = pl.col("ari").is_in(DECIDED)
    states = [_count(pl.col("ari") == state).alias(state) for state in STATES]
    return [*states, pl.col("host").filter(decided).drop_nulls().n_unique().alias("hosts")]


def _tally(row: dict[str, Any]) -> AriCounts:
    return tally(*(int(row[name]) for name in (*STATES, "hosts")))


def _groups(frame: pl.LazyFrame, value: pl.Expr, *, by_value: bool = False) -> list[Group]:
    """Tallies by value: most trials first, or in the order of the values; unknown last."""
    found = (
        frame.filter(pl.col("ari").is_in(STATES))
        .group_by(value.alias("value"))
        .agg(_tally_columns())
        .with_columns(trials=pl.sum_horizontal(DECIDED))
    )
    order = ["value"] if by_value else ["trials", "value"]
    rows = found.sort(order, descending=[name == "trials" for name in order], nulls_last=True).collect()
    return [Group(row["value"], _tally(row)) for row in rows.iter_rows(named=True)]


def _causes(bridges: pl.LazyFrame, decided: int) -> list[CauseCount]:
    rows = (
        bridges.filter(pl.col("ari").is_in(["lost", "healed"]) & pl.col("of_kexec").is_in(DECIDED))
        .group_by("cause")
        .agg(
            pl.len().alias("bridges"),
            pl.struct("capture", "kexec").n_unique().alias("kexecs"),
            pl.col("host").drop_nulls().n_unique().alias("hosts"),
        )
        .sort(["kexecs", "bridges", "cause"], descending=[True, True, False], nulls_last=True)
        .collect()
    )
    return [
        CauseCount(row["cause"], row["bridges"], row["hosts"], rate(row["kexecs"], decided))
        for row in rows.iter_rows(named=True)
    ]


def _policies(kexecs: pl.LazyFrame) -> list[PolicyCount]:
    def of_each(field: str) -> dict[str, pl.Expr]:
        policies = pl.col("policies").struct
        return {name: policies.field(name).struct.field(field).list.len().fill_null(0) for name in POLICIES}

    stranded, perhaps = of_each("stranded"), of_each("undetermined")
    row = _row(
        kexecs.select(
            pl.len().alias("kexecs"),
            *(number.sum().alias(f"{name} devices") for name, number in stranded.items()),
            *(_count(number > 0).alias(f"{name} kexecs") for name, number in stranded.items()),
            *(number.sum().alias(f"{name} unknown") for name, number in perhaps.items()),
        )
    )
    return [
        PolicyCount(
            name,
            row[f"{name} devices"],
            rate(row[f"{name} kexecs"], row["kexecs"]),
            row[f"{name} unknown"],
        )
        for name in POLICIES
    ]


def _by_host(kexecs: pl.LazyFrame) -> pl.LazyFrame:
    return (
        kexecs.filter(pl.col("host").is_not_null() & pl.col("ari").is_in(STATES))
        .group_by("host")
        .agg(
            *(_count(pl.col("ari") == state).alias(state) for state in STATES),
            pl.col("devices_stranded").sum(),
        )
    )


def _hosts(kexecs: pl.LazyFrame, hosts: pl.LazyFrame) -> Hosts:
    decided = pl.sum_horizontal(DECIDED) > 0
    row = _row(
        hosts.select(
            _count(decided).alias("decided"),
            _count(pl.col("lost") > 0).alias("lost"),
            _count(pl.col("lost") + pl.col("healed") > 0).alias("hit"),
        )
    )
    nameless = _height(kexecs.filter(pl.col("host").is_null() & pl.col("ari").is_in(DECIDED)))
    return Hosts(
        row["decided"], rate(row["lost"], row["decided"]), rate(row["hit"], row["decided"]), nameless
    )


def _worst_hosts(hit: pl.LazyFrame, most: int) -> list[HostCount]:
    order = ["devices_stranded", "lost", "healed", "host"]
    rows = hit.sort(order, descending=[True, True, True, False]).head(most).collect()
    return [
        HostCount(row["host"], row["devices_stranded"], _tally(row | {"hosts": 1}))
        for row in rows.iter_rows(named=True)
    ]


def _bad_bridges(bridges: pl.LazyFrame) -> pl.LazyFrame:
    return (
        bridges.filter(pl.col("ari").is_in(["lost", "healed"]))
        .group_by("host", "bdf", "vendor_device")
        .agg(
            _count(pl.col("ari") == "lost").alias("lost"),
            _count(pl.col("ari") == "healed").alias("healed"),
            pl.col("devices").sum(),
        )
    )


def _worst_bridges(bad: pl.LazyFrame, most: int) -> list[BridgeCount]:
    order = ["lost", "healed", "devices", "host", "bdf", "vendor_device"]
    rows = bad.sort(order, descending=[True, True, True, False, False, False], nulls_last=True)
    return [
        BridgeCount(row["host"], row["bdf"], row["vendor_device"], row["lost"], row["healed"], row["devices"])
        for row in rows.head(most).collect().iter_rows(named=True)
    ]


def _counts(frame: pl.LazyFrame, column: str) -> dict[str, int]:
    rows = frame.group_by(column).len().sort(column).collect()
    return dict(rows.iter_rows())


def _row(frame: pl.LazyFrame) -> dict[str, Any]:
    return frame.collect().row(0, named=True)


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


def tally(lost: int, healed: int, kept: int, undetermined: int, hosts: int) -> AriCounts:
    """Return the counts with their rates."""
    decided = lost + healed + kept
    return AriCounts(
        lost, healed, kept, undetermined, hosts, rate(lost, decided), rate(lost + healed, decided)
    )
