"""What the kernel of each policy must find on the hardware of each kexec."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from analyzer.replay import scan_tables
from analyzer.replay.ari import AriDecision
from analyzer.replay.scan_tables import KERNELS, NODES, PRESERVED, ROOTS, SAVED, Hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.registers.functions import BusNumbers
    from analyzer.replay.bus_numbers import Outcome
    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node, Path, World


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


#: Root buses that a machine may have: one of each domain and bus number that a capture shows, at most.
_MOST_ROOTS = 1 << 24


class Kernel(NamedTuple):
    """A kernel that scans a machine.

    Attributes:
        world: the hardware.
        profile: what the kernel is.
        renumbered_as_observed: functions below a renumbered bridge are named by the numbers that the incoming
            kernel wrote (for the policy that ran); else by their outgoing address.
    """

    world: World
    profile: Profile
    renumbered_as_observed: bool = False


def predict(world: World, profile: Profile, *, renumbered_as_observed: bool = False) -> Prediction:
    """Replay the scan of one kernel."""
    (only,) = predict_all([Kernel(world, profile, renumbered_as_observed)])
    return only


def predict_all(kernels: Sequence[Kernel]) -> list[Prediction]:
    """Replay the scans of many kernels, on one machine or on many."""
    predictions = [Prediction(renumbers=kernel.profile.renumbers) for kernel in kernels]
    scanning = []
    for number, kernel in enumerate(kernels):
        if kernel.profile.panics:
            _until_panic(kernel.world, kernel.profile, predictions[number])
        else:
            scanning.append(number)
    hardware, nodes = _hardware(kernels, scanning)
    tables = scan_tables.scan(hardware)
    for number, node, address, certain in (
        tables.found.sort("kernel", "order").select("kernel", "node", "address", "certain").iter_rows()
    ):
        prediction, found = predictions[number], nodes[node]
        prediction.order.append(found)
        prediction.keys[found.path] = address
        (prediction.certain if certain else prediction.possible).add(found.path)
    for number, place, enabled, branch in tables.decisions.iter_rows():
        predictions[number].decisions[nodes[place].path] = AriDecision(enabled, branch)
    for number, node, outcome in tables.numbers.iter_rows():
        predictions[number].numbers[nodes[node].path] = outcome
    return predictions


def _hardware(kernels: Sequence[Kernel], scanning: Sequence[int]) -> tuple[Hardware, list[Node]]:
    """The tables of the machines and kernels, and the node of each row."""
    nodes: list[Node] = []
    rows: list[tuple[object, ...]] = []
    places: dict[int, dict[int, int]] = {}
    roots: list[tuple[int, int, int]] = []
    preserved: list[tuple[int, int]] = []
    saved: list[tuple[int, int, bool | None]] = []
    about: list[tuple[object, ...]] = []
    for number in scanning:
        kernel = kernels[number]
        world, profile = kernel.world, kernel.profile
        if id(world) not in places:
            places[id(world)] = _add_machine(world, nodes, rows, -1 - len(places) * _MOST_ROOTS)
        roots.extend((number, place, bus) for bus, place in places[id(world)].items())
        about.append(
            (
                number,
                profile.policy,
                profile.series,
                profile.noari,
                profile.scan_all,
                profile.isolated_functions,
                profile.keeps_bus_numbers,
                profile.renumbers,
                kernel.renumbered_as_observed,
            )
        )
        if profile.live_update:
            preserved.extend((number, key) for key in profile.preserved)
        saved.extend((number, key, bit) for key, bit in profile.saved.items())
    return (
        Hardware(
            pl.DataFrame(rows, schema=NODES, orient="row"),
            pl.DataFrame(roots, schema=ROOTS, orient="row"),
            pl.DataFrame(about, schema=KERNELS, orient="row"),
            pl.DataFrame(preserved, schema=PRESERVED, orient="row"),
            pl.DataFrame(saved, schema=SAVED, orient="row"),
        ),
        nodes,
    )


def _add_machine(
    world: World, nodes: list[Node], rows: list[tuple[object, ...]], first: int
) -> dict[int, int]:
    """Add the nodes of one machine; return its root buses with the place that each is (below 0)."""
    roots = {bus: first - number for number, bus in enumerate(sorted(world.roots))}
    numbers: dict[Path, int] = {}
    for node in world.nodes():
        above = world.parent(node)
        place = roots[node.path[0]] if above is None else numbers[above.path]
        numbers[node.path] = len(nodes)
        rows.append(
            (
                len(nodes),
                place,
                node.devfn,
                node.present,
                node.gated,
                node.is_bridge,
                node.one_child,
                node.is_pcie,
                node.multifunction,
                node.ari_supported,
                node.has_ari,
                node.next_function,
                node.hardware,
                node.numbers_silent,
                node.beyond_reach,
                *_numbers(node.numbers),
                *_numbers(node.outgoing_numbers),
                _numbers(node.incoming_numbers)[1],
            )
        )
        nodes.append(node)
    return roots


def _numbers(numbers: BusNumbers | None) -> tuple[int | None, ...]:
    return (None,) * 3 if numbers is None else (numbers.primary, numbers.secondary, numbers.subordinate)


def _until_panic(world: World, profile: Profile, prediction: Prediction) -> None:
    """The scan of a kernel that panics over the data that it retrieves when it sets up the first function.

    Series v7 to v9 retrieve it in pci_liveupdate_setup_device, after the header type, the PCI Express
    capability and the class dword of that function: it has been read, and counts as found if its header type
    is one that the kernel knows. Nothing follows.
    """
    prediction.panicked = True
    first = [
        (root, devices[devfn])
        for root, devices in sorted(world.roots.items())
        for devfn in sorted(devices)
        if (devfn & 7 == 0 or profile.isolated_functions)
        and (devices[devfn].present or devices[devfn].ignored)
    ]
    for root, node in first[:1]:
        if node.present:
            prediction.order.append(node)
            prediction.certain.add(node.path)
            prediction.keys[node.path] = root << 8 | node.devfn
