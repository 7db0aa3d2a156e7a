"""Other registers at their reset values: the words, and what captures of the corpus show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from result_samples import bridge

from analyzer.analysis import analyze
from analyzer.replay.world import Node, World
from analyzer.verdicts.reset_signature import noted, text

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


class Watched:
    """Counts of registers by function."""

    def __init__(self, counts: dict[int, tuple[int, int]]) -> None:
        self.at_reset = counts.get


PATHS = {0x08: (0, 8), 0x100: (0, 8, 0), 0x200: (0, 8, 0, 8), 0x10: (0, 0x10), 0x300: (0, 0x10, 8, 0)}


@pytest.mark.parametrize(
    ("bdf", "cause", "counts", "said"),
    [
        ("0000:00:01.0", "hot-reset", {0x08: (7, 7)}, ALL),
        ("0000:00:01.0", None, {0x08: (7, 7)}, None),
        ("0000:00:01.0", "hot-reset", {0x100: (7, 7)}, None),  # it is not compared
        ("0000:09:00.0", "hot-reset", {0x900: (7, 7)}, None),  # it has no place
        (
            "0000:00:01.0",
            "hot-reset",
            {0x08: (7, 7), 0x100: (3, 4), 0x200: (5, 6), 0x10: (8, 8), 0x300: (9, 9)},
            f"{ALL}; on 2 functions below it 8 of 10",
        ),
        # below it one without a value of its own, and one that is not compared
        ("0000:00:01.0", "hot-reset", {0x08: (6, 7), 0x100: (0, 0)}, SOME),
        ("0000:00:02.0", "hot-reset", {0x08: (6, 7), 0x10: (6, 7), 0x300: (1, 1)},
         f"{SOME}; on 1 function below it 1 of 1"),
    ],
)  # fmt: skip
def test_the_numbers_stand_beside_a_cause(
    bdf: str, cause: str | None, counts: dict[int, tuple[int, int]], said: str | None
) -> None:
    nodes = {key: Node(path, outgoing=key) for key, path in PATHS.items()}
    new = Node((0, 8, 8), outgoing=None)  # the outgoing kernel did not know it
    world = World({}, {node.path: node for node in (*nodes.values(), new)}, nodes)
    judged = bridge(bdf, "lost", cause=cause)
    found = noted(judged, SimpleNamespace(world=world), Watched(counts | {None: (1, 1)}))
    assert found == replace(judged, registers_note=said)


def test_one_register() -> None:
    assert text((1, 1), []) == "the one other watched register of the port has its reset value"
    assert text((2, 2), []) == "all 2 other watched registers of the port have their reset values"
