"""Names in a preserved list that the input does not show: never passed over."""

from __future__ import annotations

import pytest

from analyzer.analysis import analyze
from analyzer.cli.application import run
from analyzer.options import Options
from analyzer.questions.atrisk import atrisk

CLEAN = "traces/clean-inherit.bin"


@pytest.mark.parametrize(
    ("preserved", "verdict", "weight", "kinds"),
    [
        ("0000:03:00.0", "clean", None, []),
        ("0:0000:03:00.0", "clean", None, []),
        ("0000:77:00.0", "undetermined", "doubt", []),  # a typo
        ("5:0000:03:00.0", "undetermined", "doubt", ["no-such-kexec"]),
        ("0000:03:00.0,5:0000:03:01.0", "undetermined", "doubt", ["no-such-kexec"]),
    ],
)
def test_the_main_job(preserved: str, verdict: str, weight: str | None, kinds: list[str]) -> None:
    (result,) = analyze([CLEAN], Options(preserved=preserved)).captures
    assert (result.verdict, result.weight) == (verdict, weight)
    assert [problem.kind for problem in result.errors] == kinds


@pytest.mark.parametrize(
    ("preserved", "verdict", "unknown"),
    [
        ("0000:03:00.0", "at-risk", []),
        ("0000:06:00.0", "safe", []),  # below a port where nothing depends on ARI Forwarding
        ("0000:77:00.0", "cannot-tell", ["0000:77:00.0"]),
        ("0000:06:00.0,0000:77:00.0", "cannot-tell", ["0000:77:00.0"]),
    ],
)
def test_atrisk(preserved: str, verdict: str, unknown: list[str]) -> None:
    found = atrisk(CLEAN, Options(preserved=preserved))
    assert (found.verdict, [item.bdf for item in found.unknown]) == (verdict, unknown)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([CLEAN, "--preserved", ""], "expected at least one [KEXEC:]dddd:bb:dd.f, found none"),
        (["atrisk", CLEAN, "--preserved", ","], "expected at least one [KEXEC:]dddd:bb:dd.f, found none"),
        (["atrisk", CLEAN, "--preserved", "1:0000:03:00.0"], "write addresses without the number of a kexec"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert said in capsys.readouterr().err
