"""Other registers at their reset values: the words, and what captures of the corpus show."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.verdicts.reset_signature import text

TRACES = Path(__file__).parents[2] / "traces"
ALL = "all 7 other watched registers of the port have their reset values"
SOME = "6 of 7 other watched registers of the port have their reset values"
NONE = "none of 9 other watched registers of the port has its reset value"


@pytest.mark.parametrize(
    ("own", "below", "said"),
    [
        ((7, 7), [], ALL),
        ((6, 7), [(16, 20), (0, 1)], f"{SOME}; on 2 functions below it 16 of 21"),
        ((0, 9), [(0, 4)], f"{NONE}; on 1 function below it 0 of 4"),
        ((0, 0), [], "no other watched register of the port had a value that a reset would change"),
    ],
)
def test_the_words(own: tuple[int, int], below: list[tuple[int, int]], said: str) -> None:
    assert text(own, below) == said


@pytest.mark.parametrize(
    ("name", "cause", "said"),
    [
        ("lost-selective-in-blackout", "selective-loss", "none of"),
        ("lost-explicit-write", "explicit-write", "none of"),
        ("switch-reset-in-blackout", "secondary-bus-reset", "all 6 other watched registers"),
        ("inherit-nested-hot-reset", "hot-reset", "all 7 other watched registers"),
    ],
)
def test_the_numbers_of_a_capture(name: str, cause: str, said: str) -> None:
    """A reset and the loss of one bit differ in them; the causes were reached without."""
    (capture,) = analyze([str(TRACES / f"{name}.bin")]).captures
    notes = [b.registers_note or "" for k in capture.kexecs for b in k.bridges if b.cause == cause]
    assert notes
    assert notes[0].startswith(said)


def test_a_bridge_without_a_cause_has_no_numbers() -> None:
    (capture,) = analyze([str(TRACES / "clean-inherit.bin")]).captures
    assert {bridge.registers_note for bridge in capture.kexecs[0].bridges} == {None}
