"""``fleet run``: list the sources once, do every batch once, account for every input."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer import extras
from analyzer.errors import UsageError
from analyzer.fleet import asking, listing
from analyzer.fleet import directory as directories
from analyzer.fleet import job as jobs_file
from analyzer.fleet.job import Job
from analyzer.version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from analyzer.fleet.engines import Engine
    from analyzer.fleet.gathering import RequestedInputs
    from analyzer.fleet.job import Limits, Request
    from analyzer.fleet.manifest import Written
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
        added: inputs that this call added to an earlier run; None: it was not to add any.
        replaced: inputs of the whole run whose rows do not count any more.
        pieces: how many histories consist of several pieces.
    """

    directory: str
    captures: int
    batches: int
    batches_done: int
    outcomes: dict[str, int]
    added: int | None = None
    replaced: int = 0
    pieces: int = 0

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
    manifests: Sequence[str] = (),
    manifest_root: str | None = None,
    group_by: str | None = None,
    group_order: str | None = None,
    add: bool = False,
    tables: bool = False,
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
        manifests: files that name histories: pieces, sidecars and options of each.
        manifest_root: what paths in manifests are relative to; by default each manifest's own directory.
        group_by: regular expression; files in whose paths it finds the same are pieces of one history.
        group_order: words in paths, comma-separated, in the order of the pieces; by default that of names.
        add: if the directory holds a run already, list the sources again and add what is new.
        tables: keep every stage of each analysis but the accesses, in ``stages``.
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
    from analyzer.fleet import manifest

    request, wanted = asking.asked(
        sources,
        options=options,
        limits=limits,
        batch_size=batch_size,
        host_from_path=host_from_path,
        manifests=manifests,
        manifest_root=manifest_root,
        group_by=group_by,
        group_order=group_order,
        tables=tables,
    )
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
    listing.require_stores(request.sources, wanted.lists)
    directories.make(directory)
    with directories.locked(directory, shard):
        all_jobs = jobs_file.read_all(directory)
        added = 0 if add and all_jobs else None
        if not all_jobs:
            all_jobs = _begin(request, wanted, directory, skipped)
        jobs_file.refuse_other(all_jobs[0], request, version(), adding=added is not None)
        if added is not None and all_jobs[0].schema == 1:
            raise UsageError(
                "an earlier version of this program, without --add, began this run",
                path=directory,
                advice="give -o a new directory: 'fleet report' takes several",
            )
        for job in all_jobs:
            manifest.check(directory, job.manifest)
        work = _Work(shard, engine, scheduler, jobs, progress)
        unfinished = work.do(all_jobs)
        if added is not None and not unfinished:
            new = _add(request, wanted, all_jobs, skipped)
            if new is not None:
                added = new.captures
                all_jobs.append(new)
                work.do([new])
    return replace(summary(all_jobs), added=added)


@dataclass(frozen=True)
class _Work:
    """How batches are done."""

    shard: tuple[int, int] | None
    engine: Engine
    scheduler: str | None
    jobs: int | None
    progress: Callable[[int], AbstractContextManager[Progress | None]] | None

    def do(self, all_jobs: Sequence[Job]) -> bool:
        """Do what is not done of jobs of one directory; whether other shards have something left to do."""
        from analyzer.fleet import parts

        for job in all_jobs:
            parts.prepare(job)
        if self.shard is None:
            parts.clean(all_jobs[0])
        mine = [(job, self._mine(job)) for job in all_jobs]
        total = sum(job.slice_of(batch)[1] for job, batches in mine for batch in batches)
        with nullcontext() if self.progress is None else self.progress(total) as show:
            done = _Counter(total, all_jobs[0].directory, show)
            for job, batches in mine:
                self._do(job, batches, done)
        return self.shard is not None and any(
            parts.record_of(job, batch) is None for job in all_jobs for batch in job.batches
        )

    def _mine(self, job: Job) -> Sequence[int]:
        """The batches of this shard: of all batches of the run, every n-th."""
        if self.shard is None:
            return job.batches
        return [batch for batch in job.batches if batch % self.shard[1] == self.shard[0]]

    def _do(self, job: Job, batches: Sequence[int], done: _Counter) -> None:
        from analyzer.fleet import engines, parts

        todo = _unfinished(job, batches, done)
        if self.engine == "dask" and self.scheduler is not None:
            engines.dask(job, todo, self.scheduler, done)
        else:
            try:
                engines.local(job, todo, self.jobs, done)
            finally:  # a worker that was killed while it wrote cannot clean up
                if self.shard is None:
                    parts.clean(job)


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


def summary(all_jobs: Sequence[Job]) -> RunSummary:
    """Return what is done in a directory: of a run and its additions."""
    from analyzer.fleet import manifest, parts

    outcomes: dict[str, int] = {}
    number = 0
    for job in all_jobs:
        for record in parts.records(job):
            number += 1
            for outcome, captures in record.outcomes.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + captures
    return RunSummary(
        all_jobs[0].directory,
        sum(job.captures for job in all_jobs),
        sum(len(job.batches) for job in all_jobs),
        number,
        dict(sorted(outcomes.items())),
        replaced=sum(len(job.replaced) for job in all_jobs),
        pieces=sum(manifest.of_several_pieces(job) for job in all_jobs),
    )


def _unfinished(job: Job, batches: Sequence[int], done: Callable[[int], None]) -> Iterator[int]:
    from analyzer.fleet import parts

    for batch in batches:
        record = parts.record_of(job, batch)
        if record is None:
            yield batch
        else:
            done(record.captures)


def _begin(
    request: Request, wanted: RequestedInputs, directory: str, skipped: Callable[[LeftOut], None] | None
) -> list[Job]:
    """List the sources and write the job file; if another shard was first, its job is used."""
    from analyzer.fleet import manifest

    rows = _listed(wanted, directory, skipped)
    job = _job(directory, request, manifest.write(rows, directory))
    return [job] if jobs_file.write_once(job) else jobs_file.read_all(directory)


def _add(
    request: Request,
    wanted: RequestedInputs,
    all_jobs: Sequence[Job],
    skipped: Callable[[LeftOut], None] | None,
) -> Job | None:
    """List the sources again and write the job of what is new; None if nothing is."""
    from analyzer.fleet import gathering, manifest

    directory, last = all_jobs[0].directory, all_jobs[-1]
    wanted = gathering.with_earlier(wanted, all_jobs)
    found = gathering.addition(all_jobs, _listed(wanted, directory, skipped), wanted)
    if not found.rows.height and not found.replaced:
        return None
    job = replace(
        _job(directory, request, manifest.write(found.rows, directory)),
        addition=last.addition + 1,
        first_capture=last.first_capture + last.captures,
        first_batch=last.batches.stop,
        replaced=found.replaced,
    )
    return job if jobs_file.write_once(job) else jobs_file.read(directory, job.addition)


def _listed(
    wanted: RequestedInputs, directory: str, skipped: Callable[[LeftOut], None] | None
) -> pl.DataFrame:
    from analyzer.fleet import manifest, places
    from analyzer.readers.sources import LeftOut

    left_out = LeftOut()
    rows = manifest.listed(wanted.entries(directory, left_out))
    rows = places.spelled_alike(rows, rows.clear(), os.getcwd())  # noqa: PTH109 as text
    if skipped is not None:
        skipped(left_out)
    return rows


def _job(directory: str, request: Request, written: Written) -> Job:
    size = request.batch_size or jobs_file.fitting_batch_size(written.captures, written.size)
    here = os.getcwd()  # noqa: PTH109 as text
    return Job(directory, request, written.name, written.captures, size, version(), working_directory=here)
