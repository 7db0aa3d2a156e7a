"""pci_setup_device: what Linux reads of a function when it finds one (Linux 7.3 drivers/pci/probe.c).

The order of accesses is that of 7.3.4 as captured from it; see :mod:`simulator` for what was compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import pcie_capability as exp
from simulator.register_blocks import SSVID

if TYPE_CHECKING:
    from simulator.kernel import Kernel
    from simulator.pci_access import Device

_DVSEC, _VSEC, _PCIX = 0x0023, 0x000B, 0x07
_HOST_BRIDGE = 0x0600
_DECODE = 0x0003
_INTX = 0x0400
_INTEL = 0x8086
_CARDBUS = 2


def setup_device(kernel: Kernel, device: Device, vendor_device: int) -> bool:
    """Read what the kernel needs to know; False if it ignores the function."""
    device.identity = vendor_device
    header = device.read(0x0E, 1)
    device.header_type, device.multifunction = header & 0x7F, bool(header & 0x80)
    _port_type(device)
    device.class_code = device.read(0x08, 4) >> 8
    _retrieve(kernel)
    device.incoming = device.name in kernel.incoming
    if device.incoming:
        kernel.say(f"pci {device.name}: Device was preserved by previous kernel across Live Update")
    device.size = _config_size(device)
    if device.identity & 0xFFFF == _INTEL:
        device.find_extended(_VSEC)
    _cxl(device)
    _command_toggle(device)
    kind = "PCIe" if device.pcie else "conventional PCI"
    kernel.say(
        f"pci {device.name}: [{vendor_device & 0xFFFF:04x}:{vendor_device >> 16:04x}] type "
        f"{device.header_type:02x} class 0x{device.class_code:06x} {kind}"
    )
    if device.header_type == 0:
        _normal(device)
    elif device.header_type == 1:
        _bridge(kernel, device)
    elif device.header_type != _CARDBUS:
        kernel.say(f"pci {device.name}: unknown header type {device.header_type:02x}, ignoring device")
        return False
    return True


class KernelPanicError(Exception):
    """The kernel stops here."""


#: FLB version that series v8 and v9 know.
_FLB_VERSION = 2


def _retrieve(kernel: Kernel) -> None:
    """pci_liveupdate_flb_get_incoming: v8 fails over another version and panics for that, v9 panics at once.

    Raises:
        KernelPanicError: the handed-over data has another version.
    """
    if kernel.policy == "stock" or kernel.flb_version in (None, _FLB_VERSION):
        return
    differs = (
        f"Incoming PCI FLB version (v{kernel.flb_version}) is incompatible with this kernel (v{_FLB_VERSION})"
    )
    if kernel.series == "v8":
        kernel.say(f"PCI: liveupdate: {differs}")
        kernel.say("Kernel panic - not syncing: Failed to retrieve incoming FLB data (-22)")
        raise KernelPanicError
    if kernel.series == "v9":
        kernel.say(f"Kernel panic - not syncing: {differs}")
        raise KernelPanicError


def _port_type(device: Device) -> None:
    """set_pcie_port_type."""
    device.pcie = device.find_capability(exp.CAP_ID)
    if not device.pcie:
        return
    device.flags = device.read(device.pcie + exp.FLAGS, 2)
    if device.type == exp.TYPE_ROOT_PORT and device.pcie_read(exp.RTCAP) & exp.RTCAP_RRS_VISIBLE:
        device.pcie_change(exp.RTCTL, 0, exp.RTCTL_RRS_VISIBLE)
    device.read(device.pcie + exp.DEVCAP, 4)
    if device.pcie_read(exp.LNKCAP, 4) & exp.LNKCAP_DLLLARC:
        device.link_active_reporting = True
    device.pcie_read(exp.LNKCAP2, 4)
    device.pcie_read(exp.LNKCAP, 4)
    _correct_port_type(device)


def _correct_port_type(device: Device) -> None:
    """A "downstream" port below a downstream port acts as upstream port, and the other way round."""
    above = device.upstream()
    if above is None or not above.pcie:
        return
    if device.type == exp.TYPE_DOWNSTREAM and above.is_downstream_port:
        device.flags = device.flags & ~0xF0 | exp.TYPE_UPSTREAM << 4
    elif device.type == exp.TYPE_UPSTREAM and above.type == exp.TYPE_UPSTREAM:
        device.flags = device.flags & ~0xF0 | exp.TYPE_DOWNSTREAM << 4


def _config_size(device: Device) -> int:
    """pci_cfg_space_size, with the alias test of pci_ext_cfg_is_aliased."""
    if device.is_virtual:
        return 4096
    if device.bus.no_extended:
        return 256
    if device.class_code >> 8 != _HOST_BRIDGE and not device.pcie:
        position = device.find_capability(_PCIX)
        if not position or not device.read(position + 4, 4) & 0xC0000000:
            return 256
    if device.read(0x100, 4) == 0xFFFFFFFF or device.wire.failed:
        return 256
    header = device.read(0x00, 4)
    for offset in range(0x100, 0x1000, 0x100):
        if device.read(offset, 4) != header or device.wire.failed:
            return 4096
    return 256


def _cxl(device: Device) -> None:
    """set_pcie_cxl: a DVSEC walk on every PCIe ancestor from the top, then on the device."""
    if not device.pcie:
        return
    above = device.upstream()
    if above is not None:
        _cxl(above)
    device.find_extended(_DVSEC)


def _command_toggle(device: Device) -> None:
    """pci_intx_mask_broken: flip INTx Disable and back, always."""
    before = device.read(0x04, 2)
    device.write(0x04, 2, before ^ _INTX)
    device.read(0x04, 2)
    device.write(0x04, 2, before)


def _interrupt(device: Device) -> None:
    if not device.is_virtual and device.read(0x3D, 1):
        device.read(0x3C, 1)


def _bases(device: Device, bars: int, rom: int) -> None:
    """pci_read_bases: decoding off, every BAR sized, decoding on, every BAR read again."""
    if device.is_virtual:
        return
    always_on = device.class_code >> 8 == _HOST_BRIDGE
    command = 0
    if not always_on:
        command = device.read(0x04, 2)
        if command & _DECODE:
            device.write(0x04, 2, command & ~_DECODE)
    places = [0x10 + 4 * bar for bar in range(bars)]
    for offset in places:
        size_bar(device, offset)
    size_bar(device, rom, 0xFFFFF800)
    if command & _DECODE:
        device.write(0x04, 2, command)
    for offset in [*places, rom]:
        device.read(offset, 4)


def size_bar(device: Device, offset: int, probe: int = 0xFFFFFFFF) -> None:
    """__pci_size_bars: write ones, read the size, write the old value back."""
    before = device.read(offset, 4)
    device.write(offset, 4, probe)
    device.read(offset, 4)
    device.write(offset, 4, before)


def _normal(device: Device) -> None:
    _interrupt(device)
    _bases(device, 6, 0x30)
    if not device.is_virtual:
        device.read(0x2C, 2)
        device.read(0x2E, 2)


def _bridge(kernel: Kernel, device: Device) -> None:
    _interrupt(device)
    _bases(device, 2, 0x38)
    _windows(kernel, device)
    if device.pcie_read(exp.SLTCAP, 4) & 0x40:
        device.hotplug = True
    position = device.find_capability(SSVID)
    if position:
        device.read(position + 4, 2)
        device.read(position + 6, 2)


def _windows(kernel: Kernel, device: Device) -> None:
    """pci_read_bridge_windows: the first read of the bus numbers by the scan, then each window."""
    numbers = device.read(0x18, 4)
    low, high = numbers >> 8 & 0xFF, numbers >> 16 & 0xFF
    shown = f"{low:02x}" if low == high else f"{low:02x}-{high:02x}"
    kernel.say(f"pci {device.name}: PCI bridge to [bus {shown}]")
    io = device.read(0x1C, 2)
    if not io:
        device.write(0x1C, 2, 0xE0F0)
        io = device.read(0x1C, 2)
        device.write(0x1C, 2, 0)
    if io:
        _io_window(device)
    device.read(0x20, 2)
    device.read(0x22, 2)
    prefetchable = device.read(0x24, 4)
    if not prefetchable:
        device.write(0x24, 4, 0xFFE0FFF0)
        prefetchable = device.read(0x24, 4)
        device.write(0x24, 4, 0)
    if not prefetchable:
        return
    if prefetchable & 0xF == 1:
        before = device.read(0x28, 4)
        device.write(0x28, 4, 0xFFFFFFFF)
        device.read(0x28, 4)
        device.write(0x28, 4, before)
    _prefetchable_window(device)


def _io_window(device: Device) -> None:
    low = device.read(0x1C, 1)
    device.read(0x1D, 1)
    if low & 0xF == 1:
        device.read(0x30, 2)
        device.read(0x32, 2)


def _prefetchable_window(device: Device) -> None:
    low = device.read(0x24, 2)
    device.read(0x26, 2)
    if low & 0xF == 1:
        device.read(0x28, 4)
        device.read(0x2C, 4)


def read_windows(device: Device) -> None:
    """pci_read_bridge_bases, once per new bus when its slots are done."""
    _io_window(device)
    device.read(0x20, 2)
    device.read(0x22, 2)
    _prefetchable_window(device)
