"""The walk over the functions of one slot and one bus: each step with its reason, and unknown inputs."""

from __future__ import annotations

import pytest

from analyzer.replay.slots import slot_steps, walk
from analyzer.replay.world import Node

NO_ANSWER = "function 0 does not answer, or is ignored: nothing else in the slot is probed"
SINGLE = "function 0 is not multi-function"
ONE_BY_ONE = "without ARI functions 1 to 7 are probed one by one"
SEVEN = "without ARI a device has functions 0 to 7"
DEAD_MEMBER = "a member of the chain that does not answer, or is ignored, ends it"
NO_CAPABILITY = "no ARI capability: the chain ends"
NOT_CAPTURED = "its Next Function Number is not in the capture"


def node(
    devfn: int,
    following: int | None = None,
    *,
    multifunction: bool | None = True,
    has_ari: bool | None = True,
    gated: bool = False,
) -> Node:
    return Node(
        (0, 8, devfn), multifunction=multifunction, has_ari=has_ari, next_function=following, gated=gated
    )


def bus(*nodes: Node) -> dict[int, Node]:
    return {entry.devfn: entry for entry in nodes}


def steps(
    answering: dict[int, Node], slot: int, *, enabled: bool, go_on: bool = False
) -> list[tuple[int, bool, int, str]]:
    return [
        (step.devfn, step.node is not None, step.following, step.why)
        for step in slot_steps(answering, slot, enabled=enabled, go_on=go_on)
    ]


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("slot", [0, 8])
def test_a_slot_without_function_0_is_one_probe(slot: int, enabled: bool) -> None:
    assert steps(bus(node(slot + 1)), slot, enabled=enabled) == [(slot, False, -1, NO_ANSWER)]


def test_without_ari_every_function_of_the_slot_is_probed() -> None:
    assert steps(bus(node(8), node(10)), 8, enabled=False) == [
        (8, True, 1, ONE_BY_ONE),
        (9, False, 2, ONE_BY_ONE),
        (10, True, 3, ONE_BY_ONE),
        *((8 + number, False, number + 1, ONE_BY_ONE) for number in (3, 4, 5, 6)),
        (15, False, -1, SEVEN),
    ]


@pytest.mark.parametrize(
    ("multifunction", "go_on", "expected"),
    [
        (False, False, (8, True, -1, SINGLE)),
        (False, True, (8, True, -1, SINGLE)),
        (None, False, (8, True, -1, SINGLE)),
        (None, True, (8, True, 1, ONE_BY_ONE)),
        (True, False, (8, True, 1, ONE_BY_ONE)),
    ],
)
def test_the_multi_function_bit_of_function_0(
    multifunction: bool | None, go_on: bool, expected: tuple[int, bool, int, str]
) -> None:
    assert steps(bus(node(8, multifunction=multifunction)), 8, enabled=False, go_on=go_on)[0] == expected


def test_only_function_0_needs_the_multi_function_bit() -> None:
    found = steps(bus(node(0), node(1, multifunction=False)), 0, enabled=False)
    assert found[1] == (1, True, 2, ONE_BY_ONE)


def test_with_ari_the_chain_is_followed() -> None:
    chain = bus(node(0, 1, multifunction=False), node(1, 8), node(8, 0x20), node(0x20, 0))
    assert steps(chain, 0, enabled=True) == [
        (0, True, 1, "Next Function Number 1"),
        (1, True, 8, "Next Function Number 8"),
        (8, True, 0x20, "Next Function Number 32"),
        (0x20, True, -1, "Next Function Number 0 ends the chain"),
    ]


@pytest.mark.parametrize(
    ("chain", "last"),
    [
        (bus(node(0, 5)), (5, False, -1, DEAD_MEMBER)),
        (bus(node(0, 5), node(5, 9, has_ari=False)), (5, True, -1, NO_CAPABILITY)),
        (bus(node(0, 5), node(5, None, has_ari=True)), (5, True, -1, NOT_CAPTURED)),
        (bus(node(0, 5), node(5, 9, has_ari=None), node(9, 0)), (5, True, -1, NOT_CAPTURED)),
        (bus(node(0, 5), node(5, 5)), (5, True, -1, "Next Function Number 5 ends the chain")),
        (bus(node(0, 5), node(5, 4), node(4, 0)), (5, True, -1, "Next Function Number 4 ends the chain")),
        (bus(node(0, 5), node(5, 6), node(6, 0)), (6, True, -1, "Next Function Number 0 ends the chain")),
    ],
)
def test_what_ends_a_chain(chain: dict[int, Node], last: tuple[int, bool, int, str]) -> None:
    assert steps(chain, 0, enabled=True)[-1] == last


@pytest.mark.parametrize("following", [248, 255])
def test_a_chain_that_leaves_the_bus_finds_nobody(following: int) -> None:
    """Slot 8 with ARI (pcie_scan_all): number 248 in its chain would be devfn 256."""
    nodes = bus(node(8, following))
    nodes[8 + following] = node(7)
    assert steps(nodes, 8, enabled=True)[-1] == (8 + following, False, -1, DEAD_MEMBER)


@pytest.mark.parametrize(
    ("nodes", "enabled", "one_child", "certain", "possible"),
    [
        # every slot is scanned where it is no port's bus; only slot 0 below a port
        (bus(node(0), node(8), node(0xF8)), False, False, {0, 8, 0xF8}, [0, 8, 0xF8]),
        (bus(node(0), node(8), node(0xF8)), False, True, {0}, [0]),
        (bus(node(0), node(8)), False, None, {0}, [0, 8]),
        (bus(node(8)), False, None, set(), [8]),
        (bus(node(1), node(9)), False, False, set(), []),
        # ARI on, off, or not known
        (bus(node(0, 8), node(1, 0), node(8, 0)), True, True, {0, 8}, [0, 8]),
        (bus(node(0, 8), node(1, 0), node(8, 0)), False, True, {0, 1}, [0, 1]),
        (bus(node(0, 8), node(1, 0), node(8, 0)), None, True, {0}, [0, 1, 8]),
        # a function that was silent while ARI was off says nothing about a scan with ARI
        (bus(node(0), node(1, gated=True), node(2)), False, True, {0, 2}, [0, 2]),
        (bus(node(0, 1), node(1, 2, gated=True), node(2, 0)), True, True, {0, 1, 2}, [0, 1, 2]),
        # the multi-function bit is not known
        (bus(node(0, multifunction=None), node(1)), False, True, {0}, [0, 1]),
        # the capability, or the next function number, is not known: the chain may skip any function
        (bus(node(0, None), node(3, 0), node(9, 0)), True, True, {0}, [0, 3, 9]),
        (bus(node(0, 3, has_ari=None), node(3, 0), node(9, 0)), True, True, {0}, [0, 3, 9]),
        (bus(node(0, 3), node(1, 0), node(3, None), node(9, 0)), True, True, {0, 3}, [0, 3, 9]),
        (bus(node(0, 3), node(3, 0, has_ari=False), node(9, 0)), True, True, {0, 3}, [0, 3]),
        (bus(node(0, 3), node(9, 0)), True, True, {0}, [0]),
        (bus(node(0, None), node(3, 5), node(9, 0)), True, True, {0}, [0, 3, 9]),
        # another slot with ARI: its chain counts from its own function 0
        (bus(node(0, 0), node(8, None), node(9, 0), node(11, 0)), True, False, {0, 8}, [0, 8, 9, 11]),
        (bus(node(0, 0), node(7, 0), node(8, 0)), True, False, {0, 8}, [0, 8]),
        (bus(node(0, 0), node(8, 1), node(9, 3), node(11, 0)), True, False, {0, 8, 9, 11}, [0, 8, 9, 11]),
    ],
)
def test_functions_found_for_certain_and_perhaps(
    nodes: dict[int, Node],
    enabled: bool | None,
    one_child: bool | None,
    certain: set[int],
    possible: list[int],
) -> None:
    assert walk(nodes, enabled=enabled, one_child=one_child) == (certain, possible)


@pytest.mark.parametrize(
    ("nodes", "enabled", "one_child", "certain", "possible"),
    [
        # function 1 of a slot whose function 0 is not handed out
        (bus(node(1), node(3)), False, True, {1, 3}, [1, 3]),
        (bus(node(9), node(0x14)), False, False, {9, 0x14}, [9, 0x14]),
        (bus(node(9)), False, True, set(), []),
        (bus(node(9)), False, None, set(), [9]),
        # with ARI the chain begins at function 0
        (bus(node(1), node(3)), True, True, set(), []),
        (bus(node(1), node(3)), None, True, set(), [1, 3]),
    ],
)
def test_functions_that_are_handed_out_one_by_one(
    nodes: dict[int, Node],
    enabled: bool | None,
    one_child: bool | None,
    certain: set[int],
    possible: list[int],
) -> None:
    """Linux 7.3 hypervisor_isolated_pci_functions: a missing function 0 ends no slot."""
    assert walk(nodes, enabled=enabled, one_child=one_child, isolated=True) == (certain, possible)


def test_the_last_function_of_a_bus() -> None:
    last = bus(node(0xF8), node(0xFF))
    assert walk(last, enabled=False, one_child=False) == ({0xF8, 0xFF}, [0xF8, 0xFF])
