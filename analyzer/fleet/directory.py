"""The output directory of a run: made, locked, and which of its files belong to the run."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.fleet.job import FILE_NAME, cannot_write
from analyzer.writing import is_below, overwritten

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY = {errno.EAGAIN, errno.EACCES}
#: A file system without locks: names depend on content only, so two runs cannot harm each other.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
#: Files of a run that has no job file yet: locks, manifests, and hidden ones.
_BEFORE_THE_JOB: Final = re.compile(r"run\.lock|shard-\d+-of-\d+\.lock|manifest-[0-9a-f]+\.parquet|\..*")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OWN: Final = (re.compile(r"job(-\d+)?\.json"), _BEFORE_THE_JOB)


def make(directory: str) -> None:
    """Make the output directory, or accept it if it is empty or holds a run.

    Raises:
        UsageError: it is a URL, cannot be written, or holds files that are not of a run.
    """
    if _URL.match(directory):
        raise UsageError(
            "expected a directory of this machine for the tables, found a URL",
            path=directory,
            advice="give -o a directory, and copy it with the tools of the store when the run is done",
        )
    run = Path(directory)
    try:
        run.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(run / FILE_NAME):
            return
        foreign = sorted(name for name in os.listdir(run) if not _BEFORE_THE_JOB.fullmatch(name))  # noqa: PTH208 names only
    except OSError as error:
        raise cannot_write(directory, error) from error
    if foreign and not os.path.lexists(run / FILE_NAME):  # else another shard began meanwhile
        raise UsageError(
            f"expected an empty directory or one of an earlier run, found {foreign[0]!r} in it",
            path=directory,
            advice="give -o a new directory",
        )


def is_of_run(path: str, directory: str) -> bool:
    """Whether a file is one of a run, or would lie in one of its folders; by name, link or hard link.

    Args:
        path: of a file, which need not exist.
        directory: output of a run; where there is no run nothing belongs to one.
    """
    from analyzer.fleet.parts import FOLDERS

    run = Path(directory)
    if not (run / FILE_NAME).exists():
        return False
    if any(is_below(path, str(run / folder)) for folder in FOLDERS):
        return True
    names = os.listdir(run)  # noqa: PTH208 names only
    own = [name for name in names if any(form.fullmatch(name) for form in _OWN)]
    return any(True for _ in overwritten([path], [str(run / name) for name in own]))


@contextmanager
def locked(directory: str, shard: tuple[int, int] | None) -> Iterator[None]:
    """Lock the directory: against all other runs, or for one shard beside other shards.

    The lock ends with the process, however that ends; nothing needs to be cleaned up.

    Raises:
        UsageError: another run holds the lock.
    """
    with _locked(directory, "run.lock", fcntl.LOCK_EX if shard is None else fcntl.LOCK_SH):
        if shard is None:
            yield
            return
        with _locked(directory, f"shard-{shard[0]}-of-{shard[1]}.lock", fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(directory: str, name: str, kind: int) -> Iterator[None]:
    with _opened(directory, name) as stream:
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                raise UsageError(
                    "another run works in this directory",
                    path=directory,
                    advice="wait for it, or give -o another directory (shards of one run may work together)",
                ) from error
            if error.errno not in _NO_LOCKS:
                raise cannot_write(directory, error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_UN)


def _opened(directory: str, name: str) -> IO[bytes]:
    try:
        stream = Path(directory, name).open("ab", buffering=0)  # noqa: SIM115 it is the lock
    except OSError as error:
        raise cannot_write(directory, error) from error
    if not stream.tell():
        # An empty file among the sources of another run would be a capture that cannot be read.
        with suppress(OSError):
            stream.write(b"the lock of a run of analyze fleet\n")
    return stream
