"""The address for faults stands in one place, and everything that asks for a report names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from analyzer.report import problems
from analyzer.results.rules import RULES
from analyzer.version import ISSUES

ROOT = Path(__file__).parents[1]
#: Written by a program from the constant.
MADE = {"docs/man/analyze.1"}


def test_one_file_has_the_address() -> None:
    folders = ("analyzer", "schemas", "docs", ".ci", "tests", "traces/capture")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix != ".pyc"]
    found = {
        str(path.relative_to(ROOT))
        for path in [*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml"]
        if path.is_file() and ISSUES.encode() in path.read_bytes()
    }
    assert found - MADE == {"analyzer/version.py"}


def test_each_request_for_a_report_names_it(capsys) -> None:
    assert ISSUES in RULES["ARI011"].advice
    problems.complain_about_crash(RuntimeError("a surprise"), trace=False)
    assert f"please report it at {ISSUES} with this line" in capsys.readouterr().err
    said = subprocess.run(
        [sys.executable, "-m", "analyzer.cli.manual"], check=True, capture_output=True, text=True
    ).stdout
    assert ISSUES.replace("-", "\\-") in said


def test_documents_that_ask_for_a_report_lead_to_it() -> None:
    assert "`analyze --version`" in (ROOT / "SECURITY.md").read_text("utf-8")
    for path in ROOT.glob("docs/*.md"):
        text = path.read_text("utf-8")
        assert ("please report" not in text) or "SECURITY.md#reporting" in text, path
