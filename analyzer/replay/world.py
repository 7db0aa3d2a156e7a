"""The hardware that a policy is replayed on: who answers, what it says of itself, what its bridges held.

Presence, multi-function bits and next-function chains come from the incoming kernel's own reads where it made
them, else from the outgoing boot (``assumed``). A node is identified by its path of device/function numbers,
which bus renumbering does not change. Whether the incoming kernel *enumerated* a function is never recorded
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed import register_state
from schemas.config_header import ABSENT_VENDOR_DWORDS, RRS_VENDOR
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcie_capability import DOWNSTREAM_TYPES, TYPE_DOWNSTREAM, TYPE_UPSTREAM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.observed.decisions import Decision
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import BusNumbers, Function
    from analyzer.observed.topology import Topology

Path = tuple[int, ...]


@dataclass(slots=True)
class Node:
    """One function of the hardware, as far as two boots' reads show; unknown values are None.

    Attributes:
        path: root bus (``domain << 8 | bus``), then device/function numbers downwards.
        outgoing, incoming: its key under the outgoing kernel's numbering, and under the incoming one's.
        present: it answers the incoming kernel's vendor read.
        assumed: ``present`` is taken from the outgoing boot.
        numbers: bus numbers as the incoming kernel first read them (None: not read).
        outgoing_numbers: bus numbers that the outgoing kernel used.
        gated: it was seen not to answer while ARI Forwarding was off on the bridge above (PCIe 7.5.3.16).
        hardware: bit 5 of DEVCTL2 as a read returns it to the kernel at the decision point.
        beyond_reach: new bus numbers, if a kernel assigned them, would reach nothing.
        silent: a snapshot lists it, and no read of it was answered in either boot: what it is is unknown.
        unroutable: it is below a bridge with new bus numbers that no bridge above forwards: not ``present``,
            but not dead.
    """

    path: Path
    outgoing: int | None = None
    incoming: int | None = None
    present: bool = True
    gated: bool = False
    assumed: bool = False
    vendor_device: str | None = None
    is_bridge: bool = False
    is_pcie: bool | None = None
    pcie_type: int | None = None
    multifunction: bool | None = None
    ari_supported: bool | None = None
    has_ari: bool | None = None
    next_function: int | None = None
    numbers: BusNumbers | None = None
    outgoing_numbers: BusNumbers | None = None
    incoming_numbers: BusNumbers | None = None
    hardware: bool | None = None
    beyond_reach: bool = False
    silent: bool = False
    unroutable: bool = False
    children: dict[int, Node] = field(default_factory=dict)

    @property
    def devfn(self) -> int:
        """Device and function number."""
        return self.path[-1]

    @property
    def one_child(self) -> bool | None:
        """Only device 0 can sit on the bus below (Linux 7.3 only_one_child by pcie_downstream_port).

        None where the port type is not in the capture.
        """
        if self.is_pcie is False:
            return False
        return None if self.pcie_type is None else self.pcie_type in DOWNSTREAM_TYPES

    @property
    def name(self) -> int:
        """Its key for reports: the outgoing numbering where it has one."""
        if self.outgoing is not None:
            return self.outgoing
        return self.incoming if self.incoming is not None else 0


@dataclass
class World:
    """All nodes of one kexec: root buses with their devices, and the nodes by path and by key."""

    roots: dict[int, dict[int, Node]]
    by_path: dict[Path, Node]
    by_outgoing: dict[int, Node]

    def nodes(self) -> Iterable[Node]:
        """Every node, in path order."""
        return (self.by_path[path] for path in sorted(self.by_path))

    def parent(self, node: Node) -> Node | None:
        """The bridge above a node, or None on a root bus."""
        return self.by_path.get(node.path[:-1]) if len(node.path) > 2 else None


def build(
    index: AccessIndex,
    outgoing: Topology,
    incoming: Topology,
    decisions: dict[int, list[Decision]],
) -> World:
    """Merge what two boots' reads say into one world.

    Args:
        index: the capture.
        outgoing: topology of the outgoing boot.
        incoming: topology of the incoming boot.
        decisions: ARI decisions of the incoming boot: only what DEVCAP2 returned then, and *where* they were
            made, to know from which reads a function above 7 can be called absent.
    """
    by_path: dict[Path, Node] = {}
    for key in sorted(outgoing.functions):  # hot-added ones too: they are there at the kexec
        path = _path(outgoing, key, incoming)
        node = by_path.setdefault(path, Node(path))
        node.outgoing, node.assumed = key, True
        node.silent = outgoing.functions[key].silent
        _fill(node, outgoing.functions[key])
        node.outgoing_numbers = outgoing.functions[key].bus_numbers
    fallen: list[Node] = []
    for key in sorted(incoming.enumerated):
        path = _path(incoming, key, outgoing)
        node = by_path.setdefault(path, Node(path))
        node.incoming, node.assumed = key, False
        function = incoming.functions[key]
        if function.silent and node.outgoing is not None and not node.silent:
            fallen.append(node)
        node.silent = function.silent and (node.outgoing is None or node.silent)
        _fill(node, function)
        node.numbers, node.incoming_numbers = function.first_bus_numbers, function.bus_numbers
        if node.is_bridge:
            node.hardware = hardware_bit(function)
        taken = decisions.get(key)
        if taken and taken[0].supported is not None:
            node.ari_supported = taken[0].supported
    world = _link(by_path)
    _mark_fallen(fallen, world)
    _mark_absent(index, incoming, decisions, world)
    _mark_unroutable(world)
    return world


def _path(topology: Topology, key: int, other: Topology) -> Path:
    """Where a function sits; where the bridge above is not in its boot, as the other boot shows it."""
    path = topology.path(key)
    if topology.is_root(path[0]) or key not in other.functions:
        return path
    place = other.path(key)
    return place if other.is_root(place[0]) else path


def of_one_boot(topology: Topology, bits: dict[int, bool | None], earlier: Topology | None = None) -> World:
    """The world as one kernel sees it, for questions about a kexec that has not happened yet.

    Args:
        topology: the kernel's functions.
        bits: bridge key -> its ARI Forwarding bit.
        earlier: the kernel that it was kexec'd from. Capabilities that it read count; a function that it had
            and the later kernel has not is there only below a port whose bit is off: it may not be seen.
    """
    by_path: dict[Path, Node] = {}
    if earlier is not None:
        _add_earlier(by_path, earlier, topology, bits)
    for key in sorted(topology.functions):
        path = topology.path(key)
        node = by_path.setdefault(path, Node(path))
        node.outgoing = key
        node.silent = topology.functions[key].silent
        _fill(node, topology.functions[key])
        numbers = topology.functions[key].bus_numbers
        node.numbers = node.outgoing_numbers = numbers if numbers is not None else node.numbers
        node.hardware = bits.get(key)
    return _link(by_path)


def _link(by_path: dict[Path, Node]) -> World:
    """Put every node below its parent; parents come first."""
    outgoing = {node.outgoing: node for node in by_path.values() if node.outgoing is not None}
    world = World({}, by_path, outgoing)
    for node in world.nodes():
        above = world.parent(node)
        _correct_type(node, above)
        siblings = world.roots.setdefault(node.path[0], {}) if above is None else above.children
        siblings[node.devfn] = node
    return world


def _correct_type(node: Node, above: Node | None) -> None:
    """Correct a switch port that claims the wrong side, as Linux does once (7.3 set_pcie_port_type).

    A downstream port below a downstream port acts as upstream port, an upstream port below an upstream port
    as downstream port. Parents come first.
    """
    if above is None or not above.is_pcie:
        return
    if node.pcie_type == TYPE_DOWNSTREAM and above.one_child:
        node.pcie_type = TYPE_UPSTREAM
    elif node.pcie_type == TYPE_UPSTREAM and above.pcie_type == TYPE_UPSTREAM:
        node.pcie_type = TYPE_DOWNSTREAM


def _fill(node: Node, function: Function) -> None:
    """Take what this boot's reads say; what they do not say keeps the other boot's value."""
    node.is_bridge = node.is_bridge or function.is_bridge
    for name in (
        "vendor_device",
        "is_pcie",
        "pcie_type",
        "multifunction",
        "ari_supported",
        "has_ari",
        "next_function",
    ):
        value = getattr(function, name)
        if value is not None:
            setattr(node, name, value)


def hardware_bit(function: Function) -> bool | None:
    """Bit 5 of DEVCTL2 as the incoming kernel's first read of it returned it, before its own write.

    An all-ones read without an error is data to the kernel (bit set); a read that failed leaves the preset 0
    (Linux 7.3 pcie_capability_read_word).
    """
    first = next(register_state.history(function, ARI_FORWARDING), None)
    if first is None or first.write:
        return None
    return not first.failed if first.dead else bool(first.field(ARI_FORWARDING.mask))


def _mark_unroutable(world: World) -> None:
    """Note the functions below bridges with new bus numbers that no bridge above forwards.

    Linux 7.3 pci_scan_bridge_extend gives a bridge the number after the highest in use on its bus, and does
    not widen a bridge above that kept its numbers: in a packed switch nothing answers there.
    """
    for node in world.nodes():
        numbers = node.incoming_numbers
        if not node.is_bridge or numbers is None or node.numbers is None or numbers == node.numbers:
            continue
        above = world.parent(node)
        while above is not None and numbers is not None:
            kept = above.numbers
            if kept is not None and kept == above.incoming_numbers and numbers.secondary > kept.subordinate:
                _silence(node)
            above = world.parent(above)


def _add_earlier(
    by_path: dict[Path, Node], earlier: Topology, topology: Topology, bits: dict[int, bool | None]
) -> None:
    """Add what an earlier kernel had: what the later one has too, and what is below ports that are off."""
    off = {topology.path(key) for key, bit in bits.items() if bit is False}
    for key in sorted(earlier.functions):
        path = earlier.path(key)
        known = key in topology.functions and topology.path(key) == path
        if known or any(path[:length] in off for length in range(2, len(path))):
            node = by_path.setdefault(path, Node(path))
            node.outgoing = key
            _fill(node, earlier.functions[key])
            node.numbers = node.outgoing_numbers = earlier.functions[key].bus_numbers


def _silence(bridge: Node) -> None:
    for child in bridge.children.values():
        if child.incoming is None:
            child.present, child.assumed, child.unroutable = False, False, True
        _silence(child)


def _mark_fallen(fallen: list[Node], world: World) -> None:
    """Note the functions that answered before the kexec and that a snapshot after it lists as all ones.

    Whatever its kernel found when it scanned, they do not answer now: for lack of ARI Forwarding, if they
    need it and it is off above them.
    """
    for node in fallen:
        above = world.parent(node)
        if above is not None and above.one_child is not False and node.devfn > 7 and above.hardware is False:
            node.gated = True
        else:
            node.present, node.assumed = False, False


def _mark_absent(
    index: AccessIndex, incoming: Topology, decisions: dict[int, list[Decision]], world: World
) -> None:
    """Note the functions that did not answer a vendor read of the incoming kernel's scan.

    With ARI Forwarding off a downstream port passes device 0 only (PCIe 7.5.3.16), so silence of function 8
    and up is no evidence of absence then.
    """
    scan = incoming.boot.scan
    if scan is None:
        return
    rows = incoming.vendor_rows[incoming.vendor_rows >= scan]
    value = index.value[rows]
    silent = index.absent[rows] | np.isin(value, ABSENT_VENDOR_DWORDS) | ((value & 0xFFFF) == RRS_VENDOR)
    probed = index.function[rows[silent]]
    for node in world.by_path.values():
        if node.incoming is not None:
            continue
        above = world.parent(node)
        bus = node.path[0]
        if above is not None:
            if above.incoming is None or above.incoming_numbers is None:
                continue
            bus = above.incoming >> 16 << 8 | above.incoming_numbers.secondary
        if not (probed == bus << 8 | node.devfn).any():
            continue
        if above is not None and above.one_child is not False and node.devfn > 7:
            taken = decisions.get(above.incoming or 0)
            if not taken or not taken[0].enabled:
                node.gated = True
                continue
        node.present, node.assumed = False, False
