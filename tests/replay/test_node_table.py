"""Functions as columns and as objects: the same functions, whichever they were made of."""

from __future__ import annotations

import numpy as np
import pytest
from hand_made_worlds import link, of_machines, of_nodes, of_world

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay import node_table
from analyzer.replay.node_table import BUSES, FLAGS, NUMBERS, PARTS, NodeTable
from analyzer.replay.world import Node
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ENDPOINT, TYPE_ROOT_PORT, TYPE_UPSTREAM

ROOT = 0x2_00
PORT, ZERO, EIGHT, OTHER = (ROOT, 8), (ROOT, 8, 0), (ROOT, 8, 8), (ROOT + 0x40, 0)
#: Every attribute away from its default somewhere, and every one unknown somewhere; not in path order.
NODES = (
    {
        "path": EIGHT, "outgoing": 0x2_0108, "present": False, "ignored": "unknown-header-type",
        "gated": True, "vendor_device": "8086:0008", "is_pcie": True, "has_ari": True, "next_function": 9,
        "silent": True, "unroutable": True,
    },
    {"path": OTHER, "incoming": 0x2_4000, "is_pcie": None, "multifunction": None, "pcix_mode_2": None},
    {
        "path": PORT, "outgoing": 0x2_0008, "incoming": 0x2_0010, "vendor_device": "1b36:000c",
        "is_bridge": True, "is_pcie": True, "pcie_type": TYPE_ROOT_PORT, "multifunction": True,
        "ari_supported": True, "has_ari": False, "numbers": BusNumbers(0, 1, 3, 70),
        "assigned": 2, "outgoing_numbers": BusNumbers(0, 0, 0, 0),
        "incoming_numbers": BusNumbers(0, 4, 5, 80),
        "hardware": False, "beyond_reach": True, "pcix_mode_2": True,
    },
    {
        "path": ZERO, "outgoing": 0, "assumed": True, "is_bridge": True, "is_pcie": False,
        "multifunction": False, "ari_supported": False, "next_function": 0, "numbers_silent": True,
        "hardware": True, "pcix_mode_2": False, "below_conventional": True,
    },
)  # fmt: skip
PATHS = [PORT, ZERO, EIGHT, OTHER]


def nodes() -> list[Node]:
    return [Node(**attributes) for attributes in NODES]


def fresh(machine: NodeTable) -> NodeTable:
    """The same columns, without the objects that they were made of."""
    return NodeTable(machine.paths, machine.columns, machine.ignored)


def test_what_was_objects_is_the_same_objects_again() -> None:
    machine = of_nodes(nodes())
    made = fresh(machine)
    world = link({node.path: node for node in nodes()})
    assert made.paths == PATHS
    assert [node.path for node in made.world.nodes()] == PATHS
    assert made.world == machine.world == world
    assert [type(node.gated) for node in made.nodes] == [bool] * 4
    assert made.nodes[0] is made.world.by_path[PORT]


def test_a_table_of_objects_keeps_them() -> None:
    world = link({node.path: node for node in nodes()})
    machine = of_world(world)
    assert machine.world is world
    assert all(node is world.by_path[node.path] for node in machine.nodes)
    assert machine.ignored == {2: "unknown-header-type"}


def test_every_column_is_there() -> None:
    names = [*NUMBERS, *FLAGS, *(f"{name}_{part}" for name in BUSES for part in PARTS)]
    columns = of_nodes(nodes()).columns
    assert sorted(columns) == sorted(names)
    assert {(column.dtype, len(column)) for column in columns.values()} == {(np.dtype(np.int64), 4)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outgoing", [0x2_0008, 0, 0x2_0108, NONE]),
        ("vendor", [0x1B36, NONE, 0x8086, NONE]),
        ("device", [0x000C, NONE, 0x0008, NONE]),
        ("present", [1, 1, 0, 1]),
        ("has_ari", [0, NONE, 1, NONE]),
        ("hardware", [0, 1, NONE, NONE]),
        ("pcix_mode_2", [1, 0, 0, NONE]),
        ("numbers_subordinate", [3, NONE, NONE, NONE]),
        ("numbers_row", [70, NONE, NONE, NONE]),
        ("outgoing_numbers_secondary", [0, NONE, NONE, NONE]),
    ],
)
def test_columns(name: str, expected: list[int]) -> None:
    assert of_world(link({node.path: node for node in nodes()})).columns[name].tolist() == expected


def test_who_is_below_whom_and_how_functions_are_named() -> None:
    machine = of_nodes(nodes())
    assert machine.above.tolist() == [NONE, 0, 0, NONE]
    assert machine.names.tolist() == [0x2_0008, 0, 0x2_0108, 0x2_4000]
    assert machine.vendor_devices == ["1b36:000c", None, "8086:0008", None]
    assert machine.world.roots == {ROOT: {8: machine.nodes[0]}, ROOT + 0x40: {0: machine.nodes[3]}}
    assert machine.nodes[0].children == {0: machine.nodes[1], 8: machine.nodes[2]}
    assert machine.world.by_outgoing == {
        0x2_0008: machine.nodes[0],
        0: machine.nodes[1],
        0x2_0108: machine.nodes[2],
    }


def test_names_and_only_children_are_those_of_the_objects() -> None:
    types = (None, TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_UPSTREAM, TYPE_ENDPOINT)
    several = [
        Node((ROOT, number), is_pcie=is_pcie, pcie_type=pcie_type, outgoing=outgoing, incoming=incoming)
        for number, (is_pcie, pcie_type, outgoing, incoming) in enumerate(
            (is_pcie, pcie_type, outgoing, incoming)
            for is_pcie in (None, False, True)
            for pcie_type in types
            for outgoing, incoming in ((None, None), (0, 7), (5, 7), (None, 7))
        )
    ]
    machine = of_nodes(several)
    assert machine.names.tolist() == [node.name for node in machine.nodes]
    assert [None if value == NONE else value == 1 for value in machine.one_child.tolist()] == [
        node.one_child for node in machine.nodes
    ]


@pytest.mark.parametrize("bit", [True, False])
def test_another_bit_in_one_bridge(bit: bool) -> None:
    machine = of_nodes(nodes())
    other = machine.with_bit(1, bit)
    assert [node.hardware for node in other.nodes] == [False, bit, None, None]
    assert [node.hardware for node in machine.nodes] == [False, True, None, None]
    assert machine.columns["hardware"].tolist() == [0, 1, NONE, NONE]
    other.nodes[1].hardware = machine.nodes[1].hardware
    other.world.by_path[PORT].children = machine.nodes[0].children
    assert (other.paths, other.ignored, other.world) == (machine.paths, machine.ignored, machine.world)


def test_machines_that_are_corrected_together_are_what_each_is_alone() -> None:
    """Places of one machine are those of the other."""
    port = Node(PORT, is_bridge=True, is_pcie=True, pcie_type=TYPE_ROOT_PORT)
    claims = Node(ZERO, is_bridge=True, is_pcie=True, pcie_type=TYPE_DOWNSTREAM)
    conventional, below = Node(PORT, is_bridge=True, is_pcie=False), Node(ZERO)
    first, empty, second = of_machines([[claims, port], [], [conventional, below]])
    assert (claims.pcie_type, first.columns["pcie_type"].tolist()) == (
        TYPE_UPSTREAM,
        [TYPE_ROOT_PORT, TYPE_UPSTREAM],
    )
    assert (below.below_conventional, below.has_ari) == (True, False)
    assert second.columns["below_conventional"].tolist() == [0, 1]
    assert (empty.paths, empty.nodes, empty.world.roots) == ([], [], {})
    assert first.nodes == [port, claims]


TO_PCI, TO_PCIE = 0x7, 0x8


@pytest.mark.parametrize(
    ("bridge", "has_ari", "expected"),
    [
        # has_ari, below_conventional of what is below
        ({"is_pcie": True, "pcie_type": TYPE_ROOT_PORT}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": TYPE_UPSTREAM}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": TYPE_DOWNSTREAM}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": None}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": TO_PCI}, None, (False, True)),
        ({"is_pcie": True, "pcie_type": TO_PCIE}, None, (False, True)),
        ({"is_pcie": True, "pcie_type": TO_PCI}, True, (True, True)),  # what was read is there
        ({"is_pcie": True, "pcie_type": TO_PCI, "pcix_mode_2": True}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": TO_PCI, "pcix_mode_2": None}, None, (None, False)),
        ({"is_pcie": False}, None, (False, True)),
        ({"is_pcie": False, "pcix_mode_2": True}, None, (None, False)),
        ({"is_pcie": False, "pcix_mode_2": None}, None, (None, False)),
        ({"is_pcie": None}, None, (None, False)),
        ({"is_pcie": True, "pcie_type": TYPE_ROOT_PORT, "below_conventional": True}, None, (False, True)),
    ],
)
def test_extended_space_below_a_bridge(
    bridge: dict[str, object], has_ari: bool | None, expected: tuple[bool | None, bool]
) -> None:
    """Linux 7.3 pci_bridge_child_ext_cfg_accessible; a port below such a bus has none below it either."""
    made = Node(PORT, is_bridge=True)
    for name, value in bridge.items():
        setattr(made, name, value)
    port = Node(ZERO, is_bridge=True, is_pcie=True, pcie_type=TYPE_UPSTREAM, has_ari=has_ari)
    leaf = Node((*ZERO, 0), has_ari=has_ari)
    of_nodes([made, port, leaf])
    assert (port.has_ari, port.below_conventional) == expected
    assert (leaf.has_ari, leaf.below_conventional) == expected


def test_corrections_go_down_from_what_was_corrected() -> None:
    """Three downstream ports in a row below a root port: the first acts as upstream port, the third too."""
    paths = [(ROOT, 8), (ROOT, 8, 0), (ROOT, 8, 0, 0), (ROOT, 8, 0, 0, 0)]
    kinds = [TYPE_ROOT_PORT, TYPE_DOWNSTREAM, TYPE_DOWNSTREAM, TYPE_DOWNSTREAM]
    machine = of_nodes(
        Node(path, is_bridge=True, is_pcie=True, pcie_type=kind)
        for path, kind in zip(paths, kinds, strict=True)
    )
    assert machine.columns["pcie_type"].tolist() == [
        TYPE_ROOT_PORT,
        TYPE_UPSTREAM,
        TYPE_DOWNSTREAM,
        TYPE_UPSTREAM,
    ]


def test_nothing_to_correct() -> None:
    machine = of_nodes([])
    node_table.correct(machine.paths, machine.above, machine.columns)
    assert (machine.paths, machine.above.tolist(), machine.world.roots) == ([], [], {})


def test_the_functions_below_a_bridge_follow_it() -> None:
    """A bridge that has none, and one whose device number begins like another's."""
    paths = [(ROOT, 1), (ROOT, 8), (ROOT, 8, 0), (ROOT, 8, 0, 0), (ROOT, 8, 8), (ROOT, 80), (ROOT, 80, 0)]
    machine = of_nodes(Node(path) for path in paths)
    assert [machine.rows_below(row).tolist() for row in range(len(paths))] == [
        [], [2, 3, 4], [3], [], [], [6], [],
    ]  # fmt: skip


def test_a_function_without_its_bridge_is_below_none() -> None:
    """No boot showed the bridge above it; the last function of the machine is a conventional bridge."""
    orphan, port = Node((ROOT, 8, 0)), Node((ROOT, 16), is_bridge=True, is_pcie=True)
    below, conventional = Node((ROOT, 16, 0, 0)), Node((ROOT, 24), is_bridge=True, is_pcie=False)
    machine = of_nodes([orphan, port, below, conventional])
    assert machine.above.tolist() == [NONE] * 4
    assert machine.columns["below_conventional"].tolist() == [0] * 4
    assert (orphan.has_ari, below.has_ari) == (None, None)
