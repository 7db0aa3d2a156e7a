"""The files of a run's results: Parquet parts, and a record of each batch that is done.

A part is written atomically, under a name made from what it was made from. The record of a batch is
written after all its parts: without it the batch is done again, and gives the same files again.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import stage_rows
from analyzer.fleet.job import cannot_write
from analyzer.fleet.rows import PARTITION, TABLES, TABLES_SCHEMA, VERDICTS
from analyzer.questions.tables.schemas import SCHEMAS
from analyzer.readers.small_files import read_limited
from analyzer.results.parquet import METADATA_KEY, put_table
from analyzer.version import NAME
from analyzer.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from analyzer.fleet.job import Job

_RECORDS: Final = "batches"
#: Table of the captures whose rows do not count any more, because a later addition has them again.
REPLACED: Final = "replaced"
_REPLACED_SCHEMA: Final = pl.Schema({"capture": pl.Int64()})
_RECORD_LIMIT: Final = 16 << 20
#: Folders of the output directory that hold nothing but files of the run.
FOLDERS: Final = (_RECORDS, *TABLES, REPLACED, stage_rows.FOLDER)
_TEMPORARY: Final = ".aritrace-*.tmp"
_RECORD_NAME: Final = re.compile(r"batch-([0-9]{6,15})-[0-9a-f]{16}\.json")


@dataclass(frozen=True)
class BatchRecord:
    """What a finished batch says of itself.

    Attributes:
        parts: its files by table, relative to the output directory.
        captures: how many inputs it had.
        outcomes: inputs by outcome.
    """

    batch: int
    parts: dict[str, list[str]]
    captures: int
    outcomes: dict[str, int]


def prepare(job: Job) -> None:
    """Make the folders, and an empty part of each table so that a question finds columns even without rows.

    Raises:
        UsageError: the output directory cannot be written.
    """
    try:
        Path(job.directory, _RECORDS).mkdir(exist_ok=True)
        for table, schema in TABLES.items():
            for verdict in VERDICTS:
                Path(job.directory, _folder(table, verdict)).mkdir(parents=True, exist_ok=True)
            target = Path(job.directory, _folder(table, VERDICTS[0]), "part-columns.parquet")
            if not target.exists():
                _write(pl.DataFrame(schema=schema).drop(PARTITION), target)
        for name in stage_rows.STAGES if job.request.tables else ():
            target = Path(job.directory, stage_rows.FOLDER, name, "part-columns.parquet")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                _write(pl.DataFrame(schema=SCHEMAS[name]), target)
        Path(job.directory, REPLACED).mkdir(exist_ok=True)
        target = Path(job.directory, REPLACED, f"part-{job.addition:06d}.parquet")
        if (job.replaced or not job.addition) and not target.exists():
            _write(pl.DataFrame({"capture": job.replaced}, schema=_REPLACED_SCHEMA), target)
    except OSError as error:
        raise cannot_write(job.directory, error) from error


def write(job: Job, batch: int, frames: Mapping[str, pl.DataFrame]) -> None:
    """Write the parts of a batch, then its record.

    Raises:
        UsageError: the output directory cannot be written.
    """
    name = f"part-{job.batch_name(batch)}.parquet"
    parts: dict[str, list[str]] = {}
    for table, frame in frames.items():
        for folder, rows in _by_folder(table, frame):
            if rows.height:
                part = f"{folder}/{name}"
                _write(rows.rechunk(), Path(job.directory, part))
                parts.setdefault(table, []).append(part)
    outcomes = frames["captures"]["outcome"].value_counts(sort=False).sort("outcome")
    record = BatchRecord(batch, parts, frames["captures"].height, dict(outcomes.iter_rows()))
    with replacing(_record_path(job, batch)) as stream:
        stream.write(json.dumps(asdict(record), sort_keys=True).encode() + b"\n")


def _by_folder(table: str, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Folders of a table with the rows that belong there."""
    if table not in TABLES:
        yield table, frame
        return
    for verdict in VERDICTS:
        yield _folder(table, verdict), frame.filter(pl.col(PARTITION) == verdict).drop(PARTITION)


def record_of(job: Job, batch: int) -> BatchRecord | None:
    """Return the record of a batch that is done and whose parts are all there, else None."""
    try:
        found = BatchRecord(
            **json.loads(read_limited(str(_record_path(job, batch)), _RECORD_LIMIT, "a record"))
        )
        named = [(table, part) for table, parts in found.parts.items() for part in parts]
        whole = all(_is_of(table, part) and Path(job.directory, part).is_file() for table, part in named)
    except (AritraceError, OSError, ValueError, TypeError, AttributeError, RecursionError):
        # None, or no record that we wrote: the batch is simply done again.
        return None
    return found if whole and isinstance(found.captures, int) else None


def _is_of(table: str, part: str) -> bool:
    """Whether a file that a record names lies in the folder of its table."""
    return part.startswith(f"{table}/") and os.path.normpath(part) == part


def records(job: Job) -> Iterator[BatchRecord]:
    """Yield the records of all finished batches in order.

    The files are what is looked through: of how many batches a job speaks is not to be believed.
    """
    try:
        names = os.listdir(Path(job.directory, _RECORDS))  # noqa: PTH208 names only
    except OSError:
        return
    numbers = {int(match[1]) for match in map(_RECORD_NAME.fullmatch, names) if match is not None}
    for batch in sorted(numbers):
        found = record_of(job, batch) if batch in job.batches else None
        if found is not None:
            yield found


def clean(job: Job) -> None:
    """Remove half-written files of a killed run; only for a process that holds the directory alone."""
    folders = [Path(job.directory), Path(job.directory, _RECORDS), Path(job.directory, REPLACED)]
    folders += [Path(job.directory, _folder(table, verdict)) for table in TABLES for verdict in VERDICTS]
    folders += [Path(job.directory, stage_rows.FOLDER, name) for name in stage_rows.STAGES]
    for folder in folders:
        for leftover in folder.glob(_TEMPORARY):
            leftover.unlink(missing_ok=True)


def check_schema(part: Path) -> None:
    """Refuse a part of another version of the tables.

    Raises:
        UsageError: as said, or it is no Parquet file of ours.
    """
    try:
        found = json.loads(pl.read_parquet_metadata(part)[METADATA_KEY])["schema"]
    except (OSError, KeyError, ValueError, TypeError, RecursionError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            "expected a table of a fleet run, found something else", path=str(part), advice="run it again"
        ) from error
    if found != TABLES_SCHEMA:
        raise UsageError(
            f"expected tables of schema {TABLES_SCHEMA}, found {found!r}",
            path=str(part),
            advice="use the version of this program that wrote them",
        )


def _folder(table: str, verdict: str) -> str:
    return f"{table}/{PARTITION}={verdict}"


def _record_path(job: Job, batch: int) -> Path:
    return Path(job.directory, _RECORDS, f"batch-{job.batch_name(batch)}.json")


def _write(frame: pl.DataFrame, target: Path) -> None:
    about = json.dumps({"schema": TABLES_SCHEMA, "tool": NAME})
    with replacing(target) as stream:
        put_table(frame, stream, about)
