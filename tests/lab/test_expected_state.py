"""What a scenario expects of the state watch: how it is written, compared, and shown."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import analyzer
from analyzer.errors import UsageError
from analyzer.lab import expectation, expected_state, scenarios
from analyzer.lab.comparison import Outcome, compare
from analyzer.lab.data_files import Table
from analyzer.lab.runner import Run
from analyzer.report import lab_report
from analyzer.report.page import Page, plain

if TYPE_CHECKING:
    from analyzer.results import CaptureResult

CAPTURE = Path(__file__).parents[2] / "traces" / "inherit-isolation-lost.bin"
PORT = "0000:00:04.0"
#: A root port was reset in the blackout. Bus Master of a device ended with the outgoing kernel: ``expected``,
#: which no report says without being asked.
SAID = {PORT: ("ACS lost", "bridge window lost")}
SCENARIO = """
title = "Mine"
shows = "a root port is reset"
topology = "chain"
parts = "built"

[[boots]]
leave = "kexec"

[[boots]]
preserved = ["0000:03:00.0"]
leave = "poweroff"
missing = ["0000:05:00.0", "0000:05:01.0"]
"""


@pytest.fixture(scope="module")
def result() -> CaptureResult:
    return analyzer.analyze([str(CAPTURE)]).captures[0]


def read(state: dict[str, object]) -> dict[str, tuple[str, ...]]:
    return expected_state.read(Table("my.toml state", state), {PORT})


def test_each_function_has_names_and_verdicts() -> None:
    assert read({PORT: ["bridge window lost", "ACS healed"]}) == {PORT: ("ACS healed", "bridge window lost")}
    assert read({}) == {}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({PORT: "ACS lost"}, "expected list, found 'ACS lost'"),
        ({PORT: ["ACS"]}, "expected the name of a watched state and its verdict, found 'ACS'"),
        ({PORT: ["ARI lost"]}, "found 'ARI lost'"),
        ({PORT: ["ACS gone"]}, "found 'ACS gone'"),
        ({PORT: ["Bus Master expected"]}, "found 'Bus Master expected'"),
        ({"0000:09:00.0": ["ACS lost"]}, "no kernel of this scenario enumerates 0000:09:00.0"),
    ],
)
def test_what_is_refused(state: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(state)


def test_what_the_watch_says_of_a_real_capture(result: CaptureResult) -> None:
    assert expected_state.said(result.kexecs[0]) == SAID


@pytest.mark.parametrize(
    ("wanted", "sentences"),
    [
        (SAID, []),
        ({}, [f"state of {PORT}: unexpected ACS lost, bridge window lost"]),
        (
            {PORT: ("ACS healed",), "0000:03:00.0": ("BAR lost",)},
            [
                f"state of {PORT}: missing ACS healed",
                f"state of {PORT}: unexpected ACS lost, bridge window lost",
                "state of 0000:03:00.0: missing BAR lost",
            ],
        ),
    ],
)
def test_every_difference_is_a_sentence(wanted: dict[str, tuple[str, ...]], sentences: list[str]) -> None:
    assert list(expected_state.differences(wanted, SAID)) == sentences


def test_a_false_alarm_fails_a_scenario(result: CaptureResult, tmp_path: Path) -> None:
    """The table that --expect shows is read again; without its state the same run is not as expected."""
    (tmp_path / "mine.toml").write_text(SCENARIO)
    first = scenarios.load(str(tmp_path / "mine.toml"), expected=False)
    whole = list(first.topology.functions)
    seen = {1: whole, 2: first.boots[1].enumerated(first.topology)}
    run = Run(Path(), Path(), Path(), None, None, [], seen, [], "tcg", 0.0)
    text = expectation.table(first, run, result, 1)
    assert tomllib.loads(text)["expect"]["kexecs"][0]["state"] == {PORT: list(SAID[PORT])}
    without = text[: text.index("[expect.kexecs.state]")]
    for table, problems in (
        (text, []),
        (without, [f"kexec 0: state of {PORT}: unexpected ACS lost, bridge window lost"]),
    ):
        (tmp_path / "mine.toml").write_text(SCENARIO + table)
        assert compare(scenarios.load(str(tmp_path / "mine.toml")), run, result, 1) == problems


def test_a_run_says_it_in_a_line(result: CaptureResult) -> None:
    page = lab_report.fill_run(Page(), [Outcome("mine", "Mine", [], result=result)])
    (line,) = [line for line in plain(page).splitlines() if "Other state lost" in line]
    assert line.strip() == "Other state lost: ACS on 1 bridge, bridge window on 1 bridge"
