"""How a kernel goes down: pci_device_shutdown in reverse order of discovery (Linux 7.3).

Before a kexec every function ends with Bus Master cleared; before a reboot that part is missing. A crashing
kernel does nothing at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp

if TYPE_CHECKING:
    from simulator.kernel import Kernel
    from simulator.pci_access import Device

_INTX_DISABLE, _MASTER = 0x0400, 0x0004


def shut_down(kernel: Kernel, *, kexec: bool) -> None:
    """Shut every device down, the first root-bus function last."""
    for device in reversed(kernel.devices):
        _driver(device)
        kept = kernel.keeps_bus_master and device.name in kernel.outgoing
        if kexec and not kept:
            _clear(device, _MASTER)
    if kexec:
        kernel.say("kexec_core: Starting new kernel")


def _clear(device: Device, bits: int) -> None:
    """Read Command, write it only if one of the bits was set."""
    command = device.read(0x04, 2)
    if command & bits:
        device.write(0x04, 2, command & ~bits)


def _driver(device: Device) -> None:
    if device.is_bridge:
        if device.pcie and device.type == exp.TYPE_ROOT_PORT:
            _root_port(device)
    elif device.pcie and not device.is_virtual:
        device.read(0x00, 4)
        _no_messages(device)
        command = device.read(0x04, 2)
        device.write(0x04, 2, command & ~_MASTER)


def _no_messages(device: Device) -> None:
    if device.msix_cap:
        control = device.read(device.msix_cap + 2, 2)
        device.write(device.msix_cap + 2, 2, control & 0x3FFF)
        command = device.read(0x04, 2)
        device.write(0x04, 2, command & ~_INTX_DISABLE)


def _root_port(device: Device) -> None:
    """Services of a root port: AER, bandwidth control, interrupts."""
    if device.aer_cap:
        for offset, value in ((ext.AER_ROOT_COMMAND, 0), (ext.AER_ROOT_STATUS, None)):
            read = device.read(device.aer_cap + offset, 4)
            device.write(device.aer_cap + offset, 4, read if value is None else value)
    device.pcie_change(exp.LNKCTL, 0x0C00, 0)
    _no_messages(device)
    if not device.msix_cap:
        command = device.read(0x04, 2)
        device.write(0x04, 2, command & ~_INTX_DISABLE)
