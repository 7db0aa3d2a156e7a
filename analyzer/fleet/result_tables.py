"""The tables of the finished batches of runs, opened for questions, and what the questions share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.errors import UnreadableInputError
from analyzer.fleet import job as jobs_file
from analyzer.fleet import parts, run_selection
from analyzer.fleet.answers import ReportedRun, Untimed
from analyzer.fleet.rows import PARTITION, TABLES
from analyzer.results import LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.fleet.answers import TrendBy
    from analyzer.fleet.job import Job
    from analyzer.fleet.parts import BatchRecord
    from analyzer.fleet.run_selection import Period

#: States of ARI Forwarding that rates are of, and all that concern kexecs with ARI Forwarding to lose.
DECIDED: Final = ("lost", "healed", "kept")
STATES: Final = (*DECIDED, "undetermined")
#: Tables that are scanned as one; captures of a piece of the other, which has most rows.
_WHOLE: Final = [name for name in TABLES if name != "state"]
_PIECE: Final = 20_000
#: Runs of an earlier version lack fields of some structs, those of a later one have more.
_OTHER_FIELDS: Final = pl.ScanCastOptions(missing_struct_fields="insert", extra_struct_fields="ignore")
_FORMATS: Final[dict[TrendBy, str]] = {"day": "%Y-%m-%d", "week": "%G-W%V"}


@dataclass(frozen=True)
class ResultTables:
    """Lazy scans over the parts of the batches that are done; ``done`` says how many these are.

    All columns but ``capture_verdict``, which is in the names of folders only. The captures of several runs
    are numbered one run after the other. Rows that are replaced, repeated or out of the period are left out;
    those of ``state`` have to be joined with ``kexecs`` for it. It comes in pieces, each with all rows of its
    captures, so that no question of single kexecs needs all of them at once.
    """

    runs: list[ReportedRun]
    batches: int
    done: int
    captures: pl.LazyFrame
    kexecs: pl.LazyFrame
    bridges: pl.LazyFrame
    state: list[pl.LazyFrame]
    repeated: int = 0
    untimed: Untimed | None = None


@contextmanager
def opened(directories: Sequence[str], within: Period | None = None) -> Iterator[ResultTables]:
    """Open output directories of runs; what cannot be read inside the block becomes an error with advice.

    Args:
        directories: one or more.
        within: the period of the rows; None: all.

    Raises:
        UnreadableInputError: one holds no run, or a part is damaged.
        UsageError: of another version, named twice, or runs under another policy.
    """
    runs = [_jobs(directory) for directory in directories]
    run_selection.refuse_unlike([jobs[0] for jobs in runs])
    try:
        yield _tables(runs, within)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableInputError(
            f"a table cannot be read: {reason}",
            path=" + ".join(directories),
            advice="remove the part that is damaged and run the same command again: its batch is done again",
        ) from error


def _jobs(directory: str) -> list[Job]:
    jobs = jobs_file.read_all(directory)
    if not jobs:
        raise UnreadableInputError(
            "expected the output directory of 'analyze fleet run', found no job.json in it",
            path=directory,
            advice="name the directory that was given to it with -o",
        )
    return jobs


def _tables(runs: Sequence[list[Job]], within: Period | None) -> ResultTables:
    found: list[dict[str, pl.LazyFrame]] = []
    state: list[pl.LazyFrame] = []
    reported = []
    first = batches = done = 0
    for jobs in runs:
        records = [record for job in jobs for record in parts.records(job)]
        frames = _scans(jobs[0].directory, records, _WHOLE)
        replaced = [number for job in jobs for number in job.replaced]
        captures = sum(job.captures for job in jobs)
        of_run = sum(len(job.batches) for job in jobs)
        found.append(run_selection.numbered(frames, replaced, first))
        pieces = (_scans(jobs[0].directory, piece, ["state"]) for piece in _pieces(records))
        state.extend(piece["state"].with_columns(pl.col("capture") + first) for piece in pieces)
        reported.append(ReportedRun(jobs[0].directory, len(records) == of_run, captures, len(replaced)))
        first, batches, done = first + captures, batches + of_run, done + len(records)
    frames = {name: pl.concat([one[name] for one in found]) for name in _WHOLE}
    repeated = 0
    if len(runs) > 1:
        places = [jobs[0].working_directory for jobs in runs]
        frames, repeated = run_selection.without_repeated(frames, reported, places)
    untimed = None
    if within is not None:
        untimed = run_selection.untimed(frames)
        frames = run_selection.inside(frames, within)
    return ResultTables(
        reported,
        batches,
        done,
        frames["captures"],
        frames["kexecs"],
        frames["bridges"],
        state,
        repeated=repeated,
        untimed=untimed,
    )


def _pieces(records: Sequence[BatchRecord]) -> Iterator[list[BatchRecord]]:
    """Consecutive batches of about :data:`_PIECE` captures."""
    piece: list[BatchRecord] = []
    for record in records:
        piece.append(record)
        if sum(one.captures for one in piece) >= _PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


def _scans(directory: str, records: Sequence[BatchRecord], tables: Iterable[str]) -> dict[str, pl.LazyFrame]:
    files: dict[str, list[Path]] = {name: [] for name in tables}
    for record in records:
        for table, paths in files.items():
            paths.extend(Path(directory, name) for name in record.parts.get(table, ()))
    for paths in files.values():
        if paths:
            parts.check_schema(paths[0])
    return {
        name: pl.scan_parquet(
            # By their names: those of folders above may look like patterns or partitions.
            files[name],
            glob=False,
            hive_partitioning=False,
            schema=_without_partition(schema),
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=_OTHER_FIELDS,
        )
        if files[name]
        else pl.LazyFrame(schema=_without_partition(schema))
        for name, schema in TABLES.items()
        if name in files
    }


def _without_partition(schema: pl.Schema) -> pl.Schema:
    return pl.Schema({name: dtype for name, dtype in schema.items() if name != PARTITION})


def period(trend_by: TrendBy) -> pl.Expr:
    """The UTC day or ISO week of a kexec, as text; null where its capture holds no wall-clock time."""
    return pl.from_epoch("time_ns", time_unit="ns").dt.strftime(_FORMATS[trend_by])


def bridges_at_stake(tables: ResultTables) -> pl.LazyFrame:
    """Preserved bridges with ARI to lose, at kexecs that hand devices over.

    ``ari`` is the bridge's own state, ``of_kexec`` that of its kexec, ``devices`` how many it stranded.
    """
    lost = pl.col("verdict").is_in(LOSSES)
    state = (
        pl.when(lost)
        .then(pl.lit("lost"))
        .when((pl.col("verdict") == "undetermined") | pl.col("ari_after").is_null())
        .then(pl.lit("undetermined"))
        .when(~pl.col("ari_after"))
        .then(pl.lit("healed"))
        .otherwise(pl.lit("kept"))
    )
    at_stake = lost | (pl.col("verdict") == "undetermined") | pl.col("ari_before")
    counted = tables.kexecs.filter(pl.col("ari").is_in(STATES)).select("capture", "kexec", of_kexec="ari")
    return (
        tables.bridges.filter(pl.col("preserved") & (pl.col("verdict") != "not-applicable") & at_stake)
        .select(
            "capture",
            "kexec",
            "host",
            "bdf",
            "vendor_device",
            "port_type",
            "cause",
            state.alias("ari"),
            pl.col("stranded").list.len().alias("devices"),
        )
        .join(counted, on=["capture", "kexec"])
    )
