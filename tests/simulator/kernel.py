"""A Linux kernel as seen from the config bus: what it is told, what it finds, what it does next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from simulator import kernel_after_scan, kernel_early
from simulator.kernel_scan import scan_bus
from simulator.kernel_setup import KernelPanicError
from simulator.pci_access import Bus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.pci_access import Device
    from simulator.recorder import Recorder

Policy = Literal["stock", "inherit", "serialize", "heal"]
Series = Literal["v4", "v5", "v6", "v7", "v8", "v9"]

_HANDOVER = "KHO: found kexec handover data."


@dataclass(eq=False)
class Kernel:
    """One kernel: its configuration, and after :meth:`boot` what it found.

    Attributes:
        policy: how it decides ARI on preserved bridges; ``serialize`` (restoring) and ``heal`` exist in no
            kernel.
        series: version of the Live Update patches (bus-number and ACS rules).
        preserved: functions handed over by the kernel before, bridges included, taken as they are
            (:meth:`simulator.Machine.with_bridges` adds the bridges). Empty also stands for data that
            this kernel cannot match.
        noari, scan_all, assign_busses: ``pci=noari``, ``pci=pcie_scan_all``, ``pci=assign-busses``.
        isolated_functions: the platform hands out functions one by one (s390, LoongArch, Jailhouse).
        flb_version: version of the handed-over data if it is not the one that this kernel knows: series v8
            and v9 panic over it.
        saved: bridge -> ARI state handed over (``serialize`` only).
        release: kernel release, for the log.
        aspm: CONFIG_PCIEASPM (the LTR step, ASPM set-up of links).
        iommu: ACS is switched on where it is implemented.
        adopts_acs: it has the patch of its series for ACS Control (the lab's kernels have not).
        native_aer: the kernel handles PCIe errors, so that it reads and clears their status at scan; else
            firmware does (``_OSC``).
        keeps_bus_master: the shutdown leaves Bus Master on for preserved devices (series, patch 12).
        quirks: x86 early quirks, ECAM probing and ACPI's interrupt links come before the scan.
        drivers: bind drivers (ports, endpoints) after the scan.
        edac: a distribution's EDAC sweep after the scan.
        peers: last bus number of the probe for forgotten root buses (255 on a real PC, 0 for none).
        enumerated: functions that the scan of this boot found, in order of address.
        scan_rows: rows of the recording from the first vendor read of the scan to the last saved state.
        hardware: address -> name of the hardware function that was found there (they differ where bus numbers
            have changed).
        devices: ``struct pci_dev`` of everything known now, in discovery order.
        incoming: preserved functions not yet finished.
        outgoing: functions to hand over to the next kernel.
    """

    policy: Policy = "stock"
    series: Series = "v9"
    preserved: Iterable[str] = frozenset()
    noari: bool = False
    scan_all: bool = False
    assign_busses: bool = False
    isolated_functions: bool = False
    flb_version: int | None = None
    saved: Mapping[str, bool] = field(default_factory=dict)
    release: str = "7.3.4"
    aspm: bool = True
    iommu: bool = False
    adopts_acs: bool = True
    native_aer: bool = True
    keeps_bus_master: bool = False
    quirks: bool = True
    drivers: bool = True
    edac: bool = False
    peers: int = 0

    def __post_init__(self) -> None:
        if self.series not in get_args(Series):
            raise ValueError(f"expected one of {', '.join(get_args(Series))}, found {self.series!r}")
        self.incoming: frozenset[str] = frozenset(self.preserved)
        self.outgoing: frozenset[str] = frozenset()
        self.enumerated: list[str] = []
        self.hardware: dict[str, str] = {}
        self.scan_rows = range(0)
        self.devices: list[Device] = []
        self.buses: dict[tuple[int, int], Bus] = {}
        self.roots: list[Bus] = []
        self._wire: Recorder | None = None

    @property
    def acs_series(self) -> Series | None:
        """The series whose rule for ACS Control it follows, None for the stock rule."""
        return self.series if self.policy != "stock" and self.adopts_acs else None

    @property
    def wire(self) -> Recorder:
        """Where its config requests go.

        Raises:
            RuntimeError: it was never booted.
        """
        if self._wire is None:
            raise RuntimeError("this kernel was never booted")
        return self._wire

    @property
    def cmdline(self) -> str:
        """Its command line."""
        pci = {
            "noari": self.noari,
            "pcie_scan_all": self.scan_all,
            "assign-busses": self.assign_busses,
        }
        options = [name for name, given in pci.items() if given]
        return "console=ttyS0" + (f" pci={','.join(options)}" if options else "")

    def boot(self, wire: Recorder) -> None:
        """Run from the first config access to bound drivers."""
        self._wire = wire
        self.say(f"Linux version {self.release}")
        self.say(f"Command line: {self.cmdline}")
        if self.incoming:
            self.say(_HANDOVER)
        if self.quirks:
            kernel_early.early_accesses(self)
        first = len(wire.rows)
        for domain, number in sorted(wire.machine.roots):
            root = Bus(domain, number)
            self.buses[domain, number] = root
            self.roots.append(root)
            try:
                scan_bus(self, root)
            except KernelPanicError:
                return
            kernel_after_scan.add_devices(self, root)
        self.scan_rows = range(first, len(wire.rows))
        for device in self.devices:
            name = wire.machine.who(device.bus.domain, device.bus.number, device.devfn)
            self.hardware[device.name] = name or device.name
        self.enumerated = sorted(self.hardware, key=_by_address)
        kernel_after_scan.settle(self)

    def say(self, text: str) -> None:
        """Print a line to the kernel log."""
        self.wire.say(text)

    def find_bus(self, domain: int, number: int) -> Bus | None:
        """pci_find_bus."""
        return self.buses.get((domain, number))

    def device(self, name: str) -> Device:
        """The device at an address.

        Raises:
            KeyError: this kernel has none there.
        """
        for device in self.devices:
            if device.name == name:
                return device
        raise KeyError(name)

    def finish(self) -> None:
        """The Live Update session is finished: nothing is incoming any more."""
        self.incoming = frozenset()
        for device in self.devices:
            if device.incoming:
                self.say(f"pci {device.name}: Device is finished participating in Live Update")
            device.incoming = False


def _by_address(name: str) -> tuple[int, str]:
    domain, _, rest = name.partition(":")
    return int(domain, 16), rest
