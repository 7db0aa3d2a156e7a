"""Small files that are read whole: what lies beside a capture, and what options name."""

from __future__ import annotations

from analyzer.errors import DamagedInputError, LimitExceededError, UnreadableInputError
from analyzer.readers.opening import open_input

#: A kernel command line is a few KiB at most; more is another kind of file.
COMMAND_LINE_LIMIT = 1 << 20
#: A kernel log, decompressed.
LOG_LIMIT = 256 << 20
#: Raw kernel dumps of a preserved set are a few pages; more than this is another kind of file.
DUMP_LIMIT = 64 << 20
#: Text beyond ``_BOMB_BYTES`` that is more than ``_BOMB_RATIO`` times what is stored was made to cost time:
#: consoles that repeat one line for hours come to a hundred.
_BOMB_BYTES, _BOMB_RATIO = 16 << 20, 500
_BLOCK = 4 << 20


def read_limited(path: str, limit: int, expected: str) -> bytes:
    """Read a small file whole, as it is stored.

    Args:
        path: as the user named it.
        limit: most bytes.
        expected: what it should hold, for messages.

    Raises:
        UnreadableInputError: it cannot be read.
        LimitExceededError: it is larger than ``limit`` bytes.
    """
    with open_input(path, expected) as stream:
        try:
            # A pipe gives less than was asked for.
            parts = []
            size = 0
            while size <= limit and (part := stream.read(limit + 1 - size)):
                parts.append(part)
                size += len(part)
        except OSError as error:
            raise UnreadableInputError(f"reading failed: {error.strerror}", path=path) from error
    if size > limit:
        raise _too_large(path, limit, expected)
    return b"".join(parts)


def read_unpacked(path: str, limit: int, expected: str) -> bytes:
    """Read a small file whole, without the compressions that captures may have.

    Args:
        path: as the user named it.
        limit: most bytes, decompressed.
        expected: what it should hold, for messages.

    Raises:
        UnreadableInputError, EmptyInputError: it cannot be read, or holds nothing.
        LimitExceededError: it holds more than ``limit`` bytes.
        DamagedInputError: its compressed data is damaged or ends early.
    """
    from analyzer.readers.unwrap import open_stream

    # A file of that name; only a capture can come from standard input.
    with open_stream("./-" if path == "-" else path, expected) as stream:
        blocks: list[bytes] = []
        size = 0
        while block := stream.read(_BLOCK):
            blocks.append(block)
            size += len(block)
            if size > limit:
                raise _too_large(path, limit, expected)
            if size > max(_BOMB_BYTES, _BOMB_RATIO * stream.stored):
                raise LimitExceededError(
                    f"expected {expected}, found {stream.stored} compressed bytes that became {size}",
                    path=path,
                )
        if stream.truncated:
            raise DamagedInputError(
                f"expected {expected}, found compressed data of which {size} bytes could be read"
                f" ({stream.reason})",
                path=path,
                advice="fetch the file again",
            )
    return b"".join(blocks)


def read_text(path: str, limit: int, expected: str) -> str:
    """The same as text; what is not UTF-8 in it becomes U+FFFD."""
    return read_unpacked(path, limit, expected).decode("utf-8", "replace")


def _too_large(path: str, limit: int, expected: str) -> LimitExceededError:
    return LimitExceededError(f"expected {expected} of at most {limit} bytes, found more", path=path)
