"""Which files writing another one would destroy: by its name, a link in its path, or a hard link."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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
            # No file yet: the same only if both names lead to the same place.
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
