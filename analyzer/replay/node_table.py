"""The functions of a machine as columns: what the replay's tables are made of.

A row is one function of the hardware, as far as one or two boots' reads show it, in the order of its place:
root bus (``domain << 8 | bus``), then device/function numbers downwards, which bus renumbering does not
change. Rules that look at one function at a time get the same as a :class:`analyzer.replay.world.World`.
"""

from __future__ import annotations

import bisect
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.world import Node, World
from schemas.pcie_capability import DOWNSTREAM_TYPES, EXTENDED_BELOW, TYPE_DOWNSTREAM, TYPE_UPSTREAM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from analyzer.replay.world import IgnoredFor, Path

    Column = NDArray[np.int64]

#: Columns that hold numbers, and those that hold flags (0, 1), as in :class:`analyzer.replay.world.Node`;
#: ``vendor`` and ``device`` are there together. :data:`NONE` is None.
NUMBERS = ("outgoing", "incoming", "vendor", "device", "pcie_type", "next_function", "assigned")
FLAGS = (
    "present", "gated", "assumed", "is_bridge", "is_pcie", "multifunction", "ari_supported", "has_ari",
    "numbers_silent", "hardware", "beyond_reach", "beyond_reach_if_lost", "pcix_mode_2", "below_conventional",
    "silent", "unroutable",
)  # fmt: skip
#: Three sets of bus numbers, each four columns: primary, secondary, subordinate, row.
BUSES = ("numbers", "outgoing_numbers", "incoming_numbers")
PARTS = ("primary", "secondary", "subordinate", "row")


class NodeTable:
    """The hardware of one kexec, or of one kernel.

    Args:
        paths: place of each function, ascending.
        columns: by the names in :data:`NUMBERS` and :data:`FLAGS`, and ``{name}_{part}`` of :data:`BUSES`.
        ignored: row -> why the function is none to Linux.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        columns: dict[str, Column],
        ignored: dict[int, IgnoredFor] | None = None,
    ) -> None:
        self.paths = paths
        self.columns = columns
        self.ignored = ignored or {}

    @cached_property
    def above(self) -> Column:
        """Row of the bridge above each function; :data:`NONE` on a root bus."""
        rows = {path: row for row, path in enumerate(self.paths)}
        return np.array([rows.get(path[:-1], NONE) for path in self.paths], np.int64)

    @cached_property
    def root_buses(self) -> Column:
        """Root bus (``domain << 8 | bus``) that each function is below."""
        return np.array([path[0] for path in self.paths], np.int64)

    @cached_property
    def devfns(self) -> Column:
        """Device and function number of each."""
        return np.array([path[-1] for path in self.paths], np.int64)

    def rows_below(self, row: int) -> Column:
        """Rows of the functions below a bridge, which follow it."""
        place = self.paths[row]
        end = bisect.bisect(self.paths, place, lo=row, key=lambda path: path[: len(place)])
        return np.arange(row + 1, end)

    @cached_property
    def nodes(self) -> list[Node]:
        """The functions one by one, in the order of the rows; those of :attr:`world`."""
        plain: dict[str, list[Any]] = {
            name: self._values(name) for name in (*NUMBERS, *FLAGS) if name not in ("vendor", "device")
        }
        plain["vendor_device"] = self.vendor_devices
        for name in BUSES:
            parts = zip(*(self.columns[f"{name}_{part}"].tolist() for part in PARTS), strict=True)
            plain[name] = [None if row[1] == NONE else BusNumbers(*row) for row in parts]
        plain["ignored"] = [self.ignored.get(row) for row in range(len(self.paths))]
        names = list(plain)
        return [
            Node(path, **dict(zip(names, values, strict=True)))
            for path, *values in zip(self.paths, *plain.values(), strict=True)
        ]

    @cached_property
    def world(self) -> World:
        """The same as objects, each below its parent."""
        world = World({}, {node.path: node for node in self.nodes}, {})
        world.by_outgoing.update((node.outgoing, node) for node in self.nodes if node.outgoing is not None)
        for node, above in zip(self.nodes, self.above.tolist(), strict=True):
            bus = world.roots.setdefault(node.path[0], {}) if above == NONE else self.nodes[above].children
            bus[node.devfn] = node
        return world

    @cached_property
    def vendor_devices(self) -> list[str | None]:
        """``vvvv:dddd`` of each function."""
        ids = zip(*(self.columns[name].tolist() for name in ("vendor", "device")), strict=True)
        return [None if vendor == NONE else f"{vendor:04x}:{device:04x}" for vendor, device in ids]

    @property
    def names(self) -> Column:
        """Keys for reports: those of the outgoing numbering where there is one."""
        outgoing, incoming = self.columns["outgoing"], self.columns["incoming"]
        return np.where(outgoing != NONE, outgoing, np.maximum(incoming, 0))

    @property
    def read_numbers(self) -> list[Column]:
        """Primary, secondary, subordinate numbers as first read."""
        return [self.columns[f"numbers_{part}"] for part in PARTS[:3]]

    @property
    def kept_numbers(self) -> list[Column]:
        """Primary, secondary, subordinate numbers as first read; where they were not, the outgoing ones."""
        read = self.columns["numbers_row"] != NONE
        return [
            np.where(read, first, self.columns[f"outgoing_numbers_{part}"])
            for part, first in zip(PARTS, self.read_numbers, strict=False)
        ]

    @property
    def one_child(self) -> Column:
        """Whether only device 0 can sit on the bus below (``Node.one_child``): 0, 1 or :data:`NONE`."""
        kind, is_pcie = self.columns["pcie_type"], self.columns["is_pcie"]
        faces_down = np.where(kind == NONE, NONE, np.isin(kind, list(DOWNSTREAM_TYPES)))
        return np.where(is_pcie == 0, 0, faces_down)

    def _values(self, name: str) -> list[int | bool | None]:
        found = self.columns[name].tolist()
        if name in FLAGS:
            return [None if value == NONE else value == 1 for value in found]
        return [None if value == NONE else value for value in found]

    def with_bit(self, row: int, bit: bool) -> NodeTable:
        """The same machine with another bit 5 of DEVCTL2 in one bridge."""
        hardware = self.columns["hardware"].copy()
        hardware[row] = bit
        return NodeTable(self.paths, {**self.columns, "hardware": hardware}, self.ignored)


def correct(paths: Sequence[Path], above: Column, columns: Mapping[str, Column]) -> None:
    """Take port types and extended space as Linux takes them, below bridges; columns are changed in place.

    A switch port that claims the wrong side is corrected once (7.3 set_pcie_port_type): a downstream port
    below a downstream port acts as upstream port, an upstream port below an upstream port as downstream port.
    Extended configuration space is not read (7.3 pci_bridge_child_ext_cfg_accessible,
    PCI_BUS_FLAGS_NO_EXTCFG) below any bridge but root ports and switch ports, unless it does PCI-X mode 2,
    nor below such a bus.
    """
    depths = np.array([len(path) for path in paths], np.int64)
    kind, is_pcie, has_ari = columns["pcie_type"], columns["is_pcie"], columns["has_ari"]
    conventional = columns["below_conventional"]
    for depth in range(3, int(depths.max(initial=0)) + 1):  # parents first
        its = np.flatnonzero((depths == depth) & (above != NONE))
        parents = above[its]
        express, claimed, type_above = is_pcie[parents] == 1, kind[its], kind[parents]
        faces_down = np.isin(type_above, list(DOWNSTREAM_TYPES))
        kind[its[express & (claimed == TYPE_DOWNSTREAM) & faces_down]] = TYPE_UPSTREAM
        kind[its[express & (claimed == TYPE_UPSTREAM) & (type_above == TYPE_UPSTREAM)]] = TYPE_DOWNSTREAM
        passes = express & np.isin(type_above, [NONE, *EXTENDED_BELOW])
        without = ~passes & (is_pcie[parents] != NONE) & (columns["pcix_mode_2"][parents] == 0)
        below = its[without | (conventional[parents] == 1)]
        conventional[below] = 1
        has_ari[below[has_ari[below] == NONE]] = 0  # what was read shows that there is such space
