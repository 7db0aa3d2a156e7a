"""``analyze atrisk``: before a kexec, which functions hang on bit 5 of which bridge, and what would take it.

The replay of the inherit policy with one bridge's bit forced off at a time, on the machine as a snapshot or
the last kernel of a capture shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer import analysis, bdf, decisions
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.preservation.preserved import assumed_before, resolve, sources
from analyzer.replay import enumeration, world
from analyzer.replay.profile import Profile
from analyzer.verdicts import bridges
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_ROOT_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import Capture
    from analyzer.replay.world import Node, World
    from analyzer.results import PreservedSource
    from analyzer.topology import Topology


@dataclass(frozen=True)
class Taker:
    """One way to lose the bit.

    Attributes:
        event: what happens.
        bridges: where it would happen, topmost first (empty: not bound to a bridge).
        takes: ``bit`` (functions that only ARI can address) or ``everything`` (bus numbers too: the whole
        subtree). source: PCI Express section or kernel function.
    """

    event: str
    bridges: list[str]
    takes: str
    source: str


@dataclass(frozen=True)
class PortAtRisk:
    """One bridge whose bit 5 carries functions.

    Attributes:
        ari: the bit now (None: the snapshot does not hold it).
        lost_with_bit: functions that a kernel which inherits would not discover without the bit.
        lost_with_reset: those that it would not discover if the port lost its bus numbers too.
        preserved: those of both that are to be handed over.
        takers: what would take it, per port type.
    """

    bdf: str
    vendor_device: str | None
    port_type: str | None
    secondary: int | None
    ari: bool | None
    lost_with_bit: list[str]
    lost_with_reset: list[str]
    preserved: list[str]
    takers: list[Taker]


@dataclass(frozen=True)
class AtRisk:
    """The answer for one machine; ``unknown`` names the bridges whose state is not in the input."""

    path: str
    functions: int
    preserved_source: PreservedSource
    ports: list[PortAtRisk]
    unknown: list[str]


_FIRMWARE = Taker(
    "firmware, SMM, a management controller or a tool writes the register",
    [],
    "bit",
    "Device Control 2 is writable by anybody (PCIe 7.5.3.16)",
)
_POWER = Taker(
    "the port goes to D3cold, or to D3hot with No_Soft_Reset 0",
    [],
    "everything",
    "PCIe 5.3.1.4, 7.5.2.2",
)
_PLATFORM = Taker(
    "the root complex is reset or its host bridge driver initialises it anew",
    [],
    "everything",
    "PCIe 6.6.1: a root port's own link, SBR or DPC does not reset it",
)


def at_risk(path: str, options: Options | None = None) -> AtRisk:
    """Judge the machine that a snapshot, or the last kernel of a capture, shows.

    Raises:
        AritraceError: it cannot be read.
        UsageError: it shows no machine.
    """
    chosen = options or Options()
    return at_risk_of(analysis.open_pieces([path], chosen), chosen)


def at_risk_of(capture: Capture, options: Options | None = None) -> AtRisk:
    """The same for a capture that is already in memory."""
    chosen = options or Options()
    study = analysis.study(capture, replace(chosen, preserved=None, flb=None, dmesg=None))
    kernels = [topology for topology in study.topologies if topology.boot.kind != "firmware"]
    if not kernels or not kernels[-1].functions:
        raise UsageError(f"{capture.path} shows no function of a running kernel", advice="see analyze stat")
    topology = kernels[-1]
    believed = bridges.beliefs(topology, decisions.of_boot(study.index, topology))
    opened = sources(chosen, capture, {})
    hardware = world.of_one_boot(topology, {key: belief.enabled for key, belief in believed.items()})
    fallback = assumed_before(topology, believed)
    preserved = resolve(opened, 0, topology, fallback)
    profile = Profile("inherit", chosen.series or "v9", preserved.keys, noari=False, scan_all=False, saved={})
    ports = [
        _port(hardware, node, profile, topology)
        for node in hardware.nodes()
        if node.is_bridge and node.children and node.ari_supported and node.one_child
    ]
    unknown = [f"CAP_EXP+28.w of {port.bdf}" for port in ports if port.ari is None]
    shown = [port for port in ports if port.ari and (port.lost_with_bit or port.preserved)]
    return AtRisk(capture.path, len(topology.functions), preserved.source, _ranked(shown), unknown)


def _port(hardware: World, node: Node, profile: Profile, topology: Topology) -> PortAtRisk:
    whole = enumeration.predict(hardware, profile)
    bit = node.hardware
    node.hardware = False
    without = enumeration.predict(hardware, profile)
    node.hardware = bit
    lost = sorted(
        other.name
        for other in hardware.nodes()
        if other.path in whole.certain | whole.possible
        and other.path not in without.certain | without.possible
    )
    subtree = sorted(
        other.name
        for other in hardware.nodes()
        if len(other.path) > len(node.path) and other.path[: len(node.path)] == node.path
    )
    numbers = node.outgoing_numbers
    return PortAtRisk(
        bdf=bdf.text(node.name),
        vendor_device=node.vendor_device,
        port_type=bridges.PORT_TYPES.get(node.pcie_type) if node.pcie_type is not None else None,
        secondary=None if numbers is None else numbers.secondary,
        ari=bit,
        lost_with_bit=[bdf.text(key) for key in lost],
        lost_with_reset=[bdf.text(key) for key in subtree],
        preserved=[bdf.text(key) for key in subtree if key in profile.preserved],
        takers=_takers(node, topology),
    )


def _takers(node: Node, topology: Topology) -> list[Taker]:
    """What resets Device Control 2 of a port (PCIe 6.6.1, 7.5.1.3.13), by its type."""
    if node.pcie_type == TYPE_ROOT_PORT:
        return [_FIRMWARE, _PLATFORM, _POWER]
    above = [bridge.function for bridge in reversed(topology.ancestors(node.name))]
    names = [bdf.text(key) for key in above]
    takers = [_FIRMWARE]
    if node.pcie_type == TYPE_DOWNSTREAM and names:
        takers.append(
            Taker(
                "a secondary bus reset on a bridge above (VFIO hot reset, error recovery, setpci)",
                names,
                "everything",
                "PCIe 6.6.1, 7.5.1.3.13: a hot reset enters the switch and resets its ports",
            )
        )
        takers.append(
            Taker(
                "the link of a bridge above goes down, or DPC contains it",
                names[:-1] or names,
                "everything",
                "PCIe 6.6.1: DL_Down on an upstream port is a hot reset",
            )
        )
    return [*takers, _POWER]


def _ranked(ports: Sequence[PortAtRisk]) -> list[PortAtRisk]:
    """Ports by how much would be lost with the bit alone, then with a reset, most first."""
    return sorted(ports, key=lambda port: (-len(port.lost_with_bit), -len(port.lost_with_reset), port.bdf))
