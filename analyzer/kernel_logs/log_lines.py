"""One line of a console or log file, down to what the kernel wrote.

Serial consoles hold escape sequences, firmware text before the kernel's first line, and line ends in every
combination; log files add syslog, journald and ``dmesg`` prefixes. Nothing here knows what a message means.
All expressions run in linear time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longer lines are cut here: the kernel's own end at 1021 characters, the rest is prefix or no log.
MAX_LINE = 16_384
#: A physical line that is not empty.
LINE = re.compile(rb"[^\n]+")

# Sequences that clear the screen or move the cursor start a new line; the others (colours, modes, titles) are
# dropped.
_JUMP = re.compile(rb"\x1b(?:c|\[[0-9;]{0,16}[HJf])")
_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[ -/]{0,4}[0-~])"
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

#: printk's own time, the caller that CONFIG_PRINTK_CALLER adds, and the host that journalctl does.
_PRINTK = re.compile(r"\[ {0,5}(\d{1,9})\.(\d{6})\](?:\[ {0,6}[TC]\d{1,8}\])? ?(?:[^\s:]{1,255} kernel: )?")
#: How far in printk's time may stand: after a level, a syslog prefix, a login prompt.
_PRINTK_WITHIN = 300
_KMSG = re.compile(r"\d{1,4},\d{1,20},(\d{1,18}),[^;]{1,40};")
_PREFIX = re.compile(
    r"""(?:<\d{1,3}>)?
        (?:(?:kern|user|daemon)\s{0,5}:\s?[a-z]{1,7}\s{0,5}:\s)?
        (?:\[[A-Z][a-z]{2}[ ][A-Z][a-z]{2}[ ][ \d]\d[ ][\d:]{8}[ ]\d{4}\][ ]
          |\[[A-Z][a-z]{2}\d\d[ ]\d\d:\d\d\][ ]
          |\[[ ]{0,5}\+?[ ]{0,5}\d{1,9}\.\d{6}\][ ]
          |(?:[A-Z][a-z]{2}[ ][ \d]\d[ ][\d:]{8}|\d{4}-\d\d-\d\dT[\d:.,+Z-]{8,30})[ ]
           (?:\S{1,255}[ ]kernel:[ ])?
        )?""",
    re.VERBOSE,
)


class KernelMessage(NamedTuple):
    """One kernel message.

    Attributes:
        text: the message without prefixes.
        time_us: printk's time, or None where the log has none.
        signature: time and text, the same in every dump of the same message; None without a time
            or at time 0 (where every boot prints the same).
    """

    text: str
    time_us: int | None
    signature: str | None


def messages(line: bytes) -> Iterator[KernelMessage]:
    """Split one physical line into the messages on it (firmware text and the kernel's first often share one).

    Args:
        line: bytes between two line feeds; longer ones are cut at ``MAX_LINE``.
    """
    line = line[:MAX_LINE]
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", _JUMP.sub(b"\r", line))
    for piece in line.split(b"\r"):
        if piece:
            text = _CONTROL.sub(b"", piece).decode("utf-8", "replace").rstrip()
            if text:
                yield _message(text)


def _message(text: str) -> KernelMessage:
    match = _PRINTK.search(text, 0, _PRINTK_WITHIN)
    if match is not None:
        seconds, micros = int(match[1]), int(match[2])
        return _timed(seconds * 1_000_000 + micros, text[match.end() :])
    match = _KMSG.match(text)
    if match is not None:
        return _timed(int(match[1]), text[match.end() :])
    match = _PREFIX.match(text)
    return KernelMessage(text[match.end() :] if match else text, None, None)


def _timed(time_us: int, text: str) -> KernelMessage:
    return KernelMessage(text, time_us, f"{time_us} {text}" if time_us else None)
