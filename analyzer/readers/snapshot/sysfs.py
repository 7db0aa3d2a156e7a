"""Read ``config`` files of sysfs: one of them, a tar archive of ``/sys/bus/pci/devices``, or a copy of it.

Source: Linux ``Documentation/PCI/sysfs-pci.rst`` and ``drivers/pci/proc.c``: a file ``DDDD:BB:DD.F/config``
(or ``BB/DD.F`` in ``/proc/bus/pci``) is the configuration space as bytes: 64 of them for an unprivileged
reader, 256 for a conventional function, 4096 for PCI Express. Only the name says whose it is.

A directory can hold anything: nothing is read but regular files of the expected name, and what the device's
links and directories are called (:mod:`analyzer.readers.snapshot.sysfs_uses`). Links are followed only
within the tree, and within ``/sys`` where the tree itself is sysfs.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.errors import EmptyInputError, UnsupportedFormatError
from analyzer.readers.config_names import CONFIG_SIZES, function_of, member_of
from analyzer.readers.snapshot.config_bytes import NO_CAPABILITIES, ConfigBytes, Reads
from analyzer.readers.snapshot.sysfs_uses import MAX_UEVENT, SysfsUses, is_uevent
from analyzer.readers.tar_members import MAGIC, MAGIC_AT, Archive
from schemas.config_header import EXTENDED_CONFIG_SIZE, HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

#: The kernel shows 64 bytes to an unprivileged reader.
LACKS: Final = {HEADER_SIZE: f"{NO_CAPABILITIES}; copy the files as root"}


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield one ``config`` file, or all of an archive, in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is null; ``where`` is the place of the bytes in the uncompressed stream.

    Raises:
        UnsupportedFormatError: the name does not say whose configuration space it is, or the archive holds
        none.
    """
    reads = Reads(notes)
    if stream.peek(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC:
        yield from _archive(Archive(stream), reads, notes)
    else:
        key = options.bdf if options.bdf is not None else function_of(stream.path)
        if key is None:
            raise UnsupportedFormatError(
                "expected the address of the function in the path of its config file, found none",
                path=stream.path,
                advice="keep the name that it has in sysfs, as in 0000:03:00.0/config, or give --bdf",
            )
        yield from reads.add(_config(key, stream.read(EXTENDED_CONFIG_SIZE), 0, reads))
    yield from reads.finish(LACKS)


class Members:
    """The ``config`` files of one archive or directory.

    A copy that follows links holds a device twice, by itself and below its bridge: the same bytes count once.

    Attributes:
        found: whether there was any.
    """

    def __init__(self, reads: Reads) -> None:
        self.found = False
        self._reads = reads
        self._known: dict[int, bytes] = {}

    def add(self, key: int, data: bytes, where: int, *, whole: bool = True) -> Iterator[pl.DataFrame]:
        """Take a file: its function, its content (at most 4096 bytes), the place of its first byte."""
        self.found = True
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if self._known.get(key) != digest:
            self._known[key] = digest
            yield from self._reads.add(_config(key, data, where, self._reads, whole=whole))


def _config(key: int, data: bytes, where: int, reads: Reads, *, whole: bool = True) -> ConfigBytes:
    function = ConfigBytes(key)
    function.put(0, data, where, step=1)
    if len(data) not in CONFIG_SIZES or not whole:
        wanted = ", ".join(str(size) for size in CONFIG_SIZES[:-1]) + f" or {CONFIG_SIZES[-1]}"
        message = f"expected a config file of {wanted} bytes for {bdf.text(key)}, found {len(data)}"
        reads.problem("truncated", message, where)
    return function


def _archive(archive: Archive, reads: Reads, notes: Notes) -> Iterator[pl.DataFrame]:
    members = Members(reads)
    uses = SysfsUses()
    archive.named = uses.path
    for member in archive.members():
        key = member_of(member.name)
        if key is None:
            if is_uevent(member.name) and member.size <= MAX_UEVENT:
                uses.uevent(member.name, archive.content(member))
            continue
        if 0 < member.size <= EXTENDED_CONFIG_SIZE:
            data = archive.content(member)
            yield from members.add(key, data, member.where, whole=len(data) == member.size)
        else:
            expected = f"expected 1 to {EXTENDED_CONFIG_SIZE} bytes of {bdf.text(key)}"
            reads.problem("foreign", f"{expected}, found {member.size}: left out", member.where)
    notes.uses.extend(uses.placed())
    links = ", ".join(f"{number} {kind}{'s' * (number > 1)}" for kind, number in archive.others.most_common())
    if links:
        notes.problem("foreign", f"members of other kinds are not followed: {links}")
    if archive.damage is not None:
        notes.truncated = True
        notes.problem(*archive.damage)
    if not members.found:
        raise UnsupportedFormatError(
            "expected DDDD:BB:DD.F/config files in this archive, found none"
            + (f"; {links}, which are not followed" if links else ""),
            path=notes.path,
            advice="pack what the links lead to: (cd /sys/bus/pci/devices && tar -chf config.tar */config)",
        )


_SYSFS: Final = Path("/sys")
_DEVICE = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)
_ROOT_BUS = re.compile(r"pci[0-9a-f]{4,8}:[0-9a-f]{2}", re.IGNORECASE)
#: Bridges below bridges: no hierarchy has more of them than buses.
_MAX_DEPTH: Final = 256
_MAX_SHOWN: Final = 3


def is_tree(path: str) -> bool:
    """Whether a directory is such a tree: it holds devices (or links to them), or root buses that do."""
    names = _names(Path(path))
    tree = _SysfsTree(path) if names else None
    for name in names:
        if _ROOT_BUS.fullmatch(name):
            if is_tree(str(Path(path, name))):
                return True
        elif Path(path, name).is_symlink() or (tree and tree.allows(Path(path, name, "config"))):
            return True
    return False


def read_tree(path: str, notes: Notes, *, within: str | None = None) -> Generator[pl.DataFrame, None, str]:
    """Yield the tree in frames of ``accesses.READER_SCHEMA``, functions in the order of their names.

    ``time_ns`` is null; ``where`` is the place in the function's own ``config`` file. A function that cannot
    be read, or vanishes meanwhile, is left out and named in the notes.

    Args:
        path: the directory.
        notes: what is left out.
        within: links are followed that do not lead out of this directory; None: see the module.

    Returns:
        SHA-256 (hex) over name, size and content of every file that was read, in that order.

    Raises:
        EmptyInputError: there is no file that may be read.
    """
    tree = _SysfsTree(path, within)
    reads = Reads(notes)
    members = Members(reads)
    digest = hashlib.sha256()
    uses = SysfsUses()
    for name in tree.files():
        key, data = member_of(name), tree.content(name)
        if key is None or not data:
            continue
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
        uses.folder(bdf.text(key), (tree.path / name).parent, tree.allows)
        yield from members.add(key, data, 0)
    yield from reads.finish(LACKS)
    notes.uses.extend(uses.placed())
    if tree.outside:
        message = f"links that lead out of this directory are not followed: {_listed(tree.outside)}"
        notes.problem("foreign", message)
    if tree.refused:
        files = [f"{name} ({reason})" if reason else name for name, reason in tree.refused]
        notes.problem("unreadable", f"these files cannot be read: {_listed(files)}")
    if not members.found:
        raise EmptyInputError(
            "expected DDDD:BB:DD.F/config files in this directory, found none that can be read",
            path=path,
            advice="copy what the links lead to: (cd /sys/bus/pci/devices && tar -chf config.tar */config)",
        )
    return digest.hexdigest()


class _SysfsTree:
    """The files of a tree, and what is left out of it.

    Attributes:
        outside: devices that are links out of the tree.
        refused: files that could not be read, with the system's reason unless it is a missing permission.
    """

    def __init__(self, path: str, within: str | None = None) -> None:
        self.path = Path(path)
        self.outside: list[str] = []
        self.refused: list[tuple[str, str]] = []
        real = Path(os.path.realpath(path if within is None else within))
        self._root = _SYSFS if real.is_relative_to(_SYSFS) else real

    def allows(self, path: Path) -> bool:
        """Whether this is a regular file that lies in the tree."""
        try:
            return path.is_file() and Path(os.path.realpath(path)).is_relative_to(self._root)
        except OSError:
            return False

    def files(self, below: str = "", depth: int = 0) -> Iterator[str]:
        """Names below the tree of every ``config`` file, in the order of their names."""
        for name in _names(self.path / below):
            device = self.path / below / name
            if self.allows(device / "config"):
                yield f"{below}{name}/config"
            elif not os.path.lexists(device):
                self.refused.append((f"{below}{name}/config", "the function vanished"))
            elif device.is_symlink() or (device / "config").is_symlink():
                self.outside.append(below + name)
            # A link leads to a device that stands elsewhere in the tree: what is below it is found there.
            if depth < _MAX_DEPTH and not device.is_symlink():
                yield from self.files(f"{below}{name}/", depth + 1)

    def content(self, name: str) -> bytes:
        """The first 4096 bytes of a file; empty if it cannot be read."""
        try:
            with (self.path / name).open("rb", buffering=0) as stream:
                data = stream.read(EXTENDED_CONFIG_SIZE)
        except PermissionError:
            self.refused.append((name, ""))
        except OSError as error:  # ENODEV: the function vanished; EIO: one broken function is not all
            self.refused.append((name, error.strerror or "unknown reason"))
        else:
            if data:
                return data
            self.refused.append((name, "it is empty"))
        return b""


def _names(folder: Path) -> list[str]:
    """Names of the devices and root buses in a folder, sorted; empty if it cannot be listed."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):  # no directory, not permitted, a NUL in the name
        return []
    return sorted(name for name in names if _DEVICE.fullmatch(name) or _ROOT_BUS.fullmatch(name))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more
