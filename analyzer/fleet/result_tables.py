"""The tables of a run's finished batches, opened for questions, and what the questions share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from analyzer.errors import UnreadableInputError
from analyzer.fleet import job as jobs_file
from analyzer.fleet import parts
from analyzer.fleet.rows import TABLES
from analyzer.results import LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.fleet.job import Job

TrendBy = Literal["day", "week"]
#: States of ARI Forwarding that rates are of, and all that concern kexecs with something at stake.
DECIDED: Final = ("lost", "healed", "kept")
STATES: Final = (*DECIDED, "undetermined")
_FORMATS: Final[dict[TrendBy, str]] = {"day": "%Y-%m-%d", "week": "%G-W%V"}


@dataclass(frozen=True)
class ResultTables:
    """Lazy scans over the parts of the batches that are done; ``done`` says how many these are.

    All columns but ``capture_verdict``, which is in the names of folders only.
    """

    job: Job
    done: int
    captures: pl.LazyFrame
    kexecs: pl.LazyFrame
    bridges: pl.LazyFrame


@contextmanager
def opened(directory: str) -> Iterator[ResultTables]:
    """Open the output directory of a run; what cannot be read inside the block becomes an error with advice.

    Raises:
        UnreadableInputError: it holds no run, or a part is damaged.
        UsageError: of another version.
    """
    job = jobs_file.read(directory)
    if job is None:
        raise UnreadableInputError(
            "expected the output directory of 'analyze fleet run', found no job.json in it",
            path=directory,
            advice="name the directory that was given to it with -o",
        )
    tables = _tables(job)
    try:
        yield tables
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnreadableInputError(
            f"a table cannot be read: {str(error).splitlines()[0]}",
            path=directory,
            advice="remove the part that is damaged and run the same command again: its batch is done again",
        ) from error


def _tables(job: Job) -> ResultTables:
    files: dict[str, list[Path]] = {name: [] for name in TABLES}
    done = 0
    for record in parts.records(job):
        done += 1
        for table, names in record.parts.items():
            files[table].extend(Path(job.directory, name) for name in names)
    for paths in files.values():
        if paths:
            parts.check_schema(paths[0])
    frames = {
        name: pl.scan_parquet(
            # By their names: those of folders above may look like patterns or partitions.
            files[name],
            glob=False,
            hive_partitioning=False,
            missing_columns="insert",
        )
        if files[name]
        else pl.LazyFrame(schema=schema)
        for name, schema in TABLES.items()
    }
    return ResultTables(job, done, frames["captures"], frames["kexecs"], frames["bridges"])


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
