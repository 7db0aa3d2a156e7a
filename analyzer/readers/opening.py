"""Open a file that the user named: the one place where an input is opened, so that none can hang us.

Regular files are opened, and pipes with a writer (``<(command)``, ``mkfifo``). A named pipe
without a writer is given up after some seconds; directories, devices and sockets are refused unopened.
"""

from __future__ import annotations

import os
import select
import stat
from typing import IO, Final

from analyzer.errors import UnreadableInputError

#: How long a named pipe may stay silent, in seconds.
PIPE_PATIENCE_S: Final = 10.0


def open_input(path: str, expected: str = "a capture") -> IO[bytes]:
    """Open a regular file or a pipe for reading, unbuffered.

    Args:
        path: as the user named it.
        expected: what it should hold, for messages.

    Raises:
        UnreadableInputError: missing, not permitted, not a file, or a named pipe without a writer.
    """
    try:
        _refuse_others(os.stat(path).st_mode, path, expected)  # noqa: PTH116 a path with a NUL is refused below
        # The file object owns the descriptor from the start: a signal's exception may come at any place.
        file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 the caller closes it
        try:
            mode = os.fstat(file.fileno()).st_mode
            _refuse_others(mode, path, expected)  # what was opened may not be what had that name before
            # A pipe of another process, as <(command) names it, has no place in the file system. It has a
            # writer, or is at its end.
            if stat.S_ISFIFO(mode) and os.path.exists(os.path.realpath(path)):  # noqa: PTH110 as above
                _wait(file, path)
            os.set_blocking(file.fileno(), True)
        except BaseException:
            file.close()
            raise
        else:
            return file
    except FileNotFoundError as error:
        raise UnreadableInputError("there is no such file", path=path, advice="check the name") from error
    except PermissionError as error:
        raise UnreadableInputError(
            "no permission to read this file", path=path, advice="change its mode, or run as its owner"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise UnreadableInputError(f"this file cannot be opened: {reason}", path=path) from error


def _refuse_others(mode: int, path: str, expected: str) -> None:
    if stat.S_ISDIR(mode):
        raise UnreadableInputError(
            f"expected {expected}, found a directory",
            path=path,
            advice="name the files in it" if expected == "a capture" else "name a file",
        )
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise UnreadableInputError(f"expected {expected}, found a device or socket", path=path)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _wait(pipe: IO[bytes], path: str) -> None:
    """Wait for the first byte of a named pipe, but not forever."""
    if not select.select([pipe], [], [], PIPE_PATIENCE_S)[0]:
        raise UnreadableInputError(
            f"this is a named pipe, and nothing was written to it for {PIPE_PATIENCE_S:g} s", path=path
        )
