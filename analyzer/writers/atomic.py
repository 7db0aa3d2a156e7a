"""Replace a file as a whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


#: What a system says if there is no room, in words; EFBIG is a limit of the process or the file system.
_NO_ROOM: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not grow so large here",
}


def refusal(error: OSError) -> str:
    """Why the system refused to write, in words, and as it says so itself."""
    said = error.strerror or str(error)
    words = _NO_ROOM.get(error.errno or 0)
    return f"{words} ({said})" if words else said


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a stream whose content becomes the file ``path`` when the block ends without an error.

    The content goes to a hidden file in the same directory first, is synced, and takes the place of ``path``
    in one step; after an error nothing is left behind and an older file stays as it was. A symbolic link is
    followed. What is no regular file (a pipe, ``/dev/stdout``) is written directly.

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
    # A name that nobody else has, so that it can be removed even if a signal came while the file was made.
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
