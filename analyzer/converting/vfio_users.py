"""Which virtual machine has which VFIO function open: by the files of the processes of a host.

Sources: Linux ``Documentation/driver-api/vfio.rst`` (``/dev/vfio/GROUP``, ``/dev/vfio/devices/vfioN``),
``Documentation/filesystems/proc.rst`` (``/proc/PID/fd``, ``/proc/PID/cmdline``); QEMU's manual, ``-name``.
Links are read, not followed.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.capture import PlacedUse, uses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: Open files of a host that are looked at.
MAX_FILES: Final = 1 << 20
#: Bytes of a command line that are read: that of a virtual machine has some kilobytes.
_CMDLINE: Final = 1 << 16
_OPEN: Final = re.compile(r"/dev/vfio/(?:devices/(vfio\d{1,9})|(?:noiommu-)?(\d{1,9}))")
#: A value of -name; a comma in a name is doubled.
_NAME: Final = re.compile(rb"(?:guest=)?((?:[^,=]|,,)+)(?:,[^,].*)?", re.DOTALL)


def named(placed: Sequence[PlacedUse], proc: Path) -> tuple[list[PlacedUse], bool]:
    """Add the virtual machine that has a function, or its whole IOMMU group, open.

    Args:
        placed: uses of the host.
        proc: its /proc.

    Returns:
        the uses, and whether the files of every process could be read.
    """
    holders, whole = _holders(proc)
    found = []
    for one in placed:
        group = None if one.use.iommu_group is None else str(one.use.iommu_group)
        vm = next((holders[name] for name in (one.use.vfio, group) if name in holders), None)
        if vm is not None and one.use.is_vfio:
            source = ", ".join(part for part in (one.use.source, uses.PROC) if part)
            one = replace(one, use=replace(one.use, vm=vm, source=source))  # noqa: PLW2901
        found.append(one)
    return found, whole


def _holders(proc: Path) -> tuple[dict[str | None, str], bool]:
    """VFIO device or number of the group -> name of the virtual machine, for all that are named."""
    holders: dict[str | None, str] = {}
    whole = True
    left = MAX_FILES
    for process in sorted(_entries(proc), key=lambda name: (len(name), name)):
        if not process.isdecimal():
            continue
        try:
            names = list(_links(proc / process / "fd", left))
        except PermissionError:
            whole = False
            continue
        except OSError:  # it has ended
            continue
        left -= len(names)
        opened = [match for name in names if (match := _OPEN.fullmatch(name)) is not None]
        vm = _name(proc / process / "cmdline") if opened else None
        if vm is not None:
            holders |= {match[1] or match[2]: vm for match in opened}
        if left <= 0:
            return holders, False
    return holders, whole


def _links(folder: Path, most: int) -> Iterator[str]:
    """Where the links in a folder lead; one that is gone meanwhile is left out."""
    for name in os.listdir(folder)[:most]:  # noqa: PTH208 names alone
        try:
            yield os.readlink(folder / name)  # noqa: PTH115 the text alone
        except FileNotFoundError:
            continue


def _entries(folder: Path) -> Iterable[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 names alone
    except OSError:
        return ()


def _name(cmdline: Path) -> str | None:
    """The name of a virtual machine that its command line gives, or None."""
    try:
        with cmdline.open("rb", buffering=0) as stream:
            words = (stream.read(_CMDLINE) or b"").split(b"\0")
    except OSError:
        return None
    for option, value in itertools.pairwise(words):
        match = _NAME.fullmatch(value) if option in (b"-name", b"--name") else None
        if match is not None:
            return os.fsdecode(match[1].replace(b",,", b","))[: uses.MAX_NAME]
    return None
