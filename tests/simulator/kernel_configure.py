"""pci_device_add: configuring a function and initialising its capabilities (Linux 7.3 drivers/pci).

``configure_ari`` is the decision that everything is about; its variants are the stock one, the one of the
Live Update series v4 to v9, and two that exist on paper only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import register_blocks as blocks
from simulator.kernel_sriov import init_sriov

if TYPE_CHECKING:
    from simulator.kernel import Kernel
    from simulator.pci_access import Device

_EA, _PCIX, _VPD, _AF = 0x14, 0x07, 0x03, 0x13
_L1SS, _LTR, _MFVC, _VC, _VC9, _ATS = 0x1E, 0x18, 0x08, 0x02, 0x09, 0x0F
_DOE, _REBAR, _DEV3, _DVSEC = 0x2E, 0x15, 0x2F, 0x23
_ENDPOINTS = (exp.TYPE_ENDPOINT, exp.TYPE_LEGACY_ENDPOINT)
_EXT_TAG = 0x0100
#: quirk_ich6_lpc and quirk_ich7_lpc: I/O ranges that the header does not show.
_HEADER_QUIRKS = {0x29188086: (0x44, 0x40, 0x4C, 0x84, 0x88, 0x8C, 0x90)}


def add_device(kernel: Kernel, device: Device) -> None:
    """Configure one function and initialise its capabilities, in the kernel's order."""
    _configure(kernel, device)
    if device.is_downstream_port and device.link_active_reporting and device.implements(exp.LNKCTL2):
        device.pcie_read(exp.LNKSTA)
        device.pcie_read(exp.LNKCTL2)
        device.pcie_read(exp.LNKCTL2)
    for offset in _HEADER_QUIRKS.get(device.identity, ()):
        device.read(offset, 4)
    _first_capabilities(device)
    configure_ari(kernel, device)
    init_sriov(kernel, device)
    _more_capabilities(kernel, device)


# -- pci_configure_device -----------------------------------------------------------------------------------


def _configure(kernel: Kernel, device: Device) -> None:
    if not device.is_virtual:
        _payload_size(device)
        tags = device.pcie_read(exp.DEVCAP, 4) & 0x20
        if tags and not device.pcie_read(exp.DEVCTL) & _EXT_TAG:
            device.pcie_change(exp.DEVCTL, 0, _EXT_TAG)
        device.pcie_read(exp.DEVCTL)
    if kernel.aspm:
        _ltr(device)
        if device.pcie:
            device.find_extended(_L1SS)
            device.find_extended(_L1SS)
    device.pcie_read(exp.DEVCAP2, 4)
    if device.is_bridge:
        control = device.read(0x3E, 2)
        if not control & 2:
            device.write(0x3E, 2, control | 2)
    root = device.root_port()
    if device.pcie and device.type in _ENDPOINTS and root is not None and not device.is_virtual:
        boundary = root.pcie_read(exp.LNKCTL) & 8
        device.pcie_change(exp.LNKCTL, 8, boundary)


def _payload_size(device: Device) -> None:
    """pci_configure_mps."""
    above = device.upstream()
    if not device.pcie or above is None or not above.pcie:
        return
    own = device.pcie_read(exp.DEVCTL)
    theirs = above.pcie_read(exp.DEVCTL)
    if own & 0xE0 != theirs & 0xE0:
        device.pcie_change(exp.DEVCTL, 0xE0, theirs & 0xE0)


def _ltr(device: Device) -> None:
    """pci_configure_ltr: reads DEVCTL2 as a dword and sets LTR Enable; bit 5 rides along as read."""
    if not device.pcie or not device.pcie_read(exp.DEVCAP2, 4) & exp.DEVCAP2_LTR:
        return
    root = device.type == exp.TYPE_ROOT_PORT
    above = device.upstream()
    if device.pcie_read(exp.DEVCTL2, 4) & exp.DEVCTL2_LTR:
        device.ltr_path = root or (above is not None and above.ltr_path)
    elif root:
        device.pcie_change(exp.DEVCTL2, 0, exp.DEVCTL2_LTR)
        device.ltr_path = True
    elif above is not None and above.ltr_path:
        if not above.pcie_read(exp.DEVCTL2, 4) & exp.DEVCTL2_LTR:
            above.pcie_change(exp.DEVCTL2, 0, exp.DEVCTL2_LTR)
        device.pcie_change(exp.DEVCTL2, 0, exp.DEVCTL2_LTR)
        device.ltr_path = True


# -- pci_init_capabilities ----------------------------------------------------------------------------------


def _first_capabilities(device: Device) -> None:
    device.find_capability(_EA)
    at = device.find_capability(blocks.MSI)
    if at:
        device.read(at + 2, 2)
    device.msix_cap = device.find_capability(blocks.MSIX)
    if device.msix_cap:
        device.read(device.msix_cap + 2, 2)
    device.find_capability(blocks.PCIE)
    device.find_capability(_PCIX)
    for identity in (_LTR, _MFVC, _VC, _VC9):
        device.find_extended(identity)
    device.read(0x06, 2)
    device.power_cap = device.find_capability(blocks.PM)
    if device.power_cap:
        device.read(device.power_cap + 2, 2)
        device.read(device.power_cap + 4, 2)
        device.read(device.power_cap + 4, 2)
    device.find_capability(_VPD)


def configure_ari(kernel: Kernel, device: Device) -> None:
    """pci_configure_ari in the variant of this kernel."""
    live_update = kernel.policy != "stock"
    if kernel.noari and not live_update:
        return
    bridge = device.bus.bridge
    if not device.pcie or device.devfn or bridge is None:
        return
    if not bridge.pcie_read(exp.DEVCAP2, 4) & exp.DEVCAP2_ARI:
        return
    if bridge.incoming and _adopt(kernel, bridge):
        return
    if kernel.noari:
        return
    if device.find_extended(ext.ARI_ID):
        bridge.pcie_change(exp.DEVCTL2, 0, exp.DEVCTL2_ARI)
        bridge.ari_enabled = True
    else:
        bridge.pcie_change(exp.DEVCTL2, exp.DEVCTL2_ARI, 0)
        bridge.ari_enabled = False


def _adopt(kernel: Kernel, bridge: Device) -> bool:
    """What a kernel does with an incoming preserved bridge; True if that settles it."""
    if kernel.policy == "stock":
        return False
    found = bool(bridge.pcie_read(exp.DEVCTL2) & exp.DEVCTL2_ARI)
    bridge.ari_enabled = found
    wanted = found
    if kernel.policy == "serialize":
        wanted = kernel.saved.get(bridge.name, found)
    elif kernel.policy == "heal" and bridge.child is not None:
        start = f"{bridge.bus.domain:04x}:{bridge.child.number:02x}:"
        wanted = found or any(
            name.startswith(start) and int(name[len(start) : -2], 16) > 0 for name in kernel.incoming
        )
    if wanted != found:
        bridge.pcie_change(exp.DEVCTL2, 0 if wanted else exp.DEVCTL2_ARI, exp.DEVCTL2_ARI if wanted else 0)
        bridge.ari_enabled = wanted
    return True


def _more_capabilities(kernel: Kernel, device: Device) -> None:
    """From ATS to the reset methods."""
    if device.pcie:
        device.find_extended(_ATS)
        device.acs_cap = device.find_extended(blocks.ACS)
        if device.acs_cap:
            device.read(device.acs_cap + ext.ACS_CAP, 2)
            if device.incoming and kernel.acs_series not in (None, "v9"):
                device.acs_read = device.read(device.acs_cap + ext.ACS_CTRL, 2)
        if kernel.native_aer:
            _errors(device)
        for identity in (_DOE, _REBAR, _DEV3):
            device.find_extended(identity)
        _report_downtraining(device)
    _reset_methods(device)
    if device.pcie:
        device.find_extended(_DVSEC)


def _errors(device: Device) -> None:
    """pci_aer_init: clear what is latched, switch reporting on (native AER)."""
    device.aer_cap = at = device.find_extended(blocks.AER)
    if not at:
        return
    device.find_extended(blocks.AER)
    mask = device.read(at + ext.AER_COR_MASK, 4)
    device.write(at + ext.AER_COR_MASK, 4, mask & ~0x2000)
    if device.type == exp.TYPE_ROOT_PORT:
        status = device.read(at + ext.AER_ROOT_STATUS, 4)
        device.write(at + ext.AER_ROOT_STATUS, 4, status)
    for offset in (ext.AER_COR_STATUS, ext.AER_UNCOR_STATUS):
        status = device.read(at + offset, 4)
        device.write(at + offset, 4, status)
    device.pcie_change(exp.DEVCTL, 0, exp.DEVCTL_ERROR_REPORTING)


def _report_downtraining(device: Device) -> None:
    """pcie_report_downtraining: only function 0 of each device number, looking up the hierarchy."""
    if device.type not in (*_ENDPOINTS, exp.TYPE_UPSTREAM) or device.devfn & 7 or device.is_virtual:
        return
    device.pcie_read(exp.LNKCAP, 4)
    above: Device | None = device
    while above is not None and above.pcie:
        above.pcie_read(exp.LNKSTA)
        above = above.upstream()


def _reset_methods(device: Device) -> None:
    """pci_init_reset_methods: AF, power management, bus."""
    device.find_capability(_AF)
    if device.power_cap:
        device.read(device.power_cap + 4, 2)
    above = device.upstream()
    if above is not None:
        above.find_extended(_DVSEC)
