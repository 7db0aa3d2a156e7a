"""Functions behind new bus numbers that no bridge above forwards, and bit 5 as the first read returns it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hand_made_worlds import of_nodes

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.observed.registers.run_accesses import RunAccesses, place
from analyzer.observed.registers.samples import Sample
from analyzer.replay.boot_rows import hardware_bits
from analyzer.replay.node_table import NodeTable
from analyzer.replay.two_boots import mark_unroutable
from analyzer.replay.world import Node, World

#: Port, switch upstream port, downstream port, function 0 and a function behind a bridge below it.
PORT, UPSTREAM, DOWNSTREAM, LEAF, DEEP = (0, 8), (0, 8, 0), (0, 8, 0, 0), (0, 8, 0, 0, 0), (0, 8, 0, 0, 0, 3)

Triple = tuple[int, int, int] | None


def bridge(path: tuple[int, ...], first: Triple, last: Triple, *, is_bridge: bool = True) -> Node:
    node = Node(path, outgoing=1, incoming=1, is_bridge=is_bridge, assumed=True)
    node.numbers, node.incoming_numbers = (
        None if numbers is None else BusNumbers(*numbers, row=row)
        for row, numbers in ((5, first), (70, last))
    )
    return node


def marked(*nodes: Node) -> World:
    machine = of_nodes(nodes)
    mark_unroutable(machine)
    return NodeTable(machine.paths, machine.columns).world


def chain(downstream: Node, upstream: tuple[Triple, Triple], port: tuple[Triple, Triple]) -> World:
    return marked(
        bridge(PORT, *port),
        bridge(UPSTREAM, *upstream),
        downstream,
        Node(LEAF, outgoing=1, assumed=True),
        Node(DEEP, outgoing=1, assumed=True),
    )


LOST, SAME = (0, 0, 0), ((1, 2, 3), (1, 2, 3))
ROOMY, PACKED = ((0, 1, 9), (0, 1, 9)), ((0, 1, 3), (0, 1, 3))


@pytest.mark.parametrize(
    ("downstream", "upstream", "port", "unroutable"),
    [
        ((LOST, (2, 4, 4)), SAME, ROOMY, True),  # the bridge above forwards up to 3
        ((LOST, (2, 3, 3)), SAME, ROOMY, False),
        ((LOST, (2, 3, 4)), SAME, ROOMY, False),  # bus 3 is reached, whatever is below it
        ((LOST, (2, 4, 4)), ((1, 2, 9), (1, 2, 9)), PACKED, True),  # or one further up
        ((LOST, (2, 4, 4)), ((1, 2, 9), (1, 2, 9)), ROOMY, False),
        ((LOST, (2, 4, 4)), (LOST, (1, 2, 3)), ROOMY, False),  # it got new ones too
        ((LOST, (2, 4, 4)), (None, (1, 2, 3)), ROOMY, False),
        ((LOST, (2, 4, 4)), (None, None), ROOMY, False),
        ((None, (2, 4, 4)), SAME, ROOMY, False),  # its own first numbers were not read
        (((2, 4, 4), (2, 4, 4)), SAME, ROOMY, False),  # it kept them
        ((LOST, None), SAME, ROOMY, False),
        ((None, None), SAME, ROOMY, False),
    ],
)
def test_new_numbers_that_a_bridge_above_does_not_forward(
    downstream: tuple[Triple, Triple],
    upstream: tuple[Triple, Triple],
    port: tuple[Triple, Triple],
    unroutable: bool,
) -> None:
    world = chain(bridge(DOWNSTREAM, *downstream), upstream, port)
    expected = (False, False, True) if unroutable else (True, True, False)
    for path in (LEAF, DEEP):
        node = world.by_path[path]
        assert (node.present, node.assumed, node.unroutable) == expected
    for path in (PORT, UPSTREAM, DOWNSTREAM):
        assert (world.by_path[path].present, world.by_path[path].unroutable) == (True, False)


def test_only_bridges_have_bus_numbers() -> None:
    """A header that is no bridge's: what stands at 0x18 is a BAR."""
    world = chain(bridge(DOWNSTREAM, LOST, (2, 4, 4), is_bridge=False), SAME, ROOMY)
    assert not world.by_path[LEAF].unroutable


def test_a_function_that_answered_is_there_whatever_the_numbers_say() -> None:
    leaf, deep = Node(LEAF, incoming=0x400), Node(DEEP, outgoing=0x500)
    world = marked(
        bridge(PORT, *ROOMY), bridge(UPSTREAM, *SAME), bridge(DOWNSTREAM, LOST, (2, 4, 4)), leaf, deep
    )
    assert (world.by_path[LEAF].present, world.by_path[LEAF].unroutable) == (True, False)
    assert (world.by_path[DEEP].present, world.by_path[DEEP].unroutable) == (False, True)


def sample(op: str, value: int, mask: int = 0xFFFF, *, dead: bool = False, failed: bool = False) -> Sample:
    return Sample(0, op == "write", value, mask, dead, failed)


#: Columns of accesses in their order.
COLUMNS = {"write": bool, "value": np.int64, "mask": np.int64, "dead": bool, "failed": bool}
HIGH_BYTE = sample("read", 0x0400, 0xFF00)


#: Accesses to DEVCTL2 of one bridge, and bit 5 as its kernel read it first.
FIRST_READS: list[tuple[list[Sample], bool | None]] = [
    ([sample("read", 0x20)], True),
    ([sample("read", 0xFFDF)], False),
    ([sample("read", 0x20), sample("read", 0)], True),
    ([sample("read", 0), sample("write", 0x20), sample("read", 0x20)], False),
    ([sample("write", 0x20), sample("read", 0x20)], None),
    ([sample("read", 0xFFFF, dead=True)], True),  # all ones without an error are data
    ([sample("read", 0xFFFF, dead=True, failed=True)], False),  # the preset 0 stays
    ([HIGH_BYTE, sample("read", 0x20)], True),  # a byte that does not hold the bit
    ([HIGH_BYTE, sample("read", 0x00)], False),
    ([sample("write", 0x0400, 0xFF00), sample("read", 0x20)], True),
    ([sample("read", 0x20, 0x00FF)], True),
    ([HIGH_BYTE], None),
    ([], None),
]


def bits(*bridges: list[Sample]) -> list[bool | None]:
    """Bit 5 of each function of a table, by its accesses."""
    samples = [sample for listed in bridges for sample in listed]
    functions = np.array([number for number, listed in enumerate(bridges) for _ in listed], np.int64)
    accesses = RunAccesses(
        place(functions, np.arange(100, 100 + len(samples))),
        *(np.array([getattr(sample, name) for sample in samples], kind) for name, kind in COLUMNS.items()),
    )
    table = SimpleNamespace(rows=len(bridges), accesses_to=lambda _: accesses)
    return [None if bit == NONE else bool(bit) for bit in hardware_bits(table).tolist()]


@pytest.mark.parametrize(("samples", "expected"), FIRST_READS)
def test_the_first_read_of_bit_5(samples: list[Sample], expected: bool | None) -> None:
    assert bits(samples) == [expected]


def test_each_function_is_read_for_itself() -> None:
    assert bits(*(samples for samples, _ in FIRST_READS)) == [expected for _, expected in FIRST_READS]
    backwards = FIRST_READS[::-1]
    assert bits(*(samples for samples, _ in backwards)) == [expected for _, expected in backwards]
    assert bits() == []
