"""Topologies: which devices the guest has, where, and at which addresses the firmware shows them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.errors import UsageError
from analyzer.lab import data_files
from analyzer.lab.platforms import Q35

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.lab.data_files import Table
    from analyzer.lab.platforms import Platform

_SWITCH_PORT = {"CAP_EXP": 0x90, "CAP_MSI": 0x70, "ECAP_AER": 0x100}
#: Where QEMU's models have their capabilities, as lspci shows them in the guest (hw/pci-bridge:
#: gen_pcie_root_port.c, xio3130_upstream.c and xio3130_downstream.c; hw/nvme/ctrl.c).
CAPABILITIES = {
    "pcie-root-port": {"CAP_EXP": 0x54, "CAP_MSIX": 0x48, "ECAP_AER": 0x100, "ECAP_ACS": 0x148},
    "x3130-upstream": _SWITCH_PORT,
    "xio3130-downstream": _SWITCH_PORT,
    "nvme": {"CAP_EXP": 0x80, "CAP_MSIX": 0x40, "ECAP_SRIOV": 0x120},
    "e1000e": {"CAP_EXP": 0xE0, "CAP_MSI": 0xD0, "CAP_MSIX": 0xA0},
    "virtio-net-pci": {"CAP_EXP": 0x40, "CAP_MSIX": 0xDC, "ECAP_ATS": 0x148},
}
_BDF = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")


@dataclass(frozen=True)
class Device:
    """One ``-device`` of QEMU.

    Attributes:
        name: its id.
        model: QEMU's name of the device model.
        bdf: where SeaBIOS and Linux show it; None for what is no PCI function.
        above: name of the port it sits below, or None (root bus, or no PCI function).
        options: the rest of the argument.
    """

    name: str
    model: str
    bdf: str | None
    above: str | None
    options: str

    @property
    def argument(self) -> str:
        """The value of QEMU's ``-device``."""
        bus = f",bus={self.above or 'pcie.0'}" if self.bdf else ""
        return f"{self.model},id={self.name}{bus}" + (f",{self.options}" if self.options else "")


@dataclass(frozen=True)
class GuestTopology:
    """The devices of a guest, ports before what is below them.

    Attributes:
        functions: every function that a kernel which misses nothing enumerates, sorted.
    """

    name: str
    title: str
    devices: tuple[Device, ...]
    functions: tuple[str, ...]

    def device(self, bdf: str) -> Device:
        """Return the device at that address.

        Raises:
            UsageError: there is none.
        """
        for device in self.devices:
            if device.bdf == bdf:
                return device
        raise UsageError(f"topology {self.name} has nothing at {bdf}")

    def with_bridges_above(self, endpoints: Iterable[str]) -> list[str]:
        """Return the endpoints and every bridge above them, sorted.

        Raises:
            UsageError: an address where the topology has nothing.
        """
        by_name = {device.name: device for device in self.devices}
        found = set()
        for bdf in endpoints:
            device: Device | None = self.device(bdf)
            while device is not None:
                found.add(device.bdf or "")
                device = by_name.get(device.above or "")
        return sorted(found)

    def models(self) -> frozenset[str]:
        """Return the device models that the QEMU must have."""
        return frozenset(device.model for device in self.devices)


def load(name: str, platform: Platform = Q35) -> GuestTopology:
    """Read a topology of the package.

    Args:
        name: of its file.
        platform: the machine that it is built into.

    Raises:
        UsageError: no such file, or one that contradicts itself.
    """
    table = data_files.read("topologies", name)
    title = table.take("title", str)
    devices: list[Device] = []
    for entry in table.tables("devices"):
        devices.append(_device(entry, devices))
    hidden = table.strings("unreachable")
    table.end()
    shown = {device.bdf for device in devices if device.bdf} - set(hidden)
    return GuestTopology(name, title, tuple(devices), tuple(sorted({*platform.functions, *shown})))


def _device(table: Table, earlier: list[Device]) -> Device:
    name, model = table.take("name", str), table.take("model", str)
    bdf, above = table.take("bdf", str, ""), table.take("above", str, "")
    options = table.take("options", str, "")
    table.end()
    if bdf and not _BDF.fullmatch(bdf):
        raise UsageError(f"expected an address dddd:bb:dd.f, found {bdf!r}", path=table.where)
    if bdf and any(device.bdf == bdf for device in earlier):
        raise UsageError(f"two devices at {bdf}", path=table.where)
    if any(device.name == name for device in earlier):
        raise UsageError(f"two devices named {name}", path=table.where)
    if above and not any(device.name == above for device in earlier):
        raise UsageError(f"{name} is below {above}, which comes later or never", path=table.where)
    return Device(name, model, bdf or None, above or None, options)
