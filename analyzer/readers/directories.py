"""What a walk through a directory takes as a capture: the one rule for ``analyze DIR`` and ``fleet run DIR``.

A file whose name or content is that of a capture is a row, whatever becomes of it: damage must not make it
vanish. NAME.preserved, NAME.flb and NAME.dmesg are sidecars beside a capture NAME.*, and rows without one.
Hidden files and ``.toml`` are passed over. Every other file is left out and named.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from analyzer.capture import sidecars
from analyzer.errors import AritraceError, EmptyInputError, UnreadableInputError, UnsupportedFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKED: Final = r"(?:\.(?:gz|zst|xz|bz2|lz4))*"
#: Names of captures, compressed or not. ``.dat.cpu0``: what a trace-cmd that was killed leaves behind.
_CAPTURE_NAME: Final = re.compile(
    r".+\.(?:bin|dat(?:\.cpu[0-9]+)?|simple|pcap\w*|cap|tar)" + _PACKED, re.IGNORECASE | re.DOTALL
)
#: A log that is not a kernel's is QEMU's.
_LOG_NAME: Final = re.compile(r".+\.log" + _PACKED, re.IGNORECASE | re.DOTALL)
#: What tells the format of most files; only where it does not, more of a file is read.
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
        directory: the directory in whose walk it was found, None if the user named this very file.
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
    """Whether this is a directory to walk; one that is a capture by itself is opened like a file."""
    from analyzer.readers.snapshot.sysfs_tree import is_tree

    try:
        return Path(path).is_dir() and not is_tree(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


def walk(directory: str, left_out: LeftOut, without: str | None = None) -> Iterator[Source]:
    """Yield the rows of a directory, folder by folder, each in the order of the names.

    A copy of ``/sys/bus/pci/devices`` is one capture. Links to directories are not followed, so that loops
    cannot occur.

    Args:
        directory: what to walk.
        left_out: is given every file that is not a capture.
        without: real path of a directory that is not entered.
    """
    from analyzer.readers.snapshot.sysfs_tree import is_tree

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
        for source in _of_folder(folder, names, trees, directory, left_out):
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
    folder: str, names: Iterable[str], trees: list[str], directory: str, left_out: LeftOut
) -> Iterator[Source]:
    rows = {name: Source(os.path.join(folder, name), directory) for name in trees}  # noqa: PTH118 as above
    beside = []
    for name in names:
        if name.startswith(".") or name.endswith(".toml"):
            continue
        path = os.path.join(folder, name)  # noqa: PTH118 as above
        if name.endswith(sidecars.SUFFIXES):
            beside.append(name)
        elif (source := _capture(path, directory)) is not None:
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


def _capture(path: str, directory: str) -> Source | None:
    """The row of a file that is or looks like a capture, None of any other."""
    by_name = _looks_by_name(path)
    source = _checked(path, directory)
    if by_name == "capture" or (by_name == "log" and source.error is not None):
        return source
    if source.error is not None:
        return None  # a pipe, a link to nowhere
    content = _content(path)
    return source if content == "capture" or (by_name == "log" and content != "kernel-log") else None


def _looks_by_name(path: str) -> Literal["capture", "log", "other"]:
    from analyzer.readers.snapshot.sysfs_config import member_of

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
    from analyzer.readers import sniff, unwrap

    try:
        with unwrap.open_stream(path) as stream:
            form = None
            for size in (_GLANCE, sniff.HEAD):
                head = stream.peek(size)
                try:
                    form = sniff.identify(head, path)
                except UnsupportedFormatError:
                    form = None
                if (form is not None and form != sniff.DMESG) or len(head) < size:
                    break
            if form is None:
                return "capture" if stream.truncated or sniff.wrapper(head) is not None else "other"
            return "kernel-log" if form == sniff.DMESG else "capture"
    except AritraceError:
        return "capture"  # empty, damaged, or not permitted: the user shall hear of it
