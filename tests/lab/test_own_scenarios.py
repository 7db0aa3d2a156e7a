"""Scenarios of a user: files by their path, what they must say, and what a run of them shows."""

import tomllib
from pathlib import Path

import pytest

import analyzer
from analyzer.cli.application import run
from analyzer.errors import AritraceError, UsageError
from analyzer.lab import expectation, scenarios
from analyzer.lab.runner import Run

TRACES = Path(__file__).parents[2] / "traces"
#: A kexec at which bit 5 of a switch port is cleared, and what a stock kernel makes of it.
MINE = """
title = "Mine"
shows = "bit 5 cleared"
topology = "switch"
parts = "stock"

[[boots]]
leave = "kexec"

[[boots.blackout]]
bdf = "0000:02:00.0"
register = "CAP_EXP+28.w"
value = 0

[[boots]]
leave = "poweroff"
"""
EXPECT = """
[expect]
verdict = "findings"
exit_status = 0

[[expect.kexecs]]
kind = "plain"
policy = "stock"
bridges = { "0000:02:00.0" = "healed explicit-write" }
"""


@pytest.fixture
def mine(tmp_path):
    def write(text):
        (tmp_path / "my.toml").write_text(text)
        return str(tmp_path / "my.toml")

    return write


def test_a_file_is_a_scenario_of_its_name(mine):
    scenario = scenarios.load(mine(MINE + EXPECT))
    assert (scenario.name, scenario.verdict, len(scenario.kexecs)) == ("my", "findings", 1)


def test_one_without_expectations_can_only_be_looked_at(mine):
    with pytest.raises(UsageError, match="run it with --expect"):
        scenarios.load(mine(MINE))
    assert scenarios.load(mine(MINE), expected=False).kexecs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "not TOML"),
        ("\udcff", "not UTF-8: byte 0x0"),
        (MINE + "[expect]\nverdict = 1\n", "verdict: expected str, found 1"),
        (MINE + "[expect]\nverdict = 'clean'\nexit_status = 0\n", "every kexec needs its expectation"),
    ],
)
def test_files_that_are_no_scenarios(tmp_path, text, message):
    (tmp_path / "my.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AritraceError, match=message):
        scenarios.load(str(tmp_path / "my.toml"), expected=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["helaed-in-blackout"], "did you mean healed-in-blackout"),
        (["zzz"], "'analyze lab list' shows all; a file of yours ends in .toml"),
        (["./missing.toml"], "there is no such file"),
        (["clean", "sub/clean.toml"], "two scenarios are called clean"),
    ],
)
def test_what_is_refused_before_anything_is_run(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("sub/clean.toml").write_text(MINE + EXPECT)
    assert run(["lab", "run", *words]) in {2, 3}
    said = capsys.readouterr().err
    assert message in said
    assert len(said) < 300


def test_what_was_found_is_the_table_that_the_file_needs(mine):
    """The table of a real capture, put into the scenario, is read again as what was found."""
    (result,) = analyzer.analyze([str(TRACES / "healed-by-stock-kernel.bin")]).captures
    scenario = scenarios.load(mine(MINE), expected=False)
    everything = list(scenario.topology.functions)
    none = Path()
    done = Run(
        none,
        none,
        none,
        None,
        None,
        [],
        {1: everything, 2: [*everything[1:], "0000:09:00.0"]},
        [],
        "tcg",
        0.0,
    )
    text = expectation.table(scenario, done, result, 0)
    assert text.splitlines()[:2] == [
        f'# [[boots]] number 2: missing = ["{everything[0]}"]',
        '# [[boots]] number 2: added = ["0000:09:00.0"]',
    ]
    found = tomllib.loads(text)["expect"]
    assert (found["verdict"], found["exit_status"]) == (result.verdict, 0)
    (kexec,) = scenarios.load(mine(MINE + text)).kexecs
    assert kexec.bridges == {"0000:02:00.0": "healed selective-loss"}
    assert (kexec.kind, kexec.policy) == (result.kexecs[0].kind, result.kexecs[0].observed_policy)
