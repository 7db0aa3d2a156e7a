"""``@FILE`` of a fleet run: a source on each line, read once and bounded."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import AritraceError, UsageError
from analyzer.readers.unwrap import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Bytes of a list, decompressed, and its lines: twenty times what a million captures need.
LIST_LIMIT: Final = 256 << 20
LINES_LIMIT: Final = 20_000_000
#: Linux takes no longer path (PATH_MAX); no object store has longer keys.
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
        """Hash of the content: with another one it means another run."""
        return hashlib.sha256(self.content).hexdigest()

    def sources(self) -> Iterator[str]:
        """Yield the sources in order; empty lines are none."""
        start = 0
        while start < len(self.content):
            end = self.content.find(b"\n", start)
            end = len(self.content) if end < 0 else end
            line = self.content[start:end].removesuffix(b"\r")
            if line.strip():
                yield os.fsdecode(line)
            start = end + 1

    def refuse_other_text(self, names_something: Callable[[str], bool]) -> None:
        """Refuse a text that is no list: its lines would become rows of a report.

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


def read(sources: Sequence[str]) -> dict[str, SourceList]:
    """Read every list among the sources of a run, by its source (``@FILE``).

    Args:
        sources: as the user gave them.

    Raises:
        UsageError: a list cannot be read or is too long; it is never quoted.
    """
    return {source: _read(source[1:]) for source in sources if source.startswith("@")}


def _read(path: str) -> SourceList:
    try:
        return SourceList(path, _content(path))
    except UsageError:
        raise
    except AritraceError as error:
        raise UsageError(
            f"cannot read this list of sources: {error.message}", path=path, advice="check the name behind @"
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
