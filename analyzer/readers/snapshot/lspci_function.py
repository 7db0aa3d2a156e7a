"""One function as the text of ``lspci -v`` shows it: the bits of its registers, its capability lists.

lspci follows both lists as they are and prints each capability with its offset: the order says where each
points to, and that the last one printed is the last. A list is whole only as far as the text is: where lines
of a capability stand below the title of another, a title is missing between them, and where the list goes on
from there is unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.readers.snapshot import lspci_lines
from schemas import config_header, extended_capabilities, pcie_capability
from schemas.registers import (
    BUS_NUMBERS,
    CAPABILITY_BASES,
    DEVCAP2,
    DEVCTL2,
    EXTENDED_BASES,
    REGISTERS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.registers import Register

#: lspci reads this much of every function, whatever it then shows.
_HEADER: Final = config_header.HEADER_SIZE
_ONES: Final = 0xFFFFFFFF
#: A dword of which nothing is shown.
_NOTHING: Final = (0, 0, 0, 0)
_TYPE_1: Final = frozenset(pcie_capability.PORT_TYPES)
#: The two bits of ARI Forwarding.
_FORWARDING: Final = ((DEVCAP2, pcie_capability.DEVCAP2_ARI), (DEVCTL2, pcie_capability.DEVCTL2_ARI))
_NUMERIC: Final = re.compile(r"([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})\b")
_CLASS: Final = re.compile(r"[^:[]{1,80} \[([0-9a-f]{4})\]: ")
_IDS: Final = re.compile(r".*\[([0-9a-f]{4}):([0-9a-f]{4})\]")
_NO_NAME: Final = re.compile(r"[^:]{1,80}: Device ([0-9a-f]{4}):([0-9a-f]{4})\b")
_REVISION: Final = re.compile(r"\(rev ([0-9a-f]{2})\)")
#: Classes by name that say where a function sits.
_CLASSES: Final = {"Host bridge:": config_header.CLASS_BRIDGE_HOST, "PCI bridge:": 0x0604}
_BUSES: Final = re.compile(
    r"Bus: primary=([0-9a-f]{2}), secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})\b"
)


class _Entry(NamedTuple):
    """One capability of a list: where it is, its ID and version (None: not known), its line's place."""

    offset: int
    identity: int | None
    version: int | None
    where: int


class FunctionText:
    """What the text shows of one function.

    Args:
        function: its key (see :mod:`analyzer.bdf`).
        first: the rest of its first line, after the address.
        where: place of that line.

    Attributes:
        function, where: as given.
        silent: it reads all ones.
        detailed: lines of ``-v`` follow the first.
        denied: its capabilities are not shown to this user.
        terse: its Express capability has no version, so that there are no details (``-v``).
        lacking: lines that are certainly missing.
        whole: the text goes on after its last line.
        has_extended: an extended capability is shown.
        is_virtual: a virtual function, by the registers of its physical function.
    """

    def __init__(self, function: int, first: str, where: int) -> None:
        self.function, self.where = function, where
        self.silent = self.detailed = self.denied = self.terse = self.whole = self.has_extended = False
        self.is_virtual = False
        self.lacking = 0
        self._dwords: dict[
            int, list[int]
        ] = {}  # offset: value, mask of known bits, of contradicted ones, place
        self._lists: tuple[list[_Entry], list[_Entry]] = ([], [])
        self._headless = False  # a capability before the first is missing
        self._cut = False  # what the last capability of either list leads to is unknown
        self._extended_cut = False  # the same of the extended list alone
        self._links: set[tuple[bool, int]] = set()  # capabilities whose pointer is unknown
        self._layout: int | None = None
        self._identify(first)

    @property
    def current(self) -> _Entry | None:
        """The capability whose lines are being read."""
        entries = self._lists[1] or self._lists[0]
        return entries[-1] if entries else None

    @property
    def in_extended(self) -> bool:
        """Whether that is an extended one."""
        return bool(self._lists[1])

    def put(self, bits: lspci_lines.Bits, where: int, start: int = 0) -> None:
        """Take bits of a register of a capability at ``start``, or of the header."""
        offset = start + bits.offset
        extended = start >= config_header.CONFIG_SIZE
        if offset >= (
            config_header.EXTENDED_CONFIG_SIZE if extended or not start else config_header.CONFIG_SIZE
        ):
            return  # no capability is so long
        shift, offset = 8 * (offset & 3), offset & ~3
        value, mask = bits.value << shift, bits.mask << shift
        dword = self._dwords.setdefault(offset, [0, 0, 0, where])
        dword[2] |= (dword[0] ^ value) & dword[1] & mask
        dword[0] = dword[0] & ~mask | value & mask
        dword[1] |= mask

    def _register(self, register: Register, value: int, where: int) -> None:
        whole = (1 << 8 * register.size) - 1
        self.put(lspci_lines.Bits(register.offset, value, whole), where)

    def _identify(self, first: str) -> None:
        """The first line: class, vendor and device as numbers (``-n``, ``-nn``), revision."""
        header = REGISTERS["HEADER0"]
        numeric = _NUMERIC.match(first)
        kind = numeric or _CLASS.match(first)
        ids = _IDS.match(first) or _NO_NAME.match(first)
        pair = numeric.groups()[1:] if numeric is not None else ids.groups() if ids is not None else ()
        named = next((number for name, number in _CLASSES.items() if first.startswith(name)), None)
        number = int(kind[1], 16) if kind is not None else named
        if number is not None:
            self._register(header[config_header.CLASS_DEVICE], number, self.where)
        if pair:
            vendor, device = (int(number, 16) for number in pair)
            self.put(lspci_lines.Bits(config_header.VENDOR_ID, device << 16 | vendor, _ONES), self.where)
        revision = _REVISION.search(first)
        if revision is not None:
            self._register(header[config_header.REVISION], int(revision[1], 16), self.where)
        self._bridge_class = number == _CLASSES["PCI bridge:"]
        self._cardbus = "CardBus bridge" in first or number == 0x0607

    def odd_header(self, layout: int) -> None:
        """Take the header type that lspci complains about: 7f is all ones."""
        self.detailed = True
        self.silent = layout == config_header.HEADER_TYPE_LAYOUT
        self._layout = layout

    def header_line(self, line: str, where: int) -> None:
        """Take a line of the header; registers among them come through :meth:`put`."""
        self.detailed = True
        buses = _BUSES.match(line)
        if buses is not None and not self._cardbus:
            self._layout = 1
            numbers = sum(int(number, 16) << 8 * place for place, number in enumerate(buses.groups()))
            self.put(lspci_lines.Bits(BUS_NUMBERS.offset, numbers, 0xFFFFFF), where)
        elif line.startswith(("BridgeCtl:", "Secondary status:")) or "behind bridge:" in line:
            self._layout = 2 if self._cardbus else 1

    def capability(self, offset: int, title: str, version: int | None, where: int) -> None:
        """Take the title of a capability; ``offset`` below 0x100 for one of the standard list."""
        self.detailed = True
        extended = offset >= config_header.CONFIG_SIZE
        entries = self._lists[extended]
        identity = lspci_lines.capability_id(title, extended=extended)
        misplaced = offset & 3 or offset < _HEADER or (self.has_extended and not extended)
        misplaced = misplaced or (extended and not entries and offset != config_header.CONFIG_SIZE)
        if misplaced or any(entry.offset == offset for entry in entries):
            self._lose()
            self._cut = True
            return
        self.has_extended = self.has_extended or extended
        entries.append(_Entry(offset, identity, version, where))
        if not extended and identity == pcie_capability.CAP_ID:
            flags = lspci_lines.express(title)
            self.terse = not flags.mask & pcie_capability.FLAGS_VERSION
            self.put(flags, where, offset)
            self._by_type(flags, where, offset)

    def _by_type(self, flags: lspci_lines.Bits, where: int, offset: int) -> None:
        """What follows from the port type: the header's layout, and that ARI Forwarding does not apply.

        lspci shows the bits of root ports and switch downstream ports alone. In a switch upstream port both
        are 0 (PCIe 7.5.3.15, 7.5.3.16). QEMU sets the first in its bridge to PCI: others stay unknown. A type
        that is not known is 0 here, an endpoint's, from which nothing follows.
        """
        kind = (flags.value & pcie_capability.FLAGS_TYPE) >> pcie_capability.FLAGS_TYPE_SHIFT
        if kind in _TYPE_1:
            self._layout = 1
        if kind == pcie_capability.TYPE_UPSTREAM and not self.terse:
            for register, mask in _FORWARDING:
                self.put(lspci_lines.Bits(register.offset, 0, mask), where, offset)

    def broken_list(self, words: str) -> None:
        """Take a capability that lspci could not read, or a list that it gave up."""
        self.detailed = True
        self.denied = self.denied or "denied" in words
        self._cut = True

    def owned(self, label: str) -> bool:
        """Whether a line of that label can belong to the capability that is being read.

        Else the title of its own is missing: where the list goes on is unknown.
        """
        owners = lspci_lines.OWNERS.get(label)
        if owners is None:
            return True
        entry = self.current
        if entry is not None and (entry.identity is None or (self.in_extended, entry.identity) in owners):
            return True
        self._lose()
        if entry is not None:
            self._links.add((self.in_extended, entry.offset))
        self._headless = self._headless or entry is None
        self._cut = self._cut or entry is None
        self._extended_cut = True
        return False

    def lines(self, label: str, text: str, where: int) -> None:
        """Take the lines of one register of the capability that is being read."""
        entry = self.current
        if entry is None:
            return
        base = (EXTENDED_BASES if self.in_extended else CAPABILITY_BASES).get(entry.identity or 0)
        if base is None:
            return
        for register in REGISTERS[base].values():
            # The words of "Flags" stand for two fields each.
            if register.name == label != "Flags" and register.layout is not None:
                self.put(lspci_lines.of_register(register, text), where, entry.offset)
        for bits in lspci_lines.numbers(base, text):
            self.put(bits, where, entry.offset)

    def second_header(self) -> None:
        """Take a line of a header after the capabilities: the first line of another function is missing."""
        self._lose()
        self._cut = True

    def _lose(self) -> None:
        self.lacking += 1

    # --- at the end ---

    def bit(self, offset: int, mask: int) -> int | None:
        """Bits of a dword, None where not all of them are known."""
        value, known, bad, _ = self._dwords.get(offset, _NOTHING)
        return value & mask if known & ~bad & mask == mask else None

    def virtual_functions(self) -> tuple[int, int, int] | None:
        """NumVFs, First VF Offset and VF Stride, if VF Enable is set and all are shown."""
        start = next(
            (one.offset for one in self._lists[1] if one.identity == extended_capabilities.SRIOV_ID), None
        )
        if start is None or not self.bit(
            start + extended_capabilities.SRIOV_CTRL, extended_capabilities.SRIOV_CTRL_VFE
        ):
            return None
        count = self.bit(start + extended_capabilities.SRIOV_NUM_VF, 0xFFFF)
        places = self.bit(start + extended_capabilities.SRIOV_VF_OFFSET, _ONES)
        return None if count is None or places is None else (count, places & 0xFFFF, places >> 16)

    @property
    def is_pcie(self) -> bool | None:
        """Whether it has a PCI Express capability."""
        if any(entry.identity == pcie_capability.CAP_ID for entry in self._lists[0]):
            return True
        no_list = self.bit(config_header.COMMAND, config_header.STATUS_CAP_LIST << 16) == 0
        named = all(entry.identity is not None for entry in self._lists[0])
        shown = bool(self._lists[0]) and named and self._ended(extended=False)
        return False if (no_list or shown) and not self.has_extended else None

    @property
    def has_ari(self) -> bool | None:
        """Whether it has an ARI capability."""
        if any(entry.identity == extended_capabilities.ARI_ID for entry in self._lists[1]):
            return True
        named = all(entry.identity is not None for entry in self._lists[1])
        whole = bool(self._lists[1]) and named and self._ended(extended=True)
        empty = self.bit(config_header.CONFIG_SIZE, _ONES) == 0
        return False if whole or empty or self.is_pcie is False else None

    @property
    def is_no_virtual_function(self) -> bool:
        """Whether it certainly is none: those have no I/O or Memory Space Enable (PCIe 9.3.4.1.3)."""
        enabled = any(self.bit(config_header.COMMAND, bit) for bit in (1, 2))
        return not self.silent and (enabled or self._layout == 1 or self.is_pcie is False)

    def _ended(self, *, extended: bool) -> bool:
        known = not any(side == extended for side, _ in self._links)
        return self.whole and known and not self._cut and not (extended and self._extended_cut)

    def close(self, *, extended_is_shown: bool) -> None:
        """Turn the order of the lists into pointers.

        Args:
            extended_is_shown: lspci could read extended space on this machine: a function without an extended
                capability has none.
        """
        if self.silent:
            return
        if self.has_extended and self.is_pcie is not True:
            self._lose()  # lspci follows the extended list of PCI Express functions alone
            self._cut = True
            self._links |= {(False, entry.offset) for entry in self._lists[0]}
        layout = self._layout
        if layout is None and self.detailed:
            layout = 1 if self._bridge_class else 2 if self._cardbus else 0
        if layout is not None:
            bits = lspci_lines.Bits(config_header.HEADER_TYPE, layout, config_header.HEADER_TYPE_LAYOUT)
            self.put(bits, self.where)
        self._point_standard()
        self._point_extended()
        if self.is_pcie and not self.has_extended and extended_is_shown and self._ended(extended=True):
            self.put(lspci_lines.Bits(config_header.CONFIG_SIZE, 0, _ONES), self.where)

    def _point_standard(self) -> None:
        entries = self._lists[0]
        if not entries:
            return
        has_list = config_header.STATUS_CAP_LIST
        self.put(lspci_lines.Bits(config_header.STATUS, has_list, has_list), self.where)
        if not self._headless:
            self.put(lspci_lines.Bits(config_header.CAPABILITIES, entries[0].offset, 0xFC), self.where)
        for number, entry in enumerate(entries):
            value, mask = entry.identity or 0, 0 if entry.identity is None else 0xFF
            following = self._next(number, extended=False)
            if following is not None:
                value, mask = value | following << 8, mask | 0xFC00
            self.put(lspci_lines.Bits(0, value, mask), entry.where, entry.offset)

    def _point_extended(self) -> None:
        for number, entry in enumerate(self._lists[1]):
            value, mask = entry.identity or 0, 0 if entry.identity is None else 0xFFFF
            if entry.version is not None:
                value, mask = value | entry.version << 16, mask | 0xF0000
            following = self._next(number, extended=True)
            if following is not None:
                value, mask = value | following << 20, mask | 0xFFC00000
            self.put(lspci_lines.Bits(0, value, mask), entry.where, entry.offset)

    def _next(self, number: int, *, extended: bool) -> int | None:
        """Where a list goes on from one of its capabilities: 0 if it ends there, None if that is unknown."""
        entries = self._lists[extended]
        if (extended, entries[number].offset) in self._links:
            return None
        if number + 1 < len(entries):
            return entries[number + 1].offset
        return 0 if self._ended(extended=extended) else None

    def set_multifunction(self) -> None:
        """Note that the function is one of several of its device."""
        bit = config_header.HEADER_TYPE_MULTIFUNCTION
        self.put(lspci_lines.Bits(config_header.HEADER_TYPE, bit, bit), self.where)

    def set_virtual(self) -> None:
        """Note that it is a virtual function: lspci shows the kernel's IDs, the register reads all ones."""
        self.is_virtual = True
        self._dwords[config_header.VENDOR_ID] = [_ONES, _ONES, 0, self.where]

    def reads(self) -> NDArray[np.int64]:
        """Offset, value, mask of known bits and place of each dword that was read, offsets ascending."""
        unread = (_ONES, _ONES, 0, self.where) if self.silent else (0, 0, 0, self.where)
        offsets = sorted({*range(0, _HEADER, 4), *(() if self.silent else self._dwords)})
        found = np.empty((4, len(offsets)), np.int64)
        for row, offset in enumerate(offsets):
            value, known, bad, where = unread if self.silent else self._dwords.get(offset, unread)
            known &= ~bad
            found[:, row] = offset, value & known, known, where
        return found
