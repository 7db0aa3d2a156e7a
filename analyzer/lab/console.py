"""The guest's serial console, searched while it grows, and what the kernels print on it."""

from __future__ import annotations

import asyncio
import re

from analyzer.lab.process import LabRunError

#: Bytes; more than any guest of the lab prints. A console that never stops must not fill the memory.
_LIMIT = 64 << 20
_PANIC = b"Kernel panic - not syncing"
_MARKERS = re.compile(r"^=== LSPCI (\d+)\r?$(.*?)^=== END LSPCI \1\r?$", re.MULTILINE | re.DOTALL)
_FUNCTION = re.compile(r"^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ", re.MULTILINE)


class Console:
    """Everything that came over the console so far."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._grew = asyncio.Event()
        self._ended = False

    async def follow(self, reader: asyncio.StreamReader) -> None:
        """Collect until the other end closes.

        Raises:
            LabRunError: the kernel panicked, or it prints too much.
        """
        while chunk := await _read(reader):
            start = max(len(self.content) - len(_PANIC), 0)
            self.content += chunk
            self._grew.set()
            if len(self.content) > _LIMIT:
                raise LabRunError(f"the console printed more than {_LIMIT >> 20} MiB")
            position = self.content.find(_PANIC, start)
            if position >= 0:
                raise LabRunError(f"the guest's kernel panicked: {self._line_at(position)}")
        self._ended = True
        self._grew.set()

    async def find(self, text: bytes, start: int) -> int:
        """Wait for ``text`` at or after position ``start``; return where it ends.

        Raises:
            LabRunError: the machine ended without it.
        """
        while True:
            position = self.content.find(text, start)
            if position >= 0:
                return position + len(text)
            if self._ended:
                wanted = text.decode()
                raise LabRunError(f"the machine ended before {wanted!r}; its last line: {self.last_line()}")
            self._grew.clear()
            await self._grew.wait()

    def last_line(self) -> str:
        """Return the last line that is not empty, to say how far the guest got."""
        for line in reversed(bytes(self.content[-4096:]).decode(errors="replace").splitlines()):
            if line.strip():
                return line.strip()
        return "(nothing)"

    def _line_at(self, position: int) -> str:
        end = self.content.find(b"\n", position)
        return bytes(self.content[position : end if end >= 0 else None]).decode(errors="replace").strip()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1 << 16)
    except ConnectionError:
        return b""  # QEMU was killed while something was unread


def enumerated(text: str) -> dict[int, list[str]]:
    """Return the functions that each kernel enumerated, by the lspci between its markers.

    Args:
        text: the console.

    Returns:
        sorted BDFs by number of the kernel, 1-based; kernels whose listing is incomplete are left out.
    """
    return {int(match[1]): sorted(_FUNCTION.findall(match[2])) for match in _MARKERS.finditer(text)}


def releases(text: str) -> list[str]:
    """Return the ``Linux version`` of each kernel that started, in order."""
    return re.findall(r"Linux version (\S+)", text)
