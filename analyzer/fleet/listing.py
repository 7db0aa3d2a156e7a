"""What the sources of a fleet run mean: files, directories, globs, ``@FILE`` lists, object-store URLs.

Files are those of the main job (:mod:`analyzer.readers.sources`): the same arguments give the same rows.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import AritraceError, UsageError
from analyzer.fleet import stores
from analyzer.fleet.manifest import Entry
from analyzer.readers import sources as arguments
from analyzer.readers.unwrap import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from analyzer.readers.sources import LeftOut, Source


SCHEMES: Final = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")


def entries(
    sources: Sequence[str],
    output: str,
    lists: Mapping[str, SourceList],
    left_out: LeftOut,
    logs: Callable[[str], bool] | None = None,
) -> Iterator[Entry]:
    """Yield an entry for each capture; one that several sources name comes several times.

    Args:
        sources: as the user gave them.
        output: the output directory, which is never walked.
        lists: what :func:`read_lists` returned for the same sources.
        left_out: collects every file that is not analysed as a capture.
        logs: says which kernel logs below directories are captures, as pieces of a history; None: none.

    Raises:
        UsageError: a source that a run cannot read, a list file that is not a list, a store out of reach.
    """
    for listed in lists.values():
        listed.refuse_other_text(_names_something)
    for source in SourceLines(sources, lists, urls=True):
        yield from stores.entries(source)
    files = SourceLines(sources, lists, urls=False)
    for found in arguments.captures(files, left_out, without=os.path.realpath(output), logs=logs):
        yield _entry(found)


def require_stores(sources: Sequence[str], lists: Mapping[str, SourceList]) -> None:
    """Make sure that sources in object stores, if there are any, can be read.

    Raises:
        UsageError: there are, and the package for them is not installed.
    """
    if any(True for _ in SourceLines(sources, lists, urls=True)):
        stores.require()


class SourceLines:
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
                        advice="name files, directories, URLs, or @FILE with one on each line",
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
    """Bytes and time of last change of a file; 0 and None of a directory; None and None of all else.

    The time is None, too, of a file that may not be read: once it may, it is another version for an addition.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None, None
    if stat.S_ISREG(status.st_mode):
        return status.st_size, status.st_mtime_ns if _may_read(path) else None
    # A directory here is a sysfs tree: its size says nothing.
    return (0, None) if stat.S_ISDIR(status.st_mode) else (None, None)


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


#: Bytes of a list, decompressed, and its lines: twenty times what a million captures need.
LIST_LIMIT: Final = 256 << 20
LINES_LIMIT: Final = 20_000_000
#: Linux accepts no longer path (PATH_MAX); no object store has longer keys.
_LONGEST: Final = 4096
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class SourceList:
    """The content of a list file.

    Attributes:
        path: the file.
        content: lines separated by line feeds.
    """

    path: str
    content: bytes

    @property
    def digest(self) -> str:
        """Hash of the content: with other content it is another run."""
        return hashlib.sha256(self.content).hexdigest()

    def sources(self) -> Iterator[str]:
        """Yield the sources in order; empty lines are skipped."""
        start = 0
        while start < len(self.content):
            end = self.content.find(b"\n", start)
            end = len(self.content) if end < 0 else end
            line = self.content[start:end].removesuffix(b"\r")
            if line.strip():
                yield os.fsdecode(line)
            start = end + 1

    def refuse_other_text(self, names_something: Callable[[str], bool]) -> None:
        """Refuse a text that is not a list: its lines would become rows of a report.

        Args:
            names_something: whether a source names a file, directory, match or URL.

        Raises:
            UsageError: no line names anything that exists.
        """
        number = 0
        for source in self.sources():
            if names_something(source):
                return
            number += 1
        raise UsageError(
            f"expected a list of files, directories, patterns and URLs, found {number}"
            f" line{'s' * (number != 1)}, none of which names anything that exists",
            path=self.path,
            advice="write one source on each line, relative to the current directory",
        )


def read_lists(sources: Sequence[str]) -> dict[str, SourceList]:
    """Read every list among the sources of a run, by its source (``@FILE``).

    Args:
        sources: as the user gave them.

    Raises:
        UsageError: a list cannot be read or is too long; the message never quotes its content.
    """
    return {source: _read(source[1:]) for source in sources if source.startswith("@")}


def _read(path: str) -> SourceList:
    try:
        return SourceList(path, _content(path))
    except UsageError:
        raise
    except AritraceError as error:
        raise UsageError(
            f"cannot read this list of sources: {error.message}", path=path, advice="check the name after @"
        ) from error


def _content(path: str) -> bytes:
    blocks = []
    size = lines = 0
    tail = b""
    with open_stream("./-" if path == "-" else path, "a list of sources") as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > LIST_LIMIT:
                raise UsageError(f"expected a list of at most {LIST_LIMIT} bytes, found more", path=path)
            *whole, tail = (tail + block).split(b"\n")
            for line in whole:
                lines += 1
                _check(line, lines, path)
            _check(tail, lines + 1, path)
            if lines > LINES_LIMIT:
                raise UsageError(f"expected a list of at most {LINES_LIMIT} lines, found more", path=path)
            blocks.append(block)
        if stream.truncated:
            raise UsageError(
                f"expected a whole list of sources, found its first {size} bytes ({stream.reason})",
                path=path,
                advice="fetch the file again",
            )
    return b"".join(blocks)


def _check(line: bytes, number: int, path: str) -> None:
    wrong = None
    if len(line) > _LONGEST:
        wrong = f"more than {_LONGEST} bytes"
    elif b"\0" in line:
        wrong = "a zero byte"
    if wrong:
        raise UsageError(
            f"expected a path, pattern or URL in line {number}, found {wrong}",
            path=path,
            advice="write one source on each line",
        )
