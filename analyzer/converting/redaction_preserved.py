"""A raw dump of a preserved set put together anew from its entries: nothing else of the memory stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.capture import PreservedDump
from analyzer.preservation import flb
from schemas.kho_block import CAPACITY, KhoBlockHeader
from schemas.pci_ser import PciDevSerD3, PciSerH6, PciSerH7, PciSerH8

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Page size where a set has no blocks that show it.
_PAGE = 4096
#: Slots of an array at least: with fewer, an empty one would look like a header of the later layouts.
_SLOTS = 64


def rebuilt(dump: PreservedDump) -> PreservedDump:
    """Return a dump of the same layout and version with the same entries.

    Unused slots and what follows the entries in a block are 0, and the physical addresses of the blocks are
    those of pages 1, 2, ...

    Raises:
        AritraceError: the dump is none that can be decoded.
    """
    found = flb.decode(dump.data, dump.name)
    entries = [
        PciDevSerD3.build({"domain": key >> 16, "bdf": key & 0xFFFF, "refcount": count})
        for key, count in found.entries
    ]
    if found.layout == "H6":
        slots = max(len(entries), _SLOTS)
        header = PciSerH6.build({"max_nr_devices": slots, "nr_devices": len(entries)})
        data = (header + b"".join(entries)).ljust(PciSerH6.sizeof() + slots * PciDevSerD3.sizeof(), b"\0")
        return PreservedDump(data, dump.name, dump.kexec)
    page = found.page_size or _PAGE
    fields = {"nr_devices": len(entries), "devices": page if entries else 0}
    if found.layout == "H7":
        header = PciSerH7.build(fields)
    else:
        header = PciSerH8.build({"version": found.version, **fields})
    return PreservedDump(header + b"".join(_blocks(entries, page)), dump.name, dump.kexec)


def _blocks(entries: Sequence[bytes], page: int) -> list[bytes]:
    room = CAPACITY[page]
    blocks = [entries[at : at + room] for at in range(0, len(entries), room)]
    return [
        (
            KhoBlockHeader.build(
                {"next": page * (number + 1) if number < len(blocks) else 0, "count": len(block)}
            )
            + b"".join(block)
        ).ljust(page, b"\0")
        for number, block in enumerate(blocks, 1)
    ]
