from pathlib import Path

import pytest

from analyzer.cli.application import run

CAPTURE = str(Path(__file__).parents[2] / "traces" / "lost-explicit-write.bin")


@pytest.mark.parametrize(
    ("switches", "accesses", "premises"),
    [
        (["-v"], False, False),
        (["-vv"], True, False),
        (["-v", "-v"], True, False),
        (["-vvv"], True, True),
        (["-v", "-vvq"], True, True),
    ],
)
def test_vs_are_counted(capsys, switches, accesses, premises):
    assert run([CAPTURE, *switches]) == 1
    said = capsys.readouterr().out
    assert ("accesses that show or change ARI Forwarding" in said) == accesses
    assert ("How the capture was divided" in said) == premises
