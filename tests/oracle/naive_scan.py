"""A second PCI scan, for comparison with the replay: written as the kernel works, on hardware with registers.

Each function below stands for the kernel function of the same name and follows what Linux 7.3
(drivers/pci/probe.c, drivers/pci/pci.c) and the Live Update series v4 to v9 do, step by step: devices are set
up one at a time, bridges are visited in two passes, bus-number registers are read, cleared and written. It
shares nothing with ``analyzer.replay`` on purpose, knows no unknown values, and is not fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT_PORT, UPSTREAM, DOWNSTREAM, PCIE_TO_PCI, PCI_TO_PCIE = 4, 5, 6, 7, 8
MULTIFUNCTION = 0x80
ARI_BIT = 0x20
ABSENT = (0xFFFFFFFF, 0x00000000, 0x0000FFFF, 0xFFFF0000)


@dataclass
class Hardware:
    """One function of the machine: its registers, and what is wired to the bus below it.

    Attributes:
        vendor: dword at 0x00; all-ones, zeroes and 0xffff0001 (retry for ever) are ways of not being there.
        header: byte at 0x0E; type 1 is a bridge, bit 7 says multi-function.
        header_read: what a read of it returns, if that is something else: types that no kernel knows.
        dies: it stops answering after its setup, before its bus numbers are read: it reads ones, takes no
            write and forwards nothing.
        pcix: it has a PCI-X capability that shows 266 or 533 MHz.
        pcie: version and type of the PCI Express capability, None without one.
        ari: Next Function Number of its ARI capability, None without one.
        extended: configuration space above 0xff can be read.
        devcap2, devctl2: registers; exist from capability version 2 on.
        devctl2_read: ``value``; ``ones``: reads all ones and no error; ``error``: the accessor fails.
        numbers: primary, secondary, subordinate bus as the registers at 0x18 hold them.
        hard_wired: the primary number reads 0 whatever is written.
        below: device/function number -> function on the secondary bus.
        gated: above 7, and the port above forwards device 0 only unless its bit 5 is set (PCIe 7.5.3.16); the
            others answer anyway, as QEMU lets them.
        renumber: secondary number that the machine's own convention gives on renumbering (see Kernel).
    """

    vendor: int = 0x56781234
    header: int = 0
    header_read: int | None = None
    dies: bool = False
    pcix: bool = False
    pcie: tuple[int, int] | None = None
    ari: int | None = None
    extended: bool = True
    devcap2: int = 0
    devctl2: int = 0
    devctl2_read: str = "value"
    numbers: tuple[int, int, int] = (0, 0, 0)
    hard_wired: bool = False
    below: dict[int, Hardware] = field(default_factory=dict)
    gated: bool = False
    renumber: int = 0


@dataclass
class Machine:
    """Root buses: (domain, bus number) -> device/function number -> function."""

    roots: dict[tuple[int, int], dict[int, Hardware]] = field(default_factory=dict)


@dataclass
class Device:
    """struct pci_dev of the incoming kernel."""

    hardware: Hardware
    bus: Bus
    devfn: int
    multifunction: bool = False
    port_type: int | None = None
    incoming: bool = False
    ari_enabled: bool = False
    subordinate: Bus | None = None

    @property
    def is_bridge(self) -> bool:
        return self.hardware.header & 0x7F == 1

    @property
    def path(self) -> tuple[int, ...]:
        if self.bus.self is None:
            return (self.bus.domain << 8 | self.bus.number, self.devfn)
        return (*self.bus.self.path, self.devfn)

    @property
    def bdf(self) -> int:
        return self.bus.domain << 16 | self.bus.number << 8 | self.devfn


@dataclass
class Bus:
    """struct pci_bus: ``self`` is the bridge above (None on a root bus), ``wired`` the hardware on it.

    ``no_extended`` is PCI_BUS_FLAGS_NO_EXTCFG.
    """

    domain: int
    number: int
    self: Device | None
    wired: dict[int, Hardware]
    no_extended: bool = False
    devices: list[Device] = field(default_factory=list)


class PanicError(Exception):
    """The kernel stops."""


@dataclass
class Kernel:
    """The incoming kernel: its options, what was handed over, and what its scan found.

    Attributes:
        preserved: functions (domain, bus, devfn as one number) in the handed-over set.
        saved: their ARI state when they were handed over (the serialize idea).
        handed_over: there is handed-over data even if the set is empty.
        number: how a bridge without usable numbers gets a secondary bus.
        registers: copies of the bus numbers, because the scan writes them.
    """

    policy: str
    series: str
    preserved: frozenset[int]
    saved: dict[int, bool]
    noari: bool = False
    scan_all: bool = False
    handover: str = "matched"
    assign_busses: bool = False
    isolated: bool = False
    handed_over: bool = False
    number: Callable[[Kernel, Device], int] = field(default=lambda _, device: device.hardware.renumber)

    found: list[Device] = field(default_factory=list)
    scanned: list[Device] = field(default_factory=list)
    outcomes: dict[tuple[int, ...], str] = field(default_factory=dict)
    registers: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    devctl2: dict[int, int] = field(default_factory=dict)
    numbers_in_use: set[tuple[int, int]] = field(default_factory=set)

    def boot(self, machine: Machine) -> Kernel:
        if self.series not in {"v4", "v5", "v6", "v7", "v8", "v9"}:
            raise ValueError(self.series)
        self.numbers_in_use.update(machine.roots)
        try:
            for (domain, number), wired in sorted(machine.roots.items()):
                self.pci_scan_child_bus(Bus(domain, number, None, wired))
        except PanicError:
            pass
        return self

    @property
    def incoming_flb(self) -> bool:
        """liveupdate_flb_get_incoming() has something: data of this kernel's name was handed over."""
        return (
            self.policy != "stock"
            and self.handover == "matched"
            and (self.handed_over or bool(self.preserved))
        )

    @property
    def set_at_hand(self) -> frozenset[int]:
        """The entries of the handed-over data that this kernel acts on."""
        patched = self.policy != "stock" and self.handover == "matched"
        return self.preserved if patched else frozenset()

    # configuration space

    def read_vendor(self, bus: Bus, devfn: int) -> int | None:
        if devfn > 0xFF:
            return None  # not a configuration address: the accessor fails
        hardware = bus.wired.get(devfn)
        if hardware is None or (bus.self is not None and bus.self.hardware.dies):
            return 0xFFFFFFFF
        if hardware.gated and (bus.self is None or not self.read_devctl2(bus.self)[0] & ARI_BIT):
            return 0xFFFFFFFF
        return hardware.vendor

    def read_numbers(self, hardware: Hardware) -> tuple[int, int, int]:
        if hardware.dies:
            return 0xFF, 0xFF, 0xFF
        primary, secondary, subordinate = self.registers.get(id(hardware), hardware.numbers)
        return (0 if hardware.hard_wired else primary, secondary, subordinate)

    def read_devcap2(self, device: Device) -> int:
        pcie = device.hardware.pcie
        return device.hardware.devcap2 if pcie is not None and pcie[0] > 1 else 0

    def read_devctl2(self, device: Device) -> tuple[int, bool]:
        """The word, and whether the read worked."""
        hardware = device.hardware
        if hardware.pcie is None or hardware.pcie[0] < 2 or hardware.devctl2_read == "error":
            return 0, False
        if hardware.devctl2_read == "ones":
            return 0xFFFF, True
        return self.devctl2.get(id(hardware), hardware.devctl2), True

    def write_devctl2(self, device: Device, value: int) -> None:
        self.devctl2[id(device.hardware)] = value

    def find_ari_capability(self, device: Device) -> int | None:
        """The Next Function Number of the ARI extended capability."""
        hardware = device.hardware
        if hardware.pcie is None or not hardware.extended or device.bus.no_extended:
            return None
        return hardware.ari

    # probe.c

    def pci_scan_child_bus(self, bus: Bus) -> None:
        for slot in range(32):
            self.pci_scan_slot(bus, slot << 3)
        for pass_ in (0, 1):
            for device in list(bus.devices):
                if device.is_bridge:
                    self.pci_scan_bridge(bus, device, pass_)

    def only_one_child(self, bus: Bus) -> bool:
        if self.scan_all:
            return False
        bridge = bus.self
        if bridge is None or bridge.hardware.pcie is None:
            return False
        return bridge.port_type in (ROOT_PORT, DOWNSTREAM, PCI_TO_PCIE)

    def pci_scan_slot(self, bus: Bus, devfn: int) -> None:
        if self.only_one_child(bus) and devfn > 0:
            return
        fn = 0
        while True:
            device = self.pci_scan_single_device(bus, devfn + fn)
            if device is not None:
                if fn > 0:
                    device.multifunction = True
            elif fn == 0 and not self.isolated:
                return
            following = self.next_fn(bus, device, fn)
            if following is None:
                return
            fn = following

    def next_fn(self, bus: Bus, device: Device | None, fn: int) -> int | None:
        if bus.self is not None and bus.self.ari_enabled:
            return self.next_ari_fn(device, fn)
        if fn >= 7:
            return None
        if device is not None and not device.multifunction:
            return None
        return fn + 1

    def next_ari_fn(self, device: Device | None, fn: int) -> int | None:
        if device is None:
            return None
        following = self.find_ari_capability(device)
        if following is None or following <= fn:
            return None
        return following

    def pci_scan_single_device(self, bus: Bus, devfn: int) -> Device | None:
        for device in bus.devices:
            if device.devfn == devfn:
                return device
        vendor = self.read_vendor(bus, devfn)
        if vendor is None or vendor in ABSENT or vendor & 0xFFFF == 0x0001:
            return None
        device = Device(bus.wired[devfn], bus, devfn)
        if not self.pci_setup_device(device):
            return None
        self.pci_configure_ari(device)
        bus.devices.append(device)
        self.found.append(device)
        return device

    def pci_setup_device(self, device: Device) -> bool:
        hardware = device.hardware
        header = hardware.header if hardware.header_read is None else hardware.header_read
        known = header & 0x7F in (0, 1, 2)
        device.multifunction = bool(header & MULTIFUNCTION)
        if device.hardware.pcie is not None:
            self.set_pcie_port_type(device, device.hardware.pcie[1])
        if self.policy != "stock" and self.handover == "panic":  # pci_flb_retrieve, for the first device
            if known:
                self.found.append(device)
            raise PanicError
        device.incoming = device.bdf in self.set_at_hand  # by address alone, IDs are not compared
        return known

    def set_pcie_port_type(self, device: Device, claimed: int) -> None:
        device.port_type = claimed
        parent = device.bus.self
        if parent is None:
            return
        parent_is_downstream = parent.port_type in (ROOT_PORT, DOWNSTREAM, PCI_TO_PCIE)
        if claimed == DOWNSTREAM and parent_is_downstream:
            device.port_type = UPSTREAM
        elif claimed == UPSTREAM and parent.port_type == UPSTREAM:
            device.port_type = DOWNSTREAM

    def pci_scan_bridge(self, bus: Bus, device: Device, pass_: int) -> None:
        primary, secondary, subordinate = self.read_numbers(device.hardware)
        if primary == 0 and bus.number != 0 and secondary and subordinate:
            primary = bus.number  # hard-wired to 0
        broken = False
        if pass_ == 0:
            broken = primary != bus.number or secondary <= bus.number or secondary > subordinate
        assign_new_buses = self.assign_busses and not self.liveupdate_keeps_numbers()
        if (secondary or subordinate) and not assign_new_buses and not broken:
            if pass_ == 0:
                self.outcomes[device.path] = "use"
                self.add_bus(device, secondary)
            elif device.path not in self.outcomes:
                self.outcomes[device.path] = "silent"  # still set although pass 0 wrote zeros
            return
        if pass_ == 0:
            if assign_new_buses or broken:
                self.registers[id(device.hardware)] = (0, 0, 0)
            return
        if self.liveupdate_refuses_numbers(bus):
            self.outcomes[device.path] = "refuse"
            return
        self.outcomes[device.path] = "assign"
        new = self.number(self, device)
        self.registers[id(device.hardware)] = (bus.number, new, new)
        self.add_bus(device, new)

    def add_bus(self, bridge: Device, number: int) -> None:
        self.numbers_in_use.add((bridge.bus.domain, number))
        bridge.subordinate = Bus(bridge.bus.domain, number, bridge, bridge.hardware.below)
        bridge.subordinate.no_extended = not self.pci_bridge_child_ext_cfg_accessible(bridge)
        self.scanned.append(bridge)
        self.pci_scan_child_bus(bridge.subordinate)

    def pci_bridge_child_ext_cfg_accessible(self, bridge: Device) -> bool:
        if bridge.bus.no_extended:
            return False
        if bridge.port_type in (ROOT_PORT, UPSTREAM, DOWNSTREAM):
            return True
        return bridge.hardware.pcix

    # Live Update series and pci.c

    def liveupdate_refuses_numbers(self, bus: Bus) -> bool:
        if self.series != "v9":
            return self.liveupdate_keeps_numbers()
        return any(other.is_bridge and other.incoming and other.subordinate is None for other in bus.devices)

    def liveupdate_keeps_numbers(self) -> bool:
        if self.series in ("v4", "v5"):  # dev->liveupdate_inherit_buses, inherit_buses: the FLB was retrieved
            return self.incoming_flb
        return len(self.set_at_hand) > 0  # ser->nr_devices; v9: had_incoming

    def pci_configure_ari(self, device: Device) -> None:
        patched = self.policy != "stock"
        if not patched and self.noari:
            return
        if device.hardware.pcie is None:
            return
        if device.devfn != 0:
            return
        bridge = device.bus.self
        if bridge is None:
            return
        if not self.read_devcap2(bridge) & ARI_BIT:
            return
        if patched and bridge.incoming:
            self.adopt_ari(bridge, device.bus)
            return
        if self.noari:
            return
        has_ari = self.find_ari_capability(device) is not None
        value, worked = self.read_devctl2(bridge)
        if worked:
            self.write_devctl2(bridge, value | ARI_BIT if has_ari else value & ~ARI_BIT)
        bridge.ari_enabled = has_ari

    def adopt_ari(self, bridge: Device, bus: Bus) -> None:
        value, _ = self.read_devctl2(bridge)
        bit = bool(value & ARI_BIT)
        if self.policy == "serialize":
            saved = self.saved[bridge.bdf]
            if saved != bit:
                self.write_devctl2(bridge, value ^ ARI_BIT)
            bit = saved
        elif self.policy == "heal":
            for entry in self.set_at_hand:
                if entry >> 16 == bus.domain and entry >> 8 & 0xFF == bus.number and entry & 0xFF >= 8:
                    bit = True
            if bit:
                self.write_devctl2(bridge, value | ARI_BIT)
        bridge.ari_enabled = bit


def first_free_number(kernel: Kernel, bridge: Device) -> int:
    """The lowest bus number above the bridge's own that nothing in the domain uses (Kernel.number)."""
    domain = bridge.bus.domain
    number = bridge.bus.number + 1
    while (domain, number) in kernel.numbers_in_use:
        number += 1
    return number
