"""Scenarios with built parts: documented, and what they expect follows from what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.lab import scenarios
from analyzer.lab.runner import cmdline

DOCUMENT = Path(__file__).parents[2] / "docs" / "lab-build.md"
BUILT = [scenario for scenario in scenarios.load_all() if scenario.parts == "built"]
# COMMAND_LINE_SIZE of x86, its end included; a kernel drops the rest of a longer one without a word.
LONGEST_LINE = 2047


@pytest.mark.parametrize("scenario", BUILT, ids=lambda scenario: scenario.name)
def test_a_scenario_is_documented(scenario: scenarios.Scenario) -> None:
    assert f"`{scenario.name}`" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", BUILT, ids=lambda scenario: scenario.name)
def test_command_lines_fit(scenario: scenarios.Scenario) -> None:
    assert all(len(cmdline(scenario, number)) <= LONGEST_LINE for number in range(len(scenario.boots)))


@pytest.mark.parametrize("scenario", BUILT, ids=lambda scenario: scenario.name)
def test_stranded_is_what_was_preserved_seen_before_and_is_missing_now(scenario: scenarios.Scenario) -> None:
    expected = iter(scenario.kexecs)
    for outgoing, incoming in zip(scenario.boots, scenario.boots[1:], strict=False):
        if outgoing.leave != "kexec":
            continue
        handed_over = set(scenario.topology.with_bridges_above(incoming.preserved))
        seen_before = set(outgoing.enumerated(scenario.topology))
        assert set(next(expected).stranded) == handed_over & seen_before & set(incoming.missing)
