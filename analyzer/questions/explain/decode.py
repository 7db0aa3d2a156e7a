"""Registers in words: values as ``lspci -vv`` prints them (``ARIFwd+``).

The layouts come from ``schemas.registers``; this is the reading side, for reports and ``explain``.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.registers import REGISTERS, Register

#: A flag, a number, or the word that lspci has for a code.
FieldValue = bool | int | str


class RegisterShare(NamedTuple):
    """The share of one register in an access: its bits in place, and which of them the access carries."""

    register: Register
    value: int
    mask: int


def register_at(base: str, offset: int) -> Register | None:
    """The register that starts at ``offset`` of ``base`` (``HEADER1``, ``CAP_EXP``, ...), or None."""
    return REGISTERS.get(base, {}).get(offset)


def fields(register: Register, value: int, mask: int | None = None) -> list[tuple[str, FieldValue]]:
    """Split a register's value into its fields, lowest bits first.

    Args:
        register: the register.
        value: its bits.
        mask: the bits that are known; fields not wholly in it are left out. None: all.

    Returns:
        Name and value of each field. Set bits that no field names come last as ``reserved``; a register
        without fields is one field by its own name (``NAME&0xff`` where only a part is known).
    """
    whole = (1 << 8 * register.size) - 1
    mask = whole if mask is None else mask & whole
    value &= mask
    if register.layout is None:
        return [(register.name if mask == whole else f"{register.name}&{mask:#x}", value)]
    parsed = register.layout.parse(value.to_bytes(register.size, "little"))
    result: list[tuple[str, FieldValue]] = []
    reserved = value
    low = 0
    for part in reversed(register.layout.subcon.subcon.subcons):
        bits = ((1 << part.sizeof()) - 1) << low
        low += part.sizeof()
        if part.name is None:
            continue
        reserved &= ~bits
        if mask & bits == bits:
            result.append((part.name, _plain(parsed[part.name])))
    if reserved:
        result.append(("reserved", reserved))
    return result


def bit_ranges(register: Register) -> dict[str, str]:
    """Where each named field of a register sits: ``"5"`` or ``"15:8"``; empty for one without fields."""
    ranges: dict[str, str] = {}
    low = 0
    for part in () if register.layout is None else reversed(register.layout.subcon.subcon.subcons):
        high = low + part.sizeof() - 1
        if part.name is not None:
            ranges[part.name] = str(low) if high == low else f"{high}:{low}"
        low = high + 1
    return ranges


def _plain(parsed: FieldValue) -> FieldValue:
    """Construct's enumeration types as what they stand for: the word, or the number that has none."""
    if isinstance(parsed, bool):
        return parsed
    return str(parsed) if isinstance(parsed, str) else int(parsed)


def describe(register: Register, value: int, mask: int | None = None) -> str:
    """A register's value in lspci's vocabulary: ``CTO 50us to 50ms, TimeoutDis- ARIFwd+ ...``."""
    text = ""
    for name, field in fields(register, value, mask):
        if isinstance(field, bool):
            text += f"{name}{'+' if field else '-'} "
        elif isinstance(field, int) and (name == "reserved" or register.layout is None):
            text += f"{name} {field:#x}, "
        else:
            text += f"{name} {field}, "
    return text.rstrip(", ")


def parts(base: str, offset: int, width: int, value: int) -> list[RegisterShare]:
    """The registers that an access touches, each with the bits that the access carries, in order.

    A ``width`` of 0 (not recorded) is taken as the register's own size, or more where the value needs it.
    """
    if width == 0:
        register = register_at(base, offset)
        reach = 1 if value <= 0xFF else 2 if value <= 0xFFFF else 4
        width = max(reach, register.size if register else 1)
    found = []
    for register in sorted(REGISTERS.get(base, {}).values(), key=lambda known: known.offset):
        low = max(offset, register.offset)
        high = min(offset + width, register.offset + register.size)
        if low < high:
            mask = ((1 << 8 * (high - low)) - 1) << 8 * (low - register.offset)
            shifted = value >> 8 * (low - offset) << 8 * (low - register.offset)
            found.append(RegisterShare(register, shifted & mask, mask))
    return found
