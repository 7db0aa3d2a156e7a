"""Memory of the running kernel through ``/proc/kcore``, and where its variables are.

Sources: Linux 7.3 ``fs/proc/kcore.c`` (an ELF core file, root only), ``kernel/kallsyms.c`` (addresses read 0
without permission). Nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Self

import construct

from schemas.elf_core import MAGIC, PT_LOAD, ElfHeader, ProgramHeader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

#: Segments of a core file: one for each stretch of RAM, and a few more.
_MAX_SEGMENTS: Final = 4096
_BLOCK: Final = 1 << 20


class KernelMemoryError(Exception):
    """Memory of the kernel is not to be had, or is not what was expected; the text says what and why."""


@dataclass(frozen=True)
class _Segment:
    offset: int
    virtual: int
    physical: int
    size: int


class KernelMemory:
    """The memory of the kernel, as a context manager.

    Args:
        path: ``/proc/kcore``.

    Raises:
        KernelMemoryError: it cannot be opened, or is no core file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._stream: BinaryIO = path.open("rb", buffering=0)
        except PermissionError as error:
            raise KernelMemoryError(f"/proc/{path.name}: no permission") from error
        except OSError as error:
            raise KernelMemoryError(f"/proc/{path.name}: {error.strerror}") from error
        try:
            self._segments = self._load()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def virtual(self, address: int, size: int) -> bytes:
        """Bytes at an address of the kernel.

        Raises:
            KernelMemoryError: they are not in the file.
        """
        return self._read(((one.virtual, one) for one in self._segments), address, size, "")

    def physical(self, address: int, size: int) -> bytes:
        """Bytes at a physical address.

        Raises:
            KernelMemoryError: they are not in the file.
        """
        return self._read(((one.physical, one) for one in self._segments), address, size, "physical address ")

    def _read(self, starts: Iterable[tuple[int, _Segment]], address: int, size: int, kind: str) -> bytes:
        for start, segment in starts:
            if start <= address and address + size <= start + segment.size:
                return self._at(segment.offset + address - start, size)
        raise KernelMemoryError(f"/proc/kcore has no memory at {kind}{address:#x}")

    def _load(self) -> list[_Segment]:
        try:
            header = ElfHeader.parse(self._at(0, ElfHeader.sizeof()))
            size = ProgramHeader.sizeof()
            if not header.ident.startswith(MAGIC) or header.phentsize != size or header.phnum > _MAX_SEGMENTS:
                raise KernelMemoryError("/proc/kcore is no core file of a 64-bit little-endian kernel")
            table = self._at(header.phoff, size * header.phnum)
            parts = [ProgramHeader.parse(table[at : at + size]) for at in range(0, len(table), size)]
        except construct.ConstructError as error:
            raise KernelMemoryError("/proc/kcore is no core file") from error
        return [
            _Segment(part.offset, part.vaddr, part.paddr, part.filesz)
            for part in parts
            if part.type == PT_LOAD
        ]

    def _at(self, offset: int, size: int) -> bytes:
        parts = []
        try:
            self._stream.seek(offset)
            while size > 0 and (part := self._stream.read(min(size, _BLOCK))):
                parts.append(part)
                size -= len(part)
        except (OSError, OverflowError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise KernelMemoryError(f"/proc/kcore: {reason}") from error
        if size:
            raise KernelMemoryError("/proc/kcore ends within what was to be read")
        return b"".join(parts)


def symbol(kallsyms: Path, name: str) -> int | None:
    """Address of a variable of the kernel, None if it has none of that name.

    Raises:
        KernelMemoryError: addresses are hidden, or the file cannot be read.
    """
    wanted = re.compile(rb"([0-9a-f]{1,16}) [bBdDrR] " + name.encode())
    try:
        with kallsyms.open("rb") as stream:
            for line in stream:
                match = wanted.fullmatch(line.rstrip(b"\n"))
                if match is not None:
                    address = int(match[1], 16)
                    if not address:
                        raise KernelMemoryError("/proc/kallsyms: addresses are hidden")
                    return address
    except PermissionError as error:
        raise KernelMemoryError("/proc/kallsyms: no permission") from error
    except OSError as error:
        raise KernelMemoryError(f"/proc/kallsyms: {error.strerror}") from error
    return None
