"""How the kernel hands the preserved set over: ``pci_dev_ser`` entries and the ``pci_ser`` that holds them.

Sources: ``struct pci_dev_ser`` and ``struct pci_ser`` in ``include/linux/kho/abi/pci.h`` of the Live Update
PCI series v1 to v9 (D. Matlack, 2025-26); the tags D1..D3 and H1..H8 are aritrace's own. All are packed and
little-endian (x86-64, arm64). None of them holds ARI state, ACS state, secondary bus numbers or device IDs.

The name of a layout's FLB (File-Lifecycle-Bound data, its compatible string) does not identify it: "pci-v1"
names three layouts, "pci-v2" another three.
"""

from __future__ import annotations

from typing import Any

import construct as cs

#: v1, v2: domains above 0xffff (VMD) are cut off.
PciDevSerD1 = cs.Struct("domain" / cs.Int16ul, "bdf" / cs.Int16ul)
#: v3, early v4, first patches of v5.
PciDevSerD2 = cs.Struct("domain" / cs.Int32ul, "bdf" / cs.Int16ul, cs.Padding(2))
#: End of v4 to v9. ``bdf`` = bus << 8 | devfn. ``refcount`` 0 = unused slot; from the auto-preserve patch on
#: the number of preserved endpoints at or below the function.
PciDevSerD3 = cs.Struct("domain" / cs.Int32ul, "bdf" / cs.Int16ul, "refcount" / cs.Int16ul)

#: v1: the header, then ``nr_devices`` D1 sorted by (domain, bdf).
PciSerH1 = cs.Struct("nr_devices" / cs.Int64ul)
#: v2 (D1 entries), v3 (H3: D2 entries), an intermediate tree (H4: D3 entries): room for ``max_nr_devices``.
PciSerH2 = cs.Struct("max_nr_devices" / cs.Int64ul, "nr_devices" / cs.Int64ul)
PciSerH3 = PciSerH2
PciSerH4 = PciSerH2
#: Trees between v5 and v6 (H5), final v6 (H6, refcounts count descendants); then ``max_nr_devices`` D3 slots.
PciSerH5 = cs.Struct("max_nr_devices" / cs.Int32ul, "nr_devices" / cs.Int32ul)
PciSerH6 = PciSerH5
#: Final v7: 12 bytes, an unaligned physical address of the first KHO block (schemas/kho_block.py), 0 if none.
PciSerH7 = cs.Struct("nr_devices" / cs.Int32ul, "devices" / cs.Int64ul)
#: v8, v9. ``version`` is 1 before the auto-preserve patch and 2 from it on.
PciSerH8 = cs.Struct("version" / cs.Int32ul, "nr_devices" / cs.Int32ul, "devices" / cs.Int64ul)

#: Array layouts, header and entry.
ARRAY_LAYOUTS: dict[str, tuple[Any, Any]] = {
    "H1": (PciSerH1, PciDevSerD1),
    "H2": (PciSerH2, PciDevSerD1),
    "H3": (PciSerH3, PciDevSerD2),
    "H4": (PciSerH4, PciDevSerD3),
    "H5": (PciSerH5, PciDevSerD3),
    "H6": (PciSerH6, PciDevSerD3),
}
#: Layouts whose D3 entries stand in KHO blocks.
BLOCK_LAYOUTS: dict[str, Any] = {"H7": PciSerH7, "H8": PciSerH8}
