"""Capabilities of message interrupts and address translation, as far as a kexec may cost their state.

Sources: PCI Express Base Specification 7.7.1 (MSI), 7.7.2 (MSI-X), 10.5.1 (ATS), 10.5.2 (Page Request
Interface), 7.8.9 (PASID); Linux ``include/uapi/linux/pci_regs.h`` has the same numbers. Names of capabilities
are setpci's, words of bits lspci's.
"""

from __future__ import annotations

from schemas.bits import flag, number, register
from schemas.registers import Register

#: Base -> whether its list is the extended one, and the ID in it (as ``schemas.registers.BASE_IDS``).
IDS = {
    "CAP_MSI": (False, 0x05),
    "CAP_MSIX": (False, 0x11),
    "ECAP_ATS": (True, 0x000F),
    "ECAP_PRI": (True, 0x0013),
    "ECAP_PASID": (True, 0x001B),
}

MSI_ENABLE = 1 << 0
MSIX_ENABLE = 1 << 15
#: Enable, and the Smallest Translation Unit.
ATS_BITS = 0x801F
PRI_ENABLE = 1 << 0
#: Enable, Execute Permission and Privileged Mode.
PASID_BITS = 0x0007

MsiCtl = register(2, flag("Enable", 0), number("Count", 6, 4), flag("64bit", 7), flag("Maskable", 8))
MsixCtl = register(2, number("Count", 10, 0), flag("Masked", 14), flag("Enable", 15))
AtsCtl = register(2, number("STU", 4, 0), flag("Enable", 15))
PriCtl = register(2, flag("Enable", 0), flag("Reset", 1))
PasidCtl = register(2, flag("Enable", 0), flag("Exec", 1), flag("Priv", 2))

MSI_CONTROL = Register("CAP_MSI", 0x02, "MSICtl", 2, MsiCtl)
MSIX_CONTROL = Register("CAP_MSIX", 0x02, "MSIXCtl", 2, MsixCtl)
ATS_CONTROL = Register("ECAP_ATS", 0x06, "ATSCtl", 2, AtsCtl)
PRI_CONTROL = Register("ECAP_PRI", 0x04, "PRICtl", 2, PriCtl)
PASID_CONTROL = Register("ECAP_PASID", 0x06, "PASIDCtl", 2, PasidCtl)
