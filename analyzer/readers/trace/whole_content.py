"""The whole content of a stream with access to any place in it, for formats whose parts point at each other.

Up to ``IN_MEMORY`` bytes are kept in memory, more in a temporary file without a name, so that memory stays
bounded and pipes and compressed files work like plain ones.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import TYPE_CHECKING, Self

from analyzer.errors import LimitExceededError, UnreadableInputError

if TYPE_CHECKING:
    from typing import IO

    from analyzer.readers.unwrap import ByteStream

#: Bytes that are held in memory; beyond, the content goes to a temporary file.
IN_MEMORY = 128 << 20
#: Most bytes of a file that needs access to all of its places.
MAX_CONTENT = 64 << 30
_BLOCK = 4 << 20


class WholeContent:
    """Everything that a stream held, from its current place to its end.

    Attributes:
        size: number of bytes.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        parts: list[bytes] = []
        size = 0
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > MAX_CONTENT:
                raise LimitExceededError(
                    f"expected at most {MAX_CONTENT >> 30} GiB, found more",
                    path=stream.path,
                    advice="cut the recording around one kexec (trace-cmd split)",
                )
            parts.append(block)
            if size > IN_MEMORY:
                self._put_away(parts, stream.path)
        self.size = size
        if self._file is not None:
            self._put_away(parts, stream.path)
            self._map = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map if self._map is not None else b"".join(parts))

    def _put_away(self, parts: list[bytes], path: str) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="aritrace-")  # noqa: SIM115 closed in close()
            self._file.writelines(parts)
            self._file.flush()
        except OSError as error:
            self.close()
            raise UnreadableInputError(
                f"no room to keep the content of this input while it is read: {error.strerror}",
                path=path,
                advice="give a directory with more room in the environment variable TMPDIR",
            ) from error
        parts.clear()

    def at(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``offset`` on, fewer where the content ends (no copy)."""
        return self._bytes[offset : offset + size] if offset < self.size else self._bytes[:0]

    def close(self) -> None:
        """Free the memory or the temporary file; views that were handed out must not be used any more."""
        self._bytes = memoryview(b"")
        if self._map is not None:
            # A view that an exception's traceback still holds keeps the map alive until it is gone, too.
            self._map = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
