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


def empty() -> pl.DataFrame:
    """Return an access table of a reader's columns without rows."""
    return pl.DataFrame(schema=READER_SCHEMA)


def concat(tables: Sequence[pl.DataFrame], *, rechunk: bool = False) -> pl.DataFrame:
    """Return the rows of all tables (at least one), one after the other, with ``known`` if any has it."""
    if any(KNOWN in table.columns for table in tables):
        return pl.concat(tables, how="diagonal", rechunk=rechunk)
    return pl.concat(tables, rechunk=rechunk)


def from_columns(columns: Mapping[str, NDArray[np.generic] | pl.Series], rows: int) -> pl.DataFrame:
    """Build a reader's frame from the columns it knows; the others take their "not recorded" value.

    Args:
        columns: arrays of equal length by column name. ``op`` and ``status`` may be given as their codes
            (``READ``, ``OK``, ...); nullable columns (``time_ns``, ``cpu``) as polars Series with nulls.
        rows: length of each column.
    """
    series: list[pl.Series] = []
    codes: list[pl.Expr] = []
    optional = {KNOWN: pl.UInt32()} if KNOWN in columns else {}
    for name, dtype in {**READER_SCHEMA, **optional}.items():
        if name in columns:
            given = columns[name]
            column = given if isinstance(given, pl.Series) else pl.Series(name, np.ascontiguousarray(given))
            if column.dtype != dtype:
                if isinstance(dtype, pl.Enum):
                    codes.append(pl.col(name).cat.to(dtype))
                column = column.cast(pl.UInt8 if isinstance(dtype, pl.Enum) else dtype)
        elif name in ("time_ns", "cpu"):
            column = pl.repeat(None, rows, dtype=dtype, eager=True)
        elif name == "status":
            column = pl.Series(np.full(rows, OK, np.uint8))
            codes.append(pl.col(name).cat.to(STATUS))
        elif name == "absent":
            column = pl.repeat(False, rows, dtype=dtype, eager=True)
        elif name in ("domain", "width"):
            column = pl.repeat(0, rows, dtype=dtype, eager=True)
        else:
            raise KeyError(f"a reader must give the column {name!r}")
        series.append(column.alias(name))
    return pl.DataFrame(series).with_columns(codes)  # all in one go: each plan costs as much as 20,000 rows
