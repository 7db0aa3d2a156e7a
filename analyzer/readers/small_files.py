"""Small files that are read whole: sidecars of a capture, and what options name.

The file of an option is read once for a run, because a pipe (``--dmesg <(ssh HOST dmesg)``) cannot be read
again for every capture of a run; an error says which option named it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from analyzer.errors import (
    AritraceError,
    DamagedInputError,
    LimitExceededError,
    UnreadableInputError,
    UnsupportedFormatError,
)
from analyzer.plurals import count
from analyzer.readers.opening import open_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.kernel_logs.kernel_log import KernelLog
    from analyzer.options import Options

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


Content = TypeVar("Content")

_LOG = "a kernel log"


def of_option(options: Options, option: str, path: str, read: Callable[[str], Content]) -> Content:
    """Return what the file of an option holds.

    Args:
        options: of the run; they remember the answer.
        option: as the user wrote it (``--dmesg``).
        path: the file.
        read: reads and decodes it.

    Raises:
        AritraceError: as ``read``, with the option's name; the same one each time.
    """
    key = f"{option} {read.__qualname__}"
    if key not in options.contents:
        try:
            options.contents[key] = read(path)
        except AritraceError as error:
            error.option, error.path = option, error.path or path
            options.contents[key] = error
    answer = options.contents[key]
    if isinstance(answer, AritraceError):
        raise answer
    return cast("Content", answer)


def log_bytes(options: Options) -> bytes | None:
    """The kernel log of ``--dmesg``, or None.

    Raises:
        AritraceError: it cannot be read, or holds no kernel message.
    """
    if options.dmesg is None:
        return None
    return of_option(options, "--dmesg", options.dmesg, kernel_log_bytes)


def kernel_log(options: Options) -> KernelLog | None:
    """The same, read for its facts.

    Raises:
        AritraceError: as :func:`log_bytes`, or it says more than a log can sensibly hold.
    """
    return None if options.dmesg is None else of_option(options, "--dmesg", options.dmesg, _parsed_log)


def _parsed_log(path: str) -> KernelLog:
    from analyzer.kernel_logs.kernel_log import parse

    return parse(kernel_log_bytes(path))


def kernel_log_bytes(path: str) -> bytes:
    """Read a kernel log from a file of its own.

    Raises:
        AritraceError: it cannot be read, or holds no kernel message.
    """
    from analyzer.kernel_logs.log_facts import refuse_other_text
    from analyzer.readers.sniff import refuse_wrapper

    data = read_unpacked(path, LOG_LIMIT, _LOG)
    refuse_wrapper(data[:16], path, _LOG)
    refuse_other_text(data, path)
    return data


def command_line(options: Options) -> str | None:
    """The command line of ``--cmdline``, or None.

    Raises:
        AritraceError: its file cannot be read, or holds more than one line.
    """
    if options.cmdline is None or not options.cmdline.startswith("@"):
        return options.cmdline
    return of_option(options, "--cmdline", options.cmdline[1:], _one_line)


def _one_line(path: str) -> str:
    text = read_text(path, COMMAND_LINE_LIMIT, "a kernel command line")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise UnsupportedFormatError(
            f"expected a kernel command line, found {count(len(lines), 'line')}",
            path=path,
            advice="give the one line that /proc/cmdline has",
        )
    return lines[0]
