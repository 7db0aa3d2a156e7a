"""Register names as setpci and lspci users write them: ``CAP_EXP+28.w``, ``BRIDGE_CONTROL``, ``34.b``.

Names of header registers and capabilities are those of ``setpci --dumpregs``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from simulator import register_blocks as blocks

if TYPE_CHECKING:
    from simulator.functions import Function

_WIDTHS = {"b": 1, "w": 2, "l": 4}
_HEADER = {
    "VENDOR_ID": (0x00, 2), "DEVICE_ID": (0x02, 2), "COMMAND": (0x04, 2), "STATUS": (0x06, 2),
    "HEADER_TYPE": (0x0E, 1), "PRIMARY_BUS": (0x18, 1), "SECONDARY_BUS": (0x19, 1),
    "SUBORDINATE_BUS": (0x1A, 1), "SEC_STATUS": (0x1E, 2), "CAPABILITIES": (0x34, 1),
    "BRIDGE_CONTROL": (0x3E, 2),
}  # fmt: skip
_STANDARD = {
    "CAP_PM": blocks.PM, "CAP_MSI": blocks.MSI, "CAP_EXP": blocks.PCIE, "CAP_MSIX": blocks.MSIX,
    "CAP_SSVID": blocks.SSVID,
}  # fmt: skip
_EXTENDED = {
    "ECAP_AER": blocks.AER, "ECAP_ACS": blocks.ACS, "ECAP_ARI": blocks.ARI, "ECAP_SRIOV": blocks.SRIOV,
    "ECAP_DPC": blocks.DPC,
}  # fmt: skip
_NAME = re.compile(r"([A-Za-z_]\w*|[0-9a-fA-F]+)(?:\+([0-9a-fA-F]+))?(?:\.([bBwWlL]))?")


class Register(NamedTuple):
    """A register by name: capability (kind and ID, None for the header), offset in it, bytes."""

    extended: bool
    capability: int | None
    offset: int
    width: int


def parse(text: str) -> Register:
    """Take a register name apart.

    Raises:
        ValueError: not of the form ``NAME[+OFFSET][.b|.w|.l]``, or no width is given nor known.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a register as setpci writes it (CAP_EXP+28.w), found {text!r}")
    name, plus, suffix = match[1].upper(), int(match[2] or "0", 16), (match[3] or "").lower()
    width = _WIDTHS.get(suffix, 0)
    if name in _HEADER:
        offset, natural = _HEADER[name]
        return Register(False, None, offset + plus, width or natural)
    if name in _STANDARD or name in _EXTENDED:
        table = _STANDARD if name in _STANDARD else _EXTENDED
        return Register(name in _EXTENDED, table[name], plus, _given(width, text))
    if re.fullmatch(r"[0-9A-F]+", name):
        return Register(False, None, int(name, 16) + plus, _given(width, text))
    raise ValueError(f"expected a register that setpci knows, found {text!r}")


def _given(width: int, text: str) -> int:
    if not width:
        raise ValueError(f"expected a width (.b, .w or .l) behind {text!r}")
    return width


def locate(function: Function, text: str) -> tuple[int, int]:
    """Offset and width of a register of a function, as it really lies.

    Raises:
        KeyError: the function has no such capability.
    """
    register = parse(text)
    if register.capability is None:
        return register.offset, register.width
    table = function.extended if register.extended else function.standard
    return table[register.capability] + register.offset, register.width
