"""The PCI-X capability (ID 0x07), as far as the kernel's scan uses it.

Sources: PCI-X Protocol Addendum 2.0, sections 7.2.4 and 8.6.2.4 (bridges); Linux 7.3
``include/uapi/linux/pci_regs.h`` (PCI_X_STATUS).
"""

from __future__ import annotations

PCIX_ID = 0x07
#: Status, of a bridge its own (primary) side.
PCIX_STATUS = 0x04
#: 266 MHz or 533 MHz capable: PCI-X mode 2, which has extended configuration space.
PCIX_MODE_2 = 0xC0000000
