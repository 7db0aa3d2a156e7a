"""The reports that programs read, by the name of their format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.errors import UsageError
from analyzer.report.output import put_text

if TYPE_CHECKING:
    from analyzer.results import Analysis

MachineFormat = Literal["json", "jsonl", "csv", "junit", "sarif", "parquet"]


def refuse_output(form: str, output: str | None) -> None:
    """Refuse a binary format without a file to write it to.

    Raises:
        UsageError: ``parquet`` for standard output.
    """
    if form == "parquet" and output is None:
        raise UsageError("--format parquet writes a binary file", advice="name it: -o FILE")


def put(
    analysis: Analysis,
    form: MachineFormat,
    output: str | None,
) -> None:
    """Put a report out to standard output (None) or to a file (written atomically).

    Args:
        analysis: the result.
        form: its format.
        output: a path, or None.
    """
    if form == "parquet":
        refuse_output(form, output)
        from analyzer.report.verdict_table import write_findings

        write_findings(analysis, output or "")
    elif form == "junit":
        from analyzer.report.junit_report import junit_text

        put_text([junit_text(analysis)], output)
    elif form == "csv":
        from analyzer.report.verdict_table import csv_text

        put_text([csv_text(analysis)], output)
    elif form == "sarif":
        from analyzer.report.sarif_report import sarif_text

        put_text([sarif_text(analysis)], output)
    else:
        from analyzer.report import json_report

        lines = [json_report.json_text(analysis)] if form == "json" else json_report.json_lines(analysis)
        put_text(lines, output)
