"""What each register held, and when: samples of one register out of the accesses of one function.

An access covers a register wholly, in part (byte of a word) or not at all; a sample therefore carries the
mask of the register bits that it shows. Where the producer did not record the width (QEMU's trace events), an
access at the first byte of a register is taken to cover it, any other only as far as its value reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.index import AccessIndex


#: Reads of one function above which their first ones are picked before they become Python objects.
_MANY = 2048


class Sample(NamedTuple):
    """One access as seen by one register.

    Attributes:
        row: row of the access.
        write: a write (the value need not have stuck) or a read.
        value: the register bits that the access carries, at their place in the register.
        mask: which bits those are.
        dead: a read of all ones: nobody answered, no data about the register.
        failed: the accessor returned an error to the kernel (then ``dead`` too).
    """

    row: int
    write: bool
    value: int
    mask: int
    dead: bool
    failed: bool = False

    def bit(self, number: int) -> bool | None:
        """The bit's value, or None where this access does not show it (or is dead)."""
        if self.dead or not self.mask >> number & 1:
            return None
        return bool(self.value >> number & 1)


def _reach(value: int) -> int:
    """Bytes that a value of unknown width certainly has."""
    return 1 if value <= 0xFF else 2 if value <= 0xFFFF else 4


@dataclass(frozen=True)
class RegisterView:
    """The accesses of one function between two rows (inclusive), in order."""

    function: int
    rows: NDArray[np.int64]
    offsets: NDArray[np.int32]
    values: NDArray[np.int64]
    widths: NDArray[np.uint8]
    writes: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    live: NDArray[np.bool_]
    _samples: dict[tuple[int, int], list[Sample]] = field(default_factory=dict, repr=False, compare=False)

    def samples(self, start: int, size: int) -> list[Sample]:
        """Every access that shows or changes some of the register at ``start`` of ``size`` bytes."""
        known = self._samples.get((start, size))
        if known is None:
            near = ((self.offsets > start - 4) & (self.offsets < start + size)).nonzero()[0]
            known = self._samples[start, size] = list(self._at(near, start, size))
        return known

    def _at(self, near: NDArray[np.int64], start: int, size: int) -> Iterator[Sample]:
        """The accesses at the positions ``near`` as the register sees them, those that miss it left out."""
        columns = (self.rows, self.offsets, self.values, self.widths, self.writes, self.absent, self.failed)
        for row, offset, value, wide, write, absent, failed in zip(
            *(column[near].tolist() for column in columns), strict=True
        ):
            width = wide or max(_reach(value), size if offset == start else 1)
            low, high = max(offset, start), min(offset + width, start + size)
            if low >= high:
                continue
            mask = ((1 << 8 * (high - low)) - 1) << 8 * (low - start)
            moved = value >> 8 * (low - offset) << 8 * (low - start)
            dead = failed or (not write and (absent or value == _all_ones(value, wide)))
            yield Sample(row, write, moved & mask, mask, dead, failed)

    def is_dword(self, row: int) -> bool:
        """Whether the access in a row carries four bytes (known, or seen from its value)."""
        position = int(np.searchsorted(self.rows, row))
        return int(self.widths[position]) == 4 or int(self.values[position]) > 0xFFFF

    def silent_at(self, offset: int) -> bool:
        """Reads at exactly that offset were answered with all ones (or an error), every one of them."""
        at = (~self.writes & (self.offsets == offset)).nonzero()[0]
        return at.size > 0 and bool((self.absent[at] | (self.values[at] == 0xFFFFFFFF)).all())

    def first_reads(self) -> dict[int, tuple[int, int]]:
        """Offset -> (value, row) of the first read at exactly that offset that somebody answered."""
        picked = self.live.nonzero()[0][::-1]
        if picked.size > _MANY:
            first = np.full(int(self.offsets.max()) + 1, -1)
            first[self.offsets[picked]] = picked  # the last assignment stays: the earliest read
            picked = first[first >= 0]
        return dict(
            zip(
                self.offsets[picked].tolist(),
                zip(self.values[picked].tolist(), self.rows[picked].tolist(), strict=True),
                strict=True,
            )
        )


def _all_ones(value: int, width: int) -> int:
    """The all-ones value that a dead read of this width returns; unknown widths take the wide ones only."""
    if width:
        return (1 << 8 * width) - 1
    return 0xFFFFFFFF if value > 0xFFFF else 0xFFFF


def view(index: AccessIndex, function: int, first: int, last: int) -> RegisterView:
    """Return the accesses of ``function`` in rows ``first`` to ``last``."""
    rows = index.rows_of(function)
    rows = rows[int(np.searchsorted(rows, first)) : int(np.searchsorted(rows, last, side="right"))]
    return RegisterView(
        function,
        rows,
        index.offset[rows],
        index.value[rows],
        index.width[rows],
        index.is_write[rows],
        index.absent[rows],
        index.failed[rows],
        index.live[rows],
    )


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


#: Linux 7.3 PCI_FIND_CAP_TTL, and the number of headers that fit 0x100..0xfff.
STANDARD_LIMIT = 48
EXTENDED_LIMIT = 480


def capabilities(reads: dict[int, tuple[int, int]], *, small: bool = False) -> Capabilities:
    """Follow both capability lists through the values that were read.

    As Linux __pci_find_next_cap and pci_find_next_ext_capability (7.3) do: pointers masked to dwords, a list
    ends at a pointer below 0x40 (0x100), at ID 0xff, or after a limit.

    Args:
        reads: offset -> (first value, row).
        small: the function has 256 bytes of configuration space: it has no extended list.
    """
    standard: dict[int, int] = {}
    extended: dict[int, int] = {}
    standard_end = _follow_standard(reads, standard)
    extended_end = small or _aliased(reads) or _follow_extended(reads, extended)
    return Capabilities(standard, extended, standard_end, extended_end)


def _aliased(reads: dict[int, tuple[int, int]]) -> bool:
    """Whether extended space merely repeats the header, so that Linux takes the function for 256 bytes.

    pci_ext_cfg_is_aliased (7.3) compares the vendor dword with 0x100, 0x200, ... and stops at the first that
    differs; 0x200 is read only if 0x100 was equal.
    """
    vendor, first, second = (reads.get(offset) for offset in (0x00, 0x100, 0x200))
    if vendor is None or first is None or second is None:
        return False
    return vendor[0] == first[0] == second[0]


def _follow_extended(reads: dict[int, tuple[int, int]], found: dict[int, int]) -> bool:
    position = 0x100
    for _ in range(EXTENDED_LIMIT):
        known = reads.get(position)
        if known is None:
            return False
        header = known[0]
        if header == 0:
            return True
        found.setdefault(header & 0xFFFF, position)
        position = header >> 20 & 0xFFC
        if position < 0x100:
            return True
    return True


def _follow_standard(reads: dict[int, tuple[int, int]], found: dict[int, int]) -> bool:
    start = reads.get(0x34)
    if start is None:
        return False
    for identity, position in _standard_entries(reads, start[0] & 0xFC):
        if identity is None:
            return False
        if identity == 0xFF:
            return True
        found.setdefault(identity, position)
    return True


def _standard_entries(reads: dict[int, tuple[int, int]], position: int) -> Iterator[tuple[int | None, int]]:
    for _ in range(STANDARD_LIMIT):
        if position < 0x40:
            return
        known = reads.get(position)
        if known is None:
            yield None, position
            return
        value = known[0]
        yield value & 0xFF, position
        following = value >> 8 & 0xFF
        high = reads.get(position + 1)
        if value <= 0xFF and high is not None:
            following = high[0] & 0xFF  # read byte by byte (setpci)
        position = following & 0xFC
