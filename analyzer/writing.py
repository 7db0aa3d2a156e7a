"""Files that are written: atomically, and without overwriting an input."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


#: What an error number of a write means; EFBIG is a limit of the process or the file system.
_NO_ROOM: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not grow so large here",
}


def refusal(error: OSError) -> str:
    """Why the system refused to write: its meaning, and the system's own words."""
    said = error.strerror or str(error)
    words = _NO_ROOM.get(error.errno or 0)
    return f"{words} ({said})" if words else said


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory and those above it, unless it exists.

    Raises:
        UsageError: the operating system refuses.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make this directory: {refusal(error)}", path=str(path)) from error


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes the file ``path`` when the block ends without an error.

    The content goes to a hidden file in the same directory first, is synced, and replaces ``path`` in one
    step; after an error an older file stays as it was, and the hidden one is removed. A symbolic link is
    followed. What is not a regular file (a pipe, ``/dev/stdout``) is written directly.

    Raises:
        UsageError: the operating system refuses to write there.
    """
    given = Path(path)
    try:
        if given.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if given.exists() and not given.is_file():
            with given.open("wb") as stream:
                yield stream
            return
        with _temporary(Path(os.path.realpath(given))) as stream:
            yield stream
    except OSError as error:
        raise UsageError(
            f"cannot write: {refusal(error)}",
            path=str(path),
            advice="give a file in a directory that exists, that you may write to and that has room",
        ) from error


@contextmanager
def _temporary(target: Path) -> Iterator[BinaryIO]:
    # A unique name, so that it can be removed even if a signal arrives while the file is made.
    temporary = target.with_name(f".aritrace-{secrets.token_hex(16)}.tmp")
    try:
        with temporary.open("xb") as stream:  # permissions follow the umask, as for any new file
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def overwritten(outputs: Iterable[str], paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each output with each of the paths that writing it destroys.

    Args:
        outputs: files that will be written.
        paths: files, directories (each file below one counts), or ``-`` for what standard input comes from.
    """
    existing: dict[tuple[int, int], str] = {}
    missing: dict[str, str] = {}
    regular = []
    for output in outputs:
        there = _status(output)
        if there is None:
            missing[os.path.realpath(output)] = output
            continue
        existing[there.st_dev, there.st_ino] = output
        if stat.S_ISREG(there.st_mode):
            regular.append(output)
    for path in paths:
        found = _status(path)
        if found is None:
            # No file yet: the same only if both names resolve to the same path.
            same = None if path == "-" else missing.get(os.path.realpath(path))
        else:
            same = existing.get((found.st_dev, found.st_ino))
        if same is not None:
            yield same, path
        elif found is not None and stat.S_ISDIR(found.st_mode):
            yield from ((output, path) for output in regular if is_below(output, path))


def is_below(output: str, directory: str) -> bool:
    """Whether a file lies below a directory, or has a hard link there; it need not exist."""
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(directory)):
        return True
    there = _status(output)
    if there is None or there.st_nlink == 1:
        return False
    for folder, _, names in os.walk(directory):
        for name in names:
            found = _status(str(Path(folder, name)))
            if found is not None and os.path.samestat(there, found):
                return True
    return False


def _status(path: str) -> os.stat_result | None:
    """Status of a file, None if there is none; of standard input only where it is a regular file."""
    try:
        if path != "-":
            return Path(path).stat()
        found = os.fstat(sys.__stdin__.fileno()) if sys.__stdin__ is not None else None
    except (OSError, ValueError):  # ValueError: a NUL in the name, or standard input is closed
        return None
    return found if found is not None and stat.S_ISREG(found.st_mode) else None
