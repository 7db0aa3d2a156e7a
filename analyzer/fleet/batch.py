"""One batch of captures, done whatever its files do: the same function under every engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from analyzer.errors import UsageError
from analyzer.fleet import manifest, parts, rows, tasks
from analyzer.fleet.judging import failed_input
from analyzer.fleet.worker import OneEntry, WholeBatch
from analyzer.fleet.workers import WorkerDiedError, Workers
from analyzer.version import version

if TYPE_CHECKING:
    from analyzer.fleet.job import Job
    from analyzer.fleet.judging import AnalyzedInput, Outcome
    from analyzer.fleet.manifest import Entry
    from analyzer.fleet.tasks import Frames
    from analyzer.fleet.workers import Asked

#: How often a file is tried alone before its worker's death is its own doing. A process that was killed from
#: outside may have died for another's greed, so that such a death counts less.
_TRIES, _TRIES_IF_KILLED = 2, 5


def process_batch(job: Job, batch: int, workers: Workers | None = None) -> int:
    """Do one batch, unless it is done; return its number of captures.

    A pure function of the job and the batch: it reads the manifest and the captures, and writes the batch's
    parts and record, whoever calls it, wherever and however often.

    Args:
        job: what the run does.
        batch: number of the batch.
        workers: processes to use; by default those of this process.

    Raises:
        UsageError: an option cannot be meant as written, or the output cannot be written.
        AritraceError: an object store cannot be reached, or no worker can be started.
    """
    if job.tool != version():
        raise UsageError(
            f"this run was begun by version {job.tool} of the program, here is {version()}",
            path=job.directory,
            advice="install the same version on every host",
        )
    if parts.record_of(job, batch) is None:
        with (workers or _of_this_process(job)).borrowed() as asked:
            try:
                asked.ask(WholeBatch(batch))
            except (WorkerDiedError, MemoryError, RuntimeError):
                # One of its files, or chance; file by file shows which.
                _one_by_one(job, batch, asked)
    return job.slice_of(batch)[1]


def _one_by_one(job: Job, batch: int, asked: Asked) -> None:
    first, number = job.slice_of(batch)
    entries = manifest.read(job.directory, job.manifest, first, number)
    frames = [_alone(job, number, entry, asked) for number, entry in enumerate(entries, start=first)]
    parts.write(job, batch, tasks.concatenated(frames))


def _alone(job: Job, number: int, entry: Entry, asked: Asked) -> Frames:
    tries = 0
    while True:
        tries += 1
        try:
            answer: Frames = asked.ask(OneEntry(number, entry))
        except WorkerDiedError as death:
            fatal = _TRIES_IF_KILLED if death.killed else _TRIES
            if tries < fatal and not (death.timed_out or death.starved):
                continue
            return rows.tables([_fatal_input(job, number, entry, death)], job.request.host_from_path)
        except MemoryError:
            reason = "it needs more memory than --max-memory allows"
            return rows.tables([failed_input(number, entry, "too-large", reason)], job.request.host_from_path)
        return answer


def _fatal_input(job: Job, number: int, entry: Entry, death: WorkerDiedError) -> AnalyzedInput:
    limits = job.request.limits
    outcome: Outcome
    if death.timed_out:
        outcome, reason = "timeout", f"it took longer than {limits.max_seconds:g} s; raise --max-seconds"
    elif death.starved:
        outcome, reason = "too-large", "it needs more memory than --max-memory allows"
    elif death.killed:
        outcome = "crashed"
        reason = (
            f"the process that read it {death.how} {_TRIES_IF_KILLED} times; is the machine out of memory?"
        )
    else:
        outcome, reason = "crashed", f"the process that read it {death.how}; please report it with the file"
    return failed_input(number, entry, outcome, reason)


_lock = threading.Lock()
_here: dict[str, Workers] = {}


def _of_this_process(job: Job) -> Workers:
    """The workers of a process that somebody else's engine runs; those of an earlier job are ended."""
    key = f"{job.directory}\0{job.identity}"
    with _lock:
        if key not in _here:
            for old in _here.values():
                old.close()
            _here.clear()
            _here[key] = Workers(job)
        return _here[key]
