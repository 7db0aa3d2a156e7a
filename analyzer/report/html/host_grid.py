"""Hosts over time: what became of ARI Forwarding on the worst hosts, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.fleet.drilldown import HostPeriod
from analyzer.report.html.fleet_lists import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.fleet.answers import FleetReport
    from analyzer.report.html.tree import Sign

_HOSTS, _COLUMNS = 30, 24
_NONE = HostPeriod(0, 0, 0, 0)


@dataclass(frozen=True)
class Square:
    """One host in one column: a sign, a number, and both in words; no sign without a kexec."""

    sign: Sign | None
    text: str
    says: str


@dataclass(frozen=True)
class HostGrid:
    """The worst hosts by time.

    Attributes:
        columns: the first period of each; None: kexecs of unknown time.
        periods_each: periods that a column stands for.
        rows: name of a host, and its squares.
        left_out: hosts with a loss that have no row.
    """

    columns: list[str | None]
    periods_each: int
    rows: list[tuple[str, list[Square]]]
    left_out: int


def hosts_over_time(report: FleetReport, seen: Mapping[tuple[str, str | None], HostPeriod]) -> HostGrid:
    """Arrange what was seen on the worst hosts; many periods share a column, so that all time is shown."""
    hosts = [one.host for one in report.hosts_worst[:_HOSTS]]
    known = [
        group.value
        for group in report.trend
        if group.value is not None and any((host, group.value) in seen for host in hosts)
    ]
    periods_each = max(1, -(-len(known) // _COLUMNS))
    columns: list[list[str | None]] = [
        [*known[first : first + periods_each]] for first in range(0, len(known), periods_each)
    ]
    if any((host, None) in seen for host in hosts):
        columns.append([None])
    rows = [
        (
            shortened(host, 40),
            [_square([seen.get((host, period), _NONE) for period in periods]) for periods in columns],
        )
        for host in hosts
    ]
    return HostGrid(
        [periods[0] for periods in columns], periods_each, rows, report.hosts_with_loss - len(hosts)
    )


def _square(all_seen: Sequence[HostPeriod]) -> Square:
    counts: list[tuple[int, str, Sign]] = [
        (sum(seen.lost for seen in all_seen), "lost", "bad"),
        (sum(seen.healed for seen in all_seen), "healed", "warn"),
        (sum(seen.undetermined for seen in all_seen), "undetermined", "unknown"),
        (sum(seen.kept for seen in all_seen), "kept", "good"),
    ]
    there = [one for one in counts if one[0]]
    if not there:
        return Square(None, "", "")
    number, _, sign = there[0]
    says = ", ".join(f"{count:,} {state}" for count, state, _ in there)
    return Square(sign, f"{number:,}" if number > 1 else "", says)
