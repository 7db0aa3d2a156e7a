"""What is said of each function, and the first obstacle on the way down to it, on small hand-made worlds."""

from __future__ import annotations

from typing import Any

import pytest
from hand_made_worlds import found_rows, link, of_world

from analyzer.replay.ari import AriDecision
from analyzer.replay.enumeration import Prediction
from analyzer.replay.world import Node, World
from analyzer.results import DeviceVerdict
from analyzer.verdicts import devices
from analyzer.verdicts.divergences import Comparison
from schemas.pcie_capability import TYPE_ROOT_PORT, TYPE_UPSTREAM

#: Port 00:01.0 and, on bus 1, functions 0, 1, 8 and 9.
PORT, ZERO, ONE, EIGHT, NINE = (0, 8), (0, 8, 0), (0, 8, 1), (0, 8, 8), (0, 8, 9)
OFF, ON, NOARI = AriDecision(False, "inherited"), AriDecision(True, "set"), AriDecision(False, "noari")


def world(port: dict[str, object] | None = None, **absent_or_changed: dict[str, object]) -> World:
    """The port and four functions; ``zero``, ``one``, ``eight``, ``nine``: changed attributes."""
    nodes = [
        Node(PORT, outgoing=0x08, is_bridge=True, is_pcie=True, pcie_type=TYPE_ROOT_PORT, ari_supported=True)
    ]
    for name, path in {"zero": ZERO, "one": ONE, "eight": EIGHT, "nine": NINE}.items():
        nodes.append(
            Node(path, outgoing=0x100 | path[-1], vendor_device=f"8086:{path[-1]:04x}", has_ari=True)
        )
        for attribute, value in absent_or_changed.get(name, {}).items():
            setattr(nodes[-1], attribute, value)
    for attribute, value in (port or {}).items():
        setattr(nodes[0], attribute, value)
    return link({node.path: node for node in nodes})


def prediction(
    decision: AriDecision | None = OFF,
    *,
    certain: tuple[tuple[int, ...], ...] = (PORT,),
    possible: tuple[tuple[int, ...], ...] = (),
    numbers: str = "use",
) -> Prediction:
    made = Prediction(certain=set(certain), possible=set(possible), numbers={PORT: numbers})
    if decision is not None:
        made.decisions[PORT] = decision
    return made


@pytest.mark.parametrize(
    ("made", "predicted", "path", "expected"),
    [
        # the bridge above is not discovered
        (world(), prediction(certain=()), EIGHT, "ancestor-hidden"),
        (world({"present": False}), prediction(certain=()), EIGHT, "bridge-gone"),
        (world({"present": False, "unroutable": True}), prediction(certain=()), EIGHT, "ancestor-hidden"),
        (world(), prediction(certain=(), possible=(PORT,)), EIGHT, "ari-off"),
        # or has no bus below it
        (world(), prediction(numbers="refuse"), EIGHT, "bridge-unconfigured"),
        (world(), prediction(numbers="assign"), EIGHT, "ari-off"),
        # nobody answers at function 0
        (world(zero={"present": False}), prediction(), EIGHT, "function-0-absent"),
        (world(zero={"present": False}), prediction(ON), EIGHT, "function-0-absent"),
        (world(zero={"present": False}), prediction(), ZERO, "no-response"),
        (world(zero={"present": False}, eight={"present": False}), prediction(), EIGHT, "function-0-absent"),
        (world(eight={"present": False}), prediction(), EIGHT, "no-response"),
        (world(eight={"present": False}), prediction(ON), EIGHT, "no-response"),
        # without ARI
        (world(), prediction(), EIGHT, "ari-off"),
        (world(), prediction(), ONE, "ari-off"),
        (world(), prediction(None), EIGHT, "ari-off"),
        (world(), prediction(NOARI), EIGHT, "noari"),
        (world({"ari_supported": None}), prediction(NOARI), EIGHT, "noari"),
        (world({"ari_supported": False}), prediction(NOARI), EIGHT, "ari-off"),  # off in any case
        (world(zero={"has_ari": False}), prediction(NOARI), EIGHT, "ari-off"),
        (world(zero={"has_ari": None}), prediction(NOARI), EIGHT, "noari"),
        (world(zero={"has_ari": False}), prediction(), EIGHT, "ari-off"),
        # with ARI
        (world(), prediction(ON), EIGHT, "chain-broken"),
        (world(zero={"has_ari": False}), prediction(ON), EIGHT, "function-0-not-ari"),
        (world(zero={"has_ari": None}), prediction(ON), EIGHT, "chain-broken"),
        # below an upstream port every slot begins with a function 0 of its own, unless ARI is on
        (world({"pcie_type": TYPE_UPSTREAM}, zero={"present": False}), prediction(), NINE, "ari-off"),
        (
            world({"pcie_type": TYPE_UPSTREAM}, eight={"present": False}),
            prediction(),
            NINE,
            "function-0-absent",
        ),
        (world({"pcie_type": TYPE_UPSTREAM}, eight={"present": False}), prediction(), EIGHT, "no-response"),
        (world({"pcie_type": TYPE_UPSTREAM}, eight={"present": False}), prediction(ON), NINE, "chain-broken"),
        (
            world({"pcie_type": TYPE_UPSTREAM}, zero={"present": False}),
            prediction(),
            ONE,
            "function-0-absent",
        ),
        (world({"is_pcie": False}, zero={"present": False}), prediction(), NINE, "ari-off"),
        # on a root bus
        (world({"present": False}), prediction(certain=()), PORT, "no-response"),
    ],
)
def test_why_a_function_is_not_discovered(
    made: World, predicted: Prediction, path: tuple[int, ...], expected: str
) -> None:
    assert devices.reason(made, made.by_path[path], predicted) == expected


def test_on_a_root_bus_a_slot_without_function_0_hides_the_others() -> None:
    made = link({path: Node(path, outgoing=path[-1]) for path in ((0, 8), (0, 17))})
    empty = Prediction()
    assert devices.reason(made, made.by_path[0, 17], empty) == "function-0-absent"
    assert devices.reason(made, made.by_path[0, 8], empty) == "no-response"
    made.roots[0][16] = Node((0, 16))
    assert devices.reason(made, made.by_path[0, 17], empty) == "no-response"
    made.roots[0][16].present = False
    assert devices.reason(made, made.by_path[0, 17], empty) == "function-0-absent"


def verdicts_on(
    made: World, predicted: Prediction, preserved: frozenset[int], compared: Comparison
) -> list[DeviceVerdict]:
    machine = of_world(made)
    found = found_rows(machine, predicted)
    return devices.verdicts(machine, found, lambda: predicted, preserved, compared)


#: Facts of a function that the outgoing kernel had, that is not preserved, and that nobody finds.
LOST = {
    "known": True, "preserved": False, "found": False, "doubted": False, "silent": False, "certain": False,
    "possible": False, "gone": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        ((), "missing", None),  # the reason is looked up
        (("preserved",), "stranded", None),
        (("gone",), "missing", None),
        (("preserved", "gone"), "stranded", None),
        (("certain",), "reachable", None),
        (("certain", "preserved"), "reachable", None),
        (("certain", "gone"), "missing", None),
        (("certain", "gone", "preserved"), "stranded", None),
        (("possible",), "undetermined", "not-captured"),
        (("possible", "preserved"), "undetermined", "not-captured"),
        (("possible", "gone"), "missing", None),
        (("possible", "gone", "preserved"), "stranded", None),
        # the incoming kernel's own enumeration
        (("found",), "reachable", None),
        (("found", "gone", "preserved"), "reachable", None),
        (("found", "doubted"), "reachable", None),
        (("found", "silent"), "reachable", None),
        (("doubted",), "undetermined", "not-captured"),
        (("doubted", "certain"), "undetermined", "not-captured"),
        (("doubted", "preserved", "gone"), "undetermined", "not-captured"),
        (("silent",), "undetermined", "not-captured"),
        (("silent", "certain", "preserved"), "undetermined", "not-captured"),
    ],
)
def test_the_verdict_by_its_facts(facts: tuple[str, ...], verdict: str, reason: str | None) -> None:
    assert devices.judge(*(LOST | dict.fromkeys(facts, True)).values()) == (verdict, reason)


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        (("preserved",), "undetermined", "never-seen"),
        (("preserved", "certain", "found"), "undetermined", "never-seen"),
        (("certain",), "reachable", None),
        (("certain", "gone"), "reachable", None),  # plugged in after the kexec: not missed
        (("found",), "reachable", None),
    ],
)
def test_the_verdict_on_a_function_that_the_outgoing_kernel_never_had(
    facts: tuple[str, ...], verdict: str, reason: str | None
) -> None:
    new = LOST | {"known": False}
    assert devices.judge(*(new | dict.fromkeys(facts, True)).values()) == (verdict, reason)


def judged(
    predicted: Prediction,
    preserved: tuple[int, ...] = (),
    doubted: tuple[int, ...] = (),
    found: tuple[int, ...] = (),
    gone: dict[int, str] | None = None,
    made: World | None = None,
) -> dict[str, DeviceVerdict]:
    compared = Comparison([], frozenset(doubted), gone or {}, frozenset(found))
    verdicts = verdicts_on(made or world(), predicted, frozenset(preserved), compared)
    assert [item.bdf for item in verdicts] == sorted(item.bdf for item in verdicts)
    return {item.bdf: item for item in verdicts}


EIGHTH = ("0000:01:01.0", "8086:0008")
ALL = (PORT, ZERO, ONE, EIGHT, NINE)


@pytest.mark.parametrize(
    ("predicted", "sets", "preserved", "verdict", "reason"),
    [
        (prediction(), {"preserved": (0x108,)}, True, "stranded", "ari-off"),
        (prediction(), {}, False, "missing", "ari-off"),
        (prediction(certain=ALL), {"preserved": (0x108,)}, True, "reachable", None),
        (prediction(certain=ALL), {}, False, "reachable", None),
        (prediction(possible=(EIGHT,)), {"preserved": (0x108,)}, True, "undetermined", "not-captured"),
        (prediction(possible=(EIGHT,)), {}, False, "undetermined", "not-captured"),
        # the incoming kernel's own enumeration, against the prediction
        (prediction(certain=ALL), {"doubted": (0x108,)}, False, "undetermined", "not-captured"),
        (prediction(certain=ALL), {"doubted": (0x109,)}, False, "reachable", None),
        (prediction(), {"found": (0x108,)}, False, "reachable", None),
        (prediction(), {"found": (0x108,), "preserved": (0x108,)}, True, "reachable", None),
        (prediction(), {"found": (0x109,)}, False, "missing", "ari-off"),
        (prediction(possible=(EIGHT,)), {"found": (0x108,)}, False, "reachable", None),
        (prediction(possible=(EIGHT,)), {"found": (0x109,)}, False, "undetermined", "not-captured"),
        # something happened during the scan
        (prediction(certain=ALL), {"gone": {0x108: "no-response"}}, False, "missing", "no-response"),
        (
            prediction(certain=ALL),
            {"gone": {0x108: "bridge-gone"}, "preserved": (0x108,)},
            True,
            "stranded",
            "bridge-gone",
        ),
        (prediction(certain=ALL), {"gone": {0x109: "no-response"}}, False, "reachable", None),
        (prediction(), {"gone": {0x108: "no-response"}}, False, "missing", "no-response"),
        (
            prediction(certain=ALL),
            {"gone": {0x108: "no-response"}, "found": (0x108,)},
            False,
            "reachable",
            None,
        ),
    ],
)
def test_one_function(
    predicted: Prediction,
    sets: dict[str, Any],
    preserved: bool,
    verdict: str,
    reason: str | None,
) -> None:
    name, model = EIGHTH
    assert judged(predicted, **sets)[name] == DeviceVerdict(
        name, model, preserved, "0000:00:01.0", verdict, reason
    )


def test_without_an_enumeration_nothing_counts_as_found() -> None:
    (eighth,) = (
        item
        for item in verdicts_on(world(), prediction(), frozenset(), Comparison())
        if item.bdf == EIGHTH[0]
    )
    assert eighth.verdict == "missing"


def test_a_function_on_a_root_bus_has_no_bridge() -> None:
    assert judged(prediction())["0000:00:01.0"] == DeviceVerdict(
        "0000:00:01.0", None, False, None, "reachable"
    )


def test_preserved_addresses_that_the_outgoing_kernel_never_had() -> None:
    """One that nobody saw, and one that the incoming kernel found anew."""
    made = world(nine={"outgoing": None, "incoming": 0x109})
    found = judged(prediction(certain=ALL), preserved=(0x109, 0x500, 0x400), made=made)
    assert found["0000:01:01.1"] == DeviceVerdict(
        "0000:01:01.1", "8086:0009", True, "0000:00:01.0", "undetermined", "never-seen"
    )
    for name in ("0000:04:00.0", "0000:05:00.0"):
        assert found[name] == DeviceVerdict(name, None, True, None, "undetermined", "never-seen")
    assert len(found) == len(ALL) + 2


def test_a_function_that_was_plugged_in_behind_the_kexec_is_not_missed() -> None:
    made = world(nine={"outgoing": None, "incoming": 0x109})
    found = judged(prediction(certain=ALL), gone={0x109: "no-response"}, made=made)
    assert found["0000:01:01.1"].verdict == "reachable"


def test_stranded_are_preserved_functions_that_a_prediction_does_not_reach() -> None:
    made = world(nine={"outgoing": None, "incoming": 0x109})
    everybody = frozenset((0x08, 0x100, 0x101, 0x108, 0x109))
    predicted = prediction(certain=(PORT, ZERO), possible=(ONE,))
    for asked, preserved, expected in (
        (predicted, everybody, [0x108]),
        (prediction(certain=()), everybody, [0x08, 0x100, 0x101, 0x108]),
        (prediction(certain=()), frozenset((0x101,)), [0x101]),
        (prediction(certain=ALL), everybody, []),
    ):
        machine = of_world(made)
        assert devices.stranded(machine, found_rows(machine, asked), preserved) == expected


def test_who_sits_anywhere_below_a_bridge() -> None:
    deep = Node((0, 8, 0, 3), outgoing=0x203)
    made = link({**world().by_path, deep.path: deep})
    port = made.by_path[PORT]
    assert sorted(devices.below(port, frozenset((0x08, 0x100, 0x109, 0x203)))) == [0x100, 0x109, 0x203]
    assert devices.below(made.by_path[ZERO], frozenset((0x100, 0x203))) == [0x203]
    assert devices.below(port, frozenset()) == []
