"""What an outgoing kernel handed over, from the guest's memory in the blackout.

The way is the kernel's own (Linux 7.3, kernel/liveupdate): KHO's device tree -> blob "LUO" -> sessions with
their files, and the list of FLBs. Memory is a reader of physical addresses, so that a whole image and a few
pages of it (:func:`pages_of`) are decoded by the same code.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import construct as cs

from analyzer.lab.process import LabRunError
from schemas.device_tree import BEGIN_NODE, END_NODE, MAGIC, NOP, PROP, DeviceTreeHeader, Property
from schemas.kho_block import MAX_BLOCKS, KhoBlockHeader
from schemas.luo import COMPATIBLE, MAX_FLBS, KexecMetadata, LuoFile, LuoFlb, LuoFlbHeader, LuoSer, LuoSession

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

#: Physical address and size -> so many bytes.
Memory: TypeAlias = Callable[[int, int], bytes]

PAGE = 4096
_LARGEST_TREE = 1 << 20
_COMPATIBLE = b"kho-v"


@dataclass(frozen=True)
class HandedOverState:
    """What was handed over.

    Attributes:
        kho: compatible string of KHO's device tree.
        number: of this Live Update, from 1.
        previous_release, kexec_count: of the outgoing kernel, and how many kexecs there were so far.
        sessions: name -> (compatible string of its handler, token) of each file.
        flbs: (name, data, files that depend on it).
    """

    kho: str
    number: int
    previous_release: str
    kexec_count: int
    sessions: dict[str, list[tuple[str, int]]]
    flbs: list[tuple[str, int, int]]


def find_tree(memory: mmap.mmap | bytes, base: int = 0) -> int:
    """Return the physical address of KHO's device tree.

    Args:
        memory: an image of the guest's memory.
        base: physical address of its first byte.

    Raises:
        LabRunError: there is none, or more than one.
    """
    found = []
    at = memory.find(MAGIC)
    while at >= 0:
        if at % PAGE == 0 and _COMPATIBLE in memory[at : at + 256]:
            found.append(at + base)
        at = memory.find(MAGIC, at + 1)
    if len(found) != 1:
        raise LabRunError(f"expected one device tree of KHO in the guest's memory, found {len(found)}")
    return found[0]


def decode(read: Memory, tree: int) -> HandedOverState:
    """Decode what the device tree at a physical address leads to.

    Raises:
        LabRunError: the data is not as Linux 7.3 writes it.
    """
    try:
        return _decode(read, tree)
    except (cs.ConstructError, KeyError, ValueError, struct.error) as error:
        raise LabRunError(f"the guest's memory does not hold what Linux 7.3 hands over: {error}") from error


def _decode(read: Memory, tree: int) -> HandedOverState:
    properties = dict(device_tree(read(tree, _tree_size(read, tree))))
    luo = LuoSer.parse(read(_number(properties["/LUO/preserved-data"]), LuoSer.sizeof()))
    if luo.compatible != COMPATIBLE:
        raise ValueError(f"expected {COMPATIBLE!r}, found {luo.compatible!r}")
    place = _number(properties["/kexec-metadata/preserved-data"])
    metadata = KexecMetadata.parse(read(place, KexecMetadata.sizeof()))
    sessions = {
        session.name: [(file.compatible, file.token) for file in _entries(read, session.files, LuoFile)]
        for session in _entries(read, luo.sessions, LuoSession)
    }
    header = LuoFlbHeader.parse(read(luo.flbs, LuoFlbHeader.sizeof()))
    if header.count > MAX_FLBS:
        raise ValueError(f"expected up to {MAX_FLBS} FLBs, found {header.count}")
    first, size = luo.flbs + LuoFlbHeader.sizeof(), LuoFlb.sizeof()
    flbs = [LuoFlb.parse(read(first + number * size, size)) for number in range(header.count)]
    return HandedOverState(
        kho=properties["/compatible"].rstrip(b"\0").decode("ascii"),
        number=luo.liveupdate_num,
        previous_release=metadata.previous_release,
        kexec_count=metadata.kexec_count,
        sessions=sessions,
        flbs=[(flb.name, flb.data, flb.count) for flb in flbs],
    )


def _entries(read: Memory, block: int, declaration: Any) -> Iterator[Any]:
    """The entries of a chain of KHO blocks."""
    for _ in range(MAX_BLOCKS):
        if not block:
            return
        head = KhoBlockHeader.parse(read(block, KhoBlockHeader.sizeof()))
        if head.count > (PAGE - KhoBlockHeader.sizeof()) // declaration.sizeof():
            raise ValueError(f"expected a KHO block at {block:#x}, found one with {head.count} entries")
        for number in range(head.count):
            place = block + KhoBlockHeader.sizeof() + number * declaration.sizeof()
            yield declaration.parse(read(place, declaration.sizeof()))
        block = head.next
    raise ValueError("expected an end of the chain of KHO blocks, found none")


def _tree_size(read: Memory, tree: int) -> int:
    size = int(DeviceTreeHeader.parse(read(tree, DeviceTreeHeader.sizeof())).totalsize)
    if size > _LARGEST_TREE:
        raise ValueError(f"expected a device tree of up to {_LARGEST_TREE} bytes, found {size}")
    return size


def device_tree(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the path and the value of each property, as in ``/LUO/preserved-data``.

    Raises:
        construct.ConstructError, ValueError: it is not a whole device tree.
    """
    header = DeviceTreeHeader.parse(data)
    at, path = header.off_dt_struct, []
    while True:
        (token,) = struct.unpack_from(">I", data, at)
        at += 4
        if token == BEGIN_NODE:
            name = _string(data, at)
            at += len(name) // 4 * 4 + 4
            path.append(name)
        elif token == END_NODE and path:
            path.pop()
        elif token == PROP:
            found = Property.parse(data[at : at + Property.sizeof()])
            start = at + Property.sizeof()
            yield (
                "/".join([*path, _string(data, header.off_dt_strings + found.nameoff)]),
                data[start : start + found.len],
            )
            at = start + (found.len + 3) // 4 * 4
        elif token != NOP:
            return


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode("ascii")


def _number(value: bytes) -> int:
    if len(value) != 8:
        raise ValueError(f"expected a number of 8 bytes in the device tree, found {len(value)}")
    return int.from_bytes(value, "little")


def pages_of(read: Memory, tree: int) -> bytes:
    """Return the pages that decoding needs as a tar archive, each named by its physical address.

    Args:
        read: of the whole memory.
        tree: address of KHO's device tree.
    """
    pages: dict[int, bytes] = {}

    def noting(address: int, size: int) -> bytes:
        for page in range(address // PAGE * PAGE, address + size, PAGE):
            pages[page] = read(page, PAGE)
        return read(address, size)

    decode(noting, tree)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for address, content in sorted(pages.items()):
            member = tarfile.TarInfo(f"{address:#x}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()
