"""Configuration spaces as a capture shows them at the end of one boot: the last known byte of every register.

The functions are those that the boot enumerated, with the virtual functions that it enabled; where its scan
is not in the capture, those that answered or that a snapshot lists. What a read returned and what a write set
counts, the later over the earlier. Not taken:

* failed reads and Request Retry Status: no response;
* reads of all ones, unless the function answered around them: then they fill what nothing else shows (a
  register may well read ones, and a function without extended space does at 0x100);
* writes to status registers whose bits are cleared by writing 1: the value is not what was written.

A register that changed by itself (a reset, a link that went down) shows its old value until it is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import analysis
from analyzer.errors import UsageError
from analyzer.observed.registers.first_reads import bytes_needed
from analyzer.observed.registers.reading import Wanted, read
from analyzer.observed.virtual_functions import Placement
from schemas import config_header, extended_capabilities, pcie_capability
from schemas.config_header import EXTENDED_CONFIG_SIZE
from schemas.registers import CAPABILITY_BASES, EXTENDED_BASES, REGISTERS, SRIOV_CTRL, VF_PLACES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.capture import Capture
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.options import Options
    from analyzer.results import Boot

#: Dwords of a function from which on its reads are a dump: all of the header.
_DUMP: Final = config_header.HEADER_SIZE // 4


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
    """Every function that one boot found, in BDF order."""

    boot: Boot
    functions: list[FunctionSpace]


def take(path: str, boot: int | None = None, options: Options | None = None) -> Snapshot:
    """Take the snapshot of a capture at the end of a boot.

    Args:
        path: the capture.
        boot: number of the boot, None for the last.
        options: explicit boundaries and logs, as for the main job.

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
    topology = study.topologies[number]
    source = _SnapshotSource(study.index, topology, _dead(study.index))
    found = _spaces(source, list(topology.functions), virtual=False)
    found += _spaces(source, _virtual(study.index, topology, found), virtual=True)
    return Snapshot(rows[number], sorted(found, key=lambda space: space.function))


@dataclass(frozen=True)
class _SnapshotSource:
    """What a snapshot is made of: a boot of a capture, and the reads in it that are no content."""

    index: AccessIndex
    topology: Topology
    dead: NDArray[np.bool_]


def _spaces(source: _SnapshotSource, keys: Sequence[int], *, virtual: bool) -> list[FunctionSpace]:
    """What is known of some functions when the boot ended."""
    boot = source.topology.boot
    (found,) = read([Wanted(source.index, boot.first, boot.end, keys)])
    spaces = (_space(source, function, virtual=virtual) for function in found.values())
    return [space for space in spaces if space.known.any()]


def _virtual(index: AccessIndex, topology: Topology, spaces: Sequence[FunctionSpace]) -> list[int]:
    """Virtual functions that answered: no scan finds them, their physical function says where they are.

    Where the boot's scan is not in the capture, every function that answered without saying who it is.
    """
    boot = slice(topology.boot.first, topology.boot.end + 1)
    answered = np.unique(index.function[boot][index.live[boot]])
    answered = np.setdiff1d(answered, np.array(list(topology.functions), np.int64))
    if topology.boot.scan is None:
        return [int(key) for key in answered]
    placements = [_placement(space, topology.functions[space.function]) for space in spaces]
    known = [placement for placement in placements if placement is not None]
    return [key for key in answered.tolist() if any(one.number(key) is not None for one in known)]


def _placement(space: FunctionSpace, function: Function) -> Placement | None:
    """Where the virtual functions of a physical one are, if it has some enabled."""
    at = function.start_of(SRIOV_CTRL.base)
    if at is None:
        return None
    control, count, offset, stride = (
        space.value(at + register.offset, 2) for register in (SRIOV_CTRL, *VF_PLACES)
    )
    if not (control or 0) & extended_capabilities.SRIOV_CTRL_VFE or not offset or not count:
        return None
    return Placement(space.function, count, offset, stride or 0)


def _dead(index: AccessIndex) -> NDArray[np.bool_]:
    """Rows whose value is no content of a register: no response, or not yet."""
    retry = (index.offset == config_header.VENDOR_ID) & (index.value & 0xFFFF == config_header.RRS_VENDOR)
    # One byte of all ones is a value like any other (a BAR, a line number): only wider reads show silence.
    silent = index.absent | index.failed | (index.width != 1) & _all_ones(index.value, index.width)
    return np.asarray(index.is_read & (silent | retry), np.bool_)


def _all_ones(value: NDArray[np.int64], width: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which values are all ones in their width; of unknown widths the wide ones only."""
    unknown = np.where(value > 0xFFFF, 0xFFFFFFFF, 0xFFFF)
    ones = np.where(width > 0, (np.int64(1) << (8 * width.astype(np.int64))) - 1, unknown)
    return np.asarray(value == ones, np.bool_)


def _space(source: _SnapshotSource, function: Function, *, virtual: bool) -> FunctionSpace:
    """Apply the accesses of one function in order; one numpy pass, because a later assignment wins."""
    index, rows = source.index, function.view.rows
    sizes, cleared = _layout(function)
    offset, value = index.offset[rows].astype(np.int64), index.value[rows]
    width = index.width[rows].astype(np.int64)
    dead, ones = source.dead[rows], _answered_ones(source, function, virtual=virtual)
    # Where the width is not recorded: the register's own, or what the value needs (as observed.registers).
    width = np.where(
        width > 0, width, np.maximum(bytes_needed(value), sizes[np.minimum(offset, EXTENDED_CONFIG_SIZE - 1)])
    )
    lanes = np.arange(4)
    places = offset[:, None] + lanes
    inside = (lanes < width[:, None]) & (places < EXTENDED_CONFIG_SIZE)
    places = np.minimum(places, EXTENDED_CONFIG_SIZE - 1)
    valid = inside & ~dead[:, None] & ~(index.is_write[rows, None] & cleared[places])
    if index.known is not None:  # a byte counts where all its bits are shown
        valid &= index.known[rows, None] >> 8 * lanes & 0xFF == 0xFF
    data, known = np.zeros(EXTENDED_CONFIG_SIZE, np.uint8), np.zeros(EXTENDED_CONFIG_SIZE, bool)
    data[places[valid]] = (value[:, None] >> 8 * lanes & 0xFF)[valid]
    known[places[valid]] = True
    filled = np.zeros(EXTENDED_CONFIG_SIZE, bool)
    filled[places[inside & ones[:, None]]] = True
    filled &= ~known
    data[filled] = 0xFF
    return FunctionSpace(function.function, data, known | filled)


def _answered_ones(source: _SnapshotSource, function: Function, *, virtual: bool) -> NDArray[np.bool_]:
    """Which of a function's reads of all ones are what its registers hold, not silence.

    Those between two reads that it answered, unless a register among them cannot hold ones: the first of the
    header, those of PCI Express. A virtual function holds ones at 0x00 (PCIe 9.3.4.1.1). All those of a dump,
    which is of one moment.
    """
    index, rows = source.index, function.view.rows
    offset, read, dead = index.offset[rows], index.is_read[rows], source.dead[rows]
    ones = dead & read & _all_ones(index.value[rows], index.width[rows]) & ~index.failed[rows]
    if source.topology.is_snapshot and np.unique(offset >> 2).size >= _DUMP:
        return ones
    answered = read & ~dead & ~((index.width[rows] == 1) & (index.value[rows] == 0xFF))
    silence = offset < config_header.BASE_ADDRESS_0
    if virtual:
        silence &= offset != config_header.VENDOR_ID
    if function.pcie is not None:
        silence |= (offset >= function.pcie) & (offset < function.pcie + pcie_capability.SIZE_V2)
    run = np.cumsum(answered)
    bad = np.unique(run[dead & (silence | ~ones)])
    between = ((run > 0) | virtual) & (run < int(answered.sum()))
    return np.asarray(ones & between & ~np.isin(run, bad), np.bool_)


def _layout(function: Function) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Bytes of the register that starts at each offset (1: not known), and which bytes writing 1 clears."""
    sizes = np.ones(EXTENDED_CONFIG_SIZE, np.int64)
    cleared = np.zeros(EXTENDED_CONFIG_SIZE, bool)
    lists = function.capabilities
    sizes[list(lists.standard.values())] = 2
    sizes[[config_header.CONFIG_SIZE, *lists.extended.values()]] = 4  # the first header may be the end
    bases = [("HEADER1" if function.is_bridge else "HEADER0", 0)]
    for found, names in ((lists.standard, CAPABILITY_BASES), (lists.extended, EXTENDED_BASES)):
        bases += [(names[identity], start) for identity, start in found.items() if identity in names]
    for base, start in bases:
        for register in REGISTERS[base].values():
            if start + register.offset < EXTENDED_CONFIG_SIZE:
                sizes[start + register.offset] = register.size
            if register.cleared_by_ones:
                cleared[start + register.offset : start + register.offset + register.size] = True
    return sizes, cleared
