"""``analyze fleet report --format json``: the keys are those of :mod:`analyzer.fleet.answers`, a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.fleet.answers import REPORT_SCHEMA
from analyzer.report.json_report import dumps
from analyzer.version import NAME, version

if TYPE_CHECKING:
    from analyzer.fleet.answers import FleetReport


def text(report: FleetReport) -> str:
    """Return the report as one indented JSON object, ending in a newline."""
    return dumps({"schema": REPORT_SCHEMA, "tool": {"name": NAME, "version": version()}} | vars(report))
