"""What the sources of a fleet run mean: files, directories to walk, globs, list files, object-store URLs.

The rules for names are those of the main job (:mod:`analyzer.sources`): hidden files, ``.toml`` and sidecars
found in a directory are never captures, links to directories are not followed, a copy of a sysfs tree is
one capture. Unlike there nothing is opened, and a file that turns out to be no capture gets its row.
"""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.fleet import stores
from analyzer.fleet.manifest import Entry
from analyzer.sources import NEVER_CAPTURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.fleet.source_lists import SourceList

SCHEMES: Final = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")


def entries(sources: Sequence[str], output: str, lists: Mapping[str, SourceList]) -> Iterator[Entry]:
    """Yield an entry for each capture; one that several sources name comes several times.

    Args:
        sources: as the user gave them.
        output: the output directory, which is never walked.
        lists: what :func:`analyzer.fleet.source_lists.read` gave for the same sources.

    Raises:
        UsageError: a source that cannot be meant, a list that is none, a store out of reach.
    """
    own = os.path.realpath(output)
    for source in sources:
        if source in lists:
            lists[source].refuse_other_text(_names_something)
            for line in lists[source].sources():
                yield from _of_source(line, own)
        else:
            yield from _of_source(source, own)


def _names_something(source: str) -> bool:
    if is_url(source) or os.path.lexists(source.replace("\0", "")):
        return True
    return glob.has_magic(source) and any(True for _ in glob.iglob(source, recursive=True))  # noqa: PTH207


def is_url(source: str) -> bool:
    """Whether a source is in an object store."""
    return source.startswith(SCHEMES)


def _of_source(source: str, output: str) -> Iterator[Entry]:
    if source == "-":
        raise UsageError(
            "a fleet run reads its captures by name, not from standard input",
            advice="name files, directories, URLs, or @FILE with one a line",
        )
    if is_url(source):
        yield from stores.entries(source)
    elif _is_folder(source):
        yield from _walked(source, output)
    elif glob.has_magic(source) and not os.path.lexists(source):
        yield from _matches(source, output)
    else:
        yield _file(source)


def _matches(pattern: str, output: str) -> Iterator[Entry]:
    number = 0
    for match in glob.iglob(pattern, recursive=True):  # noqa: PTH207 keeps the user's spelling
        number += 1
        if _is_folder(match):
            yield from _walked(match, output)
        elif not match.endswith(NEVER_CAPTURES):
            yield _file(match)
    if not number:
        yield Entry.nothing(pattern, "no file matches this pattern; check the pattern and the directory")


def _walked(directory: str, output: str) -> Iterator[Entry]:
    from analyzer.readers.sysfs_tree import is_tree

    refused: list[OSError] = []
    number = 0
    for folder, subfolders, names in os.walk(directory, onerror=refused.append):
        if os.path.realpath(folder) == output:
            subfolders.clear()
            continue
        visible = [name for name in subfolders if not name.startswith(".")]
        trees = [name for name in visible if is_tree(os.path.join(folder, name))]  # noqa: PTH118 see below
        subfolders[:] = [name for name in visible if name not in trees]
        found = [name for name in names if not name.startswith(".") and not name.endswith(NEVER_CAPTURES)]
        for name in (*trees, *found):
            entry = _file(os.path.join(folder, name))  # noqa: PTH118 keeps the user's spelling: ./a/b.bin
            # What is no regular file (a pipe, a link to nowhere) is no capture; opening it could block.
            if entry.size is not None:
                number += 1
                yield entry
    for problem in refused:
        number += 1
        reason = f"this directory cannot be listed: {problem.strerror}; change its mode, or run as its owner"
        yield Entry.nothing(str(problem.filename), reason, "unreadable")
    if not number:
        yield Entry.nothing(directory, "expected captures in this directory, found none")


def _file(path: str) -> Entry:
    return Entry(os.fsencode(path), *size_and_time(path))


def size_and_time(path: str) -> tuple[int | None, int | None]:
    """Bytes and time of last change of a file; 0 and None of a directory; None and None of all else."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None, None
    if stat.S_ISREG(status.st_mode):
        return status.st_size, status.st_mtime_ns
    # A directory here is a sysfs tree: its size says nothing.
    return (0, None) if stat.S_ISDIR(status.st_mode) else (None, None)


def _is_folder(path: str) -> bool:
    from analyzer.readers.sysfs_tree import is_tree

    try:
        return Path(path).is_dir() and not is_tree(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
