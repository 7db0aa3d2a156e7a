"""``fleet run``: list the sources once, do every batch once, account for every input."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import extras
from analyzer.errors import UsageError
from analyzer.fleet import directory as directories
from analyzer.fleet import job as jobs_file
from analyzer.fleet import listing
from analyzer.fleet.job import Job, Limits, Request
from analyzer.readers.small_files import command_line
from analyzer.version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from analyzer.fleet.engines import Engine
    from analyzer.fleet.listing import SourceList
    from analyzer.options import Options
    from analyzer.readers.sources import LeftOut

    #: Called after each batch: captures done, of how many, and the directory.
    Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RunSummary:
    """What is done in an output directory, by this run and those before it.

    Attributes:
        captures: inputs of the whole run; ``outcomes``: those that have their row, by outcome.
        batches, batches_done: batches of the whole run, and how many are done.
    """

    directory: str
    captures: int
    batches: int
    batches_done: int
    outcomes: dict[str, int]

    @property
    def complete(self) -> bool:
        """Whether every input has its row."""
        return self.batches_done == self.batches


def run(  # noqa: PLR0913 the library's one verb: every option is a keyword
    sources: Sequence[str],
    directory: str,
    *,
    options: Options | None = None,
    limits: Limits | None = None,
    batch_size: int | None = None,
    host_from_path: str | None = None,
    jobs: int | None = None,
    shard: tuple[int, int] | None = None,
    engine: Engine = "local",
    scheduler: str | None = None,
    progress: Callable[[int], AbstractContextManager[Progress | None]] | None = None,
    skipped: Callable[[LeftOut], None] | None = None,
) -> RunSummary:
    """Analyse very many captures into tables; resume a run that was stopped.

    Args:
        sources: files, directories, globs, ``@FILE`` lists of sources, object-store URLs.
        directory: output directory; new, empty, or of the same run.
        options: ``policy``, ``series``, ``assume_preserved``, ``cmdline`` and ``input_format`` count, the
            others are for single captures and must be left alone.
        limits: what one input may cost.
        batch_size: captures in a batch; by default fitting to their number.
        host_from_path: regular expression that finds the host in a path.
        jobs: processes of this machine; by default one for each core.
        shard: (i, n) with 0 <= i < n: only every n-th batch, beginning with the i-th.
        engine: ``local`` or ``dask``.
        scheduler: address of the Dask scheduler.
        progress: called with the number of captures; its context manager gives a function to call after
            each batch, or None.
        skipped: called with the files among the sources that are not captures, once they are listed.

    Returns:
        what is done now.

    Raises:
        UsageError: wrong arguments, a package that they need is not installed, another run's directory, or it
            cannot be written.
        AritraceError: an object store or cluster fails; what is done stays done: run it again.
    """
    from analyzer.fleet import engines, manifest, parts

    lists = listing.read_lists(sources)
    request = _request(sources, lists, options, limits, batch_size, host_from_path)
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise UsageError(
            f"there is no shard {shard[0]} of {shard[1]}", advice="--shard 0/4 to 3/4 are one run"
        )
    if jobs is not None and jobs < 1:
        raise UsageError(f"expected at least 1 process, found {jobs}")
    if engine == "dask" and scheduler is None:
        raise UsageError("--engine dask needs --scheduler", advice="as in --scheduler tcp://host:8786")
    if engine == "dask":
        extras.require("--engine dask", "distributed", "dask[distributed]", "fleet")
    listing.require_stores(request.sources, lists)
    directories.make(directory)
    with directories.locked(directory, shard):
        job = jobs_file.read(directory)
        if job is None:
            job, left_out = _begin(request, lists, directory)
            if skipped is not None:
                skipped(left_out)
        jobs_file.refuse_other(job, request, version())
        manifest.check(directory, job.manifest)
        parts.prepare(job)
        if shard is None:
            parts.clean(job)
        mine = range(job.batches) if shard is None else range(shard[0], job.batches, shard[1])
        total = sum(job.slice_of(batch)[1] for batch in mine)
        with nullcontext() if progress is None else progress(total) as show:
            done = _Counter(total, directory, show)
            todo = _unfinished(job, mine, done)
            if engine == "dask" and scheduler is not None:
                engines.dask(job, todo, scheduler, done)
            else:
                try:
                    engines.local(job, todo, jobs, done)
                finally:  # a worker that was killed while it wrote cannot clean up
                    if shard is None:
                        parts.clean(job)
    return summary(job)


@dataclass
class _Counter:
    """Adds up finished captures and reports the progress."""

    total: int
    directory: str
    show: Progress | None
    finished: int = 0

    def __call__(self, captures: int) -> None:
        self.finished += captures
        if self.show is not None:
            self.show(self.finished, self.total, self.directory)


def summary(job: Job) -> RunSummary:
    """Return what is done in a job's directory."""
    from analyzer.fleet import parts

    outcomes: dict[str, int] = {}
    number = 0
    for record in parts.records(job):
        number += 1
        for outcome, captures in record.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + captures
    return RunSummary(job.directory, job.captures, job.batches, number, dict(sorted(outcomes.items())))


def _unfinished(job: Job, batches: Sequence[int], done: Callable[[int], None]) -> Iterator[int]:
    from analyzer.fleet import parts

    for batch in batches:
        record = parts.record_of(job, batch)
        if record is None:
            yield batch
        else:
            done(record.captures)


def _begin(request: Request, lists: Mapping[str, SourceList], directory: str) -> tuple[Job, LeftOut]:
    """List the sources and write the job file; if another shard was first, its job is used."""
    from analyzer.fleet import manifest
    from analyzer.readers.sources import LeftOut

    left_out = LeftOut()
    listed = manifest.write(listing.entries(request.sources, directory, lists, left_out), directory)
    size = request.batch_size or jobs_file.fitting_batch_size(listed.captures, listed.size)
    job = Job(directory, request, listed.name, listed.captures, size, version())
    if jobs_file.write_once(job):
        return job, left_out
    written = jobs_file.read(directory)
    return (job if written is None else written), left_out


def _request(
    sources: Sequence[str],
    lists: Mapping[str, SourceList],
    options: Options | None,
    limits: Limits | None,
    batch_size: int | None,
    host_from_path: str | None,
) -> Request:
    from analyzer.options import Options

    if not sources:
        raise UsageError("name at least one source", advice="a file, directory, glob, URL, or @FILE")
    chosen = options or Options()
    limits = limits or Limits()
    allowed = Options(
        policy=chosen.policy,
        series=chosen.series,
        assume_preserved=chosen.assume_preserved,
        cmdline=chosen.cmdline,
        input_format=chosen.input_format,
    )
    if chosen != allowed:
        raise UsageError(
            "options that describe one capture cannot apply to all of them",
            advice="policy, series, assume_preserved, cmdline and input_format can;"
            " give the rest in sidecars of each",
        )
    if min(limits.max_bytes, limits.max_seconds, limits.max_memory) <= 0:
        raise UsageError("limits must be greater than 0")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"expected a batch of at least 1 capture, found {batch_size}")
    if host_from_path is not None:
        try:
            re.compile(host_from_path)
        except re.error as error:
            raise UsageError(f"--host-from-path: not a regular expression: {error}") from error
    return Request(
        sources=tuple(sources),
        lists={source: found.digest for source, found in lists.items()},
        policy=chosen.policy,
        series=chosen.series,
        assume_preserved=chosen.assume_preserved,
        # The command line itself: workers elsewhere need not see the file that it is in.
        cmdline=command_line(chosen),
        input_format=chosen.input_format,
        limits=limits,
        batch_size=batch_size,
        host_from_path=host_from_path,
    )
