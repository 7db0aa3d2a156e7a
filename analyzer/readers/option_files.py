"""The files that options name: each is read once for a run, and an error says which option named it.

Read once, because a pipe (``--dmesg <(ssh HOST dmesg)``) cannot be read for every capture of a run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from analyzer.errors import AritraceError, UnsupportedFormatError
from analyzer.readers.small_files import COMMAND_LINE_LIMIT, LOG_LIMIT, read_text, read_unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.kernel_logs.kernel_log import KernelLog
    from analyzer.options import Options

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
    from analyzer.kernel_logs.recognition import refuse_other_text
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
            f"expected a kernel command line, found {len(lines)} lines",
            path=path,
            advice="give the one line that /proc/cmdline has",
        )
    return lines[0]
