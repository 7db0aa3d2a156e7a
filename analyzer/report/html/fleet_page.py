"""The page of a whole fleet: ``analyze fleet report DIR --html FILE``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from analyzer.fleet.drilldown import Shown
from analyzer.plurals import count
from analyzer.report import survival_wording
from analyzer.report.fleet_wording import headline, of, scope, unfinished, with_interval, without_intervals
from analyzer.report.html.environment import render
from analyzer.report.html.fleet_lists import FleetLists
from analyzer.report.html.fleet_tables import FleetTables
from analyzer.report.html.host_grid import hosts_over_time
from analyzer.report.html.rate_chart import Scale, bar, trend
from analyzer.report.html.register_chart import made_registers
from analyzer.report.wording import NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.fleet.answers import FleetReport, Rate
    from analyzer.fleet.drilldown import DrillDown
    from analyzer.report.html.tree import Sign

#: Most rows on a page: values of a dimension, hosts, bridges, periods in the table and in the drawing.
_ROWS, _HOSTS, _BRIDGES, _PERIODS, _DRAWN = 60, 200, 200, 120, 370
#: Lists of captures by dimension: title, and the table that leads there.
_LISTS: Final = {
    "all": ("Kexecs by what became of them", "kexecs"),
    "release": ("By kernel release", "by-release"),
    "series": ("By series of the Live Update patches", "by-series"),
    "vendor_device": ("By vendor:device of the bridge", "by-vendor-device"),
    "port_type": ("By port type", "by-port-type"),
    "cause": ("By cause", "by-cause"),
    "policies": ("By kernel policy", "policies"),
    "policies_plain": ("By kernel policy, plain kexecs", "policies-plain"),
    "host": ("By host", "hosts"),
    "bridge": ("By single bridge", "bridges"),
    "trend": ("By time", "by-trend"),
    "register": ("By watched register", "registers"),
    "outcome": ("Inputs by outcome", "inputs"),
}


def shown_part(report: FleetReport) -> Shown:
    """Return the part of this report that a page shows: ask for the captures that it counts."""
    return Shown(report, rows=_ROWS, hosts=_HOSTS, bridges=_BRIDGES, periods=_PERIODS)


def pieces(shown: Shown, found: DrillDown) -> Iterator[str]:
    """Yield the page piece by piece; the same results give the same page.

    Args:
        shown: from :func:`shown_part`.
        found: the captures that it counts (:func:`analyzer.fleet.drilldown.drill_down`).
    """
    report = shown.report
    lists = FleetLists(found, report)
    tables = FleetTables(shown, lists)
    whole = report.tally.loss
    scale = Scale.of([whole, report.tally.hardware_loss], whole)
    made = {
        "states": tables.states(),
        "groups": tables.groups(),
        "causes": tables.causes(),
        "policies": tables.policies(),
        "hosts": tables.hosts(),
        "bridges": tables.bridges(),
        "periods": tables.periods(),
        "inputs": tables.inputs(),
        "registers": made_registers(report, lists, shown.rows),
    }
    yield from render(
        "fleet.html.j2",
        report=report,
        verdict=headline(report),
        unfinished=None if report.complete else unfinished(report),
        facts=_facts(report),
        limits=list(_limits(report)),
        whole=bar(whole, scale, None),
        whole_scale=scale.text,
        drawing=trend(report.trend, whole, _follows(report), _DRAWN),
        grid=hosts_over_time(report, found.hosts),
        made=made,
        survival=survival_wording,
        lists=lists.sections(_LISTS),
    )
    yield "\n"


def _facts(report: FleetReport) -> list[tuple[Sign, str, str]]:
    """The main answers: sign, what is answered, and the answer."""
    loss, hardware, hosts = report.tally.loss, report.tally.hardware_loss, report.hosts
    facts: list[tuple[Sign, str, str]] = [
        (_rate_sign(loss), "Lost, per kexec", _rated(loss)),
        (_rate_sign(hardware, "warn"), "Lost by the hardware, healed or not", _rated(hardware)),
        (
            _rate_sign(hosts.loss),
            "Hosts with a loss",
            _rated(hosts.loss, "no host with a decided kexec is named"),
        ),
        (
            "bad" if report.devices_stranded else "none",
            "Preserved devices stranded",
            f"{report.devices_stranded:,}",
        ),
    ]
    if report.causes:
        first = report.causes[0]
        facts.append(("none", "Most common cause", f"{first.cause or NO_CAUSE}, {_rated(first.rate)}"))
    if report.registers is not None:
        said = survival_wording.answer(report.registers)
        facts.append((said.sign, "Other registers kept", said.text))
    if report.policies and loss.trials:
        words = ", ".join(f"{one.devices:,} under {one.policy}" for one in report.policies)
        facts.append(("none", "Devices each policy would have stranded", words))
    return facts


def _rated(rate: Rate, without: str = "no decided kexec") -> str:
    return f"{of(rate)} = {with_interval(rate)}" if rate.trials else without


def _rate_sign(rate: Rate, sign: Sign = "bad") -> Sign:
    if not rate.trials:
        return "unknown"
    return sign if rate.events else "good"


def _limits(report: FleetReport) -> Iterator[tuple[Sign, str]]:
    """What limits the answer: what is not decided, not read, or in no rate."""
    tally, beside, captures = report.tally, report.beside, report.captures
    if without_intervals(report):
        yield ("unknown", "No rate has its 95 % interval: the Python package scipy was not installed.")
    for sentence in scope(report):
        yield "none", sentence
    if tally.undetermined:
        yield (
            "unknown",
            f"{count(tally.undetermined, 'undetermined kexec')}: deciding accesses are not in the captures.",
        )
    no_answer = sum(n for outcome, n in captures.outcomes.items() if outcome not in ("ok", "truncated"))
    if no_answer:
        yield (
            "unknown",
            f"{count(no_answer, 'input')} without an answer: the table of inputs has the reasons.",
        )
    if cut := captures.outcomes.get("truncated", 0):
        yield "warn", f"{count(cut, 'capture')} cut short: analysed up to the cut."
    if report.doubts:
        text = "with doubt: the incoming kernel did not do what the replay predicts."
        yield "warn", f"{_kexecs(report.doubts)} {text}"
    if beside.plain:
        yield "none", f"{count(beside.plain, 'plain kexec')}: nothing was handed over; in no rate."
    if beside.crash:
        yield "none", f"{_kexecs(beside.crash)} into a crash kernel; in no rate."
    if beside.nothing:
        yield (
            "none",
            (
                f"{_kexecs(beside.nothing)} with nothing to lose: no preserved bridge had ARI Forwarding"
                f" on; in no rate."
            ),
        )
    if report.hosts.nameless:
        words = "without a known host, in no rate over hosts (--host-from-path names hosts by paths)."
        yield "unknown", f"{count(report.hosts.nameless, 'decided kexec')} {words}"
    yield from _without_numbers(report)


def _without_numbers(report: FleetReport) -> Iterator[tuple[Sign, str]]:
    """Kexecs that are in some numbers and not in others."""
    if report.registers is not None and report.registers.without:
        words = "whose run did not count watched registers: they are not in that section."
        yield "unknown", f"{_kexecs(report.registers.without)} {words}"
    untimed = next((group.tally for group in report.trend if group.value is None), None)
    if untimed is not None and (number := untimed.loss.trials + untimed.undetermined):
        yield "unknown", f"{_kexecs(number)} of unknown time: the captures hold no wall-clock time."


def _kexecs(number: int) -> str:
    return count(number, "kexec")


def _follows(report: FleetReport) -> list[bool]:
    """For each period with a known time, whether it follows directly on the one before."""
    step = dt.timedelta(days=7 if report.trend_by == "week" else 1)
    days = [_day(group.value) for group in report.trend if group.value is not None]
    return [
        number > 0 and day is not None and (before := days[number - 1]) is not None and day - before == step
        for number, day in enumerate(days)
    ]


def _day(period: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(period)
    except ValueError:  # a year that the calendar does not have
        return None
