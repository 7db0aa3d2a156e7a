"""Small trace.dat files of a few records, and reading them."""

from __future__ import annotations

import io

import polars as pl
from trace_dat_builder import Pages, TraceFile, probes

from analyzer.capture import Notes, accesses
from analyzer.options import Options
from analyzer.readers.trace import dat
from analyzer.readers.unwrap import ByteStream

COLUMNS = ("op", "domain", "bus", "devfn", "offset", "width", "value")
GOOD = {"dom": 0, "bus": 2, "devfn": 0x48, "reg": 0x90, "len": 2, "val": 0x20}


def read(data: bytes, **options) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("x")
    with ByteStream("x", io.BytesIO(data)) as stream:
        frames = list(dat.read(stream, notes, Options(**options)))
    table = pl.concat([accesses.empty(), *frames])
    assert table.schema == accesses.READER_SCHEMA
    return table, notes


def rows(table: pl.DataFrame, *columns: str) -> list[tuple]:
    return table.select(columns or COLUMNS).rows()


def one_cpu(*parts: bytes, time: int = 1000, **kind) -> TraceFile:
    file = TraceFile(**kind)
    return file.buffer(Pages(file.order, file.long_size, file.page_size).page(time, list(parts)))


def record(name: str, *, delta: int = 1, pages: Pages | None = None, tail: bytes = b"", **values) -> bytes:
    pages = pages or Pages()
    payload = probes(pages.long_size)[name].payload(pages.order, tail=tail, **values)
    return pages.record(payload, delta)
