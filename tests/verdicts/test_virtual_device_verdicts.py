"""Device verdicts of what is no function of a scan: virtual and silent functions, and what a bridge hides."""

from __future__ import annotations

import pytest
from hand_made_worlds import found_rows, link, of_world

from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node, World
from analyzer.results import DeviceVerdict
from analyzer.verdicts import devices
from analyzer.verdicts.divergences import Comparison

PORT, ZERO, EIGHT = (0, 8), (0, 8, 0), (0, 8, 8)
KEYS = {PORT: 0x08, ZERO: 0x0100, EIGHT: 0x0108}


def world(**changes: dict[str, object]) -> World:
    """A port and two functions; ``port``, ``zero``, ``eight``: changed attributes."""
    nodes = [Node(path, outgoing=key, is_bridge=path == PORT) for path, key in KEYS.items()]
    for node, name in zip(nodes, ("port", "zero", "eight"), strict=True):
        for attribute, value in changes.get(name, {}).items():
            setattr(node, attribute, value)
    return link({node.path: node for node in nodes})


def judged(made: World, *preserved: int, **more: object) -> list[DeviceVerdict]:
    """The verdicts where the replay finds the port and the function 0 below it."""
    machine, predicted = of_world(made), Prediction(certain={PORT, ZERO}, numbers={PORT: "use"})
    return devices.verdicts(
        machine, found_rows(machine, predicted), lambda: predicted, frozenset(preserved), Comparison(), **more
    )


def test_preserved_virtual_functions_are_stranded_under_any_policy():
    """Also one that is a function of the outgoing kernel: it has one verdict. They are sorted in."""
    found = judged(world(), 0x0108, 0x0050, virtual={0x0108: "0000:00:01.0", 0x0050: None})
    assert found == [
        DeviceVerdict("0000:00:01.0", None, False, None, "reachable"),
        DeviceVerdict("0000:00:0a.0", None, True, None, "stranded", "virtual-function"),
        DeviceVerdict("0000:01:00.0", None, False, "0000:00:01.0", "reachable"),
        DeviceVerdict("0000:01:01.0", None, True, "0000:00:01.0", "stranded", "virtual-function"),
    ]


def test_functions_of_both_boots_that_have_one_address_are_both_there():
    """The outgoing kernel knew another function by the address of a new one."""
    found = judged(world(eight={"outgoing": None, "incoming": 0x0100}))
    assert [item.bdf for item in found] == ["0000:00:01.0", "0000:01:00.0", "0000:01:00.0"]


@pytest.mark.parametrize(
    ("silent", "verdict", "reason"),
    [(True, "undetermined", "not-captured"), (False, "missing", "ari-off")],
)
def test_of_a_function_that_answers_no_read_nothing_is_known(silent, verdict, reason):
    *_, found = judged(world(eight={"silent": silent}))
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("prediction", "changes", "expected"),
    [
        (Prediction(panicked=True), {}, "kernel-panicked"),
        (Prediction(certain={PORT}), {"port": {"numbers_silent": True}}, "bridge-gone"),
        (Prediction(certain={PORT}, numbers={PORT: "refuse"}), {}, "bridge-unconfigured"),
        (Prediction(certain={PORT}), {}, "ari-off"),
    ],
)
def test_what_hides_a_function(prediction, changes, expected):
    made = world(**changes)
    assert devices.reason(made, made.by_path[EIGHT], prediction) == expected
