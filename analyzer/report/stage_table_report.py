"""``analyze tables``: one table for a reader, or all of them as Parquet files."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analyzer.errors import UsageError
from analyzer.escaping import inert
from analyzer.report.page import Page, plain
from analyzer.results.parquet import put_table
from analyzer.version import NAME, version
from analyzer.writing import make_directory, replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

TableFormat = Literal["text", "csv", "jsonl"]
#: Version of the columns: more may be added under the same number.
SCHEMA = 1
#: Rows that are made text at a time.
_BLOCK = 10_000


def text(frames: Iterable[pl.DataFrame], form: TableFormat) -> Iterator[str]:
    """Yield one table as text, part by part.

    ``text`` has columns of equal width (within a part), ``csv`` a header line and one line for each row, and
    ``jsonl`` an object for each row. Lists and objects are JSON in all three, unknown values ``-`` in
    ``text``, empty in ``csv`` and null in ``jsonl``. Text is inert for terminals.
    """
    for number, frame in enumerate(frames):
        if form == "jsonl":
            for row in frame.iter_rows(named=True):
                yield json.dumps(row, ensure_ascii=True) + "\n"
        elif form == "csv":
            yield from _csv(frame, header=number == 0)
        else:
            yield ("\n" if number else "") + _aligned(frame)


def _csv(frame: pl.DataFrame, *, header: bool) -> Iterator[str]:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    if header:
        writer.writerow(frame.columns)
    for block in frame.iter_slices(_BLOCK):
        writer.writerows([_cell(value, "") for value in row] for row in block.iter_rows())
        yield target.getvalue()
        target.seek(0)
        target.truncate()
    yield target.getvalue()


def _aligned(frame: pl.DataFrame) -> str:
    page = Page()
    numbers = frozenset(place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric())
    rows = [tuple(frame.columns), *(tuple(_cell(value, "-") for value in row) for row in frame.iter_rows())]
    page.table(rows, right=numbers)
    return plain(page)


def _cell(value: Any, unknown: str) -> str:
    if value is None:
        return unknown
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=True)
    return inert(str(value))


def refuse_directory(path: str) -> None:
    """Refuse a directory that holds something: the parts of two runs in one table would be mixed.

    Raises:
        UsageError: it exists, and is not an empty directory.
    """
    if os.path.isdir(path):  # noqa: PTH112 raises for no name, as Path.is_dir does for one that is too long
        try:
            entries = len(os.listdir(path))  # noqa: PTH208 how many
        except OSError as error:
            raise UsageError(f"this directory cannot be listed: {error.strerror}", path=path) from error
        if entries:
            raise UsageError(
                f"expected a new or empty directory, found one with {entries} entries",
                path=path,
                advice="name another directory, or remove this one",
            )
    elif os.path.lexists(path):
        raise UsageError("expected a directory, found a file", path=path, advice="name a directory: -o DIR")


def write_part(directory: str, number: int, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write the part of one capture of every table: ``DIRECTORY/TABLE/NNNNNN.parquet``.

    ``aritrace`` in the metadata of each file is a JSON object: ``schema``, ``table`` and ``tool``.

    Raises:
        UsageError: the operating system refuses.
    """
    for name, frame in tables.items():
        folder = Path(directory) / name
        make_directory(folder)
        about = {"schema": SCHEMA, "table": name, "tool": {"name": NAME, "version": version()}}
        with replacing(folder / f"{number:06}.parquet") as stream:
            put_table(frame, stream, json.dumps(about, ensure_ascii=True))
