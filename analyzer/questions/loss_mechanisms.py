"""What can clear ARI Forwarding of a port, by its type (PCIe 6.6.1, 7.5.1.3.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ROOT_PORT

if TYPE_CHECKING:
    from analyzer.observed.topology import Topology
    from analyzer.replay.world import Node


@dataclass(frozen=True)
class LossMechanism:
    """One way to lose the bit.

    Attributes:
        event: what happens.
        bridges: where it would happen, topmost first (empty: not bound to a bridge).
        takes: ``bit`` (functions that only ARI can address) or ``everything`` (bus numbers too: the whole
            subtree).
        source: PCI Express section or kernel function.
    """

    event: str
    bridges: list[str]
    takes: str
    source: str


_FIRMWARE = LossMechanism(
    "firmware, SMM, a management controller or a tool writes the register",
    [],
    "bit",
    "Device Control 2 is writable by anybody (PCIe 7.5.3.16)",
)
_POWER = LossMechanism(
    "the port goes to D3cold, or to D3hot with No_Soft_Reset 0",
    [],
    "everything",
    "PCIe 5.3.1.4, 7.5.2.2",
)
_PLATFORM = LossMechanism(
    "the root complex is reset or its host bridge driver initialises it anew",
    [],
    "everything",
    "PCIe 6.6.1: a root port's own link, SBR or DPC does not reset it",
)


def of_port(node: Node, topology: Topology) -> list[LossMechanism]:
    """What resets Device Control 2 of a port."""
    if node.pcie_type == TYPE_ROOT_PORT:
        return [_FIRMWARE, _PLATFORM, _POWER]
    above = [bridge.function for bridge in reversed(topology.ancestors(node.name))]
    names = [bdf.text(key) for key in above]
    found = [_FIRMWARE]
    if node.pcie_type == TYPE_DOWNSTREAM and names:
        found.append(
            LossMechanism(
                "a secondary bus reset on a bridge above (VFIO hot reset, error recovery, setpci)",
                names,
                "everything",
                "PCIe 6.6.1, 7.5.1.3.13: a hot reset enters the switch and resets its ports",
            )
        )
        found.append(
            LossMechanism(
                "the link of a bridge above goes down, or DPC contains it",
                names[:-1] or names,
                "everything",
                "PCIe 6.6.1: DL_Down on an upstream port is a hot reset",
            )
        )
    return [*found, _POWER]
