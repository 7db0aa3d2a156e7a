"""The one table that every capture format becomes: a row per config-space access.

``SCHEMA`` is the whole contract. Order in the capture (``seq``) is the authority, never ``time_ns``: clocks
jump across a kexec. ``where`` is the byte offset of the record in the uncompressed stream of its file, so
that every piece of evidence can be looked up (``analyze dump --bytes`` decompresses first).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

READ, WRITE = 0, 1
OP = pl.Enum(["read", "write"])

OK, UNSUPPORTED, RETRY, ABORT, UNKNOWN = range(5)
#: How an access ended: successful; Unsupported Request (the kernel reads all ones); Request Retry Status;
#: Completer Abort or an error that the accessor returned to the kernel; not recorded.
STATUS = pl.Enum(["ok", "unsupported", "retry", "abort", "unknown"])

#: What a reader yields, in this order. ``width`` 0 means that the producer did not record it (QEMU's trace
#: events); ``absent`` means that no function answered (QEMU's device ``empty``, an Unsupported Request).
READER_SCHEMA: dict[str, pl.DataType] = {
    "time_ns": pl.Int64(),
    "domain": pl.UInt32(),
    "bus": pl.UInt8(),
    "devfn": pl.UInt8(),
    "offset": pl.UInt16(),
    "width": pl.UInt8(),
    "op": OP,
    "value": pl.UInt32(),
    "status": STATUS,
    "absent": pl.Boolean(),
    "cpu": pl.UInt16(),
    "where": pl.UInt64(),
}

#: The table of a batch: the reader's columns after the keys of the capture, its file and the order in it.
SCHEMA: dict[str, pl.DataType] = {
    "capture": pl.UInt32(),
    "file": pl.UInt16(),
    "seq": pl.UInt64(),
    **READER_SCHEMA,
}

#: One more column of formats that show single bits (the text of lspci): a mask of the bits of ``value`` that
#: the input shows, the others being 0 in it. Captures that show whole values do not have it; null stands for
#: all bits where they are joined with one that has.
KNOWN = "known"
EVERY_BIT = 0xFFFFFFFF


#: Columns that may be given as codes: the word of each code.
_NAMED = {"op": pl.Series(OP.categories, dtype=OP), "status": pl.Series(STATUS.categories, dtype=STATUS)}
#: What a column holds that the producer does not record.
_NOT_RECORDED: dict[str, int | str | bool | None] = {
    "time_ns": None,
    "cpu": None,
    "status": "ok",
    "absent": False,
    "domain": 0,
    "width": 0,
}


def empty() -> pl.DataFrame:
    """Return an access table of a reader's columns without rows."""
    return pl.DataFrame(schema=READER_SCHEMA)


def concat(tables: Sequence[pl.DataFrame], *, rechunk: bool = False) -> pl.DataFrame:
    """Return the rows of all tables (at least one), one after the other, with ``known`` if any has it."""
    if any(KNOWN in table.columns for table in tables):
        return pl.concat(tables, how="diagonal", rechunk=rechunk)
    return pl.concat(tables, rechunk=rechunk)


def address_columns(functions: NDArray[np.int64]) -> dict[str, NDArray[np.generic] | pl.Series]:
    """Return the columns ``domain``, ``bus`` and ``devfn`` of functions given by their keys."""
    return {"domain": functions >> 16, "bus": functions >> 8 & 0xFF, "devfn": functions & 0xFF}


def from_columns(columns: Mapping[str, NDArray[np.generic] | pl.Series], rows: int) -> pl.DataFrame:
    """Build a reader's frame from the columns it knows; the others take their "not recorded" value.

    Args:
        columns: arrays of equal length by column name. ``op`` and ``status`` may be given as their codes
            (``READ``, ``OK``, ...); nullable columns (``time_ns``, ``cpu``) as polars Series with nulls.
        rows: length of each column.
    """
    series: list[pl.Series] = []
    optional = {KNOWN: pl.UInt32()} if KNOWN in columns else {}
    for name, dtype in {**READER_SCHEMA, **optional}.items():
        if name in columns:
            given = columns[name]
            column = given if isinstance(given, pl.Series) else pl.Series(np.ascontiguousarray(given))
            if column.dtype != dtype:
                column = _NAMED[name][column] if name in _NAMED else column.cast(dtype)
        elif name in _NOT_RECORDED:
            column = pl.Series([_NOT_RECORDED[name]], dtype=dtype).new_from_index(0, rows)
        else:
            raise KeyError(f"a reader must give the column {name!r}")
        series.append(column.alias(name))
    return pl.DataFrame(series)  # no query: one costs as much as 20,000 rows
