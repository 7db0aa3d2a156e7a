"""What else a kexec cost: the state watch in one line for each verdict, and every register on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.report.wording import count
from analyzer.results.rules import SECONDARY_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.page import Page, Style
    from analyzer.results import KexecResult, Secondary, StateVerdict, StateVerdictName

#: Verdicts that a report says without being asked, and how a line about them begins.
LINES: Final[tuple[tuple[StateVerdictName, str], ...]] = (
    ("lost", "Also lost"),
    ("changed", "Also changed"),
    ("healed", "Also lost, and set again by the incoming kernel"),
    ("cleared", "Changed by the incoming kernel's own writes"),
)
UNDETERMINED: Final = "Differs, and who changed it is not in the input"
_MOST: Final = 40


def lines(kexec: KexecResult) -> list[tuple[str, str]]:
    """Each line's beginning and its text: ``("Also lost", "ACS on 2 bridges, MPS on 1 function")``."""
    found = [(title, [one for one in kexec.state if one.verdict == word]) for word, title in LINES]
    found.append((UNDETERMINED, kexec.state_undetermined))
    bridges = {bridge.bdf for bridge in kexec.bridges}
    return [(title, _counted(rows, bridges)) for title, rows in found if rows]


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
    watched = {(one.bdf, one.code) for one in kexec.state}
    return [one for one in kexec.secondary if (one.bdf, SECONDARY_CODES.get(one.kind)) not in watched]


def row_text(one: StateVerdict) -> str:
    """One register of one function in a line."""
    accesses = " to ".join("?" if a is None else f"{a}" for a in (one.access_before, one.access_after))
    text = f"{one.bdf} {one.register} {one.field}: {one.before or '?'} to {one.after or '?'}, {one.verdict}"
    text += f" (accesses {accesses})"
    if one.code is not None:
        text += f" [{one.code}]"
    return f"{text}; {one.note}" if one.note else f"{text}; depends on it: {one.depends}"


def add_state(page: Page, kexec: KexecResult, verbosity: int) -> None:
    """Add the lines, and with ``verbosity`` each register."""
    found = lines(kexec)
    worst: Style = "bad" if any(one.severity == "alarm" for one in kexec.state) else "warn"
    if found:
        page.blank()
    for title, text in found:
        more = "" if verbosity else " (-v lists them)"
        style: Style = worst if title == LINES[0][1] else ""
        page.prose(f"{title}: {text}{more}", indent=2, style=style)
    if verbosity:
        rows = [*kexec.state, *kexec.state_undetermined]
        _add_rows(page, rows, len(rows) if verbosity > 1 else _MOST)


def _add_rows(page: Page, listed: Sequence[StateVerdict], most: int) -> None:
    for one in listed[:most]:
        page.prose(row_text(one), indent=4, bullet=page.glyph("bullet"))
    if len(listed) > most:
        page.line(f"    {page.glyph('more')} and {len(listed) - most:,} more (--format json lists all)")
