"""What the arguments of a command mean: files, directories to walk, globs, and ``-`` for standard input.

A file that the user named is opened, whatever it is. What a directory holds:
:mod:`analyzer.readers.directories`.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.capture import sidecars
from analyzer.errors import UnreadableInputError, UsageError
from analyzer.readers.directories import LeftOut, Source, is_folder, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: What a shell lists beside captures (``traces/*``) without the user having chosen it.
_BESIDE = (*sidecars.SUFFIXES, ".toml")
_STDIN = "-"


@dataclass
class Sources:
    """The captures of a call in order, and the files that are not analysed as captures."""

    found: list[Source] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def paths(self) -> list[str]:
        """Paths to open, in order."""
        return [source.path for source in self.found if source.error is None]


def expand(arguments: Sequence[str], *, join: bool = False) -> Sources:
    """Turn the arguments of a command into captures, in the order given.

    Args:
        arguments: as :func:`captures`.
        join: they are pieces of one history, each of which is meant.

    Raises:
        UsageError: standard input is named more than once.
    """
    if list(arguments).count(_STDIN) > 1:
        raise UsageError("standard input (-) can be read once only", advice="name each capture once")
    sources = Sources()
    sources.found.extend(captures(arguments, sources.left_out, join=join))
    return sources


def captures(
    arguments: Iterable[str], left_out: LeftOut, *, join: bool = False, without: str | None = None
) -> Iterator[Source]:
    """Yield the captures that arguments mean, in the order given.

    A directory is walked, a pattern that the shell left alone is expanded, unless a file has that very name.
    What is named is a capture, and so is what a pattern matches: except for NAME.preserved, NAME.flb,
    NAME.dmesg and NAME.toml, if a NAME.* that is none of these is named, too. Those the shell has listed, as
    in ``traces/*``; they are left out. Alone, and with ``join``, they are captures like all that is named.

    Args:
        arguments: read twice.
        left_out: is given every file that is not a capture.
        join: as in :func:`expand`.
        without: real path of a directory that is not walked.
    """
    listed = frozenset() if join else _beside_captures(arguments)
    for argument in arguments:
        paths = _spelled(argument)
        for path in paths:
            if is_folder(path):
                yield from walk(path, left_out, without)
            elif path.endswith(_BESIDE) and _place(path) in listed:
                left_out.add(path)
            else:
                yield Source(path)
        if not paths:
            error = UnreadableInputError(
                "no file matches this pattern", path=argument, advice="check the pattern and the directory"
            )
            yield Source(argument, error=error)


def _spelled(argument: str) -> list[str]:
    """The paths that an argument means: itself, or what matches it."""
    if argument == _STDIN or not glob.has_magic(argument) or os.path.lexists(argument):
        return [argument]
    return sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 keeps the user's spelling


def _beside_captures(arguments: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Folder and NAME of the named sidecars and ``.toml`` files beside whose NAME.* is named, too."""
    beside = {_place(path) for argument in arguments for path in _spelled(argument) if path.endswith(_BESIDE)}
    if not beside:
        return frozenset()
    found: set[tuple[str, str]] = set()
    for argument in arguments:
        for path in _spelled(argument):
            folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 Path drops nothing we need
            owned = beside.intersection((folder, owner) for owner in sidecars.names(name))
            if owned and not path.endswith(_BESIDE) and not is_folder(path):
                found |= owned
    return frozenset(found)


def _place(path: str) -> tuple[str, str]:
    """Folder of a sidecar, and NAME of the capture that it belongs to."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 as above
    return folder, sidecars.name_of(name)
