"""Which version of the patches an incoming kernel has, and whether it takes the data that it was handed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made_worlds import of_nodes

from analyzer import series
from analyzer.errors import UsageError
from analyzer.observed.registers.functions import BusNumbers
from analyzer.preservation.preserved import HandedOver
from analyzer.replay import series_recognition
from analyzer.replay.enumeration import Prediction
from analyzer.replay.profile import Profile
from analyzer.replay.series_recognition import candidates, handover, recognise
from analyzer.replay.world import Node
from analyzer.series import TABLE, HandedOverForm

EVERY = ["v4", "v5", "v6", "v7", "v8", "v9"]


@pytest.mark.parametrize(
    ("name", "handed_over", "expected"),
    [
        ("v8", None, "matched"),
        (
            "v4",
            HandedOver("H7", None, "pci-v2"),
            "matched",
        ),  # trees of v4 differ: nothing is known of its form
        ("v7", HandedOver("H7", None, "pci-v2"), "matched"),
        ("v7", HandedOver("H7", None, ""), "matched"),  # the name is not known
        ("v7", HandedOver("H6", None, "pci-v3"), "unmatched"),
        ("v7", HandedOver("H6", None, "pci-v2"), "unmatched"),
        ("v7", HandedOver("H7", None, "pci-v1"), "unmatched"),
        ("v7", HandedOver("H7", 1, "pci-v2"), "unmatched"),  # a version field where v7 has none
        ("v8", HandedOver("H8", 2, "pci"), "matched"),
        ("v8", HandedOver("H8", None, "pci"), "matched"),
        ("v8", HandedOver("H8", 1, "pci"), "panic"),
        ("v9", HandedOver("H8", 1, "pci"), "panic"),
        ("v9", HandedOver("H8", 3, ""), "panic"),
        ("v9", HandedOver("H7", 1, "pci-v2"), "unmatched"),  # the name is compared before the version
    ],
)
def test_whether_a_kernel_takes_the_data(name: str, handed_over: HandedOver | None, expected: str) -> None:
    assert handover(name, handed_over) == expected


@pytest.mark.parametrize(
    ("option", "logged", "handed_over", "expected"),
    [
        (None, [], None, EVERY),
        ("v5", ["v7"], HandedOver("H8", 2, "pci"), ["v5"]),  # what the user says counts
        (None, ["v8", "v7"], None, ["v7", "v8"]),
        (None, ["v1"], None, EVERY),  # no version of the table
        (None, [], HandedOver("H7", None, "pci-v2"), ["v7"]),
        (None, [], HandedOver("H8", 2, "pci"), ["v8", "v9"]),
        (None, [], HandedOver("H8", 1, "pci"), ["v8", "v9"]),  # both panic over it
        (None, ["v9"], HandedOver("H8", 2, "pci"), ["v9"]),
        (None, ["v6", "v7"], HandedOver("H8", 2, "pci"), ["v6", "v7"]),  # the log contradicts the data
        (None, [], HandedOver("H1", None, "pci-v1"), EVERY),
    ],
)
def test_versions_that_fit_besides_the_accesses(
    option: str | None, logged: list[str], handed_over: HandedOver | None, expected: list[str]
) -> None:
    assert candidates(option, logged, handed_over) == expected


def test_a_version_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="found 'v3'"):
        candidates("v3", [], None)


@pytest.mark.parametrize(("version", "expected"), [(2, ["v8", "v9"]), (3, ["v10"]), (1, ["v8", "v9", "v10"])])
def test_versions_that_take_the_data_fit_before_those_that_panic_over_it(
    version: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one more row in the table, of the same layout and another version field."""
    more = replace(TABLE[-1], name="v10", hands_over=HandedOverForm("H8", "D3", "pci", version=3))
    monkeypatch.setattr(series, "TABLE", (*TABLE, more))
    assert candidates(None, [], HandedOver("H8", version, "pci")) == expected


#: Root bus 0. A bridge that lost its numbers, one that kept them, and a preserved endpoint.
LOST, VALID, NEW, WRONG = (0, 0, 0), (0, 3, 3), (0, 5, 5), (9, 5, 5)
ENDPOINT = 24

Triple = tuple[int, int, int] | None


def bridge(devfn: int, first: Triple, last: Triple) -> Node:
    """A bridge with the numbers that the incoming kernel read first, and those that it used last."""
    node = Node((0, devfn), outgoing=devfn, incoming=devfn, is_bridge=True)
    node.numbers, node.incoming_numbers = (
        None if numbers is None else BusNumbers(*numbers, row=row)
        for row, numbers in enumerate((first, last))
    )
    return node


def recognised(*bridges: Node, followed: bool = True, fitting: list[str] = EVERY) -> str:
    """Up to v8 a kernel that was handed a device refuses new numbers; v9 only beside a preserved bridge."""
    machine = of_nodes([*bridges, Node((0, ENDPOINT))])
    inheriting = Profile("inherit", "v4", frozenset({ENDPOINT}), False, False, {})
    return recognise(fitting, machine, inheriting, followed=followed)


@pytest.mark.parametrize(
    ("bridges", "expected"),
    [
        ([bridge(0, LOST, NEW)], "v9"),
        ([bridge(0, LOST, LOST)], "v8"),  # the newest of those that refuse
        ([bridge(0, LOST, None)], "v8"),
        ([bridge(0, LOST, LOST), bridge(8, VALID, VALID)], "v8"),
        ([bridge(0, VALID, VALID)], "v9"),  # nothing to compare: the newest
        ([bridge(0, VALID, NEW)], "v9"),
        ([], "v9"),
        ([bridge(0, LOST, LOST), bridge(8, LOST, NEW)], "v9"),  # no version does that
        # a bridge whose numbers no read shows says nothing, whatever became of them
        ([bridge(0, LOST, LOST), bridge(8, None, NEW)], "v8"),
        ([bridge(0, None, None)], "v9"),
    ],
)
def test_the_version_by_what_became_of_lost_numbers(bridges: list[Node], expected: str) -> None:
    assert recognised(*bridges) == expected


def test_a_kernel_that_did_not_follow_the_inherit_policy_is_not_compared() -> None:
    refused = bridge(0, LOST, LOST)
    assert recognised(refused, followed=False) == "v9"
    assert recognised(refused, followed=False, fitting=["v7"]) == "v7"


def test_among_the_candidates_only() -> None:
    refused, renumbered = bridge(0, LOST, LOST), bridge(0, LOST, NEW)
    assert recognised(refused, fitting=["v8", "v9"]) == "v8"
    assert recognised(refused, fitting=["v9"]) == "v9"
    assert recognised(renumbered, fitting=["v6", "v7"]) == "v7"
    assert recognised(renumbered, fitting=["v5"]) == "v5"


@pytest.mark.parametrize(
    ("predicted", "first", "last", "expected"),
    [
        ("assign", LOST, NEW, True),
        ("assign", LOST, LOST, False),
        ("assign", LOST, None, False),
        ("refuse", LOST, NEW, False),
        ("refuse", LOST, LOST, True),
        ("refuse", LOST, None, True),
        ("refuse", WRONG, WRONG, True),  # refused, and not zero: they still stand there
        ("assign", WRONG, NEW, True),
        ("unknown", LOST, NEW, True),
        ("unknown", LOST, LOST, True),
        ("silent", LOST, NEW, True),
        (None, LOST, NEW, True),  # the bridge is not found
    ],
)
def test_a_prediction_agrees_with_what_a_bridge_got(
    predicted: str | None, first: Triple, last: Triple, expected: bool
) -> None:
    node = bridge(0, first, last)
    prediction = Prediction(numbers={} if predicted is None else {node.path: predicted})
    assert series_recognition._agrees(prediction, [node]) is expected
    assert series_recognition._agrees(prediction, [bridge(8, LOST, LOST), node]) is expected


def test_a_prediction_of_no_bridge_agrees() -> None:
    assert series_recognition._agrees(Prediction(), [])
