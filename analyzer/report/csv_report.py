"""The table of verdicts for a spreadsheet: a header line, and one line of values for each row."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from analyzer.escaping import inert
from analyzer.report.evidence import access_text
from analyzer.results.frames.verdict_table import verdict_table

if TYPE_CHECKING:
    from analyzer.results import Analysis

#: First characters that a spreadsheet takes for the start of a formula, wide forms included.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(analysis: Analysis) -> str:
    """Return the table of verdicts (:mod:`analyzer.results.frames.verdict_table`) as CSV.

    A cell holds one value: instead of the list ``stranded`` there is its length as ``stranded_count``, and
    ``evidence`` is text. Unknown values are empty, truth values ``true`` and ``false``. Text is inert for
    terminals, and for spreadsheets too: what looks like a formula begins with an apostrophe.
    """
    table = verdict_table(analysis)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow("stranded_count" if name == "stranded" else name for name in table.columns)
    for row in table.iter_rows(named=True):
        writer.writerow(_cell(name, value) for name, value in row.items())
    return target.getvalue()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return str(len(value)) if name == "stranded" else "; ".join(inert(_evidence(item)) for item in value)
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    harmless = inert(value)
    return f"'{harmless}" if harmless.startswith(_FORMULA) else harmless


def _evidence(item: dict[str, Any]) -> str:
    place = "log" if item["access"] is None else f"#{item['access']}"
    offset = "" if item["offset_bytes"] is None else f" @{item['offset_bytes']:#x}"
    said = access_text(item["op"], item["bdf"], item["register"], item["value"])
    return " ".join(f"{place}{offset} {said} ({item['note']})".split())
