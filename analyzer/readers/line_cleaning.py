"""Remove what other programs put around the lines of a capture: quoting, prefixes of log collectors, colours.

Mail programs quote and indent; syslog, journald, docker, CRI runtimes, libvirt and grep put their own words
in front of each line; terminals leave colours and carriage returns. Sources: RFC 3676 section 4.5 (quoting),
RFC 3164 and rsyslog's file format (RFC 3339 times), journalctl(1) (``-o``), docker ``logs --timestamps``,
Kubernetes ``pkg/kubelet/kuberuntime/logs`` (CRI), libvirt ``src/util/virlog.c``, grep(1).

A line keeps its place and its length: what is removed at its front is made up for by blanks at its end.
Places in the cleaned text are therefore places in the stream. Nothing is done where a sample of the lines
does not need it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

#: Blocks up to ``_SMALL`` bytes are looked at as a whole, of longer ones three windows.
_SMALL: Final = 16 << 10
_WINDOW: Final = 4 << 10

_MARK: Final = b"\xef\xbb\xbf"
#: Quoting: any depth, with or without blanks.
_QUOTE: Final = rb"[ \t]{0,40}+>[ ]?"
_PRINTK: Final = rb"[ \t]{0,40}+(?:<\d{1,3}>)?\[ {0,5}\d{1,9}\.\d{1,9}\] ?"
_DATE: Final = rb"\d{4}-\d\d-\d\d"
_CLOCK: Final = rb"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ZONE: Final = rb"Z|[+-]\d\d:?\d\d"
#: The host and the program that syslog and journald name; of CRI, the stream and whether the line is whole.
_ORIGIN: Final = rb"(?:std(?:out|err) [FP] |[A-Za-z0-9][^\s:]{0,254} [^\s:\[\]]{1,64}(?:\[\d{1,8}\])?: )"
#: A time of day with what follows it. The groups: date, clock, zone; or seconds since 1970.
_TIMED: Final = (
    rb"[ \t]{0,40}+(?:(?:<\d{1,3}>)?(?:[A-Z][a-z]{2} )?(?P<date>"
    + _DATE
    + rb")[T ](?P<clock>"
    + _CLOCK
    + rb")"
    rb"(?P<zone> UTC|" + _ZONE + rb")(?:: | " + _ORIGIN + rb"?)"
    rb"|(?P<unix>\d{9,10}\.\d{6}) " + _ORIGIN + rb"|"
    # Without a year it is no time of day.
    rb"(?:<\d{1,3}>)?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? " + _ORIGIN + rb")"
)
_BDF: Final = rb"(?:[0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7][ \t]"
_ROW: Final = rb"[0-9a-fA-F]{2,8}:[ \t]+[0-9a-fA-F]{2}[ \t]"
#: How a line of QEMU's log begins: its own time, or the event.
_QEMU_TIME: Final = rb"\d{1,10}@\d{1,10}\.\d{6}:|" + _DATE + rb"T\d\d:\d\d:\d\d[.\dZ]"
_QEMU_START: Final = (
    rb"(?:"
    + _QEMU_TIME
    + b"|"
    + _DATE
    + rb" \d\d:\d\d:\d\d|(?:pci_cfg|memory_region_ops|vfio_pci)_(?:read|write))"
)
_OWN_TIME: Final = re.compile(_QEMU_TIME)

# Sequences of a terminal: colours, modes, titles (ECMA-48 5.4).
_ESCAPE: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,32}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|[ -/]{0,4}[0-~])"
)
#: A no-break space in UTF-8; in Latin-1 only where it cannot be part of another character.
_NO_BREAK: Final = re.compile(rb"\xc2\xa0|(?<=[0-9a-fA-F:])\xa0")


#: Quoted-printable (RFC 2045 section 6.7): each equals sign stands for a byte, or for a line that goes on.
_QUOTED: Final = re.compile(rb"=(?!0[AD])([0-9A-F]{2})")
_NOT_QUOTED: Final = re.compile(rb"=(?![0-9A-F]{2}|[ \t]*\r?(?:\n|\Z))")
_GOES_ON: Final = re.compile(rb"(=[ \t\r]*\n)([^\n]*)")
_MOST_JOINED: Final = 32


@dataclass(frozen=True)
class Surroundings:
    """What may stand around the lines of one kind of text.

    Attributes:
        prefix: what is removed at the start of a line, all of it in one match.
        first: an indented line that shows how far all of them are indented, None if that says nothing.
        escapes: remove the sequences of terminals.
        times: keep the time of day of a prefix, as QEMU's log writes it, where the line has none of its own.
    """

    prefix: re.Pattern[bytes]
    first: re.Pattern[bytes] | None = None
    escapes: bool = True
    times: bool = False


def _prefix(*kinds: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"^(?:" + b"|".join(kinds) + rb"){1,8}", re.MULTILINE)


#: Lines of a QEMU log. ``grep -H`` and ``-n`` leave no blank after what they put in front.
QEMU: Final = Surroundings(
    _prefix(
        _MARK,
        _QUOTE,
        _PRINTK,
        rb"(?![ \t]{0,40}+" + _DATE + rb"T\d\d:\d\d:\d\d(?:\.\d{1,9})?Z [a-z]\w{0,40}_)" + _TIMED,
        # What is lost of QEMU's own time at the start of a line is no name of a file.
        rb"(?:(?!\d{1,12}\.\d{1,9}:|[^\n:]{0,255}@\d{1,12}\.)[^\n:]{1,255}:(?:\d{1,9}[:-])?|\d{1,9}-)(?="
        + _QEMU_START
        + b")",
    ),
    times=True,
)
#: Lines of ftrace, trace-cmd and perf. The name of an instance stands there too; it has no slash.
FTRACE: Final = Surroundings(
    _prefix(
        _MARK,
        _QUOTE,
        _PRINTK,
        _TIMED,
        rb"[^\s:]{0,255}/[^\s:]{0,255}:(?:\d{1,9}:)?(?=[ \S])",
        rb"\d{1,9}:(?= )",
    )
)
#: Lines of lspci and hex dumps.
DUMP: Final = Surroundings(
    _prefix(
        _MARK,
        _QUOTE,
        _PRINTK,
        _TIMED,
        rb"(?:[ \t]{0,40}+/|[^\s:]{0,255}(?:/|\.(?:txt|log|out)\b))[^\s:]{0,255}:(?:\d{1,9}:(?="
        + _BDF
        + b"|"
        + _ROW
        + rb"|[\t\n]))?",
    ),
    first=re.compile(rb"^([ \t]{1,80})" + _BDF, re.MULTILINE),
)
#: Lines of a kernel log, whose prefixes :mod:`analyzer.kernel_logs.log_lines` reads.
KERNEL_LOG: Final = Surroundings(_prefix(_MARK, _QUOTE), escapes=False)


class LineCleaner:
    """Cleans the blocks of one text, in order.

    Args:
        around: what may stand around its lines.
        sampled: look at a sample of the lines only, and leave a block alone whose sample needs nothing.
    """

    def __init__(self, around: Surroundings, *, sampled: bool = True) -> None:
        self._around = around
        self._sample = _sample if sampled else _whole
        self._indentation: re.Pattern[bytes] | None = None

    def clean(self, text: bytes) -> bytes:
        """Return whole lines without what stands around them, each of the same length and at its place."""
        around = self._around
        if b"=3D" in self._sample(text) and _NOT_QUOTED.search(text) is None:
            text = _joined(text)
            cleaned = _QUOTED.sub(lambda match: bytes([int(match[1], 16)]), text)
        else:
            cleaned = text
        if b"\xa0" in text:
            cleaned = _NO_BREAK.sub(b" ", cleaned)
        if around.escapes and b"\x1b" in text:
            cleaned = _ESCAPE.sub(b"", cleaned)
        if around.prefix.search(self._sample(cleaned)):
            cleaned = around.prefix.sub(_time if around.times else b"", cleaned)
        if around.first is not None:
            cleaned = self._unindented(cleaned, around.first)
        if len(cleaned) == len(text):
            return cleaned
        return b"\n".join(map(bytes.ljust, cleaned.split(b"\n"), map(len, text.split(b"\n"))))

    def _unindented(self, text: bytes, first: re.Pattern[bytes]) -> bytes:
        if self._indentation is None and (match := first.search(self._sample(text))) is not None:
            self._indentation = re.compile(rb"^" + re.escape(match[1]), re.MULTILINE)
        return text if self._indentation is None else self._indentation.sub(b"", text)


def clean(text: bytes, around: Surroundings) -> bytes:
    """Return whole lines without what stands around them, each of the same length and at the same place."""
    return LineCleaner(around, sampled=False).clean(text)


#: Pairs of lines that show whether line ends are doubled.
_PAIRS: Final = 3
_DOUBLE: Final = re.compile(rb"\n[ \t\r]*\n")


def is_doubled(text: bytes) -> bool:
    """Whether an empty line follows every line, as some clipboards and consoles leave it."""
    lines = [line.strip() for line in text[:_SMALL].split(b"\n")[:-1]]
    return len(lines) >= 2 * _PAIRS and not any(lines[1::2]) and all(lines[:_PAIRS:2])


def undouble(text: bytes) -> bytes:
    """Return doubled lines without the empty ones, the others at the same place, with blanks at their end."""
    return _DOUBLE.sub(lambda match: b" " * (len(match[0]) - 1) + b"\n", text)


def _sample(text: bytes) -> bytes:
    """Lines from the beginning, the middle and the end of a block; a short one as a whole."""
    if len(text) <= _SMALL:
        return text
    parts = []
    for start in (0, len(text) // 2, len(text) - _WINDOW):
        begin = text.find(b"\n", start) + 1 if start else 0
        parts.append(text[begin : text.rfind(b"\n", begin, begin + _WINDOW) + 1])
    return b"".join(parts)


def _joined(text: bytes) -> bytes:
    """Join the lines of quoted-printable text that go on; blanks at the end make up for what is removed."""
    for _ in range(_MOST_JOINED):
        text, number = _GOES_ON.subn(lambda match: match[2] + b" " * len(match[1]), text)
        if not number:
            break
    return text


def _whole(text: bytes) -> bytes:
    return text


def _time(match: re.Match[bytes]) -> bytes:
    """The time of a prefix as QEMU's log writes it; nothing where there is none, or the line has its own."""
    clock, unix = match["clock"], match["unix"]
    if (clock is None and unix is None) or _OWN_TIME.match(match.string, match.end()):
        return b""
    if unix is not None:
        return b"0@" + unix + b":"
    zone = match["zone"].replace(b":", b"")
    written = match["date"] + b"T" + clock.replace(b",", b".")
    if zone in (b"Z", b" UTC", b"+0000", b"-0000"):
        return written + b"Z "
    seconds, dot, fraction = written.partition(b".")
    try:
        utc = datetime.strptime((seconds + zone).decode("ascii"), "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC)
    except (ValueError, OverflowError):  # no day of the calendar
        return b""
    return utc.strftime("%Y-%m-%dT%H:%M:%S").encode("ascii") + dot + fraction + b"Z "
