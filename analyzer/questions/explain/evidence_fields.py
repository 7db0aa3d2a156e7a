"""The register behind a piece of evidence, decoded field by field from what its text says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from analyzer.questions.explain import decode
from analyzer.questions.explain.explanation import DecodedField
from schemas.registers import REGISTERS

if TYPE_CHECKING:
    from analyzer.results import Evidence

#: ``CAP_EXP+28.w`` and ``PRIMARY_BUS.l``, as :func:`analyzer.questions.explain.decode.place` writes them.
_BEHIND_BASE = re.compile(r"([A-Z0-9_]+)\+([0-9a-f]{1,3})(?:\.([bwl]))?")
_BY_NAME = re.compile(r"([A-Z0-9_]+)(?:\.([bwl]))?")
_WIDTHS = {"b": 1, "w": 2, "l": 4}


def of_evidence(evidence: Evidence) -> list[DecodedField]:
    """Return the fields that an access shows; empty for log lines and registers without a name."""
    if evidence.register is None or evidence.value is None:
        return []
    found = _place(evidence.register)
    return [] if found is None else of_access(*found, int(evidence.value, 16))


def of_access(base: str, offset: int, width: int, value: int) -> list[DecodedField]:
    """Return the fields of every register that an access touches.

    Args:
        base: what ``offset`` counts from, as in :mod:`schemas.registers`.
        offset: in bytes.
        width: 1, 2 or 4 bytes; 0 if unknown.
        value: what was read or written.
    """
    return [
        DecodedField(
            name,
            decode.bit_ranges(part.register).get(name, ""),
            0 if isinstance(field, str) else int(field),
            f"{name}{'+' if field else '-'}" if isinstance(field, bool) else f"{name} {field}",
        )
        for part in decode.parts(base, offset, width, value)
        for name, field in decode.fields(part.register, part.value, part.mask)
    ]


def _place(text: str) -> tuple[str, int, int] | None:
    """Base, offset and width of a register's text, or None if it names none."""
    behind = _BEHIND_BASE.fullmatch(text)
    if behind is not None and behind[1] in REGISTERS:
        return behind[1], int(behind[2], 16), _WIDTHS.get(behind[3], 0)
    named = _BY_NAME.fullmatch(text)
    if named is None:
        return None
    # Bridges have what evidence is mostly about; what both headers have is at the same place in both.
    for base in ("HEADER1", "HEADER0"):
        for register in REGISTERS[base].values():
            if register.name == named[1]:
                return base, register.offset, _WIDTHS.get(named[2], register.size)
    return None
