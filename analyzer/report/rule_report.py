"""``analyze rule``: one finding code in full, or the list of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.page import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.page import Page, Style
    from analyzer.results.rules import Rule

_STYLES: dict[str, Style] = {"error": "bad", "warning": "warn", "note": ""}


def fill_list(page: Page, rules: Sequence[Rule]) -> Page:
    """Write a line for each rule to ``page``."""
    page.table(
        [
            (Span(rule.code, "strong"), Span(rule.severity, _STYLES[rule.severity]), rule.title)
            for rule in rules
        ],
        right=frozenset(),
    )
    return page


def fill_one(page: Page, rule: Rule) -> Page:
    """Write one rule with its meaning, source and advice to ``page``."""
    page.line(
        Span(rule.code, "strong"), f" {rule.title} ", Span(f"({rule.severity})", _STYLES[rule.severity])
    )
    for title, text in (("Meaning", rule.meaning), ("Source", rule.source), ("Advice", rule.advice)):
        page.blank()
        page.line(Span(title, "strong"))
        page.prose(text, indent=2)
    return page
