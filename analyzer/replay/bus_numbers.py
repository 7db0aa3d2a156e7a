"""Whether a scan uses, assigns or refuses the bus numbers of a bridge, and what newly assigned ones reach.

Linux pci_scan_bridge_extend: 7.3 for the test itself; series v4 to v9 "PCI: liveupdate: Inherit (v4) / Keep
(v5 to v8) / Preserve (v9) bus numbers" for the refusals (docs/replay.md, bus-number rules).

New numbers: Linux 7.3 pci_scan_child_bus_extend and pci_scan_bridge_extend. The highest number in use is at
first that of the bus, or the last that its physical functions reserve for virtual ones (pci_iov_bus_range).
Pass 0 scans below every bridge whose numbers are usable and notes the highest; pass 1 gives each other bridge
the next one. With pci=assign-busses every bridge is numbered in pass 1. A bridge above that kept its numbers
is not widened, so that in a packed switch nothing answers below new ones ("devices behind bridge are unusable
because [bus ..] cannot be assigned for them"). Seen live: docs/replay.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from analyzer import distinct_questions
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.series import BusNumberRule, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.world import Node, World

#: ``silent``: they read all ones in both passes, so that pass 0 finds them broken and pass 1 finds them set,
#: and neither scans below. ``unknown``: to assign or to refuse depends on a preserved neighbour that is
#: perhaps not found, or has perhaps lost its numbers (series v9).
Outcome = Literal["use", "assign", "refuse", "silent", "unknown"]

_LAST_BUS = 255


def outcome(
    renumbers: bool,
    numbers_silent: bool,
    unusable: bool,
    keeps_bus_numbers: bool,
    series: str,
    neighbour: bool,
) -> Outcome:
    """Decide what the scan of a bus does with one bridge on it.

    Args:
        renumbers: the kernel numbers every bridge anew.
        numbers_silent: the bridge's numbers read all ones.
        unusable: they are unset or broken on the bus that it sits on.
        keeps_bus_numbers: a Live Update forbids new bus numbers.
        series: version of the patches.
        neighbour: a bridge that the scan finds on that bus, perhaps this one, is preserved and has unusable
            numbers.
    """
    if renumbers:
        return "assign"
    if numbers_silent:
        return "silent"
    if not unusable:
        return "use"
    return "refuse" if keeps_bus_numbers and _refuses(series, neighbour) else "assign"


class NumbersQuestion(NamedTuple):
    """What becomes of the numbers of one bridge depends on this; the first six as for :func:`outcome`.

    Attributes:
        unusable_if_lost: ``unusable``, if numbers that the incoming kernel was not seen to read are lost.
        firm_neighbour: ``neighbour``, but for bridges that are perhaps not found: one of those cannot be sure
            to make this kernel refuse.
        neighbour_if_lost: ``neighbour``, if numbers that were not read are lost: then one refuses.
    """

    renumbers: bool
    numbers_silent: bool
    unusable: bool
    keeps_bus_numbers: bool
    series: str
    neighbour: bool
    unusable_if_lost: bool
    firm_neighbour: bool
    neighbour_if_lost: bool


def outcomes(*facts: Any) -> tuple[Outcome, Outcome, Outcome]:
    """What becomes of them where something is perhaps not so: what is said, what is certain, the worst.

    Args:
        facts: those of :class:`NumbersQuestion`, in order.
    """
    asked = NumbersQuestion(*facts)
    most = outcome(*asked[:6])
    least = outcome(*asked[:5], asked.firm_neighbour)
    worst = outcome(*asked._replace(unusable=asked.unusable_if_lost)[:5], asked.neighbour_if_lost)
    doubtful = most != least or (most == "assign" and worst == "refuse")
    return "unknown" if doubtful else most, least, worst


def _refuses(series: str, neighbour: bool) -> bool:
    match named(series).bus_numbers:
        case BusNumberRule.DATA | BusNumberRule.DEVICES:
            return True
        case BusNumberRule.PRESERVED_BRIDGE_ON_BUS:
            return neighbour


def unusable(
    numbers_silent: bool, bus: int, primary: int | None, secondary: int | None, subordinate: int | None
) -> bool:
    """Whether bus numbers are unset or broken on the bus of that number; None where they are not known."""
    if numbers_silent or primary is None or secondary is None or subordinate is None:
        return True
    return BusNumbers(primary, secondary, subordinate, 0).broken_on(bus)


def node_unusable(bridge: Node, bus: int) -> bool:
    """The same of a node; where the incoming kernel's read is not known, the outgoing numbers are kept."""
    numbers = bridge.numbers or bridge.outgoing_numbers
    return bridge.numbers_silent or numbers is None or numbers.broken_on(bus)


def all_usable(machine: NodeTable) -> bool:
    """Whether no bridge has unset, broken or silent numbers: then no kernel assigns new ones of itself."""
    above, (_, secondary, _) = machine.above, machine.kept_numbers
    buses = np.where(above == NONE, machine.root_buses & 0xFF, secondary[above])
    return not unusable_on(machine, buses).any()


def unusable_on(machine: NodeTable, buses: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which functions are bridges whose numbers are unusable on the bus of a number, one for each."""
    found = np.zeros(len(buses), np.bool_)
    rows = np.flatnonzero(machine.columns["is_bridge"] == 1)
    silent = (machine.columns["numbers_silent"][rows] == 1).tolist()
    known = [
        [None if number == NONE else number for number in part[rows].tolist()]
        for part in machine.kept_numbers
    ]
    found[rows] = distinct_questions.each(unusable, zip(silent, buses[rows].tolist(), *known, strict=True))
    return found


def _reserves_none(_node: Node) -> int:
    return 0


def mark_unreachable(
    world: World, reserved: Callable[[Node], int] = _reserves_none, *, renumbers: bool = False
) -> None:
    """Note the bridges whose new bus numbers, if a kernel assigned them, would reach nothing.

    Args:
        world: the hardware.
        reserved: how many buses above its own one a function reserves for virtual functions.
        renumbers: also note the number that each bridge gets from a kernel that numbers all of them.
    """
    for root in sorted(world.roots):
        _number(world.roots[root], root & 0xFF, _LAST_BUS, reserved)
        if renumbers:
            _number_all(world.roots[root], root & 0xFF, reserved)


def _first_highest(present: list[Node], bus: int, reserved: Callable[[Node], int]) -> int:
    """The highest number in use on a bus before any bridge is visited."""
    return bus + max(map(reserved, present), default=0)


def _number(
    devices: dict[int, Node], bus: int, limit: int, reserved: Callable[[Node], int], *, new: bool = False
) -> int:
    """Number the buses below one bus; return the highest number then in use.

    Args:
        devices: the functions on the bus.
        bus: its number.
        limit: highest number that every bridge above forwards.
        reserved: as for :func:`mark_unreachable`.
        new: the bus has a new number, so that the bridge above depends on the answer.
    """
    present = [devices[devfn] for devfn in sorted(devices) if devices[devfn].present]
    bridges = [node for node in present if node.is_bridge and not node.numbers_silent]
    unnumbered = [bridge for bridge in bridges if node_unusable(bridge, bus)]
    highest = _first_highest(present, bus, reserved) if unnumbered or new else bus
    for bridge in bridges:
        numbers = bridge.numbers or bridge.outgoing_numbers
        if bridge not in unnumbered and numbers is not None and numbers.secondary > bus:
            _number(bridge.children, numbers.secondary, min(limit, numbers.subordinate), reserved)
            highest = max(highest, numbers.subordinate)
    for bridge in unnumbered:
        number = highest + 1
        bridge.beyond_reach = number > limit
        if bridge.beyond_reach:
            highest = number
        else:
            highest = _number(bridge.children, number, limit, reserved, new=True)
    return highest


def _number_all(devices: dict[int, Node], bus: int, reserved: Callable[[Node], int]) -> int:
    """The same for a kernel that assigns every number anew: depth first, nothing is kept."""
    present = [devices[devfn] for devfn in sorted(devices) if devices[devfn].present]
    highest = _first_highest(present, bus, reserved)
    for bridge in present:
        if bridge.is_bridge:
            bridge.assigned = highest + 1
            highest = _number_all(bridge.children, highest + 1, reserved)
    return highest
