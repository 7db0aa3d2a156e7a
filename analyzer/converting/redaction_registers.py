"""The bytes of config space that may be shown, because they are known to be harmless; all others become 0.

Shown are the header except its reserved bytes, the entries of the capability lists, and of the capabilities
in :data:`_STANDARD` and :data:`_EXTENDED` the registers that PCI Express defines and that hold no serial
number, free text or recorded traffic. A capability is known by the list that a boot's reads
follow; where they do not follow it to its end, by the lists that other boots read of the same device. A byte
that two capabilities claim belongs to the later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.observed.registers import capability_lists
from analyzer.observed.registers.first_reads import NONE, FirstReads
from schemas import config_header, extended_capabilities, pcie_capability, power_management
from schemas.config_header import CONFIG_SIZE, EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.boots import BootSpan
    from analyzer.observed.index import AccessIndex

#: Bytes of the header that are shown (offset, size): all but 0x35 to 0x3b, which are reserved or the address
#: of a ROM.
_HEADER: Final = ((0x00, config_header.CAPABILITIES + 1), (config_header.INTERRUPT_LINE, 4))
#: An offset after config space, where nothing is shown.
_NOWHERE: Final = EXTENDED_CONFIG_SIZE

Parts = tuple[tuple[int, int], ...]

_MSI_ID, _MSIX_ID, _SUBSYSTEM_ID = 0x05, 0x11, 0x0D
_ATS_ID, _PRI_ID, _PASID_ID, _LTR_ID = 0x0F, 0x13, 0x1B, 0x18
#: Standard capability ID -> parts that are shown (offset, size). Of any other: its ID and pointer.
_STANDARD: Final[dict[int, Parts]] = {
    power_management.CAP_ID: ((0x00, power_management.SIZE),),
    pcie_capability.CAP_ID: ((0x00, pcie_capability.SIZE_V2),),
    _MSI_ID: ((0x00, 4),),  # not address and data of the interrupt
    _MSIX_ID: ((0x00, 4),),
    _SUBSYSTEM_ID: ((0x00, 8),),
}
#: Extended capability ID -> the same. Of any other: its header.
_EXTENDED: Final[dict[int, Parts]] = {
    extended_capabilities.ARI_ID: ((0x00, 8),),
    extended_capabilities.SRIOV_ID: ((0x00, 0x40),),
    extended_capabilities.ACS_ID: ((0x00, 0x0C),),
    # Not the header logs, which hold packets.
    extended_capabilities.AER_ID: (
        (0x00, extended_capabilities.AER_HEADER_LOG),
        (extended_capabilities.AER_ROOT_COMMAND, 0x0C),
    ),
    extended_capabilities.DPC_ID: ((0x00, 0x0C),),
    _ATS_ID: ((0x00, 8),),
    _PRI_ID: ((0x00, 0x10),),
    _PASID_ID: ((0x00, 8),),
    _LTR_ID: ((0x00, 8),),
}
_ENTRY, _EXTENDED_ENTRY = 2, 4
#: An extended header up to this has version 0.
_NO_VERSION: Final = 0xFFFF
#: Lists that are followed at a time: the first reads of so many take 32 MiB.
_BLOCK: Final = 2048
#: What a read without a response returns, by width (0: not recorded).
_ONES: Final = ((0, 0xFFFF), (0, 0xFFFFFFFF), (2, 0xFFFF), (4, 0xFFFFFFFF))


class _Lists(NamedTuple):
    """What one boot's reads say of one function.

    Attributes:
        boot, key: whose.
        vendor: its vendor dword, or NONE.
        version: version of its PCI Express capability, or NONE; of several boots the highest.
        found: offset -> capability ID; both lists.
        standard_end, extended_end: the list was followed to its end.
    """

    boot: int
    key: int
    vendor: int
    version: int
    found: dict[int, int]
    standard_end: bool
    extended_end: bool


def shown_values(index: AccessIndex, boots: Sequence[BootSpan]) -> NDArray[np.int64]:
    """Return the value of each access with every byte 0 that is not known to be harmless.

    A read that returned all ones stays: it shows that there was no response.

    Args:
        index: the capture.
        boots: its boots, which cover every row.
    """
    usual = np.zeros(_NOWHERE + 1, np.bool_)
    for offset, size in _HEADER:
        usual[offset : offset + size] = True
    masks = _masks(usual, index.offset)
    edges = [*(boot.first for boot in boots), index.rows]
    for boot, key, lists in _of_each(index, edges):
        rows = _rows(index, key, boot, edges)
        shown = usual.copy()
        for offset, size in _parts(lists):
            shown[offset : offset + size] = True
        masks[rows] = _masks(shown, index.offset[rows])
    no_response = np.zeros(index.rows, np.bool_)
    for width, ones in _ONES:
        no_response |= index.is_read & (index.width == width) & (index.value == ones)
    return np.where(no_response, index.value, index.value & masks)


def _masks(shown: NDArray[np.bool_], offsets: NDArray[np.int32]) -> NDArray[np.int64]:
    """For accesses at these offsets: the bits of their values that are shown."""
    masks = np.zeros(len(offsets), np.int64)
    for lane in range(4):
        masks |= np.where(shown[np.minimum(offsets + lane, _NOWHERE)], np.int64(0xFF << 8 * lane), 0)
    return masks


def _rows(index: AccessIndex, key: int, boot: int, edges: Sequence[int]) -> NDArray[np.int64]:
    """Rows of one function in one boot."""
    rows = index.rows_of(key)
    first, last = np.searchsorted(rows, edges[boot : boot + 2])
    return rows[first:last]


def _pairs(index: AccessIndex, chosen: NDArray[np.bool_], edges: Sequence[int]) -> list[list[int]]:
    """Function and boot of the chosen accesses, each pair once."""
    rows = np.flatnonzero(chosen)
    boots = np.searchsorted(edges, rows, side="right") - 1
    pairs: list[list[int]] = np.unique(np.stack([index.function[rows], boots], axis=1), axis=0).tolist()
    return pairs


def _of_each(index: AccessIndex, edges: Sequence[int]) -> Iterator[tuple[int, int, _Lists]]:
    """Each boot and function with accesses after the header, and the capability lists that apply to it."""
    known: dict[int, list[_Lists]] = {}
    for lists in _follow(index, edges):
        known.setdefault(lists.key, []).append(lists)
    for key, boot in _pairs(index, index.offset >= config_header.HEADER_SIZE - 3, edges):
        others = known.get(key)
        if others:
            yield boot, key, _joined(boot, others)


def _joined(boot: int, known: Sequence[_Lists]) -> _Lists:
    """The lists of a function in a boot, completed from its other boots where its own reads end early."""
    own = next((lists for lists in known if lists.boot == boot), None)
    if own is None:
        own = _Lists(boot, known[0].key, NONE, NONE, {}, standard_end=False, extended_end=False)
    found = dict(own.found)
    version = own.version
    for other in known:
        if other is own or (NONE not in (own.vendor, other.vendor) and own.vendor != other.vendor):
            continue
        version = max(version, other.version)
        for offset, identity in other.found.items():
            if offset in own.found or (own.extended_end if offset >= CONFIG_SIZE else own.standard_end):
                continue
            if found.setdefault(offset, identity) != identity:
                found[offset] = NONE  # two boots disagree on what is there
    return own._replace(found=found, version=version)


def _parts(lists: _Lists) -> Iterator[tuple[int, int]]:
    """Bytes that are shown of a function's capabilities: offset and size."""
    starts = sorted(lists.found)
    for start, following in zip(starts, [*starts, EXTENDED_CONFIG_SIZE][1:], strict=True):
        extended = start >= CONFIG_SIZE
        end = following if extended else min(following, CONFIG_SIZE)
        entry = ((0, _EXTENDED_ENTRY if extended else _ENTRY),)
        identity = lists.found[start]
        parts = (_EXTENDED if extended else _STANDARD).get(identity, entry)
        if not extended and identity == pcie_capability.CAP_ID and lists.version in (0, 1):
            parts = ((0x00, pcie_capability.SIZE_V1),)
        for offset, size in parts:
            if start + offset < end:
                yield start + offset, min(size, end - start - offset)


def _follow(index: AccessIndex, edges: Sequence[int]) -> Iterator[_Lists]:
    """Follow the lists of each function of which some boot read where one starts, in every boot."""
    begins = np.isin(index.offset, (config_header.CAPABILITIES, CONFIG_SIZE)) & index.is_read
    # In other boots another device may be at the same address.
    vendor = (index.offset == config_header.VENDOR_ID) & index.is_read
    vendor &= np.isin(index.function, np.unique(index.function[begins]))
    asked = _pairs(index, begins | vendor, edges)
    for first in range(0, len(asked), _BLOCK):
        block = asked[first : first + _BLOCK]
        yield from _follow_block(index, block, [_rows(index, key, boot, edges) for key, boot in block])


def _follow_block(
    index: AccessIndex, block: Sequence[Sequence[int]], rows: Sequence[NDArray[np.int64]]
) -> Iterator[_Lists]:
    count = len(block)
    every = np.arange(count)
    run = np.repeat(every, [len(its) for its in rows])
    joined = np.concatenate(rows)
    accesses = index.batch.gather(joined + index.start, joined)
    reads = FirstReads(accesses, run, count)
    vendors = reads.at(every, config_header.VENDOR_ID, 4)
    standard = capability_lists.standard(reads, count)
    extended = capability_lists.extended(reads, count, np.zeros(count, np.bool_))
    # Of an extended header that was read in part, or has no version, the ID is not known.
    whole = reads.at(extended.runs, extended.offsets, 4) > _NO_VERSION
    extended = extended._replace(identities=np.where(whole, extended.identities, NONE))
    found: list[dict[int, int]] = [{} for _ in block]
    for entries in (standard, extended):
        for number, identity, offset in zip(
            entries.runs.tolist(), entries.identities.tolist(), entries.offsets.tolist(), strict=True
        ):
            found[number].setdefault(offset, identity)
    pcie = standard.first(pcie_capability.CAP_ID)
    flags = np.full(count, NONE, np.int64)
    has = np.flatnonzero(pcie != NONE)
    flags[has] = reads.at(has, pcie[has] + pcie_capability.FLAGS, 2)
    versions = np.where(flags == NONE, NONE, flags & pcie_capability.FLAGS_VERSION)
    for number, (key, boot) in enumerate(block):
        yield _Lists(
            boot,
            key,
            int(vendors[number]),
            int(versions[number]),
            found[number],
            bool(standard.ended[number]),
            bool(extended.ended[number]),
        )
