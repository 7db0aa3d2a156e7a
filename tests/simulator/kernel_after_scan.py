"""What a kernel does when the scan of a root bus is over: save state, assign windows, bind drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import register_blocks as blocks
from simulator.kernel_sriov import restore_sriov

if TYPE_CHECKING:
    from simulator.kernel import Kernel
    from simulator.pci_access import Bus, Device

_LTR, _MFVC, _VC, _VC9, _PCIX = 0x18, 0x08, 0x02, 0x09, 0x07
_ACS_WANTED = 0x001D
_SAVED = (exp.DEVCTL, exp.LNKCTL, exp.SLTCTL, exp.RTCTL, exp.DEVCTL2, exp.LNKCTL2)
_INTX_DISABLE, _MASTER = 0x0400, 0x0004


def add_devices(kernel: Kernel, bus: Bus) -> None:
    """pci_bus_add_devices: each device of the bus saves its state, then the buses below."""
    for device in bus.devices:
        save_state(device)
        if device.acs_cap and kernel.acs_series == "v9":
            device.read(device.acs_cap + ext.ACS_CTRL, 2)  # v9 saves ACS Control with the rest
    for device in bus.devices:
        if device.child is not None:
            add_devices(kernel, device.child)


def save_state(device: Device) -> None:
    """pci_save_state: the header dword by dword, the PCIe control words, AER, and walks for the rest."""
    for offset in range(0x00, 0x40, 4):
        device.read(offset, 4)
    for register in _SAVED:
        device.pcie_read(register)
    if device.pcie:
        device.find_extended(_LTR)
    device.find_capability(_PCIX)
    if not device.pcie:
        return
    at = device.aer_cap
    if at:
        for offset in (ext.AER_UNCOR_MASK, ext.AER_UNCOR_SEVERITY, ext.AER_COR_MASK, ext.AER_CAP):
            device.read(at + offset, 4)
        if device.type == exp.TYPE_ROOT_PORT:
            device.read(at + ext.AER_ROOT_COMMAND, 4)
    for identity in (_MFVC, _VC, _VC9):
        device.find_extended(identity)


def restore_state(kernel: Kernel, device: Device, pcie: dict[int, int], header: dict[int, int]) -> None:
    """pci_restore_state: the PCIe words, the header where it differs, ACS Control, virtual functions."""
    for register in _SAVED:
        if device.implements(register):
            device.pcie_write(register, pcie[register])
    for offset in sorted(header, reverse=True):
        if device.read(offset, 4) != header[offset] or (device.is_bridge and offset in (0x24, 0x28, 0x2C)):
            device.write(offset, 4, header[offset])
    _enable_acs(kernel, device)
    if device.is_physical:
        restore_sriov(device)


def snapshot(device: Device) -> tuple[dict[int, int], dict[int, int]]:
    """Save the state of a device and keep it: PCIe words by register, header dwords by offset."""
    header = {offset: device.read(offset, 4) for offset in range(0x00, 0x40, 4)}
    pcie = {register: device.pcie_read(register) for register in _SAVED if device.implements(register)}
    return pcie, header


def settle(kernel: Kernel) -> None:
    """Everything up to bound drivers."""
    for bus in range(max((number for _, number in kernel.buses), default=0) + 1, kernel.peers + 1):
        for devfn in range(0, 256, 8):
            kernel.wire.read(0, bus, devfn, 0x00, 2)
    for device in kernel.devices:
        if device.is_bridge and device.child is not None:
            _assign_windows(device)
    for device in kernel.devices:
        _acs(kernel, device)
    if kernel.edac:
        _edac(kernel)
    if kernel.drivers:
        for device in kernel.devices:
            _bind(device)


def _assign_windows(device: Device) -> None:
    """pci_setup_bridge: ends with a lone write of Bridge Control."""
    io = device.read(0x1C, 2)
    device.write(0x30, 4, 0x0000FFFF)
    device.write(0x1C, 2, io)
    device.write(0x30, 4, 0)
    device.write(0x20, 4, 0xFE10_FE00)
    device.write(0x2C, 4, 0)
    device.write(0x24, 4, 0x0000_FFF0)
    device.write(0x28, 4, 0)
    device.write(0x2C, 4, 0)
    device.write(0x3E, 2, 2)


def _acs(kernel: Kernel, device: Device) -> None:
    """pci_enable_acs, and what each series does for preserved devices.

    v9 leaves the hardware alone; v4 to v8 write back what they read when they initialised the device.
    """
    at = device.acs_cap
    if not at:
        return
    if device.incoming and kernel.acs_series is not None:
        if device.acs_read is not None:
            device.write(at + ext.ACS_CTRL, 2, device.acs_read)
        return
    _enable_acs(kernel, device)


def _enable_acs(kernel: Kernel, device: Device) -> None:
    """The stock rule: what the hardware has, and the bits that isolate, if there is an IOMMU."""
    at = device.acs_cap
    if not at:
        return
    control = device.read(at + ext.ACS_CTRL, 2)
    device.write(at + ext.ACS_CTRL, 2, control | (_ACS_WANTED if kernel.iommu else 0))


def _edac(kernel: Kernel) -> None:
    for device in kernel.devices:
        device.read(0x06, 2)
        if device.read(0x0E, 1) & 0x7F == 1:
            device.read(0x1E, 2)


def _bind(device: Device) -> None:
    if device.is_bridge:
        _bind_port(device)
    elif device.pcie:
        _bind_endpoint(device)


def _enable(device: Device) -> None:
    """pci_enable_device_mem and pci_set_master."""
    command = device.read(0x04, 2)
    device.read(0x3D, 1)
    if not command & _MASTER:
        device.write(0x04, 2, command | 0x0002 | _MASTER)


def _message_signalled(device: Device) -> None:
    """Switch MSI-X on and INTx off."""
    at = device.msix_cap
    if not at:
        return
    control = device.read(at + 2, 2)
    device.write(at + 2, 2, control | 0xC000)
    device.read(at + 2, 2)
    device.read(at + 4, 4)
    command = device.read(0x04, 2)
    if not command & _INTX_DISABLE:
        device.write(0x04, 2, command | _INTX_DISABLE)
    device.write(at + 2, 2, control & 0x3FFF | 0x8000)


def _bind_endpoint(device: Device) -> None:
    _enable(device)
    _message_signalled(device)
    save_state(device)


def _bind_port(device: Device) -> None:
    """pcie_portdrv_probe: services of a root port, then the state once more."""
    _enable(device)
    if not device.pcie:
        return
    device.find_extended(blocks.DPC)
    if device.type == exp.TYPE_ROOT_PORT:
        _message_signalled(device)
        if device.aer_cap:
            command = device.aer_cap + ext.AER_ROOT_COMMAND
            device.read(command, 4)
            device.write(command, 4, 7)
        device.pcie_read(exp.LNKSTA)
        device.pcie_change(exp.LNKCTL, 0, 0x0C00)
        device.pcie_write(exp.LNKSTA, 0xC000)
    save_state(device)
