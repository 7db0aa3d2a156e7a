"""Makes the sample builders beside this file importable from every test folder; counts random cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# No time ever decides a test: a busy machine may take long over one example.
settings.register_profile("aritrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aritrace")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many random machines the replay was compared on (see oracle/), and how many deletions."""
    counts = {"oracle_cases": 0, "oracle_completions": 0, "deletion_cases": 0, "completion_cases": 0}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in getattr(report, "user_properties", ()):
            if name in counts and report.when == "call":
                counts[name] += value
    if counts["oracle_cases"]:
        terminalreporter.write_line(f"oracle: {counts['oracle_cases']} cases compared")
    if counts["oracle_completions"]:
        terminalreporter.write_line(
            f"oracle: {counts['oracle_completions']} machines with unknown inputs compared"
        )
    if counts["deletion_cases"]:
        terminalreporter.write_line(
            f"deletions: {counts['deletion_cases']} answers compared with those of the whole input"
        )
    if counts["completion_cases"]:
        terminalreporter.write_line(
            f"missing bytes: {counts['completion_cases']} dumps completed with what the answer named"
        )
