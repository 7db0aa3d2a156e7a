"""A function of one boot put together from a few accesses, for tests of one rule at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from analyzer.observed.registers.functions import BusNumbers
from analyzer.observed.registers.samples import Sample
from analyzer.results import Evidence
from schemas import extended_capabilities, pcie_capability
from schemas.registers import BASE_IDS, Register

#: Where the hand-made functions have their capabilities.
PM, EXP, AER, DPC, ACS, SRIOV = 0x40, 0x80, 0x100, 0x150, 0x200, 0x240


class Access(NamedTuple):
    """One access: read or write, offset, width in bytes, value (None: nobody answered)."""

    op: str
    offset: int
    width: int
    value: int | None
    failed: bool = False


def read(offset: int, width: int, value: int | None) -> Access:
    return Access("read", offset, width, value)


def write(offset: int, width: int, value: int, *, failed: bool = False) -> Access:
    return Access("write", offset, width, value, failed)


@dataclass
class View:
    """Accesses in rows 100, 110, 120, ..."""

    listed: tuple[Access, ...]
    known: np.ndarray | None = None  # every bit of every value is

    @property
    def accesses(self) -> View:
        return self

    @property
    def rows(self) -> np.ndarray:
        return np.arange(len(self.listed)) * 10 + 100

    @property
    def offsets(self) -> np.ndarray:
        return np.array([access.offset for access in self.listed])

    @property
    def values(self) -> np.ndarray:
        return np.array([0xFFFFFFFF if access.value is None else access.value for access in self.listed])

    @property
    def writes(self) -> np.ndarray:
        return np.array([access.op == "write" for access in self.listed], dtype=bool)

    @property
    def absent(self) -> np.ndarray:
        return np.array([access.value is None for access in self.listed], dtype=bool)

    @property
    def widths(self) -> np.ndarray:
        return np.array([access.width for access in self.listed], dtype=np.uint8)

    @property
    def live(self) -> np.ndarray:
        """As :meth:`analyzer.observed.batches.Batch.live`."""
        ones = (self.values == 0xFFFFFFFF) | ((self.values == 0xFFFF) & (self.widths != 4))
        return ~self.writes & ~self.absent & ~ones

    def samples(self, start: int, size: int) -> list[Sample]:
        found = []
        for row, (op, offset, width, value, failed) in zip(self.rows.tolist(), self.listed, strict=True):
            low, high = max(start, offset), min(start + size, offset + width)
            if low >= high:
                continue
            mask = ((1 << 8 * (high - low)) - 1) << 8 * (low - start)
            dead = failed or value is None or (op == "read" and value == (1 << 8 * width) - 1)
            shown = (0 if value is None else value) >> 8 * (low - offset) << 8 * (low - start) & mask
            found.append(Sample(row, op == "write", shown, mask, dead, failed or value is None))
        return found


@dataclass
class Capabilities:
    standard: dict[int, int]
    extended: dict[int, int]


@dataclass
class Part:
    """What the rules read of :class:`analyzer.observed.registers.functions.Function`."""

    accesses: tuple[Access, ...] = ()
    function: int = 0x0200
    pcie: int | None = EXP
    pcie_type: int | None = pcie_capability.TYPE_UPSTREAM
    is_bridge: bool = True
    numbers: tuple[int, int, int] | None = None
    scans: tuple[int, ...] = (0,)
    latched: bool = True  # nothing is skipped
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities(
            {0x01: PM, 0x10: EXP},
            {
                extended_capabilities.AER_ID: AER,
                extended_capabilities.DPC_ID: DPC,
                extended_capabilities.ACS_ID: ACS,
                extended_capabilities.SRIOV_ID: SRIOV,
            },
        )
    )

    @cached_property
    def view(self) -> View:
        return View(self.accesses)

    def start_of(self, base: str) -> int | None:
        if base == "CAP_EXP":
            return self.pcie
        if base not in BASE_IDS:
            return 0
        extended, number = BASE_IDS[base]
        return (self.capabilities.extended if extended else self.capabilities.standard).get(number)

    def accesses_to(self, register: Register) -> list[Sample]:
        start = self.start_of(register.base)
        return [] if start is None else self.view.samples(start + register.offset, register.size)

    @property
    def first_bus_numbers(self) -> BusNumbers | None:
        return None if self.numbers is None else BusNumbers(*self.numbers, row=5)

    def first(self, register: Register, bits: int | None = None) -> tuple[int, int] | None:
        del bits  # every bit of what is read here is known
        start = self.start_of(register.base)
        for row, access in zip(self.view.rows.tolist(), self.accesses, strict=True):
            at_it = start is not None and access.offset == start + register.offset
            if access.op == "read" and access.value is not None and at_it:
                return access.value & (1 << 8 * register.size) - 1, row
        return None

    def value(self, register: Register, bits: int | None = None) -> int | None:
        known = self.first(register, bits)
        return None if known is None else known[0]


class PlainEvidence:
    """Evidence that holds a row, a register as it is named, and a note."""

    def access(self, row: int, register: Register, note: str, function: Part) -> Evidence:
        start = function.start_of(register.base)
        name = f"{register.base} behind {start:#x}" if start else register.name
        return Evidence(row, "", None, None, None, None, f"{name}, {register.size} bytes", None, note)

    def number(self, row: int | None) -> int | None:
        return row


def shown(evidence: list[Evidence]) -> list[tuple[int | None, str | None, str]]:
    return [(item.access, item.register, item.note) for item in evidence]
