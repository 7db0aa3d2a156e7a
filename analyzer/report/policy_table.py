"""What every kernel policy would have found across the same kexec, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.report.page import Span
from analyzer.report.wording import listed
from analyzer.results import POLICIES

if TYPE_CHECKING:
    from analyzer.report.page import Page
    from analyzer.results import KexecResult

_MOST_NAMED = 8
#: What a reader needs to know to compare the rows (policies: kernel-side rules that decide ARI).
MEANINGS = {
    "stock": "sets the bit whenever function 0 can do ARI",
    "inherit": "uses the bit as the hardware shows it (Live Update series)",
    "serialize": "restores the bit that the outgoing kernel used (proposal, in no kernel)",
    "heal": "sets the bit if a preserved function needs it (proposal, in no kernel)",
}


def add_policies(page: Page, kexec: KexecResult, *, indent: int = 4, names: int = _MOST_NAMED) -> None:
    """Add the table of policies; the one that the verdicts are given under is marked with ``*``."""
    unknown = any(outcome.undetermined for outcome in kexec.policies.values())
    heads = ["", "policy", "found", "stranded", *(["unknown"] if unknown else []), ""]
    rows: list[tuple[str | Span, ...]] = [tuple(Span(head, "dim") for head in heads)]
    for policy in POLICIES:
        outcome = kexec.policies.get(policy)
        if outcome is None:
            continue
        lost, perhaps = len(outcome.stranded), len(outcome.undetermined)
        rows.append(
            (
                "*" if policy == kexec.policy else "",
                policy,
                f"{len(outcome.discovered):,}",
                Span(f"{lost:,}", "bad" if lost else "dim" if perhaps else "good"),
                *([Span(f"{perhaps:,}", "warn" if perhaps else "dim")] if unknown else []),
                listed(outcome.stranded, names) if lost else MEANINGS[policy],
            )
        )
    page.table(rows, indent=indent, right=frozenset({2, 3, 4} if unknown else {2, 3}))
    if unknown:
        page.prose(
            "Unknown: whether they find a preserved function depends on what the input does not show.",
            indent=indent,
            style="dim",
        )
    ran = kexec.policies.get(kexec.policy)
    if ran is not None and ran.assumed:
        page.prose(
            (
                f"Assumed: {count(len(ran.assumed), 'function')} that the incoming kernel did not read are "
                f"taken as the outgoing kernel saw {'it' if len(ran.assumed) == 1 else 'them'}: "
                f"{listed(ran.assumed, names)}."
            ),
            indent=indent,
            style="dim",
        )
