"""The access tables of several captures as numpy columns, one after the other.

What needs every access is worked out here once for all captures of a batch: which reads were answered, which
named a function, which accesses belong to which function. :class:`analyzer.observed.index.AccessIndex` is the
window on one of the captures. A batch of one is no special case.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from analyzer.capture import accesses
from schemas.config_header import (
    ABSENT_VENDOR_DWORDS,
    CACHE_LINE_SIZE,
    COMMAND,
    HEADER_TYPE,
    HEADER_TYPE_LAYOUT,
    PRIMARY_BUS,
    RRS_VENDOR,
    SUBORDINATE_BUS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Functions of a batch are told apart by a table look-up as long as the table has at most so many entries
#: (16 captures of 16 domains each), else by a search.
_TABLE = 1 << 24
#: Bits of a function's key: 32 of the domain, 8 of the bus, 8 of device and function.
_KEY_BITS = 48

#: Bits of a value that count, by width; with width 0 (not recorded) all do.
WIDTH_BITS = np.array([0xFFFFFFFF, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.int64)


class Groups(NamedTuple):
    """Accesses by capture and function: of functions that answered or were asked more than who they are.

    Attributes:
        rows: rows of the batch, sorted by capture, function and order.
        starts: where each group begins in ``rows``, and the end of the last.
        captures, functions: whose group it is.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    captures: NDArray[np.int64]
    functions: NDArray[np.int64]


class Accesses(NamedTuple):
    """Accesses as columns: of one function, or of several one after the other; each one's in order.

    Attributes:
        rows: rows in the capture; the others as in :class:`Batch`.
    """

    rows: NDArray[np.int64]
    offsets: NDArray[np.int32]
    values: NDArray[np.int64]
    widths: NDArray[np.uint8]
    writes: NDArray[np.bool_]
    absent: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    live: NDArray[np.bool_]
    known: NDArray[np.int64] | None

    def part(self, first: int, last: int) -> Accesses:
        """Those from one position to before another."""
        return Accesses._make(None if column is None else column[first:last] for column in self)


class Batch:
    """Columns of several captures; all arrays have one entry per access, in order.

    Attributes:
        starts: first row of each capture, and the number of rows.
        function: ``domain << 16 | bus << 8 | devfn`` (see :mod:`analyzer.bdf`).
        offset, width, value: as in :mod:`analyzer.capture.accesses`.
        absent: as there; covers failed accesses.
        failed: the accessor returned an error to the kernel; an Unsupported Request does not, it reads as
            ones.
        is_read, is_write: the direction.
        known: mask of the bits of each value that the input shows; None: all of every value.
    """

    def __init__(self, tables: Sequence[pl.DataFrame]) -> None:
        table = tables[0] if len(tables) == 1 else accesses.concat(tables)

        def column(name: str) -> NDArray[np.generic]:
            series = table.get_column(name)
            if isinstance(series.dtype, pl.Enum):
                series = series.to_physical()
            return np.asarray(series.to_numpy())

        self.starts = np.cumsum([0, *(one.height for one in tables)])
        self.rows = table.height
        self.function: NDArray[np.int64] = (
            column("domain").astype(np.int64) << 16
            | column("bus").astype(np.int64) << 8
            | column("devfn").astype(np.int64)
        )
        self.offset = column("offset").astype(np.int32)
        self.width = column("width").astype(np.uint8)
        self.value = column("value").astype(np.int64) & WIDTH_BITS[self.width]
        status = column("status")
        self.failed: NDArray[np.bool_] = status == accesses.ABORT
        self.absent: NDArray[np.bool_] = (
            column("absent").astype(bool) | (status == accesses.UNSUPPORTED) | self.failed
        )
        self.is_read: NDArray[np.bool_] = column("op") == accesses.READ
        self.is_write: NDArray[np.bool_] = ~self.is_read
        self.known: NDArray[np.int64] | None = None
        if accesses.KNOWN in table.columns:
            known = table.get_column(accesses.KNOWN).fill_null(accesses.EVERY_BIT)
            self.known = known.to_numpy().astype(np.int64) & WIDTH_BITS[self.width]

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Mask of the reads that were answered: not all ones, in the width that they have."""
        answered = self.is_read & ~self.absent & (self.value != 0xFFFFFFFF)
        return np.asarray(answered & ((self.value != 0xFFFF) | (self.width == 4)), np.bool_)

    @cached_property
    def vendor_reads(self) -> NDArray[np.int64]:
        """Rows of the reads at 0x00."""
        return np.flatnonzero((self.offset == 0) & self.is_read)

    @cached_property
    def present_id(self) -> NDArray[np.bool_]:
        """Mask of reads at 0x00 that return a vendor dword of a function that is there."""
        rows = self.vendor_reads[~self.absent[self.vendor_reads]]
        value = self.value[rows]
        good = ~np.isin(value, ABSENT_VENDOR_DWORDS) & ((value & 0xFFFF) != RRS_VENDOR) & (value > 0xFFFF)
        mask = np.zeros(self.rows, np.bool_)
        mask[rows[good]] = True
        return mask

    @cached_property
    def commands(self) -> NDArray[np.int64]:
        """Rows of the accesses to Command registers."""
        return np.flatnonzero(self.offset == COMMAND)

    @cached_property
    def header_types(self) -> NDArray[np.int64]:
        """Rows that show a function's header type: reads of the byte at 0x0E, or of the dword at 0x0C."""
        rows = np.flatnonzero((self.offset == HEADER_TYPE) | (self.offset == CACHE_LINE_SIZE))
        rows = rows[self.is_read[rows] & ~self.absent[rows]]
        value = self.value[rows]
        byte = (self.offset[rows] == HEADER_TYPE) & ((value & 0xFF) != 0xFF)
        dword = (self.offset[rows] == CACHE_LINE_SIZE) & (value != 0xFFFFFFFF)
        dword &= (self.width[rows] == 4) | (value > 0xFFFF)
        if self.known is not None:
            layout = np.where(byte, HEADER_TYPE_LAYOUT, HEADER_TYPE_LAYOUT << 8 * (HEADER_TYPE & 3))
            shown = self.known[rows] & layout == layout
            byte, dword = byte & shown, dword & shown
        return np.asarray(rows[byte | dword], np.int64)

    @cached_property
    def bus_number_writes(self) -> NDArray[np.int64]:
        """Rows of the writes to 0x18 to 0x1A: bus numbers, if the function is a bridge."""
        touched = (self.offset >= PRIMARY_BUS) & (self.offset <= SUBORDINATE_BUS)
        return np.flatnonzero(touched & self.is_write)

    @cached_property
    def groups(self) -> Groups:
        """The accesses of each function.

        Left out are the many addresses that firmware and kernels probe in vain.
        """
        shown = self.live | (self.offset != 0)
        captures = len(self.starts) - 1
        top = int(self.function.max(initial=0)) + 1
        if captures * top > _TABLE:
            return self._searched(shown)
        key = self.function if captures == 1 else self.function + self._capture * top
        known = np.zeros(captures * top, np.bool_)
        known[key[shown]] = True
        names = np.flatnonzero(known)
        number = np.empty(captures * top, np.int32)  # only the known ones are ever filled or looked up
        number[names] = np.arange(names.size)
        rows = np.flatnonzero(known[key])
        return _grouped(rows, number[key[rows]], *np.divmod(names, top))

    def _searched(self, shown: NDArray[np.bool_]) -> Groups:
        key = self._capture << _KEY_BITS | self.function
        names = np.unique(key[shown])
        if not names.size:
            return _grouped(names, names, names, names)
        places = np.minimum(np.searchsorted(names, key), names.size - 1)
        rows = np.flatnonzero(names[places] == key)
        return _grouped(rows, places[rows], names >> _KEY_BITS, names & (1 << _KEY_BITS) - 1)

    @property
    def _capture(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def gather(self, places: NDArray[np.int64], rows: NDArray[np.int64]) -> Accesses:
        """Pick the accesses at ``places``; ``rows`` are the same in their captures."""
        return Accesses(
            rows,
            self.offset[places],
            self.value[places],
            self.width[places],
            self.is_write[places],
            self.absent[places],
            self.failed[places],
            self.live[places],
            None if self.known is None else self.known[places],
        )


def _grouped(
    rows: NDArray[np.int64],
    codes: NDArray[np.integer],
    captures: NDArray[np.int64],
    functions: NDArray[np.int64],
) -> Groups:
    narrow = codes.astype(np.uint16 if functions.size <= 1 << 16 else np.uint32)  # radix sort up to 16 bits
    ordered = rows[np.argsort(narrow, kind="stable")]
    starts = np.concatenate(([0], np.cumsum(np.bincount(narrow, minlength=functions.size))))
    return Groups(ordered, starts, captures, functions)
