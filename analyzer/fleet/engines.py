"""Batches of captures, on this machine or on a Dask cluster: the same function does a batch under both."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Literal

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import manifest, parts, rows
from analyzer.fleet.analysis import failed_input
from analyzer.fleet.worker import OneEntry, WholeBatch, concatenated
from analyzer.fleet.workers import WorkerDiedError, Workers
from analyzer.version import ISSUES, version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.fleet.analysis import AnalyzedInput, Outcome
    from analyzer.fleet.job import Job
    from analyzer.fleet.manifest import Entry
    from analyzer.fleet.worker import Frames
    from analyzer.fleet.workers import BorrowedWorker

    #: Called with the number of captures of each finished batch.
    Done = Callable[[int], None]


Engine = Literal["local", "dask"]
#: Batches handed out beyond those at work: enough that no worker waits, few enough to cost nothing.
_AHEAD = 2
#: How often a batch whose Dask workers died is handed out again; the cluster's fault, not that of the files.
_LIVES = 10
_CONNECT_S = 30
#: The longest single wait: a signal that arrives just before a wait is handled only after it.
_LISTEN_S = 0.2
#: How many workers a file may cost alone before it is reported as ``crashed``. The system may kill a process
#: for memory that another one uses, so such a death counts less.
_TRIES, _TRIES_IF_KILLED = 2, 5


def process_batch(job: Job, batch: int, workers: Workers | None = None) -> int:
    """Do one batch, unless it is done; return its number of captures.

    It depends on the job and the batch only: it reads the manifest and the captures, and writes the batch's
    parts and record. Calling it twice, or on several hosts, gives the same files.

    Args:
        job: what the run does.
        batch: number of the batch.
        workers: processes to use; by default those of this process.

    Raises:
        UsageError: an option has an impossible value, or the output cannot be written.
        AritraceError: an object store cannot be reached, or no worker can be started.
    """
    if job.tool != version():
        raise UsageError(
            f"version {job.tool} of the program began this run, this is version {version()}",
            path=job.directory,
            advice="install the same version on every host",
        )
    if parts.record_of(job, batch) is None:
        with (workers or _of_this_process(job)).borrowed() as borrowed:
            try:
                borrowed.ask(WholeBatch(batch))
            except (WorkerDiedError, MemoryError, RuntimeError):
                # One of its files, or an accident: file by file shows which.
                _one_by_one(job, batch, borrowed)
    return job.slice_of(batch)[1]


def _one_by_one(job: Job, batch: int, borrowed: BorrowedWorker) -> None:
    frames = [_alone(job, number, entry, borrowed) for number, entry in manifest.of_batch(job, batch)]
    parts.write(job, batch, concatenated(frames))


def _alone(job: Job, number: int, entry: Entry, borrowed: BorrowedWorker) -> Frames:
    tries = 0
    while True:
        tries += 1
        try:
            answer: Frames = borrowed.ask(OneEntry(number, entry))
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
            f"the process that read it {death.how} {_TRIES_IF_KILLED} times; check the memory of the machine"
        )
    else:
        outcome = "crashed"
        reason = f"the process that read it {death.how}; please report it with the file at {ISSUES}"
    return failed_input(number, entry, outcome, reason)


_lock = threading.Lock()
_here: dict[str, Workers] = {}


def _of_this_process(job: Job) -> Workers:
    """The workers of a process that Dask runs; those of an earlier job are ended."""
    key = f"{job.directory}\0{job.identity}"
    with _lock:
        if key not in _here:
            for old in _here.values():
                old.close()
            _here.clear()
            _here[key] = Workers(job)
        return _here[key]


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def local(job: Job, batches: Iterable[int], jobs: int | None, done: Done) -> None:
    """Do batches with processes of this machine.

    Args:
        job: what the run does.
        batches: their numbers.
        jobs: how many processes; by default one for each core.
        done: called after each finished batch.

    Raises:
        AritraceError: as :func:`process_batch`; batches that are done stay done.
    """
    width = jobs or cores()
    workers = Workers(job)
    rest = iter(batches)
    pool = ThreadPoolExecutor(width, thread_name_prefix="fleet")
    try:
        pending: set[Future[int]] = set()
        while True:
            for batch in itertools.islice(rest, width + _AHEAD - len(pending)):
                pending.add(pool.submit(process_batch, job, batch, workers))
            if not pending:
                break
            finished, pending = wait(pending, _LISTEN_S, return_when=FIRST_COMPLETED)
            for future in finished:
                done(future.result())
    except BaseException:
        workers.close(at_once=True)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        workers.close()


def dask(job: Job, batches: Iterable[int], scheduler: str, done: Done) -> None:
    """Do batches on a Dask cluster, whose workers see the output directory and the sources by the same names.

    Args:
        job: what the run does.
        batches: their numbers.
        scheduler: its address, as in ``tcp://host:8786``.
        done: called after each finished batch.

    Raises:
        UsageError: no scheduler responds there, or dask.distributed is not installed.
        AritraceError: as :func:`process_batch`, or a batch whose workers die again and again.
    """
    client = _client(scheduler)
    deaths: dict[int, int] = {}
    numbers: dict[str, int] = {}
    rest = iter(batches)

    def submit(batch: int) -> Any:
        key = f"aritrace-{job.batch_name(batch)}-{deaths.get(batch, 0)}"
        numbers[key] = batch
        return client.submit(process_batch, job, batch, key=key, pure=False)

    with client:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        ahead = max(sum(client.nthreads().values()), 1) * 2 + _AHEAD
        first = [submit(batch) for batch in itertools.islice(rest, ahead)]
        queue: Any = as_completed(first, loop=client.loop)  # type: ignore[no-untyped-call]
        for future in queue:
            batch = numbers.pop(future.key)
            failure = future.exception()
            if isinstance(failure, KilledWorker):
                deaths[batch] = deaths.get(batch, 0) + 1
                if deaths[batch] > _LIVES:
                    raise AritraceError(
                        f"batch {batch} could not be done: its Dask workers died {_LIVES} times",
                        path=job.directory,
                        advice="look into the logs of the Dask workers, then run the same command again",
                    )
                queue.add(submit(batch))
                continue
            done(future.result())
            for following in itertools.islice(rest, 1):
                queue.add(submit(following))


def _client(scheduler: str) -> Any:
    from distributed import Client

    try:
        return Client(scheduler, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no response from a Dask scheduler at {scheduler}", advice="check its address, and that it runs"
        ) from error
