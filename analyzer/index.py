"""The access table of one capture as numpy columns, with the rows of each function at hand.

Built once per capture; everything behind it (boots, registers, decisions) reads slices of these arrays. A row
is the position in the table, which is also the order in the capture; ``seq`` is what the user sees as access
number (the two differ where uninteresting rows were dropped at decode).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer import accesses
from schemas.config_header import ABSENT_VENDOR_DWORDS, HEADER_TYPE, RRS_VENDOR

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Functions with keys up to this (16 domains) are grouped by a table look-up instead of a search.
_SMALL_KEY = (1 << 20) - 1

#: Bits of a value that count, by width; with width 0 (not recorded) all do.
_LOW_BITS = np.array([0xFFFFFFFF, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.int64)


class AccessIndex:
    """Columns of one capture; all arrays have one entry per access, in order.

    Attributes:
        function: ``domain << 16 | bus << 8 | devfn`` (see :mod:`analyzer.bdf`).
        offset, width, value, op, absent: as in :mod:`analyzer.accesses` (``op`` as code).
        failed: the accessor returned an error to the kernel; an Unsupported Request does not, it reads as
        ones. seq, where, file: for evidence.
    """

    def __init__(self, table: pl.DataFrame) -> None:
        def column(name: str) -> NDArray[np.generic]:
            series = table.get_column(name)
            if isinstance(series.dtype, pl.Enum):
                series = series.to_physical()
            return np.asarray(series.to_numpy())

        self.table = table
        self.rows = table.height
        self.function: NDArray[np.int64] = (
            column("domain").astype(np.int64) << 16
            | column("bus").astype(np.int64) << 8
            | column("devfn").astype(np.int64)
        )
        self.offset = column("offset").astype(np.int32)
        self.width = column("width").astype(np.uint8)
        self.value = column("value").astype(np.int64) & _LOW_BITS[self.width]
        self.op = column("op").astype(np.uint8)
        status = column("status")
        self.failed = status == accesses.ABORT
        self.absent = column("absent").astype(bool) | (status == accesses.UNSUPPORTED) | self.failed
        self.seq: NDArray[np.int64] = column("seq").view(np.int64)
        self.where: NDArray[np.int64] = column("where").view(np.int64)
        self.file = column("file")
        self.is_read = self.op == accesses.READ
        self.is_write = ~self.is_read
        self._time: NDArray[np.int64] | None = None
        self._rows_of: dict[int, NDArray[np.int64]] | None = None

    @property
    def time_ns(self) -> NDArray[np.int64]:
        """Times in ns; -1 where the capture has none (config accesses happen after the epoch)."""
        if self._time is None:
            times = self.table.get_column("time_ns")
            whole = times.fill_null(-1) if times.null_count() else times
            self._time = whole.to_numpy().astype(np.int64)
        return self._time

    def time_at(self, row: int) -> int | None:
        """Time of one row in ns, or None."""
        value = int(self.time_ns[row])
        return None if value == -1 else value

    def rows_of(self, function: int) -> NDArray[np.int64]:
        """Rows of one function in capture order (empty if it was never accessed)."""
        if self._rows_of is None:
            self._rows_of = self._grouped()
        rows = self._rows_of.get(function)
        if rows is None:
            rows = self._rows_of[function] = np.flatnonzero(self.function == function)
        return rows

    def _grouped(self) -> dict[int, NDArray[np.int64]]:
        """Rows by function for those that answered or were asked more than who they are.

        The others are the many addresses that firmware and kernels probe in vain.
        """
        told = self.function[self.present_id | (self.offset != 0)]
        if not told.size:
            return {}
        top = int(self.function.max())
        if top <= _SMALL_KEY:
            known = np.zeros(top + 1, np.bool_)
            known[told] = True
            names = np.flatnonzero(known)
            rows = np.flatnonzero(known[self.function])
            codes = np.cumsum(known, dtype=np.int64)[self.function[rows]] - 1
        else:
            names = np.unique(told)
            places = np.minimum(np.searchsorted(names, self.function), names.size - 1)
            rows = np.flatnonzero(names[places] == self.function)
            codes = places[rows]
        narrow = codes.astype(np.uint16 if names.size <= 1 << 16 else np.uint32)  # radix sort up to 16 bits
        ordered = rows[np.argsort(narrow, kind="stable")]
        groups = np.split(ordered, np.cumsum(np.bincount(narrow, minlength=names.size))[:-1])
        return dict(zip(names.tolist(), groups, strict=True))

    @cached_property
    def buses(self) -> NDArray[np.int64]:
        """Every ``domain << 8 | bus`` that was accessed, ascending."""
        if not self.rows or int(self.function.max()) > _SMALL_KEY:
            return np.unique(self.function >> 8)
        seen = np.zeros((_SMALL_KEY >> 8) + 1, np.bool_)
        seen[self.function >> 8] = True
        return np.flatnonzero(seen)

    @cached_property
    def vendor_reads(self) -> NDArray[np.int64]:
        """Rows of the reads at 0x00."""
        return np.flatnonzero((self.offset == 0) & self.is_read)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Mask of the reads that somebody answered: not all ones, in the width that they have."""
        answered = self.is_read & ~self.absent & (self.value != 0xFFFFFFFF)
        return np.asarray(answered & ((self.value != 0xFFFF) | (self.width == 4)), np.bool_)

    @cached_property
    def present_id(self) -> NDArray[np.bool_]:
        """Mask of reads at 0x00 that return a vendor dword of a function that is there."""
        rows = self.vendor_reads[~self.absent[self.vendor_reads]]
        value = self.value[rows]
        good = ~np.isin(value, ABSENT_VENDOR_DWORDS) & ((value & 0xFFFF) != RRS_VENDOR) & (value > 0xFFFF)
        mask = np.zeros(self.rows, np.bool_)
        mask[rows[good]] = True
        return mask

    def next_of_function(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each of ``rows`` the next row of the same function, or -1.

        The next row of the table is tried first; only where CPUs interleave is a search needed.
        """
        following = np.minimum(rows + 1, self.rows - 1)
        result = np.where(
            (following > rows) & (self.function[following] == self.function[rows]), following, -1
        )
        for position in np.flatnonzero(result < 0):
            own = self.rows_of(int(self.function[rows[position]]))
            place = int(np.searchsorted(own, rows[position], side="right"))
            if place < own.size:
                result[position] = own[place]
        return result


def enumerations(index: AccessIndex) -> NDArray[np.int64]:
    """Rows of the vendor reads by which a kernel's scan discovered a function.

    The pair "vendor dword read, then as the function's next access the header-type byte"
    (Linux pci_scan_device and pci_setup_device; interface: discovered, as observed).
    """
    vendor = np.flatnonzero(index.present_id & ((index.width == 0) | (index.width == 4)))
    if not vendor.size:
        return vendor
    following = index.next_of_function(vendor)
    good = (
        (following >= 0)
        & index.is_read[following]
        & (index.offset[following] == HEADER_TYPE)
        & ((index.width[following] == 0) | (index.width[following] == 1))
    )
    return np.asarray(vendor[good], np.int64)
