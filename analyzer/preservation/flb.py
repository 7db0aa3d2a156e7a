"""The preserved set from raw kernel data: ``--flb`` files and the dumps that a capture carries along.

Accepted are the array layout H6 and the headers H7 and H8 followed by their KHO blocks in chain order, a page
each; the header may be a zero-filled page too (layouts: schemas/pci_ser.py, schemas/kho_block.py). Older
layouts are recognised and refused by name. What the incoming kernel would refuse or panic on is refused here
too, since such data says nothing about what was preserved. Whether every bridge above an entry is there
cannot be seen in this data: it has no topology.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer import bdf, series
from analyzer.errors import AritraceError, DamagedInputError, EmptyInputError, UnsupportedFormatError
from schemas.bulk import dtype_of
from schemas.kho_block import CAPACITY, ENTRY_SIZE, MAX_BLOCKS, KhoBlockHeader
from schemas.pci_ser import (
    ARRAY_LAYOUTS,
    BLOCK_LAYOUTS,
    PciDevSerD3,
    PciSerH6,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from numpy.typing import NDArray

#: Layouts that are decoded; the first that a damaged dump resembles explains what is wrong with it.
_DECODED = ("H8", "H6", "H7")
_ENTRY = dtype_of(PciDevSerD3)
_SMALLEST_PAGE = min(CAPACITY)
#: No machine has more physical address bits; a larger "address" is other data.
_PHYSICAL_LIMIT = 1 << 52
#: Most devices that a block set can hold.
_MOST = MAX_BLOCKS * max(CAPACITY.values())
#: More slots than any machine has functions: with these, data that fits nothing is not H6.
_MOST_SLOTS = 1 << 20
#: H8 was at version 2 in 2026; with these, data that fits it otherwise is refused as a newer version.
_PLAUSIBLE_VERSIONS = range(1, 16)


@dataclass(frozen=True)
class FlbContent:
    """What the outgoing kernel handed over.

    Attributes:
        layout: tag of the header layout, ``H6``, ``H7`` or ``H8``.
        version: the header's version field (H8 only).
        entries: (function key of analyzer.bdf, refcount) in the order of the data; bridges included. From the
            auto-preserve patch on, an endpoint counts 1 and a bridge the preserved endpoints beneath it.
        page_size: size of a KHO block, or None where there are none.
    """

    layout: str
    version: int | None
    entries: tuple[tuple[int, int], ...]
    page_size: int | None = None

    @property
    def functions(self) -> frozenset[int]:
        """Keys of all preserved functions."""
        return frozenset(function for function, _ in self.entries)


def decode(data: bytes, name: str = "", *, path: str | None = None) -> FlbContent:
    """Decode a raw dump of the kernel's preserved set.

    Args:
        data: the whole dump.
        name: the FLB name it was found under ("pci", "pci-v2", ...), or empty if unknown.
        path: the file it came from, for messages.

    Raises:
        EmptyInputError: no data.
        DamagedInputError: the layout is clear, but the data contradicts it.
        UnsupportedFormatError: none of the layouts fits, or one that is refused.
    """
    try:
        if not data:
            raise EmptyInputError("expected a pci_ser dump, found no bytes")
        layout = _layout(data, name)
        if layout == "H6":
            return _decode_array(data)
        return _decode_blocks(data, layout)
    except AritraceError as error:
        error.path = path
        raise


def _layout(data: bytes, name: str) -> str:
    """Choose the layout: by name where that is enough, else by what length and header allow."""
    flb_names = series.flb_names()
    if name and name not in flb_names:
        raise UnsupportedFormatError(
            f"expected FLB name {', '.join(flb_names)}, found {name!r}",
            advice="leave the name out to let the data decide, if it really is a PCI preserved set",
        )
    candidates = flb_names.get(name, (*ARRAY_LAYOUTS, *BLOCK_LAYOUTS))
    # Newest first: H8 and H7 constrain more than the arrays do.
    fitting = [layout for layout in reversed(candidates) if _fits(data, layout)]
    for layout in fitting:
        if layout in _DECODED:
            return layout
    if fitting:
        refused = " or ".join(f"{layout} ({series.users(layout)})" for layout in reversed(fitting))
        oldest = series.where(lambda row: row.hands_over is not None)[0]
        raise UnsupportedFormatError(
            f"expected the pci_ser layout H6, H7 or H8, found layout {refused}",
            offset=0,
            advice=f"aritrace decodes series {oldest.name} and later; name the endpoints with --preserved "
            "instead",
        )
    damaged = [layout for layout in _DECODED if layout in candidates]
    if len(candidates) > 1:
        damaged = [layout for layout in damaged if _resembles(data, layout)]
    if damaged:
        return damaged[0]
    raise UnsupportedFormatError(
        f"expected a pci_ser dump{f' of FLB {name!r}' if name else ''} (layout {', '.join(candidates)}), "
        f"found {len(data)} bytes that fit none of them",
        offset=0,
        advice="give the raw pci_ser, for H7 and H8 followed by its KHO blocks in chain order, a page each",
    )


def _header(data: bytes, declaration: Any) -> Any:
    """Parse a header, or None if the data ends before it does."""
    return declaration.parse(data) if len(data) >= declaration.sizeof() else None


def _fits(data: bytes, layout: str) -> bool:
    """Whether length and header agree with a layout as a whole dump."""
    if layout in BLOCK_LAYOUTS:
        declaration = BLOCK_LAYOUTS[layout]
        if not _resembles(data, layout, _PLAUSIBLE_VERSIONS):
            return False
        size = declaration.sizeof()
        if declaration.parse(data).devices == 0:
            return _only_header(data, size)
        starts = (_blocks_start(data, size, page) for page in CAPACITY)
        return any(start is not None and len(data) > start and (len(data) - start) % _SMALLEST_PAGE == 0
                   for start in starts)  # fmt: skip
    declaration, entry = ARRAY_LAYOUTS[layout]
    header = _header(data, declaration)
    if header is None:
        return False
    slots: int = header.get("max_nr_devices", header.nr_devices)
    room = declaration.sizeof() + slots * entry.sizeof()
    return bool(header.nr_devices <= slots and room == len(data) and (layout != "H6" or slots > 0))


def _resembles(data: bytes, layout: str, versions: Container[int] | None = None) -> bool:
    """Whether the header alone looks like a layout: if nothing fits, its error is the one to show."""
    header = _header(data, BLOCK_LAYOUTS.get(layout, PciSerH6))
    if header is None:
        return False
    if layout == "H6":
        return bool(header.nr_devices <= header.max_nr_devices and 0 < header.max_nr_devices <= _MOST_SLOTS)
    if layout == "H8" and header.version not in (versions or series.versions(layout)):
        return False
    address = header.devices % _SMALLEST_PAGE == 0 and header.devices < _PHYSICAL_LIMIT
    return bool(address and header.nr_devices <= _MOST and (header.devices or not header.nr_devices))


def _decode_array(data: bytes) -> FlbContent:
    """Decode H6: the header and ``max_nr_devices`` slots."""
    header = _header(data, PciSerH6)
    if header is None:
        raise DamagedInputError(f"expected an H6 header of 8 bytes, found {len(data)}", offset=0)
    if header.nr_devices > header.max_nr_devices or not header.max_nr_devices:
        raise DamagedInputError(
            f"expected an H6 header with at least one slot and no more devices than slots, found "
            f"{header.nr_devices} devices in {header.max_nr_devices} slots",
            offset=0,
        )
    start = PciSerH6.sizeof()
    room = start + header.max_nr_devices * ENTRY_SIZE
    if len(data) != room:
        raise DamagedInputError(
            f"expected {room} bytes (H6 header and {header.max_nr_devices} slots), found {len(data)}",
            offset=min(room, len(data)),
            advice=f"cut the dump to {room} bytes" if len(data) > room else "dump the data again, whole",
        )
    slots = np.frombuffer(data, _ENTRY, offset=start)
    offsets = start + ENTRY_SIZE * np.arange(len(slots), dtype=np.int64)
    return FlbContent("H6", None, _entries(slots, offsets, header.nr_devices, 4))


def _decode_blocks(data: bytes, layout: str) -> FlbContent:
    """Decode H7 or H8: the header and its KHO blocks in chain order."""
    declaration = BLOCK_LAYOUTS[layout]
    size = declaration.sizeof()
    header = _header(data, declaration)
    if header is None:
        raise DamagedInputError(f"expected an {layout} header of {size} bytes, found {len(data)}", offset=0)
    version = header.get("version")
    if version is not None and version not in (known := series.versions(layout)):
        raise UnsupportedFormatError(
            f"expected version {' or '.join(map(str, known))} in the {layout} header, found {version}",
            offset=0,
            advice="this data is of a newer kernel; name the endpoints with --preserved instead",
        )
    count_at = 0 if version is None else 4
    if header.devices == 0:
        if not _only_header(data, size):
            raise DamagedInputError(
                f"expected no KHO blocks (the header says there are none), found {len(data) - size} bytes",
                offset=size,
            )
        none = _entries(np.zeros(0, _ENTRY), np.zeros(0, np.int64), header.nr_devices, count_at)
        return FlbContent(layout, version, none)
    page, start = _page_size(data, size, header.devices)
    slots, offsets = _chain(data, start, header.devices, page)
    return FlbContent(layout, version, _entries(slots, offsets, header.nr_devices, count_at), page)


def _page_size(data: bytes, size: int, first: int) -> tuple[int, int]:
    """Page size of a chain, and where its first block stands.

    The length must hold whole pages, and only the last block may end the chain. At most one size passes: a
    block boundary of a larger page is one of a smaller page too, where the two demand opposite things of
    ``next``. Damaged chains take the size that their counts fit, so that the error is about the right block.
    """
    possible = []
    for page in CAPACITY:
        start = _blocks_start(data, size, page)
        if start is not None and len(data) > start and (len(data) - start) % page == 0 and first % page == 0:
            possible.append((page, start))
    if not possible:
        raise DamagedInputError(
            f"expected KHO blocks of {', '.join(map(str, CAPACITY))} bytes after the header, the first from "
            f"physical address {first:#x}, found {len(data) - size} bytes",
            offset=size,
            advice="append each block of the chain as a whole page, in chain order",
        )
    counted = []
    for page, start in possible:
        words = np.frombuffer(data, "<u8", offset=start)
        following, counts = words[:: page // 8], words[1 :: page // 8]
        if following[-1] == 0 and following[:-1].all():
            return page, start
        if counts.min() > 0 and counts.max() <= CAPACITY[page]:
            counted.append((page, start))
    return (counted or possible)[0]


def _only_header(data: bytes, size: int) -> bool:
    """Whether nothing follows the header, or only the zeros of its page (a page of zeros is not a header)."""
    return len(data) == size or (len(data) in CAPACITY and any(data[:size]) and not any(data[size:]))


def _blocks_start(data: bytes, size: int, page: int) -> int | None:
    """First block: right after the header, or after a header that was dumped as a whole zeroed page."""
    if len(data) % _SMALLEST_PAGE:
        return size
    return None if any(data[size:page]) else page


def _chain(data: bytes, start: int, first: int, page: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Follow the chain of blocks and return their entries with the byte offset of each."""
    blocks = (len(data) - start) // page
    if blocks > MAX_BLOCKS:
        raise DamagedInputError(f"expected at most {MAX_BLOCKS} KHO blocks, found {blocks}", offset=start)
    seen: set[int] = set()
    slots, offsets = [], []
    address = first
    for number in range(blocks):
        at = start + number * page
        head = KhoBlockHeader.parse(data[at : at + KhoBlockHeader.sizeof()])
        seen.add(address)
        if head.next in seen:
            raise DamagedInputError(
                f"expected a KHO chain without a cycle, found block {number} going back to {head.next:#x}",
                offset=at,
            )
        if not 0 < head.count <= CAPACITY[page]:
            raise DamagedInputError(
                f"expected 1 to {CAPACITY[page]} entries in KHO block {number} of {page} bytes, found "
                f"{head.count} (the kernel refuses to restore such a set)",
                offset=at + 8,
            )
        _check_next(head.next, number, blocks, page, at)
        body = at + KhoBlockHeader.sizeof()
        slots.append(np.frombuffer(data, _ENTRY, count=head.count, offset=body))
        offsets.append(body + ENTRY_SIZE * np.arange(head.count, dtype=np.int64))
        address = head.next
    return np.concatenate(slots), np.concatenate(offsets)


def _check_next(following: int, number: int, blocks: int, page: int, at: int) -> None:
    if number == blocks - 1:
        if following:
            raise DamagedInputError(
                f"expected another KHO block (block {number} goes on at {following:#x}), found the end",
                offset=at,
                advice="append every block of the chain, in chain order",
            )
    elif not following:
        raise DamagedInputError(
            f"expected the end of the data (KHO block {number} is the last), found {blocks - 1 - number} "
            f"more pages of {page} bytes",
            offset=at,
        )
    elif following % page or following >= _PHYSICAL_LIMIT:
        raise DamagedInputError(
            f"expected a page-aligned address of the next KHO block, found {following:#x} in block {number}",
            offset=at,
        )


def _entries(
    slots: NDArray[Any], offsets: NDArray[np.int64], expected: int, count_at: int
) -> tuple[tuple[int, int], ...]:
    """The used slots; unused ones (refcount 0) are holes that the kernel skips too."""
    used = slots["refcount"] != 0
    slots, offsets = slots[used], offsets[used]
    if len(slots) != expected:
        raise DamagedInputError(
            f"expected {expected} devices (nr_devices in the header), found {len(slots)} entries in use",
            offset=count_at,
        )
    keys = slots["domain"].astype(np.int64) << 16 | slots["bdf"].astype(np.int64)
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        second = order[twice + 1].min()
        raise DamagedInputError(
            f"expected each function once, found {bdf.text(int(keys[second]))} twice (the incoming kernel "
            "panics on it)",
            offset=int(offsets[second]),
        )
    return tuple(zip(keys.tolist(), slots["refcount"].tolist(), strict=True))
