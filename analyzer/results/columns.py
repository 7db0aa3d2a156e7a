"""The columns of every table of results, derived from the fields of the results' dataclasses.

A field is a column of the same name in every table that shows its class, with one dtype wherever it stands:
text and words are String, truth values Boolean, whole numbers Int64, lists List, objects Struct. A field
added to a class in :mod:`analyzer.results` needs no other line in the program.
"""

from __future__ import annotations

import dataclasses
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import polars as pl

from analyzer import capture
from analyzer.escaping import all_encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

TEXT, NUMBER = pl.String(), pl.Int64()
_DTYPES: dict[object, pl.DataType] = {str: TEXT, bool: pl.Boolean(), int: NUMBER}


def columns(*kinds: type, without: Collection[str] = ()) -> dict[str, pl.DataType]:
    """Return the columns for the fields of classes: field name -> dtype, in the order of the fields.

    Args:
        kinds: dataclasses or typed dictionaries; fields of one name are one column.
        without: fields that the table does not show.

    Raises:
        TypeError: no column holds values of a field's type.
    """
    # The classes of analyzer.capture are known to type checkers only where they are named.
    hints = [item for kind in kinds for item in get_type_hints(kind, localns=vars(capture)).items()]
    return {name: _dtype(hint) for name, hint in dict(hints).items() if name not in without}


def table(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    r"""Return rows as a table; without rows it has all its columns too.

    A byte of a name that is not UTF-8 (PEP 383) becomes ``\xNN``, as in the JSON output.

    Args:
        rows: column name -> value, which may be a result object; a column that a row does not have is null.
        schema: names and dtypes of the columns; nothing else of a row is looked at.
    """
    cells = [list(map(row.get, schema)) for row in rows]
    for place, make in enumerate(map(_maker, schema.values())):
        if make is not None:
            for row in cells:
                row[place] = make(row[place])
    try:
        return pl.DataFrame(cells, schema=dict(schema), orient="row")
    except UnicodeError:
        # A lone surrogate, which stands for such a byte, is no text that a table can hold.
        return pl.DataFrame(all_encodable(cells), schema=dict(schema), orient="row")


def _dtype(hint: Any) -> pl.DataType:
    if hint in _DTYPES:
        return _DTYPES[hint]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return pl.Struct(columns(hint))
    kind, inside = get_origin(hint), get_args(hint)
    if len(inside) == 2 and NoneType in inside:
        return _dtype(inside[inside[0] is NoneType])
    if kind is Literal:
        return TEXT
    if kind is list:
        return pl.List(_dtype(inside[0]))
    if kind is dict and get_origin(inside[0]) is Literal:
        return pl.Struct(dict.fromkeys(get_args(inside[0]), _dtype(inside[1])))
    raise TypeError(f"expected a type that a column can hold, found {hint!r}")


def _maker(dtype: pl.DataType) -> Callable[[Any], Any] | None:
    """Return what makes a value with objects in it a cell, None where every value is a cell as it is."""
    if isinstance(dtype, pl.List):
        make = _maker(dtype.inner)  # type: ignore[arg-type]  # a dtype with its parameters
        return None if make is None else lambda items: items and list(map(make, items))
    if not isinstance(dtype, pl.Struct):
        return None
    makers = {field.name: made for field in dtype.fields if (made := _maker(field.dtype)) is not None}  # type: ignore[arg-type]

    def fields(item: Any) -> dict[str, Any] | None:
        if item is None:
            return None
        found: dict[str, Any] = item if isinstance(item, dict) else vars(item)
        return found | {name: make(found.get(name)) for name, make in makers.items()} if makers else found

    return fields
