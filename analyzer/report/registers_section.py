"""``analyze fleet report``: which watched registers survived how many kexecs, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.plurals import count
from analyzer.report import survival_wording as wording
from analyzer.report.fleet_wording import interval, of, share
from analyzer.report.page import Span

if TYPE_CHECKING:
    from analyzer.fleet.answers import FleetReport, StateSurvival, SurvivalCounts, SurvivalGroup
    from analyzer.report.page import Page

_HEADS: Final = (
    "kexecs lost", "rate", "95 % interval", "cleared", "not captured", "nothing to lose", "functions lost",
)  # fmt: skip
_GROUP_HEADS: Final = ("kexecs lost", "rate", "95 % interval", "not captured")


def add_registers(page: Page, report: FleetReport, most: int | None) -> None:
    """Add the section: the answer, then each state, then where it was lost.

    Args:
        page: where to.
        report: the whole report.
        most: rows of a list; None: all, those without a loss too.
    """
    registers = report.registers
    if registers is None:
        return
    page.blank()
    page.line(Span("Which registers survived", "strong"), Span(f"  {wording.QUESTION}", "dim"))
    said = wording.answer(registers)
    page.prose(said.text, indent=2, style="warn" if said.sign == "unknown" else said.sign)
    for sentence in wording.limits(report):
        page.prose(sentence, indent=2)
    states = wording.of_preserved(registers)
    if states:
        heads = tuple(Span(head, "dim") for head in ("", *_HEADS))
        rows = [(one.name, *_cells(one.preserved)) for one in states]
        page.table([heads, *rows], indent=2, right=frozenset(range(1, len(heads))))
        page.prose(wording.COUNTED, indent=2, style="dim")
        page.prose(f"cleared: {wording.CLEARED}", indent=2, style="dim")
        page.prose(f"not captured: {wording.UNDETERMINED}", indent=2, style="dim")
        page.prose(f"nothing to lose: {wording.NOTHING}", indent=2, style="dim")
    others = wording.not_handed_over(registers)
    if others:
        page.prose(others, indent=2)
    for name, words in wording.DIMENSIONS.items():
        _dimension(page, words, [(one, group) for one in states for group in getattr(one, name)], most)


def _cells(counts: SurvivalCounts) -> tuple[str | Span, ...]:
    functions, of_functions = wording.functions_lost(counts)
    return (
        *_rated(counts),
        f"{counts.kexecs_cleared:,}",
        f"{counts.kexecs_undetermined:,}",
        f"{counts.kexecs_nothing:,}",
        f"{functions:,} of {of_functions:,}",
    )


def _rated(counts: SurvivalCounts) -> tuple[str | Span, ...]:
    loss = counts.loss
    return Span(of(loss), "bad" if loss.events else ""), share(loss), interval(loss)


def _dimension(
    page: Page, words: str, groups: list[tuple[StateSurvival, SurvivalGroup]], most: int | None
) -> None:
    """Where registers were lost, most kexecs first; with all rows the others too."""
    rows = [one for one in groups if most is None or one[1].counts.kexecs_lost]
    if not rows:
        return
    rows.sort(key=lambda one: -one[1].counts.kexecs_lost)
    page.blank()
    page.line(Span(f"Registers lost, by {words}", "strong"), Span("  preserved functions", "dim"))
    heads = tuple(Span(head, "dim") for head in ("", "", *_GROUP_HEADS))
    cells = [
        (
            Span("unknown", "dim") if group.value is None else group.value,
            state.name,
            *_rated(group.counts),
            f"{group.counts.kexecs_undetermined:,}",
        )
        for state, group in rows[:most]
    ]
    page.table([heads, *cells], indent=2, right=frozenset(range(2, len(heads))))
    if most is not None and len(rows) > most:
        page.line(Span(f"  and {count(len(rows) - most, 'more row')} (-v shows all)", "dim"))
