"""What a kernel knows of buses and devices, and how it reads registers (Linux 7.3 drivers/pci/access.c).

Every method makes exactly the config requests that the kernel function of that name makes, no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas import pcie_capability as exp

if TYPE_CHECKING:
    from simulator.recorder import Recorder

STANDARD_LIMIT, EXTENDED_LIMIT = 48, (4096 - 256) // 8

_WITH_LINK = frozenset({0, 1, 4, 5, 6, 7, 8})
_LINK, _LINK_2 = (
    frozenset({exp.LNKCAP, exp.LNKCTL, exp.LNKSTA}),
    frozenset({exp.LNKCAP2, exp.LNKCTL2, exp.LNKSTA2}),
)
_SLOT = frozenset({exp.SLTCAP, exp.SLTCTL, exp.SLTSTA})
_ROOT = frozenset({exp.RTCTL, exp.RTCAP, exp.RTSTA})


@dataclass(eq=False)
class Bus:
    """A ``struct pci_bus``: its number, the bridge that leads to it, devices in discovery order.

    ``no_extended`` is PCI_BUS_FLAGS_NO_EXTCFG.
    """

    domain: int
    number: int
    bridge: Device | None = None
    end: int = 0xFF
    devices: list[Device] = field(default_factory=list)
    added: bool = False
    no_extended: bool = False

    def device(self, devfn: int) -> Device | None:
        """The device of that number, if the kernel has one."""
        return next((device for device in self.devices if device.devfn == devfn), None)


@dataclass(eq=False)
class Device:
    """A ``struct pci_dev``."""

    wire: Recorder
    bus: Bus
    devfn: int
    header_type: int = 0
    multifunction: bool = False
    pcie: int = 0
    flags: int = 0
    size: int = 256
    class_code: int = 0
    identity: int = 0
    ari_enabled: bool = False
    ltr_path: bool = False
    incoming: bool = False
    is_virtual: bool = False
    is_physical: bool = False
    link_active_reporting: bool = False
    hotplug: bool = False
    link_state: bool = False
    virtual_buses: int = 0
    sriov_cap: int = 0
    sriov_control: int = 0
    virtual_functions: int = 0
    power_cap: int = 0
    msix_cap: int = 0
    aer_cap: int = 0
    acs_cap: int = 0
    acs_read: int | None = None
    child: Bus | None = None

    def read(self, offset: int, width: int) -> int:
        """pci_read_config_byte/word/dword."""
        bus = self.bus
        return self.wire.read(bus.domain, bus.number, self.devfn, offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        """pci_write_config_byte/word/dword."""
        bus = self.bus
        self.wire.write(bus.domain, bus.number, self.devfn, offset, width, value)

    @property
    def name(self) -> str:
        """``dddd:bb:dd.f``."""
        return f"{self.bus.domain:04x}:{self.bus.number:02x}:{self.devfn >> 3:02x}.{self.devfn & 7}"

    @property
    def is_bridge(self) -> bool:
        """A type 1 header."""
        return self.header_type == 1

    @property
    def type(self) -> int:
        """Device/port type; meaningful with a PCI Express capability only."""
        return self.flags >> 4 & 0xF

    @property
    def is_downstream_port(self) -> bool:
        """pcie_downstream_port()."""
        return bool(self.pcie) and self.type in exp.DOWNSTREAM_TYPES

    def upstream(self) -> Device | None:
        """pci_upstream_bridge()."""
        return self.bus.bridge

    def root_port(self) -> Device | None:
        """pcie_find_root_port()."""
        device: Device | None = self
        while device is not None:
            if device.pcie and device.type == exp.TYPE_ROOT_PORT:
                return device
            device = device.upstream()
        return None

    # -- capability lists -------------------------------------------------------------------------------

    def find_capability(self, identity: int) -> int:
        """pci_find_capability: word 0x06, byte 0x34, a word per entry."""
        if not self.read(0x06, 2) & 0x10:
            return 0
        position = self.read(0x34, 1)
        for _ in range(STANDARD_LIMIT):
            if position < 0x40:
                break
            position &= 0xFC
            entry = self.read(position, 2)
            if entry & 0xFF == 0xFF:
                break
            if entry & 0xFF == identity:
                return position
            position = entry >> 8
        return 0

    def find_extended(self, identity: int) -> int:
        """pci_find_ext_capability: a dword per entry from 0x100; nothing where config space is 256 bytes."""
        if self.size <= 256:
            return 0
        position = 0x100
        header = self.read(position, 4)
        if self.wire.failed or header == 0:
            return 0
        for _ in range(EXTENDED_LIMIT):
            if header & 0xFFFF == identity:
                return position
            position = header >> 20 & 0xFFC
            if position < 0x100:
                break
            header = self.read(position, 4)
            if self.wire.failed:
                break
        return 0

    # -- PCI Express capability registers -----------------------------------------------------------------

    def implements(self, register: int) -> bool:
        """pcie_capability_reg_implemented()."""
        if not self.pcie:
            return False
        version, type_ = self.flags & 0xF, self.type
        if register in _LINK:
            return type_ in _WITH_LINK
        if register in _SLOT:
            return type_ in exp.DOWNSTREAM_TYPES and bool(self.flags & exp.FLAGS_SLOT)
        if register in _ROOT:
            return type_ in (exp.TYPE_ROOT_PORT, exp.TYPE_RC_EVENT_COLLECTOR)
        if register in (exp.DEVCAP2, exp.DEVCTL2):
            return version > 1
        if register in _LINK_2:
            return version > 1 and type_ in _WITH_LINK
        return register < exp.LNKCAP

    def pcie_read(self, register: int, width: int = 2) -> int:
        """pcie_capability_read_word/dword: 0 without an access where it is not implemented, 0 upon errors."""
        if not self.implements(register):
            self.wire.failed = False
            return 0
        value = self.read(self.pcie + register, width)
        return 0 if self.wire.failed else value

    def pcie_write(self, register: int, value: int) -> None:
        """pcie_capability_write_word."""
        if self.implements(register):
            self.write(self.pcie + register, 2, value)

    def pcie_change(self, register: int, clear: int, set_: int) -> None:
        """pcie_capability_clear_and_set_word: one read, one write; no write if the read failed."""
        value = self.pcie_read(register)
        if not self.wire.failed:
            self.pcie_write(register, value & ~clear & 0xFFFF | set_)
