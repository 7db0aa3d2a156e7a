"""What a boot's scan shows of the kernel's options and platform, where no command line says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.config_header import ABSENT_VENDOR_DWORDS, RRS_VENDOR

if TYPE_CHECKING:
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.topology import Topology

#: Secondary and subordinate bus in the dword at 0x18.
_BUSES = 0x00FFFF00


def assign_busses(topology: Topology) -> bool | None:
    """Whether the kernel gave new bus numbers to bridges with usable ones (``pci=assign-busses``).

    Pass 0 of Linux 7.3 pci_scan_bridge_extend then writes 0 to the numbers of every bridge, else to those
    that are broken. One bridge with usable numbers shows which; None: there is none, or no scan.
    """
    if topology.boot.scan is None:
        return None
    for bridge in topology.bridges():
        numbers = bridge.first_bus_numbers
        if not bridge.scans or numbers is None or numbers.broken_on(bridge.bus & 0xFF):
            continue
        end = topology.scan_ends.get(topology.root_bus(bridge.bus))
        if end is None:
            continue
        return any(
            sample.write and sample.mask & _BUSES == _BUSES and not sample.value & _BUSES
            for sample in bridge.bus_number_samples()
            if bridge.scans[0] < sample.row < end
        )
    return None


def isolated_functions(index: AccessIndex, topology: Topology) -> bool:
    """Whether the kernel went on to function 1 of a slot although it found no function 0 there.

    Only where the platform hands out functions one by one (Linux 7.3 hypervisor_isolated_pci_functions: s390,
    LoongArch, a Jailhouse cell); else pci_scan_slot leaves such a slot.
    """
    scan = topology.boot.scan
    if scan is None:
        return False
    rows = topology.vendor_rows[topology.vendor_rows >= scan]
    first, then = rows[:-1], rows[1:]
    functions = index.function[first]
    next_probed = (functions & 7 == 0) & (index.function[then] == functions + 1)
    there = topology.functions.keys()
    return any(
        function not in there
        and (
            function in topology.ignored
            or index.absent[row]
            or index.value[row] in ABSENT_VENDOR_DWORDS
            or int(index.value[row]) & 0xFFFF == RRS_VENDOR
        )
        for row, function in zip(first[next_probed].tolist(), functions[next_probed].tolist(), strict=True)
    )
