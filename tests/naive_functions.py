"""The registers of one function, worked out the plain way: one access after the other.

A second, deliberately naive implementation to compare :mod:`analyzer.registers.reading` with, which works on
the columns of many captures at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from analyzer.registers.samples import Sample


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


def first_reads(accesses: list[Access]) -> dict[int, Access]:
    """The first answered read at each offset."""
    found: dict[int, Access] = {}
    for access in accesses:
        ones = access.value == 0xFFFFFFFF or (access.value == 0xFFFF and access.width != 4)
        if not (access.write or access.absent or access.failed or ones):
            found.setdefault(access.offset, access)
    return found


def value(reads: dict[int, Access], offset: int) -> int | None:
    if offset in reads:
        return reads[offset].value
    dword = reads.get(offset & ~3)
    if dword is None or not (dword.width == 4 or dword.value > 0xFFFF):
        return None
    return dword.value >> 8 * (offset & 3)


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


def standard(reads: dict[int, Access]) -> tuple[dict[int, int], bool]:
    found: dict[int, int] = {}
    if 0x34 not in reads:
        return found, False
    at = reads[0x34].value & 0xFC
    for _ in range(48):
        if at < 0x40:
            return found, True
        if at not in reads:
            return found, False
        entry = reads[at].value
        if entry & 0xFF == 0xFF:
            return found, True
        found.setdefault(entry & 0xFF, at)
        following = entry >> 8 & 0xFF
        if entry <= 0xFF and at + 1 in reads:
            following = reads[at + 1].value & 0xFF
        at = following & 0xFC
    return found, True


def extended(accesses: list[Access], reads: dict[int, Access]) -> tuple[dict[int, int], bool]:
    found: dict[int, int] = {}
    asked = [one for one in accesses if not one.write and one.offset == 0x100]
    if asked and all(one.absent or one.failed or one.value == 0xFFFFFFFF for one in asked):
        return found, True
    heads = [reads[at].value for at in (0, 0x100, 0x200) if at in reads]
    if len(heads) == 3 and len(set(heads)) == 1:
        return found, True
    at = 0x100
    for _ in range(480):
        if at not in reads:
            return found, False
        header = reads[at].value
        if header == 0:
            return found, True
        found.setdefault(header & 0xFFFF, at)
        at = header >> 20 & 0xFFC
        if at < 0x100:
            return found, True
    return found, True


def facts(accesses: list[Access]) -> dict[str, Any]:
    """What :class:`analyzer.registers.functions.Function` says of the same accesses."""
    reads = first_reads(accesses)
    (caps, caps_end), (more, more_end) = standard(reads), extended(accesses, reads)
    vendor, header, status = value(reads, 0), value(reads, 0x0E), value(reads, 0x06)
    device = None if vendor is None else vendor >> 16 if vendor > 0xFFFF else value(reads, 2)
    pcie, ari = caps.get(0x10), more.get(0x0E)
    is_pcie = True if pcie else False if caps_end or (status is not None and not status & 0x10) else None
    flags = None if pcie is None else value(reads, pcie + 2)
    devcap2 = None if pcie is None else value(reads, pcie + 0x24)
    old = is_pcie is False or (flags is not None and flags & 0xF < 2)
    chain = None if ari is None else value(reads, ari + 4)
    perhaps_bridge = header is None or header & 0x7F == 1
    return {
        "vendor_device": None if vendor is None or device is None else f"{vendor & 0xFFFF:04x}:{device:04x}",
        "header_type": None if header is None else header & 0xFF,
        "is_bridge": header is not None and header & 0x7F == 1,
        "capabilities": (caps, more, caps_end, more_end),
        "pcie": pcie,
        "is_pcie": is_pcie,
        "pcie_flags": flags,
        "pcie_type": None if flags is None else flags >> 4 & 0xF,
        "ari_supported": False if old else None if devcap2 is None else bool(devcap2 & 0x20),
        "ari": ari,
        "has_ari": True if ari else False if is_pcie is False or more_end else None,
        "next_function": None if chain is None else chain >> 8 & 0xFF,
        "first_bus_numbers": first_bus_numbers(accesses) if perhaps_bridge else None,
        "bus_numbers": last_bus_numbers(accesses) if perhaps_bridge else None,
        "devcap2": samples(accesses, pcie + 0x24, 4) if pcie and perhaps_bridge else [],
        "devctl2": samples(accesses, pcie + 0x28, 2) if pcie else [],
        "command": samples(accesses, 0x04, 2) if perhaps_bridge else [],
        "acs_control": samples(accesses, more[0x0D] + 6, 2) if 0x0D in more else [],
        "sriov_control": samples(accesses, more[0x10] + 8, 2) if 0x10 in more else [],
    }
