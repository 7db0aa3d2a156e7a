"""The whole verdict on one bridge: how sure, which port, which numbers, who is preserved and stranded."""

from __future__ import annotations

import pytest
from hand_made import EXP, Access, Part, read, write
from hand_made_context import BRIDGE, KEY, kexec_context, node

from analyzer.observed.decisions import Decision
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.world import Node, World
from analyzer.results import Window
from analyzer.verdicts import bridges

DEVCTL2 = EXP + 0x28
ON, OFF = 0x20, 0x00
HELD = OutgoingState(True, 50)


def judged(context: bridges.KexecContext, outgoing_state: OutgoingState = HELD) -> object:
    context.handover.outgoing_states[KEY] = outgoing_state
    (found,) = bridges.verdicts(context)
    return found


LEAF = Node((0, 8, 0), outgoing=0x100)


def with_leaf(**more: object) -> Node:
    return node(children={0: LEAF}, **more)


@pytest.mark.parametrize(
    ("outgoing_state", "snapshot", "confidence"),
    [
        (OutgoingState(True, 50), False, "high"),
        (OutgoingState(None), False, "low"),
        (OutgoingState(True, 50), True, "low"),
    ],
)
def test_how_sure_it_is_that_the_bit_was_kept(
    outgoing_state: OutgoingState, snapshot: bool, confidence: str
) -> None:
    context = kexec_context(
        Part(), Part((read(DEVCTL2, 2, ON),)), predicted=True, made=with_leaf(), snapshot=snapshot
    )
    found = judged(context, outgoing_state)
    assert (found.verdict, found.confidence, found.missing_access) == ("kept", confidence, None)


@pytest.mark.parametrize(
    ("after", "predicted", "missing"),
    [
        ((), True, "a read of CAP_EXP+28.w of 0000:00:01.0 by the incoming kernel"),
        ((read(DEVCTL2, 2, ON),), None, "the incoming kernel's ARI decision on 0000:00:01.0"),
    ],
)
def test_an_undetermined_bridge_names_the_missing_access(
    after: tuple[Access, ...], predicted: bool | None, missing: str
) -> None:
    found = judged(kexec_context(Part(), Part(after), predicted=predicted, made=with_leaf()))
    assert (found.verdict, found.confidence, found.cause, found.window) == ("undetermined", None, None, None)
    assert found.missing_access == missing


@pytest.mark.parametrize(
    ("port_type", "pcie", "expected"),
    [
        (0x4, True, "root-port"),
        (0x5, True, "switch-upstream"),
        (0x6, True, "switch-downstream"),
        (0x7, True, "pcie-to-pci"),
        (0x8, True, "pci-to-pcie"),
        (0x0, True, "pci"),
        (None, False, "pci"),
        (None, True, None),
    ],
)
def test_port_types(port_type: int | None, pcie: bool, expected: str | None) -> None:
    context = kexec_context(Part(), made=with_leaf(pcie_type=port_type, is_pcie=pcie))
    assert judged(context).port_type == expected


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"outgoing_numbers": BusNumbers(0, 3, 5, row=0), "numbers": BusNumbers(0, 7, 9, row=0)}, (3, 5)),
        ({"numbers": BusNumbers(0, 7, 9, row=0)}, (7, 9)),
        ({}, (None, None)),
    ],
)
def test_bus_numbers_are_those_of_the_outgoing_kernel(
    numbers: dict[str, BusNumbers], expected: tuple[int | None, int | None]
) -> None:
    found = judged(kexec_context(Part(), made=with_leaf(**numbers)))
    assert (found.secondary, found.subordinate, found.new_secondary) == (*expected, None)


@pytest.mark.parametrize("new", [BusNumbers(0, 6, 6, row=0), None])
def test_new_bus_numbers_of_a_renumbered_bridge(new: BusNumbers | None) -> None:
    made = with_leaf(outgoing_numbers=BusNumbers(0, 3, 5, row=0), incoming_numbers=new)
    context = kexec_context(Part(), Part((read(DEVCTL2, 2, OFF),)), made=made)
    context.prediction.numbers[BRIDGE] = "assign"
    found = judged(context)
    assert (found.verdict, found.cause) == ("renumbered", "unknown")
    assert (found.secondary, found.new_secondary) == (3, None if new is None else 6)


def test_preserved_and_stranded() -> None:
    made = with_leaf(vendor_device="8086:347a")
    made.children[1] = Node((0, 8, 1), outgoing=0x101)
    found = judged(kexec_context(Part(), made=made, preserved=(KEY,), stranded=(0x101, 0x100, 0x200)))
    assert (found.preserved, found.stranded) == (True, ["0000:01:00.0", "0000:01:00.1"])
    assert (found.bdf, found.vendor_device) == ("0000:00:01.0", "8086:347a")
    assert not judged(kexec_context(Part(), made=made, preserved=(0x100,))).preserved


def test_functions_that_are_no_bridges_have_no_bridge_verdict() -> None:
    assert bridges.verdicts(kexec_context(made=node(is_bridge=False))) == []


def test_verdicts_are_sorted_by_address() -> None:
    """Not by place: a bridge below the first port comes after the second one."""
    context = kexec_context()
    paths = {(0, 8): 0x08, (0, 8, 0): 0x0100, (0, 16): 0x10}
    nodes = {path: Node(path, outgoing=key, is_bridge=True) for path, key in paths.items()}
    world = World({}, nodes, {node.outgoing: node for node in nodes.values()})
    context.handover.outgoing.ancestors = lambda _: []
    found = bridges.verdicts(bridges.KexecContext(**(vars(context) | {"world": world})))
    assert [one.bdf for one in found] == ["0000:00:01.0", "0000:00:02.0", "0000:01:00.0"]


@pytest.mark.parametrize(
    ("before", "after", "predicted", "verdict", "states", "window"),
    [
        ((), ON, True, "kept", (True, True, True), None),
        ((), OFF, True, "healed", (True, False, True), (50, 100, "blackout")),
        ((), OFF, False, "lost", (True, False, False), (50, 100, "blackout")),
        # The cause says when.
        (
            (read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)),
            OFF,
            False,
            "lost",
            (True, False, False),
            (100, 110, "outgoing"),
        ),
    ],
)
def test_the_bit_before_and_after_and_when_it_was_lost(
    before: tuple[Access, ...],
    after: int,
    predicted: bool,
    verdict: str,
    states: tuple[bool, bool, bool],
    window: tuple[int, int, str] | None,
) -> None:
    context = kexec_context(
        Part(before), Part((read(DEVCTL2, 2, after),)), predicted=predicted, made=with_leaf()
    )
    found = judged(context)
    assert found.verdict == verdict
    assert (found.ari_before, found.ari_after, found.ari_decided) == states
    assert found.window == (None if window is None else Window(*window))


@pytest.mark.parametrize(
    ("accesses", "read_first", "window"),
    [
        # Read as on, cleared, read as off by the decision.
        ((read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)), True, (100, 110)),
        ((read(DEVCTL2, 2, ON), read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)), True, (110, 120)),
        # No read before the write: it was on when the outgoing kernel last used it.
        ((write(DEVCTL2, 2, OFF),), None, (50, 100)),
    ],
)
def test_a_bit_that_was_cleared_before_the_incoming_kernel_decided_was_lost_at_that_write(
    accesses: tuple[Access, ...], read_first: bool | None, window: tuple[int, int]
) -> None:
    """Whatever sets it again later."""
    row = 100 + 10 * len(accesses)
    took_over = Decision(KEY, 0x100, "inherit", enabled=False, row=row, read=row)
    after = Part((*accesses, read(DEVCTL2, 2, OFF), write(DEVCTL2, 2, ON)))
    found = judged(kexec_context(Part(), after, decided=(took_over,), made=with_leaf()))
    assert (found.verdict, found.ari_after, found.ari_decided) == ("lost", read_first, False)
    assert (found.cause, found.window) == ("incoming-write", Window(*window, "incoming"))
