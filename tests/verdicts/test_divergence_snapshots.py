"""Prediction against a snapshot or a kernel log: what is not listed is gone, unless the input may lack it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made_worlds import link

from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node
from analyzer.results import Divergence
from analyzer.results.rules import REASONS
from analyzer.verdicts import divergences

#: A port, functions 0 and 9 below it, and a function on the root bus, in the order of the scan.
PORT, ZERO, NINE, LAST = (0, 8), (0, 8, 0), (0, 8, 9), (0, 16)
KEYS = {PORT: 0x08, LAST: 0x10, ZERO: 0x0100, NINE: 0x0109}
NAMES = {PORT: "0000:00:01.0", LAST: "0000:00:02.0", ZERO: "0000:01:00.0", NINE: "0000:01:01.1"}


def compared(
    *listed: int,
    possible: tuple[tuple[int, ...], ...] = (),
    new: tuple[tuple[int, ...], ...] = (),
    missing: tuple[str, ...] | None = None,
    silent: tuple[int, ...] = (),
    snapshot: bool = True,
    complete: bool = True,
) -> divergences.Comparison:
    """Compare with a snapshot.

    Args:
        listed: keys that it lists.
        possible: functions that the replay calls merely possible.
        new: functions that the outgoing kernel did not have.
        missing: what the kernel log lacks that the snapshot was made from (None: it was made from no log).
        silent: keys that it lists and that do not answer now.
        snapshot, complete: it is one, and is not known to lack functions.
    """
    nodes = [Node(path, outgoing=key, incoming=key, is_bridge=path == PORT) for path, key in KEYS.items()]
    world = link({node.path: node for node in nodes})
    for path in new:
        world.by_path[path].outgoing = None
    prediction = Prediction(
        order=[world.by_path[path] for path in KEYS],
        certain=set(KEYS) - set(possible),
        possible=set(possible),
        keys=dict(KEYS),
    )
    incoming = SimpleNamespace(
        boot=SimpleNamespace(scan=None if snapshot else 0, last=999),
        is_snapshot=snapshot,
        logged=None if missing is None else SimpleNamespace(missing=missing),
        silent=frozenset(silent),
        enumerated=set(listed),
        scan_ends={0: 500},
        functions={},
        ancestors=lambda _: [],
    )
    return divergences.compare(world, prediction, incoming, complete=complete)


EVERY = tuple(KEYS.values())


def said(found: divergences.Comparison) -> tuple[list[str], set[int], dict[int, str]]:
    return [item.bdf for item in found.divergences], set(found.doubted), dict(found.gone)


def test_what_a_snapshot_does_not_list_is_gone():
    """And what is below a bridge that is gone is hidden by it."""
    found = compared(0x10)
    not_there = [
        Divergence(NAMES[path], predicted=True, observed=False, note=REASONS["not-listed"], explained=True)
        for path in (PORT, ZERO, NINE)
    ]
    assert found.divergences == not_there
    assert found.gone == {0x08: "not-listed", 0x0100: "ancestor-hidden", 0x0109: "ancestor-hidden"}
    assert found.doubted == frozenset()


@pytest.mark.parametrize("more", [{"complete": False}, {"snapshot": False}, {"new": (NINE,)}])
def test_what_may_only_not_be_in_the_input_is_in_doubt(more):
    found = compared(0x08, 0x0100, 0x10, **more)
    assert said(found) == ([NAMES[NINE]], {0x0109}, {})
    assert not found.divergences[0].explained


def test_what_a_log_lacks_is_in_doubt_and_no_divergence():
    assert said(compared(0x08, missing=("the end of the scan",))) == ([], {0x10, 0x0100, 0x0109}, {})


def test_a_log_that_lacks_nothing_is_as_good_as_a_snapshot():
    assert said(compared(0x08, 0x0100, 0x10, missing=())) == ([NAMES[NINE]], set(), {0x0109: "not-listed"})


@pytest.mark.parametrize(
    ("listed", "more", "gone"),
    [
        (EVERY, {}, {}),
        (EVERY[:3], {}, {0x0109: "not-listed"}),
        (EVERY[:3], {"complete": False}, {}),
        (EVERY[:3], {"snapshot": False}, {}),
        (EVERY[:3], {"missing": ("a line",)}, {}),
        (EVERY[:3], {"new": (NINE,)}, {}),
    ],
)
def test_of_what_is_merely_possible_a_snapshot_shows_what_is_gone(listed, more, gone):
    found = compared(*listed, possible=(NINE,), **more)
    assert said(found) == ([], set(), gone)


@pytest.mark.parametrize(
    ("key", "silent", "place"),
    [
        (0x01020A, 0x010200, "0001:02:00.0"),  # function 0 of the bus
        (0x01020A, 0x010208, "0001:02:01.0"),  # and of the device
        (0x01020F, 0x010208, "0001:02:01.0"),
        (0x01030A, 0x010200, None),
        (0x01020A, 0x010201, None),
        (0x010212, 0x010208, None),
        (0x0102F9, 0x010200, "0001:02:00.0"),
    ],
)
def test_a_function_behind_one_that_fell_silent_since_is_explained(key, silent, place):
    found = compared(*EVERY, key, silent, silent=(silent,))
    (one,) = found.divergences
    assert (one.predicted, one.observed, one.explained) == (False, True, place is not None)
    if place is not None:
        assert one.note == f"{place} reads all ones now: the walk began there when it still answered"
