"""A snapshot as the text that ``lspci -F`` reads (pciutils ``lib/dump.c``), and that is read here as well.

lspci has no notation for an unknown byte. As many rows are printed as lspci itself prints (64, 256 or 4096
bytes, as far as a byte is known), and an unknown byte in them is printed as 00: if it were left out, lspci
would take it for ff, and show bits as set that no access showed. A remark above the rows lists these bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.readers.snapshot.lspci_dump import UNKNOWN_REMARK
from schemas.config_header import (
    CLASS_DEVICE,
    CONFIG_SIZE,
    DEVICE_ID,
    EXTENDED_CONFIG_SIZE,
    HEADER_SIZE,
    VENDOR_ID,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.questions.snapshot import FunctionSpace, Snapshot
    from analyzer.results import Boot

_ROW: Final = 16
#: pciutils reads lines into 256 bytes and refuses longer ones.
_MAX_LINE: Final = 200


def lspci_text(snapshot: Snapshot) -> Iterator[str]:
    """Yield the dump in pieces: a remark about its origin, then function by function."""
    yield _origin(snapshot.boot)
    for space in snapshot.functions:
        yield _function(space)


def _origin(boot: Boot) -> str:
    # The release comes from the capture: only characters that releases consist of go into the text.
    release = re.sub(r"[^\w.+~-]", "?", boot.release, flags=re.ASCII)[:64] if boot.release else None
    kernel = f"{boot.kind} {release}" if release else boot.kind
    return (
        f"# Configuration space at the end of boot {boot.index} ({kernel}), accesses {boot.first_access} to"
        f" {boot.last_access}, as the capture shows it\n"
    )


def _function(space: FunctionSpace) -> str:
    vendor, device, kind = space.value(VENDOR_ID, 2), space.value(DEVICE_ID, 2), space.value(CLASS_DEVICE, 2)
    lines = [f"{bdf.text(space.function)} {_hex(kind)}: {_hex(vendor)}:{_hex(device)}"]
    size = _size(space)
    lines.extend(_unknown(~space.known[:size]))
    lines.extend(f"{at:02x}: {space.data[at : at + _ROW].tobytes().hex(' ')}" for at in range(0, size, _ROW))
    return "\n".join(lines) + "\n\n"


def _hex(value: int | None) -> str:
    return "????" if value is None else f"{value:04x}"


def _size(space: FunctionSpace) -> int:
    """How many bytes are printed."""
    end = int(np.flatnonzero(space.known)[-1]) + 1 if space.known.any() else 0
    return next(size for size in (HEADER_SIZE, CONFIG_SIZE, EXTENDED_CONFIG_SIZE) if end <= size)


def _unknown(unknown: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[str]:
    """The remarks about bytes that are printed and not known."""
    edges = np.flatnonzero(np.diff(np.r_[False, unknown, False]))
    line = UNKNOWN_REMARK
    for first, end in edges.reshape(-1, 2).tolist():
        piece = f" {first:x}" if end == first + 1 else f" {first:x}-{end - 1:x}"
        if len(line) + len(piece) > _MAX_LINE:
            yield line
            line = UNKNOWN_REMARK
        line += piece
    if line != UNKNOWN_REMARK:
        yield line
