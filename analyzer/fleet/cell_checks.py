"""What every row of a run's tables has: without it the row is not one that a run has written.

Columns that only later versions have are not among them: they are null for the rows of an earlier one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.errors import UnreadableInputError
from analyzer.plurals import count

if TYPE_CHECKING:
    from analyzer.fleet.result_tables import ResultTables

_PRESENT: Final = {
    "captures": ("capture", "path", "outcome", "verdict", "kexec_count"),
    "kexecs": ("capture", "path", "kexec", "ari", "loss", "doubt", "devices_stranded"),
    "bridges": ("capture", "path", "kexec", "bdf", "verdict", "preserved", "stranded"),
    "state": ("capture", "path", "kexec", "name", "code"),
}
_ADDRESS: Final = "^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f][.][0-7]$"


def refuse_other_rows(tables: ResultTables) -> None:
    """Refuse tables with a row that no run writes.

    Raises:
        UnreadableInputError: a cell that is never empty is, or is no address of a function.
    """
    frames = {name: [getattr(tables, name)] for name in ("captures", "kexecs", "bridges")}
    for table, parts in {**frames, "state": tables.state}.items():
        wrong = [_wrong(column).alias(column) for column in _PRESENT[table]]
        for part in parts:
            found = part.select(wrong).collect().row(0, named=True)
            column = next((name for name, rows in found.items() if rows), None)
            if column is not None:
                raise UnreadableInputError(
                    f"expected a value of {column} in each row of the table {table}, found"
                    f" {count(found[column], 'row')} without one",
                    path=" + ".join(run.directory for run in tables.runs),
                    advice="this is not as a run wrote it: run it again in another directory",
                )


def _wrong(column: str) -> pl.Expr:
    """How many cells of a column are not what they always are."""
    if column == "bdf":
        return (~pl.col(column).str.contains(_ADDRESS)).fill_null(value=True).sum()
    return pl.col(column).null_count()
