"""The worker processes of a run: started, given requests, replaced when they die.

One process for each thread that sends requests, over a pipe of its own, with :mod:`multiprocessing`. Pools
were tried and rejected: in ``ProcessPoolExecutor`` and loky the death of one worker fails the work of all,
without the signal that ended it; pebble's workers share a locked pipe, and a worker that is killed while it
holds that lock breaks the pool for good (seen within seconds of random SIGKILLs).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import worker
from analyzer.writing import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.fleet.job import Job


#: How many workers may die before they get a request: the system killed them.
_STARTS = 10
_OUTPUT_BYTES = 1 << 16
_PATIENCE_S = 5.0
_SAFE_PATH = "PYTHONSAFEPATH"
#: The environment is the whole process's: one block at a time changes it.
_changing_environment = threading.Lock()
_OUT_OF_MEMORY = (b"memory allocation of", b"MemoryError", b"bad_alloc", b"annot allocate memory")


class WorkerDiedError(Exception):
    """The worker process ended instead of answering.

    Attributes:
        status: its exit status; negative: the signal that ended it.
        starved: its last output was about memory.
    """

    def __init__(self, status: int, *, starved: bool) -> None:
        super().__init__(f"worker ended with status {status}")
        self.status = status
        self.starved = starved

    @property
    def timed_out(self) -> bool:
        """Whether its time was up."""
        return self.status == -signal.SIGALRM

    @property
    def killed(self) -> bool:
        """Whether something else killed it: the system for lack of memory, or an operator."""
        return self.status in (-signal.SIGKILL, -signal.SIGTERM)

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.status >= 0:
            return f"ended with status {self.status}"
        try:
            return f"died of {signal.Signals(-self.status).name}"
        except ValueError:
            return f"died of signal {-self.status}"


class StoppedError(Exception):
    """The run is being stopped."""


class _Worker:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.scratch = _scratch()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker.main, args=(theirs, job, self.scratch), daemon=True, name="aritrace-fleet"
        )
        try:
            _start(self._process)
        finally:
            theirs.close()

    def ask(self, request: Any) -> Any:
        """Return the answer to a request, or raise what the worker raised.

        Raises:
            WorkerDiedError: it ended instead; this object cannot be used any more.
        """
        with self._noticing_death():
            self._pipe.send(request)
        return self.listen()

    def listen(self) -> Any:
        with self._noticing_death():
            answer = self._pipe.recv()
        if isinstance(answer, worker.Failed):
            raise answer.error
        return answer

    @contextmanager
    def _noticing_death(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            self._process.join()
            starved = any(words in self._last_output() for words in _OUT_OF_MEMORY)
            status = self._process.exitcode
            self.end()
            raise WorkerDiedError(0 if status is None else status, starved=starved) from error

    def kill(self) -> None:
        """End it at once; :meth:`ask` then raises in the thread that waits for its answer."""
        with contextlib.suppress(ValueError, OSError):
            self._process.kill()

    def end(self) -> None:
        """End it and remove its files."""
        self._pipe.close()
        with contextlib.suppress(ValueError):
            self._process.join(_PATIENCE_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _last_output(self) -> bytes:
        try:
            with Path(self.scratch, worker.OUTPUT_FILE).open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - _OUTPUT_BYTES))
                return stream.read()
        except OSError:
            return b""


def _scratch() -> str:
    try:
        return tempfile.mkdtemp(prefix="aritrace-fleet-")
    except OSError as error:
        raise UsageError(
            f"cannot make a temporary directory: {refusal(error)}",
            path=tempfile.gettempdir() if error.filename is None else str(error.filename),
            advice="make room there, or name another directory in the environment variable TMPDIR",
        ) from error


def _start(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process with SIGINT blocked, also from a daemonic one, as Dask's workers are.

    Daemonic processes may not start others, which might outlive them; these end with their pipe. A terminal
    sends SIGINT to them too; they inherit that it is blocked, so only the driver handles it. None of them,
    the resource tracker included, imports anything from the current directory.
    """
    here = multiprocessing.current_process()
    with safe_path():
        daemonic = here.daemon
        resource_tracker.ensure_running()  # else the first start would do it, which unblocks SIGINT
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            if daemonic:
                here.daemon = False
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
            if daemonic:
                here.daemon = True


class Workers:
    """The idle workers of a process, for one job; each asking thread borrows one."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []
        self._stopped = False

    @contextmanager
    def borrowed(self) -> Iterator[BorrowedWorker]:
        """Give a worker for the block; it is replaced when it dies."""
        one = BorrowedWorker(self)
        try:
            yield one
        finally:
            one.give_back()

    def take(self) -> _Worker:
        """Return an idle worker, or a new one."""
        with self._lock:
            if self._stopped:
                raise StoppedError
            if self._idle:
                return self._idle.pop()
        for _ in range(_STARTS):
            fresh = _Worker(self.job)
            with self._lock:
                self._all.append(fresh)
                stopped = self._stopped
            try:
                if stopped:
                    fresh.kill()
                fresh.listen()
            except WorkerDiedError:
                self.forget(fresh)
                continue
            return fresh
        raise AritraceError(
            f"a worker process could not be started {_STARTS} times in a row",
            advice="check that there is memory for one, and that 'analyze --version' works here",
        )

    def put(self, one: _Worker) -> None:
        """Take a living worker back."""
        with self._lock:
            self._idle.append(one)

    def forget(self, one: _Worker) -> None:
        """Remove a dead one."""
        with self._lock:
            if one in self._all:
                self._all.remove(one)
            if self._stopped:
                raise StoppedError

    def close(self, *, at_once: bool = False) -> None:
        """End all workers; those at work are killed with ``at_once``, else waited for."""
        with self._lock:
            self._stopped = True
            alive = list(self._all)
        if at_once:
            for one in alive:
                one.kill()
        for one in self._idle:
            one.end()


class BorrowedWorker:
    """A worker for one thread, and after its death the next one."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._worker: _Worker | None = None

    def ask(self, request: Any) -> Any:
        """Return a worker's answer.

        Raises:
            WorkerDiedError: it died during this request.
            StoppedError: the run is being stopped.
        """
        if self._worker is None:
            self._worker = self._workers.take()
        try:
            return self._worker.ask(request)
        except WorkerDiedError:
            dead, self._worker = self._worker, None
            self._workers.forget(dead)
            raise

    def give_back(self) -> None:
        """Give the worker back."""
        if self._worker is not None:
            self._workers.put(self._worker)
            self._worker = None


@contextmanager
def safe_path() -> Iterator[None]:
    """Start interpreters in this block: none of them has the current directory on its path.

    :mod:`multiprocessing` starts its processes as ``python -c TEXT``, which puts the current directory first
    on ``sys.path`` until the parent's path has arrived: a ``socket.py`` in an unpacked archive would be run.
    With PYTHONSAFEPATH the interpreter leaves the directory out (Python 3.11; docs.python.org, "Command line
    and environment").

    Raises:
        AritraceError: this interpreter ignores its environment (``-E``), and so would those that it starts.
    """
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        raise AritraceError(
            "this Python ignores its environment (-E): processes that it starts would import modules from"
            " the current directory",
            advice="start it with -I, or with -E and -P",
        )
    with _changing_environment:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before
