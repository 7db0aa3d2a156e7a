"""``analyze lab``: the list of scenarios, the progress of a run, and whether its results are as expected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from analyzer.escaping import inert
from analyzer.lab.comparison import bridge_text
from analyzer.plurals import count
from analyzer.report import state_section
from analyzer.report.page import Span
from analyzer.results import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.lab.comparison import Outcome
    from analyzer.lab.scenarios import Scenario
    from analyzer.report.page import Page
    from analyzer.results import KexecResult


def print_lab_message(text: str) -> None:
    """Print progress to standard error."""
    print(inert(text), file=sys.stderr, flush=True)


def fill_list(page: Page, scenarios: Sequence[Scenario]) -> Page:
    """Write a row for each scenario."""
    page.table(
        [
            (Span("SCENARIO", "strong"), Span("PARTS", "strong"), Span("WHAT IT SHOWS", "strong")),
            *((item.name, item.parts, item.title) for item in scenarios),
        ],
        right=frozenset(),
    )
    return page


def fill_build(page: Page, paths: Sequence[str]) -> Page:
    """Write where the built parts are."""
    for path in paths:
        page.line(path)
    return page


def fill_run(page: Page, outcomes: Sequence[Outcome]) -> Page:
    """Write the result of each scenario, and the count at the end."""
    for outcome in outcomes:
        _add_outcome(page, outcome)
    failed = sum(not outcome.ok for outcome in outcomes)
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    page.blank()
    page.line(
        f"{count(len(outcomes), 'scenario')}, ",
        *([f"{skipped} skipped, "] if skipped else []),
        Span(f"{failed} not as expected", "bad" if failed else "good"),
    )
    return page


def _add_outcome(page: Page, outcome: Outcome) -> None:
    if outcome.skipped is not None:
        page.line(Span("skip", "warn"), "  ", outcome.name, Span(f"  {outcome.skipped}", "dim"))
        return
    word = Span("ok  " if outcome.ok else "FAIL", "good" if outcome.ok else "bad")
    page.line(word, "  ", outcome.name, Span(f"  {outcome.title}", "dim"))
    if outcome.enumerated:
        counts = (f"kernel {number} {len(bdfs)}" for number, bdfs in sorted(outcome.enumerated.items()))
        page.line(f"        enumerated: {', '.join(counts)}; {outcome.seconds:.1f} s")
    for kexec in outcome.result.kexecs if outcome.result else ():
        _add_kexec(page, kexec)
    for problem in outcome.problems:
        page.prose(problem, indent=8, bullet=page.glyph("bullet"), style="bad")
    if outcome.capture:
        page.line(f"        {outcome.capture}")
    if outcome.expectation is not None:
        page.blank()
        for line in outcome.expectation.splitlines():
            page.line(line)
        page.blank()


def _add_kexec(page: Page, kexec: KexecResult) -> None:
    texts = [
        f"{item.bdf} {bridge_text(item.verdict, item.cause, item.cause_bdf)}"
        for item in kexec.bridges
        if item.verdict not in UNCHANGED
    ]
    predicted = len(kexec.policies[kexec.policy].discovered)
    page.line(
        f"        kexec {kexec.index}: {'; '.join(texts) or 'no bridge changed'}; "
        f"{predicted} functions predicted, {len(kexec.observed.discovered)} enumerated, "
        f"{count(len(kexec.divergences), 'divergence')}"
    )
    for title, text in state_section.lines(kexec):
        page.prose(f"{title}: {text}", indent=8)
