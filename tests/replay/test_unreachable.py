"""New bus numbers that no bridge above forwards."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_worlds import of_nodes

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.bus_numbers import mark_unreachable
from analyzer.replay.world import Node

LOST = (0, 0, 0)


def bridge(
    path: tuple[int, ...],
    numbers: tuple[int, int, int] | None,
    *below: Node,
    outgoing: tuple[int, int, int] | None = None,
    present: bool = True,
    silent: bool = False,
) -> Node:
    node = Node(path, is_bridge=True, present=present, numbers_silent=silent)
    node.numbers = None if numbers is None else BusNumbers(*numbers, row=0)
    node.outgoing_numbers = None if outgoing is None else BusNumbers(*outgoing, row=0)
    node.children = {child.devfn: child for child in below}
    return node


def beyond(
    *roots: Node, column: str = "beyond_reach", reserves: dict[tuple[int, ...], int] | None = None
) -> list[tuple[int, ...]]:
    """Paths of the bridges that are noted; ``reserves``: buses that functions reserve for virtual ones."""
    nodes, waiting = [], list(roots)
    while waiting:
        nodes.append(waiting.pop())
        waiting.extend(nodes[-1].children.values())
    machine = of_nodes(nodes)
    mark_unreachable(machine, lambda row: (reserves or {}).get(machine.paths[row], 0), renumbers=False)
    return [machine.paths[row] for row in np.flatnonzero(machine.columns[column])]


def test_on_a_root_bus_there_is_always_a_number_left() -> None:
    assert beyond(bridge((0, 8), (0, 1, 4)), bridge((0, 16), LOST)) == []


def test_up_to_bus_255() -> None:
    full, almost = bridge((0, 8), (0, 1, 255)), bridge((0, 8), (0, 1, 254))
    assert beyond(full, bridge((0, 16), LOST)) == [(0, 16)]
    assert beyond(almost, bridge((0, 16), LOST)) == []
    assert beyond(almost, bridge((0, 16), LOST), bridge((0, 24), LOST)) == [(0, 24)]


def test_a_packed_switch_has_none_left_and_a_roomy_one_has() -> None:
    """Buses 1 to 3 (or 4) behind the port: the upstream port has 2 to 3, one downstream port lost bus 3."""

    def machine(last: int) -> Node:
        downstream = bridge((0, 8, 0, 0), LOST)
        return bridge(
            (0, 8), (0, 1, last), bridge((0, 8, 0), (1, 2, last), bridge((0, 8, 0, 8), (2, 3, 3)), downstream)
        )

    assert beyond(machine(3)) == [(0, 8, 0, 0)]
    assert beyond(machine(4)) == []


def test_the_narrowest_bridge_above_limits() -> None:
    """The upstream port claims more than its port forwards."""
    lost = bridge((0, 8, 0, 0), LOST)
    assert beyond(bridge((0, 8), (0, 1, 2), bridge((0, 8, 0), (1, 2, 9), lost))) == [(0, 8, 0, 0)]


def test_new_numbers_go_on_below_a_bridge_that_gets_one() -> None:
    """Nothing forwards less than 255 here; the second of two levels gets a number behind the first."""
    switch = bridge((0, 8), LOST, bridge((0, 8, 0), LOST, bridge((0, 8, 0, 0), LOST)))
    assert beyond(switch) == []
    beside = bridge((0, 16), (0, 1, 253))
    assert beyond(switch, beside) == [(0, 8, 0, 0)]


def test_what_is_used_below_a_renumbered_bridge_is_not_given_again() -> None:
    first = bridge((0, 8), LOST, bridge((0, 8, 0), LOST))
    assert beyond(first, bridge((0, 16), LOST), bridge((0, 24), (0, 1, 252))) == []
    assert beyond(first, bridge((0, 16), LOST), bridge((0, 24), (0, 1, 253))) == [(0, 16)]


def test_below_a_bridge_that_gets_none_no_number_is_used() -> None:
    """The bridge behind it is asked at the same highest number."""
    inner = bridge((0, 8, 0), LOST)
    found = beyond(bridge((0, 8), LOST, inner), bridge((0, 16), LOST), bridge((0, 24), (0, 1, 255)))
    assert found == [(0, 8), (0, 16)]


def test_numbers_that_were_not_read_are_taken_from_the_outgoing_kernel() -> None:
    assert beyond(bridge((0, 8), None, outgoing=(0, 1, 255)), bridge((0, 16), LOST)) == [(0, 16)]


def test_numbers_that_were_not_read_may_be_lost() -> None:
    """One port of a switch lost its numbers; those of the other one nobody read after the kexec."""

    def switch(last: int) -> Node:
        ports = bridge((0, 8, 0, 0), None, outgoing=(2, 3, last)), bridge((0, 8, 0, 8), LOST)
        return bridge((0, 8), (0, 1, last), bridge((0, 8, 0), (1, 2, last), *ports))

    assert beyond(switch(3)) == beyond(switch(3), column="beyond_reach_if_lost") == [(0, 8, 0, 8)]
    assert beyond(switch(4)) == [(0, 8, 0, 8)]
    assert beyond(switch(4), column="beyond_reach_if_lost") == []  # the first port leaves bus 4 free


def test_numbers_that_were_not_read_may_be_lost_in_another_domain() -> None:
    """Domain 1 begins at bus 0x40: two lost ports get 0x41 and 0x42 there."""
    ports = bridge((0x1_40, 8), None, outgoing=(0x40, 0x41, 0xFF)), bridge((0x1_40, 16), LOST)
    assert beyond(*ports) == [(0x1_40, 16)]
    assert beyond(*ports, column="beyond_reach_if_lost") == []
    late = (
        bridge((0x1_FD, 8), None, outgoing=(0xFD, 0xFE, 0xFE)),
        *(bridge((0x1_FD, devfn), LOST) for devfn in (16, 24)),
    )
    assert beyond(*late, column="beyond_reach_if_lost") == [(0x1_FD, 24)]


@pytest.mark.parametrize(("reserved", "expected"), [(0, []), (1, []), (2, [(0, 16)])])
def test_buses_of_virtual_functions_below_new_numbers_are_in_use(
    reserved: int, expected: list[tuple[int, ...]]
) -> None:
    """The first lost port gets bus 253; an adapter below it reserves the next ones."""
    first, second = bridge((0, 8), LOST, Node((0, 8, 0))), bridge((0, 16), LOST)
    others = second, bridge((0, 24), (0, 1, 252))
    assert beyond(first, *others, reserves={(0, 8, 0): reserved}) == expected


def test_a_bridge_whose_numbers_read_all_ones_gets_none_and_uses_none() -> None:
    """One number is left, and the lost bridge gets it."""
    dead, lost = bridge((0, 8), LOST, silent=True), bridge((0, 16), LOST)
    assert beyond(dead, lost, bridge((0, 24), (0, 1, 254))) == []
    assert beyond(bridge((0, 8), (0, 1, 255), silent=True), lost) == []


@pytest.mark.parametrize("numbers", [(5, 1, 255), (0, 9, 3), None])
def test_numbers_that_a_scan_calls_broken_are_not_in_use(numbers: tuple[int, int, int] | None) -> None:
    """The primary number of another bus, a secondary above the subordinate, none at all."""
    assert beyond(bridge((0, 8), numbers, bridge((0, 8, 0), LOST)), bridge((0, 16), LOST)) == []


def test_only_bridges_that_answer_count() -> None:
    absent = bridge((0, 8), (0, 1, 255), present=False)
    endpoint = Node((0, 24), numbers=BusNumbers(0, 1, 255, row=0))
    assert beyond(absent, endpoint, bridge((0, 16), LOST)) == []


def test_each_root_bus_of_each_domain_has_its_own_numbers() -> None:
    """Domain 1 begins at bus 0x40."""
    assert (
        beyond(
            bridge((0, 8), (0, 1, 255)), bridge((0x1_40, 8), (0x40, 0x41, 0x41)), bridge((0x1_40, 16), LOST)
        )
        == []
    )
    assert beyond(bridge((0x1_40, 8), (0x40, 0x41, 0xFF)), bridge((0x1_40, 16), LOST)) == [(0x1_40, 16)]
    assert beyond(bridge((0x1_FE, 8), LOST), bridge((0x1_FE, 16), LOST)) == [(0x1_FE, 16)]
