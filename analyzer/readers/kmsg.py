r"""Read the kernel's log from ``/dev/kmsg``, as ``dmesg`` prints it.

Source: Linux ``Documentation/ABI/testing/dev-kmsg``: a record is ``level,number,microseconds,flags;text`` and
a line feed, then lines of a dictionary, each after a blank. In the text, bytes that are not printable ASCII
stand as ``\xNN`` (``msg_add_ext_text`` in ``kernel/printk/printk.c``). Record numbers count from 0 at boot:
where the first is higher, the ring buffer has overwritten what came before.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import Final

from analyzer.errors import LimitExceededError
from analyzer.readers.small_files import LOG_LIMIT

#: Longest record that the kernel hands out in one read (PRINTK_MESSAGE_MAX), and more.
_RECORD: Final = 16_384
_HEAD: Final = re.compile(rb"(\d{1,10}),(\d{1,19}),(\d{1,18}),[^;]{0,80};(.*)", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\x([0-9a-f]{2})")
_MICROS: Final = 1_000_000


@dataclass(frozen=True)
class KernelMessages:
    """What the kernel's ring buffer holds.

    Attributes:
        lines: messages as dmesg prints them, ``[   12.345678] text``.
        lost: messages before the first of them, or between them, that were overwritten.
    """

    lines: tuple[str, ...]
    lost: int


def read_kernel_messages(path: str, limit: int = LOG_LIMIT) -> KernelMessages:
    """Read what the kernel has logged so far, without waiting for more.

    Args:
        path: ``/dev/kmsg``, or a file with its records.
        limit: most bytes.

    Raises:
        OSError: it cannot be opened or read.
        LimitExceededError: more than ``limit`` bytes.
    """
    lines: list[str] = []
    due = lost = 0
    for record in _records(path, limit):
        match = _HEAD.match(record)
        if match is None:
            continue  # a line of a record's dictionary
        number, micros = int(match[2]), int(match[3])
        lost += max(0, number - due)
        due = max(due, number + 1)
        text = _ESCAPED.sub(lambda byte: bytes.fromhex(byte[1].decode()), match[4])
        stamp = f"[{micros // _MICROS:5}.{micros % _MICROS:06}] "
        lines.extend(stamp + line for line in text.decode("utf-8", "replace").split("\n") if line)
    return KernelMessages(tuple(lines), lost)


def _records(path: str, limit: int) -> list[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            try:
                part = os.read(descriptor, _RECORD)
            except BlockingIOError:  # nothing more for now
                break
            except BrokenPipeError:  # a record was overwritten before it was read: its number is missing
                continue
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # a record that is longer than any should be
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > limit:
                raise LimitExceededError(
                    f"expected a kernel log of at most {limit} bytes, found more", path=path
                )
    finally:
        os.close(descriptor)
    return b"".join(parts).split(b"\n")
