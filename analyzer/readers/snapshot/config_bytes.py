"""Bytes of configuration spaces, as a snapshot shows them, to the dword reads that would have returned them.

A snapshot (lspci, sysfs, earlydump) shows what was read: it becomes the reads, each dword once, functions
in the order of the file and offsets ascending. A byte that the snapshot does not show is not read: of a dword
that is known in part, the known bytes are single reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.capture import LACKS_FUNCTIONS, accesses
from analyzer.errors import LimitExceededError
from analyzer.plurals import counted
from analyzer.readers.tallies import ProblemList
from schemas.config_header import EXTENDED_CONFIG_SIZE, HEADER_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Notes

#: What a snapshot of no more than the header, or of no extended space, cannot show.
NO_CAPABILITIES: Final = "no capability can be seen, so ARI Forwarding is unknown"
NO_EXTENDED: Final = "ARI, SR-IOV and ACS capabilities of devices cannot be seen"
#: Rows at which a frame is handed on.
_FRAME_ROWS: Final = 1 << 17
#: Functions of a snapshot, each as often as it is shown: more than the largest hosts have by an order of
#: magnitude, and few enough that they cost seconds.
MAX_FUNCTIONS: Final = 1 << 16
_FOUR_KNOWN: Final = 0x01010101
_LANES: Final = np.arange(4)


class ConfigBytes:
    """What is known of one function's configuration space.

    Attributes:
        function: its key (see :mod:`analyzer.bdf`).
        size: end of the highest known byte, 0 to 4096.
        overlaps: bytes were given more than once; the last value counts.
    """

    def __init__(self, function: int) -> None:
        self.function = function
        self.size = 0
        self.overlaps = False
        self._data = bytearray(EXTENDED_CONFIG_SIZE)
        self._known = bytearray(EXTENDED_CONFIG_SIZE)
        self._pieces: list[tuple[int, int, int, int]] = []

    def put(self, offset: int, data: bytes, where: int, step: int = 0) -> None:
        """Take bytes from ``offset`` on; ``offset + len(data)`` is at most 4096.

        Args:
            offset: register of the first byte.
            data: the bytes.
            where: place of the first byte in the uncompressed stream, or of the row that holds them all.
            step: 1 where the bytes lie one after the other in the stream, 0 where all have the place of
            their row.
        """
        end = offset + len(data)
        self._data[offset:end] = data
        self.overlaps = self.overlaps or self._known.find(1, offset, end) >= 0
        self._known[offset:end] = b"\1" * len(data)
        self._pieces.append((offset, end, where, step))
        self.size = max(self.size, end)

    def forget(self, offset: int, end: int) -> None:
        """Take bytes back: the snapshot says that they are not known."""
        self._known[offset:end] = bytes(len(self._known[offset:end]))

    def byte(self, offset: int) -> int:
        """One byte, 0 where it was not shown."""
        return self._data[offset]

    @property
    def holes(self) -> int:
        """Bytes below :attr:`size` that were not shown."""
        return self._known.count(0, 0, self.size)

    def reads(self) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]:
        """Return offset, width, value and place of each read, offsets ascending."""
        end = -(-self.size // 4) * 4
        each = np.frombuffer(self._known, np.uint8)[:end]
        shown = each.view(np.uint32)  # of each dword: a byte of 1 for each of its bytes that is known
        whole = np.flatnonzero(shown == _FOUR_KNOWN) * 4
        dwords = np.frombuffer(self._data, "<u4")[whole // 4]
        if len(whole) * 4 == end:
            return whole, np.full(len(whole), 4, np.uint8), dwords, self._where(end)[whole]
        split = (shown != 0) & (shown != _FOUR_KNOWN)
        single = np.flatnonzero(each & np.repeat(split, 4))
        bytes_ = np.frombuffer(self._data, np.uint8)[single].astype(np.uint32)
        offset = np.concatenate([whole, single])
        order = np.argsort(offset, kind="stable")
        width = np.repeat(np.array([4, 1], np.uint8), [len(whole), len(single)])
        return (
            offset[order],
            width[order],
            np.concatenate([dwords, bytes_])[order],
            self._where(end)[offset[order]],
        )

    def _where(self, size: int) -> NDArray[np.int64]:
        where = np.zeros(size, np.int64)
        for offset, end, place, step in self._pieces:
            where[offset:end] = place if not step else place + step * np.arange(end - offset)
        return where


class Reads:
    """Collects the reads of functions until they are enough for a frame, and what to say of them all.

    Args:
        notes: gets functions that are shown twice, and bytes that no function shows.
        repeats: whether a function may well come again.

    Attributes:
        accesses: reads collected so far, which is the number of the next one.
    """

    def __init__(self, notes: Notes, *, repeats: bool = False) -> None:
        self.accesses = 0
        self._repeats = repeats
        self._notes = notes
        self._rows = 0
        self._parts: list[tuple[NDArray[np.generic], ...]] = []
        self._seen: set[int] = set()
        self._taken = 0
        self._largest = 0
        self._repeated = 0
        self._overlaps = False
        self._without_bytes = 0
        self._problems = ProblemList(notes)

    def problem(self, kind: str, message: str, where: int) -> None:
        """Note a problem of one function or row, or only count it once there are very many."""
        self._notes.truncated |= kind == "truncated"
        self._problems.add(kind, message, where)

    def add(self, function: ConfigBytes) -> Iterator[pl.DataFrame]:
        """Append the reads of one function; yields a frame if there is enough for one.

        Raises:
            LimitExceededError: more functions than ``MAX_FUNCTIONS``.
        """
        offset, width, value, where = _unlike_a_scan(*function.reads())
        if not len(offset):
            self._without_bytes += 1
            return
        if function.function in self._seen and not self._repeats:
            self._tell_repeated(function, int(where[0]))
        self._seen.add(function.function)
        self._taken += 1
        if (len(self._seen) if self._repeats else self._taken) > MAX_FUNCTIONS:
            raise LimitExceededError(
                f"expected at most {MAX_FUNCTIONS} functions in a snapshot, found more", path=self._notes.path
            )
        if function.overlaps and not self._overlaps:
            self._notes.problem(
                "damaged",
                f"{bdf.text(function.function)} shows some registers more than once; the last value is taken",
                int(where[0]),
            )
        self._overlaps = self._overlaps or function.overlaps
        self._largest = max(self._largest, function.size)
        key = np.full(len(offset), function.function, np.int64)
        # Where every byte is ff no function answered, also where a damaged row leaves single bytes of them.
        silent = bool((value == np.where(width == 4, 0xFFFFFFFF, 0xFF)).all())
        self._parts.append((key, offset, width, value, where, np.full(len(offset), silent)))
        self._rows += len(offset)
        self.accesses += len(offset)
        if self._rows >= _FRAME_ROWS:
            yield from self._frame()

    def finish(self, lacks: Mapping[int, str]) -> Iterator[pl.DataFrame]:
        """Yield what is left, if anything, and say what the snapshot lacks.

        Args:
            lacks: what cannot be seen if no function shows more than that many bytes, and what to do.
        """
        if self._parts:
            yield from self._frame()
        self._problems.close()
        if self._without_bytes:
            message = counted("{} [function is|functions are] named without bytes", self._without_bytes)
            self._notes.problem(LACKS_FUNCTIONS, message)
        size = min((size for size in lacks if self._largest <= size), default=None)
        if self._seen and size is not None:
            self._notes.problem("short", f"no function shows more than {size} bytes: {lacks[size]}")

    def _tell_repeated(self, function: ConfigBytes, where: int) -> None:
        self._repeated += 1
        if self._repeated == 1:
            self._notes.problem(
                "repeated",
                f"{bdf.text(function.function)} is shown twice, and others may be; if these are two"
                " snapshots, make two files of them and name both with --join",
                where,
            )

    def _frame(self) -> Iterator[pl.DataFrame]:
        key, offset, width, value, where, silent = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        rows, self._rows, self._parts = self._rows, 0, []
        yield accesses.from_columns(
            {
                **accesses.address_columns(key),
                "offset": offset,
                "width": width,
                "op": np.full(rows, accesses.READ, np.uint8),
                "value": value,
                "where": where,
                "absent": silent,
            },
            rows,
        )


def _unlike_a_scan(
    offset: NDArray[np.int64], width: NDArray[np.uint8], value: NDArray[np.uint32], where: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]:
    """Split the vendor dword where the header type comes next: so a kernel's scan discovers a function."""
    if not (len(offset) > 1 and offset[0] == 0 and width[0] == len(_LANES) and offset[1] == HEADER_TYPE):
        return offset, width, value, where
    return (
        np.concatenate([_LANES, offset[1:]]),
        np.concatenate([np.ones_like(_LANES, np.uint8), width[1:]]),
        np.concatenate([(value[0] >> 8 * _LANES & 0xFF).astype(np.uint32), value[1:]]),
        np.concatenate([where[0].repeat(len(_LANES)), where[1:]]),
    )
