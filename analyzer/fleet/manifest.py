"""The manifest: every capture of a run, listed once, in an order that depends on their names only.

A Parquet file with a row for each capture. A capture's number everywhere in the results is its row.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import polars as pl

from analyzer.errors import AritraceError, UsageError
from analyzer.readers.opening import open_input
from analyzer.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO

SCHEMA: Final = pl.Schema(
    {
        "location": pl.Binary(),
        "size": pl.Int64(),
        "modified_ns": pl.Int64(),
        "etag": pl.String(),
        "sidecars": pl.List(pl.String()),
        "problem": pl.String(),
        "problem_kind": pl.String(),
    }
)
_CHUNK = 50_000
#: A batch is a slice: few rows in a group, so that reading one reads little else.
_ROW_GROUP = 8192


@dataclass(frozen=True)
class Entry:
    """One capture, or the reason why a source gave none.

    Attributes:
        location: path as bytes (file names need not be text), or the URL of an object.
        size: bytes as stored; None if not known.
        modified_ns: time of last change in ns since 1970 UTC; None if not known.
        etag: version of an object, as its store says.
        sidecars: URLs of an object's sidecars; None: look for them when it is fetched (files: always None).
        problem: why there is nothing to open, with ``problem_kind``; None otherwise.
    """

    location: bytes
    size: int | None = None
    modified_ns: int | None = None
    etag: str | None = None
    sidecars: list[str] | None = None
    problem: str | None = None
    problem_kind: str | None = None

    @classmethod
    def nothing(cls, source: str, reason: str, kind: str = "empty") -> Entry:
        """The entry of a source without a capture: it becomes a row of its own."""
        return cls(os.fsencode(source), problem=reason, problem_kind=kind)

    @property
    def path(self) -> str:
        """Path or URL, to open it with."""
        return os.fsdecode(self.location)

    @property
    def name(self) -> str:
        r"""The path as text for tables: a byte that is not UTF-8 is written ``\xNN``."""
        return self.location.decode("utf-8", "backslashreplace")


class Written(NamedTuple):
    """A manifest: its file name, which holds a digest of its content, its rows, and their bytes as stored."""

    name: str
    captures: int
    size: int


def write(entries: Iterable[Entry], directory: str) -> Written:
    """Write the manifest. An entry that several sources name is listed once."""
    frame = pl.concat([pl.DataFrame(schema=SCHEMA), *_frames(entries)])
    frame = frame.unique("location", keep="first", maintain_order=True).sort("location")
    data = io.BytesIO()
    frame.write_parquet(data, compression="zstd", row_group_size=_ROW_GROUP)
    with data.getbuffer() as content:
        name = f"manifest-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        with replacing(Path(directory, name)) as stream:
            stream.write(content)
    return Written(name, frame.height, int(frame["size"].sum()))


def check(directory: str, name: str) -> None:
    """Refuse a manifest that is missing or is not the one that the job was made with.

    Raises:
        UsageError: as said.
    """
    path = Path(directory, name)
    try:
        with open_input(str(path), "the manifest of a run") as stream:
            digest = hashlib.file_digest(cast("FileIO", stream), "sha256").hexdigest()
    except (AritraceError, OSError) as error:
        reason = error.message if isinstance(error, AritraceError) else error.strerror
        raise UsageError(
            f"the manifest of this run cannot be read: {reason}",
            path=str(path),
            advice="restore it, or start over in another directory",
        ) from error
    if f"manifest-{digest[:16]}.parquet" != name:
        raise UsageError(
            "the manifest was changed since this run began",
            path=str(path),
            advice="start over in another directory",
        )


def read(directory: str, name: str, first: int, rows: int) -> list[Entry]:
    """Return a slice of the manifest.

    Raises:
        UsageError: it cannot be read.
    """
    path = Path(directory, name)
    try:
        frame = pl.scan_parquet(path, glob=False).slice(first, rows).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"the manifest cannot be read: {error}", path=str(path)) from error
    return [Entry(*row) for row in frame.iter_rows()]


def _frames(entries: Iterable[Entry]) -> Iterator[pl.DataFrame]:
    rest = iter(entries)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield pl.DataFrame([astuple(entry) for entry in chunk], schema=SCHEMA, orient="row")
