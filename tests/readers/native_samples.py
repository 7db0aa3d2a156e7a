"""Small native files for the tests, whole and built chunk by chunk."""

import io
import zlib

import numpy as np
import polars as pl
from native_chunks import chunks

from analyzer.capture import Boundary, Event, LogLine, Notes, PreservedDump, Problem, accesses
from analyzer.converting.native import NativeWriter
from analyzer.options import Options
from analyzer.readers.native import container as reader
from schemas.native import ACCESS, CHUNK_HEADER, CHUNK_MAGIC, RECORDS, ChunkType


def read(data: bytes) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("test.bin")
    frames = list(reader.read(io.BytesIO(data), notes, Options()))
    return pl.concat([accesses.empty(), *frames]), notes


def table(rows: int, first: int = 0) -> pl.DataFrame:
    """Accesses that can be told apart: value is the access number; every third without time and cpu."""
    number = np.arange(first, first + rows)
    return accesses.from_columns(
        {
            "time_ns": pl.Series(
                [None if n % 3 == 2 else n * 1000 - 5 for n in number.tolist()], dtype=pl.Int64
            ),
            "domain": np.full(rows, 0x10000, np.uint32),
            "bus": (number % 256).astype(np.uint8),
            "devfn": np.full(rows, 8, np.uint8),
            "offset": (number * 4 % 4096).astype(np.uint16),
            "width": np.array([0, 1, 2, 4], np.uint8)[number % 4],
            "op": (number % 2).astype(np.uint8),
            "value": number.astype(np.uint32),
            "status": (number % 5).astype(np.uint8),
            "absent": number % 7 == 0,
            "cpu": pl.Series([None if n % 3 == 2 else 0xFFFF for n in number.tolist()], dtype=pl.UInt16),
            "where": np.zeros(rows, np.uint64),
        },
        rows,
    )


def small_file(level: int = 0) -> bytes:
    """Three chunks of 4 accesses, each behind a boundary, and one chunk of every other type."""
    stream = io.BytesIO()
    with NativeWriter(stream, host="h", tool="t", releases=["6.1"], clock="boot", level=level) as writer:
        writer.preserved(PreservedDump(b"\1\2\3", "pci", 0))
        writer.log(LogLine("start"), LogLine("line", 5, 77))
        writer.event(Event("aer", 6, (0, 1, 2), "corrected", 9))
        writer.problem(Problem("foreign", "old.log", 12, "m"))
        for part in range(3):
            writer.boundary(Boundary(part * 4, "kexec", f"6.{part}"))
            writer.accesses(table(4, part * 4))
    return stream.getvalue()


def chunk(kind: int, payload: bytes, count: int, *, first: int = 0, number: int = 0, **changes: int) -> bytes:
    """One chunk with correct checksums; ``changes`` overrides header fields before its checksum is made."""
    fields = {
        "magic": CHUNK_MAGIC,
        "type": kind,
        "codec": 0,
        "flags": 0,
        "count": count,
        "stored_length": len(payload),
        "raw_length": len(payload),
        "payload_crc": zlib.crc32(payload),
        "first_access": first,
        "number": number,
        "header_crc": 0,
    }
    header = CHUNK_HEADER.build(fields | changes)[:-4]
    return header + zlib.crc32(header).to_bytes(4, "little") + payload + bytes(-len(payload) % 8)


def chunks_of(data: bytes) -> tuple[bytes, list[bytes]]:
    """The file header and the chunks of an undamaged file."""
    found = chunks(data)
    return data[: found[0][0]], [data[begin:end] for begin, end in found]


def kinds_of(notes: Notes) -> list[str]:
    return [problem.kind for problem in notes.problems]


EMPTY = chunks_of(small_file())[0]
FULL, FULL_NOTES = read(small_file())


def access(**fields: int) -> bytes:
    values = dict.fromkeys(
        ("time_ns", "domain", "value", "offset", "cpu", "bus", "devfn", "width", "flags"), 0
    )
    return ACCESS.build(values | fields)


def record(chunk_type: ChunkType, **fields: int) -> bytes:
    layout, _ = RECORDS[chunk_type]
    values = dict.fromkeys((part.name for part in layout.subcons if part.name), 0)
    return layout.build(values | fields)
