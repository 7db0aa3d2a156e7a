"""The ports of one machine: which functions depend on the ARI Forwarding of each, and what is lost with it.

The replay of the inherit policy with one bridge's bit forced on and off in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from analyzer import bdf, series
from analyzer.errors import UsageError
from analyzer.observed import decisions, virtual_functions
from analyzer.observed.register_state import is_on
from analyzer.observed.registers import missing_bytes
from analyzer.preservation.preserved import resolve, sources, with_bridges
from analyzer.questions import reset_costs
from analyzer.replay import one_boot
from analyzer.replay.enumeration import Replay, ScanningKernel
from analyzer.replay.profile import Profile
from analyzer.verdicts import former_uses, handovers
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcie_capability import PORT_TYPES, TYPE_DOWNSTREAM, TYPE_ROOT_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Study
    from analyzer.capture import Capture, FunctionUse
    from analyzer.observed.topology import Topology
    from analyzer.options import Options
    from analyzer.questions.reset_costs import ResetCost
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
    "any software can write Device Control 2 (PCIe 7.5.3.16)",
)
_POWER = LossMechanism(
    "the port goes to D3cold, or to D3hot with No_Soft_Reset 0",
    [],
    "everything",
    "PCIe 5.3.1.4, 7.5.2.2",
)
_PLATFORM = LossMechanism(
    "the root complex is reset or its host bridge driver initialises it again",
    [],
    "everything",
    "PCIe 6.6.1: a root port's own link, SBR or DPC does not reset it",
)


@dataclass(frozen=True)
class UsedFunction:
    """What a function is used as."""

    bdf: str
    use: FunctionUse


@dataclass(frozen=True)
class PortAtRisk:
    """One bridge with functions that depend on its ARI Forwarding, or whose bit is on.

    Attributes:
        ari: the bit now, as ``ari_hardware`` (None: not in the input).
        ari_hardware: as the last access shows it.
        ari_kernel: as the kernel last decided.
        lost_with_bit: functions that a kernel which inherits does not discover without the bit.
        lost_with_reset: those that it does not discover if the port loses its bus numbers too.
        preserved: those of both that are to be handed over.
        not_seen: functions that the chain of another names and that are not in the input.
        not_found: functions of the preserved list that are not in the input: the bit is off, and no kernel
            finds them without it.
        silent: functions of which every byte reads ff.
        chain_unknown: bytes that would show the chain of Next Function Numbers below it.
        already_lost: the bit is off in hardware.
        takers: what can clear the bit, per port type.
        reset_costs: what a reset would clear in it and below it beyond ARI Forwarding and bus numbers.
        uses: what functions below it are used as, where the input says it.
    """

    bdf: str
    vendor_device: str | None
    port_type: str | None
    secondary: int | None
    ari: bool | None
    lost_with_bit: list[str]
    lost_with_reset: list[str]
    preserved: list[str]
    takers: list[LossMechanism]
    ari_hardware: bool | None = None
    ari_kernel: bool | None = None
    not_seen: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    chain_unknown: list[str] = field(default_factory=list)
    already_lost: bool = False
    reset_costs: list[ResetCost] = field(default_factory=list)
    uses: list[UsedFunction] = field(default_factory=list)

    @property
    def dependent(self) -> list[str]:
        """Every function that depends on the bit: in the input, or named by a chain or the preserved list."""
        return [*self.lost_with_bit, *self.not_seen, *self.not_found]


class Machine:
    """One kernel's functions, and the questions about each of its ports."""

    def __init__(
        self,
        topology: Topology,
        earlier: Topology | None,
        study: Study,
        options: Options,
        capture: Capture,
    ) -> None:
        self.topology = topology
        self.functions = {**(earlier.functions if earlier is not None else {}), **topology.functions}
        self.notes = capture.notes
        self.index = study.index
        self.uses = self._uses(topology, study, capture)
        if earlier is not None:  # what this kernel did not find
            before = self._uses(earlier, study, capture)
            self.uses |= {key: use for key, use in before.items() if key not in topology.functions}
        self.decided = decisions.of_boot(topology)
        outgoing_states = handovers.outgoing_states(topology, self.decided)
        self.kernel = {key: outgoing_state.enabled for key, outgoing_state in outgoing_states.items()}
        self.bits = {bridge.function: is_on(bridge, ARI_FORWARDING) for bridge in topology.bridges()}
        self.table = one_boot.build(topology, self.bits, earlier)
        self.hardware = self.table.world
        self.virtual = virtual_functions.of_topology(topology)
        self.virtual_keys = virtual_functions.keys(topology)
        everything = frozenset(node.name for node in self.hardware.nodes())
        if capture.notes.collected == "after":  # its set is of the kexec that is over
            capture = replace(capture, notes=replace(capture.notes, preserved=[]))
        opened = sources(options, capture, {})
        if opened.beyond(0):
            raise UsageError(
                "--preserved: expected functions to be preserved at the next kexec, found some for kexec "
                f"{opened.beyond(0)[0]}",
                advice="write addresses without the number of a kexec",
            )
        self.preserved = resolve(opened, 0, topology, everything)
        self.is_assumed = self.preserved.source == "assumed"
        # The question is what a kernel that inherits finds: on each port as if it were handed over.
        self.profile = Profile(
            "inherit",
            options.series or series.newest().name,
            everything,
            noari=False,
            scan_all=False,
            saved={},
        )
        self.candidates = [
            node
            for node in self.hardware.nodes()
            if node.is_bridge and node.children and node.one_child is not False and self._matters(node)
            if node.name in topology.functions
        ]
        # A function that only the earlier kernel saw as a bridge: what its bit is now nobody can tell.
        self.bits |= {node.name: None for node in self.candidates if node.name not in self.bits}

    @staticmethod
    def _uses(topology: Topology, study: Study, capture: Capture) -> dict[int, FunctionUse]:
        return former_uses.of_boot(topology.boot.index, study.index, study.logs, capture.notes.uses)

    def _matters(self, node: Node) -> bool:
        """Whether the port may use ARI Forwarding, and anything below it is to be handed over."""
        return node.ari_supported is not False and self.wanted(node.name)

    def wanted(self, key: int) -> bool:
        """Whether a function, or anything below it, is to be handed over."""
        return self.is_assumed or key in self._wanted

    @cached_property
    def _wanted(self) -> frozenset[int]:
        return with_bridges(self.preserved.keys, self.topology)

    @property
    def preserved_virtual(self) -> list[str]:
        """Virtual functions that the user says are preserved: no kernel does."""
        return [bdf.text(key) for key in sorted(self.preserved.keys & self.virtual_keys.keys())]

    def port(self, node: Node) -> PortAtRisk | None:
        """What a port carries, or None if its bit is off and nothing depends on it, or that is unknown."""
        if node.ari_supported is None or self.bits[node.name] is None or node.one_child is None:
            return None  # unknown
        dependent = self.dependent(node)
        not_seen, not_found = self._not_seen(node), self._not_found(node)
        virtual = {name for one in self.virtual if one.bridge_key == node.name for name in one.need_ari}
        carries = dependent or not_seen or not_found or virtual
        if not carries and not self.bits[node.name]:
            return None
        subtree = [
            other.name
            for other in self.hardware.nodes()
            if len(other.path) > len(node.path) and other.path[: len(node.path)] == node.path
        ]
        numbers, bit = node.outgoing_numbers, self.bits[node.name]
        return PortAtRisk(
            bdf=bdf.text(node.name),
            vendor_device=node.vendor_device,
            port_type=PORT_TYPES.get(node.pcie_type) if node.pcie_type is not None else None,
            secondary=None if numbers is None else numbers.secondary,
            ari=bit,
            ari_hardware=bit,
            ari_kernel=self.kernel.get(node.name),
            lost_with_bit=sorted({*(bdf.text(key) for key in dependent), *virtual}),
            lost_with_reset=[bdf.text(key) for key in sorted(subtree)],
            preserved=[bdf.text(key) for key in sorted(subtree) if key in self.preserved.keys],
            not_seen=not_seen,
            not_found=not_found,
            silent=[bdf.text(key) for key in sorted(subtree) if key in self.topology.silent],
            chain_unknown=list(self._unknown_chain(node)),
            takers=mechanisms_of(node, self.topology),
            already_lost=bool(carries) and bit is False,
            reset_costs=reset_costs.of_functions(self.topology.functions, [node.name, *subtree]),
            uses=[UsedFunction(bdf.text(key), use) for key in sorted(subtree) if (use := self.uses.get(key))],
        )

    def dependent(self, node: Node) -> list[int]:
        """Functions in the input that are discovered with the bit and not without it."""
        return self._dependent.get(node.name, [])

    @cached_property
    def _dependent(self) -> dict[int, list[int]]:
        """The same of every candidate: two kernels for each scan at once."""
        rows = {node.path: row for row, node in enumerate(self.table.nodes)}
        names = [node.name for node in self.candidates]
        replay = Replay(
            [
                ScanningKernel(self.table.with_bit(rows[node.path], bit), self.profile)
                for node in self.candidates
                for bit in (True, False)
            ]
        )
        found = [frozenset(replay.found(kernel).rows.tolist()) for kernel in range(2 * len(names))]
        return {
            name: [self.table.nodes[row].name for row in sorted(found[2 * number] - found[2 * number + 1])]
            for number, name in enumerate(names)
        }

    def _unknown_chain(self, node: Node) -> Iterator[str]:
        for child in node.children.values():
            missing = self.missing_chain(child)
            if missing:
                yield f"{missing_bytes.in_words(missing)} of {bdf.text(child.name)}"

    def _not_seen(self, node: Node) -> list[str]:
        """Functions above 7 that are not in the input and that a chain names, if ARI Forwarding is on."""
        bus = self.bus_below(node)
        named = {child.next_function for child in node.children.values() if child.has_ari}
        return [
            bdf.text(bus << 8 | devfn)
            for devfn in sorted(number for number in named if number is not None)
            if devfn > 7 and devfn not in node.children
        ]

    def _not_found(self, node: Node) -> list[str]:
        """Functions above 7 of the preserved list that the input lacks, if ARI Forwarding is off.

        Those only that the chain may lead to: it goes on to a function that is not in the input, or where it
        goes on is not in the input. An address at which a physical function has a virtual one once they are
        enabled proves nothing.
        """
        if self.bits[node.name] is not False or self.is_assumed or not self._chain_may_go_on(node):
            return []
        bus, named = self.bus_below(node), {*self._not_seen(node)}
        missing = sorted(key for key in self.preserved.keys - self.functions.keys() if key >> 8 == bus)
        placements = list(filter(None, map(virtual_functions.if_enabled, self.topology.functions.values())))
        return [
            bdf.text(key)
            for key in missing
            if key & 0xFF > 7 and bdf.text(key) not in named
            if all(placement.number(key) is None for placement in placements)
        ]

    def _chain_may_go_on(self, node: Node) -> bool:
        """Whether the chain of Next Function Numbers may lead to functions that are not in the input."""
        seen: set[int] = set()
        following = 0
        while following not in seen:
            seen.add(following)
            child = node.children.get(following)
            if child is None or child.has_ari is None or (child.has_ari and child.next_function is None):
                return True
            if not child.has_ari or not child.next_function:
                return False
            following = child.next_function
        return False

    @staticmethod
    def bus_below(node: Node) -> int:
        """The bus (``domain << 8 | bus``) of the functions below a port that has some."""
        return next(iter(node.children.values())).name >> 8

    def missing_chain(self, node: Node) -> list[str]:
        """Bytes that would show where the chain goes on from a function, as far as no kernel read them."""
        if node.has_ari is False or (node.has_ari and node.next_function is not None):
            return []
        return missing_bytes.of_ari_capability(self.functions[node.name])


def mechanisms_of(node: Node, topology: Topology) -> list[LossMechanism]:
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
