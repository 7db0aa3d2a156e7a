"""The access table of one capture as numpy columns, with the rows of each function at hand.

Boots, registers and decisions read slices of these arrays. A row is the position in the capture's table,
which is also the order in the capture; ``seq`` is what the user sees as access number (the two differ where
uninteresting rows were dropped at decode).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed.batches import WIDTH_BITS, Batch
from schemas.config_header import HEADER_TYPE, HEADER_TYPE_LAYOUT, HEADER_TYPE_ONES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

#: Keys up to this (16 domains) are marked in a table instead of sorted.
_SMALL_KEY = (1 << 20) - 1


class AccessIndex:
    """Columns of one capture; all arrays have one entry per access, in order.

    Args:
        table: the capture's accesses.
        batch: the batch that it is part of; without one it makes its own.
        number: which of the batch it is.

    Attributes:
        start: its first row in the batch.
        function, offset, width, value, absent, failed, is_read, is_write, known: as in
            :class:`analyzer.observed.batches.Batch`.
    """

    def __init__(self, table: pl.DataFrame, batch: Batch | None = None, number: int = 0) -> None:
        self.table = table
        self.rows = table.height
        self.batch = batch = Batch([table]) if batch is None else batch
        self.number = number
        self.start = int(batch.starts[number])
        self._mine = mine = slice(self.start, self.start + self.rows)
        self.function = batch.function[mine]
        self.offset = batch.offset[mine]
        self.width = batch.width[mine]
        self.value = batch.value[mine]
        self.failed = batch.failed[mine]
        self.absent = batch.absent[mine]
        self.is_read = batch.is_read[mine]
        self.is_write = batch.is_write[mine]
        self.known = None if batch.known is None else batch.known[mine]
        self._groups: dict[int, int] | None = None

    @cached_property
    def seq(self) -> NDArray[np.int64]:
        """Access number of each row."""
        return np.asarray(self.table.get_column("seq").to_numpy().view(np.int64))

    @cached_property
    def where(self) -> NDArray[np.int64]:
        """Byte offset of each record in its file."""
        return np.asarray(self.table.get_column("where").to_numpy().view(np.int64))

    @cached_property
    def file(self) -> NDArray[np.uint16]:
        """Which of the capture's files each row is from."""
        return np.asarray(self.table.get_column("file").to_numpy())

    @cached_property
    def time_ns(self) -> NDArray[np.int64]:
        """Times in ns; -1 where the capture has none (config accesses happen after the epoch)."""
        times = self.table.get_column("time_ns")
        return (times.fill_null(-1) if times.null_count() else times).to_numpy().astype(np.int64)

    def is_whole(self, row: int) -> bool:
        """Whether the input shows every bit of the value of one row."""
        return self.known is None or bool(self.known[row] == WIDTH_BITS[self.width[row]])

    def time_at(self, row: int) -> int | None:
        """Time of one row in ns, or None."""
        value = int(self.time_ns[row])
        return None if value == -1 else value

    def group(self, function: int) -> int | None:
        """Which of the batch's groups holds the accesses of a function, or None if none does."""
        if self._groups is None:
            groups = self.batch.groups
            first, last = np.searchsorted(groups.captures, (self.number, self.number + 1)).tolist()
            self._groups = dict(zip(groups.functions[first:last].tolist(), range(first, last), strict=True))
        return self._groups.get(function)

    def rows_of(self, function: int) -> NDArray[np.int64]:
        """Rows of one function in capture order (empty if it was never accessed)."""
        group = self.group(function)
        if group is None:
            return np.flatnonzero(self.function == function)
        groups = self.batch.groups
        first, last = groups.starts[group : group + 2]
        return np.asarray(groups.rows[first:last] - self.start, np.int64)

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
        return self._own(self.batch.vendor_reads)

    @cached_property
    def commands(self) -> NDArray[np.int64]:
        """Rows of the accesses to Command registers."""
        return self._own(self.batch.commands)

    @cached_property
    def header_types(self) -> NDArray[np.int64]:
        """Rows that show a function's header type: reads of the byte at 0x0E, or of the dword at 0x0C."""
        return self._own(self.batch.header_types)

    @cached_property
    def bus_number_writes(self) -> NDArray[np.int64]:
        """Rows of the writes to 0x18 to 0x1A: bus numbers, if the function is a bridge."""
        return self._own(self.batch.bus_number_writes)

    def _own(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the batch's rows that are this capture's, as rows of its own."""
        first, last = np.searchsorted(rows, (self.start, self.start + self.rows))
        return np.asarray(rows[first:last] - self.start, np.int64)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Mask of the reads that were answered (see :attr:`analyzer.observed.batches.Batch.live`)."""
        return np.asarray(self.batch.live[self._mine], np.bool_)

    @cached_property
    def present_id(self) -> NDArray[np.bool_]:
        """Mask of reads at 0x00 that return a vendor dword of a function that is there."""
        mask: NDArray[np.bool_] = self.batch.present_id[self._mine]
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


def windows(tables: Sequence[pl.DataFrame]) -> list[AccessIndex]:
    """One index per table, all of one batch."""
    batch = Batch(tables)
    return [AccessIndex(table, batch, number) for number, table in enumerate(tables)]


def enumerations(index: AccessIndex) -> NDArray[np.int64]:
    """Rows of the vendor reads at which a kernel's scan set up a function.

    The pair "vendor dword read, then as the function's next access the header-type byte"
    (Linux pci_scan_device and pci_setup_device). A function is discovered by a pair with a header type that
    the kernel knows (:func:`header_layouts`).
    """
    reads = index.vendor_reads
    whole = (index.width[reads] == 0) | (index.width[reads] == 4)
    vendor: NDArray[np.int64] = reads[index.present_id[reads] & whole]
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


def header_layouts(index: AccessIndex, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The header layout (bits 6:0 of the header type) that each pair of :func:`enumerations` read.

    A read that nobody answered, or that failed, is all ones to the kernel (Linux 7.3 pci_read_config_byte).
    """
    if not pairs.size:
        return np.empty(0, np.int64)
    headers = index.next_of_function(pairs)
    layouts = np.where(index.absent[headers], HEADER_TYPE_ONES, index.value[headers] & HEADER_TYPE_LAYOUT)
    return np.asarray(layouts, np.int64)
