"""The tables of columns in docs/ name every column that the program writes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from analyzer.fleet.rows import TABLES
from analyzer.results.frames import VERDICT_COLUMNS

DOCS = Path(__file__).parents[1] / "docs"
KEYS = ["capture_verdict", "capture", "path", "host", "kexec"]


def rows(page: str, head: str) -> list[list[str]]:
    """Cells of the table with that head."""
    text = (DOCS / page).read_text("utf-8")
    lines = text[text.index(head) :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    """Names in code marks, without what is explained in parentheses."""
    return re.findall(r"`(\w+)(?:\[\])?`", re.sub(r"\([^()]*\)", "", cell))


def shown(name: str, dtype: pl.DataType) -> str:
    """How docs/fleet.md shows a column: lists with ``[]``, and the fields of objects."""
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    fields = inner.fields if isinstance(inner, pl.Struct) else []
    text = f"`{name}{brackets(dtype)}`"
    inside = ", ".join(f"{field.name}{brackets(field.dtype)}" for field in fields)
    return f"{text} ({inside})" if inside else text


def brackets(dtype: pl.DataType) -> str:
    return "[]" if isinstance(dtype, pl.List) else ""


def test_the_table_of_verdicts() -> None:
    documented = [name for first, _ in rows("outputs.md", "| column |") for name in names(first)]
    assert sorted(documented) == sorted(VERDICT_COLUMNS)


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_of_a_fleet(table: str) -> None:
    documented = dict(rows("fleet.md", "| table |"))
    columns = {name: dtype for name, dtype in TABLES[table].items() if name not in KEYS}
    assert names(documented[f"`{table}`"]) == list(columns)
    cell = documented[f"`{table}`"].replace(";", ")")  # what follows the fields is an explanation
    assert [text for text in map(shown, columns, columns.values()) if text not in cell] == []


def test_the_keys_of_a_fleet() -> None:
    (sentence,) = re.findall(r"\*\*Keys\*\*(.*?)\n\n", (DOCS / "fleet.md").read_text("utf-8"), re.DOTALL)
    assert set(KEYS) <= set(names(sentence))
    assert all(list(schema)[:4] == KEYS[:4] for schema in TABLES.values())
