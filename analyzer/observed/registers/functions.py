"""What the accesses of one boot say about one function. Values that they do not show are None."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.observed.registers.samples import RegisterView
from schemas import config_header
from schemas.inherited_state import INHERITED
from schemas.state_watch import WATCHED_BASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analyzer.observed.batches import Accesses
    from analyzer.observed.registers.capability_lists import Capabilities
    from analyzer.observed.registers.samples import OfRuns, Sample
    from schemas.registers import Register

#: Registers that are read of every function at once, because every kexec asks for them.
INHERITED_REGISTERS = tuple(dict.fromkeys(state.register for state in INHERITED))
_PLACES = {register: place for place, register in enumerate(INHERITED_REGISTERS)}


@dataclass(frozen=True)
class BusNumbers:
    """Primary, secondary and subordinate bus of a bridge, and the row that showed or set them."""

    primary: int
    secondary: int
    subordinate: int
    row: int = field(compare=False)

    def broken_on(self, bus: int) -> bool:
        """Whether pass 0 of a scan of ``bus`` calls them broken.

        Linux 7.3 pci_scan_bridge_extend: the primary number differs from the bus it sits on (a primary
        hard-wired to 0 with other numbers set is excused), the secondary is not above it, or above the
        subordinate.
        """
        hard_wired = self.primary == 0 and bus != 0 and self.secondary != 0 and self.subordinate != 0
        wrong_primary = self.primary != bus and not hard_wired
        return wrong_primary or self.secondary <= bus or self.secondary > self.subordinate


@dataclass(slots=True, eq=False)
class Function:
    """One function in one boot.

    Attributes:
        function: its key (see :mod:`analyzer.bdf`).
        vendor_device: ``vvvv:dddd``.
        header_type: header type byte; None if its layout is not known.
        multifunction: its bit 7, which may be unknown where the layout is known (0 in ``header_type`` then).
        is_bridge: a type 1 header (PCI-to-PCI bridge, PCIe port).
        capabilities: capability lists as far as this boot's reads follow them.
        pcie: offset of the PCI Express capability.
        is_pcie: whether it has one; None if its list was not followed to the end.
        pcie_flags: PCI Express capabilities register; at least its low byte is known.
        pcie_type: device/port type (its bits 7:4; the low byte is enough to know it).
        ari_supported: DEVCAP2 bit 5, ARI Forwarding Supported; False without DEVCAP2 (version 1).
        ari: offset of the ARI extended capability.
        has_ari: whether it has one; None if its extended list was not followed to the end.
        next_function: Next Function Number of its ARI capability (0 ends the chain).
        first_bus_numbers: a bridge's bus numbers as this boot first read them, before its own writes.
        bus_numbers: a bridge's bus numbers that this boot last used: the last state with a secondary bus.
        latched: an error bit is set in the first answered read of a register of
            :data:`schemas.error_status.READ_AT_SCAN`.
        scans: rows of the vendor reads by which this boot's scans discovered it (empty: never enumerated).
        silent: a snapshot lists it, and every byte reads ff: powered down, or off the bus. Nothing else is
            known of it.
    """

    function: int
    vendor_device: str | None
    header_type: int | None
    multifunction: bool | None
    capabilities: Capabilities
    pcie: int | None
    is_pcie: bool | None
    pcie_flags: int | None
    pcie_type: int | None
    ari_supported: bool | None
    ari: int | None
    has_ari: bool | None
    next_function: int | None
    first_bus_numbers: BusNumbers | None
    bus_numbers: BusNumbers | None
    latched: bool
    _run: int
    _samples: Sequence[OfRuns]
    _accesses: Callable[[], Accesses]
    is_bridge: bool = False
    scans: list[int] = field(default_factory=list)
    silent: bool = False
    _view: RegisterView | None = None
    _known: dict[int, list[Sample]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.header_type is not None:
            self.is_bridge = self.header_type & 0x7F == 1

    @property
    def bus(self) -> int:
        """Bus key ``domain << 8 | bus``."""
        return self.function >> 8

    @property
    def devfn(self) -> int:
        """Device and function number."""
        return self.function & 0xFF

    @property
    def view(self) -> RegisterView:
        """Its accesses in this boot."""
        if self._view is None:
            self._view = RegisterView(self.function, self._accesses())
        return self._view

    @property
    def devcap2(self) -> list[Sample]:
        """Of a bridge every access of this boot that shows DEVCAP2."""
        return self._samples_of(0)

    def _samples_of(self, place: int) -> list[Sample]:
        """Of DEVCAP2 (place 0) or the inherited registers after it: made when they are first asked for."""
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._samples[place].samples(self._run)
        return known

    def start_of(self, base: str) -> int | None:
        """Offset that a base of :mod:`schemas.registers` counts from; None: no such capability is known."""
        if base in WATCHED_BASES:
            extended, number = WATCHED_BASES[base]
            return (self.capabilities.extended if extended else self.capabilities.standard).get(number)
        unknown = self.header_type is None
        return 0 if unknown or self.is_bridge == (base == "HEADER1") else None

    def accesses_to(self, register: Register) -> list[Sample]:
        """Every access of this boot that shows or changes some of a register."""
        place = _PLACES.get(register)
        if place is not None:
            return self._samples_of(1 + place)
        start = self.start_of(register.base)
        return [] if start is None else self.view.samples(start + register.offset, register.size)

    def first(self, register: Register, bits: int | None = None) -> tuple[int, int] | None:
        """A register as the first answered reads show it (value, row), or None.

        The row is that of the read which completes it (see
        :class:`analyzer.observed.registers.first_reads.FirstReads`, also for ``bits``).
        """
        start = self.start_of(register.base)
        return None if start is None else self.register(start + register.offset, register.size, bits)

    def value(self, register: Register, bits: int | None = None) -> int | None:
        """The value alone."""
        known = self.first(register, bits)
        return None if known is None else known[0]

    def register(self, offset: int, size: int, bits: int | None = None) -> tuple[int, int] | None:
        """The same for the 1, 2 or 4 bytes at an offset."""
        return self.view.register(offset, size, bits)

    def bus_number_samples(self) -> list[Sample]:
        """Every access of this boot that shows or changes the bus-number dword at 0x18."""
        return self.view.samples(config_header.PRIMARY_BUS, 4)
