"""The rules that the lab's own kernel follows: how versions differ, and how one is chosen."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from analyzer.lab import scenarios
from analyzer.lab.runner import cmdline

BUILT = [scenario.name for scenario in scenarios.load_all() if scenario.parts == "built"]


@pytest.mark.parametrize("name", BUILT)
def test_every_scenario_runs_under_v9(name: str) -> None:
    scenario = scenarios.load(name, "v9")
    assert scenario.name == f"{name}-v9"
    lines = [cmdline(scenario, number).split() for number in range(len(scenario.boots))]
    assert all("lab_series=v9" in words for words in lines)


def test_v7_is_not_named_on_the_command_line() -> None:
    assert "lab_series" not in cmdline(scenarios.load("inherit-clean"), 1)


def test_where_v9_does_something_else() -> None:
    """Without a preserved bridge that lost its numbers on the bus, v9 assigns new ones."""
    differing = {
        name: scenarios.load(name, "v9").kexecs[-1].bridges
        for name in BUILT
        if scenarios.load(name).kexecs != scenarios.load(name, "v9").kexecs
    }
    assert differing == {
        "inherit-port-reset-beside": {
            "0000:02:00.0": "kept",
            "0000:02:01.0": "renumbered hot-reset",
        },
        "inherit-refused-beside": {
            "0000:01:00.0": "renumbered hot-reset",
            "0000:02:00.0": "renumbered hot-reset",
            "0000:02:01.0": "renumbered hot-reset",
            "0000:00:04.0": "kept",
        },
    }


@pytest.mark.parametrize("name", ["inherit-port-reset-beside", "inherit-refused-beside"])
def test_what_v9_assigns_numbers_to_is_enumerated(name: str) -> None:
    v7, v9 = scenarios.load(name), scenarios.load(name, "v9")
    assert v7.boots[1].missing
    assert v9.boots[1].enumerated(v9.topology) == list(v9.topology.functions)


def test_other_kernels_follow_no_series() -> None:
    with pytest.raises(UsageError, match="clean: only the lab's own kernel has the rules of series v9"):
        scenarios.load("clean", "v9")
