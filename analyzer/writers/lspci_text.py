"""A snapshot as the text that ``lspci -F`` reads (pciutils ``lib/dump.c``), and that is read here as well.

lspci has no sign for a byte that is not known. Rows from the first to the last that holds a known byte are
printed (of the first 256 bytes, and of those beyond), and what is not known in them is 00: left out, lspci
would take it for ff, and show bits as set that nobody has seen. A remark in front of the rows says which
bytes those are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.readers.lspci_dump import UNKNOWN_REMARK
from schemas.config_header import CLASS_DEVICE, CONFIG_SIZE, DEVICE_ID, EXTENDED_CONFIG_SIZE, VENDOR_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.results import Boot
    from analyzer.snapshots import FunctionSpace, Snapshot

_ROW: Final = 16
#: pciutils reads lines into 256 bytes and refuses longer ones.
_MAX_LINE: Final = 200


def lspci_text(snapshot: Snapshot) -> Iterator[str]:
    """Yield the dump in pieces: a remark about its origin, then function by function."""
    yield _origin(snapshot.boot)
    for space in snapshot.functions:
        yield _function(space)


def _origin(boot: Boot) -> str:
    # The release comes from the capture: nothing but what a release is made of goes into the text.
    release = re.sub(r"[^\w.+~-]", "?", boot.release, flags=re.ASCII)[:64] if boot.release else None
    who = f"{boot.kind} {release}" if release else boot.kind
    return (
        f"# Configuration space at the end of boot {boot.index} ({who}), accesses {boot.first_access} to"
        f" {boot.last_access}, as the capture shows it\n"
    )


def _function(space: FunctionSpace) -> str:
    vendor, device, kind = space.value(VENDOR_ID, 2), space.value(DEVICE_ID, 2), space.value(CLASS_DEVICE, 2)
    lines = [f"{bdf.text(space.function)} {_hex(kind)}: {_hex(vendor)}:{_hex(device)}"]
    shown = _shown(space)
    lines.extend(_unknown(~space.known & shown))
    for row in np.flatnonzero(shown[::_ROW]).tolist():
        at = row * _ROW
        lines.append(f"{at:02x}: {space.data[at : at + _ROW].tobytes().hex(' ')}")
    return "\n".join(lines) + "\n\n"


def _hex(value: int | None) -> str:
    return "????" if value is None else f"{value:04x}"


def _shown(space: FunctionSpace) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which bytes are in rows that are printed."""
    shown = np.zeros(EXTENDED_CONFIG_SIZE, bool)
    for start, end in ((0, CONFIG_SIZE), (CONFIG_SIZE, EXTENDED_CONFIG_SIZE)):
        known = np.flatnonzero(space.known[start:end])
        if known.size:
            first = 0 if start == 0 else int(known[0]) // _ROW
            shown[start + first * _ROW : start + (int(known[-1]) // _ROW + 1) * _ROW] = True
    return shown


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
