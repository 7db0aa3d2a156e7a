"""The real machine of the snapshot samples, taken by lspci, from sysfs and by its kernel's own dump."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import polars as pl
import zstandard

from analyzer.capture import Notes, accesses
from analyzer.options import Options
from analyzer.readers.unwrap import ByteStream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"

LSPCI = "lspci-xxxx-vvv.txt.zst"
LSPCI_SHORT = "lspci-xxx.txt"
SYSFS = "sysfs-config.tar.zst"
EARLYDUMP = "earlydump-console.txt.zst"

#: What lspci lists: bus and device/function numbers.
FUNCTIONS = [
    *((0, devfn) for devfn in (0x00, 0x18, 0x20, 0x21, 0xF8, 0xFA, 0xFB)),
    *((1, 0), (2, 0), (2, 8), (3, 0), (4, 0), (5, 0), (5, 1), (6, 0), (7, 8)),
]


def content(name: str) -> bytes:
    data = (FORMATS / name).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if name.endswith(".zst") else data


def read(reader, data: bytes, path: str = "x") -> tuple[pl.DataFrame, Notes]:
    notes = Notes(path)
    frames = list(reader.read(ByteStream(path, io.BytesIO(data)), notes, Options()))
    table = pl.concat([accesses.empty(), *frames])
    assert table.schema == accesses.READER_SCHEMA
    return table, notes


def config_files() -> dict[str, bytes]:
    """The members of the sysfs sample as the standard library unpacks them."""
    with tarfile.open(fileobj=io.BytesIO(content(SYSFS))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def registers(table: pl.DataFrame) -> pl.DataFrame:
    """What was read, without the place in the file."""
    return table.select("domain", "bus", "devfn", "offset", "width", "value")


def functions(table: pl.DataFrame) -> list[tuple[int, int]]:
    """Bus and device/function numbers in the order of the table."""
    return table.select("bus", "devfn").unique(maintain_order=True).rows()


def kinds(notes: Notes) -> list[str]:
    return [problem.kind for problem in notes.problems]
