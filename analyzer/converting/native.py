"""Write the native ``.bin`` container (schemas/native.py, docs/format.md).

:class:`NativeWriter` appends chunk by chunk, each in a single ``write``, so that a recorder may be killed at
any time; :func:`write_capture` writes a whole capture. The same input gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np
import zstandard

from analyzer.capture.accesses import EVERY_BIT, KNOWN, READER_SCHEMA
from analyzer.converting.native_records import (
    CLOCKS,
    Row,
    access_records,
    boundary_row,
    event_row,
    file_header,
    fit,
    log_row,
    preserved_row,
    problem_row,
    snapshot_row,
    use_rows,
)
from analyzer.errors import LimitExceededError, UnsupportedFormatError
from analyzer.writing import replacing
from schemas.bulk import dtype_of
from schemas.native import (
    ALIGNMENT,
    CHUNK_HEADER,
    CHUNK_MAGIC,
    MAX_ACCESSES,
    MAX_RAW,
    RECORDS,
    ChunkType,
    Codec,
    TrailerFlag,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from types import TracebackType

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Boundary, Capture, Event, LogLine, PlacedUse, PreservedDump, Problem

#: Accesses in a chunk: damage loses one chunk, and larger chunks compress little better.
CHUNK_ROWS: Final = 8192
#: Payload at which a chunk of other records is closed.
_CHUNK_BYTES: Final = 1 << 18
_DTYPES: Final = {kind: dtype_of(record) for kind, (record, _) in RECORDS.items()}
#: ``write_capture`` compresses captures of up to so many accesses as far as it can, in small chunks so that
#: most of them survive a cut; larger captures fast.
_SMALL: Final = 1 << 20
_SMALL_ROWS: Final = 2048
_LEVEL_SMALL, _LEVEL_LARGE = 19, 6


class NativeWriter:
    """Writes one native file to a binary stream.

    Use it as a context manager: leaving the block writes the trailer; leaving it by an exception does not,
    and a reader then reports the file as truncated. The stream stays open.

    Args:
        stream: written to from its current position, one ``write`` for the header and for each chunk.
        host: name of the machine that was recorded.
        tool: program that recorded, with version.
        source_format: format of the capture that this file is a conversion of.
        releases: kernel releases that are known to be in the capture.
        clock: what ``time_ns`` counts, a key of ``native_records.CLOCKS``; None: unknown.
        created_ns: when the recording began, in ns since 1970 UTC; None: not stated.
        level: zstd level 1 to 22; 0: store everything raw. A chunk that would not shrink is stored raw.

    Attributes:
        accesses_written: how many accesses the file holds so far, which is the number of the next one.

    Raises:
        LimitExceededError: a text or number does not fit into the format (every method).
        ValueError: unknown ``clock`` name; from a method: the trailer is already written.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        host: str | None = None,
        tool: str | None = None,
        source_format: str | None = None,
        releases: Sequence[str] = (),
        clock: str | None = None,
        created_ns: int | None = None,
        level: int = 3,
    ) -> None:
        self.accesses_written = 0
        self._stream = stream
        self._number = 0
        self._closed = False
        self._compressor = zstandard.ZstdCompressor(level=level) if level else None
        stream.write(file_header(host, tool, source_format, releases, clock, created_ns))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._closed:
            self.close()

    def accesses(self, frame: pl.DataFrame, chunk_rows: int = CHUNK_ROWS) -> None:
        """Append accesses, at most ``chunk_rows`` in a chunk.

        ``frame`` has the columns of ``accesses.READER_SCHEMA``; ``where`` and further ones are not stored.
        """
        for part in frame.iter_slices(chunk_rows):
            records = access_records(part)
            if len(records):
                self._chunk(ChunkType.ACCESSES, len(records), records.tobytes())
            self.accesses_written += len(records)

    def boundary(self, *marks: Boundary) -> None:
        """Append boundaries; their ``seq`` counts the accesses of this file."""
        self._records(ChunkType.BOUNDARIES, [boundary_row(mark) for mark in marks])

    def preserved(self, *dumps: PreservedDump) -> None:
        """Append raw dumps of preserved sets."""
        self._records(ChunkType.PRESERVED, [preserved_row(dump) for dump in dumps])

    def log(self, *lines: LogLine) -> None:
        """Append kernel log lines; their ``seq`` counts the accesses of this file."""
        self._records(ChunkType.LOG, [log_row(line) for line in lines])

    def event(self, *events: Event) -> None:
        """Append link, hot-plug and error events; their ``seq`` counts the accesses of this file."""
        self._records(ChunkType.EVENTS, [event_row(event) for event in events])

    def uses(self, *uses: PlacedUse) -> None:
        """Append what functions are used as; their ``seq`` counts the accesses of this file."""
        self._records(ChunkType.USES, [row for placed in uses for row in use_rows(placed)])

    def problem(self, *problems: Problem) -> None:
        """Append what was wrong with the source of a conversion."""
        self._records(ChunkType.PROBLEMS, [problem_row(problem) for problem in problems])

    def snapshot(self, domain: int, bus: int, devfn: int, data: bytes, time_ns: int | None = None) -> None:
        """Append a config space as it was read at this point: one access for each dword.

        Raises:
            ValueError: ``data`` is not 4 to 4096 bytes in whole dwords.
        """
        self._records(ChunkType.SNAPSHOTS, [snapshot_row(domain, bus, devfn, data, time_ns)])
        self.accesses_written += len(data) // 4

    def close(self, *, dropped: int = 0, truncated: bool = False) -> None:
        """Write the trailer: nothing can follow.

        Args:
            dropped: accesses that the recorder or the source of a conversion is known to have lost.
            truncated: the source of a conversion was cut short.
        """
        fields = {
            "accesses": self.accesses_written,
            "dropped": min(dropped, MAX_ACCESSES),  # a damaged source may claim any number
            "flags": int(TrailerFlag.SOURCE_TRUNCATED) if truncated else 0,
        }
        self._records(ChunkType.TRAILER, [(fields, b"")])
        self._closed = True

    def _records(self, kind: ChunkType, rows: Sequence[Row]) -> None:
        """Append records in chunks of moderate size."""
        itemsize = _DTYPES[kind].itemsize
        batch: list[Row] = []
        size = 0
        for row in rows:
            need = fit(itemsize + len(row[1]), MAX_RAW, f"bytes of a {kind.name.lower()} record")
            if batch and size + need > _CHUNK_BYTES:
                self._batch(kind, batch)
                batch, size = [], 0
            batch.append(row)
            size += need
        if batch:
            self._batch(kind, batch)

    def _batch(self, kind: ChunkType, batch: Sequence[Row]) -> None:
        records = np.zeros(len(batch), _DTYPES[kind])
        for name in batch[0][0]:
            values = [fields[name] for fields, _ in batch]
            limits = np.iinfo(records.dtype[name])
            if min(values) < limits.min or max(values) > limits.max:
                field = f"{name} of {kind.name.lower()}"
                raise LimitExceededError(
                    f"the native format holds {limits.min} to {limits.max} as {field}, found {max(values)}"
                )
            records[name] = values
        self._chunk(kind, len(batch), records.tobytes() + b"".join(heap for _, heap in batch))

    def _chunk(self, kind: ChunkType, count: int, raw: bytes) -> None:
        if self._closed:
            raise ValueError("the trailer is written: nothing can follow it")
        stored, codec = raw, Codec.NONE
        if self._compressor is not None and kind != ChunkType.TRAILER:
            packed = self._compressor.compress(raw)
            if len(packed) < len(raw):
                stored, codec = packed, Codec.ZSTD
        fields = {
            "magic": CHUNK_MAGIC,
            "type": kind,
            "codec": codec,
            "flags": 0,
            "count": count,
            "stored_length": len(stored),
            "raw_length": len(raw),
            "payload_crc": zlib.crc32(stored),
            "first_access": self.accesses_written,
            "number": self._number,
            "header_crc": 0,
        }
        header = CHUNK_HEADER.build(fields)[:-4]
        checksum = zlib.crc32(header).to_bytes(4, "little")
        self._stream.write(b"".join((header, checksum, stored, bytes(-len(stored) % ALIGNMENT))))
        self._number += 1


def refuse_single_bits(capture: Capture) -> None:
    """Refuse a capture of which the input shows only some bits of values: a file would show the others as 0.

    Raises:
        UnsupportedFormatError: there are such accesses.
    """
    if KNOWN not in capture.accesses.columns:
        return
    parts = capture.accesses.get_column(KNOWN).fill_null(EVERY_BIT) != EVERY_BIT
    raise UnsupportedFormatError(
        f"expected accesses with whole values, found {int(parts.sum())} of {capture.accesses.height} in this"
        f" capture ({capture.format}) of which only single bits are known",
        path=capture.path,
        advice="read it as it is (analyze, analyze atrisk, --join), or convert to .parquet, which has a"
        " column for it; lspci -D -xxxx, as root, shows whole values",
    )


def write_capture(capture: Capture, path: str | os.PathLike[str], *, level: int | None = None) -> None:
    """Write a capture as a native file, atomically.

    What belongs to the whole capture comes first, then accesses and boundaries in their order, so that a file
    that is cut short keeps as much as possible. ``seq`` of the notes becomes the row of that access.

    Args:
        capture: ``accesses`` sorted by ``seq``.
        path: file to write or to replace.
        level: zstd level, 0 = raw; None: best for small captures, fast for large ones.

    Raises:
        UsageError: the operating system refuses to write there.
        LimitExceededError: a text or dump is too long for the format.
        UnsupportedFormatError: some accesses show single bits only, which the format cannot hold.
    """
    refuse_single_bits(capture)
    notes = capture.notes
    seq = capture.accesses["seq"].to_numpy()
    small = len(seq) <= _SMALL
    rows = _SMALL_ROWS if small else CHUNK_ROWS
    if level is None:
        level = _LEVEL_SMALL if small else _LEVEL_LARGE
    with replacing(path) as stream:
        writer = NativeWriter(
            stream,
            host=notes.host,
            tool=notes.tool,
            source_format=notes.source_format or (capture.format if capture.format != "native" else None),
            releases=notes.releases,
            clock=notes.clock if notes.clock in CLOCKS else None,
            created_ns=notes.created_ns,
            level=level,
        )
        writer.preserved(*notes.preserved)
        writer.problem(*notes.problems)
        writer.log(*(_moved(line, seq) for line in notes.log))
        writer.event(*(_moved(event, seq) for event in notes.events))
        writer.uses(*(_moved(one, seq) for one in notes.uses))
        table = capture.accesses.select(name for name in READER_SCHEMA if name != "where")
        for mark in (_moved(mark, seq) for mark in sorted(notes.boundaries, key=lambda mark: mark.seq)):
            writer.accesses(table.slice(writer.accesses_written, mark.seq - writer.accesses_written), rows)
            writer.boundary(mark)
        writer.accesses(table.slice(writer.accesses_written), rows)
        writer.close(dropped=notes.dropped + notes.missing_dwords, truncated=notes.truncated)


def _moved(item: Any, seq: NDArray[np.uint64]) -> Any:
    """The same mark, line or event with the row that its ``seq`` stands for."""
    if item.seq is None:
        return item
    return dataclasses.replace(item, seq=int(np.searchsorted(seq, item.seq)))
