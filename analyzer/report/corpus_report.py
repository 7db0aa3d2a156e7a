"""``analyze corpus``: which captures give the expected verdicts, and what an update changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.report.page import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.questions.corpus import CaseResult
    from analyzer.report.page import Page, Style

_DIFF_STYLES: dict[str, Style] = {"+": "good", "-": "bad"}


def fill_check(page: Page, cases: Sequence[CaseResult]) -> Page:
    """Write a line for each case, and below it how it differs."""
    for case in cases:
        word = Span("ok  " if case.ok else "FAIL", "good" if case.ok else "bad")
        page.line(word, "  ", case.name, Span(f"  {case.title}", "dim"))
        if not case.ok:
            _add_diff(page, case)
    failed = sum(not case.ok for case in cases)
    page.blank()
    page.line(
        f"{count(len(cases), 'case')}, ", Span(f"{failed} not as expected", "bad" if failed else "good")
    )
    return page


def fill_update(page: Page, cases: Sequence[CaseResult], *, written: bool) -> Page:
    """Write the changes as diffs, and whether they were written."""
    changed = [case for case in cases if not case.ok]
    for case in changed:
        _add_diff(page, case)
    page.blank()
    if not changed:
        page.line(f"{count(len(cases), 'case')}, nothing to update")
    elif written:
        page.line(f"{count(len(changed), 'case file')} written; read the diff before you commit it")
    else:
        page.line(f"{count(len(changed), 'case file')} would change; nothing was written (--write does)")
    return page


def _add_diff(page: Page, case: CaseResult) -> None:
    for row in case.difference():
        page.line("    ", Span(row, _DIFF_STYLES.get(row[:1], "")))
