"""Registers as the first answered reads show them, byte by byte; of many functions at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from schemas.config_header import EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from analyzer.observed.batches import Accesses

    Column = NDArray[np.int64]

#: No value: nothing was read there. Values themselves are never negative.
NONE: Final = -1
#: The table has an entry for each byte, word and dword of a run: of the byte at an offset it is 4096 more, of
#: the word that holds it half of that, of the dword a quarter.
_RUN_BITS: Final = (2 * EXTENDED_CONFIG_SIZE).bit_length() - 1
_NOWHERE: Final = np.uint32(0xFFFFFFFF)


def bytes_needed(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes that each value certainly has, where the width of its access is not recorded: 1, 2 or 4."""
    return np.where(values <= 0xFF, 1, np.where(values <= 0xFFFF, 2, 4))


def _entries() -> NDArray[np.int32]:
    """Entry by bytes of a read times 4096 plus its offset; NONE where it is not naturally aligned."""
    found = np.full((5, EXTENDED_CONFIG_SIZE), NONE, np.int32)
    byte = np.arange(EXTENDED_CONFIG_SIZE) + EXTENDED_CONFIG_SIZE
    for size in (1, 2, 4):
        found[size, ::size] = byte[::size] // size
    return found.reshape(-1)


_ENTRY: Final = _entries()


class FirstReads:
    """The first answered reads of several runs of accesses.

    A register is what the first naturally aligned read returned that shows all of it; where there is none, it
    is put together of its halves, each found in the same way, down to bytes (setpci, damaged snapshots). A
    byte that no read shows is not known, and so is a register with such a byte. A read whose width is not
    recorded shows what its value needs: one byte, two or four. If it is the first of that extent at its
    offset, it is taken to show all of the register that begins there, unless others show the rest of it.

    Where a read shows only some bits of its value (lspci's text), a register has a value only if every bit is
    known that the caller needs.

    Args:
        accesses: the runs one after the other, each the accesses of one function in order.
        run: which run each access is of.
        runs: how many there are.
    """

    def __init__(self, accesses: Accesses, run: NDArray[np.int64], runs: int) -> None:
        self._accesses = accesses
        live = np.flatnonzero(accesses.live & (accesses.offsets < EXTENDED_CONFIG_SIZE))[::-1]
        offsets, extent = accesses.offsets[live], accesses.widths[live]
        unsized = np.flatnonzero(extent == 0)
        extent[unsized] = bytes_needed(accesses.values[live[unsized]])
        self._sized = not unsized.size
        entries = _ENTRY[extent.astype(np.int32) * EXTENDED_CONFIG_SIZE + offsets]
        where = (run[live] << _RUN_BITS) + entries
        odd = np.flatnonzero(entries < 0)
        if odd.size:
            aligned = np.flatnonzero(entries >= 0)
            split, places = _bytes(run, accesses.offsets, live[odd], extent[odd].astype(np.int64))
            live, where = np.concatenate([live[aligned], split]), np.concatenate([where[aligned], places])
            order = np.argsort(live, kind="stable")[::-1]
            live, where = live[order], where[order]
        # Zeroed pages cost nothing until they are used; of equal places the last assignment stays.
        self._first = np.zeros(runs << _RUN_BITS, np.uint32)
        self._first[where] = live + 1

    @property
    def is_whole(self) -> bool:
        """Whether every read shows all bits of its value."""
        return self._accesses.known is None

    def at(
        self, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int, size: int, bits: int | None = None
    ) -> NDArray[np.int64]:
        """Value of the register of ``size`` bytes (1, 2 or 4) at each offset, or :data:`NONE`.

        Args:
            runs: which runs.
            offsets: of the registers, or of one in all runs.
            size: bytes of the register.
            bits: mask of those that must be known, so that there is a value (its other unknown bits are 0);
                None: all of them.
        """
        values, _ = self.find(runs, offsets, size, bits)
        return values

    def known(
        self, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int, size: int
    ) -> NDArray[np.int64]:
        """Mask of the bits that are known of the register at each offset; 0 where it was not read."""
        masks = self._accesses.known
        if masks is None:
            return np.where(self.at(runs, offsets, size) == NONE, 0, (1 << 8 * size) - 1)
        found, _ = self._found(masks, runs, offsets, size)
        return np.where(found == NONE, 0, found)

    def find(
        self, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int, size: int, bits: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same, and the position of the access that completes each register (NONE with the value)."""
        values, places = self._found(self._accesses.values, runs, offsets, size)
        if not self.is_whole:
            needed = (1 << 8 * size) - 1 if bits is None else bits
            lacking = self.known(runs, offsets, size) & needed != needed
            values[lacking] = places[lacking] = NONE
        return values, places

    def _found(
        self, column: Column, runs: NDArray[np.int64], offsets: NDArray[np.int64] | int, size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The same, out of the values or out of the masks of their known bits."""
        where = np.broadcast_to(np.asarray(offsets, np.int64), runs.shape)
        if not self._accesses.values.size:
            return np.full(runs.shape, NONE, np.int64), np.full(runs.shape, NONE, np.int64)
        outside = where + size > EXTENDED_CONFIG_SIZE
        if outside.any():
            values, places = self._found(column, runs, np.where(outside, 0, where), size)
            values[outside] = places[outside] = NONE
            return values, places
        whole = self._whole(runs, where, size)
        first = whole if self._sized or size == 1 else np.minimum(whole, self._assumed(runs, where, size))
        values, places = self._shown(column, first, where, size)
        rest = np.flatnonzero(whole == _NOWHERE)
        if size > 1 and rest.size:
            pieced, completed = self._pieced(column, runs[rest], where[rest], size)
            known = pieced != NONE
            values[rest[known]], places[rest[known]] = pieced[known], completed[known]
        return values, places

    def _whole(self, runs: NDArray[np.int64], offsets: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
        """Position of the first read that certainly shows each register, or ``_NOWHERE``."""
        lane = offsets & 3
        first = self._at(runs, offsets, 4)
        if size > 1 and lane.any():
            first = np.where(lane + size <= 4, first, _NOWHERE)
        if size <= 2:
            word = self._at(runs, offsets, 2)
            first = np.minimum(first, word if size == 1 else np.where(lane & 1, _NOWHERE, word))
        if size == 1:
            first = np.minimum(first, self._at(runs, offsets, 1))
        return first

    def _at(self, runs: NDArray[np.int64], offsets: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
        """Position of the first read of the byte, word or dword that holds each offset, or ``_NOWHERE``."""
        entries = (runs << _RUN_BITS) + (offsets + EXTENDED_CONFIG_SIZE) // size
        return np.asarray(self._first[entries] - np.uint32(1), np.uint32)

    def _assumed(self, runs: NDArray[np.int64], offsets: NDArray[np.int64], size: int) -> NDArray[np.uint32]:
        """Position of the first read of unknown width that begins at each register, or ``_NOWHERE``."""
        found = np.full(runs.shape, _NOWHERE)
        for extent in (1, 2)[: size // 2]:
            first = self._at(runs, offsets, extent)
            known = first != _NOWHERE
            places = np.where(known, first, 0)
            known &= (self._accesses.widths[places] == 0) & (self._accesses.offsets[places] == offsets)
            found = np.minimum(found, np.where(known, first, _NOWHERE))
        return found

    def _shown(
        self, column: Column, first: NDArray[np.uint32], offsets: NDArray[np.int64], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Values and positions of registers that the reads at ``first`` show."""
        known = first != _NOWHERE
        places = np.where(known, first, 0).astype(np.int64)
        moved = column[places] >> 8 * (offsets - self._accesses.offsets[places])
        return (
            np.where(known, moved & (1 << 8 * size) - 1, NONE),
            np.where(known, places, NONE),
        )

    def _certain(
        self, column: Column, runs: NDArray[np.int64], offsets: NDArray[np.int64], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Registers without what reads of unknown width are taken to show."""
        whole = self._whole(runs, offsets, size)
        values, places = self._shown(column, whole, offsets, size)
        rest = np.flatnonzero(whole == _NOWHERE)
        if size > 1 and rest.size:
            values[rest], places[rest] = self._pieced(column, runs[rest], offsets[rest], size)
        return values, places

    def _pieced(
        self, column: Column, runs: NDArray[np.int64], offsets: NDArray[np.int64], size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Registers put together of their halves; NONE where one is not known."""
        half = size // 2
        values, places = self._certain(column, runs, offsets, half)
        both = np.flatnonzero(values != NONE)
        high, completed = self._certain(column, runs[both], offsets[both] + half, half)
        values[both] = np.where(high == NONE, NONE, values[both] | high << 8 * half)
        places[both] = np.where(high == NONE, NONE, np.maximum(places[both], completed))
        return values, places


def _bytes(
    run: NDArray[np.int64], offsets: NDArray[np.int32], odd: NDArray[np.int64], extent: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reads that are not naturally aligned (QEMU logs have some), and for each of their bytes its entry."""
    split = np.repeat(odd, extent)
    byte = offsets[split] + np.arange(split.size) - np.repeat(np.cumsum(extent) - extent, extent)
    split, byte = split[byte < EXTENDED_CONFIG_SIZE], byte[byte < EXTENDED_CONFIG_SIZE]
    return split, (run[split] << _RUN_BITS) + byte + EXTENDED_CONFIG_SIZE
