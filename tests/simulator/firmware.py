"""PC firmware as SeaBIOS is: numbers the buses depth first, sizes and assigns BARs, opens the windows.

The pattern is that of SeaBIOS as captured (and of its src/fw/pciinit.c): bus numbers are written byte by byte
and outside anything that looks like a bridge visit of Linux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.recorder import Recorder

_BRIDGE, _STORAGE = 0x0604, 0x01


class Firmware:
    """One run of the firmware over all root buses."""

    def __init__(self, wire: Recorder) -> None:
        self._wire = wire
        self._windows = 0

    def run(self) -> None:
        """Number, probe, size, assign, enable."""
        self._wire.read(0, 0, 0, 0x00, 2)
        for domain, bus in sorted(self._wire.machine.roots):
            self._number(domain, bus, bus)
            functions = list(self._tree(domain, bus))
            for bus_number, devfn in functions:
                self._probe(domain, bus_number, devfn)
            for bus_number, devfn in functions:
                self._assign(domain, bus_number, devfn)

    def _functions(self, domain: int, bus: int) -> Iterator[int]:
        """Device/function numbers that answer on a bus, each with its vendor word read (pci_bios probing)."""
        devfn = 0
        while devfn < 256:
            if self._wire.read(domain, bus, devfn, 0x00, 2) in (0xFFFF, 0):
                devfn += 1 if devfn & 7 else 8
                continue
            yield devfn
            multifunction = devfn & 7 or self._wire.read(domain, bus, devfn, 0x0E, 1) & 0x80
            devfn += 1 if multifunction else 8

    def _number(self, domain: int, bus: int, highest: int) -> int:
        """pci_bios_init_bus_rec: secondaries to 0xff, then numbers one by one."""
        wire = self._wire
        for devfn in self._functions(domain, bus):
            if wire.read(domain, bus, devfn, 0x0A, 2) == _BRIDGE:
                wire.write(domain, bus, devfn, 0x19, 1, 0xFF)
                wire.write(domain, bus, devfn, 0x1A, 1, 0)
        for devfn in self._functions(domain, bus):
            if wire.read(domain, bus, devfn, 0x0A, 2) != _BRIDGE:
                continue
            if wire.read(domain, bus, devfn, 0x18, 1) != bus:
                wire.write(domain, bus, devfn, 0x18, 1, bus)
            highest += 1
            wire.read(domain, bus, devfn, 0x19, 1)
            wire.write(domain, bus, devfn, 0x19, 1, highest)
            wire.read(domain, bus, devfn, 0x1A, 1)
            wire.write(domain, bus, devfn, 0x1A, 1, 0xFF)
            highest = self._number(domain, highest, highest)
            wire.write(domain, bus, devfn, 0x1A, 1, highest)
        return highest

    def _tree(self, domain: int, bus: int) -> Iterator[tuple[int, int]]:
        """pci_probe_devices: everything that answers, bus by bus."""
        below = []
        for devfn in self._functions(domain, bus):
            yield bus, devfn
            self._wire.read(domain, bus, devfn, 0x00, 4)
            self._wire.read(domain, bus, devfn, 0x08, 4)
            if self._wire.read(domain, bus, devfn, 0x0E, 1) & 0x7F == 1:
                below.append(self._wire.read(domain, bus, devfn, 0x19, 1))
        for secondary in below:
            yield from self._tree(domain, secondary)

    def _probe(self, domain: int, bus: int, devfn: int) -> None:
        """pci_bios_check_devices: size the BARs."""
        wire = self._wire
        bridge = wire.read(domain, bus, devfn, 0x0E, 1) & 0x7F == 1
        for offset in (0x10, 0x14) if bridge else range(0x10, 0x28, 4):
            before = wire.read(domain, bus, devfn, offset, 4)
            wire.write(domain, bus, devfn, offset, 4, 0xFFFFFFFF)
            wire.read(domain, bus, devfn, offset, 4)
            wire.write(domain, bus, devfn, offset, 4, before)
        rom = 0x38 if bridge else 0x30
        wire.write(domain, bus, devfn, rom, 4, 0xFFFFFFFE)
        wire.read(domain, bus, devfn, rom, 4)
        wire.write(domain, bus, devfn, rom, 4, 0)

    def _assign(self, domain: int, bus: int, devfn: int) -> None:
        """Addresses, windows, then pci_bios_init_device: interrupt line, Command, SERR of bridges."""
        wire = self._wire
        if wire.read(domain, bus, devfn, 0x0E, 1) & 0x7F == 1:
            for offset, value in ((0x1C, 0xC0), (0x1D, 0xBF)):
                wire.write(domain, bus, devfn, offset, 1, value)
            for offset, value in ((0x20, 0xFDA0), (0x22, 0xFDDF), (0x24, 0xFE40), (0x26, 0xFE7F)):
                wire.write(domain, bus, devfn, offset, 2, value)
            wire.write(domain, bus, devfn, 0x28, 4, 0)
            wire.write(domain, bus, devfn, 0x2C, 4, 0)
        else:
            self._windows += 0x4000
            wire.write(domain, bus, devfn, 0x10, 4, 0xFD000000 + self._windows)
        if wire.read(domain, bus, devfn, 0x3D, 1):
            wire.write(domain, bus, devfn, 0x3C, 1, 0x0A)
        command = wire.read(domain, bus, devfn, 0x04, 2)
        wire.write(domain, bus, devfn, 0x04, 2, command | 0x0103)
        if wire.read(domain, bus, devfn, 0x0E, 1) & 0x7F == 1:
            control = wire.read(domain, bus, devfn, 0x3E, 2)
            wire.write(domain, bus, devfn, 0x3E, 2, control | 2)
        elif wire.read(domain, bus, devfn, 0x0B, 1) == _STORAGE:
            command = wire.read(domain, bus, devfn, 0x04, 2)
            wire.write(domain, bus, devfn, 0x04, 2, command | 4)  # the boot device driver uses DMA
