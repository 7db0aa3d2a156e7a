"""What the sources of a fleet run mean: files, directories to walk, globs, list files, object-store URLs.

Files are those of the main job (:mod:`analyzer.readers.sources`): the same arguments give the same rows.
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
from analyzer.readers import sources as arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.fleet.source_lists import SourceList
    from analyzer.readers.sources import LeftOut, Source

SCHEMES: Final = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")


def entries(
    sources: Sequence[str], output: str, lists: Mapping[str, SourceList], left_out: LeftOut
) -> Iterator[Entry]:
    """Yield an entry for each capture; one that several sources name comes several times.

    Args:
        sources: as the user gave them.
        output: the output directory, which is never walked.
        lists: what :func:`analyzer.fleet.source_lists.read` gave for the same sources.
        left_out: is given every file that is not analysed as a capture.

    Raises:
        UsageError: a source that cannot be meant, a list that is none, a store out of reach.
    """
    for listed in lists.values():
        listed.refuse_other_text(_names_something)
    for source in _Lines(sources, lists, urls=True):
        yield from stores.entries(source)
    files = _Lines(sources, lists, urls=False)
    for found in arguments.captures(files, left_out, without=os.path.realpath(output)):
        yield _entry(found)


class _Lines:
    """The sources, with each list file replaced by its lines: the URLs or the others; can be read again."""

    def __init__(self, sources: Sequence[str], lists: Mapping[str, SourceList], *, urls: bool) -> None:
        self._sources = sources
        self._lists = lists
        self._urls = urls

    def __iter__(self) -> Iterator[str]:
        for source in self._sources:
            for line in self._lists[source].sources() if source in self._lists else (source,):
                if line == "-":
                    raise UsageError(
                        "a fleet run reads its captures by name, not from standard input",
                        advice="name files, directories, URLs, or @FILE with one a line",
                    )
                if is_url(line) == self._urls:
                    yield line


def _names_something(source: str) -> bool:
    if is_url(source) or os.path.lexists(source.replace("\0", "")):
        return True
    return glob.has_magic(source) and any(True for _ in glob.iglob(source, recursive=True))  # noqa: PTH207


def is_url(source: str) -> bool:
    """Whether a source is in an object store."""
    return source.startswith(SCHEMES)


def _entry(source: Source) -> Entry:
    if source.error is not None:
        reason = f"{source.error.message}; {source.error.advice}"
        return Entry.nothing(source.path, reason, source.error.kind)
    return Entry(os.fsencode(source.path), *size_and_time(source.path))


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
