"""The benchmark works. Its figures decide nothing here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent / "bench"


def test_a_quick_run() -> None:
    """One section from start to end; the reading functions compare among themselves how much they read."""
    command = [sys.executable, str(BENCH / "run.py"), "--quick", "--profile", "native"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "### Native capture" in run.stdout
    for words in (
        "decode | 100,000",
        "whole analysis | 100,000",
        "interpreted Construct",
        "Where the time goes",
    ):
        assert words in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nativ"], "expected sections of startup, native"),
        (["--quick", "--write"], "leave --quick or --write out"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    command = [sys.executable, str(BENCH / "run.py"), *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 2
    assert message in run.stderr


def test_only_what_was_measured_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import document
    import measuring

    page = tmp_path / "performance.md"
    page.write_text(f"before\n\n{document.BEGIN}\n\nnothing yet\n\n{document.END}\n\nafter\n")
    monkeypatch.setattr(document, "DOCUMENT", page)
    plan = measuring.Plan(tmp_path)

    def write(**figures: str) -> str:
        parts = {
            name: document.part(name, name.title(), [measuring.Table("Figures", ("a",), [(figure,)])], plan)
            for name, figure in figures.items()
        }
        document.write(measuring.Table("Machine", ("b",), []), parts, ("native", "pcap"))
        return page.read_text()

    first = write(pcap="1st pcap")
    assert first.startswith("before\n")
    assert first.endswith("\n\nafter\n")
    assert "nothing yet" not in first
    both = write(native="1st native")
    assert both.index("1st native") < both.index("1st pcap")
    again = write(native="2nd native")
    assert "1st native" not in again
    assert "1st pcap" in again
    assert again.count("| b |") == 1


def test_the_seconds_of_an_earlier_commit_stand_beside_those_of_the_same_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The earlier benchmark measured one program less, and has no second table."""
    monkeypatch.syspath_prepend(str(BENCH))
    from earlier import beside, tables_of
    from measuring import Table

    head = ("", "accesses", "seconds", "asked for")
    now = [
        Table("One", head, [["decode", "10", "0.2", "≥ 1"], ["new program", "10", "0.3", ""]]),
        Table("Where the time goes", ("function", "time"), [["f", "9%"]]),
        Table("Two", head, [["decode", "10", "0.4", ""]]),
    ]
    then = tables_of(
        "Then:\n\n|  | accesses | seconds |\n|---|---|---|\n| decode | 10 | 0.1 |\n\n`run`, today."
    )
    assert [table.rows for table in beside(now, then, "0f09709")] == [
        [["decode", "10", "0.2", "0.1", "≥ 1"], ["new program", "10", "0.3", "", ""]],
        [["f", "9%"]],
        [["decode", "10", "0.4", "", ""]],
    ]
