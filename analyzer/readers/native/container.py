"""Read the native ``.bin`` container (schemas/native.py, docs/format.md) into the access table.

``where`` is a record's byte offset in the uncompressed stream: the offset that it would have in the file if
every payload were stored raw. In a file of raw payloads that is the offset on disk.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import construct
import numpy as np
import polars as pl

from analyzer.capture import accesses
from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.plurals import count
from analyzer.readers.native.chunks import Framing, LookAhead
from analyzer.readers.native.ledger import Ledger
from analyzer.readers.native.records import ContentError, SideRecords, split, text
from schemas.bulk import dtype_of
from schemas.native import (
    ACCESS,
    ALIGNMENT,
    FILE_HEADER,
    FILE_HEADER_START,
    MAGIC,
    MAX_SNAPSHOT,
    SNAPSHOT,
    STATUS_MAX,
    STATUS_SHIFT,
    VERSION,
    AccessFlag,
    ChunkType,
    Clock,
    HeaderFlag,
    RecordFlag,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.native.chunks import Chunk, Stream

ACCESS_DTYPE: Final = dtype_of(ACCESS)
_SIZE: Final = ACCESS_DTYPE.itemsize
#: Rows that a frame has at least, if there are so many: small chunks of a careful recorder are put together.
_FRAME_ROWS: Final = 1 << 16
_MAX_OFFSET: Final = 4095
# numpy widens a u8 array that meets an IntFlag; with its own scalars it stays u8.
_WRITE: Final = np.uint8(AccessFlag.WRITE)
_STATUS: Final = np.uint8(AccessFlag.STATUS)
_ABSENT: Final = np.uint8(AccessFlag.ABSENT)
_TIME_NULL: Final = np.uint8(AccessFlag.TIME_NULL)
_CPU_NULL: Final = np.uint8(AccessFlag.CPU_NULL)
_SHIFT: Final = np.uint8(STATUS_SHIFT)


def read(stream: Stream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Read one native file.

    Args:
        stream: the file from its first byte, decompressed.
        notes: filled with what the file says besides its accesses; complete when the iteration has ended.
        options: not needed: the format says everything itself.

    Yields:
        frames with ``accesses.READER_SCHEMA``, in order; memory is bounded by the chunk size limit.

    Raises:
        UnsupportedFormatError: not a native file, or of a version that this reader does not know.
        DamagedInputError: neither the file header nor any chunk is intact.
    """
    del options
    window = LookAhead(stream)
    ledger = Ledger(notes)
    size = _file_header(window, notes)
    framing = Framing(window, ledger, size or len(MAGIC), lost=size is None)
    side = SideRecords(ledger)
    records: list[bytes] = []
    where: list[NDArray[np.uint64]] = []
    rows = 0
    for chunk in framing:
        if chunk.head.type in (ChunkType.ACCESSES, ChunkType.SNAPSHOTS):
            found = _accesses(chunk, ledger)
            if found is not None:
                records.append(found[0])
                where.append(found[1])
                rows += len(found[1])
        else:
            side.add(chunk)
        if rows >= _FRAME_ROWS:
            yield _frame(records, where)
            records, where, rows = [], [], 0
    if rows:
        yield _frame(records, where)
    if size is None and not framing.intact:
        raise DamagedInputError(
            "expected an intact file header or chunk header, found neither",
            path=notes.path,
            offset=0,
            advice="the recorder wrote nothing usable, or the file was damaged: record or copy it again",
        )
    side.finish()
    _judge_end(window, framing, notes, complete=side.complete)
    ledger.close()


def chunks(stream: Stream, notes: Notes) -> Framing:
    """The intact chunks of a native file, for those who look at its bytes.

    Args:
        stream: the file from its first byte, decompressed.
        notes: get what is damaged.

    Raises:
        UnsupportedFormatError: as :func:`read`.
    """
    window = LookAhead(stream)
    size = _file_header(window, notes)
    return Framing(window, Ledger(notes), size or len(MAGIC), lost=size is None)


def _judge_end(window: LookAhead, framing: Framing, notes: Notes, *, complete: bool) -> None:
    if not complete:
        notes.truncated = True
        notes.problem(
            "truncated",
            f"expected a trailer, found the end of the file {framing.end}".rstrip(),
            framing.position,
        )
    elif begin := window.peek(len(MAGIC)):
        advice = " (two captures in one file: separate them and use --join)" if begin == MAGIC else ""
        notes.problem(
            "foreign",
            f"expected the end of the file after the trailer, found more{advice}",
            framing.position,
        )


def _file_header(window: LookAhead, notes: Notes) -> int | None:
    """Read the file header into the notes; return its size, or None if it is damaged (and passed over)."""
    start = window.peek(FILE_HEADER_START.sizeof())
    if start[: len(MAGIC)] != MAGIC:
        text_mode = start[:4] == MAGIC[:4]
        raise UnsupportedFormatError(
            f"expected the magic {MAGIC.hex(' ')} of a native capture, found {start[: len(MAGIC)].hex(' ')}",
            path=notes.path,
            offset=0,
            advice="its line ends were converted: copy the file again in binary mode" if text_mode else "",
        )
    header = _parse_header(window, start, notes.path)
    if header is None:
        found = (
            f"{len(start)} bytes" if len(start) < FILE_HEADER_START.sizeof() else "a wrong checksum or size"
        )
        notes.problem("damaged", f"expected an intact file header, found {found}: host and clock unknown", 0)
        window.take(len(MAGIC))
        return None
    notes.host = text(header.host) or None
    notes.tool = text(header.tool) or None
    notes.source_format = text(header.source_format) or None
    notes.releases = [text(release) for release in header.releases]
    notes.created_ns = int(header.created_ns) if header.flags & HeaderFlag.CREATED_KNOWN else None
    if header.clock != Clock.UNKNOWN:
        known = header.clock in tuple(Clock)
        notes.clock = Clock(header.clock).name.lower() if known else f"clock-{header.clock}"
    return len(window.take(header.header_size))


def _parse_header(window: LookAhead, start: bytes, path: str) -> Any | None:
    """Parse the file header if its checksum is right."""
    if len(start) < FILE_HEADER_START.sizeof():
        return None
    begin = FILE_HEADER_START.parse(start)
    size, version = begin.header_size, begin.version
    data = window.peek(size)
    if size % ALIGNMENT or size <= len(start) or len(data) < size:
        return None
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        return None
    if version != VERSION:
        raise UnsupportedFormatError(
            f"expected version {VERSION} of the native format, found version {version}",
            path=path,
            offset=len(MAGIC),
            advice="use a newer aritrace" if version > VERSION else "no released version writes this",
        )
    try:
        return FILE_HEADER.parse(data)
    except construct.ConstructError:
        return None


def _accesses(chunk: Chunk, ledger: Ledger) -> tuple[bytes, NDArray[np.uint64]] | None:
    """Take the access records of a chunk and their places; None if there are none that can be trusted."""
    try:
        if chunk.head.type == ChunkType.SNAPSHOTS:
            data, where = _snapshots(chunk)
        else:
            data = chunk.payload
            where = np.arange(chunk.offset, chunk.offset + len(data), _SIZE, dtype=np.uint64)
            _validate(np.frombuffer(data, ACCESS_DTYPE), ledger.due)
    except ContentError as error:
        lost = chunk.head.accesses()
        name = ChunkType(chunk.head.type).name.lower()
        message = f"chunk {chunk.head.number} ({name}): {error}; {count(lost, 'access', 'accesses')} lost"
        ledger.problem("damaged", message, chunk.offset)
        ledger.lose(lost)
        return None
    ledger.deliver(len(where))
    return data, where


def _validate(records: NDArray[np.void], first: int) -> None:
    """Refuse accesses that no recorder can have seen; the checksum was right, so their writer was wrong."""
    offset, width = np.ascontiguousarray(records["offset"]), np.ascontiguousarray(records["width"])
    status = (np.ascontiguousarray(records["flags"]) & _STATUS) >> _SHIFT
    for name, values, bad in (
        ("offset up to 4095", offset, offset > _MAX_OFFSET),
        ("width 0, 1, 2 or 4", width, (width > 4) | (width == 3)),
        ("status up to 4", status, status > STATUS_MAX),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise ContentError(f"expected an {name}, found {int(values[row])} in access {first + row}")


def _snapshots(chunk: Chunk) -> tuple[bytes, NDArray[np.uint64]]:
    """Turn snapshots of config spaces into dword reads, as a trace of the program that took them has them."""
    snapshots, parts = split(ChunkType.SNAPSHOTS, chunk.head.count, chunk.payload)
    sizes = snapshots["data_length"].astype(np.int64)
    bad = (sizes % 4 != 0) | (sizes > MAX_SNAPSHOT)
    if bad.any():
        raise ContentError(f"expected up to {MAX_SNAPSHOT} bytes in dwords, found {sizes[bad][0]}")
    dwords = sizes // 4
    total = int(dwords.sum())
    begin = np.repeat(np.cumsum(dwords) - dwords, dwords)
    records = np.zeros(total, ACCESS_DTYPE)
    records["offset"] = (np.arange(total) - begin) * 4
    records["value"] = np.frombuffer(b"".join(parts), "<u4")
    records["width"] = 4
    for name in ("time_ns", "domain", "bus", "devfn"):
        records[name] = np.repeat(snapshots[name], dwords)
    timeless = np.repeat((snapshots["flags"] & RecordFlag.TIME_KNOWN) == 0, dwords)
    records["flags"] = np.where(timeless, _CPU_NULL | _TIME_NULL, _CPU_NULL)
    heap = chunk.offset + chunk.head.count * SNAPSHOT.sizeof()
    return records.tobytes(), np.arange(heap, heap + 4 * total, 4, dtype=np.uint64)


def _frame(parts: list[bytes], places: list[NDArray[np.uint64]]) -> pl.DataFrame:
    """Build one frame from the records of one or several chunks."""
    # Bytes are joined, not arrays: numpy joins arrays of records field by field, five times slower.
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    where = places[0] if len(places) == 1 else np.concatenate(places)
    return frame_of(np.frombuffer(data, ACCESS_DTYPE), where)


def frame_of(records: NDArray[np.void], where: NDArray[np.uint64]) -> pl.DataFrame:
    """Return the access table of records with the layout ``schemas.native.ACCESS``.

    Args:
        records: array of ``ACCESS_DTYPE``.
        where: byte offset of each in the uncompressed stream.
    """
    flags = np.ascontiguousarray(records["flags"])
    names = ("domain", "bus", "devfn", "offset", "width", "value")
    columns: dict[str, NDArray[Any] | pl.Series] = {
        name: np.ascontiguousarray(records[name]) for name in names
    }
    columns["time_ns"] = _nullable(records["time_ns"], flags & _TIME_NULL)
    columns["cpu"] = _nullable(records["cpu"], flags & _CPU_NULL)
    columns["op"] = flags & _WRITE
    columns["status"] = (flags & _STATUS) >> _SHIFT
    columns["absent"] = (flags & _ABSENT) != 0
    columns["where"] = where
    return accesses.from_columns(columns, len(records))


def _nullable(values: NDArray[Any], null: NDArray[np.uint8]) -> pl.Series:
    column = pl.Series(np.ascontiguousarray(values))
    if not null.any():
        return column
    return column.set(pl.Series(null != 0), None)
