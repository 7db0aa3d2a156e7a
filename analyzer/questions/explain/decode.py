"""Registers in words: values as ``lspci -vv`` prints them (``ARIFwd+``).

The layouts come from ``schemas.registers``; this is the reading side, for reports and ``explain``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from analyzer.questions.explain.explanation import DecodedField
from schemas.registers import REGISTERS, Register

if TYPE_CHECKING:
    from analyzer.results import Evidence

#: A flag, a number, or the word that lspci has for a code.
FieldValue = bool | int | str

#: ``CAP_EXP+28.w`` and ``PRIMARY_BUS.l``, as setpci writes them.
_WITH_OFFSET = re.compile(r"([A-Z0-9_]+)\+([0-9a-f]{1,3})(?:\.([bwl]))?")
_BY_NAME = re.compile(r"([A-Z0-9_]+)(?:\.([bwl]))?")
_WIDTHS = {"b": 1, "w": 2, "l": 4}


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
    if not mask:
        return []
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
        text += f"{_field_text(register, name, field)}{' ' if isinstance(field, bool) else ', '}"
    return text.rstrip(", ")


def _field_text(register: Register, name: str, field: FieldValue) -> str:
    if isinstance(field, bool):
        return f"{name}{'+' if field else '-'}"
    if isinstance(field, int) and (name == "reserved" or register.layout is None):
        return f"{name} {field:#x}"
    return f"{name} {field}"


def parts(base: str, offset: int, width: int, value: int, known: int = -1) -> list[RegisterShare]:
    """The registers that an access touches, each with the bits that the access carries, in order.

    ``known`` is the mask of the bits that the input shows.

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
            mask &= known >> 8 * (low - offset) << 8 * (low - register.offset)
            shifted = value >> 8 * (low - offset) << 8 * (low - register.offset)
            found.append(RegisterShare(register, shifted & mask, mask))
    return found


def of_evidence(evidence: Evidence) -> list[DecodedField]:
    """Return the fields that an access shows; empty for log lines and registers without a name."""
    if evidence.register is None or evidence.value is None:
        return []
    found = _place(evidence.register)
    return [] if found is None else of_access(*found, int(evidence.value, 16))


def of_access(base: str, offset: int, width: int, value: int, known: int = -1) -> list[DecodedField]:
    """Return the fields of every register that an access touches.

    Args:
        base: what ``offset`` counts from, as in :mod:`schemas.registers`.
        offset: in bytes.
        width: 1, 2 or 4 bytes; 0 if unknown.
        value: what was read or written.
        known: mask of the bits that the input shows.
    """
    return [
        DecodedField(
            name,
            bit_ranges(part.register).get(name, ""),
            0 if isinstance(field, str) else int(field),
            _field_text(part.register, name, field),
        )
        for part in parts(base, offset, width, value, known)
        for name, field in fields(part.register, part.value, part.mask)
    ]


def _place(text: str) -> tuple[str, int, int] | None:
    """Base, offset and width of a register's text, or None if it names none."""
    found = _WITH_OFFSET.fullmatch(text)
    if found is not None and found[1] in REGISTERS:
        return found[1], int(found[2], 16), _WIDTHS.get(found[3], 0)
    named = _BY_NAME.fullmatch(text)
    if named is None:
        return None
    # Bridges have what evidence is mostly about; what both headers have is at the same place in both.
    for base in ("HEADER1", "HEADER0"):
        for register in REGISTERS[base].values():
            if register.name == named[1]:
                return base, register.offset, _WIDTHS.get(named[2], register.size)
    return None
