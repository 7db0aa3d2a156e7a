"""The scan: slots, next function, bridges in two passes (Linux 7.3 drivers/pci/probe.c).

``scan_bus`` is pci_scan_child_bus_extend, ``scan_slot`` pci_scan_slot, ``next_function`` next_fn,
``visit_bridge`` pci_scan_bridge_extend with the bus-number rules of each Live Update series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from schemas.config_header import ABSENT_VENDOR_DWORDS
from simulator.kernel_aspm import init_link
from simulator.kernel_configure import add_device
from simulator.kernel_setup import read_windows, setup_device
from simulator.pci_access import Bus, Device

if TYPE_CHECKING:
    from simulator.kernel import Kernel

_MILLISECOND = 1_000_000
_RRS_TIMEOUT_MS = 60_000
_AGP, _AGP3, _PCIX, _EA = 0x02, 0x0E, 0x07, 0x14


def scan_bus(kernel: Kernel, bus: Bus, available: int = 0) -> int:
    """Scan one bus and everything below; return the highest bus number used."""
    start = bus.number
    for slot in range(32):
        scan_slot(kernel, bus, slot << 3)
    used = max((device.virtual_buses for device in bus.devices), default=0)  # pci_iov_bus_range
    highest = start + used
    if not bus.added:
        if bus.bridge is not None:
            read_windows(bus.bridge)
        bus.added = True
    bridges = [device for device in bus.devices if device.is_bridge]
    hotplug = sum(bridge.hotplug for bridge in bridges)
    for bridge in bridges:
        before = highest
        highest = visit_bridge(kernel, bus, bridge, highest, 0, first_pass=True)
        used += max(1, highest - before)
    for bridge in bridges:
        extra = 0
        if not hotplug and len(bridges) == 1:
            extra = available
        elif bridge.hotplug:
            extra = max(0, min(available // hotplug, available - used + 1))
        before = highest
        highest = visit_bridge(kernel, bus, bridge, highest, extra, first_pass=False)
        used += max(0, highest - before - 1)
    if bus.bridge is not None and bus.bridge.hotplug and highest - start < available:
        highest = min(start + available, bus.end)
    return highest


def only_one_child(kernel: Kernel, bus: Bus) -> bool:
    """Only device 0 can be on this bus (unless pci=pcie_scan_all)."""
    return not kernel.scan_all and bus.bridge is not None and bus.bridge.is_downstream_port


def scan_slot(kernel: Kernel, bus: Bus, devfn: int) -> None:
    """pci_scan_slot: function 0, then as next_fn says."""
    if devfn and only_one_child(kernel, bus):
        return
    function = found = 0
    while function >= 0:
        device, new = _scan_device(kernel, bus, devfn + function)
        found += new
        if device is not None and function:
            device.multifunction = True
        if device is None and function == 0 and not kernel.isolated_functions:
            break
        function = next_function(bus, device, function)
    if found and bus.bridge is not None and kernel.aspm:
        init_link(bus.bridge, bus)


def next_function(bus: Bus, device: Device | None, function: int) -> int:
    """next_fn: along the ARI chain, or one by one; -1 ends."""
    if bus.bridge is not None and bus.bridge.ari_enabled:
        at = 0 if device is None else device.find_extended(ext.ARI_ID)
        if device is None or not at:
            return -1
        following = device.read(at + ext.ARI_CAP, 2) >> ext.ARI_CAP_NFN_SHIFT
        return following if following > function else -1
    if function >= 7 or (device is not None and not device.multifunction):
        return -1
    return function + 1


def _scan_device(kernel: Kernel, bus: Bus, devfn: int) -> tuple[Device | None, bool]:
    """pci_scan_single_device: no access where the kernel has the device already."""
    known = bus.device(devfn)
    if known is not None:
        return known, False
    if devfn > 0xFF:
        return None, False  # the accessor refuses it before the bus
    identity = _vendor(kernel, bus, devfn)
    if identity is None:
        return None, False
    device = Device(kernel.wire, bus, devfn)
    if not setup_device(kernel, device, identity):
        return None, False
    add_device(kernel, device)
    bus.devices.append(device)
    kernel.devices.append(device)
    return device, True


def _vendor(kernel: Kernel, bus: Bus, devfn: int) -> int | None:
    """pci_bus_generic_read_dev_vendor_id, with the wait for Request Retry Status."""
    wire = kernel.wire
    value = wire.read(bus.domain, bus.number, devfn, 0x00, 4)
    if wire.failed or value in ABSENT_VENDOR_DWORDS:
        return None
    delay = 1
    while value & 0xFFFF == 0x0001:
        if delay > _RRS_TIMEOUT_MS:
            kernel.say(
                f"pci {bus.domain:04x}:{bus.number:02x}:{devfn >> 3:02x}.{devfn & 7}: not ready after "
                f"{delay - 1}ms; giving up"
            )
            return None
        wire.sleep(delay * _MILLISECOND)
        delay *= 2
        value = wire.read(bus.domain, bus.number, devfn, 0x00, 4)
        if wire.failed:
            return None
    return value


# -- bridges ------------------------------------------------------------------------------------------------


def visit_bridge(
    kernel: Kernel, bus: Bus, bridge: Device, highest: int, available: int, *, first_pass: bool
) -> int:
    """pci_scan_bridge_extend: one visit of one pass; returns the highest bus number used so far."""
    numbers = bridge.read(0x18, 4)
    primary, secondary, subordinate = numbers & 0xFF, numbers >> 8 & 0xFF, numbers >> 16 & 0xFF
    if not primary and bus.number and secondary and subordinate:
        primary = bus.number  # hard-wired to 0
    wrong = primary != bus.number or secondary <= bus.number or secondary > subordinate
    broken = first_pass and wrong
    if broken:
        kernel.say(
            f"pci {bridge.name}: bridge configuration invalid ([bus {secondary:02x}-{subordinate:02x}]), "
            "reconfiguring"
        )
    control = bridge.read(0x3E, 2)
    bridge.write(0x3E, 2, control & ~0x20)
    renumbers = kernel.assign_busses and not _keeps_numbers(kernel)
    if (secondary or subordinate) and not broken and not renumbers:
        if first_pass:
            highest = _configured(kernel, bus, bridge, secondary, subordinate, highest)
    elif first_pass:
        if broken or renumbers:
            bridge.write(0x18, 4, numbers & 0xFF000000)
    elif not _refused(kernel, bus, bridge):
        highest = _assign(kernel, bus, bridge, numbers, highest, available)
    bridge.write(0x1E, 2, 0xFFFF)
    bridge.write(0x3E, 2, control)
    return highest


def _configured(
    kernel: Kernel, bus: Bus, bridge: Device, secondary: int, subordinate: int, highest: int
) -> int:
    child = kernel.find_bus(bus.domain, secondary)
    if child is None:
        child = _add_bus(kernel, bus, bridge, secondary, subordinate)
    scan_bus(kernel, child, subordinate - secondary)
    return max(highest, subordinate)


def _add_bus(kernel: Kernel, parent: Bus, bridge: Device, number: int, end: int) -> Bus:
    """pci_add_new_bus: the bus speed comes from AGP, PCI-X and link registers."""
    child = Bus(parent.domain, number, bridge, end)
    bridge.child = child
    kernel.buses[parent.domain, number] = child
    for identity in (_AGP, _AGP3, _PCIX):
        bridge.find_capability(identity)
    if bridge.pcie:
        bridge.pcie_read(exp.LNKCAP, 4)
        bridge.pcie_read(exp.LNKSTA)
        bridge.pcie_read(exp.LNKSTA2)
    child.no_extended = parent.no_extended or not _extended_below(bridge)
    return child


def _extended_below(bridge: Device) -> bool:
    """pci_bridge_child_ext_cfg_accessible, on a bus that has extended configuration space itself."""
    if bridge.pcie and bridge.type in exp.EXTENDED_BELOW:
        return True
    position = bridge.find_capability(_PCIX)
    return bool(position and bridge.read(position + 4, 4) & 0xC0000000)


def _keeps_numbers(kernel: Kernel) -> bool:
    """A Live Update forbids new bus numbers where there are valid ones (every series)."""
    return kernel.policy != "stock" and bool(kernel.incoming)


def _refused(kernel: Kernel, bus: Bus, bridge: Device) -> bool:
    """Whether this kernel leaves an unnumbered bridge alone, by series."""
    if not _keeps_numbers(kernel):
        return False
    if kernel.series == "v9":
        lost = [other for other in bus.devices if other.is_bridge and other.incoming and other.child is None]
        refused = bool(lost)
        for other in lost[:1]:
            kernel.say(
                f"pci {bridge.name}: Not assigning bus numbers, preserved bridge {other.name} lost its bus "
                "number configuration"
            )
    else:
        refused = True
    if refused and kernel.series != "v9":
        ends = {"v4": "!", "v5": "!", "v6": ", skipping", "v7": ", skipping"}.get(kernel.series)
        if ends is not None:  # that of v8 was never read
            kernel.say(f"pci {bridge.name}: Cannot reconfigure bridge during Live Update{ends}")
        if ends == "!":
            kernel.say(f"pci {bridge.name}: Downstream devices will not be enumerated!")
    return refused


def _assign(kernel: Kernel, bus: Bus, bridge: Device, numbers: int, highest: int, available: int) -> int:
    """Pass 1: the number behind the highest one in use on this bus."""
    bridge.write(0x06, 2, 0xFFFF)
    bridge.find_capability(_EA)
    number = highest + 1
    child = kernel.find_bus(bus.domain, number)
    if child is None:
        child = _add_bus(kernel, bus, bridge, number, bus.end)
    highest += 1
    value = numbers & 0xFF000000 | bus.number | child.number << 8 | child.end << 16
    bridge.write(0x18, 4, value)
    highest = scan_bus(kernel, child, max(0, available - 1))
    child.end = highest
    bridge.write(0x1A, 1, highest)
    return highest
