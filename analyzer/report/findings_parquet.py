"""Write what an analysis found as Parquet: the table of verdicts, its meaning in the key-value metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from analyzer.results import SCHEMA_VERSION
from analyzer.results.frames.verdict_table import verdict_table
from analyzer.results.parquet import put_table
from analyzer.version import NAME, version
from analyzer.writing import replacing

if TYPE_CHECKING:
    import os

    from analyzer.results import Analysis

#: Key of the metadata. Its value is a JSON object: ``schema``, ``tool`` and ``policy`` of the JSON output.
METADATA_KEY: Final = "aritrace"


def write_findings(analysis: Analysis, path: str | os.PathLike[str]) -> None:
    """Write the table of verdicts (:mod:`analyzer.results.frames.verdict_table`) atomically.

    Raises:
        UsageError: the operating system refuses to write there.
    """
    about = {
        "schema": SCHEMA_VERSION,
        "tool": {"name": NAME, "version": version()},
        "policy": analysis.policy,
    }
    with replacing(path) as stream:
        put_table(verdict_table(analysis), stream, {METADATA_KEY: json.dumps(about, ensure_ascii=True)})
