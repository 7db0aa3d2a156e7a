"""KHO blocks: pages chained by physical address, each a head and as many entries as fit.

Sources: ``struct kho_block_header_ser`` in ``include/linux/kho/abi/block.h`` and ``kho_block_set_restore`` of
the Live Update tree (2026), as the PCI series v7 to v9 uses them. Little-endian; here an entry is a
``pci_dev_ser`` D3 (schemas/pci_ser.py). The kernel refuses to restore a set with an empty block, a block
above capacity, a cycle, or more than ``MAX_BLOCKS`` blocks.
"""

from __future__ import annotations

import construct as cs

#: ``next``: physical address of the next block, 0 in the last. ``count``: entries used, unused slots between
#: them included.
KhoBlockHeader = cs.Struct("next" / cs.Int64ul, "count" / cs.Int64ul)

ENTRY_SIZE = 8
MAX_BLOCKS = 10_000

#: Page size (one block) -> how many entries it holds.
CAPACITY = {size: (size - KhoBlockHeader.sizeof()) // ENTRY_SIZE for size in (4096, 16384, 65536)}
