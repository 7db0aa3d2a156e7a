"""Capability lists, followed through the values that were read; of many functions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from schemas.config_header import CAPABILITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.observed.registers.first_reads import FirstReads


#: Linux 7.3 PCI_FIND_CAP_TTL, and the number of headers that fit 0x100..0xfff.
STANDARD_LIMIT = 48
EXTENDED_LIMIT = 480
_EXTENDED = 0x100
#: Bits of a capability's header that say where the next one is; software ignores the lowest two of each.
_POINTER, _NEXT, _NEXT_EXTENDED = 0xFC, 0xFC00, 0xFFC00000


class Capabilities(NamedTuple):
    """Capability lists of one function, as far as the accesses followed them.

    Attributes:
        standard: capability ID -> offset (first of each ID).
        extended: extended capability ID -> offset.
        standard_end, extended_end: the list was followed to its end, so that an ID not in it is not there.
    """

    standard: dict[int, int]
    extended: dict[int, int]
    standard_end: bool
    extended_end: bool


class Entries(NamedTuple):
    """What was found in the lists of several runs, in the order of each list.

    Attributes:
        runs, identities, offsets: one of each capability.
        ended: for each run, whether its list was followed to the end.
    """

    runs: NDArray[np.int64]
    identities: NDArray[np.int64]
    offsets: NDArray[np.int64]
    ended: NDArray[np.bool_]

    def first(self, identity: int) -> NDArray[np.int64]:
        """For each run the offset of the first capability with that ID, or :data:`NONE`."""
        found = np.full(len(self.ended), NONE, np.int64)
        its = np.flatnonzero(self.identities == identity)[::-1]
        found[self.runs[its]] = self.offsets[its]
        return found

    def by_run(self) -> list[dict[int, int]]:
        """For each run: ID -> offset of the first with that ID."""
        found: list[dict[int, int]] = [{} for _ in range(len(self.ended))]
        for run, identity, offset in zip(
            self.runs.tolist(), self.identities.tolist(), self.offsets.tolist(), strict=True
        ):
            found[run].setdefault(identity, offset)
        return found


def standard(reads: FirstReads, runs: int) -> Entries:
    """Follow the standard lists.

    As Linux __pci_find_next_cap (7.3) does: pointers are masked to dwords, a list ends at a pointer below
    0x40, at ID 0xff, or after a limit.
    """
    every = np.arange(runs)
    pointer = reads.at(every, CAPABILITIES, 1, _POINTER)
    ended = pointer != NONE
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    position = np.where(ended, pointer & 0xFC, 0)
    active = np.flatnonzero(position >= 0x40)
    for _ in range(STANDARD_LIMIT):
        if not active.size:
            break
        at = position[active]
        value = reads.at(active, at, 2, _NEXT)
        identity = _identities(reads, value & 0xFF, value != NONE, (active, at), 1)
        ended[active[(value == NONE) | (identity == NONE)]] = False
        known = (identity != NONE) & (identity != 0xFF)
        found.append((active[known], identity[known], at[known]))
        goes_on = (value != NONE) & (identity != 0xFF)
        following = value[goes_on] >> 8 & 0xFC
        active = active[goes_on]
        position[active] = following
        active = active[following >= 0x40]
    return _entries(found, ended)


def extended(reads: FirstReads, runs: int, small: NDArray[np.bool_]) -> Entries:
    """Follow the extended lists.

    As Linux pci_find_next_ext_capability (7.3) does: a list ends at a header of 0, at a pointer below 0x100,
    or after a limit.

    Args:
        reads: what was read.
        runs: how many there are.
        small: for each run, whether its function has 256 bytes of configuration space: no extended list.
    """
    ended = small | _aliased(reads, runs)
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    active = np.flatnonzero(~ended)
    ended[active] = True
    at = np.full(len(active), _EXTENDED, np.int64)
    for _ in range(EXTENDED_LIMIT):
        if not active.size:
            break
        header = reads.at(active, at, 4, _NEXT_EXTENDED)
        identity = _identities(reads, header & 0xFFFF, header != NONE, (active, at), 2)
        ended[active[(header == NONE) | (identity == NONE)]] = False
        known = (identity != NONE) & (header != 0)
        found.append((active[known], identity[known], at[known]))
        goes_on = (header != NONE) & ((header != 0) | (identity == NONE))
        active, following = active[goes_on], header[goes_on] >> 20 & 0xFFC
        active, at = active[following >= _EXTENDED], following[following >= _EXTENDED]
    return _entries(found, ended)


def _identities(
    reads: FirstReads,
    shown: NDArray[np.int64],
    whole: NDArray[np.bool_],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    size: int,
) -> NDArray[np.int64]:
    """Capability IDs at ``places`` (runs and offsets), NONE where one is not known.

    Args:
        reads: what was read.
        shown: the IDs in the headers.
        whole: which headers were read; else the ID may have been read without the pointer after it.
        places: where the headers are.
        size: bytes of an ID.
    """
    alone = np.flatnonzero(~whole) if reads.is_whole else np.arange(len(shown))
    if alone.size:
        shown[alone] = reads.at(places[0][alone], places[1][alone], size)
    return shown


def _entries(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]], ended: NDArray[np.bool_]
) -> Entries:
    if not found:
        none = np.empty(0, np.int64)
        return Entries(none, none, none, ended)
    runs, identities, offsets = (np.concatenate(column) for column in zip(*found, strict=True))
    return Entries(runs, identities, offsets, ended)


def _aliased(reads: FirstReads, runs: int) -> NDArray[np.bool_]:
    """Whether extended space merely repeats the header, so that Linux takes the function for 256 bytes.

    pci_ext_cfg_is_aliased (7.3) compares the vendor dword with 0x100, 0x200, ... and stops at the first that
    differs; 0x200 is read only if 0x100 was equal.
    """
    every = np.arange(runs)
    vendor, first, second = (reads.at(every, offset, 4) for offset in (0, _EXTENDED, 2 * _EXTENDED))
    return np.asarray((vendor != NONE) & (vendor == first) & (vendor == second), np.bool_)
