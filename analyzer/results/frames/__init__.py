"""The result of an analysis as polars tables: one for each list of the JSON output, and all verdicts."""

from __future__ import annotations

from analyzer.results.frames.lists import (
    boots,
    bridges,
    captures,
    devices,
    divergences,
    errors,
    findings,
    kexecs,
    policies,
)
from analyzer.results.frames.verdict_table import verdict_table as verdicts

__all__ = [
    "boots",
    "bridges",
    "captures",
    "devices",
    "divergences",
    "errors",
    "findings",
    "kexecs",
    "policies",
    "verdicts",
]
