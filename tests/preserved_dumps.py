"""Raw dumps of preserved sets as the kernel leaves them in memory, for tests."""

from schemas.kho_block import CAPACITY, KhoBlockHeader
from schemas.pci_ser import PciDevSerD3, PciSerH6, PciSerH7, PciSerH8

#: (domain, bus << 8 | devfn, refcount): two bridges above functions 0, 1, 8 and 9 of bus 1
ENTRIES = [(0, 0x0018, 4), (0, 0x0100, 1), (0, 0x0101, 1), (0, 0x0108, 1), (0, 0x0109, 1)]
HOLE = (0, 0, 0)


def entry(domain, bdf, refcount):
    return PciDevSerD3.build({"domain": domain, "bdf": bdf, "refcount": refcount})


def array(entries, slots=64):
    """An H6 (or H5) dump with room for ``slots``."""
    used = sum(refcount != 0 for _, _, refcount in entries)
    slots_used = [*entries, *[HOLE] * (slots - len(entries))]
    header = PciSerH6.build({"max_nr_devices": slots, "nr_devices": used})
    return header + b"".join(entry(*slot) for slot in slots_used)


def blocks(entries, page=4096, per_block=None, first=0x1_2340_0000):
    """KHO blocks of a page each and the address of the first; ``per_block`` makes many short blocks."""
    per_block = per_block or CAPACITY[page]
    chunks = [entries[at : at + per_block] for at in range(0, len(entries), per_block)]
    # Blocks come from anywhere in memory: descending addresses.
    addresses = [first - 3 * page * number for number in range(len(chunks))]
    pages = []
    for chunk, following in zip(chunks, [*addresses, 0][1:], strict=True):
        head = KhoBlockHeader.build({"next": following, "count": len(chunk)})
        pages.append((head + b"".join(entry(*slot) for slot in chunk)).ljust(page, b"\0"))
    return b"".join(pages), (addresses[0] if chunks else 0)


def h7(entries, **shape):
    raw, first = blocks(entries, **shape)
    used = sum(refcount != 0 for _, _, refcount in entries)
    return PciSerH7.build({"nr_devices": used, "devices": first}) + raw


def h8(entries, version=2, **shape):
    raw, first = blocks(entries, **shape)
    used = sum(refcount != 0 for _, _, refcount in entries)
    return PciSerH8.build({"version": version, "nr_devices": used, "devices": first}) + raw
