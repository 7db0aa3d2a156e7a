"""Captures of machines that cannot be, made row by row with numpy: no simulated kernel would scan them."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

from analyzer.capture import Boundary, accesses
from analyzer.converting.native import NativeWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

BRIDGE, ENDPOINT = 1, 0


def space(
    *,
    header: int = ENDPOINT,
    multi: bool = True,
    buses: tuple[int, int, int] = (0, 0, 0),
    caps: Mapping[int, int] | None = None,
    extended: Mapping[int, int] | None = None,
    first_cap: int = 0x40,
) -> bytes:
    """A config space of 4096 bytes.

    Args:
        header: type of the header.
        multi: the multi-function bit.
        buses: primary, secondary and subordinate bus.
        caps: dwords of the capability list by their place.
        extended: dwords of the extended capability list by their place.
        first_cap: where the capability list starts.
    """
    data = bytearray(4096)
    struct.pack_into("<HHHHII", data, 0, 0x1B36, 0x000C, 7, 0x10, 0x06040000 if header else 0x02000000, 0)
    data[0x0E] = header | (0x80 if multi else 0)
    if header == BRIDGE:
        data[0x18:0x1B] = bytes(buses)
    data[0x34] = first_cap
    for place, dword in {**(caps or {}), **(extended or {})}.items():
        struct.pack_into("<I", data, place, dword)
    return bytes(data)


def express(kind: int, place: int = 0x40, following: int = 0, *, ari: bool = True) -> dict[int, int]:
    """The dwords of a PCI Express capability (version 2) that supports and enables ARI Forwarding."""
    on = 0x20 if ari else 0
    return {place: 0x10 | following << 8 | (2 | kind << 4) << 16, place + 0x24: on, place + 0x28: on}


def ari(next_function: int, place: int = 0x100, following: int = 0) -> dict[int, int]:
    """The dwords of an ARI extended capability."""
    return {place: 0x0E | 1 << 16 | following << 20, place + 4: next_function << 8}


def scan(
    functions: Mapping[tuple[int, int, int], bytes], registers: Sequence[int] | None = None
) -> pl.DataFrame:
    """The reads of a kernel that finds these functions, by (domain, bus, devfn), and reads registers."""
    wanted = list(registers if registers is not None else range(0, 0x200, 4))
    offset = np.array([0, 0x0E, *wanted], np.uint16)
    width = np.array([4, 1, *[4] * len(wanted)], np.uint8)
    keys = np.array(list(functions), np.uint32).reshape(-1, 3)
    spaces = list(functions.values())
    same = {id(data): None for data in spaces}
    for data in spaces:
        if same[id(data)] is None:
            dwords = np.frombuffer(data, "<u4")[offset >> 2]
            same[id(data)] = np.where(width == 1, data[0x0E], dwords).astype(np.uint32)
    value = np.concatenate([same[id(data)] for data in spaces])
    return table(
        np.repeat(keys, len(offset), axis=0), np.tile(offset, len(keys)), np.tile(width, len(keys)), value
    )


def table(
    keys: np.ndarray, offset: np.ndarray, width: np.ndarray, value: np.ndarray, write: bool = False
) -> pl.DataFrame:
    rows = len(keys)
    return accesses.from_columns(
        {
            "domain": keys[:, 0],
            "bus": keys[:, 1].astype(np.uint8),
            "devfn": keys[:, 2].astype(np.uint8),
            "offset": offset,
            "width": width,
            "op": np.full(rows, int(write), np.uint8),
            "value": value,
            "where": np.arange(rows, dtype=np.uint64),
        },
        rows,
    )


def native(boots: Iterable[pl.DataFrame], kind: str = "live-update", **header: object) -> bytes:
    """A native file of several boots with a boundary between them."""
    stream, rows = io.BytesIO(), 0
    with NativeWriter(stream, **header) as writer:
        for number, boot in enumerate(boots):
            if number:
                writer.boundary(Boundary(rows, kind))
            writer.accesses(boot)
            rows += boot.height
    return stream.getvalue()


def twice(functions: Mapping[tuple[int, int, int], bytes], registers: Sequence[int] | None = None) -> bytes:
    """Two kernels, a live update between them, that find the same."""
    found = scan(functions, registers)
    return native([found, found])


def with_marks(frame: pl.DataFrame, times: int, marks: list[Boundary], *, behind: bool = False) -> bytes:
    """A native file of a frame repeated, with these boundaries in front of everything, or behind it."""
    import polars as pl

    stream = io.BytesIO()
    with NativeWriter(stream) as writer:
        if not behind:
            writer.boundary(*marks)
        writer.accesses(pl.concat([frame] * times))
        if behind:
            writer.boundary(*marks)
    return stream.getvalue()


def poll(times: int) -> pl.DataFrame:
    """One register read with the same result again and again: a long capture of it is thinned."""
    keys = np.tile(np.array([[0, 0, 8]], np.uint32), (times, 1))
    return table(
        keys, np.full(times, 0x52, np.uint16), np.full(times, 2, np.uint8), np.full(times, 0x1011, np.uint32)
    )
