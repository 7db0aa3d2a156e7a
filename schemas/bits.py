"""How the register schemas write down bit fields: by name and bit numbers, as the specifications do.

``register`` turns such a list into an ordinary Construct declaration for the register's little-endian bytes,
so that ``parse`` and ``build`` come from the same place. Bits that no field names are reserved: ``parse``
ignores them and ``build`` writes zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import construct as cs

if TYPE_CHECKING:
    from collections.abc import Mapping


class BitField(NamedTuple):
    """One field: bits ``high`` to ``low`` (both included), and the words that lspci has for its values."""

    name: str
    high: int
    low: int
    kind: Any


def flag(name: str, bit: int) -> BitField:
    """A single bit that is on or off; lspci writes ``name+`` or ``name-``."""
    return BitField(name, bit, bit, cs.Flag)


def number(name: str, high: int, low: int) -> BitField:
    """An unsigned number."""
    return BitField(name, high, low, cs.BitsInteger(high - low + 1))


def choice(name: str, high: int, low: int, words: Mapping[int, str]) -> BitField:
    """A code with a word for each defined value; others stay numbers."""
    names = {word: code for code, word in words.items()}
    return BitField(name, high, low, cs.Enum(cs.BitsInteger(high - low + 1), **names))


def register(size: int, *fields: BitField) -> Any:
    """Declare a register of ``size`` bytes from its fields, lowest bits first (lspci prints in that order).

    Raises:
        ValueError: two fields share a bit, or one lies outside the register.
    """
    parts = []
    free = size * 8
    for name, high, low, kind in sorted(fields, key=lambda field: -field.low):
        if not 0 <= low <= high < free:
            raise ValueError(f"field {name} [{high}:{low}] overlaps a field above or the register's end")
        if high + 1 < free:
            parts.append(cs.Padding(free - high - 1))
        parts.append(name / kind)
        free = low
    if free:
        parts.append(cs.Padding(free))
    return cs.ByteSwapped(cs.BitStruct(*parts))
