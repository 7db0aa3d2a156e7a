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

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from analyzer import distinct_questions
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.series import BusNumberRule, named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.world import Node

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
    """Whether bus numbers are unset or broken on the bus of a number; None or NONE where not known."""
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
    silent = machine.columns["numbers_silent"][rows] == 1
    facts = (
        column.tolist() for column in (silent, buses[rows], *(part[rows] for part in machine.kept_numbers))
    )
    found[rows] = distinct_questions.each(unusable, zip(*facts, strict=True))
    return found


def mark_unreachable(machine: NodeTable, reserved: Callable[[int], int], *, renumbers: bool) -> None:
    """Note the bridges whose new bus numbers, if a kernel assigned them, would reach nothing.

    Args:
        machine: the hardware.
        reserved: how many buses above its own one the function of a row reserves for virtual functions.
        renumbers: also note the number that each bridge gets from a kernel that numbers all of them.
    """
    columns, roots = machine.columns, np.unique(machine.root_buses).tolist()
    numbering = _Numbering(machine, reserved, machine.kept_numbers)
    for root in roots:
        numbering.number(~root, root & 0xFF, _LAST_BUS)
        if renumbers:
            numbering.number_all(~root, root & 0xFF)
    columns["beyond_reach"][:] = columns["beyond_reach_if_lost"][:] = numbering.beyond_reach
    columns["assigned"][:] = numbering.assigned
    if ((columns["numbers_row"] == NONE) & (columns["outgoing_numbers_row"] != NONE)).any():
        numbering = _Numbering(machine, reserved, machine.read_numbers)
        for root in roots:
            numbering.number(~root, root & 0xFF, _LAST_BUS)
        columns["beyond_reach_if_lost"][:] = numbering.beyond_reach


class _Numbering:
    """The numbers that the bridges of a machine would get; a place is a bridge's row, or ``~root bus``.

    Args:
        machine: the hardware.
        reserved: as of :func:`mark_unreachable`.
        numbers: primary, secondary and subordinate bus of each bridge; :data:`NONE`: lost.

    Attributes:
        beyond_reach: which bridges would get numbers that reach nothing.
        assigned: the number that each bridge got from :meth:`number_all`.
    """

    def __init__(
        self, machine: NodeTable, reserved: Callable[[int], int], numbers: Sequence[NDArray[np.int64]]
    ) -> None:
        columns = machine.columns
        self.beyond_reach = [False] * len(machine.paths)
        self.assigned = [NONE] * len(machine.paths)
        self._is_bridge, self._silent = columns["is_bridge"] == 1, columns["numbers_silent"] == 1
        self._numbers = np.array(numbers).T.tolist()
        self._reserved = reserved
        self._present: defaultdict[int, list[int]] = defaultdict(list)
        places = np.where(machine.above == NONE, ~machine.root_buses, machine.above)
        for row in np.flatnonzero(columns["present"] == 1).tolist():
            self._present[int(places[row])].append(row)

    def _first_highest(self, place: int, bus: int) -> int:
        """The highest number in use on a bus before any bridge is visited."""
        return bus + max(map(self._reserved, self._present[place]), default=0)

    def number(self, place: int, bus: int, limit: int, *, new: bool = False) -> int:
        """Number the buses below one bus; return the highest number then in use.

        Args:
            place: where the bus is.
            bus: its number.
            limit: highest number that every bridge above forwards.
            new: the bus has a new number, so that the bridge above depends on the answer.
        """
        bridges = [row for row in self._present[place] if self._is_bridge[row] and not self._silent[row]]
        unnumbered = [row for row in bridges if unusable(False, bus, *self._numbers[row])]
        highest = self._first_highest(place, bus) if unnumbered or new else bus
        for row in bridges:
            if row not in unnumbered:
                _, secondary, subordinate = self._numbers[row]
                self.number(row, secondary, min(limit, subordinate))
                highest = max(highest, subordinate)
        for row in unnumbered:
            number = highest + 1
            self.beyond_reach[row] = number > limit
            highest = number if number > limit else self.number(row, number, limit, new=True)
        return highest

    def number_all(self, place: int, bus: int) -> int:
        """The same for a kernel that assigns every number anew: depth first, nothing is kept."""
        highest = self._first_highest(place, bus)
        for row in self._present[place]:
            if self._is_bridge[row]:
                self.assigned[row] = highest + 1
                highest = self.number_all(row, highest + 1)
        return highest
