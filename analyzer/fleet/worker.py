"""The process that reads captures: a file that crashes it or fills its memory harms no other process.

It gets its requests through a pipe and ends when that is closed. The kernel keeps the limits, since nothing
else stops a loop in native code: SIGALRM ends the process when its time is up, RLIMIT_DATA bounds its memory.
Modules that import polars are imported late: the process sets its number of threads first.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection

    import polars as pl

    from analyzer.fleet.analysis import AnalyzedInput
    from analyzer.fleet.job import Job
    from analyzer.fleet.manifest import Entry

    Frames = Mapping[str, pl.DataFrame]

#: What the process prints, such as a library's message before it aborts, goes to this file of its folder.
OUTPUT_FILE: Final = "output"
READY: Final = "ready"


@dataclass(frozen=True)
class WholeBatch:
    """Analyse a batch and write its parts; the answer is None."""

    batch: int


@dataclass(frozen=True)
class OneEntry:
    """Analyse one entry alone; the answer is its tables."""

    number: int
    entry: Entry


@dataclass(frozen=True)
class Failed:
    """The answer where an error is to be raised in the process that sent the request."""

    error: BaseException


def main(pipe: Connection, job: Job, scratch: str) -> None:
    """Answer requests until the other end of the pipe is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    output = os.open(Path(scratch, OUTPUT_FILE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    # One thread each, since there is a process for each core. polars reads it when it is imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from analyzer.fleet import analysis, parts, rows  # noqa: F401 they are memory that an idle worker has

    bound_memory(job.request.limits.max_memory)
    # Results are many objects and hardly a cycle: looking for cycles again and again would be a sixth of the
    # work. It is done once after each group instead.
    gc.freeze()
    gc.disable()
    try:
        pipe.send(READY)
        while True:
            request = pipe.recv()
            pipe.send(_answer(job, request, scratch))
    except (EOFError, OSError):
        # The pipe is closed. If the driver was killed, this process alone can clean up.
        shutil.rmtree(scratch, ignore_errors=True)


def _answer(job: Job, request: WholeBatch | OneEntry, scratch: str) -> Any:
    try:
        if isinstance(request, WholeBatch):
            return whole_batch(job, request.batch, scratch)
        return one_entry(job, request.number, request.entry, scratch)
    except BaseException as error:  # noqa: BLE001 raised again by the driver; polars' panic is not an Exception
        return Failed(_portable(error))


def _portable(error: BaseException) -> BaseException:
    from analyzer.errors import AritraceError

    if isinstance(error, AritraceError | MemoryError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def bound_memory(more: int) -> None:
    """Allow the process ``more`` bytes of writable memory beyond what it has now, and no core file.

    Its address space (RLIMIT_AS) is not bounded: the C library may reserve 64 MiB of that for each thread.
    """
    import resource

    now = 0
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        now = pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        now = 1 << 30  # not Linux: about what an idle worker has
    for kind, limit in ((resource.RLIMIT_DATA, now + more), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))


def whole_batch(job: Job, batch: int, scratch: str) -> None:
    """Analyse a batch group by group and write its parts and its record."""
    from analyzer.fleet import analysis, manifest, parts

    frames: list[Frames] = []
    for group in analysis.groups(manifest.of_batch(job, batch)):
        with _within(job.request.limits.max_seconds):
            frames.append(_tables(job, analysis.analyze_inputs(group, job, scratch)))
        gc.collect()
    parts.write(job, batch, concatenated(frames))


def _tables(job: Job, judged: Sequence[AnalyzedInput]) -> dict[str, pl.DataFrame]:
    """The tables of the results, and those of the working where the run keeps them."""
    from analyzer.fleet import rows, stage_rows

    kept = [(one.number, one.entry.name, one.stages) for one in judged if one.stages is not None]
    working = stage_rows.tables(kept) if job.request.tables else {}
    return rows.tables(judged, job.request.host_from_path) | working


def one_entry(job: Job, number: int, entry: Entry, scratch: str) -> Frames:
    """Analyse one entry; even a fault of the program becomes its row."""
    from analyzer.errors import UsageError
    from analyzer.fleet import analysis
    from analyzer.fleet.stores import StoreError

    with _within(job.request.limits.max_seconds):
        try:
            return _tables(job, analysis.analyze_inputs([(number, entry)], job, scratch))
        except (UsageError, StoreError):
            raise
        except analysis.FAULTS as error:
            reason = f"a fault of the program: {type(error).__name__}"
            return _tables(job, [analysis.failed_input(number, entry, "crashed", reason)])


def concatenated(frames: Sequence[Frames]) -> dict[str, pl.DataFrame]:
    """Join frames of consecutive entries, table by table."""
    import polars as pl

    return {table: pl.concat([one[table] for one in frames], rechunk=True) for table in frames[0]}


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End the process by SIGALRM if the block takes longer: the kernel does it, whatever the block does."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
