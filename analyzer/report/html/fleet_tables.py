"""The tables of a fleet's page, in the words and order that readers need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from analyzer.fleet.drilldown import Cell
from analyzer.fleet.result_tables import STATES
from analyzer.report.fleet_wording import interval, share
from analyzer.report.html.fleet_lists import Number, named, shortened
from analyzer.report.html.rate_chart import Scale, bar
from analyzer.report.policy_table import MEANINGS
from analyzer.report.wording import CAUSES, NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.fleet.answers import AriCounts, Group, PolicyCount, Rate
    from analyzer.fleet.drilldown import Shown
    from analyzer.report.html.fleet_lists import FleetLists
    from analyzer.report.html.rate_chart import RateBar

_STATES: Final = {
    "lost": "ARI Forwarding of a preserved bridge, or the bridge, was lost and stayed lost",
    "healed": "the hardware lost it, and the incoming kernel set it again",
    "kept": "every preserved bridge that had it on still has it",
    "undetermined": "the deciding access is not in the capture; in no rate",
    "nothing": "no preserved bridge had ARI Forwarding on; in no rate",
    "plain": "an ordinary kexec that handed no device over; in no rate",
    "crash": "into a crash kernel; in no rate",
}
_POLICIES: Final = (
    "A policy is the rule by which an incoming kernel decides about ARI: the same hardware and kexecs, four"
    " rules, and the devices that each would not have found again. What was really stranded depends on"
    " the kernels that ran."
)
_POLICIES_PLAIN: Final = (
    "Plain kexecs handed nothing over and are in no rate above. This is what they would have stranded."
)
_CAUSES: Final = {str(cause): meaning for cause, meaning in CAUSES.items()}
_TALLY: Final = ("Lost", "Healed", "Kept", "Decided", "Undetermined", "Hosts")
_ENTRY: Final = (
    "preserved bridges at kexecs, not kexecs: one reset affects all bridges below it, so read this as a "
    "ranking"
)


@dataclass(frozen=True)
class RateRow:
    """One row: its name and further texts (None: unknown), its rate as text and drawing, its counts."""

    name: str | None
    texts: list[str | None] = field(default_factory=list)
    share: str = ""
    interval: str = ""
    bar: RateBar | None = None
    numbers: list[Number] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class RateTable:
    """One table.

    Attributes:
        heads: of the name, the further texts and the counts.
        rate: head of the rate, "" for a table without one.
        scale: the end of the drawn axis, in words.
        left_out: rows that the page does not show, for lack of space.
    """

    anchor: str
    title: str
    caption: str
    heads: tuple[list[str], list[str]]
    rate: str
    rows: list[RateRow]
    scale: str = ""
    left_out: int = 0


class FleetTables:
    """Makes the tables of one report; each number asks ``lists`` for the captures that it counts."""

    def __init__(self, shown: Shown, lists: FleetLists) -> None:
        """Take the part of the report that the page shows, and the lists of its numbers."""
        self._shown, self._report, self._lists = shown, shown.report, lists

    def states(self) -> RateTable:
        """What became of the kexecs."""
        tally, beside = self._report.tally, self._report.beside
        counts = vars(beside) | {name: getattr(tally, name) for name in STATES}
        rows = [
            RateRow(state, [meaning], numbers=[self._number("all", (None,), state, counts[state], "", state)])
            for state, meaning in _STATES.items()
        ]
        caption = (
            "Rates are of the decided kexecs: lost, healed and kept together. The others are in no rate."
        )
        return RateTable(
            "kexecs", "What became of the kexecs", caption, (["State", "Meaning"], ["Kexecs"]), "", rows
        )

    def inputs(self) -> RateTable:
        """What became of the inputs."""
        rows = [
            RateRow(outcome, numbers=[self._number("outcome", (None,), outcome, number, "", outcome)])
            for outcome, number in self._report.captures.outcomes.items()
        ]
        caption = (
            "Every input has a row, whatever became of it. Only those read in full or in part count above."
        )
        return RateTable("inputs", "Inputs", caption, (["Outcome"], ["Captures"]), "", rows)

    def groups(self) -> list[RateTable]:
        """Rates by kernel release, series, bridge and port type."""
        report = self._report
        return [
            self._tallies(
                "release", "Kernel releases", "Release", report.by_release, "of the incoming kernel"
            ),
            self._tallies(
                "series",
                "Series of the Live Update patches",
                "Series",
                report.by_series,
                "of the incoming kernel",
            ),
            self._tallies("vendor_device", "Bridges", "Vendor:device", report.by_vendor_device, _ENTRY),
            self._tallies("port_type", "Port types", "Port type", report.by_port_type, _ENTRY),
        ]

    def periods(self) -> RateTable:
        """Rates over time: the drawing as a table."""
        report, most = self._report, self._shown.periods
        shown = report.trend[-most:]
        caption = "UTC; unknown: the capture holds no wall-clock time"
        return self._tallies(
            "trend", "As a table", report.trend_by.capitalize(), shown, caption, len(report.trend)
        )

    def causes(self) -> RateTable:
        """Causes of lost and healed bridges."""
        report = self._report
        scale = Scale.of((one.rate for one in report.causes), report.tally.hardware_loss)
        rows = [
            RateRow(
                one.cause or NO_CAUSE,
                [_CAUSES.get(one.cause or "", "as a rule: hidden below another lost bridge")],
                *_rated(one.rate, scale, None),
                [
                    Number(f"{one.rate.events:,}"),
                    self._number(
                        "cause", (one.cause,), "shown", one.bridges, one.cause or NO_CAUSE, "bridges"
                    ),
                    Number(f"{one.hosts:,}"),
                ],
            )
            for one in report.causes
        ]
        caption = (
            "Kexecs that show a cause, of the decided ones, lost and healed alike; a kexec can show several."
        )
        heads = (["Cause", "Meaning"], ["Kexecs", "Bridges", "Hosts"])
        return RateTable("by-cause", "Causes", caption, heads, "Of decided kexecs", rows, scale.text)

    def policies(self) -> list[RateTable]:
        """What each policy would have stranded."""
        report = self._report
        made = [
            self._policies(
                "policies",
                "What each kernel policy would have stranded",
                report.policies,
                _POLICIES,
            )
        ]
        if report.beside.plain:
            made.append(
                self._policies(
                    "policies_plain",
                    "The same, had the plain kexecs been live updates",
                    report.policies_plain,
                    _POLICIES_PLAIN,
                )
            )
        return made

    def hosts(self) -> RateTable:
        """The worst hosts."""
        report = self._report
        shown = report.hosts_worst[: self._shown.hosts]
        scale = Scale.of((one.tally.loss for one in shown), report.tally.loss)
        rows = [
            RateRow(
                shortened(one.host),
                [],
                *_rated(one.tally.loss, scale, report.tally.loss),
                [_plain(one.devices_stranded, "bad"), *self._counts("host", one.host, one.tally)[:-1]],
            )
            for one in shown
        ]
        caption = (
            "Worst first: by stranded devices, then losses. The line across is the rate of the whole fleet."
        )
        heads = (["Host"], ["Stranded", *_TALLY[:-1]])
        left = report.hosts_with_loss - len(shown)
        return RateTable("hosts", "Worst hosts", caption, heads, "Loss per kexec", rows, scale.text, left)

    def bridges(self) -> RateTable:
        """The worst single bridges."""
        report = self._report
        shown = report.bridges_worst[: self._shown.bridges]
        rows = []
        for one in shown:
            value = (one.host, one.bdf, one.vendor_device)
            host = None if one.host is None else shortened(one.host)
            numbers = [
                self._number("bridge", value, "lost", one.lost, named(value), "lost"),
                self._number("bridge", value, "healed", one.healed, named(value), "healed"),
                _plain(one.devices_stranded, "bad"),
            ]
            rows.append(RateRow(one.bdf, [host, one.vendor_device], numbers=numbers))
        heads = (["Bridge", "Host", "Vendor:device"], ["Lost", "Healed", "Stranded"])
        left = report.bridges_with_loss - len(shown)
        caption = (
            "Single bridges that lost ARI Forwarding: at how many kexecs, and how many devices were stranded."
        )
        return RateTable("bridges", "Worst bridges", caption, heads, "", rows, left_out=left)

    def _tallies(
        self, dimension: str, title: str, head: str, groups: Sequence[Group], note: str, number: int = 0
    ) -> RateTable:
        shown = groups if dimension == "trend" else groups[: self._shown.rows]
        whole = self._report.tally.loss if dimension in ("release", "series", "trend") else None
        scale = Scale.of((one.tally.loss for one in shown), self._report.tally.loss)
        rows = [
            RateRow(
                None if one.value is None else shortened(one.value),
                [],
                *_rated(one.tally.loss, scale, whole),
                self._counts(dimension, one.value, one.tally),
            )
            for one in shown
        ]
        caption = note + ("" if whole is None else "; the line across is the rate of the whole fleet")
        anchor = f"by-{dimension.replace('_', '-')}"
        rate = "Loss per kexec" if whole else "Loss per bridge and kexec"
        heads = ([head], list(_TALLY))
        left = (number or len(groups)) - len(shown)
        return RateTable(anchor, title, _sentence(caption), heads, rate, rows, scale.text, left)

    def _policies(
        self, dimension: str, title: str, policies: Sequence[PolicyCount], caption: str
    ) -> RateTable:
        scale = Scale.of((one.rate for one in policies), self._report.tally.loss)
        rows = [
            RateRow(
                one.policy,
                [MEANINGS[one.policy]],
                *_rated(one.rate, scale, None),
                [
                    _plain(one.devices, "bad", good=not one.undetermined),
                    Number(f"{one.undetermined:,}"),
                    self._number(dimension, (one.policy,), "stranded", one.rate.events, one.policy, "kexecs"),
                    Number(f"{one.rate.trials:,}"),
                ],
            )
            for one in policies
        ]
        heads = (["Policy", "What it does"], ["Devices stranded", "Unknown", "Kexecs that strand", "Of"])
        anchor = dimension.replace("_", "-")
        return RateTable(anchor, title, caption, heads, "Kexecs that strand a device", rows, scale.text)

    def _counts(self, dimension: str, value: str | None, tally: AriCounts) -> list[Number]:
        name = named([value])
        counted = [
            self._number(dimension, (value,), state, getattr(tally, state), name, state)
            for state in ("lost", "healed", "kept")
        ]
        unknown = self._number(dimension, (value,), "undetermined", tally.undetermined, name, "undetermined")
        return [*counted, Number(f"{tally.loss.trials:,}"), unknown, Number(f"{tally.hosts:,}")]

    def _number(
        self,
        dimension: str,
        value: tuple[str | None, ...],
        state: str,
        total: int,
        name: str | None,
        word: str,
    ) -> Number:
        title = "unknown" if name is None else name
        return self._lists.number(Cell(dimension, value, state), total, title, word)


def _rated(rate: Rate, scale: Scale, whole: Rate | None) -> tuple[str, str, RateBar | None]:
    return share(rate), interval(rate), bar(rate, scale, whole)


def _plain(number: int, sign: str, *, good: bool = False) -> Number:
    return Number(f"{number:,}", sign=sign if number else "good" if good else "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
