"""The set of preserved functions that Live Update handed to the running kernel, out of its memory.

The way is the kernel's own (Linux 7.3 ``kernel/liveupdate/luo_flb.c``; PCI Live Update series v6 to v9): the
list of FLBs, which ``luo_flb_global.incoming`` keeps for the life of the kernel (in other versions ``struct
luo_ser``, which debugfs shows), the entry of the PCI core, ``struct pci_ser`` and its KHO blocks. Memory that
the kernel has given back since may hold anything: what is found must decode as a whole, and name at least one
function that the host has.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import construct

from analyzer.capture import PreservedDump
from analyzer.converting.kernel_memory import KernelMemory, KernelMemoryError, symbol
from analyzer.errors import AritraceError
from analyzer.preservation import flb
from schemas.kho_block import MAX_BLOCKS, KhoBlockHeader
from schemas.luo import COMPATIBLE, MAX_FLBS, LuoFlb, LuoFlbGlobal, LuoFlbHeader, LuoSer
from schemas.pci_ser import PciDevSerD3, PciSerH6, PciSerH7, PciSerH8

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

#: FLB name -> layout; of the layouts of "pci-v2" only H7 is in a series that was posted.
_LAYOUTS: Final = {"pci": PciSerH8, "pci-v3": PciSerH6, "pci-v2": PciSerH7}
_VARIABLE: Final = "luo_flb_global"
#: More slots than any machine has functions; more bytes than so many need.
_MOST_SLOTS: Final = 1 << 20
_MOST_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class HandedToKernel:
    """What was found.

    Attributes:
        dump: the set; None: what was handed over has nothing of PCI.
        names: of every FLB.
    """

    dump: PreservedDump | None
    names: tuple[str, ...]


def read(proc: Path, luo_blob: Path, functions: Collection[int]) -> HandedToKernel:
    """Find the set that this kernel was handed.

    Args:
        proc: ``/proc``.
        luo_blob: debugfs' copy of ``struct luo_ser``.
        functions: keys of the functions that the host has.

    Raises:
        KernelMemoryError: it cannot be read, or what is there is no such set (any more).
    """
    address = symbol(proc / "kallsyms", _VARIABLE)
    with KernelMemory(proc / "kcore") as memory:
        try:
            entries = list(_listed(memory, address, luo_blob))
            names = tuple(name for name, _ in entries)
            found = [(name, data) for name, data in entries if name == "pci" or name.startswith("pci-v")]
            if not found:
                return HandedToKernel(None, names)
            name, data = found[0]
            dump = PreservedDump(_pci_ser(memory, name, data), name)
            content = flb.decode(dump.data, name)
        except (construct.ConstructError, struct.error, AritraceError) as error:
            raise KernelMemoryError(
                f"expected a preserved set in memory, found other data: {error}"
            ) from error
    if not content.functions & set(functions):
        raise KernelMemoryError(
            "the memory of the preserved set was given back: it names no function of this host"
        )
    return HandedToKernel(dump, names)


def _listed(memory: KernelMemory, variable: int | None, luo_blob: Path) -> Iterator[tuple[str, int]]:
    """Name and data of every FLB that was handed over."""
    if variable is not None:
        kept = LuoFlbGlobal.parse(memory.virtual(variable, LuoFlbGlobal.sizeof()))
        if kept.active != 1:
            raise KernelMemoryError("the kernel has no list of what was handed over (luo_flb_global)")
        read, place = memory.virtual, kept.header_ser
    else:
        read, place = memory.physical, _flbs(luo_blob)
    size = LuoFlbHeader.sizeof()
    count = LuoFlbHeader.parse(read(place, size)).count
    if not 0 < count <= MAX_FLBS:
        raise KernelMemoryError(f"expected 1 to {MAX_FLBS} FLBs in the kernel's list, found {count}")
    for number in range(count):
        one = LuoFlb.parse(read(place + size + number * LuoFlb.sizeof(), LuoFlb.sizeof()))
        yield one.name, one.data


def _flbs(luo_blob: Path) -> int:
    """Physical address of the list of FLBs by ``struct luo_ser``."""
    try:
        with luo_blob.open("rb", buffering=0) as stream:
            data = stream.read(LuoSer.sizeof()) or b""
    except OSError as error:
        raise KernelMemoryError(f"/sys/kernel/debug/kho: {error.strerror}") from error
    if len(data) < LuoSer.sizeof() or not data.startswith(COMPATIBLE.encode()):
        raise KernelMemoryError(
            f"no variable {_VARIABLE} in /proc/kallsyms, and no struct luo_ser ({COMPATIBLE}) in debugfs"
        )
    place: int = LuoSer.parse(data).flbs
    return place


def _pci_ser(memory: KernelMemory, name: str, place: int) -> bytes:
    """``struct pci_ser`` and what belongs to it: the blocks in chain order."""
    layout = _LAYOUTS.get(name)
    if layout is None:
        raise KernelMemoryError(f"FLB {name} has a layout that is not decoded")
    head = memory.physical(place, layout.sizeof())
    header = layout.parse(head)
    if layout is PciSerH6:
        slots = header.max_nr_devices
        if not 0 < slots <= _MOST_SLOTS:
            raise KernelMemoryError(
                f"expected up to {_MOST_SLOTS} slots of preserved functions, found {slots}"
            )
        return head + memory.physical(place + len(head), slots * PciDevSerD3.sizeof())
    return head + b"".join(_blocks(memory, header.devices))


def _blocks(memory: KernelMemory, place: int) -> Iterator[bytes]:
    page = os.sysconf("SC_PAGE_SIZE")
    seen: set[int] = set()
    while place:
        if place in seen or len(seen) >= min(MAX_BLOCKS, _MOST_BYTES // page):
            raise KernelMemoryError("the chain of KHO blocks has a cycle or no end")
        seen.add(place)
        block = memory.physical(place, page)
        yield block
        place = KhoBlockHeader.parse(block[: KhoBlockHeader.sizeof()]).next
