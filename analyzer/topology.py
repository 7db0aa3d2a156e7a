"""Who is below whom in one boot: functions with their capabilities, bridges with their bus numbers.

A :class:`Function` holds what the accesses of one boot say about one function; nothing here knows policies or
another boot. Values that the accesses do not show are None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analyzer import registers
from schemas import config_header, extended_capabilities, pcie_capability

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from analyzer.boots import BootSpan
    from analyzer.index import AccessIndex
    from analyzer.registers import Capabilities, RegisterView, Sample


#: Registers that say who a function is.
_IDENTITY = (
    config_header.VENDOR_ID,
    config_header.REVISION,
    config_header.CLASS_DEVICE,
    config_header.CACHE_LINE_SIZE,
    config_header.HEADER_TYPE,
)


@dataclass(frozen=True)
class BusNumbers:
    """Primary, secondary and subordinate bus of a bridge, and the row that showed or set them."""

    primary: int
    secondary: int
    subordinate: int
    row: int = field(compare=False)

    def broken_on(self, bus: int) -> bool:
        """Whether pass 0 of a scan of ``bus`` calls them broken.

        Linux 7.3 pci_scan_bridge_extend: the primary number differs from the bus it sits on (a primary
        hard-wired to 0 with other numbers set is excused), the secondary is not above it, or above the
        subordinate.
        """
        hard_wired = self.primary == 0 and bus != 0 and self.secondary != 0 and self.subordinate != 0
        wrong_primary = self.primary != bus and not hard_wired
        return wrong_primary or self.secondary <= bus or self.secondary > self.subordinate


@dataclass
class Function:
    """One function in one boot.

    Attributes:
        function: its key (see :mod:`analyzer.bdf`).
        view: its accesses in this boot.
        scans: rows of the vendor reads by which this boot's scans discovered it (empty: never enumerated).
    """

    function: int
    view: RegisterView
    scans: list[int] = field(default_factory=list)

    @property
    def bus(self) -> int:
        """Bus key ``domain << 8 | bus``."""
        return self.function >> 8

    @property
    def devfn(self) -> int:
        """Device and function number."""
        return self.function & 0xFF

    @cached_property
    def reads(self) -> dict[int, tuple[int, int]]:
        """First answered read at each offset: (value, row)."""
        return self.view.first_reads()

    @cached_property
    def capabilities(self) -> Capabilities:
        """Capability lists as far as this boot's reads follow them."""
        return registers.capabilities(self.reads, small=self.view.silent_at(0x100))

    def value(self, offset: int) -> int | None:
        """First answered value at ``offset``: read exactly there, else as part of a dword (snapshots)."""
        known = self.reads.get(offset)
        if known is not None:
            return known[0]
        dword = self.reads.get(offset & ~3)
        if dword is None or not self.view.is_dword(dword[1]):
            return None
        return dword[0] >> 8 * (offset & 3)

    @cached_property
    def vendor_device(self) -> str | None:
        """``vvvv:dddd``, or None."""
        whole = self.value(config_header.VENDOR_ID)
        if whole is None:
            return None
        device = whole >> 16 if whole > 0xFFFF else self.value(config_header.DEVICE_ID)
        return None if device is None else f"{whole & 0xFFFF:04x}:{device:04x}"

    @cached_property
    def header_type(self) -> int | None:
        """Header type byte with the multi-function bit."""
        byte = self.value(config_header.HEADER_TYPE)
        return None if byte is None else byte & 0xFF

    @cached_property
    def is_bridge(self) -> bool:
        """A type 1 header (PCI-to-PCI bridge, PCIe port)."""
        return self.header_type is not None and self.header_type & 0x7F == 1

    @cached_property
    def multifunction(self) -> bool | None:
        """Bit 7 of the header type."""
        return None if self.header_type is None else bool(self.header_type & 0x80)

    @cached_property
    def pcie(self) -> int | None:
        """Offset of the PCI Express capability, or None."""
        return self.capabilities.standard.get(pcie_capability.CAP_ID)

    @cached_property
    def is_pcie(self) -> bool | None:
        """Whether it has a PCI Express capability; None if its list was not followed to the end."""
        if self.pcie is not None:
            return True
        return False if self.capabilities.standard_end or self._no_list else None

    @property
    def _no_list(self) -> bool:
        status = self.value(config_header.STATUS)
        return status is not None and not status & config_header.STATUS_CAP_LIST

    def pcie_value(self, offset: int) -> int | None:
        """First value read at ``offset`` of the PCI Express capability."""
        return None if self.pcie is None else self.value(self.pcie + offset)

    @cached_property
    def pcie_type(self) -> int | None:
        """Device/port type (PCI Express capabilities register, bits 7:4)."""
        flags = self.pcie_value(pcie_capability.FLAGS)
        return None if flags is None else flags >> pcie_capability.FLAGS_TYPE_SHIFT & 0xF

    @cached_property
    def ari_supported(self) -> bool | None:
        """DEVCAP2 bit 5, ARI Forwarding Supported; False where DEVCAP2 does not exist (version 1)."""
        flags = self.pcie_value(pcie_capability.FLAGS)
        if self.is_pcie is False or (flags is not None and flags & 0xF < 2):
            return False
        value = self.pcie_value(pcie_capability.DEVCAP2)
        return None if value is None else bool(value & pcie_capability.DEVCAP2_ARI)

    @cached_property
    def ari(self) -> int | None:
        """Offset of the ARI extended capability, or None."""
        return self.capabilities.extended.get(extended_capabilities.ARI_ID)

    @cached_property
    def has_ari(self) -> bool | None:
        """Whether it has an ARI capability; None if its extended list was not followed to the end."""
        if self.ari is not None:
            return True
        if self.is_pcie is False or self.capabilities.extended_end:
            return False
        return None

    @cached_property
    def next_function(self) -> int | None:
        """Next Function Number of its ARI capability (0 ends the chain), or None if it was not read."""
        value = None if self.ari is None else self.value(self.ari + extended_capabilities.ARI_CAP)
        return None if value is None else value >> 8 & 0xFF

    def devctl2(self) -> list[Sample]:
        """Every access of this boot that shows or changes Device Control 2."""
        return [] if self.pcie is None else self.view.samples(self.pcie + pcie_capability.DEVCTL2, 2)

    def bus_number_samples(self) -> list[Sample]:
        """Every access of this boot that shows or changes the bus-number dword at 0x18."""
        return self.view.samples(config_header.PRIMARY_BUS, 4)

    @cached_property
    def first_bus_numbers(self) -> BusNumbers | None:
        """Bus numbers as this boot first read them, before its own writes (None: not read)."""
        known = value = 0
        for sample in self.bus_number_samples():
            if sample.write:
                break
            if sample.dead:
                continue
            value |= sample.value & sample.mask & ~known
            known |= sample.mask
            if known & 0xFFFFFF == 0xFFFFFF:
                return _bus_numbers(value, sample.row)
        return None

    @cached_property
    def bus_numbers(self) -> BusNumbers | None:
        """Bus numbers that this boot last used: the last state with a secondary bus, else None."""
        value = known = 0
        used: BusNumbers | None = None
        for sample in self.bus_number_samples():
            if sample.dead:
                continue
            value = value & ~sample.mask | sample.value
            known |= sample.mask
            if known & 0xFFFFFF == 0xFFFFFF and value >> 8 & 0xFF:
                used = _bus_numbers(value, sample.row)
        return used


def _bus_numbers(value: int, row: int) -> BusNumbers:
    return BusNumbers(value & 0xFF, value >> 8 & 0xFF, value >> 16 & 0xFF, row)


class Topology:
    """The functions of one boot and who is below whom; worked out when first asked for.

    Args:
        index: the capture.
        boot: the boot.
        enumerations: rows by which scans discovered functions, of the whole capture.
    """

    def __init__(self, index: AccessIndex, boot: BootSpan, enumerations: NDArray[np.int64]) -> None:
        self._index = index
        self.boot = boot
        self._inside = enumerations[(enumerations >= boot.first) & (enumerations <= boot.last)]

    @cached_property
    def functions(self) -> dict[int, Function]:
        """Key -> function, for every function that answered in this boot."""
        index, boot, inside = self._index, self.boot, self._inside
        found = {
            key: Function(key, registers.view(index, key, boot.first, boot.last))
            for key in self._answering(index, inside)
        }
        for row, key in zip(inside.tolist(), index.function[inside].tolist(), strict=True):
            found[key].scans.append(row)
        return found

    @cached_property
    def vendor_rows(self) -> NDArray[np.int64]:
        """Rows of the reads at 0x00 in this boot."""
        rows = self._index.vendor_reads
        return rows[(rows >= self.boot.first) & (rows <= self.boot.last)]

    @cached_property
    def by_secondary(self) -> dict[int, Function]:
        """``domain << 8 | bus`` -> the bridge that has it as its secondary bus."""
        found: dict[int, Function] = {}
        for entry in self.functions.values():
            numbers = entry.bus_numbers if entry.is_bridge else None
            if numbers is not None:
                found.setdefault(entry.bus >> 8 << 8 | numbers.secondary, entry)
        return found

    @cached_property
    def is_snapshot(self) -> bool:
        """Only reads and no scan: the registers as lspci or the kernel dumped them at one moment."""
        boot = self.boot
        return boot.scan is None and not self._index.is_write[boot.first : boot.last + 1].any()

    @cached_property
    def scan_ends(self) -> dict[int, int]:
        """Root bus -> row at which its first scan was over (missing: the capture ends before)."""
        return self._scan_ends(self._index)

    @cached_property
    def enumerated(self) -> set[int]:
        """Keys that the boot's first scan discovered (rescans do not count).

        Where that scan is not in the capture, every function that answered.
        """
        return {
            key
            for key, entry in self.functions.items()
            if self.boot.scan is None
            or entry.scans[0] < self.scan_ends.get(self.root_bus(entry.bus), self.boot.last + 1)
        }

    def _answering(self, index: AccessIndex, inside: NDArray[np.int64]) -> list[int]:
        """Keys that the boot enumerated; where its scan is not in the capture, those that told who they are.

        Virtual functions answer at 0x00 with all ones (PCIe 9.3.4.1.1): they are no functions of a scan.
        """
        if self.boot.scan is not None:
            return [int(key) for key in np.unique(index.function[inside])]
        rows = slice(self.boot.first, self.boot.last + 1)
        value, function, read = index.value[rows], index.function[rows], index.is_read[rows]
        live = read & ~index.absent[rows] & (value != 0xFFFFFFFF) & (value != 0xFFFF)
        vendor = read & (index.offset[rows] == config_header.VENDOR_ID)
        told = np.unique(function[live & np.isin(index.offset[rows], _IDENTITY)])
        virtual = np.setdiff1d(function[vendor & ~live], function[vendor & live])
        return [int(key) for key in np.setdiff1d(told, virtual)]

    def parent(self, function: int) -> Function | None:
        """The bridge above a function; None on a root bus (or where the bridge was never seen)."""
        return self.by_secondary.get(function >> 8)

    def root_bus(self, bus: int) -> int:
        """The root bus (``domain << 8 | bus``) above a bus."""
        for _ in range(256):  # no hierarchy is deeper; hostile bus numbers may loop
            bridge = self.by_secondary.get(bus)
            if bridge is None or bridge.bus == bus:
                return bus
            bus = bridge.bus
        return bus

    def ancestors(self, function: int) -> list[Function]:
        """Bridges above a function, nearest first."""
        found: list[Function] = []
        seen: set[int] = set()
        bridge = self.parent(function)
        while bridge is not None and bridge.function not in seen:
            seen.add(bridge.function)
            found.append(bridge)
            bridge = self.parent(bridge.function)
        return found

    def path(self, function: int) -> tuple[int, ...]:
        """Where a function sits, independent of bus numbers: root bus, then device/function numbers down."""
        above = [bridge.devfn for bridge in reversed(self.ancestors(function))]
        return (self.root_bus(function >> 8), *above, function & 0xFF)

    def lost_numbers(self) -> tuple[list[Function], list[Function]]:
        """Bridges whose first numbers were unusable when their bus was scanned: left so, and given new ones.

        Only where the scan is in the capture to its end: pass 1 comes last.
        """
        refused: list[Function] = []
        renumbered: list[Function] = []
        for bridge in self.bridges():
            first = bridge.first_bus_numbers
            if first is None or not first.broken_on(bridge.bus & 0xFF) or not bridge.scans:
                continue
            if bridge.bus_numbers is not None:
                renumbered.append(bridge)
            elif self.root_bus(bridge.bus) in self.scan_ends:
                refused.append(bridge)
        return refused, renumbered

    def bridges(self) -> Iterable[Function]:
        """Every function with a type 1 header, in BDF order."""
        return (self.functions[key] for key in sorted(self.functions) if self.functions[key].is_bridge)

    def _scan_ends(self, index: AccessIndex) -> dict[int, int]:
        """Root bus -> row at which its first scan was over.

        Only then does pci_bus_add_device save each device's header, dword by dword from 0x00 (Linux 7.3
        pci_save_state); lspci reads the same way. In a scan a vendor read is never followed by 0x04.
        """
        ends: dict[int, int] = {}
        if self.boot.scan is None:
            return ends
        rows = self.vendor_rows[self.vendor_rows > self.boot.scan]
        rows = rows[index.present_id[rows]]
        following = index.next_of_function(rows)
        saved = rows[
            (following >= 0) & (index.offset[following] == config_header.COMMAND) & index.is_read[following]
        ]
        for row in saved.tolist():
            if not _early_dump(index, row):
                ends.setdefault(self.root_bus(int(index.function[row]) >> 8), row)
        return ends


def _early_dump(index: AccessIndex, row: int) -> bool:
    """Whether a vendor read begins the dump of ``pci=earlydump``: it follows the function's class dword.

    Linux 7.3 pci_setup_device reads the class and then calls early_dump_pci_device, which reads 256 bytes
    from 0x00 on; no other code reads the header from its start right behind the class.
    """
    own = index.rows_of(int(index.function[row]))
    before = int(np.searchsorted(own, row)) - 1
    return before >= 0 and bool(index.is_read[own[before]]) and int(index.offset[own[before]]) == 0x08
