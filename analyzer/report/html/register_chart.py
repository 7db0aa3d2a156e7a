"""Which registers survived, as a drawing: a bar of kexecs for each state, next to its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.fleet.drilldown import Cell
from analyzer.plurals import count
from analyzer.report import survival_wording as wording
from analyzer.report.fleet_wording import interval, share
from analyzer.report.html.fleet_lists import Number, shortened
from analyzer.report.html.fleet_tables import RateRow, RateTable
from analyzer.report.html.rate_chart import Scale, bar
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from analyzer.fleet.answers import (
        FleetReport,
        RegisterSurvival,
        StateSurvival,
        SurvivalCounts,
        SurvivalGroup,
    )
    from analyzer.report.html.fleet_lists import FleetLists
    from analyzer.report.html.rate_chart import RateBar
    from analyzer.report.survival_wording import SurvivalAnswer

#: Words of a kexec, as bars show them from the left: the style of their part, and what they are called.
_PARTS: Final = (
    ("lost", "bad", "lost"),
    ("undetermined", "unknown", "not captured"),
    ("cleared", "warn", "cleared by the incoming kernel"),
    ("kept", "good", "kept"),
    ("nothing", "none", "nothing to lose"),
)
_HEADS: Final = {
    "by_release": "Release",
    "by_vendor_device": "Vendor:device",
    "by_port_type": "Port type",
}


def _full_names() -> dict[str, str]:
    """Name of a state in lines -> the register's, where it is one."""
    names: dict[str, set[str]] = {}
    for one in WATCHED:
        names.setdefault(one.short, set()).add(one.name)
    return {short: next(iter(full)) for short, full in names.items() if len(full) == 1 and full != {short}}


_FULL_NAMES: Final = _full_names()


@dataclass(frozen=True)
class KexecShare:
    """A part of a bar: places in percent of its width."""

    style: str
    x: float
    width: float
    title: str


@dataclass(frozen=True)
class RegisterRow:
    """One state: its bar of kexecs, its rate of loss with the drawing, and its counts.

    Attributes:
        full_name: of the register, where the name is short for it; else empty.
        numbers: of kexecs: lost, not captured, cleared, kept, nothing to lose.
        functions: that lost it, of those that had a value to lose.
    """

    name: str
    full_name: str
    code: str
    shares: list[KexecShare]
    share: str
    interval: str
    bar: RateBar | None
    numbers: list[Number]
    functions: str


@dataclass(frozen=True)
class RegisterSection:
    """The section of a page.

    Attributes:
        kexecs: what the whole width of a bar stands for, in words.
        scale: the end of the axis of rates, in words.
        legend: style and name of each part of a bar.
        groups: where registers were lost.
    """

    answer: SurvivalAnswer
    limits: list[str]
    rows: list[RegisterRow]
    kexecs: str
    scale: str
    legend: list[tuple[str, str]]
    others: str
    groups: list[RateTable]


def made_registers(report: FleetReport, lists: FleetLists, most: int) -> RegisterSection | None:
    """Make the section; each number asks ``lists`` for the kexecs that it counts.

    Args:
        report: the whole report.
        lists: of the page.
        most: rows of a list of groups.
    """
    registers = report.registers
    if registers is None:
        return None
    states = wording.of_preserved(registers)
    scale = Scale(1.0)
    return RegisterSection(
        wording.answer(registers),
        list(wording.limits(report)),
        [_row(one, registers, lists, scale) for one in states],
        f"{count(registers.kexecs, 'kexec')} that show a register of a preserved function",
        scale.text,
        [(style, words) for _, style, words in _PARTS],
        wording.not_handed_over(registers),
        [_groups(states, name, scale, most) for name in wording.DIMENSIONS],
    )


def _row(state: StateSurvival, registers: RegisterSurvival, lists: FleetLists, scale: Scale) -> RegisterRow:
    counts = state.preserved
    numbers = [
        lists.number(Cell("register", (state.name,), word), _kexecs(counts, word), state.name, words)
        for word, _, words in _PARTS
    ]
    lost, of_functions = wording.functions_lost(counts)
    return RegisterRow(
        state.name,
        _FULL_NAMES.get(state.name, ""),
        state.code,
        _shares(counts, registers.kexecs),
        share(counts.loss),
        interval(counts.loss),
        bar(counts.loss, scale, None),
        numbers,
        f"{lost:,} of {of_functions:,}",
    )


def _kexecs(counts: SurvivalCounts, word: str) -> int:
    return int(getattr(counts, f"kexecs_{word}"))


def _shares(counts: SurvivalCounts, whole: int) -> list[KexecShare]:
    found = []
    before = 0
    for word, style, words in _PARTS:
        number = _kexecs(counts, word)
        if number:
            x, end = (round(100 * part / whole, 2) for part in (before, before + number))
            found.append(KexecShare(style, x, round(end - x, 2), f"{words}: {count(number, 'kexec')}"))
        before += number
    return found


def _groups(states: list[StateSurvival], name: str, scale: Scale, most: int) -> RateTable:
    """Where registers were lost, most kexecs first."""
    groups: list[tuple[StateSurvival, SurvivalGroup]] = [
        (state, group) for state in states for group in getattr(state, name) if group.counts.kexecs_lost
    ]
    groups.sort(key=lambda one: -one[1].counts.kexecs_lost)
    rows = [
        RateRow(
            None if group.value is None else shortened(group.value),
            [state.name],
            share(group.counts.loss),
            interval(group.counts.loss),
            bar(group.counts.loss, scale, None),
            [
                Number(f"{group.counts.kexecs_lost:,}", sign="bad"),
                Number(f"{group.counts.loss.trials:,}"),
                Number(f"{group.counts.kexecs_undetermined:,}"),
                Number("{:,} of {:,}".format(*wording.functions_lost(group.counts))),
            ],
        )
        for state, group in groups[:most]
    ]
    return RateTable(
        f"registers-{name.replace('_', '-')}",
        f"By {wording.DIMENSIONS[name]}",
        "Preserved functions; only where a register was lost.",
        ([_HEADS[name], "Register"], ["Kexecs lost", "Decided", "Not captured", "Functions lost"]),
        "Loss per kexec",
        rows,
        scale.text,
        len(groups) - len(rows),
    )
