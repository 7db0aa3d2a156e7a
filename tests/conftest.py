"""Makes the sample builders beside this file importable from every test folder; counts random machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# No time ever decides a test: a busy machine may take long over one example.
settings.register_profile("aritrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aritrace")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many random machines the replay was compared on (see oracle/)."""
    counts = {"oracle_cases": 0, "oracle_completions": 0}
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
