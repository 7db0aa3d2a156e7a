"""The manifest: every capture of a run, listed once, in an order that depends on their names only.

A Parquet file with a row for each capture. A capture's number everywhere in the results is its row; the rows
of an addition are counted on from those before it.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import polars as pl

from analyzer.errors import AritraceError, UsageError
from analyzer.readers.opening import open_input
from analyzer.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import FileIO

    from analyzer.fleet.job import Job

#: Who says the host or the time of a history.
StatedBy = Literal["manifest", "path"]
SCHEMA: Final = pl.Schema(
    {
        "location": pl.Binary(),
        "size": pl.Int64(),
        "modified_ns": pl.Int64(),
        "etag": pl.String(),
        "sidecars": pl.List(pl.String()),
        "problem": pl.String(),
        "problem_kind": pl.String(),
        "pieces": pl.List(pl.Binary()),
        "options": pl.String(),
        "host": pl.String(),
        "time_ns": pl.Int64(),
        "stated_by": pl.String(),
    }
)
#: What makes two listings of one location differ: with another of these it is analysed again.
STATED: Final = ("options", "host", "time_ns")
VERSION: Final = ("size", "modified_ns", "etag", *STATED)
_CHUNK = 50_000
#: A batch is a slice: few rows in a group, so that reading one reads little else.
_ROW_GROUP = 8192


@dataclass(frozen=True)
class Entry:
    """One capture, or the reason why a source gave none.

    Attributes:
        location: path as bytes (file names need not be text), or the URL of an object; of a history of
            several pieces all of them (:func:`analyzer.capture.joining.path_of`).
        size: bytes as stored; None if not known.
        modified_ns: time of last change in ns since 1970 UTC; None if not known.
        etag: version of an object, as its store says.
        sidecars: URLs of an object's sidecars; None: look for them when it is fetched (files: always None).
        problem: why there is nothing to open, with ``problem_kind``; None otherwise.
        pieces: paths or URLs of consecutive pieces of one history; None: there is one.
        options: of this history alone, as JSON: fields of :class:`analyzer.options.Options`.
        host: its host, where the manifest or the path says it.
        time_ns: likewise its time, in ns since 1970 UTC.
        stated_by: who says these: ``manifest`` or ``path``.
    """

    location: bytes
    size: int | None = None
    modified_ns: int | None = None
    etag: str | None = None
    sidecars: list[str] | None = None
    problem: str | None = None
    problem_kind: str | None = None
    pieces: list[bytes] | None = None
    options: str | None = None
    host: str | None = None
    time_ns: int | None = None
    stated_by: StatedBy | None = None

    @classmethod
    def nothing(cls, source: str, reason: str, kind: str = "empty") -> Entry:
        """The entry of a source without a capture: it becomes a row of its own."""
        return cls(os.fsencode(source), problem=reason, problem_kind=kind)

    @property
    def path(self) -> str:
        """Path or URL, to open it with."""
        return os.fsdecode(self.location)

    @property
    def piece_locations(self) -> list[bytes]:
        """The location of each piece."""
        return [self.location] if self.pieces is None else self.pieces

    @property
    def name(self) -> str:
        r"""The path as text for tables: a byte that is not UTF-8 is written ``\xNN``."""
        return as_text(self.location)


def as_text(location: bytes) -> str:
    r"""A location as text for tables: a byte that is not UTF-8 is written ``\xNN``."""
    return location.decode("utf-8", "backslashreplace")


class Written(NamedTuple):
    """A manifest: its file name, which holds a digest of its content, its rows, and their bytes as stored."""

    name: str
    captures: int
    size: int


def listed(entries: Iterable[Entry]) -> pl.DataFrame:
    """Return entries as a manifest's rows. An entry that several sources name is listed once."""
    frame = pl.concat([pl.DataFrame(schema=SCHEMA), *_frames(entries)])
    return frame.unique("location", keep="first", maintain_order=True).sort("location")


def write(frame: pl.DataFrame, directory: str) -> Written:
    """Write the rows that :func:`listed` returned as the manifest of a run or of an addition."""
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


def of_batch(job: Job, batch: int) -> list[tuple[int, Entry]]:
    """Return the entries of a batch with the numbers of their captures.

    Raises:
        UsageError: the manifest cannot be read.
    """
    first, rows = job.slice_of(batch)
    entries = itertools.starmap(Entry, frame_of(job, first, rows).iter_rows())
    return list(enumerate(entries, start=job.first_capture + first))


def frame_of(job: Job, first: int = 0, rows: int | None = None) -> pl.DataFrame:
    """Return rows of a job's manifest, with the columns of :data:`SCHEMA`.

    Raises:
        UsageError: it cannot be read.
    """
    path = Path(job.directory, job.manifest)
    try:
        found = pl.scan_parquet(path, glob=False, schema=SCHEMA, missing_columns="insert")
        return found.slice(first, rows).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"the manifest cannot be read: {error}", path=str(path)) from error


def _frames(entries: Iterable[Entry]) -> Iterator[pl.DataFrame]:
    rest = iter(entries)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield pl.DataFrame([astuple(entry) for entry in chunk], schema=SCHEMA, orient="row")


def of_several_pieces(job: Job) -> int:
    """How many histories of a job's manifest have several pieces."""
    return int(frame_of(job)["pieces"].is_not_null().sum())
