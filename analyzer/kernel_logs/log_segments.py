"""Stretches of a log between two ``Linux version`` lines, and whether one is a kernel's life or a dump of it.

A kernel's ``Linux version`` line also stands in every dump of its own log (``dmesg`` in a console) and alone
in /proc/version. The messages' times show a dump: it repeats them to the microsecond. Without times, only
what two boots cannot have in common distinguishes them.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Literal, NamedTuple

from analyzer.kernel_logs.driver_messages import DriverMessages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.kernel_logs.log_facts import Fact
    from analyzer.kernel_logs.log_lines import KernelMessage

Entry = Literal["kexec", "firmware"]
Ending = Literal["kexec", "reboot", "panic"]
ENDINGS: dict[str, Ending] = {"kexec": "kexec", "reboot": "reboot", "panic": "panic"}

#: Events kept of a segment's beginning, and as many of its end.
MAX_EVENTS = 5000
#: Messages from a segment's beginning whose times are kept, to recognise a dump of them.
_EARLY = 256
#: That many messages alike to the microsecond are not a coincidence, however few they are among all.
_NO_COINCIDENCE = 20
#: A kernel prints something within its first two seconds; a shell is hardly there by then.
_BOOTING_US = 2_000_000

_PRESERVATION = ("will-be-preserved", "no-longer-preserved")


class LogRecord(NamedTuple):
    """A fact, the message that says so, and its physical line."""

    fact: Fact
    message: KernelMessage
    line: int


class Segment:
    """What one stretch of a log says.

    Attributes:
        line: physical line of its first message.
        version: text of its ``Linux version`` line, or None if it begins without.
        certain: it follows the end of another kernel, so that it cannot be a dump.
        entered_by: how that kernel handed over, or None.
        ended: how it ends, or None.
        records: its facts in order, each once; and its first events.
        last_events: its last events, where there are more than ``MAX_EVENTS``.
        drivers: what its messages say of the drivers of functions.
    """

    def __init__(self, line: int, version: str | None, *, certain: bool, entered_by: Entry | None) -> None:
        self.line = line
        self.version = version
        self.certain = certain
        self.entered_by = entered_by
        self.ended: Ending | None = None
        self.records: list[LogRecord] = []
        self.last_events: deque[LogRecord] = deque(maxlen=MAX_EVENTS)
        self.drivers = DriverMessages()
        self.early_cmdline: str | None = None
        self.kernel_cmdline: list[str] = []
        self._events = 0
        self._state: dict[tuple[str, int | str | None], str] = {}
        self._early: dict[str, int] = {}
        self._early_until = 0
        self._said: dict[str, int] = {}
        self._first = sys.maxsize
        self._latest = 0

    @property
    def command_line(self) -> str | None:
        """The command line, rather as the kernel finally used it (bootconfig included)."""
        if self.kernel_cmdline:
            return " ".join(part.removesuffix(" \\") for part in self.kernel_cmdline).strip()
        return None if self.early_cmdline is None else self.early_cmdline.strip()

    def all_records(self) -> Iterator[LogRecord]:
        """Every kept record in order."""
        yield from self.records
        yield from self.last_events

    def message(self, message: KernelMessage) -> None:
        """Note the time of a message, whatever it says."""
        if message.time_us is None:
            return
        self._latest = max(self._latest, message.time_us)
        self._first = min(self._first, message.time_us or sys.maxsize)
        if message.signature is not None and len(self._early) < _EARLY:
            self._early[message.signature] = message.time_us
            self._early_until = max(self._early_until, message.time_us)

    def add(self, record: LogRecord) -> None:
        """Take a fact, unless this very message was read before or it changes nothing."""
        fact = record.fact
        if record.message.signature in self._said:
            return
        flood = fact.kind == "event" and self._events >= MAX_EVENTS
        if record.message.signature is not None and not flood:
            self._said[record.message.signature] = record.message.time_us or 0
        if fact.kind == "kernel-cmdline":
            # A kernel that wraps it ends every line but the last in a backslash.
            if self.kernel_cmdline and not self.kernel_cmdline[-1].endswith(" \\"):
                return
            self.kernel_cmdline.append(fact.text)
        elif fact.event is None or fact.kind != "event":
            topic, says = _topic(fact)
            if self._state.get(topic) == says:
                return
            self._state[topic] = says
            if fact.kind == "cmdline" and self.early_cmdline is None:
                self.early_cmdline = fact.text
        elif flood:
            self.last_events.append(record)
            return
        else:
            self._events += 1
            self._state[fact.event, fact.text] = fact.event
        self.records.append(record)

    def said_before(self, record: LogRecord, later: Segment) -> bool:
        """Whether a message in a later stretch is a dump of this one's, as its time or what it ends shows."""
        if record.message.signature not in self._said:
            return False
        return record.fact.kind in ENDINGS or self._said[record.message.signature] < later._latest

    def says(self, record: LogRecord) -> bool:
        """Whether it holds this message already, or, without a time, one that says the same."""
        if record.message.signature is not None and self._said:
            return record.message.signature in self._said
        fact = record.fact
        if fact.kind == "event":
            return (fact.event, fact.text) in self._state
        topic, kind = _topic(fact)
        return self._state.get(topic) == kind

    def repeats(self, other: Segment) -> bool:
        """Whether this is a dump of ``other``'s log, by everything that both say."""
        if other.version is not None and self.version != other.version:
            return False
        mine, others = self.command_line, other.command_line
        if mine is not None and others is not None and mine != others:
            return False
        common, comparable = self._common(other)
        if comparable or (other._latest and self._first < _BOOTING_US):
            return common * 2 > comparable or common >= _NO_COINCIDENCE
        if other.version is None:
            return False
        # Two boots of one kernel look the same but for what Live Update handed over. A console may hide such
        # messages by their level, but not if it shows those of enumeration.
        handed = self._functions("was-preserved") - other._functions("was-preserved")
        if handed and other._functions("enumerated"):
            return False
        numbers = self._state.get(("liveupdate", None)), other._state.get(("liveupdate", None))
        return None in numbers or numbers[0] == numbers[1]

    def _common(self, other: Segment) -> tuple[int, int]:
        """Messages with a time that ``other`` has too, of those that it would have if this were its dump."""
        early = {text for text, time in self._early.items() if time <= other._early_until}
        facts = {text for text, time in self._said.items() if time <= other._latest}
        comparable = early | facts
        known = sum(text in other._early or text in other._said for text in comparable)
        return known, len(comparable)

    def _functions(self, kind: str) -> set[int | str | None]:
        return {about for (topic, about) in self._state if topic == kind}

    def absorb(self, dump: Segment, source: Segment) -> None:
        """Take over a segment in which this kernel dumped the log of ``source``: all that is not the dump."""
        for record in dump.all_records():
            if not source.says(record):
                self.add(record)
        if source is self:
            self.drivers.absorb(dump.drivers)
            self.version = dump.version  # the same, unless its own line is lost
        self.ended = dump.ended
        self._latest = max(self._latest, dump._latest)


def _topic(fact: Fact) -> tuple[tuple[str, int | str | None], str]:
    """What a fact is about, and what it says about it."""
    if fact.kind in _PRESERVATION:
        return ("preservation", fact.function), fact.kind
    about_text = fact.function is None or fact.kind == "event"
    return (fact.kind, fact.function), fact.text if about_text else fact.kind
