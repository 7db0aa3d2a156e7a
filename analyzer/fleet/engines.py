"""Who runs the batches: processes of this machine, or a Dask cluster. Both just call ``process_batch``."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Literal

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet.batch import process_batch
from analyzer.fleet.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.fleet.job import Job

    #: Told the captures of each finished batch.
    Done = Callable[[int], None]

Engine = Literal["local", "dask"]
#: Batches handed out beyond those at work: enough that nobody waits, few enough to cost nothing.
_AHEAD = 2
#: A batch whose Dask workers died is handed out again so often; the deaths are the cluster's, not the files'.
_LIVES = 10
_CONNECT_S = 30
#: The longest wait in one piece: a signal between Python's last look and a wait is seen only behind it.
_LISTEN_S = 0.2


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def local(job: Job, batches: Iterable[int], jobs: int | None, done: Done) -> None:
    """Do batches with processes of this machine.

    Args:
        job: what the run does.
        batches: their numbers.
        jobs: how many processes; by default one for each core.
        done: told of each finished batch.

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
        done: told of each finished batch.

    Raises:
        UsageError: no scheduler answers there, or dask.distributed is not installed.
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
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--engine dask needs the package dask.distributed", advice="pip install 'aritrace[fleet]'"
        ) from error
    try:
        return Client(scheduler, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]  # as above
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {scheduler}", advice="check the address; is it running?"
        ) from error
