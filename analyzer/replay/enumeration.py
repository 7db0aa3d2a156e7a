"""What the kernel of each policy must find on the hardware of each kexec."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import scan_tables
from analyzer.replay.ari import AriDecision
from analyzer.replay.scan_tables import KERNELS, NODES, OF_PROFILE, PRESERVED, ROOTS, SAVED, Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from analyzer.replay.bus_numbers import Outcome
    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node, Path


@dataclass
class Prediction:
    """What a kernel of one profile must find.

    Attributes:
        order: discovered nodes in the order of the scan, certain and possible ones.
        certain: paths that are discovered whatever the unknown inputs are.
        possible: paths that are discovered for some of them only.
        decisions: bridge path -> ARI decision.
        numbers: bridge path -> what became of its bus numbers. ``use`` takes numbers that the incoming kernel
            was not seen to read as kept; where they might not be, what is below is merely possible.
        keys: path -> key under the numbering of this scan.
        panicked: the kernel panics while it sets up the first function that it finds.
        renumbers: the kernel numbers every bridge anew, also those with usable numbers.
    """

    order: list[Node] = field(default_factory=list)
    certain: set[Path] = field(default_factory=set)
    possible: set[Path] = field(default_factory=set)
    decisions: dict[Path, AriDecision] = field(default_factory=dict)
    numbers: dict[Path, Outcome] = field(default_factory=dict)
    keys: dict[Path, int] = field(default_factory=dict)
    panicked: bool = False
    renumbers: bool = False


class ScanningKernel(NamedTuple):
    """A kernel that scans a machine.

    Attributes:
        machine: the hardware.
        profile: what the kernel is.
        renumbered_as_observed: functions below a renumbered bridge are named by the numbers that the incoming
            kernel wrote (for the policy that ran); else by their outgoing address.
    """

    machine: NodeTable
    profile: Profile
    renumbered_as_observed: bool = False


def predict(machine: NodeTable, profile: Profile, *, renumbered_as_observed: bool = False) -> Prediction:
    """Replay the scan of one kernel."""
    return Replay([ScanningKernel(machine, profile, renumbered_as_observed)]).prediction(0)


class FoundRows(NamedTuple):
    """What one kernel finds, by scan order: rows of its machine, addresses, whether that is certain."""

    rows: NDArray[np.int64]
    addresses: NDArray[np.int64]
    certain: NDArray[np.bool_]


class Replay:
    """The scans of many kernels, on one machine or on many.

    Attributes:
        kernels: as given; ``kernel`` in the tables is the place there.
        tables: what they find.
    """

    def __init__(self, kernels: Sequence[ScanningKernel]) -> None:
        self.kernels = kernels
        hardware, self._firsts = _hardware(kernels)
        self.tables = scan_tables.scan(hardware)
        self._made: dict[int, Prediction] = {}

    @cached_property
    def _found(self) -> tuple[FoundRows, list[int]]:
        """What all kernels find, and where each begins."""
        found = self.tables.found
        edges = np.searchsorted(found["kernel"].to_numpy(), np.arange(len(self.kernels) + 1)).tolist()
        columns = (found[name].to_numpy() for name in ("node", "address", "certain"))
        return FoundRows._make(columns), edges

    def found(self, kernel: int) -> FoundRows:
        """What one kernel finds."""
        if self.kernels[kernel].profile.panics:
            return _until_panic(*self.kernels[kernel][:2])
        every, edges = self._found
        first, last = edges[kernel : kernel + 2]
        return FoundRows(
            every.rows[first:last] - self._firsts[kernel],
            every.addresses[first:last],
            every.certain[first:last],
        )

    @cached_property
    def _of_bridges(self) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
        """Kernel -> rows of its decisions, and of what became of bus numbers."""
        return self.tables.decisions.rows_by_key("kernel"), self.tables.numbers.rows_by_key("kernel")

    def prediction(self, kernel: int) -> Prediction:
        """What one kernel must find, function by function."""
        known = self._made.get(kernel)
        if known is None:
            known = self._made[kernel] = self._prediction(kernel)
        return known

    def _prediction(self, kernel: int) -> Prediction:
        machine, profile, _ = self.kernels[kernel]
        nodes, first = machine.nodes, self._firsts[kernel]
        made = Prediction(renumbers=profile.renumbers, panicked=profile.panics)
        for row, address, certain in zip(*(column.tolist() for column in self.found(kernel)), strict=True):
            made.order.append(nodes[row])
            made.keys[nodes[row].path] = address
            (made.certain if certain else made.possible).add(nodes[row].path)
        decisions, numbers = (of_all.get(kernel, []) for of_all in self._of_bridges)
        for place, enabled, branch in decisions:
            made.decisions[nodes[place - first].path] = AriDecision(enabled, branch)
        for node, outcome in numbers:
            made.numbers[nodes[node - first].path] = outcome
        return made


def _hardware(kernels: Sequence[ScanningKernel]) -> tuple[Hardware, list[int]]:
    """The tables of machines and kernels, and for each kernel the first node of its machine."""
    machines = {id(kernel.machine): kernel.machine for kernel in kernels}
    firsts: dict[int, int] = {}
    first = 0
    for identity, machine in machines.items():
        firsts[identity] = first
        first += len(machine.paths)
    places = itertools.count(-1, -1)
    roots = {
        identity: {bus: next(places) for bus in sorted({path[0] for path in machine.paths})}
        for identity, machine in machines.items()
    }
    scanning = [(number, kernel) for number, kernel in enumerate(kernels) if not kernel.profile.panics]
    of_profile = attrgetter(*OF_PROFILE)
    rows: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    for number, (machine, profile, as_observed) in scanning:
        rows["roots"].extend((number, place, bus) for bus, place in roots[id(machine)].items())
        rows["kernels"].append((number, *of_profile(profile), as_observed))
        if profile.live_update:
            rows["preserved"].extend((number, key) for key in profile.preserved)
        rows["saved"].extend((number, key, bit) for key, bit in profile.saved.items())
    schemas: dict[str, Mapping[str, pl.DataType]] = {
        "roots": ROOTS,
        "kernels": KERNELS,
        "preserved": PRESERVED,
        "saved": SAVED,
    }
    tables = {name: pl.DataFrame(rows[name], schema, orient="row") for name, schema in schemas.items()}
    nodes = _nodes([(machine, firsts[one], roots[one]) for one, machine in machines.items()])
    return Hardware(nodes, **tables), [firsts[id(kernel.machine)] for kernel in kernels]


def _nodes(machines: Sequence[tuple[NodeTable, int, dict[int, int]]]) -> pl.DataFrame:
    """The functions of the machines, each with the first of its nodes and its root buses' places."""
    if not machines:
        return pl.DataFrame(schema=NODES)
    parts = []
    for machine, first, roots in machines:
        on_root_bus = np.array([roots[path[0]] for path in machine.paths], np.int64)
        place = np.where(machine.above == NONE, on_root_bus, machine.above + first)
        node = np.arange(first, first + len(machine.paths))
        parts.append(
            {
                **machine.columns,
                "node": node,
                "place": place,
                "devfn": machine.devfns,
                "one_child": machine.one_child,
            }
        )
    return scan_tables.nodes({name: np.concatenate([part[name] for part in parts]) for name in NODES})


def _until_panic(machine: NodeTable, profile: Profile) -> FoundRows:
    """The scan of a kernel that panics over the data that it retrieves when it sets up the first function.

    Series v7 to v9 retrieve it in pci_liveupdate_setup_device, after the header type, the PCI Express
    capability and the class dword of that function: it has been read, and counts as found if its header type
    is one that the kernel knows. Nothing follows.
    """
    first = [
        (row, path)
        for row, path in enumerate(machine.paths)
        if len(path) == 2
        and (path[-1] & 7 == 0 or profile.isolated_functions)
        and (machine.columns["present"][row] or row in machine.ignored)
    ]
    found = [(row, path[0] << 8 | path[-1]) for row, path in first[:1] if machine.columns["present"][row]]
    rows, addresses = np.array(found, np.int64).reshape(len(found), 2).T
    return FoundRows(rows, addresses, np.ones(len(found), np.bool_))
