"""The hardware that a policy is replayed on: who answers, what it says of itself, what its bridges held.

Presence, multi-function bits and next-function chains come from the incoming kernel's own reads where it made
them, else from the outgoing boot (``assumed``). A node is identified by its path of device/function numbers,
which bus renumbering does not change. Whether the incoming kernel *enumerated* a function is never recorded
here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from schemas.pcie_capability import DOWNSTREAM_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.observed.registers.functions import BusNumbers

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
        beyond_reach_if_lost: the same if bus numbers that the incoming kernel was not seen to read are lost.
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
    beyond_reach_if_lost: bool = False
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
