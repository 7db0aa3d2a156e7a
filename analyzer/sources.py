"""What the arguments of a command mean: files, directories to walk, globs, and ``-`` for standard input.

A file that the user named is opened, whatever it is; of the files that were only found in a directory, those
whose content is no capture are counted and left out.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer import sidecars
from analyzer.errors import (
    AritraceError,
    EmptyInputError,
    UnreadableInputError,
    UnsupportedFormatError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Files found beside captures that are never captures themselves.
NEVER_CAPTURES = (*sidecars.SUFFIXES, ".toml")
_STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One capture to open, or the reason why an argument gave none.

    Attributes:
        path: as the user wrote it, or as found below a directory that the user named.
        directory: the directory in whose walk it was found, None if the user named this very file.
        error: why there is nothing to open, None otherwise.
    """

    path: str
    directory: str | None = None
    error: AritraceError | None = None


@dataclass
class Sources:
    """The captures of a call in order, and how many files were left out because they are none."""

    found: list[Source] = field(default_factory=list)
    left_out: int = 0

    @property
    def paths(self) -> list[str]:
        """Paths to open, in order."""
        return [source.path for source in self.found if source.error is None]


def expand(arguments: Sequence[str]) -> Sources:
    """Turn the arguments of a command into captures, in the order given; only names are looked at.

    A directory copied from ``/sys/bus/pci/devices`` is one capture. Any other is walked in sorted order
    without following links to directories, so that loops cannot occur; sidecars, ``.toml`` and hidden files
    in it are never captures. Where the shell listed sidecars and ``.toml`` files beside captures
    (``traces/*``), they are left out and counted. A pattern that the shell left alone is expanded, unless a
    file has that very name.

    Raises:
        UsageError: standard input is named more than once.
    """
    sources = Sources()
    if list(arguments).count(_STDIN) > 1:
        raise UsageError("standard input (-) can be read once only", advice="name each capture once")
    for argument in arguments:
        sources.found.extend(_walked(argument) if _is_folder(argument) else _files(argument))
    captures = [source for source in sources.found if not source.path.endswith(NEVER_CAPTURES)]
    if captures:
        sources.left_out = len(sources.found) - len(captures)
        sources.found = captures
    return sources


def leave_out_others(sources: Sources) -> Sources:
    """Return the sources without the files found in directories whose content is no capture.

    A directory of which nothing remains becomes an error of its own. Formats of captures that no reader
    reads remain: opening them says what to do instead.
    """
    kept = Sources(left_out=sources.left_out)
    emptied: dict[str, int] = {}
    for source in sources.found:
        if source.directory is None or source.error is not None or _may_be_capture(source.path):
            kept.found.append(source)
        else:
            kept.left_out += 1
            emptied.setdefault(source.directory, len(kept.found))
    remaining = {source.directory for source in kept.found}
    for directory, place in reversed(emptied.items()):
        if directory not in remaining:
            kept.found.insert(place, _no_captures(directory))
    return kept


def _may_be_capture(path: str) -> bool:
    from analyzer.readers import sniff, unwrap

    if _is_directory(path):
        return True  # only a tree of config files is found as a directory
    try:
        with unwrap.open_stream(path) as stream:
            form = sniff.identify(stream.peek(sniff.HEAD), path)
    except UnsupportedFormatError:
        return False
    except AritraceError:
        return True  # empty, damaged or not permitted: the user shall hear of it
    return form not in {sniff.DMESG, sniff.LSPCI_NO_HEX}


def _is_directory(path: str) -> bool:
    try:
        return path != _STDIN and Path(path).is_dir()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def _is_folder(path: str) -> bool:
    """Whether this is a directory to walk; one that is a capture by itself is opened like a file."""
    if not _is_directory(path):
        return False
    from analyzer.readers.sysfs_tree import is_tree

    return not is_tree(path)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _files(argument: str) -> Iterator[Source]:
    if argument == _STDIN or not glob.has_magic(argument) or os.path.lexists(argument):
        yield Source(argument)
        return
    matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 keeps the user's spelling
    if not matches:
        error = UnreadableInputError(
            "no file matches this pattern", path=argument, advice="check the pattern and the directory"
        )
        yield Source(argument, error=error)
    for match in matches:
        if _is_folder(match):
            yield from _walked(match)
        else:
            yield Source(match)


def _walked(directory: str) -> Iterator[Source]:
    from analyzer.readers.sysfs_tree import is_tree

    refused: list[OSError] = []
    number = 0
    for folder, subfolders, names in os.walk(directory, onerror=refused.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        trees = [name for name in subfolders if is_tree(os.path.join(folder, name))]  # noqa: PTH118 as below
        subfolders[:] = [name for name in subfolders if name not in trees]
        for name in trees:
            number += 1
            yield Source(os.path.join(folder, name), directory)  # noqa: PTH118 as below
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 keeps the user's spelling: ./traces/a.bin
            # A link to nowhere, a socket or a pipe in a directory is no capture; opening it could block.
            if not name.startswith(".") and not name.endswith(NEVER_CAPTURES) and _is_file(path):
                number += 1
                yield Source(path, directory)
    for problem in refused:
        error = UnreadableInputError(
            f"this directory cannot be listed: {problem.strerror}",
            path=str(problem.filename),
            advice="change its mode, or run as its owner",
        )
        yield Source(str(problem.filename), error=error)
    if not number and not refused:
        yield _no_captures(directory)


def _no_captures(directory: str) -> Source:
    error = EmptyInputError(
        "expected captures in this directory, found none",
        path=directory,
        advice=(
            "name a directory with captures; hidden files, .toml and sidecars (NAME.preserved, NAME.flb, "
            "NAME.dmesg) do not count"
        ),
    )
    return Source(directory, error=error)
