"""Reading native files: the documented example, whole files, and files that are refused."""

import io
import re
import zlib
from pathlib import Path

import pytest
from native_samples import EMPTY, FULL, chunks_of, read, small_file, table

from analyzer.capture import Boundary, Event, LogLine, Notes, PreservedDump, Problem
from analyzer.converting.native import NativeWriter
from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers.native import container as reader
from schemas.native import ACCESS, CHUNK_HEADER, MAGIC, ChunkType

DOC = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


# The documented example


def doc_example() -> bytes:
    block = re.search(r"^```hex\n(.*?)^```", DOC, re.MULTILINE | re.DOTALL)[1]
    data = b""
    for offset, octets in re.findall(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )+)  #", block, re.MULTILINE):
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(octets)
    return data


def doc_rows() -> list[dict[str, object]]:
    lines = DOC[DOC.index("| seq | time_ns |") :].splitlines()
    names, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line]
    words = {"null": None, "true": True, "false": False}
    return [
        {
            name: words[cell] if cell in words else int(cell) if cell.isdigit() else cell
            for name, cell in pairs
        }
        for pairs in (list(zip(names, row, strict=True))[1:] for row in rows[1:])
    ]


def test_the_documented_example_reads_as_documented() -> None:
    found, notes = read(doc_example())
    assert found.to_dicts() == doc_rows()
    assert notes.boundaries == [Boundary(2, "live-update", "7.3.4")]
    assert (notes.host, notes.tool, notes.clock) == ("lab-7", "recorder 1.0", "monotonic")
    assert not notes.truncated
    assert not notes.problems


def test_the_documented_example_is_what_the_writer_writes() -> None:
    rows, _ = read(doc_example())
    stream = io.BytesIO()
    with NativeWriter(stream, level=0, host="lab-7", tool="recorder 1.0", clock="monotonic") as writer:
        writer.accesses(rows[:2])
        writer.boundary(Boundary(2, "live-update", "7.3.4"))
        writer.accesses(rows[2:])
    assert stream.getvalue() == doc_example()


# Undamaged files


@pytest.mark.parametrize("level", [0, 3])
def test_everything_in_a_small_file_is_read(level: int) -> None:
    found, notes = read(small_file(level))
    assert found.drop("where").equals(table(12).drop("where"))
    assert notes.boundaries == [
        Boundary(0, "kexec", "6.0"),
        Boundary(4, "kexec", "6.1"),
        Boundary(8, "kexec", "6.2"),
    ]
    assert notes.preserved == [PreservedDump(b"\1\2\3", "pci", 0)]
    assert notes.log == [LogLine("start"), LogLine("line", 5, 77)]
    assert notes.events == [Event("aer", 6, (0, 1, 2), "corrected", 9)]
    assert notes.problems == [Problem("foreign", "old.log", 12, "m")]
    assert (notes.host, notes.tool, notes.releases, notes.clock) == ("h", "t", ["6.1"], "boot")
    assert (notes.truncated, notes.dropped) == (False, 0)


def test_numpy_path_equals_interpreted_path() -> None:
    records = []
    for data in chunks_of(small_file())[1]:
        if CHUNK_HEADER.parse(data).type == ChunkType.ACCESSES:
            records += [ACCESS.parse(data[at : at + 24]) for at in range(40, len(data), 24)]
    for name in ("domain", "bus", "devfn", "offset", "width", "value"):
        assert FULL[name].to_list() == [record[name] for record in records]
    assert FULL["time_ns"].to_list() == [None if r.flags & 32 else r.time_ns for r in records]
    assert FULL["cpu"].to_list() == [None if r.flags & 64 else r.cpu for r in records]
    assert FULL["op"].to_list() == ["write" if r.flags & 1 else "read" for r in records]
    assert FULL["status"].to_physical().to_list() == [r.flags >> 1 & 7 for r in records]
    assert FULL["absent"].to_list() == [bool(r.flags & 16) for r in records]


@pytest.mark.parametrize("level", [0, 19])
def test_where_is_the_offset_in_the_file_of_raw_payloads(level: int) -> None:
    raw = small_file(0)
    found, _ = read(small_file(level))
    for row in found.to_dicts():
        assert ACCESS.parse(raw[row["where"] :]).value == row["value"]


def test_snapshots_read_as_dword_reads() -> None:
    stream = io.BytesIO()
    with NativeWriter(stream, level=0) as writer:
        writer.accesses(table(1))
        writer.snapshot(0, 1, 8, bytes(range(8)), 50)
        writer.snapshot(0x10000, 2, 0, b"\xff" * 4)
        writer.boundary(Boundary(4, "boot"))
        writer.accesses(table(1))
    found, notes = read(stream.getvalue())
    rows = (
        found[1:4].select("time_ns", "domain", "bus", "devfn", "offset", "width", "op", "value", "cpu").rows()
    )
    assert rows == [
        (50, 0, 1, 8, 0, 4, "read", 0x03020100, None),
        (50, 0, 1, 8, 4, 4, "read", 0x07060504, None),
        (None, 0x10000, 2, 0, 0, 4, "read", 0xFFFFFFFF, None),
    ]
    assert [stream.getvalue()[w : w + 4] for w in found["where"][1:4]] == [
        bytes(range(4)),
        bytes(range(4, 8)),
        b"\xff" * 4,
    ]
    assert notes.boundaries == [Boundary(4, "boot")]
    assert not notes.problems


def test_small_chunks_are_put_together() -> None:
    stream = io.BytesIO()
    with NativeWriter(stream) as writer:
        for number in range(50):
            writer.accesses(table(3, number * 3))
    stream.seek(0)
    (frame,) = reader.read(stream, Notes(""), Options())
    assert frame.height == 150


# Files that are refused


@pytest.mark.parametrize("version", [0, 2, 0xFFFF])
def test_another_version_is_refused_with_both_numbers(version: int) -> None:
    header = bytearray(EMPTY)
    header[8:10] = version.to_bytes(2, "little")
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    with pytest.raises(UnsupportedFormatError, match=f"expected version 1 .* found version {version}"):
        read(bytes(header))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected the magic"),
        (b"\x7fELF....", "expected the magic"),
        (small_file().replace(b"\r\n", b"\n"), "line ends were converted"),
    ],
)
def test_what_is_no_native_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=message):
        read(data)


@pytest.mark.parametrize("data", [MAGIC, EMPTY[:30], MAGIC + b"garbage" * 1000])
def test_a_file_with_nothing_intact_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedInputError, match="found neither"):
        read(data)
