"""The rows of a file of ``--manifest``: CSV, JSON lines or Parquet, told apart by their content.

Whoever wrote the file may mean harm: its bytes, rows and texts are bounded before they are used.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import parquet_rows
from analyzer.plurals import count
from analyzer.readers.small_files import read_unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of a manifest, decompressed, and its rows: several times what a million histories need.
MANIFEST_LIMIT: Final = 256 << 20
ROWS_LIMIT: Final = 2_000_000
#: Bytes of one row; a history of a thousand pieces with long names has about a hundred thousand.
_ROW_LIMIT: Final = 1 << 20
_PARQUET: Final = b"PAR1"
_WHAT: Final = "a manifest of histories"
ADVICE: Final = (
    "write CSV with a header, JSON lines or Parquet, with a column 'pieces' (docs/fleet.md lists the others)"
)


@dataclass(frozen=True)
class HistoryRow:
    """One row as it stands in the file.

    Attributes:
        place: where it is: ``line 3``, or ``row 3`` of a Parquet file.
        values: by the name of the column; null and empty values are left out.
    """

    place: str
    values: dict[str, Any]


@dataclass(frozen=True)
class ManifestContent:
    """The content of a manifest.

    Attributes:
        path: the file or URL, as given.
        content: decompressed.
    """

    path: str
    content: bytes

    @property
    def digest(self) -> str:
        """Hash of the content: with other content it is another run."""
        return hashlib.sha256(self.content).hexdigest()

    def rows(self) -> Iterator[HistoryRow]:
        """Yield the rows in order.

        Raises:
            UsageError: it is not a manifest, or too large.
        """
        if self.content.startswith(_PARQUET):
            rows = _parquet(self.content, self.path)
        elif self.content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{":
            rows = _json_lines(self.content, self.path)
        else:
            rows = _csv(self.content, self.path)
        number = 0
        for row in rows:
            number += 1
            if number > ROWS_LIMIT:
                raise UsageError(f"expected at most {ROWS_LIMIT} rows, found more", path=self.path)
            yield row
        if not number:
            raise UsageError("expected a row for each history, found none", path=self.path, advice=ADVICE)


def read(path: str) -> ManifestContent:
    """Read a manifest, compressed or not.

    Raises:
        UsageError: it cannot be read or is too large.
    """
    from analyzer.fleet import listing, stores

    try:
        read_content = stores.content if listing.is_url(path) else read_unpacked
        return ManifestContent(path, read_content(path, MANIFEST_LIMIT, _WHAT))
    except UsageError:
        raise
    except AritraceError as error:
        raise UsageError(
            f"cannot read this manifest: {error.message}", path=path, advice="check the name after --manifest"
        ) from error


def _text(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"expected UTF-8 text, found another byte in line {line}",
            path=path,
            advice=ADVICE,
        ) from None


def _csv(content: bytes, path: str) -> Iterator[HistoryRow]:
    lines = csv.reader(io.StringIO(_text(content, path), newline=""), strict=True, skipinitialspace=True)
    header: list[str] | None = None
    at = 1
    try:
        for cells in lines:
            place, at = f"line {at}", lines.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, place, path)
                continue
            if len(cells) != len(header):
                raise UsageError(
                    f"expected {len(header)} values in {place}, as many as the header has columns, found"
                    f" {len(cells)}",
                    path=path,
                    advice='put a value that holds a comma in quotation marks: "02:00.0,03:00.0"',
                )
            if sum(map(len, cells)) > _ROW_LIMIT:
                raise _too_long(place, path)
            yield HistoryRow(
                place, {name: cell for name, cell in zip(header, cells, strict=True) if cell.strip()}
            )
    except csv.Error as error:
        raise UsageError(
            f"expected CSV in line {at}, found something else ({error})", path=path, advice=ADVICE
        ) from None


def _header(cells: list[str], place: str, path: str) -> list[str]:
    names = [_name(cell) for cell in cells]
    if "pieces" not in names:
        raise UsageError(
            f"expected a header with a column 'pieces' in {place}, found"
            f" {count(len(names), 'column')} without it",
            path=path,
            advice=ADVICE,
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"expected each column once in {place}, found {twice!r} twice", path=path)
    return names


def _json_lines(content: bytes, path: str) -> Iterator[HistoryRow]:
    for number, line in enumerate(io.BytesIO(content), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        if len(line) > _ROW_LIMIT:
            raise _too_long(place, path)
        try:
            found = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UsageError(
                f"expected a JSON object in {place}, found something else",
                path=path,
                advice='as in {"host": "h1", "pieces": ["before.txt", "after.txt"]}',
            )
        yield HistoryRow(place, {_name(name): value for name, value in found.items() if not _empty(value)})


def _parquet(content: bytes, path: str) -> Iterator[HistoryRow]:
    for number, row in enumerate(parquet_rows.rows(content, path, ROWS_LIMIT), start=1):
        place = f"row {number}"
        values = {_name(name): value for name, value in row.items()}
        if "pieces" not in values:
            raise UsageError(
                f"expected a column 'pieces', found {count(len(values), 'column')} without it",
                path=path,
                advice=ADVICE,
            )
        if sum(len(str(value)) for value in values.values()) > _ROW_LIMIT:
            raise _too_long(place, path)
        yield HistoryRow(place, {name: value for name, value in values.items() if not _empty(value)})


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _name(text: str) -> str:
    """Name of a column: an option may be written as on the command line (``kexec-at``)."""
    return text.strip().removeprefix("--").replace("-", "_").lower()


def _too_long(place: str, path: str) -> UsageError:
    return UsageError(f"expected at most {_ROW_LIMIT} bytes in {place}, found more", path=path)
