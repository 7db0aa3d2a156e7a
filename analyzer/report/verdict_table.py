"""The table of verdicts (:func:`analyzer.results.frames.verdicts`) for other programs: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

from analyzer.capture import FunctionUse
from analyzer.escaping import inert
from analyzer.report.evidence import access_text
from analyzer.results import frames
from analyzer.results.parquet import put_table
from analyzer.version import NAME, version
from analyzer.writing import replacing

if TYPE_CHECKING:
    import os

    from analyzer.results import Analysis

#: Version of the Parquet table: columns may be added under the same number.
TABLE_SCHEMA: Final = 1
#: First characters that a spreadsheet takes for the start of a formula, wide forms included.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(analysis: Analysis) -> str:
    """Return the table of verdicts as CSV: a header line, and one line of values for each row.

    A cell holds one value: instead of the list ``stranded`` there is its length as ``stranded_count``;
    ``evidence`` and ``was`` are text. Unknown values are empty, truth values ``true`` and ``false``. Text is
    inert for terminals, and for spreadsheets too: what looks like a formula begins with an apostrophe.
    """
    table = frames.verdicts(analysis)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow("stranded_count" if name == "stranded" else name for name in table.columns)
    for row in table.iter_rows(named=True):
        writer.writerow(_cell(name, value) for name, value in row.items())
    return target.getvalue()


def write_findings(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Write the table of verdicts as Parquet, atomically.

    ``aritrace`` in its metadata is a JSON object: ``schema``, and ``tool`` and ``policy`` of the JSON output.

    Raises:
        UsageError: the operating system refuses to write there.
    """
    about = {
        "schema": TABLE_SCHEMA,
        "tool": {"name": NAME, "version": version()},
        "policy": analysis.policy,
    }
    with replacing(path) as stream:
        put_table(frames.verdicts(analysis), stream, json.dumps(about, ensure_ascii=True))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if name == "stranded":
        return str(len(value))
    if name == "was":
        return _text(FunctionUse(**value).text)
    if name == "evidence":
        return "; ".join(inert(_evidence(item)) for item in value)
    return _text(value if isinstance(value, str) else str(value))


def _text(value: str) -> str:
    harmless = inert(value)
    return f"'{harmless}" if harmless.startswith(_FORMULA) else harmless


def _evidence(item: dict[str, Any]) -> str:
    place = "log" if item["access"] is None else f"#{item['access']}"
    offset = "" if item["offset_bytes"] is None else f" @{item['offset_bytes']:#x}"
    said = access_text(item["op"], item["bdf"], item["register"], item["value"])
    return " ".join(f"{place}{offset} {said} ({item['note']})".split())
