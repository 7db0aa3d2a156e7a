"""The columns of every table of results, derived from the fields of the results' dataclasses.

A field is a column of the same name in every table that shows its class, with one dtype wherever it stands:
text and words are String, truth values Boolean, whole numbers Int64, lists List, objects Struct. A field
added to a class in :mod:`analyzer.results` needs no other line in the program.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import polars as pl

from analyzer import capture
from analyzer.capture.undecodable import all_encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_DTYPES: dict[object, pl.DataType] = {str: pl.String(), bool: pl.Boolean(), int: pl.Int64()}


def columns(kind: type, without: Collection[str] = ()) -> dict[str, pl.DataType]:
    """Return the columns for a dataclass or named tuple: field name -> dtype, in the order of the fields.

    Args:
        kind: the class.
        without: fields that the table does not show.

    Raises:
        TypeError: no column holds values of a field's type.
    """
    return {name: _dtype(hint) for name, hint in _hints(kind).items() if name not in without}


@cache
def cells(kind: type, without: tuple[str, ...] = ()) -> Callable[[Any], Sequence[Any]]:
    """Return a function that makes an object of ``kind`` a row: its cells under the same :func:`columns`."""
    hints = {name: hint for name, hint in _hints(kind).items() if name not in without}
    values = attrgetter(*hints) if len(hints) > 1 else lambda item: [getattr(item, name) for name in hints]
    made = [(place, make) for place, hint in enumerate(hints.values()) if (make := _maker(hint)) is not None]
    if not made:
        return values

    def row(item: Any) -> list[Any]:
        found = list(values(item))
        for place, make in made:
            if found[place] is not None:
                found[place] = make(found[place])
        return found

    return row


def table(rows: Collection[Sequence[Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    r"""Return rows of cells as a table; without rows it has all its columns too.

    A byte of a name that is not UTF-8 (PEP 383) becomes ``\xNN``, as in the JSON output.
    """
    try:
        return pl.DataFrame(rows, schema=dict(schema), orient="row")
    except UnicodeError:
        # A lone surrogate, which stands for such a byte, is no text that a table can hold.
        return pl.DataFrame(all_encodable(list(rows)), schema=dict(schema), orient="row")


@cache
def _hints(kind: type) -> dict[str, Any]:
    # The classes of analyzer.capture are known to type checkers only where they are named.
    return get_type_hints(kind, localns=vars(capture))


def _dtype(hint: Any) -> pl.DataType:
    inside = _inside(hint)
    if inside in _DTYPES:
        return _DTYPES[inside]
    origin, arguments = get_origin(inside), get_args(inside)
    if origin is Literal:
        return pl.String()
    if origin is list:
        return pl.List(_dtype(arguments[0]))
    if origin is dict and get_origin(arguments[0]) is Literal:
        return pl.Struct(dict.fromkeys(get_args(arguments[0]), _dtype(arguments[1])))
    if isinstance(inside, type) and dataclasses.is_dataclass(inside):
        return pl.Struct(columns(inside))
    raise TypeError(f"expected a type that a column can hold, found {hint!r}")


def _maker(hint: Any) -> Callable[[Any], Any] | None:
    """Return what makes a value with objects in it a cell, None where a value is a cell as it is."""
    inside = _inside(hint)
    if isinstance(inside, type) and dataclasses.is_dataclass(inside):
        hints = _hints(inside)
        if not any(map(_maker, hints.values())):
            return vars
        row = cells(inside)
        return lambda item: dict(zip(hints, row(item), strict=True))
    make = _maker(get_args(inside)[-1]) if get_origin(inside) in (list, dict) else None
    if make is None:
        return None
    if get_origin(inside) is list:
        return lambda items: list(map(make, items))
    return lambda items: {name: make(item) for name, item in items.items()}


def _inside(hint: Any) -> Any:
    """Return the hint of a value that is known: ``T`` of ``T | None``."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    known = [one for one in get_args(hint) if one is not NoneType]
    return known[0] if len(known) == 1 else hint
