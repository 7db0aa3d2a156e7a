"""Every register that aritrace can name, by the base it counts from.

A base is written as setpci does (``CAP_EXP``, ``ECAP_ARI``); ``HEADER0`` and ``HEADER1`` are the two
configuration headers, whose registers setpci knows by name alone (``BRIDGE_CONTROL``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas import config_header, extended_capabilities, pcie_capability, power_management


@dataclass(frozen=True)
class Register:
    """One register.

    Attributes:
        base: what ``offset`` counts from (a key of ``REGISTERS``).
        offset: in bytes.
        name: as lspci prints it, or for the headers as setpci spells it.
        size: in bytes.
        layout: Construct declaration of its bit fields, or None for a plain number.
    """

    base: str
    offset: int
    name: str
    size: int
    layout: Any


_LAYOUTS = {
    "COMMAND": config_header.Control,
    "STATUS": config_header.Status,
    "HEADER_TYPE": config_header.HeaderType,
    "BIST": config_header.Bist,
    "SEC_STATUS": config_header.SecondaryStatus,
    "BRIDGE_CONTROL": config_header.BridgeCtl,
}


def _header(base: str, layout: Any) -> dict[int, Register]:
    """The fields of a header's own declaration, so that offsets stand in one place."""
    table: dict[int, Register] = {}
    offset = 0
    for part in layout.subcons:
        if part.name is not None:
            table[offset] = Register(base, offset, part.name, part.sizeof(), _LAYOUTS.get(part.name))
        offset += part.sizeof()
    return table


def _capability(base: str, rows: tuple[tuple[int, str, int, Any], ...]) -> dict[int, Register]:
    return {offset: Register(base, offset, name, size, layout) for offset, name, size, layout in rows}


#: base -> offset -> register
REGISTERS: dict[str, dict[int, Register]] = {
    "HEADER0": _header("HEADER0", config_header.Type0Header),
    "HEADER1": _header("HEADER1", config_header.Type1Header),
    "CAP_PM": _capability("CAP_PM", power_management.REGISTERS),
    "CAP_EXP": _capability("CAP_EXP", pcie_capability.REGISTERS),
    **{base: _capability(base, rows) for base, rows in extended_capabilities.REGISTERS.items()},
}

#: Capability ID -> base, for the standard and the extended list.
CAPABILITY_BASES = {power_management.CAP_ID: "CAP_PM", pcie_capability.CAP_ID: "CAP_EXP"}
EXTENDED_BASES = {
    extended_capabilities.AER_ID: "ECAP_AER",
    extended_capabilities.ACS_ID: "ECAP_ACS",
    extended_capabilities.ARI_ID: "ECAP_ARI",
    extended_capabilities.SRIOV_ID: "ECAP_SRIOV",
    extended_capabilities.DPC_ID: "ECAP_DPC",
}
