"""What an x86 kernel reads before its scan: early quirks, ECAM probing, ACPI interrupt links.

Sources: arch/x86/kernel/early-quirks.c (check_dev_quirk), arch/x86/pci (Linux 7.3), as captured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.kernel import Kernel

_LPC, _NORTH = 0x1F << 3, 0x18 << 3


def early_accesses(kernel: Kernel) -> None:
    """Every access of a booting x86 kernel in front of its scan; all are reads."""
    if (0, 0) not in kernel.wire.machine.roots:
        return
    wire = kernel.wire
    wire.read(0, 0, 0x02 << 3, 0x00, 4)
    wire.read(0, 0, _LPC, 0x00, 4)
    _quirks(kernel, 0)
    _memory_mapped_probes(kernel)
    wire.sleep(500_000_000)
    wire.read(0, 0, _LPC, 0x0E, 1)
    for offset in (*range(0x60, 0x64), *range(0x68, 0x6C)):
        for _ in range(3):
            wire.read(0, 0, _LPC, offset, 1)


def _memory_mapped_probes(kernel: Kernel) -> None:
    """AMD north bridges (0:18.0, ff:00.0), the host bridge's class, then known ECAM host bridges."""
    wire = kernel.wire
    north = ((0, _NORTH), (0, _NORTH), (0xFF, 0))
    for bus, devfn in (*north, *north[:2]):
        wire.read(0, bus, devfn, 0x00, 4)
    wire.read(0, 0, 0, 0x0A, 2)
    for bus, devfn in ((0, 0), (0, 0), *north[1:], (0, 0)):
        wire.read(0, bus, devfn, 0x00, 4)


def _quirks(kernel: Kernel, bus: int) -> None:
    """early_pci_scan_bus: 32 slots, function 1 to 7 of multi-function devices, then the bus behind."""
    for slot in range(32):
        for function in range(8):
            if not _quirk(kernel, bus, slot << 3 | function):
                break


def _quirk(kernel: Kernel, bus: int, devfn: int) -> bool:
    """check_dev_quirk; True if the next function is to be looked at."""
    wire = kernel.wire
    if wire.read(0, bus, devfn, 0x0A, 2) == 0xFFFF:
        return False
    wire.read(0, bus, devfn, 0x00, 2)
    wire.read(0, bus, devfn, 0x02, 2)
    header = wire.read(0, bus, devfn, 0x0E, 1)
    if header & 0x7F == 1:
        secondary = wire.read(0, bus, devfn, 0x19, 1)
        if secondary > bus:
            _quirks(kernel, secondary)
    return bool(header & 0x80)
