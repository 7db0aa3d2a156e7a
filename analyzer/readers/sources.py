"""What the arguments of a command mean: files, directories, globs, and ``-`` for standard input.

A file that the user named is opened, whatever it is. What a search of a directory takes as a capture, for
``analyze DIR`` and ``fleet run DIR`` alike: a file whose name or content is that of a capture is a row, even
if it cannot be read: damage must not make it vanish. NAME.preserved, NAME.flb and NAME.dmesg are sidecars
beside a capture NAME.*, and rows without one. Hidden files and ``.toml`` are passed over. Every other file is
left out and named.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from analyzer.capture import sidecars
from analyzer.errors import (
    AritraceError,
    EmptyInputError,
    UnreadableInputError,
    UnsupportedFormatError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from analyzer.readers.unwrap import ByteStream

_PACKED: Final = r"(?:\.(?:gz|zst|xz|bz2|lz4))*"
#: Names of captures, compressed or not. ``.dat.cpu0``: what a trace-cmd that was killed leaves.
_CAPTURE_NAME: Final = re.compile(
    r".+\.(?:bin|dat(?:\.cpu[0-9]+)?|simple|pcap\w*|cap|tar)" + _PACKED, re.IGNORECASE | re.DOTALL
)
#: A log that is not a kernel's is QEMU's.
_LOG_NAME: Final = re.compile(r".+\.log" + _PACKED, re.IGNORECASE | re.DOTALL)
#: Enough to detect the format of most files; only where it is not, more of a file is read.
_GLANCE: Final = 1 << 16
_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True)
class Source:
    """One capture to open, or the reason why an argument or a file in a directory gives none.

    Attributes:
        path: as the user wrote it, or as found below a directory that the user named.
        directory: the directory below which it was found, None if the user named this very file.
        error: why there is nothing to open, None otherwise.
    """

    path: str
    directory: str | None = None
    error: AritraceError | None = None


@dataclass
class LeftOut:
    """Files that are not analysed as captures: how many, and the names of the first."""

    number: int = 0
    names: list[str] = field(default_factory=list)

    #: Names that are kept.
    MOST: Final = 5

    def add(self, name: str) -> None:
        """Count one more."""
        self.number += 1
        if len(self.names) < self.MOST:
            self.names.append(name)


def is_folder(path: str) -> bool:
    """Whether this is a directory to search; one that is a capture by itself is opened like a file."""
    from analyzer.readers.snapshot.sysfs import is_tree

    try:
        return Path(path).is_dir() and not is_tree(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def walk(
    directory: str,
    left_out: LeftOut,
    without: str | None = None,
    logs: Callable[[str], bool] | None = None,
) -> Iterator[Source]:
    """Yield the rows of a directory, folder by folder, each in the order of the names.

    A copy of ``/sys/bus/pci/devices`` is one capture. Links to directories are not followed, so that loops
    cannot occur.

    Args:
        directory: what to search.
        left_out: is given every file that is not a capture.
        without: real path of a directory that is not entered.
        logs: says of the path of a kernel log whether it is wanted: as a piece of a history it is a capture.
    """
    from analyzer.readers.snapshot.sysfs import is_tree

    refused: list[OSError] = []
    number = 0
    for folder, subfolders, names in os.walk(directory, onerror=refused.append):
        if without is not None and os.path.realpath(folder) == without:
            subfolders.clear()
            continue
        visible = sorted(name for name in subfolders if not name.startswith("."))
        trees = [name for name in visible if is_tree(os.path.join(folder, name))]  # noqa: PTH118 see below
        subfolders[:] = [name for name in visible if name not in trees]
        for name in subfolders:
            path = os.path.join(folder, name)  # noqa: PTH118 keeps the user's spelling: ./traces/a.bin
            if os.path.islink(path):  # noqa: PTH114 as above
                left_out.add(f"{path} (a link to a directory)")
        for source in _of_folder(folder, names, trees, directory, left_out, logs):
            number += 1
            yield source
    for problem in refused:
        error = UnreadableInputError(
            f"this directory cannot be listed: {problem.strerror}",
            path=str(problem.filename),
            advice="change its mode, or run as its owner",
        )
        yield Source(str(problem.filename), error=error)
    if not number and not refused:
        nothing = EmptyInputError(
            "expected captures in this directory, found none",
            path=directory,
            advice="name a directory with captures; hidden files and .toml do not count",
        )
        yield Source(directory, error=nothing)


def _of_folder(
    folder: str,
    names: Iterable[str],
    trees: list[str],
    directory: str,
    left_out: LeftOut,
    logs: Callable[[str], bool] | None,
) -> Iterator[Source]:
    rows = {name: Source(os.path.join(folder, name), directory) for name in trees}  # noqa: PTH118 as above
    beside = []
    for name in names:
        if name.startswith(".") or name.endswith(".toml"):
            continue
        path = os.path.join(folder, name)  # noqa: PTH118 as above
        if name.endswith(sidecars.SUFFIXES):
            beside.append(name)
        elif (source := _capture(path, directory, logs)) is not None:
            rows[name] = source
        else:
            left_out.add(path)
    if beside:
        owned = {owner for name in rows for owner in sidecars.names(name)}
        for name in beside:
            if sidecars.name_of(name) not in owned:
                path = os.path.join(folder, name)  # noqa: PTH118 as above
                rows[name] = _checked(path, directory)
    for name in sorted(rows):
        yield rows[name]


def _capture(path: str, directory: str, logs: Callable[[str], bool] | None) -> Source | None:
    """The row of a file that is or looks like a capture, None of any other."""
    by_name = _looks_by_name(path)
    source = _checked(path, directory)
    if by_name == "capture" or (by_name == "log" and source.error is not None):
        return source
    if source.error is not None:
        return None  # a pipe, a link to nowhere
    content = _content(path)
    if content == "kernel-log":
        return source if logs is not None and logs(path) else None
    return source if content == "capture" or by_name == "log" else None


def _looks_by_name(path: str) -> Literal["capture", "log", "other"]:
    from analyzer.readers.config_names import member_of

    name = os.path.basename(path)  # noqa: PTH119 as the user wrote it
    if _CAPTURE_NAME.fullmatch(name) or member_of(path) is not None:
        return "capture"
    return "log" if _LOG_NAME.fullmatch(name) else "other"


def _checked(path: str, directory: str) -> Source:
    """The row of a file, with the reason if it is not a regular one: opening that could block."""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        problem = UnreadableInputError(
            f"this file cannot be opened: {error.strerror}", path=path, advice="check where the link leads to"
        )
        return Source(path, directory, problem)
    if stat.S_ISREG(mode):
        return Source(path, directory)
    found = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
    problem = UnreadableInputError(
        f"found {found} in a directory, expected a file", path=path, advice="name it itself, or remove it"
    )
    return Source(path, directory, problem)


def _content(path: str) -> Literal["capture", "kernel-log", "other"]:
    """What a file is by its first bytes; one that cannot be looked into might be a capture."""
    from analyzer.readers import sniff, tar_members, unwrap
    from analyzer.readers.formats import DMESG, SYSFS_CONFIG

    try:
        with unwrap.open_stream(path) as stream:
            head = stream.peek(_GLANCE)
            try:
                form = sniff.glance(head, path) or sniff.identify(stream)
            except UnsupportedFormatError:
                return "capture" if stream.truncated or sniff.wrapper(head) is not None else "other"
            if form == SYSFS_CONFIG and tar_members.starts(head):
                return "capture" if _holds_config(stream) else "other"
            return "kernel-log" if form == DMESG else "capture"
    except AritraceError:
        return "capture"  # empty, damaged, or not permitted: it must be reported


def _holds_config(archive: ByteStream) -> bool:
    """Whether a tar archive holds a ``config`` file, which may stand after any number of other files."""
    from analyzer.readers import tar_members
    from analyzer.readers.config_names import member_of

    return any(member_of(member.name) is not None for member in tar_members.Archive(archive).members())


#: What a shell lists along with captures (``traces/*``) without the user having chosen it.
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
    arguments: Iterable[str],
    left_out: LeftOut,
    *,
    join: bool = False,
    without: str | None = None,
    logs: Callable[[str], bool] | None = None,
) -> Iterator[Source]:
    """Yield the captures that arguments mean, in the order given.

    A directory is searched, a pattern that the shell left alone is expanded, unless a file has that name.
    What is named is a capture, and so is what a pattern matches: except for NAME.preserved, NAME.flb,
    NAME.dmesg and NAME.toml, if a NAME.* that is none of these is named, too. Those the shell has listed, as
    in ``traces/*``; they are left out. Alone, and with ``join``, they are captures like all that is named.

    Args:
        arguments: read twice.
        left_out: is given every file that is not a capture.
        join: as in :func:`expand`.
        without: real path of a directory that is not searched.
        logs: as in :func:`walk`.
    """
    listed = frozenset() if join else _beside_captures(arguments)
    for argument in arguments:
        paths = _spelled(argument)
        for path in paths:
            if is_folder(path):
                yield from walk(path, left_out, without, logs)
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
    """Folder and NAME of the named sidecars and ``.toml`` files whose capture NAME.* is named, too."""
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
