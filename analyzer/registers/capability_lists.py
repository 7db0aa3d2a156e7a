"""Capability lists, followed through the values that were read; of many functions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from schemas.config_header import CAPABILITIES, EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.registers.samples import Accesses


#: Linux 7.3 PCI_FIND_CAP_TTL, and the number of headers that fit 0x100..0xfff.
STANDARD_LIMIT = 48
EXTENDED_LIMIT = 480
_EXTENDED = 0x100
#: No value: nothing was read there. Values themselves are never negative.
NONE = -1


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


class FirstReads:
    """The first answered read at each offset, of several runs of accesses.

    Args:
        accesses: the runs one behind the other, each the accesses of one function in order.
        run: which run each access is of.
        runs: how many there are.
    """

    def __init__(self, accesses: Accesses, run: NDArray[np.int64], runs: int) -> None:
        self._accesses = accesses
        live = np.flatnonzero(accesses.live & (accesses.offsets < EXTENDED_CONFIG_SIZE))[::-1]
        # Zeroed pages cost nothing until they are used; of equal offsets the last assignment stays.
        self._place = np.zeros(runs * EXTENDED_CONFIG_SIZE, np.int32)
        self._place[run[live] * EXTENDED_CONFIG_SIZE + accesses.offsets[live]] = live + 1

    def at(self, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """Value of the read at exactly that offset of each run, or :data:`NONE`."""
        if not self._accesses.values.size:
            return np.full(len(runs), NONE, np.int64)
        place = self._place[runs * EXTENDED_CONFIG_SIZE + offsets]
        return np.where(place > 0, self._accesses.values[place - 1], NONE)

    def value(self, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """The same; where nothing was read exactly there, as part of a dword (snapshots).

        Bits above the register's own may be set.
        """
        exact = self.at(runs, offsets)
        if not (exact == NONE).any() or not self._accesses.values.size:
            return exact
        place = self._place[runs * EXTENDED_CONFIG_SIZE + (np.asarray(offsets) & ~3)]
        dword = self._accesses.values[place - 1]
        whole = (place > 0) & ((self._accesses.widths[place - 1] == 4) | (dword > 0xFFFF))
        part = np.where(whole, dword >> 8 * (np.asarray(offsets) & 3), NONE)
        return np.where(exact == NONE, part, exact)


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
    pointer = reads.at(every, CAPABILITIES)
    ended = pointer != NONE
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    position = np.where(ended, pointer & 0xFC, 0)
    active = np.flatnonzero(position >= 0x40)
    for _ in range(STANDARD_LIMIT):
        if not active.size:
            break
        at = position[active]
        value = reads.at(active, at)
        ended[active[value == NONE]] = False
        known = (value != NONE) & (value & 0xFF != 0xFF)
        active, at, value = active[known], at[known], value[known]
        found.append((active, value & 0xFF, at))
        high = reads.at(active, at + 1)  # read byte by byte (setpci)
        following = np.where((value <= 0xFF) & (high != NONE), high, value >> 8) & 0xFC
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
        header = reads.at(active, at)
        ended[active[header == NONE]] = False
        known = header > 0
        active, at, header = active[known], at[known], header[known]
        found.append((active, header & 0xFFFF, at))
        following = header >> 20 & 0xFFC
        active, at = active[following >= _EXTENDED], following[following >= _EXTENDED]
    return _entries(found, ended)


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
    vendor, first, second = (reads.at(every, offset) for offset in (0, _EXTENDED, 2 * _EXTENDED))
    return np.asarray((vendor != NONE) & (vendor == first) & (vendor == second), np.bool_)
