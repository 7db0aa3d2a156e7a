"""What a worker process does for one request."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from analyzer.errors import UsageError
from analyzer.fleet import judging, manifest, parts, rows
from analyzer.fleet.stores import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.fleet.job import Job
    from analyzer.fleet.manifest import Entry

    Frames = Mapping[str, pl.DataFrame]


def whole_batch(job: Job, batch: int, scratch: str) -> None:
    """Judge a batch group by group and write its parts and its record."""
    first, number = job.slice_of(batch)
    entries = manifest.read(job.directory, job.manifest, first, number)
    frames: list[Frames] = []
    for group in judging.groups(list(enumerate(entries, start=first))):
        with _within(job.request.limits.max_seconds):
            frames.append(rows.tables(judging.judge(group, job, scratch), job.request.host_from_path))
    parts.write(job, batch, concatenated(frames))


def one_entry(job: Job, number: int, entry: Entry, scratch: str) -> Frames:
    """Judge one entry; even a fault of the program is its row."""
    host = job.request.host_from_path
    with _within(job.request.limits.max_seconds):
        try:
            return rows.tables(judging.judge([(number, entry)], job, scratch), host)
        except (UsageError, StoreError):
            raise
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 told in its row
            reason = f"a fault of the program: {type(error).__name__}"
            return rows.tables([judging.failed_input(number, entry, "crashed", reason)], host)


def concatenated(frames: Sequence[Frames]) -> dict[str, pl.DataFrame]:
    """Join frames of consecutive entries, table by table."""
    return {table: pl.concat([one[table] for one in frames], rechunk=True) for table in frames[0]}


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End the process by SIGALRM if the block takes longer: the kernel does it, whatever the block does."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
