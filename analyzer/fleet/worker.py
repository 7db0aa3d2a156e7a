"""The process that reads captures: whatever a file does to it, it does to nobody else.

It is told what to do through a pipe and dies with it. Limits are the kernel's to keep, since a loop in
native code heeds nothing else: SIGALRM ends the process when its time is up, RLIMIT_DATA bounds its memory.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from analyzer.fleet.job import Job
    from analyzer.fleet.manifest import Entry

#: What the process prints (a library's last words) goes to this file of its scratch folder.
LAST_WORDS: Final = "last-words"
READY: Final = "ready"


@dataclass(frozen=True)
class WholeBatch:
    """Judge a batch and write its parts; the answer is None."""

    batch: int


@dataclass(frozen=True)
class OneEntry:
    """Judge one entry alone; the answer is its tables."""

    number: int
    entry: Entry


@dataclass(frozen=True)
class Failed:
    """The answer where an error is to be raised in the process that asked."""

    error: BaseException


def main(pipe: Connection, job: Job, scratch: str) -> None:
    """Answer requests until the other end of the pipe is closed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    words = os.open(Path(scratch, LAST_WORDS), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(words, stream)
    # One thread each: the processes are what uses the cores. Read by polars when it is imported.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from analyzer.fleet import tasks

    _bound_memory(job.request.limits.max_memory)
    try:
        pipe.send(READY)
        while True:
            request = pipe.recv()
            pipe.send(_answer(tasks, job, request, scratch))
    except (EOFError, OSError):
        # Nobody asks any more; if the driver was killed, nobody else tidies up.
        shutil.rmtree(scratch, ignore_errors=True)


def _answer(tasks: Any, job: Job, request: WholeBatch | OneEntry, scratch: str) -> Any:
    try:
        if isinstance(request, WholeBatch):
            return tasks.whole_batch(job, request.batch, scratch)
        return tasks.one_entry(job, request.number, request.entry, scratch)
    except BaseException as error:  # noqa: BLE001 raised again by who asked; polars' panic is no Exception
        return Failed(_portable(error))


def _portable(error: BaseException) -> BaseException:
    from analyzer.errors import AritraceError

    if isinstance(error, AritraceError | MemoryError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _bound_memory(more: int) -> None:
    """Allow the process ``more`` bytes of writable memory than it has now, and no core file.

    Not its address space (RLIMIT_AS): the C library reserves 64 MiB of that for a thread whenever it likes.
    """
    import resource

    now = 0
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        now = pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        now = 1 << 30  # no Linux: about what an idle worker has
    for kind, limit in ((resource.RLIMIT_DATA, now + more), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))
