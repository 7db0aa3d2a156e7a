"""Functions of many boots and captures, worked out at once.

The accesses of each function in each boot are a run; the runs follow each other, and every step
is a few array operations over all of them. What each step gives is described in
:class:`analyzer.observed.registers.functions.Function`; it is kept as a table
(:mod:`analyzer.observed.registers.function_table`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.observed.registers import bridge_numbers, capability_lists, samples, watched_registers
from analyzer.observed.registers.first_reads import NONE, FirstReads
from analyzer.observed.registers.function_table import FunctionBlock, Functions, FunctionTable
from analyzer.observed.registers.functions import INHERITED_REGISTERS
from schemas import config_header, extended_capabilities, pcie_capability
from schemas.error_status import READ_AT_SCAN
from schemas.registers import BASE_IDS, UESTA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.batches import Accesses, Batch
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.samples import RegisterAccesses

#: Functions that are worked out at a time (the first reads of so many take at most 64 MiB), and their
#: accesses, of which some arrays are made (one function may have more).
_BLOCK, _BLOCK_ACCESSES = 2048, 2_000_000


@dataclass(frozen=True)
class Wanted:
    """Functions of one boot.

    Attributes:
        index: the capture.
        first, last: the boot's rows, both inclusive.
        keys: the functions, which the capture's groups hold (:meth:`AccessIndex.group`).
        end: row of the kernel's own last access, if that is not the boot's last.
    """

    index: AccessIndex
    first: int
    last: int
    keys: Sequence[int]
    end: int | None = None


class _Runs(NamedTuple):
    """The wanted functions: where each is in the batch's groups, and where its capture starts.

    ``ends``: row of the own last access of the kernel, in the capture.
    """

    keys: list[int]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def read(wanted: Sequence[Wanted]) -> list[Functions]:
    """Work out functions of several boots, which may be of several captures of one batch.

    Returns:
        for each boot its functions by key, in the order of the keys.
    """
    if not wanted:
        return []
    batch = wanted[0].index.batch
    runs = _runs(batch, wanted)
    table = FunctionTable(
        [
            _read(batch, _Runs._make(column[first:last] for column in runs))
            for first, last in _blocks(runs.lasts - runs.firsts)
        ]
    )
    firsts = np.cumsum([0, *(len(one.keys) for one in wanted)]).tolist()
    return [Functions(table, first, one.keys) for first, one in zip(firsts, wanted, strict=False)]


def _blocks(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield from which run to before which other one is worked out at a time."""
    ends = np.cumsum(lengths)
    first, done = 0, 0
    while first < len(lengths):
        fitting = int(np.searchsorted(ends, done + _BLOCK_ACCESSES, side="right"))
        last = min(max(fitting, first + 1), first + _BLOCK)
        yield first, last
        first, done = last, int(ends[last - 1])


def _runs(batch: Batch, wanted: Sequence[Wanted]) -> _Runs:
    groups = batch.groups
    keys: list[int] = []
    group: list[int] = []
    counts: list[int] = []
    for one in wanted:
        counts.append(len(one.keys))
        keys.extend(one.keys)
        for key in one.keys:
            number = one.index.group(key)
            if number is None:
                raise KeyError(key)
            group.append(number)
    numbers = np.array(group, np.int64)
    starts = np.repeat(np.array([one.index.start for one in wanted], np.int64), counts)
    bounds = np.array([(one.first, one.last + 1) for one in wanted], np.int64).repeat(counts, axis=0)
    # Ascending, because rows ascend in a group: all are searched in one go.
    place = np.repeat(np.arange(len(groups.functions)) * batch.rows, np.diff(groups.starts)) + groups.rows
    firsts, lasts = (
        np.searchsorted(place, numbers * batch.rows + starts + bounds[:, side]) for side in (0, 1)
    )
    ends = [one.last if one.end is None else one.end for one in wanted]
    return _Runs(keys, firsts, lasts, starts, np.repeat(np.array(ends, np.int64), counts))


def _read(batch: Batch, runs: _Runs) -> FunctionBlock:
    """Work out one block."""
    count = len(runs.keys)
    lengths = runs.lasts - runs.firsts
    ends = np.cumsum(lengths)
    run = np.repeat(np.arange(count), lengths)
    places = batch.groups.rows[np.arange(len(run)) + np.repeat(runs.lasts - ends, lengths)]
    rows = places - runs.starts[run]
    accesses = batch.gather(places, rows)
    reads = FirstReads(accesses, run, count)
    every = np.arange(count)

    header = reads.at(every, config_header.HEADER_TYPE, 1, config_header.HEADER_TYPE_LAYOUT)
    several = reads.at(every, config_header.HEADER_TYPE, 1, config_header.HEADER_TYPE_MULTIFUNCTION)
    standard = capability_lists.standard(reads, count)
    pcie = standard.first(pcie_capability.CAP_ID)
    status = reads.at(every, config_header.STATUS, 1, config_header.STATUS_CAP_LIST)
    no_list = (status != NONE) & (status & config_header.STATUS_CAP_LIST == 0)
    is_pcie = np.where(pcie != NONE, 1, np.where(standard.ended | no_list, 0, NONE))
    flags = _register(reads, pcie, pcie_capability.FLAGS, 2, pcie_capability.FLAGS_LOW)
    version, kind = (  # the low byte says both
        _register(reads, pcie, pcie_capability.FLAGS, 1, bits)
        for bits in (pcie_capability.FLAGS_VERSION, pcie_capability.FLAGS_TYPE)
    )
    devcap2 = _register(reads, pcie, pcie_capability.DEVCAP2, 1, pcie_capability.DEVCAP2_ARI)
    without = (is_pcie == 0) | ((version != NONE) & (version & pcie_capability.FLAGS_VERSION < 2))
    supported = np.where(devcap2 == NONE, NONE, devcap2 & pcie_capability.DEVCAP2_ARI != 0)

    small = _silent(accesses, run, count, config_header.CONFIG_SIZE)
    small |= reads.at(every, config_header.CONFIG_SIZE, 4) == 0xFFFFFFFF  # read byte by byte
    extended = capability_lists.extended(reads, count, small)
    ari = extended.first(extended_capabilities.ARI_ID)
    has_ari = np.where(ari != NONE, 1, np.where((is_pcie == 0) | extended.ended, 0, NONE))
    next_function = _next_function(reads, ari)

    # A function whose header type was not read may be a bridge.
    bridge = np.where((header == NONE) | (header & config_header.HEADER_TYPE_LAYOUT == 1), 0, NONE)
    numbers = _seen_at(accesses, run, bridge, config_header.PRIMARY_BUS, 4)
    first_numbers, last_numbers = bridge_numbers.of_runs(numbers, run, count)

    def seen(capability: NDArray[np.int64], offset: int, size: int) -> samples.OfRuns:
        return samples.by_run(_seen_at(accesses, run, capability, offset, size), run, count)

    def start_of(base: str) -> NDArray[np.int64]:
        if base in BASE_IDS:
            is_extended, number = BASE_IDS[base]
            return (extended if is_extended else standard).first(number)
        return bridge if base == "HEADER1" else np.where((header == NONE) | (bridge == NONE), 0, NONE)

    vendor, device = (
        reads.at(every, offset, 2) for offset in (config_header.VENDOR_ID, config_header.DEVICE_ID)
    )
    return FunctionBlock(
        facts={
            "function": np.array(runs.keys, np.int64),
            "vendor": vendor,
            "device": device,
            "header_type": header,
            "multifunction": np.where(
                several == NONE, NONE, several & config_header.HEADER_TYPE_MULTIFUNCTION != 0
            ),
            "pcie": pcie,
            "is_pcie": is_pcie,
            "pcie_flags": flags,
            "pcie_type": np.where(kind == NONE, NONE, kind >> pcie_capability.FLAGS_TYPE_SHIFT),
            "ari_supported": np.where(without, 0, supported),
            "ari": ari,
            "has_ari": has_ari,
            "next_function": next_function,
            "latched": _latched(reads, extended.first(extended_capabilities.AER_ID)).astype(np.int64),
        },
        first_numbers=first_numbers,
        last_numbers=last_numbers,
        standard=standard,
        extended=extended,
        registers=(
            seen(np.where(bridge == NONE, NONE, pcie), pcie_capability.DEVCAP2, 4),
            *(seen(start_of(one.base), one.offset, one.size) for one in INHERITED_REGISTERS),
        ),
        watched=watched_registers.of_runs(
            accesses,
            run,
            runs.ends,
            np.where(header == NONE, NONE, header & config_header.HEADER_TYPE_LAYOUT),
            lambda is_extended, number: (extended if is_extended else standard).first(number),
        ),
        accesses=accesses,
        edges=[0, *ends.tolist()],
    )


def _register(
    reads: FirstReads, capability: NDArray[np.int64], offset: int, size: int, bits: int | None = None
) -> NDArray[np.int64]:
    """The register at an offset of each function's capability, NONE where it has none or was not read.

    ``bits`` as in :meth:`analyzer.observed.registers.first_reads.FirstReads.at`.
    """
    found = np.full(len(capability), NONE, np.int64)
    its = np.flatnonzero(capability != NONE)
    found[its] = reads.at(its, capability[its] + offset, size, bits)
    return found


def _next_function(reads: FirstReads, ari: NDArray[np.int64]) -> NDArray[np.int64]:
    """Next Function Number of each ARI capability: the high byte of its register, however that was read."""
    whole = _register(reads, ari, extended_capabilities.ARI_CAP, 2)
    byte = _register(reads, ari, extended_capabilities.ARI_CAP + 1, 1)
    return np.where(whole == NONE, byte, whole >> 8)


def _latched(reads: FirstReads, aer: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the first read of an error status register of each function's AER capability shows an error."""
    found: NDArray[np.bool_] = np.zeros(len(aer), np.bool_)
    its = np.flatnonzero(aer != NONE)
    offsets = np.concatenate([aer[its] + status.register.offset for status in READ_AT_SCAN])
    values = reads.at(np.tile(its, len(READ_AT_SCAN)), offsets, UESTA.size, bits=0)
    errors = np.repeat([status.mask for status in READ_AT_SCAN], its.size)
    found[np.tile(its, len(READ_AT_SCAN))[(values != NONE) & (values & errors != 0)]] = True
    return found


def _silent(accesses: Accesses, run: NDArray[np.int64], runs: int, offset: int) -> NDArray[np.bool_]:
    """Whether reads at exactly that offset were answered with all ones (or an error), every one of them."""
    at = np.flatnonzero(~accesses.writes & (accesses.offsets == offset))
    silent = accesses.absent[at] | (accesses.values[at] == 0xFFFFFFFF)
    asked, answered = (np.bincount(run[some], minlength=runs) for some in (at, at[~silent]))
    return np.asarray((asked > 0) & (answered == 0), np.bool_)


def _seen_at(
    accesses: Accesses, run: NDArray[np.int64], capability: NDArray[np.int64], offset: int, size: int
) -> RegisterAccesses:
    """What the register at an offset of each run's capability sees; nothing where it is NONE."""
    nowhere = 2 * config_header.EXTENDED_CONFIG_SIZE + 0x10000
    starts = np.where(capability == NONE, nowhere, capability + offset).astype(np.int32)
    return samples.seen(accesses, starts[run], size)
