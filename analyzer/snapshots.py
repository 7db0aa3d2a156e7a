"""Configuration spaces as a capture shows them at the end of one boot: the last known byte of every register.

What a read returned and what a write set counts, the later over the earlier. Not taken:

* reads of all ones, failed reads and Request Retry Status: nobody answered;
* writes to status registers whose bits are cleared by writing 1: the value is not what was written.

A register that changed by itself (a reset, a link that went down) shows its old value until it is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzer import analysis
from analyzer.errors import UsageError
from analyzer.registers.reading import Wanted, read
from schemas import config_header, extended_capabilities, pcie_capability
from schemas.config_header import EXTENDED_CONFIG_SIZE
from schemas.registers import CAPABILITY_BASES, EXTENDED_BASES, REGISTERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.capture import Capture
    from analyzer.index import AccessIndex
    from analyzer.options import Options
    from analyzer.registers.functions import Function
    from analyzer.results import Boot

#: Status registers whose bits are cleared by writing 1 (offset, bytes), by base as in ``schemas.registers``.
_CLEARED_BY_ONES: dict[str, tuple[tuple[int, int], ...]] = {
    "HEADER0": ((config_header.STATUS, 2),),
    "HEADER1": ((config_header.STATUS, 2), (config_header.SEC_STATUS, 2)),
    "CAP_EXP": (
        (pcie_capability.DEVSTA, 2), (pcie_capability.LNKSTA, 2), (pcie_capability.SLTSTA, 2),
        (pcie_capability.RTSTA, 4), (pcie_capability.DEVSTA2, 2), (pcie_capability.LNKSTA2, 2),
        (pcie_capability.SLTSTA2, 2),
    ),
    "ECAP_AER": (
        (extended_capabilities.AER_UNCOR_STATUS, 4), (extended_capabilities.AER_COR_STATUS, 4),
        (extended_capabilities.AER_ROOT_STATUS, 4),
    ),
    "ECAP_DPC": ((extended_capabilities.DPC_STATUS, 2),),
}  # fmt: skip


@dataclass(frozen=True)
class FunctionSpace:
    """The configuration space of one function.

    Attributes:
        function: its key (see :mod:`analyzer.bdf`).
        data: 4096 bytes, 0 where not known.
        known: 4096 flags: which of them the capture shows.
    """

    function: int
    data: NDArray[np.uint8]
    known: NDArray[np.bool_]

    def value(self, offset: int, size: int) -> int | None:
        """The register of ``size`` bytes at ``offset``, None if a byte of it is not known."""
        if not self.known[offset : offset + size].all():
            return None
        return int.from_bytes(self.data[offset : offset + size].tobytes(), "little")


@dataclass(frozen=True)
class Snapshot:
    """Every function that answered in one boot, in BDF order."""

    boot: Boot
    functions: list[FunctionSpace]


def take(path: str, boot: int | None = None, options: Options | None = None) -> Snapshot:
    """Take the snapshot of a capture at the end of a boot.

    Args:
        path: the capture.
        boot: number of the boot, None for the last.
        options: boundaries by hand and logs, as for the main job.

    Raises:
        UsageError: the capture has no such boot.
        AritraceError: the capture cannot be read.
    """
    from analyzer.readers import open_capture

    return take_capture(open_capture(path, options), boot, options)


def take_capture(capture: Capture, boot: int | None = None, options: Options | None = None) -> Snapshot:
    """The same for a capture that is already in memory."""
    study = analysis.study(capture, options)
    rows = study.result.boots
    number = len(rows) - 1 if boot is None else boot
    if not 0 <= number < len(rows):
        raise UsageError(
            f"{capture.path} holds boots 0 to {len(rows) - 1}, not {number}",
            advice="analyze stat lists them",
        )
    span = study.topologies[number].boot
    keys = _answering(study.index, span.first, span.last)
    (found,) = read([Wanted(study.index, span.first, span.last, keys)])
    spaces = [_space(study.index, function) for function in found.values()]
    return Snapshot(rows[number], [space for space in spaces if space.known.any()])


def _answering(index: AccessIndex, first: int, last: int) -> list[int]:
    """Functions that answered a read, virtual ones too."""
    live = index.is_read & ~_dead(index)
    return [int(key) for key in np.unique(index.function[first : last + 1][live[first : last + 1]])]


def _dead(index: AccessIndex) -> NDArray[np.bool_]:
    """Rows whose value is no content of a register: nobody answered, or not yet."""
    ones = np.where(
        index.width > 0,
        (np.int64(1) << (8 * index.width.astype(np.int64))) - 1,
        np.where(index.value > 0xFFFF, 0xFFFFFFFF, 0xFFFF),
    )
    retry = (index.offset == config_header.VENDOR_ID) & (index.value & 0xFFFF == config_header.RRS_VENDOR)
    # One byte of all ones is a value like any other (a BAR, a line number): only wider reads tell.
    silent = index.absent | index.failed | (index.width != 1) & (index.value == ones)
    return np.asarray(index.is_read & (silent | retry), np.bool_)


def _space(index: AccessIndex, function: Function) -> FunctionSpace:
    """Apply the accesses of one function in order; one numpy pass, because a later assignment wins."""
    sizes, cleared = _layout(function)
    rows = function.view.rows
    offset, value = index.offset[rows].astype(np.int64), index.value[rows]
    width = index.width[rows].astype(np.int64)
    reach = np.where(value > 0xFFFF, 4, np.where(value > 0xFF, 2, 1))
    # Where the width is not recorded: the register's own, or what the value needs (as analyzer.registers).
    width = np.where(width > 0, width, np.maximum(reach, sizes[offset]))
    lanes = np.arange(4)
    places = offset[:, None] + lanes
    valid = (lanes < width[:, None]) & (places < EXTENDED_CONFIG_SIZE) & ~_dead(index)[rows, None]
    places = np.minimum(places, EXTENDED_CONFIG_SIZE - 1)
    valid &= ~(index.is_write[rows, None] & cleared[places])
    data, known = np.zeros(EXTENDED_CONFIG_SIZE, np.uint8), np.zeros(EXTENDED_CONFIG_SIZE, bool)
    data[places[valid]] = (value[:, None] >> 8 * lanes & 0xFF)[valid]
    known[places[valid]] = True
    return FunctionSpace(function.function, data, known)


def _layout(function: Function) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Bytes of the register that starts at each offset (1: not known), and which bytes writing 1 clears."""
    sizes = np.ones(EXTENDED_CONFIG_SIZE, np.int64)
    cleared = np.zeros(EXTENDED_CONFIG_SIZE, bool)
    lists = function.capabilities
    sizes[list(lists.standard.values())] = 2
    sizes[list(lists.extended.values())] = 4
    bases = [("HEADER1" if function.is_bridge else "HEADER0", 0)]
    for found, names in ((lists.standard, CAPABILITY_BASES), (lists.extended, EXTENDED_BASES)):
        bases += [(names[identity], start) for identity, start in found.items() if identity in names]
    for base, start in bases:
        for register in REGISTERS[base].values():
            if start + register.offset < EXTENDED_CONFIG_SIZE:
                sizes[start + register.offset] = register.size
        for offset, size in _CLEARED_BY_ONES.get(base, ()):
            cleared[start + offset : start + offset + size] = True
    return sizes, cleared
