"""SR-IOV: sriov_init during the scan, and enabling virtual functions later (Linux 7.3 drivers/pci/iov.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext

if TYPE_CHECKING:
    from simulator.kernel import Kernel
    from simulator.pci_access import Device

_VF_REBAR = 0x24
_SECOND = 1_000_000_000


def init_sriov(kernel: Kernel, device: Device) -> None:
    """sriov_init: take inherited VFs away, set ARI Capable Hierarchy, try every NumVFs."""
    if not device.pcie:
        return
    at = device.find_extended(ext.SRIOV_ID)
    if not at or device.is_virtual:
        return
    if device.read(at + ext.SRIOV_CTRL, 2) & ext.SRIOV_CTRL_VFE:
        device.write(at + ext.SRIOV_CTRL, 2, 0)
        kernel.wire.sleep(_SECOND)
    control = 0
    first = not any(other.is_physical for other in device.bus.devices)
    bridge = device.bus.bridge
    if first and bridge is not None and bridge.ari_enabled:
        control = ext.SRIOV_CTRL_ARI
    device.write(at + ext.SRIOV_CTRL, 2, control)
    device.sriov_cap, device.sriov_control = at, control
    total = device.read(at + ext.SRIOV_TOTAL_VF, 2)
    if not total:
        return
    device.is_physical = True
    sizes = device.read(at + ext.SRIOV_SUP_PGSIZE, 4)
    device.write(at + ext.SRIOV_SYS_PGSIZE, 4, sizes & -sizes)
    _size_bars(device, at)
    device.read(at + ext.SRIOV_VF_DID, 2)
    device.read(at + ext.SRIOV_CAP, 4)
    device.read(at + ext.SRIOV_FUNC_LINK, 1)
    device.find_extended(_VF_REBAR)
    device.virtual_buses = _buses(device, at, total)
    set_number(device, at, 0)


def _buses(device: Device, at: int, total: int) -> int:
    """compute_max_vf_buses: how many buses above its own the virtual functions reach, for any NumVFs."""
    most = 0
    for number in range(total, 0, -1):
        offset, stride = set_number(device, at, number)
        if not offset or (number > 1 and not stride):
            device.is_physical = False
            return 0
        most = max(most, (device.devfn + offset + stride * (number - 1)) >> 8)
    return most


def _size_bars(device: Device, at: int) -> None:
    places = [at + ext.SRIOV_BAR + 4 * bar for bar in range(6)]
    for place in places:
        before = device.read(place, 4)
        device.write(place, 4, 0xFFFFFFFF)
        device.read(place, 4)
        device.write(place, 4, before)
    for place in places:
        device.read(place, 4)


def set_number(device: Device, at: int, number: int) -> tuple[int, int]:
    """pci_iov_set_numvfs; returns First VF Offset and VF Stride, which may change with it."""
    device.write(at + ext.SRIOV_NUM_VF, 2, number)
    return device.read(at + ext.SRIOV_VF_OFFSET, 2), device.read(at + ext.SRIOV_VF_STRIDE, 2)


def restore_sriov(device: Device) -> None:
    """sriov_restore_state: what a reset of the physical function took from its virtual functions.

    The BARs of virtual functions, which come before the page size, have no addresses here.
    """
    at = device.sriov_cap
    control = device.read(at + ext.SRIOV_CTRL, 2)
    if control & ext.SRIOV_CTRL_VFE:
        return
    held = device.sriov_control
    device.write(at + ext.SRIOV_CTRL, 2, control & ~ext.SRIOV_CTRL_ARI | held & ext.SRIOV_CTRL_ARI)
    device.write(at + ext.SRIOV_SYS_PGSIZE, 4, 1)
    set_number(device, at, device.virtual_functions)
    device.write(at + ext.SRIOV_CTRL, 2, held)
    if held & ext.SRIOV_CTRL_VFE:
        device.wire.sleep(_SECOND // 10)
