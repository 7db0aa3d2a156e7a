"""How objects of the results become rows of a polars table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import polars as pl

from analyzer.escaping import all_encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TEXT, _COUNT = pl.String(), pl.Int64()

#: One access or log line (:class:`analyzer.results.Evidence`).
EVIDENCE = pl.Struct(
    {
        "access": _COUNT, "file": _TEXT, "offset_bytes": _COUNT, "time_ns": _COUNT, "op": _TEXT, "bdf": _TEXT,
        "register": _TEXT, "value": _TEXT, "note": _TEXT,
    }
)  # fmt: skip


def build(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    r"""Return a table of the columns that ``schema`` names, in its order; a row without one has null there.

    A byte of a path that is no UTF-8 (PEP 383) becomes ``\xNN``, as in the JSON output.
    """
    columns: dict[str, list[Any]] = {name: [] for name in schema}
    for row in rows:
        for name, column in columns.items():
            column.append(all_encodable(row.get(name)))
    return pl.DataFrame(columns, schema=dict(schema), strict=True)


def fields(item: Any, wanted: Iterable[str]) -> dict[str, Any]:
    """Return those fields of a result object that are ``wanted``, as plain values."""
    return {name: _plain(getattr(item, name)) for name in wanted if hasattr(item, name)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
