"""Evidence as lines: access number, byte offset, time, the register access itself, and what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.report.page import Span
from analyzer.report.wording import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.page import Page
    from analyzer.results import Evidence


def add_evidence(page: Page, evidence: Sequence[Evidence], *, indent: int, name_files: bool = False) -> None:
    """Add one line for each piece of evidence, in columns.

    Args:
        page: the page to add to.
        evidence: accesses or log lines (``access`` None).
        indent: columns before the lines.
        name_files: the capture has several files, so name the one that each access is in.
    """
    rows: list[tuple[str | Span, ...]] = []
    for item in evidence:
        place = "log" if item.access is None else f"#{item.access}"
        offset = "" if item.offset_bytes is None else f"@{item.offset_bytes:#x}"
        time = "" if item.time_ns is None else clock(item.time_ns)
        row: list[str | Span] = [
            Span(place, "dim"),
            Span(offset, "dim"),
            Span(time, "dim"),
            access_text(item.op, item.bdf, item.register, item.value),
            item.note,
        ]
        if name_files:
            row.insert(0, Span(item.file.replace("\\", "/").rsplit("/", 1)[-1], "dim"))
        rows.append(tuple(row))
    numbers = range(1, 4) if name_files else range(3)
    page.table(rows, indent=indent, right=frozenset(numbers))


def access_text(op: str | None, bdf: str | None, register: str | None, value: str | None) -> str:
    """Return an access as ``write 0000:02:00.0 CAP_EXP+28.w = 0x0000``, as far as known."""
    parts = [part for part in (f"{op:5}" if op else None, bdf, register) if part]
    return f"{' '.join(parts)} = {value}" if value is not None else " ".join(parts)
