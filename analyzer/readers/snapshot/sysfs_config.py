"""Read ``config`` files of sysfs: one of them, or a tar archive of ``/sys/bus/pci/devices``.

Source: Linux ``Documentation/PCI/sysfs-pci.rst`` and ``drivers/pci/proc.c``: a file ``DDDD:BB:DD.F/config``
(or ``BB/DD.F`` in ``/proc/bus/pci``) is the configuration space as bytes: 64 of them for an unprivileged
reader, 256 for a conventional function, 4096 for PCI Express. Only the name says whose it is.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.errors import UnsupportedFormatError
from analyzer.readers.snapshot.config_bytes import NO_CAPABILITIES, ConfigBytes, Reads
from analyzer.readers.tar_members import MAGIC, MAGIC_AT, Archive
from schemas.config_header import CONFIG_SIZE, EXTENDED_CONFIG_SIZE, HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

SIZES: Final = (HEADER_SIZE, CONFIG_SIZE, EXTENDED_CONFIG_SIZE)
#: The kernel shows 64 bytes to an unprivileged reader.
LACKS: Final = {HEADER_SIZE: f"{NO_CAPABILITIES}; copy the files as root"}

_FUNCTION = re.compile(
    r"(?<![0-9a-f])(?:([0-9a-f]{4,8}):([0-9a-f]{2}):|(?:([0-9a-f]{4,8}):)?([0-9a-f]{2})/)"
    r"([0-9a-f]{2})\.([0-7])(?![0-9a-f])",
    re.IGNORECASE,
)
#: In an archive or directory: nothing but the file itself may stand behind the address.
_MEMBER = re.compile(_FUNCTION.pattern + r"(?:/config|\.config)?", re.IGNORECASE)


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield one ``config`` file, or all of an archive, in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is null; ``where`` is the place of the bytes in the uncompressed stream.

    Raises:
        UnsupportedFormatError: the name does not say whose configuration space it is, or the archive holds
        none.
    """
    del options  # the format says everything itself
    reads = Reads(notes)
    if stream.peek(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC:
        yield from _archive(Archive(stream), reads, notes)
    else:
        key = function_of(stream.path)
        if key is None:
            raise UnsupportedFormatError(
                "expected the address of the function in the path of its config file, found none",
                path=stream.path,
                advice="keep the name that it has in sysfs, as in 0000:03:00.0/config",
            )
        yield from reads.add(_config(key, stream.read(EXTENDED_CONFIG_SIZE), 0, reads))
    yield from reads.finish(LACKS)


def function_of(path: str) -> int | None:
    """The function whose ``config`` file this is by its path: the last address in it, None without one."""
    found = list(_FUNCTION.finditer(path))  # in sysfs a device stands below its bridges
    return _key(found[-1]) if found else None


def member_of(name: str) -> int | None:
    """The function whose ``config`` file this is by its name in an archive or directory, else None."""
    parts = name.rsplit("/", 2)
    match = _MEMBER.fullmatch("/".join(parts[-2:])) or _MEMBER.fullmatch(parts[-1])
    return None if match is None else _key(match)


def _key(match: re.Match[str]) -> int | None:
    domain, bus, proc_domain, proc_bus, slot, function = match.groups()
    if int(slot, 16) > 0x1F:
        return None
    devfn = int(slot, 16) << 3 | int(function)
    return bdf.key(int(domain or proc_domain or "0", 16), int(bus or proc_bus, 16), devfn)


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
    if len(data) not in SIZES or not whole:
        wanted = ", ".join(str(size) for size in SIZES[:-1]) + f" or {SIZES[-1]}"
        message = f"expected a config file of {wanted} bytes for {bdf.text(key)}, found {len(data)}"
        reads.tell("truncated", message, where)
    return function


def _archive(archive: Archive, reads: Reads, notes: Notes) -> Iterator[pl.DataFrame]:
    members = Members(reads)
    for member in archive.members():
        key = member_of(member.name)
        if key is None:
            continue
        if 0 < member.size <= EXTENDED_CONFIG_SIZE:
            data = archive.content(member)
            yield from members.add(key, data, member.where, whole=len(data) == member.size)
        else:
            expected = f"expected 1 to {EXTENDED_CONFIG_SIZE} bytes of {bdf.text(key)}"
            reads.tell("foreign", f"{expected}, found {member.size}: left out", member.where)
    if archive.others:
        listed = ", ".join(f"{kind} ({number})" for kind, number in archive.others.most_common())
        notes.problem("foreign", f"members of other kinds are not followed: {listed}")
    if archive.damage is not None:
        notes.truncated = True
        notes.problem(*archive.damage)
    if not members.found:
        raise UnsupportedFormatError(
            "expected DDDD:BB:DD.F/config files in this archive, found none",
            path=notes.path,
            advice="pack what the links lead to: (cd /sys/bus/pci/devices && tar -chf config.tar */config)",
        )
