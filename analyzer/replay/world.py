"""The hardware that a policy is replayed on: who answers, what it says of itself, what its bridges held.

Presence, multi-function bits and next-function chains come from the incoming kernel's own reads where it made
them, else from the outgoing boot (``assumed``). A node is identified by its path of device/function numbers,
which bus renumbering does not change. Whether the incoming kernel *enumerated* a function is never recorded
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from schemas.pcie_capability import DOWNSTREAM_TYPES, EXTENDED_BELOW, TYPE_DOWNSTREAM, TYPE_UPSTREAM
from schemas.pcix_capability import PCIX_ID, PCIX_MODE_2, PCIX_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.observed.registers.functions import BusNumbers, Function
    from analyzer.observed.topology import Topology

Path = tuple[int, ...]
#: Why a function that answered the vendor read is no function to Linux: its header type reads all ones, or
#: is one that the kernel does not know (7.3 pci_setup_device).
IgnoredFor = Literal["no-response", "unknown-header-type"]


@dataclass(slots=True)
class Node:
    """One function of the hardware, as far as two boots' reads show; unknown values are None.

    Attributes:
        path: root bus (``domain << 8 | bus``), then device/function numbers downwards.
        outgoing, incoming: its key under the outgoing kernel's numbering, and under the incoming one's.
        present: it answers the incoming kernel's vendor read, with a header type that the kernel knows.
        ignored: why it is not ``present`` although it answered that read.
        assumed: ``present`` is taken from the outgoing boot.
        numbers: bus numbers as the incoming kernel first read them (None: not read).
        numbers_silent: it read them, and got nothing but all ones.
        assigned: secondary bus number from a kernel that numbers every bridge anew, where that is asked.
        outgoing_numbers: bus numbers that the outgoing kernel used.
        gated: it was seen not to answer while ARI Forwarding was off on the bridge above (PCIe 7.5.3.16).
        hardware: bit 5 of DEVCTL2 as a read returns it to the kernel at the decision point.
        beyond_reach: new bus numbers, if a kernel assigned them, would reach nothing.
        pcix_mode_2: it is a bridge with a PCI-X capability whose status shows 266 or 533 MHz.
        below_conventional: its bus has no extended configuration space, by a bridge above it.
        silent: a snapshot lists it, and no read of it was answered in either boot: what it is is unknown.
        unroutable: it is below a bridge with new bus numbers that no bridge above forwards: not ``present``,
            but not dead.
    """

    path: Path
    outgoing: int | None = None
    incoming: int | None = None
    present: bool = True
    ignored: IgnoredFor | None = None
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
    numbers_silent: bool = False
    assigned: int | None = None
    outgoing_numbers: BusNumbers | None = None
    incoming_numbers: BusNumbers | None = None
    hardware: bool | None = None
    beyond_reach: bool = False
    pcix_mode_2: bool | None = False
    below_conventional: bool = False
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
        fill(node, topology.functions[key])
        numbers = topology.functions[key].bus_numbers
        node.numbers = node.outgoing_numbers = numbers if numbers is not None else node.numbers
        node.hardware = bits.get(key)
    return link(by_path)


def link(by_path: dict[Path, Node]) -> World:
    """Put every node below its parent; parents come first."""
    outgoing = {node.outgoing: node for node in by_path.values() if node.outgoing is not None}
    world = World({}, by_path, outgoing)
    for node in world.nodes():
        above = world.parent(node)
        _correct_type(node, above)
        if above is not None and _without_extended(above):
            node.below_conventional = True
            if node.has_ari is None:  # what was read shows that there is such space
                node.has_ari = False
        siblings = world.roots.setdefault(node.path[0], {}) if above is None else above.children
        siblings[node.devfn] = node
    return world


def _without_extended(bridge: Node) -> bool:
    """Whether the bus below is one on which Linux reads no extended configuration space.

    That is so below every bridge but root ports and switch ports, unless it does PCI-X mode 2, and below such
    a bus (7.3 pci_bridge_child_ext_cfg_accessible, PCI_BUS_FLAGS_NO_EXTCFG): 0x100 is never read there.
    """
    if bridge.below_conventional:
        return True
    if bridge.is_pcie and (bridge.pcie_type is None or bridge.pcie_type in EXTENDED_BELOW):
        return False
    return bridge.is_pcie is not None and bridge.pcix_mode_2 is False


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


def fill(node: Node, function: Function) -> None:
    """Take what this boot's reads say; what they do not say keeps the other boot's value."""
    node.is_bridge = node.is_bridge or function.is_bridge
    if function.is_bridge:
        node.pcix_mode_2 = _pcix_mode_2(function)
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


def _pcix_mode_2(function: Function) -> bool | None:
    """PCI-X mode 2 of a bridge that has a PCI-X capability; None where its status was not read."""
    at = function.capabilities.standard.get(PCIX_ID)
    if at is None:
        return False
    status = function.register(at + PCIX_STATUS, 4)
    return None if status is None else bool(status[0] & PCIX_MODE_2)


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
            fill(node, earlier.functions[key])
            node.numbers = node.outgoing_numbers = earlier.functions[key].bus_numbers
