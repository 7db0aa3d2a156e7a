"""The report that a person reads: one line that says whether something was lost, then as much as is needed.

The first line of a single capture is the verdict. Several captures get a line each, at the end, where a
terminal shows it; above it come a few in full (all of them with ``-v``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.distinct_questions import ASKED
from analyzer.plurals import count
from analyzer.report import details_section, headline, hints
from analyzer.report.kexec_section import add_kexec
from analyzer.report.page import Span
from analyzer.report.wording import (
    dates_in,
    duration,
    lost_records,
    missing_dwords,
    no_boundary,
)

if TYPE_CHECKING:
    from analyzer.questions.explain.working import Details, DetailsGatherer
    from analyzer.report.headline import Headline
    from analyzer.report.page import Page
    from analyzer.results import Analysis, CaptureResult

#: Problems of one capture that are shown before the rest is counted.
_MOST_PROBLEMS = 10
_QUIET_WORDS = frozenset({"clean", "NO KEXEC"})
#: Captures of one run that are shown in full without -v.
MOST_IN_FULL = 3


def fill(
    page: Page,
    analysis: Analysis,
    *,
    verbosity: int = 0,
    details: DetailsGatherer | None = None,
) -> Page:
    """Write the report on ``analysis`` to ``page``.

    Args:
        page: an empty page, see :func:`analyzer.report.page.new_page`.
        analysis: the result of the main job.
        verbosity: 0 details where something was found, of few captures; 1 of all, with every bridge and
            function; 2 with the accesses that show or change an ARI bit and each policy's decisions; 3 with
            everything.
        details: what verbosity 2 and 3 need.

    Returns:
        The page.
    """
    lines = [headline.of_capture(capture) for capture in analysis.captures]
    several = len(lines) > 1
    if not several:
        _add_headline(page, analysis)
    in_full = verbosity > 0 or len(lines) <= MOST_IN_FULL
    for line, capture in zip(lines, analysis.captures, strict=True):
        if line.word == "UNREADABLE":
            continue  # its line in the overview is complete
        if not several or verbosity or (in_full and line.word not in _QUIET_WORDS):
            known = details.of(capture) if details is not None else None
            _add_capture(page, capture, verbosity, known, separated=page.lines != [])
        elif _is_limited(capture):
            _add_limits_only(page, capture)
    _add_hints(page, analysis)
    if verbosity > 2:
        _add_questions(page)
    if several:
        _add_overview(page, analysis, lines, in_full=in_full)
    return page


def _add_hints(page: Page, analysis: Analysis) -> None:
    found = hints.of_analysis(analysis)
    if found and page.lines:
        page.blank()
    for hint in found:
        page.prose(f"Hint: {hint.text}:", indent=2)
        page.line(f"    {hint.command}")  # on a line of its own, to be copied


def _add_questions(page: Page) -> None:
    """How many different questions the rules were asked: captures of machines of one model ask the same."""
    asked = [f"{rule} {distinct} of {every}" for rule, (distinct, every) in sorted(ASKED.items())]
    if asked:
        page.blank()
        page.prose(
            f"Rules, and how many of the questions to each were different: {', '.join(asked)}.", indent=2
        )


def _add_headline(page: Page, analysis: Analysis) -> None:
    whole = headline.of_analysis(analysis)
    page.line(Span(f"{whole.title}:", whole.style), " ", Span(whole.text, "strong"))


def _add_overview(page: Page, analysis: Analysis, lines: list[Headline], *, in_full: bool) -> None:
    """A line for each capture and one for all of them: the last that a terminal shows."""
    if page.lines:
        page.blank()
    page.table(
        [
            (Span(line.title, line.style), capture.path, line.text)
            for line, capture in zip(lines, analysis.captures, strict=True)
        ],
        indent=2,
        right=frozenset(),
    )
    page.blank()
    if not in_full and any(line.word not in _QUIET_WORDS for line in lines):
        page.prose("'analyze CAPTURE' shows one of them in full, -v all of them.", style="dim")
    _add_headline(page, analysis)


def _is_limited(capture: CaptureResult) -> bool:
    return bool(
        capture.errors
        or capture.truncated
        or capture.dropped
        or capture.missing_dwords
        or any(k.warnings for k in capture.kexecs)
    )


def _add_capture(
    page: Page, capture: CaptureResult, verbosity: int, details: Details | None, *, separated: bool = True
) -> None:
    if separated:
        page.blank()
    page.line(Span(capture.path, "strong"), _facts(capture))
    _add_limits(page, capture)
    if verbosity:
        _add_boots(page, capture)
    if details is not None and verbosity > 2:
        details_section.add_premises(page, details)
    for place, kexec in enumerate(capture.kexecs):
        add_kexec(page, capture, kexec, verbosity=verbosity)
        if details is not None and verbosity > 1:
            details_section.add_raw_differences(page, details, place, verbosity=verbosity)
            details_section.add_kexec_details(page, details, place, verbosity=verbosity)
    if details is not None and verbosity > 1:
        details_section.add_accesses(page, details, verbosity=verbosity)
    elif verbosity > 1:
        page.blank()
        page.prose("For so many captures the details are not kept: analyse this capture alone.", indent=2)
    if capture.verdict == "no-kexec":
        known = no_boundary(cut=capture.truncated)
        page.prose(f"{known} If you know that there was a kexec, give its place with --kexec-at.", indent=2)


def _add_limits_only(page: Page, capture: CaptureResult) -> None:
    page.blank()
    page.line(Span(capture.path, "strong"))
    _add_limits(page, capture)
    for kexec in capture.kexecs:
        for warning in kexec.warnings:
            page.prose(f"Warning: kexec {kexec.index}: {warning}", indent=2, style="warn")


def _facts(capture: CaptureResult) -> str:
    facts = [capture.format or "format unknown", count(capture.accesses, "access", "accesses")]
    if len(capture.files) > 1:
        facts.append(count(len(capture.files), "file"))
    facts.append(count(len(capture.kexecs), "kexec"))
    if capture.host:
        facts.append(f"host {capture.host}")
    if dates := dates_in(capture):
        facts.append(f"times in {dates}")
    return f"  ({', '.join(facts)})"


def _add_limits(page: Page, capture: CaptureResult) -> None:
    """Add what limits the answer: damage, a cut, lost records."""
    if capture.truncated:
        page.prose("The capture is cut short: it is analysed up to the cut.", indent=2, style="warn")
    if capture.dropped:
        page.prose(f"{lost_records(capture.dropped)}: what they held is unknown.", indent=2, style="warn")
    if capture.missing_dwords:
        page.prose(
            f"{missing_dwords(capture.missing_dwords)}: what they held is unknown.", indent=2, style="warn"
        )
    for problem in capture.errors[:_MOST_PROBLEMS]:
        place = f" at byte {problem.offset_bytes:#x}" if problem.offset_bytes is not None else ""
        elsewhere = problem.file not in ("", capture.path)  # a recorder need not name its own file
        file = f"{problem.file or capture.path}{place}: " if elsewhere or place else ""
        page.prose(f"{problem.kind}: {file}{problem.message}", indent=2, style="warn")
    if len(capture.errors) > _MOST_PROBLEMS:
        rest = count(len(capture.errors) - _MOST_PROBLEMS, "more problem")
        page.prose(f"and {rest} (--format json lists all)", indent=2, style="warn")


def _add_boots(page: Page, capture: CaptureResult) -> None:
    rows: list[tuple[str | Span, ...]] = []
    for boot in capture.boots:
        length = ""
        if boot.start_ns is not None and boot.end_ns is not None:
            length = duration(boot.end_ns - boot.start_ns)
        release = f"Linux {boot.release}" if boot.release else ""
        accesses = f"accesses {boot.first_access} to {boot.last_access}"
        rows.append((f"boot {boot.index}", boot.kind, accesses, length, release))
    page.table(rows, indent=2, right=frozenset())
