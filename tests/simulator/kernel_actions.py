"""What happens while a kernel runs: setpci, lspci, rescan, remove, virtual functions, VFIO's freeze.

User-space access patterns are those of pciutils 3.x as captured; kernel ones of Linux 7.3, the freeze that of
the VFIO Live Update series v5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import kernel_after_scan as after_scan
from simulator.kernel_configure import add_device
from simulator.kernel_scan import scan_bus
from simulator.kernel_setup import setup_device
from simulator.kernel_sriov import set_number
from simulator.pci_access import Bus, Device
from simulator.register_names import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.kernel import Kernel
    from simulator.register_names import Register

_MILLISECOND = 1_000_000
_FLR = 0x8000
_INTX_DISABLE = 0x0400


def setpci(kernel: Kernel, name: str, register: str, value: int, *, mask: int | None = None) -> None:
    """``setpci -s NAME REGISTER=VALUE``, or ``=VALUE:MASK``, which reads first.

    Raises:
        KeyError: the kernel has no such device, or the device no such capability.
    """
    device = kernel.device(name)
    wanted = parse(register)
    offset = wanted.offset
    if wanted.capability is not None:
        offset += _find_bytewise(device, wanted)
    if mask is not None:
        value = device.read(offset, wanted.width) & ~mask | value & mask
    device.write(offset, wanted.width, value)


def getpci(kernel: Kernel, name: str, register: str) -> int:
    """``setpci -s NAME REGISTER``: read it."""
    device = kernel.device(name)
    wanted = parse(register)
    offset = wanted.offset + (_find_bytewise(device, wanted) if wanted.capability is not None else 0)
    return device.read(offset, wanted.width)


def _find_bytewise(device: Device, wanted: Register) -> int:
    """The way of libpci through the capability list: ID and pointer of every entry, byte by byte."""
    found: dict[int | None, int] = {}
    if wanted.extended:
        position = 0x100
        while position:
            header = device.read(position, 4)
            found.setdefault(header & 0xFFFF, position)
            position = header >> 20 & 0xFFC if header not in (0, 0xFFFFFFFF) else 0
    elif device.read(0x06, 2) & 0x10:
        position = device.read(0x34, 1) & 0xFC
        while position and len(found) < 64:
            identity, following = device.read(position, 1), device.read(position + 1, 1)
            if identity == 0xFF:
                break
            found.setdefault(identity, position)
            position = following & 0xFC
    return found[wanted.capability]


def lspci(kernel: Kernel) -> None:
    """``lspci``: the 64-byte header of every device, dword by dword."""
    for device in kernel.devices:
        for offset in range(0x00, 0x40, 4):
            device.read(offset, 4)


def rescan(kernel: Kernel) -> list[str]:
    """``echo 1 > /sys/bus/pci/rescan``; returns the addresses of the functions that are new."""
    known = set(map(id, kernel.devices))
    for root in kernel.roots:
        scan_bus(kernel, root)
    new = [device for device in kernel.devices if id(device) not in known]
    for device in new:
        after_scan.save_state(device)
    return [device.name for device in new]


def remove(kernel: Kernel, name: str) -> None:
    """``echo 1 > .../remove``: a device and everything below it; ARI of the bridge above stays as it is."""
    device = kernel.device(name)
    if device.child is not None:
        for below in list(device.child.devices):
            remove(kernel, below.name)
        del kernel.buses[device.child.domain, device.child.number]
    command = device.read(0x04, 2)
    device.write(0x04, 2, command & ~4)
    device.bus.devices.remove(device)
    kernel.devices.remove(device)
    bridge = device.bus.bridge
    if bridge is not None and not device.bus.devices:
        bridge.link_state = False


def enable_virtual_functions(kernel: Kernel, name: str, count: int) -> list[str]:
    """``echo COUNT > .../sriov_numvfs``; returns the addresses of the virtual functions."""
    physical = kernel.device(name)
    at = physical.find_extended(ext.SRIOV_ID)
    physical.read(at + ext.SRIOV_INITIAL_VF, 2)
    physical.read(0x04, 2)
    offset, stride = set_number(physical, at, count)
    control = physical.read(at + ext.SRIOV_CTRL, 2) & ext.SRIOV_CTRL_ARI
    control |= ext.SRIOV_CTRL_VFE | ext.SRIOV_CTRL_MSE
    physical.write(at + ext.SRIOV_CTRL, 2, control)
    physical.sriov_control, physical.virtual_functions = control, count
    kernel.wire.sleep(100 * _MILLISECOND)
    found = []
    for number in range(count):
        routing = (physical.bus.number << 8 | physical.devfn) + offset + number * stride
        device = _virtual(kernel, physical, routing, first=number == 0)
        if device is not None:
            found.append(device.name)
    return found


def _virtual(kernel: Kernel, physical: Device, routing: int, *, first: bool) -> Device | None:
    """pci_iov_add_virtfn: no vendor read; the first VF supplies class, header type and subsystem for all."""
    number = routing >> 8
    bus = kernel.find_bus(physical.bus.domain, number)
    if bus is None:
        bus = Bus(physical.bus.domain, number, None)
        kernel.buses[bus.domain, number] = bus
    device = Device(kernel.wire, bus, routing & 0xFF, is_virtual=True)
    if first:
        for offset, width in ((0x08, 4), (0x0E, 1), (0x2C, 2), (0x2E, 2)):
            device.read(offset, width)
    setup_device(kernel, device, 0xFFFFFFFF)
    if not device.pcie:
        return None
    add_device(kernel, device)
    bus.devices.append(device)
    kernel.devices.append(device)
    after_scan.save_state(device)
    return device


def freeze(kernel: Kernel, name: str) -> None:
    """VFIO's freeze in the reboot call: reset the function by FLR, then Command = INTx Disable only."""
    device = kernel.device(name)
    pcie, header = after_scan.snapshot(device)
    device.pcie_read(exp.DEVSTA)
    device.pcie_change(exp.DEVCTL, 0, _FLR)
    kernel.wire.sleep(100 * _MILLISECOND)
    device.read(0x04, 4)
    after_scan.restore_state(kernel, device, pcie, header)
    device.write(0x04, 2, _INTX_DISABLE)


def recover(kernel: Kernel, name: str, *, stale: bool = False) -> None:
    """A resume of a port: restore its saved state (``stale``: as saved while its slot was empty, ARI off)."""
    device = kernel.device(name)
    pcie, header = after_scan.snapshot(device)
    if stale and exp.DEVCTL2 in pcie:
        pcie[exp.DEVCTL2] &= ~exp.DEVCTL2_ARI
    after_scan.restore_state(kernel, device, pcie, header)


def reset_bus(kernel: Kernel, name: str, below: Sequence[str]) -> None:
    """pci_reset_bus: save the functions below a bridge, reset the bus, restore them."""
    saved = [(device, *after_scan.snapshot(device)) for device in map(kernel.device, below)]
    secondary_bus_reset(kernel, name)
    for device, pcie, header in saved:
        after_scan.restore_state(kernel, device, pcie, header)


def secondary_bus_reset(kernel: Kernel, name: str) -> None:
    """pci_reset_secondary_bus: set bit 6 of Bridge Control, 2 ms, clear it."""
    device = kernel.device(name)
    control = device.read(0x3E, 2)
    device.write(0x3E, 2, control | 0x40)
    kernel.wire.sleep(2 * _MILLISECOND)
    device.write(0x3E, 2, control & ~0x40)
    kernel.wire.sleep(1000 * _MILLISECOND)
