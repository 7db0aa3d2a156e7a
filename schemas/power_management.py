"""The PCI Power Management capability (ID 0x01).

Sources: PCI Bus Power Management Interface Specification 1.2, section 3.2; PCI Express Base Specification
7.5.2. Words as ``lspci -vv`` writes them.
"""

from __future__ import annotations

from schemas.bits import choice, flag, number, register
from schemas.config_header import CapabilityHeader

CAP_ID = 0x01

PMC = 0x02
PMCSR = 0x04
SIZE = 8

PMCSR_STATE = 0x3
#: If clear, the function's registers go through an internal reset on the way from D3hot to D0.
PMCSR_NO_SOFT_RESET = 1 << 3

_AUX_CURRENT = {
    0: "0mA", 1: "55mA", 2: "100mA", 3: "160mA", 4: "220mA", 5: "270mA", 6: "320mA", 7: "375mA",
}  # fmt: skip

Flags = register(
    2,
    number("Version", 2, 0), flag("PMEClk", 3), flag("ImmReady", 4), flag("DSI", 5),
    choice("AuxCurrent", 8, 6, _AUX_CURRENT), flag("D1", 9), flag("D2", 10),
    flag("PME(D0)", 11), flag("PME(D1)", 12), flag("PME(D2)", 13), flag("PME(D3hot)", 14),
    flag("PME(D3cold)", 15),
)  # fmt: skip

ControlStatus = register(
    2,
    choice("PowerState", 1, 0, {0: "D0", 1: "D1", 2: "D2", 3: "D3"}), flag("NoSoftRst", 3),
    flag("PME-Enable", 8), number("DSel", 12, 9), number("DScale", 14, 13), flag("PME", 15),
)  # fmt: skip

#: (offset, name, bytes, bit fields or None)
REGISTERS = (
    (0x00, "ID", 2, CapabilityHeader),
    (PMC, "Flags", 2, Flags),
    (PMCSR, "Status", 2, ControlStatus),
    (0x06, "Bridge", 1, None),
    (0x07, "Data", 1, None),
)
