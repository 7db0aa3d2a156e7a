"""``analyze stat``: what captures hold and lack, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.report.page import Span
from analyzer.report.wording import (
    clock,
    clock_name,
    duration,
    lost_records,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.questions.statistics import CaptureStatistics
    from analyzer.report.page import Page

_MOST_PROBLEMS = 10


def fill(page: Page, captures: Sequence[CaptureStatistics]) -> Page:
    """Write a block for each capture to ``page``."""
    for found in captures:
        page.blank()
        page.line(Span(found.path, "strong"))
        if found.error is not None:
            page.prose(f"unreadable: {found.error}", indent=2, style="warn")
            continue
        page.table([(name, text) for name, text in _facts(found) if text], indent=2, right=frozenset())
        _add_boots(page, found)
        for problem in found.errors[:_MOST_PROBLEMS]:
            place = f" at byte {problem.offset_bytes:#x}" if problem.offset_bytes is not None else ""
            page.prose(f"{problem.kind}{place}: {problem.message}", indent=2, style="warn")
        if len(found.errors) > _MOST_PROBLEMS:
            page.line(
                f"  and {count(len(found.errors) - _MOST_PROBLEMS, 'more problem')} (--format json lists all)"
            )
        if found.missing:
            page.line("  missing:")
            for text in found.missing:
                page.prose(text, indent=4, bullet=page.glyph("bullet"))
    return page


def _facts(found: CaptureStatistics) -> list[tuple[str, str]]:
    span = ""
    if found.start_ns is not None and found.end_ns is not None:
        length = duration(found.end_ns - found.start_ns)
        dates = clock_name(found.clock, found.start_ns)
        said = f"{dates}, {length}" if dates else length
        span = f"{clock(found.start_ns)} to {clock(found.end_ns)} ({said})"
    lost = []
    if found.truncated:
        lost.append("cut short")
    if found.dropped:
        lost.append(lost_records(found.dropped))
    if found.missing_dwords:
        lost.append(f"{count(found.missing_dwords, 'dword')} of the dump missing")
    also = []
    if found.log_lines:
        also.append(count(found.log_lines, "kernel log line"))
    if found.preserved_sets:
        also.append(count(found.preserved_sets, "preserved set"))
    if found.foreign_lines:
        also.append(count(found.foreign_lines, "foreign line"))
    if found.events:
        also.append(count(found.events, "event"))
    gaps = ", ".join(f"{duration(gap.duration_ns)} after access {gap.after_access}" for gap in found.gaps)
    return [
        ("format", found.format or "unknown"),
        ("files", ", ".join(file.path for file in found.files) if len(found.files) > 1 else ""),
        ("host", found.host or ""),
        ("recorded by", found.tool or ""),
        (
            "accesses",
            (
                f"{found.accesses:,} ({count(found.reads, 'read')}, {count(found.writes, 'write')}; "
                f"{found.extended:,} beyond 0xff, {found.absent:,} to absent functions)"
            ),
        ),
        ("left out", f"{found.thinned:,} repeated reads" if found.thinned else ""),
        ("functions", f"{found.functions:,} answered"),
        ("time", span),
        ("longest gaps", gaps),
        ("boots", f"{len(found.boots)}"),
        ("kexecs", f"{len(found.kexecs)}"),
        ("also", ", ".join(also)),
        ("losses", ", ".join(lost) or "none known: not cut short, no record dropped or missing"),
    ]


def _add_boots(page: Page, found: CaptureStatistics) -> None:
    entered = {kexec.at_access: kexec for kexec in found.kexecs}
    rows: list[tuple[str, ...]] = []
    for boot in found.boots:
        kexec = entered.get(boot.first_access)
        how = ""
        if kexec is not None:
            how = f"by kexec{f' ({kexec.kind})' if kexec.kind else ''}"
            if kexec.blackout_ns is not None:
                how += f", blackout {duration(kexec.blackout_ns)}"
        release = f"Linux {boot.release}" if boot.release else ""
        rows.append(
            (
                f"boot {boot.index}",
                boot.kind,
                f"accesses {boot.first_access} to {boot.last_access}",
                release,
                how,
            )
        )
    page.table(rows, indent=2, right=frozenset())
