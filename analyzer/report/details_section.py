"""What ``-vv`` and ``-vvv`` add to the report on a capture: single accesses, decisions, premises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.report.explain_report import add_decisions, add_entries, add_walks
from analyzer.report.page import Span

if TYPE_CHECKING:
    from analyzer.questions.explain.working import Details
    from analyzer.report.page import Page

_EVERYTHING = 3
#: Registers that no rule judges that are listed before the rest is counted.
_MOST_RAW = 20


def add_premises(page: Page, details: Details) -> None:
    """Add how the capture was divided into boots and how its logs were aligned."""
    _add_list(page, "How the capture was divided", details.premises)


def add_kexec_details(page: Page, details: Details, place: int, *, verbosity: int) -> None:
    """Add how the verdicts of one kexec were reached.

    Args:
        page: the page to add to.
        details: of its capture.
        place: of the kexec in the capture.
        verbosity: 2 what each policy decides on each bridge with a finding; 3 with the citations, the walks
            over functions, and what the replay rests on.
    """
    everything = verbosity >= _EVERYTHING
    if everything:
        _add_list(page, "What the verdicts rest on", details.kexec_premises[place])
    for name, explained in details.working.kexecs[place].explained.items():
        page.blank()
        page.line("  ", Span(name, "strong"), f": what each policy decides ({explained.conclusion})")
        add_decisions(page, explained, indent=4, sources=everything)
        if everything:
            add_walks(page, explained, name, indent=4)


def add_raw_differences(page: Page, details: Details, place: int, *, verbosity: int) -> None:
    """Add the registers of one kexec that differ across it and that no rule judges."""
    found = details.raw[place] if place < len(details.raw) else []
    if not found:
        return
    page.blank()
    title = "Other registers that differ without a write in between (not judged)"
    page.line("  ", Span(title, "strong"))
    most = len(found) if verbosity >= _EVERYTHING else _MOST_RAW
    rows = [
        (
            one.bdf,
            f"{one.offset}.l",
            f"{one.before} -> {one.after}",
            f"#{one.access_before}, #{one.access_after}",
        )
        for one in found[:most]
    ]
    page.table(rows, indent=4, right=frozenset())
    if len(found) > most:
        page.line(f"    {page.glyph('more')} {count(len(found) - most, 'more register')} (-vvv lists them)")


def add_accesses(page: Page, details: Details, *, verbosity: int) -> None:
    """Add every access that shows or changes an ARI bit, bridge by bridge, over the whole capture."""
    found = details.working.lanes
    for lane in found.lanes:
        page.blank()
        kind = (lane.port_type or "bridge").replace("-", " ")
        page.line("  ", Span(lane.bdf, "strong"), f" {kind}: accesses that show or change ARI Forwarding")
        add_entries(page, lane.entries, everything=verbosity >= _EVERYTHING, indent=4)
        if lane.left_out:
            rest = count(lane.left_out, "more access", "more accesses")
            page.line(f"    {page.glyph('more')} {rest} (analyze explain CAPTURE {lane.bdf} -v shows all)")
    if found.events:
        page.blank()
        page.line("  ", Span("Events of the capture", "strong"))
        add_entries(page, found.events, indent=4)
    for number, noun in ((found.left_out, "more bridge"), (found.events_left_out, "more event")):
        if number:
            page.line(f"  {page.glyph('more')} {count(number, noun)} not listed")


def _add_list(page: Page, title: str, texts: list[str]) -> None:
    page.blank()
    page.line("  ", Span(title, "strong"))
    for text in texts:
        page.prose(text, indent=4, bullet=page.glyph("bullet"))
