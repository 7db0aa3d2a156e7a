"""The registers of one function, worked out the plain way: one access after the other.

A second, deliberately naive implementation to compare :mod:`analyzer.observed.registers.reading` with, which
works on the columns of many captures at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from analyzer.observed.registers.samples import Sample


class Access(NamedTuple):
    row: int
    write: bool
    offset: int
    width: int
    value: int
    absent: bool
    failed: bool


def sample(access: Access, start: int, size: int) -> Sample | None:
    """One access as a register sees it."""
    width = access.width
    if width == 0:
        width = 1 if access.value <= 0xFF else 2 if access.value <= 0xFFFF else 4
        if access.offset == start:
            width = max(width, size)
    shown = {
        access.offset + byte - start: access.value >> 8 * byte & 0xFF
        for byte in range(width)
        if start <= access.offset + byte < start + size
    }
    if not shown:
        return None
    ones = (0xFFFFFFFF if access.value > 0xFFFF else 0xFFFF) if access.width == 0 else (1 << 8 * width) - 1
    silent = not access.write and (access.absent or access.value == ones)
    return Sample(
        access.row,
        access.write,
        sum(value << 8 * byte for byte, value in shown.items()),
        sum(0xFF << 8 * byte for byte in shown),
        access.failed or silent,
        access.failed,
    )


def samples(accesses: list[Access], start: int, size: int) -> list[Sample]:
    return [one for access in accesses if (one := sample(access, start, size)) is not None]


class Reads:
    """The answered reads of one function, in order."""

    def __init__(self, accesses: list[Access]) -> None:
        self.reads = []
        for access in accesses:
            ones = access.value == 0xFFFFFFFF or (access.value == 0xFFFF and access.width != 4)
            if not (access.write or access.absent or access.failed or ones):
                self.reads.append(access)

    def whole(self, offset: int, size: int) -> Access | None:
        """The first aligned read that certainly shows all of a register (of a byte: any that shows it)."""
        for access in self.reads:
            aligned = size == 1 or (extent(access) != 3 and access.offset % extent(access) == 0)
            if aligned and access.offset <= offset and offset + size <= access.offset + extent(access):
                return access
        return None

    def certain(self, offset: int, size: int) -> int | None:
        """What such a read shows, else what the halves of the register give."""
        access = self.whole(offset, size)
        if access is not None:
            return access.value >> 8 * (offset - access.offset) & (1 << 8 * size) - 1
        if size == 1:
            return None
        low, high = self.certain(offset, size // 2), self.certain(offset + size // 2, size // 2)
        return None if low is None or high is None else low | high << 4 * size

    def assumed(self, offset: int, size: int) -> Access | None:
        """The first read of unknown width that begins there, if it is the first of its extent there."""
        found = []
        for few in range(1, size):
            for access in self.reads:
                odd = extent(access) == 3 or access.offset % extent(access) != 0
                shows = access.offset <= offset < access.offset + extent(access)
                if (few == 1 and odd and shows) or (
                    not odd and extent(access) == few and access.offset == offset - offset % few
                ):
                    if access.width == 0 and access.offset == offset:
                        found.append(access)
                    break
        return min(found, key=lambda access: access.row) if found else None

    def value(self, offset: int, size: int) -> int | None:
        if offset + size > 4096:
            return None
        whole, certain, assumed = (find(offset, size) for find in (self.whole, self.certain, self.assumed))
        if assumed is None or (whole is not None and whole.row < assumed.row):
            return certain
        if whole is None and certain is not None:
            return certain
        return assumed.value & (1 << 8 * size) - 1


def extent(access: Access) -> int:
    """Bytes that a read certainly shows."""
    return access.width or (1 if access.value <= 0xFF else 2 if access.value <= 0xFFFF else 4)


def first_bus_numbers(accesses: list[Access]) -> tuple[int, int, int, int] | None:
    """Primary, secondary, subordinate and the row that completed them; before the first write."""
    known: dict[int, int] = {}
    for one in samples(accesses, 0x18, 4):
        if one.write:
            return None
        if one.dead:
            continue
        for byte in range(3):
            if one.mask >> 8 * byte & 1:
                known.setdefault(byte, one.value >> 8 * byte & 0xFF)
        if len(known) == 3:
            return known[0], known[1], known[2], one.row
    return None


def last_bus_numbers(accesses: list[Access]) -> tuple[int, int, int, int] | None:
    known: dict[int, int] = {}
    used = None
    for one in samples(accesses, 0x18, 4):
        if one.dead:
            continue
        for byte in range(3):
            if one.mask >> 8 * byte & 1:
                known[byte] = one.value >> 8 * byte & 0xFF
        if len(known) == 3 and known[1]:
            used = known[0], known[1], known[2], one.row
    return used


def standard(reads: Reads) -> tuple[dict[int, int], bool]:
    found: dict[int, int] = {}
    at = reads.value(0x34, 1)
    if at is None:
        return found, False
    at &= 0xFC
    for _ in range(48):
        if at < 0x40:
            return found, True
        entry, identity = reads.value(at, 2), reads.value(at, 1)
        if entry is not None:
            identity = entry & 0xFF
        if identity == 0xFF:
            return found, entry is not None
        if identity is not None:
            found.setdefault(identity, at)
        if entry is None:
            return found, False
        at = entry >> 8 & 0xFC
    return found, True


def extended(accesses: list[Access], reads: Reads) -> tuple[dict[int, int], bool]:
    found: dict[int, int] = {}
    asked = [one for one in accesses if not one.write and one.offset == 0x100]
    if asked and all(one.absent or one.failed or one.value == 0xFFFFFFFF for one in asked):
        return found, True
    if reads.value(0x100, 4) == 0xFFFFFFFF:
        return found, True
    heads = [reads.value(at, 4) for at in (0, 0x100, 0x200)]
    if None not in heads and len(set(heads)) == 1:
        return found, True
    at = 0x100
    for _ in range(480):
        header, identity = reads.value(at, 4), reads.value(at, 2)
        if header is not None:
            identity = header & 0xFFFF
        if header == 0:
            return found, True
        if identity is not None:
            found.setdefault(identity, at)
        if header is None:
            return found, False
        at = header >> 20 & 0xFFC
        if at < 0x100:
            return found, True
    return found, True


def facts(accesses: list[Access]) -> dict[str, Any]:
    """What :class:`analyzer.observed.registers.functions.Function` says of the same accesses."""
    reads = Reads(accesses)
    (caps, caps_end), (more, more_end) = standard(reads), extended(accesses, reads)
    vendor, device, header, status = (reads.value(*at) for at in ((0, 2), (2, 2), (0x0E, 1), (0x06, 1)))
    pcie, ari = caps.get(0x10), more.get(0x0E)
    is_pcie = True if pcie else False if caps_end or (status is not None and not status & 0x10) else None
    flags, kind, devcap2 = (
        None if pcie is None else reads.value(pcie + offset, size)
        for offset, size in ((2, 2), (2, 1), (0x24, 1))
    )
    old = is_pcie is False or (kind is not None and kind & 0xF < 2)
    chain = None if ari is None else reads.value(ari + 4, 2)
    following = None if ari is None else reads.value(ari + 5, 1) if chain is None else chain >> 8
    perhaps_bridge = header is None or header & 0x7F == 1
    return {
        "vendor_device": None if vendor is None or device is None else f"{vendor:04x}:{device:04x}",
        "header_type": header,
        "is_bridge": header is not None and header & 0x7F == 1,
        "capabilities": (caps, more, caps_end, more_end),
        "pcie": pcie,
        "is_pcie": is_pcie,
        "pcie_flags": flags,
        "pcie_type": None if kind is None else kind >> 4,
        "ari_supported": False if old else None if devcap2 is None else bool(devcap2 & 0x20),
        "ari": ari,
        "has_ari": True if ari else False if is_pcie is False or more_end else None,
        "next_function": following,
        "first_bus_numbers": first_bus_numbers(accesses) if perhaps_bridge else None,
        "bus_numbers": last_bus_numbers(accesses) if perhaps_bridge else None,
        "devcap2": samples(accesses, pcie + 0x24, 4) if pcie and perhaps_bridge else [],
        "devctl": samples(accesses, pcie + 0x08, 2) if pcie else [],
        "devctl2": samples(accesses, pcie + 0x28, 2) if pcie else [],
        "command": samples(accesses, 0x04, 2) if perhaps_bridge else [],
        "acs_control": samples(accesses, more[0x0D] + 6, 2) if 0x0D in more else [],
        "sriov_control": samples(accesses, more[0x10] + 8, 2) if 0x10 in more else [],
    }
