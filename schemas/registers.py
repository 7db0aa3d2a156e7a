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
        cleared_by_ones: a status register (RW1C): a write clears the bits that it carries as 1.
    """

    base: str
    offset: int
    name: str
    size: int
    layout: Any
    cleared_by_ones: bool = False

    @property
    def setpci(self) -> str:
        """How setpci addresses the whole register: ``CAP_EXP+28.w``, ``BRIDGE_CONTROL``."""
        return setpci_name(self.base, self.offset, self.size)

    def words(self, value: int) -> list[str]:
        """Flags that are set, in the words of lspci, lowest first; ``bit 27`` where it has none."""
        return [self._word(bit) for bit in range(8 * self.size) if value >> bit & 1]

    def _word(self, bit: int) -> str:
        alone = (1 << bit).to_bytes(self.size, "little")
        flags = {} if self.layout is None else self.layout.parse(alone)
        return next((name for name, value in flags.items() if value is True), f"bit {bit}")


_LAYOUTS = {
    "COMMAND": config_header.Control,
    "STATUS": config_header.Status,
    "HEADER_TYPE": config_header.HeaderType,
    "BIST": config_header.Bist,
    "SEC_STATUS": config_header.SecondaryStatus,
    "BRIDGE_CONTROL": config_header.BridgeCtl,
}
_CLEARED_BY_ONES = {
    "HEADER0": (config_header.STATUS,),
    "HEADER1": (config_header.STATUS, config_header.SEC_STATUS),
    "CAP_EXP": (
        pcie_capability.DEVSTA, pcie_capability.LNKSTA, pcie_capability.SLTSTA, pcie_capability.RTSTA,
        pcie_capability.DEVSTA2, pcie_capability.LNKSTA2, pcie_capability.SLTSTA2,
    ),
    "ECAP_AER": (
        extended_capabilities.AER_UNCOR_STATUS, extended_capabilities.AER_COR_STATUS,
        extended_capabilities.AER_ROOT_STATUS,
    ),
    "ECAP_DPC": (extended_capabilities.DPC_STATUS,),
}  # fmt: skip
_WIDTH_LETTERS = {1: "b", 2: "w", 4: "l"}


def _header(base: str, layout: Any) -> dict[int, Register]:
    """The fields of a header's own declaration, so that offsets stand in one place."""
    rows = []
    offset = 0
    for part in layout.subcons:
        if part.name is not None:
            rows.append((offset, part.name, part.sizeof(), _LAYOUTS.get(part.name)))
        offset += part.sizeof()
    return _capability(base, tuple(rows))


def _capability(base: str, rows: tuple[tuple[int, str, int, Any], ...]) -> dict[int, Register]:
    cleared = _CLEARED_BY_ONES.get(base, ())
    return {row[0]: Register(base, *row, cleared_by_ones=row[0] in cleared) for row in rows}


def setpci_name(base: str, offset: int, width: int) -> str:
    """Where an access goes, as setpci writes it: ``CAP_EXP+28.w``, ``BRIDGE_CONTROL``, ``PRIMARY_BUS.l``.

    Args:
        base: what ``offset`` counts from; the registers of ``HEADER0`` and ``HEADER1`` have names.
        offset: in bytes.
        width: 1, 2 or 4; 0 where the capture does not say.
    """
    letter = f".{_WIDTH_LETTERS[width]}" if width in _WIDTH_LETTERS else ""
    if not base.startswith("HEADER"):
        return f"{base}+{offset:02x}{letter}"
    register = REGISTERS[base].get(offset)
    if register is not None:
        return register.name if width in (0, register.size) else register.name + letter
    for register in REGISTERS[base].values():
        if register.offset < offset < register.offset + register.size:
            return f"{register.name}+{offset - register.offset:x}{letter}"
    return f"{offset:02x}{letter}"


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
#: The same the other way round: base -> whether the list is the extended one, and the ID in it.
BASE_IDS = {base: (False, number) for number, base in CAPABILITY_BASES.items()} | {
    base: (True, number) for number, base in EXTENDED_BASES.items()
}

#: The three bus numbers of a bridge and its latency timer, which kernels read and write as one.
BUS_NUMBERS = Register("HEADER1", config_header.PRIMARY_BUS, "PRIMARY_BUS.l", 4, None)
BRIDGE_CONTROL = REGISTERS["HEADER1"][config_header.BRIDGE_CONTROL]
PMCSR = REGISTERS["CAP_PM"][power_management.PMCSR]
PCIE_FLAGS = REGISTERS["CAP_EXP"][pcie_capability.FLAGS]
DEVCTL = REGISTERS["CAP_EXP"][pcie_capability.DEVCTL]
LNKSTA = REGISTERS["CAP_EXP"][pcie_capability.LNKSTA]
SLTSTA = REGISTERS["CAP_EXP"][pcie_capability.SLTSTA]
DEVCAP2 = REGISTERS["CAP_EXP"][pcie_capability.DEVCAP2]
DEVCTL2 = REGISTERS["CAP_EXP"][pcie_capability.DEVCTL2]
SRIOV_CTRL = REGISTERS["ECAP_SRIOV"][extended_capabilities.SRIOV_CTRL]
SRIOV_TOTAL_VF = REGISTERS["ECAP_SRIOV"][extended_capabilities.SRIOV_TOTAL_VF]
#: Where the virtual functions of a physical one are: NumVFs, First VF Offset, VF Stride.
VF_PLACES = tuple(
    REGISTERS["ECAP_SRIOV"][offset]
    for offset in (
        extended_capabilities.SRIOV_NUM_VF,
        extended_capabilities.SRIOV_VF_OFFSET,
        extended_capabilities.SRIOV_VF_STRIDE,
    )
)
UESTA = REGISTERS["ECAP_AER"][extended_capabilities.AER_UNCOR_STATUS]
DPC_STATUS = REGISTERS["ECAP_DPC"][extended_capabilities.DPC_STATUS]
