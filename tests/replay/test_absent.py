"""Who is absent: functions that the incoming kernel's scan found silent; and who is gated."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hand_made_worlds import link, of_world

from analyzer.observed.decisions import Decision
from analyzer.observed.registers.functions import BusNumbers
from analyzer.observed.topology import Topology
from analyzer.replay.node_table import NodeTable
from analyzer.replay.two_boots import mark_absent
from analyzer.replay.world import Node, World
from schemas.pcie_capability import TYPE_ROOT_PORT, TYPE_UPSTREAM

#: A root port on the root bus of domain 3, behind it bus 4; rows from 1000 on are the incoming kernel's scan.
ROOT, SCAN = 0x3_00, 1000
PORT_KEY, BUS = ROOT << 8 | 8, 0x3_04
SILENT = 0xFFFFFFFF


def machine(*functions: int, port_type: int = TYPE_ROOT_PORT, numbers: bool = True) -> World:
    """The port and functions behind it that the outgoing kernel had and the incoming one has not found."""
    port = Node((ROOT, 8), outgoing=PORT_KEY, incoming=PORT_KEY, is_bridge=True, is_pcie=True)
    port.pcie_type = port_type
    port.incoming_numbers = BusNumbers(0, 4, 4, row=0) if numbers else None
    below = [Node((ROOT, 8, devfn), outgoing=0x3_0900 | devfn, assumed=True) for devfn in functions]
    return link({node.path: node for node in (port, *below)})


def incoming_boot(
    *reads: tuple[int, int, int], absent: bool = False, scan: int | None = SCAN
) -> SimpleNamespace:
    """What is asked of the incoming boot, of its vendor reads (row, function, value)."""
    rows = np.array([row for row, _, _ in reads], np.int64)
    size = int(rows.max()) + 1 if reads else 1
    index = SimpleNamespace(
        value=np.zeros(size, np.int64), absent=np.zeros(size, bool), function=np.zeros(size, np.int64)
    )
    for row, function, value in reads:
        index.value[row], index.function[row], index.absent[row] = value, function, absent
    boot = SimpleNamespace(scan=scan)
    read = SimpleNamespace(_index=index, vendor_rows=rows, boot=boot)
    return SimpleNamespace(boot=boot, probed_in_vain=Topology.probed_in_vain.fget(read))


def marked(
    world: World,
    *reads: tuple[int, int, int],
    ari: bool | str | None = True,
    absent: bool = False,
    scan: int | None = SCAN,
) -> World:
    """Judge by vendor reads (row, function, value); ``ari``: what the kernel decided on the port."""
    decisions = {} if ari == "none" else {PORT_KEY: [Decision(PORT_KEY, BUS << 8, "set", ari, 1)]}
    return judged(world, incoming_boot(*reads, absent=absent, scan=scan), decisions)


def judged(world: World, incoming: SimpleNamespace, decisions: dict[int, list[Decision]]) -> World:
    table = of_world(world)
    mark_absent(table, incoming, decisions)
    return NodeTable(table.paths, table.columns, table.ignored).world


def state(world: World, devfn: int) -> tuple[bool, bool, bool]:
    node = world.by_path[ROOT, 8, devfn]
    return node.present, node.assumed, node.gated


ABSENT, UNKNOWN, GATED = (False, False, False), (True, True, False), (True, True, True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0xFFFFFFFF, ABSENT),
        (0x00000000, ABSENT),
        (0x0000FFFF, ABSENT),
        (0xFFFF0000, ABSENT),
        (0xFFFF0001, ABSENT),  # request retry status, to the end
        (0x12340001, ABSENT),
        (0x00101B36, UNKNOWN),
        (0x00018086, UNKNOWN),
    ],
)
def test_values_that_mean_nobody(value: int, expected: tuple[bool, ...]) -> None:
    assert state(marked(machine(3), (SCAN, BUS << 8 | 3, value)), 3) == expected


def test_a_read_that_nobody_answered() -> None:
    assert state(marked(machine(3), (SCAN, BUS << 8 | 3, 0x00101B36), absent=True), 3) == ABSENT


@pytest.mark.parametrize(
    ("row", "function", "expected"),
    [
        (SCAN, BUS << 8 | 3, ABSENT),
        (SCAN + 5, BUS << 8 | 3, ABSENT),
        (SCAN - 1, BUS << 8 | 3, UNKNOWN),  # before the scan: a quirk, or firmware
        (SCAN, BUS << 8 | 4, UNKNOWN),
        (SCAN, 0x3_0903, UNKNOWN),  # its old address
        (SCAN, 0x2_0403, UNKNOWN),
        (SCAN, 0x0_0403, UNKNOWN),
        (SCAN, ROOT << 8 | 3, UNKNOWN),
    ],
)
def test_only_the_scan_at_its_present_address_counts(
    row: int, function: int, expected: tuple[bool, ...]
) -> None:
    assert state(marked(machine(3), (row, function, SILENT)), 3) == expected


def test_without_a_scan_nothing_is_said() -> None:
    assert state(marked(machine(3), (SCAN, BUS << 8 | 3, SILENT), scan=None), 3) == UNKNOWN


def test_nothing_is_said_behind_a_bridge_without_numbers() -> None:
    reads = [(SCAN + devfn, BUS << 8 | devfn, SILENT) for devfn in (0, 3)]
    world = marked(machine(0, 3, numbers=False), *reads)
    assert [state(world, devfn) for devfn in (0, 3)] == [UNKNOWN, UNKNOWN]


def test_nothing_is_said_behind_a_bridge_that_was_not_found() -> None:
    world = machine(3)
    world.by_path[ROOT, 8].incoming = None
    assert state(marked(world, (SCAN, BUS << 8 | 3, SILENT)), 3) == UNKNOWN


def test_a_function_that_was_found_is_present() -> None:
    world = machine(3)
    world.by_path[ROOT, 8, 3].incoming = BUS << 8 | 3
    assert state(marked(world, (SCAN, BUS << 8 | 3, SILENT)), 3) == UNKNOWN


@pytest.mark.parametrize(
    ("ari", "devfn", "port_type", "expected"),
    [
        (True, 8, TYPE_ROOT_PORT, ABSENT),
        (True, 0xFF, TYPE_ROOT_PORT, ABSENT),
        (False, 7, TYPE_ROOT_PORT, ABSENT),
        # with ARI off the port passes device 0 only: silence says nothing
        (False, 8, TYPE_ROOT_PORT, GATED),
        (False, 9, TYPE_ROOT_PORT, GATED),
        (None, 8, TYPE_ROOT_PORT, GATED),
        ("none", 8, TYPE_ROOT_PORT, GATED),
        (False, 8, TYPE_UPSTREAM, ABSENT),  # no downstream port
        ("none", 8, TYPE_UPSTREAM, ABSENT),
    ],
)
def test_silence_of_function_8_and_up_counts_with_ari_only(
    ari: bool | str | None, devfn: int, port_type: int, expected: tuple[bool, ...]
) -> None:
    world = marked(machine(devfn, port_type=port_type), (SCAN, BUS << 8 | devfn, SILENT), ari=ari)
    assert state(world, devfn) == expected


@pytest.mark.parametrize("enabled", [True, False])
def test_an_ignored_function_is_absent_and_not_gated(enabled: bool) -> None:
    """It answered the vendor read, and the kernel gave it up: with ARI off above it, too."""
    world = machine(8)
    world.by_path[ROOT, 8, 8].present = world.by_path[ROOT, 8, 8].assumed = False
    world.by_path[ROOT, 8, 8].ignored = "no-response"
    assert state(marked(world, (SCAN, BUS << 8 | 8, SILENT), ari=enabled), 8) == ABSENT


def test_the_first_decision_counts() -> None:
    """The scan's; a rescan decides again."""
    world = machine(8)
    decisions = {PORT_KEY: [Decision(PORT_KEY, BUS << 8, "set", enabled, 1) for enabled in (False, True)]}
    assert state(judged(world, incoming_boot((SCAN, BUS << 8 | 8, SILENT)), decisions), 8) == GATED


def test_the_decision_of_a_bridge_at_address_0() -> None:
    port = Node((0, 0), outgoing=0, incoming=0, is_bridge=True, is_pcie=True, pcie_type=TYPE_ROOT_PORT)
    port.incoming_numbers = BusNumbers(0, 1, 1, row=0)
    leaf = Node((0, 0, 8), outgoing=0x108, assumed=True)
    world = link({node.path: node for node in (port, leaf)})
    decisions = {0: [Decision(0, 0x100, "set", True, 1)]}
    found = judged(world, incoming_boot((0, 0x108, SILENT), scan=0), decisions)
    leaf = found.by_path[leaf.path]
    assert (leaf.present, leaf.gated) == (False, False)


def test_every_function_is_judged_for_itself() -> None:
    """One that was found, one that was not asked, one gated and one absent, in either order."""
    for order in (1, -1):
        world = machine(*(0, 1, 3, 8)[::order])
        world.by_path[ROOT, 8, 0].incoming = BUS << 8
        world = marked(world, *((SCAN + devfn, BUS << 8 | devfn, SILENT) for devfn in (0, 3, 8)), ari=False)
        assert [state(world, devfn) for devfn in (0, 1, 3, 8)] == [UNKNOWN, UNKNOWN, ABSENT, GATED]


def test_functions_of_a_root_bus() -> None:
    world = link({(ROOT, devfn): Node((ROOT, devfn), outgoing=ROOT << 8 | devfn) for devfn in (8, 16)})
    world = marked(world, (SCAN, ROOT << 8 | 16, SILENT))
    assert [world.by_path[ROOT, devfn].present for devfn in (8, 16)] == [True, False]
    assert not world.by_path[ROOT, 16].gated


def test_behind_a_bridge_that_is_gone_the_others_are_still_judged() -> None:
    """The first bridge was not found, the second was."""
    first = Node((ROOT, 0), outgoing=ROOT << 8, is_bridge=True)
    world = machine(3)
    nodes = [first, Node((ROOT, 0, 0), outgoing=0x3_0500, assumed=True), *world.by_path.values()]
    both = marked(link({node.path: node for node in nodes}), (SCAN, BUS << 8 | 3, SILENT))
    assert both.by_path[ROOT, 0, 0].present
    assert state(both, 3) == ABSENT
