"""What the accesses of one boot say about each function; of many functions, boots and captures at once.

Values that the accesses do not show are None.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import capability_lists, registers
from analyzer.capability_lists import NONE, Capabilities, FirstReads
from analyzer.registers import Accesses, RegisterView
from schemas import config_header, extended_capabilities, pcie_capability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from analyzer.batches import Batch
    from analyzer.index import AccessIndex
    from analyzer.registers import Sample, Seen

#: Functions that are worked out at a time: the first reads of so many take at most 32 MiB.
_BLOCK = 2048


@dataclass(frozen=True)
class BusNumbers:
    """Primary, secondary and subordinate bus of a bridge, and the row that showed or set them."""

    primary: int
    secondary: int
    subordinate: int
    row: int = field(compare=False)

    def broken_on(self, bus: int) -> bool:
        """Whether pass 0 of a scan of ``bus`` calls them broken.

        Linux 7.3 pci_scan_bridge_extend: the primary number differs from the bus it sits on (a primary
        hard-wired to 0 with other numbers set is excused), the secondary is not above it, or above the
        subordinate.
        """
        hard_wired = self.primary == 0 and bus != 0 and self.secondary != 0 and self.subordinate != 0
        wrong_primary = self.primary != bus and not hard_wired
        return wrong_primary or self.secondary <= bus or self.secondary > self.subordinate


@dataclass(slots=True, eq=False)
class Function:
    """One function in one boot.

    Attributes:
        function: its key (see :mod:`analyzer.bdf`).
        vendor_device: ``vvvv:dddd``.
        header_type: header type byte with the multi-function bit.
        is_bridge: a type 1 header (PCI-to-PCI bridge, PCIe port).
        multifunction: bit 7 of the header type.
        capabilities: capability lists as far as this boot's reads follow them.
        pcie: offset of the PCI Express capability.
        is_pcie: whether it has one; None if its list was not followed to the end.
        pcie_flags: PCI Express capabilities register.
        pcie_type: device/port type (its bits 7:4).
        ari_supported: DEVCAP2 bit 5, ARI Forwarding Supported; False without DEVCAP2 (version 1).
        ari: offset of the ARI extended capability.
        has_ari: whether it has one; None if its extended list was not followed to the end.
        next_function: Next Function Number of its ARI capability (0 ends the chain).
        first_bus_numbers: a bridge's bus numbers as this boot first read them, before its own writes.
        bus_numbers: a bridge's bus numbers that this boot last used: the last state with a secondary bus.
        devcap2, devctl2, command, acs_control, sriov_control: every access of this boot that shows or changes
            the register; DEVCAP2 and COMMAND of bridges only.
        scans: rows of the vendor reads by which this boot's scans discovered it (empty: never enumerated).
    """

    function: int
    vendor_device: str | None
    header_type: int | None
    capabilities: Capabilities
    pcie: int | None
    is_pcie: bool | None
    pcie_flags: int | None
    ari_supported: bool | None
    ari: int | None
    has_ari: bool | None
    next_function: int | None
    first_bus_numbers: BusNumbers | None
    bus_numbers: BusNumbers | None
    devcap2: list[Sample]
    devctl2: list[Sample]
    command: list[Sample]
    acs_control: list[Sample]
    sriov_control: list[Sample]
    _accesses: Callable[[], Accesses]
    is_bridge: bool = False
    multifunction: bool | None = None
    pcie_type: int | None = None
    scans: list[int] = field(default_factory=list)
    _view: RegisterView | None = None
    _reads: dict[int, tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        if self.header_type is not None:
            self.is_bridge = self.header_type & 0x7F == 1
            self.multifunction = bool(self.header_type & 0x80)
        if self.pcie_flags is not None:
            self.pcie_type = self.pcie_flags >> pcie_capability.FLAGS_TYPE_SHIFT & 0xF

    @property
    def bus(self) -> int:
        """Bus key ``domain << 8 | bus``."""
        return self.function >> 8

    @property
    def devfn(self) -> int:
        """Device and function number."""
        return self.function & 0xFF

    @property
    def view(self) -> RegisterView:
        """Its accesses in this boot."""
        if self._view is None:
            self._view = RegisterView(self.function, self._accesses())
        return self._view

    @property
    def reads(self) -> dict[int, tuple[int, int]]:
        """First answered read at each offset: (value, row)."""
        if self._reads is None:
            self._reads = self.view.first_reads()
        return self._reads

    def value(self, offset: int) -> int | None:
        """First answered value at ``offset``: read exactly there, else as part of a dword (snapshots)."""
        known = self.reads.get(offset)
        if known is not None:
            return known[0]
        dword = self.reads.get(offset & ~3)
        if dword is None or not self.view.is_dword(dword[1]):
            return None
        return dword[0] >> 8 * (offset & 3)

    def pcie_value(self, offset: int) -> int | None:
        """First value read at ``offset`` of the PCI Express capability."""
        return None if self.pcie is None else self.value(self.pcie + offset)

    def bus_number_samples(self) -> list[Sample]:
        """Every access of this boot that shows or changes the bus-number dword at 0x18."""
        return self.view.samples(config_header.PRIMARY_BUS, 4)


@dataclass(frozen=True)
class Wanted:
    """Functions of one boot.

    Attributes:
        index: the capture.
        first, last: the boot's rows, both inclusive.
        keys: the functions, which the capture's groups hold (:meth:`AccessIndex.group`).
    """

    index: AccessIndex
    first: int
    last: int
    keys: Sequence[int]


class _Runs(NamedTuple):
    """The wanted functions: where each is in the batch's groups, and where its capture starts."""

    keys: list[int]
    firsts: NDArray[np.int64]
    lasts: NDArray[np.int64]
    starts: NDArray[np.int64]


def read(wanted: Sequence[Wanted]) -> list[dict[int, Function]]:
    """Work out functions of several boots, which may be of several captures of one batch.

    Returns:
        for each boot its functions by key, in the order of the keys.
    """
    if not wanted:
        return []
    batch = wanted[0].index.batch
    runs = _runs(batch, wanted)
    found: list[Function] = []
    for first in range(0, len(runs.keys), _BLOCK):
        found.extend(_read(batch, _Runs._make(column[first : first + _BLOCK] for column in runs)))
    every = iter(found)
    return [{key: next(every) for key in one.keys} for one in wanted]


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
    return _Runs(keys, firsts, lasts, starts)


def _read(batch: Batch, runs: _Runs) -> Iterable[Function]:
    """Work out one block."""
    count = len(runs.keys)
    lengths = runs.lasts - runs.firsts
    ends = np.cumsum(lengths)
    run = np.repeat(np.arange(count), lengths)
    places = batch.groups.rows[np.arange(len(run)) + np.repeat(runs.lasts - ends, lengths)]
    accesses = registers.gather(batch, places, places - runs.starts[run])
    reads = FirstReads(accesses, run, count)
    every = np.arange(count)

    header = reads.value(every, config_header.HEADER_TYPE)
    standard = capability_lists.standard(reads, count)
    pcie = standard.first(pcie_capability.CAP_ID)
    status = reads.value(every, config_header.STATUS)
    no_list = (status != NONE) & (status & config_header.STATUS_CAP_LIST == 0)
    is_pcie = np.where(pcie != NONE, 1, np.where(standard.ended | no_list, 0, NONE))
    flags = _behind(reads, pcie, pcie_capability.FLAGS)
    devcap2 = _behind(reads, pcie, pcie_capability.DEVCAP2)
    old = (is_pcie == 0) | ((flags != NONE) & (flags & pcie_capability.FLAGS_VERSION < 2))
    supported = np.where(devcap2 == NONE, NONE, devcap2 & pcie_capability.DEVCAP2_ARI != 0)

    small = _silent(accesses, run, count, config_header.CONFIG_SIZE)
    extended = capability_lists.extended(reads, count, small)
    ari = extended.first(extended_capabilities.ARI_ID)
    has_ari = np.where(ari != NONE, 1, np.where((is_pcie == 0) | extended.ended, 0, NONE))
    chain = _behind(reads, ari, extended_capabilities.ARI_CAP)

    type_1 = (header == NONE) | (header & config_header.HEADER_TYPE_LAYOUT == 1)
    numbers = _at(accesses, run, np.where(type_1, 0, NONE), config_header.PRIMARY_BUS, 4)
    first_numbers, last_numbers = _bus_numbers(numbers, run, count)

    def samples(capability: NDArray[np.int64], offset: int, size: int) -> list[list[Sample]]:
        return _split(_at(accesses, run, capability, offset, size), run, count)

    edges = np.concatenate(([0], ends)).tolist()
    return map(
        Function,
        runs.keys,
        _identities(reads, every),
        _known(np.where(header == NONE, NONE, header & 0xFF)),
        map(
            Capabilities,
            standard.by_run(),
            extended.by_run(),
            standard.ended.tolist(),
            extended.ended.tolist(),
        ),
        _known(pcie),
        _flags(is_pcie),
        _known(flags),
        _flags(np.where(old, 0, supported)),
        _known(ari),
        _flags(has_ari),
        _known(np.where(chain == NONE, NONE, chain >> 8 & 0xFF)),
        first_numbers,
        last_numbers,
        samples(np.where(type_1, pcie, NONE), pcie_capability.DEVCAP2, 4),
        samples(pcie, pcie_capability.DEVCTL2, 2),
        samples(np.where(type_1, 0, NONE), config_header.COMMAND, 2),
        samples(extended.first(extended_capabilities.ACS_ID), extended_capabilities.ACS_CTRL, 2),
        samples(extended.first(extended_capabilities.SRIOV_ID), extended_capabilities.SRIOV_CTRL, 2),
        [_part(accesses, first, last) for first, last in itertools.pairwise(edges)],
    )


def _part(accesses: Accesses, first: int, last: int) -> Callable[[], Accesses]:
    return lambda: accesses.part(first, last)


def _known(values: NDArray[np.int64]) -> list[int | None]:
    return [None if value == NONE else value for value in values.tolist()]


def _flags(values: NDArray[np.int64]) -> list[bool | None]:
    return [None if value == NONE else value == 1 for value in values.tolist()]


def _behind(reads: FirstReads, capability: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    """The value at an offset of each function's capability, NONE where it has none."""
    found = np.full(len(capability), NONE, np.int64)
    its = np.flatnonzero(capability != NONE)
    places = capability[its] + offset
    inside = places < config_header.EXTENDED_CONFIG_SIZE
    found[its[inside]] = reads.value(its[inside], places[inside])
    return found


def _identities(reads: FirstReads, every: NDArray[np.int64]) -> list[str | None]:
    whole = reads.value(every, config_header.VENDOR_ID)
    device = np.where(whole > 0xFFFF, whole >> 16, reads.value(every, config_header.DEVICE_ID))
    return [
        None if NONE in (vendor, other) else f"{vendor & 0xFFFF:04x}:{other:04x}"
        for vendor, other in zip(whole.tolist(), device.tolist(), strict=True)
    ]


def _silent(accesses: Accesses, run: NDArray[np.int64], runs: int, offset: int) -> NDArray[np.bool_]:
    """Whether reads at exactly that offset were answered with all ones (or an error), every one of them."""
    at = np.flatnonzero(~accesses.writes & (accesses.offsets == offset))
    silent = accesses.absent[at] | (accesses.values[at] == 0xFFFFFFFF)
    asked, answered = (np.bincount(run[some], minlength=runs) for some in (at, at[~silent]))
    return np.asarray((asked > 0) & (answered == 0), np.bool_)


def _at(
    accesses: Accesses, run: NDArray[np.int64], capability: NDArray[np.int64], offset: int, size: int
) -> Seen:
    """What the register at an offset of each run's capability sees; nothing where it is NONE."""
    nowhere = 2 * config_header.EXTENDED_CONFIG_SIZE + 0x10000
    starts = np.where(capability == NONE, nowhere, capability + offset).astype(np.int32)
    return registers.seen(accesses, starts[run], size)


def _split(seen: Seen, run: NDArray[np.int64], runs: int) -> list[list[Sample]]:
    samples = seen.samples()
    edges = np.searchsorted(run[seen.places], np.arange(runs + 1)).tolist()
    return [samples[first:last] for first, last in itertools.pairwise(edges)]


def _bus_numbers(
    seen: Seen, run: NDArray[np.int64], runs: int
) -> tuple[list[BusNumbers | None], list[BusNumbers | None]]:
    """The bus numbers that each run read first, before it wrote, and those that it last used."""
    first: list[BusNumbers | None] = [None] * runs
    last: list[BusNumbers | None] = [None] * runs
    its = run[seen.places]
    places = np.arange(len(its))
    begin = np.searchsorted(its, its)  # of the run that each sample is of
    shown = [~seen.dead & (seen.masks >> 8 * byte & 1 == 1) for byte in range(3)]
    bytes_of = [seen.values >> 8 * byte & 0xFF for byte in range(3)]

    wrote = _latest(places, seen.writes, begin)
    state = [_latest(places, one, begin) for one in shown]
    whole = (state[0] >= 0) & (state[1] >= 0) & (state[2] >= 0) & ~seen.dead
    used = np.flatnonzero(whole & (bytes_of[1][state[1]] > 0))
    _fill(last, its, used, seen.rows, [bytes_of[byte][state[byte]] for byte in range(3)])

    # The first sample that completes the three, each byte as it was shown first.
    complete = np.flatnonzero(whole & (wrote < 0))[::-1]
    earliest = [_earliest(places, one, its, runs) for one in shown]
    _fill(first, its, complete, seen.rows, [bytes_of[byte][earliest[byte][its]] for byte in range(3)])
    return first, last


def _fill(
    found: list[BusNumbers | None],
    its: NDArray[np.int64],
    chosen: NDArray[np.int64],
    rows: NDArray[np.int64],
    values: list[NDArray[np.int64]],
) -> None:
    """Note the bus numbers of the last chosen sample of each run."""
    winner = np.full(len(found), NONE, np.int64)
    winner[its[chosen]] = chosen
    runs = np.flatnonzero(winner != NONE)
    best = winner[runs]
    for run, *numbers in zip(runs.tolist(), *(one[best].tolist() for one in (*values, rows)), strict=True):
        found[run] = BusNumbers(*numbers)


def _latest(
    places: NDArray[np.int64], marked: NDArray[np.bool_], begin: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each sample the place of the last marked one up to it in its run, or NONE."""
    latest = np.maximum.accumulate(np.where(marked, places, NONE))
    return np.where(latest >= begin, latest, NONE)


def _earliest(
    places: NDArray[np.int64], marked: NDArray[np.bool_], its: NDArray[np.int64], runs: int
) -> NDArray[np.int64]:
    """For each run the place of its first marked sample (0 where there is none)."""
    first = np.zeros(runs, np.int64)
    chosen = places[marked][::-1]
    first[its[chosen]] = chosen
    return first
