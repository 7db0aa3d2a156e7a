"""Who is below whom in one boot; nothing here knows policies or another boot."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed import scan_ends
from analyzer.observed.index import header_layouts
from analyzer.observed.registers import reading
from analyzer.observed.registers.reading import Wanted
from schemas import config_header, pcie_capability
from schemas.config_header import ABSENT_VENDOR_DWORDS, RRS_VENDOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.capture import LoggedScan
    from analyzer.observed.boots import BootSpan
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.function_table import Functions
    from analyzer.observed.registers.functions import Function


#: Registers that say who a function is.
_IDENTITY = (
    config_header.VENDOR_ID,
    config_header.REVISION,
    config_header.CLASS_DEVICE,
    config_header.CACHE_LINE_SIZE,
    config_header.HEADER_TYPE,
)
#: Port types that sit on a root bus alone (PCIe 7.5.3.2).
_ON_ROOT_BUS = frozenset(
    {
        pcie_capability.TYPE_ROOT_PORT,
        pcie_capability.TYPE_RC_ENDPOINT,
        pcie_capability.TYPE_RC_EVENT_COLLECTOR,
    }
)
#: Dwords from which on a function was dumped, not probed: a sweep of kernel or firmware reads fewer.
_DUMPED = 4


class Topology:
    """The functions of one boot and who is below whom; worked out when first asked for.

    Args:
        index: the capture.
        boot: the boot.
        enumerations: rows at which scans set up functions (pairs), of the whole capture.
        logged: the scan that a kernel log shows in place of accesses, if that is what the boot consists of.
    """

    def __init__(
        self,
        index: AccessIndex,
        boot: BootSpan,
        enumerations: NDArray[np.int64],
        logged: LoggedScan | None = None,
    ) -> None:
        self._index = index
        self.boot = boot
        self.logged = logged
        pairs = enumerations[(enumerations >= boot.first) & (enumerations <= boot.last)]
        layouts = header_layouts(index, pairs)
        known = np.isin(layouts, config_header.HEADER_TYPES)
        self._inside = pairs[known]
        self._ignored = pairs[~known], layouts[~known]
        self._functions: Functions | None = None
        self._roots: dict[int, int] = {}
        self._is_root: dict[int, bool] = {}
        self._above: dict[int, tuple[int, ...]] = {}

    @property
    def is_read(self) -> bool:
        """Whether its functions have been worked out."""
        return self._functions is not None

    @property
    def functions(self) -> Functions:
        """Key -> function, for every function that answered in this boot, or that a snapshot lists."""
        if self._functions is not None:
            return self._functions
        return self.take(*reading.read([self.wanted()]))

    @cached_property
    def vendor_rows(self) -> NDArray[np.int64]:
        """Rows of the reads at 0x00 in this boot."""
        rows = self._index.vendor_reads
        return rows[(rows >= self.boot.first) & (rows <= self.boot.last)]

    @cached_property
    def probed(self) -> list[int]:
        """The function that each of :attr:`vendor_rows` is of."""
        found: list[int] = self._index.function[self.vendor_rows].tolist()
        return found

    @property
    def probed_in_vain(self) -> NDArray[np.int64]:
        """Functions whose vendor ID the boot's scan read without an answer, or to be told to ask again."""
        index, rows = self._index, self.vendor_rows[self.vendor_rows >= (self.boot.scan or 0)]
        value = index.value[rows]
        silent = index.absent[rows] | np.isin(value, ABSENT_VENDOR_DWORDS) | ((value & 0xFFFF) == RRS_VENDOR)
        return np.asarray(index.function[rows[silent]], np.int64)

    @cached_property
    def _above_bus(self) -> dict[int, int]:
        """``domain << 8 | bus`` -> the bridge that has it as its secondary bus."""
        found: dict[int, int] = {}
        for key, secondary in self.functions.secondaries:
            found.setdefault(key >> 16 << 8 | secondary, key)
        return found

    def bridge_above(self, bus: int) -> int | None:
        """Key of the bridge above a bus; None above a root bus (or where the bridge was never seen)."""
        return self._above_bus.get(bus)

    @property
    def scans_of_functions_0(self) -> Iterator[tuple[int, int]]:
        """Each function 0 with the rows at which it was discovered, by key."""
        for key, rows in sorted(self._scans.items()):
            if not key & 0xFF and key in self.functions:
                yield from ((key, row) for row in rows)

    def access(self, row: int) -> int:
        """The access number of a row, as the user knows it."""
        return int(self._index.seq[row])

    def left_out(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether accesses between two rows were left out of the capture when it was decoded."""
        seq = self._index.seq
        return np.asarray(seq[last] - seq[first] != last - first, np.bool_)

    @cached_property
    def is_snapshot(self) -> bool:
        """Only reads and no scan: the registers as lspci or the kernel dumped them at one moment."""
        boot = self.boot
        return boot.scan is None and not self._index.is_write[boot.first : boot.last + 1].any()

    @cached_property
    def scan_ends(self) -> dict[int, int]:
        """Root bus -> row at which its first scan was over (missing: the capture ends before)."""
        return scan_ends.of_boot(self._index, self.boot, self.vendor_rows, self.root_bus)

    def _scan_end(self, bus: int) -> int:
        """Row at which the first scan of a bus was over, or the boot is."""
        return self.scan_ends.get(self.root_bus(bus), self.boot.last + 1)

    @cached_property
    def scan_is_cut(self) -> bool:
        """Whether the boot's first scan is in the capture, but not to its end."""
        return self.boot.scan is not None and any(
            self.root_bus(bus) not in self.scan_ends for bus in {key >> 8 for key in self.enumerated}
        )

    @cached_property
    def enumerated(self) -> set[int]:
        """Keys that the boot's first scan discovered (rescans do not count).

        Where that scan is not in the capture, every function that answered; of a snapshot every function that
        it lists, silent ones too: lspci and sysfs show what the kernel has enumerated, whether it answers now
        or not.
        """
        if self.boot.scan is None:
            return set(self.functions)
        ends = {bus: self._scan_end(bus) for bus in {key >> 8 for key in self.functions}}
        return {key for key in self.functions if self._scans[key][0] < ends[key >> 8]}

    @cached_property
    def ignored(self) -> dict[int, int]:
        """Functions that the boot's first scan set up and gave up for their header type -> that (bits 6:0).

        They answered the vendor read, and are not discovered (Linux 7.3 pci_setup_device: "unknown header
        type %02x, ignoring device"). 7f is what a function reads that died there.
        """
        rows, layouts = self._ignored
        keys, first = np.unique(self._index.function[rows], return_index=True)
        every = np.stack([keys, rows[first], layouts[first]], axis=1).tolist()
        found = {key: layout for key, row, layout in every if row < self._scan_end(key >> 8)}
        if self.logged is not None:
            found.update(self.logged.ignored)
        return {key: layout for key, layout in found.items() if key not in self.enumerated}

    @cached_property
    def silent(self) -> frozenset[int]:
        """Functions that a snapshot lists and of which every byte reads ff: powered down, or off the bus.

        They are among the functions, with :attr:`~analyzer.observed.registers.functions.Function.silent` set.
        """
        if not self.is_snapshot:
            return frozenset()
        index, boot = self._index, slice(self.boot.first, self.boot.last + 1)
        function, offset, live = index.function[boot], index.offset[boot], index.live[boot]
        dwords = np.unique((function << 10 | offset >> 2)[offset < config_header.EXTENDED_CONFIG_SIZE])
        keys, counts = np.unique(dwords >> 10, return_counts=True)
        dumped = keys[counts >= _DUMPED]
        return frozenset(np.setdiff1d(dumped, function[live]).tolist())

    @cached_property
    def nameless(self) -> frozenset[int]:
        """What answers, but not at its vendor ID, and is no function of the boot: virtual functions.

        They have all ones there (PCIe 9.3.4.1.1); lspci and sysfs list them all the same.
        """
        return frozenset(self._nameless().tolist()) - self.functions.keys()

    @cached_property
    def without_vendor(self) -> frozenset[int]:
        """Functions of a snapshot that answer, and of which no vendor ID is shown."""
        if not self.is_snapshot:
            return frozenset()
        boot = slice(self.boot.first, self.boot.last + 1)
        answered = np.unique(self._index.function[boot][self._index.live[boot]])
        return frozenset(answered.tolist()) - self.functions.keys()

    @cached_property
    def orphans(self) -> dict[int, list[int]]:
        """Functions that no chain of bridges joins to a root bus, by the bus whose bridge is not in the boot.

        What is below that bridge, by bus number, is unknown: where it is, and whether ARI Forwarding applies.
        """
        found: dict[int, list[int]] = {}
        for key in sorted(self.functions):
            top = self.root_bus(key >> 8)
            if not self.is_root(top):
                found.setdefault(top, []).append(key)
        return found

    def is_root(self, bus: int) -> bool:
        """Whether a bus (``domain << 8 | bus``) is certain to be a root bus.

        Bus 0 is: a secondary bus number is above the primary one. Any other without a bridge to it in this
        boot is one by what sits on root buses alone (a root port, an integrated endpoint or event collector,
        a host bridge), or if the boot's scan, which is in the capture, probed all its 32 slots.
        """
        known = self._is_root.get(bus)
        if known is None:
            known = self._is_root[bus] = bus not in self._above_bus and (
                bus & 0xFF == 0
                or (self.logged is not None and bus in self.logged.roots)
                or self._scanned_as_root(bus)
                or self._holds_root_complex(bus)
            )
        return known

    def _scanned_as_root(self, bus: int) -> bool:
        if self.boot.scan is None:
            return False
        probed = self._index.function[self.vendor_rows[self.vendor_rows >= self.boot.scan]]
        return np.unique(probed[(probed >> 8 == bus) & (probed & 7 == 0)]).size == 32

    def _holds_root_complex(self, bus: int) -> bool:
        return any(
            entry.pcie_type in _ON_ROOT_BUS
            or (entry.register(config_header.CLASS_DEVICE, 2) or (0,))[0] == config_header.CLASS_BRIDGE_HOST
            for key, entry in self.functions.items()
            if key >> 8 == bus
        )

    def wanted(self) -> Wanted:
        """What is asked of :mod:`analyzer.observed.registers.reading`."""
        boot, keys = self.boot, self._answering(self._index, self._inside)
        return Wanted(self._index, boot.first, boot.last, keys, boot.end)

    def take(self, found: Functions) -> Functions:
        """Keep the functions that were read, with what is known of them besides their accesses."""
        for key in self.silent:  # ones at 0x100 end no list of a function that does not answer
            found.amend("has_ari", [key], None)
        if self.logged is not None:
            _take_log(found, self.logged)
        # Not a method: the functions would keep the topology, and with it the accesses of its batch.
        found.finish = partial(_finish, self._scans, self.silent)
        self._functions = found
        return found

    @cached_property
    def _scans(self) -> dict[int, list[int]]:
        """Function -> rows at which the boot's scans discovered it, ascending."""
        found: dict[int, list[int]] = {}
        for row, key in zip(self._inside.tolist(), self._index.function[self._inside].tolist(), strict=True):
            found.setdefault(key, []).append(row)
        return found

    def _answering(self, index: AccessIndex, inside: NDArray[np.int64]) -> list[int]:
        """Keys that the boot enumerated; without its scan in the capture, those whose vendor ID was read.

        Of a snapshot every function that it lists, also one whose first row is missing. Virtual functions
        answer at 0x00 with all ones (PCIe 9.3.4.1.1): they are no functions of a scan.
        """
        if self.boot.scan is not None:
            return [int(key) for key in np.unique(index.function[inside])]
        rows = slice(self.boot.first, self.boot.last + 1)
        function, live = index.function[rows], index.live[rows]
        counted = live if self.is_snapshot else live & np.isin(index.offset[rows], _IDENTITY)
        answering = np.setdiff1d(function[counted], self._nameless())
        return sorted({*answering.tolist(), *self.silent})

    def _nameless(self) -> NDArray[np.int64]:
        """Keys whose other registers say what they are, and whose vendor ID reads all ones."""
        index, rows = self._index, slice(self.boot.first, self.boot.last + 1)
        function, offset, live = index.function[rows], index.offset[rows], index.live[rows]
        vendor = index.is_read[rows] & (offset == config_header.VENDOR_ID)
        known = function[live & np.isin(offset, _IDENTITY)]
        return np.intersect1d(known, np.setdiff1d(function[vendor & ~live], function[vendor & live]))

    def parent(self, function: int) -> Function | None:
        """The bridge above a function; None on a root bus (or where the bridge was never seen)."""
        bridge = self.bridge_above(function >> 8)
        return None if bridge is None else self.functions[bridge]

    def root_bus(self, bus: int) -> int:
        """The root bus (``domain << 8 | bus``) above a bus."""
        known = self._roots.get(bus)
        if known is None:
            known = self._roots[bus] = self._root_above(bus)
        return known

    def _root_above(self, bus: int) -> int:
        for _ in range(256):  # no hierarchy is deeper; hostile bus numbers may loop
            bridge = self.bridge_above(bus)
            if bridge is None or bridge >> 8 == bus:
                return bus
            bus = bridge >> 8
        return bus

    def ancestors(self, function: int) -> list[Function]:
        """Bridges above a function, nearest first."""
        return [self.functions[key] for key in self._bridges_above(function >> 8)]

    def _bridges_above(self, bus: int) -> list[int]:
        found: dict[int, None] = {}
        bridge = self.bridge_above(bus)
        while bridge is not None and bridge not in found:
            found[bridge] = None
            bridge = self.bridge_above(bridge >> 8)
        return list(found)

    def path(self, function: int) -> tuple[int, ...]:
        """Where a function sits, independent of bus numbers: root bus, then device/function numbers down."""
        above = self._above.get(function >> 8)
        if above is None:
            bridges = [bridge & 0xFF for bridge in reversed(self._bridges_above(function >> 8))]
            above = self._above[function >> 8] = (self.root_bus(function >> 8), *bridges)
        return (*above, function & 0xFF)

    def lost_numbers(self) -> tuple[list[Function], list[Function]]:
        """Bridges whose first numbers were unusable when their bus was scanned: left so, and given new ones.

        Only where the scan is in the capture to its end (or in the log in its place): pass 1 comes last.
        """
        logged_whole = self.logged is not None and not self.logged.missing
        refused: list[Function] = []
        renumbered: list[Function] = []
        for bridge in self.bridges():
            first = bridge.first_bus_numbers
            if first is None or not first.broken_on(bridge.bus & 0xFF):
                continue
            if not bridge.scans and self.logged is None:
                continue
            if bridge.bus_numbers is not None:
                renumbered.append(bridge)
            elif logged_whole or self.root_bus(bridge.bus) in self.scan_ends:
                refused.append(bridge)
        return refused, renumbered

    def bridges(self) -> Iterable[Function]:
        """Every function with a type 1 header, in BDF order."""
        return (self.functions[key] for key in sorted(self.functions.keys_of_bridges))


def _finish(scans: dict[int, list[int]], silent: frozenset[int], function: Function) -> None:
    """Add to a function where it was discovered."""
    function.scans.extend(scans.get(function.function, []))
    function.silent = function.function in silent


def _take_log(found: Functions, logged: LoggedScan) -> None:
    """Apply what a log says of functions besides the reads that it proves, and what it leaves open."""
    found.amend("multifunction", found, None)  # Linux prints the header type without that bit
    found.amend("pcie_type", found, None)
    for key in found.keys() & logged.port_types.keys():
        found.amend("pcie_type", [key], logged.port_types[key])
        found.amend("is_pcie", [key], 1)
    for fact in ("is_pcie", "ari_supported", "has_ari"):
        found.amend(fact, found.keys() & logged.conventional - logged.port_types.keys(), 0)


def read(topologies: Sequence[Topology]) -> None:
    """Work out the functions of several boots at once; their captures are of one batch."""
    unread = [topology for topology in topologies if not topology.is_read]
    wanted = [topology.wanted() for topology in unread]
    for topology, found in zip(unread, reading.read(wanted), strict=True):
        topology.take(found)
