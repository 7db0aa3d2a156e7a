"""ASPM set-up of a link when a slot below a port held something new (Linux 7.3 drivers/pci/pcie/aspm.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import pcie_capability as exp

if TYPE_CHECKING:
    from simulator.pci_access import Bus, Device

_ENDPOINTS = (exp.TYPE_ENDPOINT, exp.TYPE_LEGACY_ENDPOINT)
_COMMON_CLOCK = 0x40


def init_link(port: Device, bus: Bus) -> None:
    """pcie_aspm_init_link_state: common clock, retrain, latencies; reads and writes LNKCTL on both ends."""
    if not port.pcie or port.link_state:
        return
    for child in bus.devices:
        if not child.pcie:
            return
        child.read(child.pcie + exp.DEVCAP, 4)
    if not port.is_downstream_port or not bus.devices:
        return
    port.link_state = True
    first = bus.devices[0]
    _common_clock(port, first, bus)
    port.pcie_read(exp.LNKCTL)
    first.pcie_read(exp.LNKCTL)
    for device in bus.devices:
        if device.type in _ENDPOINTS:
            _latency(device)
    first.pcie_read(exp.LNKCAP, 4)


def _common_clock(port: Device, first: Device, bus: Bus) -> None:
    first.pcie_read(exp.LNKSTA)
    port.pcie_read(exp.LNKSTA)
    port.pcie_read(exp.LNKCTL)
    for device in bus.devices:
        device.pcie_read(exp.LNKCTL)
        device.pcie_change(exp.LNKCTL, _COMMON_CLOCK, 0)
    port.pcie_change(exp.LNKCTL, _COMMON_CLOCK, 0)
    port.pcie_read(exp.LNKSTA)
    port.pcie_change(exp.LNKCTL, 0, exp.LNKCTL_RETRAIN)
    port.pcie_read(exp.LNKSTA)
    port.pcie_write(exp.LNKSTA, 0x4000)
    port.pcie_read(exp.LNKSTA)
    port.pcie_read(exp.LNKSTA2)


def _latency(device: Device) -> None:
    """pcie_aspm_check_latency: LNKCAP of both ends of every link up to the root."""
    bus = device.bus
    while bus.bridge is not None and bus.bridge.pcie:
        port = bus.bridge
        port.pcie_read(exp.LNKCAP, 4)
        bus.devices[0].pcie_read(exp.LNKCAP, 4)
        above = port.bus.bridge  # a switch's upstream port: the next link is above it
        if port.type != exp.TYPE_DOWNSTREAM or above is None:
            break
        bus = above.bus
