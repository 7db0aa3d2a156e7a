"""What else a kexec cost: the state watch in one line for each verdict, and every register on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.plurals import count
from analyzer.report.page import Span
from analyzer.results.rules import RULES, SECONDARY_CODES
from analyzer.results.watched_fields import stated_by_watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.questions.explain.explanation import Explanation, KexecExplanation
    from analyzer.report.page import Page, Style
    from analyzer.results import KexecResult, Secondary
    from analyzer.results.state import StateVerdict, StateVerdictName

#: Verdicts that a report says without being asked, and how a line about them begins.
LINES: Final[tuple[tuple[StateVerdictName, str], ...]] = (
    ("lost", "Other state lost"),
    ("changed", "Other state changed"),
    ("healed", "Other state lost, and set again by the incoming kernel"),
    ("cleared", "Other state changed by the incoming kernel's own writes"),
)
UNDETERMINED: Final = "Other state that differs (what changed it is not in the input)"
_MOST: Final = 40
_MOST_NOTES: Final = 5
#: Values of one register in a line of ``explain``.
_MOST_VALUES: Final = 8


def lines(kexec: KexecResult) -> list[tuple[str, str]]:
    """Each line's beginning and its text: ``("Other state lost", "ACS on 2 bridges, MPS on 1 function")``."""
    found = [(title, [one for one in kexec.state if one.verdict == word]) for word, title in LINES]
    found.append((UNDETERMINED, kexec.state_undetermined))
    bridges = {bridge.bdf for bridge in kexec.bridges}
    return [(title, _counted(rows, bridges)) for title, rows in found if rows]


def notes(kexec: KexecResult) -> list[tuple[str, str]]:
    """What follows from a single field of the registers in the lines: function, and the text."""
    stated = stated_by_watch(kexec)
    found = [(one.bdf, one.note) for one in stated[:_MOST_NOTES]]
    if len(stated) > _MOST_NOTES:
        found.append(("The same", f"on {count(len(stated) - _MOST_NOTES, 'more function')}"))
    return found


def _counted(rows: Sequence[StateVerdict], bridges: set[str]) -> str:
    """Names of states, each with the number of functions: the alarms first."""
    ordered = sorted(rows, key=lambda one: ("alarm", "warning", "note").index(one.severity))
    texts = []
    for name in dict.fromkeys(one.name for one in ordered):
        its = {one.bdf for one in rows if one.name == name}
        texts.append(f"{name} on {count(len(its), 'bridge' if its <= bridges else 'function')}")
    return ", ".join(texts)


def beside(kexec: KexecResult) -> list[Secondary]:
    """Secondary observations that the state watch does not report too."""
    watched = {(one.bdf, one.code) for one in kexec.state if one.code is not None}
    stated = stated_by_watch(kexec)
    return [
        one
        for one in kexec.secondary
        if (one.bdf, SECONDARY_CODES.get(one.kind)) not in watched and one not in stated
    ]


def row_text(one: StateVerdict) -> str:
    """One register of one function in a line."""
    accesses = " to ".join("?" if a is None else f"{a}" for a in (one.access_before, one.access_after))
    place = one.register if one.field == one.register else f"{one.register} {one.field}"
    text = f"{one.bdf} {place}: {one.before or '?'} to {one.after or '?'}, {one.verdict}"
    text += f" (accesses {accesses})"
    if one.code is not None:
        text += f" [{one.code}]"
    return f"{text}; {one.note}" if one.note else f"{text}; depends on it: {one.depends}"


def add_state(page: Page, kexec: KexecResult, verbosity: int) -> None:
    """Add the lines, each register that is part of a loss, and with ``verbosity`` every register."""
    found = lines(kexec)
    losses = [one for one in kexec.state if one.severity == "alarm"]
    worst: Style = "bad" if losses else "warn"
    if found:
        page.blank()
    for title, text in found:
        more = "" if verbosity else " (-v lists each register)"
        style: Style = worst if title == LINES[0][1] else ""
        page.prose(f"{title}: {text}{more}", indent=2, style=style)
    for title, text in notes(kexec):
        page.prose(f"{title}: {text}", indent=4, bullet=page.glyph("bullet"))
    for code in dict.fromkeys(one.code for one in losses if one.code is not None):
        page.prose(f"{code}: {RULES[code].advice}", indent=4, bullet=page.glyph("bullet"))
    rows = [*kexec.state, *kexec.state_undetermined] if verbosity else losses
    if verbosity and rows and not found:
        page.blank()
        page.line("  ", Span("Other state", "strong"))
    _add_rows(page, rows, len(rows) if verbosity > 1 else _MOST)


def _add_rows(page: Page, listed: Sequence[StateVerdict], most: int) -> None:
    for one in listed[:most]:
        page.prose(row_text(one), indent=4, bullet=page.glyph("bullet"))
    if len(listed) > most:
        page.line(f"    {page.glyph('more')} and {len(listed) - most:,} more (--format json lists all)")


def add_histories(page: Page, explanation: Explanation, verbosity: int) -> None:
    """Add the watched registers of a function over time: those that changed, with ``verbosity`` all."""
    shown = [
        one for one in explanation.registers if verbosity or len({each.value for each in one.values}) > 1
    ]
    if not explanation.registers:
        return
    page.blank()
    page.line(Span("Watched registers over time", "strong"))
    for one in shown:
        values = one.values if verbosity else one.values[:_MOST_VALUES]
        texts = [f"{each.value} (boot {each.boot}, {each.op} #{each.access})" for each in values]
        more = len(one.values) - len(values) + one.left_out
        if more:
            texts.append(f"{more} more (-v shows all)")
        page.prose(f"{one.register} {one.name}: {', '.join(texts)}", indent=2, bullet=page.glyph("bullet"))
    rest = len(explanation.registers) - len(shown)
    if rest:
        page.line(f"  {count(rest, 'more register')} with one value throughout (-v lists them)")


def add_verdicts(page: Page, kexec: KexecExplanation) -> None:
    """Add what became of the watched registers of one function at one kexec."""
    if not kexec.state:
        return
    kept = sum(one.verdict == "kept" for one in kexec.state)
    unknown = sum(one.verdict == "undetermined" and one.before is None for one in kexec.state)
    said = f"{kept} kept" + (f", {unknown} not captured on one side" if unknown else "")
    page.line(f"  Watched registers: {said}")
    for one in kexec.state:
        if one.verdict != "kept" and (one.verdict != "undetermined" or one.before is not None):
            page.prose(row_text(one), indent=4, bullet=page.glyph("bullet"))
