"""One run in an output directory at a time; shards of one run beside each other."""

from __future__ import annotations

import errno
import fcntl
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from analyzer.errors import UsageError
from analyzer.fleet.job import cannot_write

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUSY = {errno.EAGAIN, errno.EACCES}
#: A file system that knows no locks: names depend on content only, so that two runs cannot harm each other.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def holding(directory: str, shard: tuple[int, int] | None) -> Iterator[None]:
    """Hold the directory: alone, or for one shard beside other shards.

    The lock goes with the process, however that ends; nothing needs to be cleaned up by hand.

    Raises:
        UsageError: another run holds it.
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
        return Path(directory, name).open("ab")
    except OSError as error:
        raise cannot_write(directory, error) from error
