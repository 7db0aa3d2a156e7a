"""Notes of a capture without names: every text in them is one of those that are known, or goes.

What the recorder and the source are called, what was wrong with the source, events, kernel releases, the raw
preserved set and the kernel log are each held against what they may say; nothing is searched for names.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.capture import LACKING, OUT_OF_ORDER
from analyzer.converting.native_records import CLOCKS
from analyzer.converting.redaction_log import REMOVED, Messages, phrases, plain_release
from analyzer.converting.redaction_preserved import rebuilt
from analyzer.kernel_logs import log_lines
from analyzer.readers import sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import Boundary, Event, LogLine, Notes, Problem
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Names of formats, as readers give them.
_FORMATS: Final = frozenset(
    value.name for value in vars(sniff).values() if isinstance(value, sniff.Format)
)  # fmt: skip
#: Programs that make captures, with numbers as their versions.
_TOOL: Final = re.compile(
    r"aritrace traces/capture/record\.py|(?:aritrace|trace-cmd)(?: v?\d{1,3}(?:\.\d{1,3}){0,3})?"
)
_EVENT_KINDS: Final = frozenset({"aer", "dpc", "hotplug", "link"})
_PROBLEM_KINDS: Final = frozenset(
    {
        "changed", "clock", "damaged", "dropped", "duplicate", "foreign", "interface", "lost-completion",
        "no-boundary", "no-bus", "no-bytes", "not-followed", "nullified", "poisoned", "short", "too-large",
        "truncated", "unknown-chunk", "unsupported",
        OUT_OF_ORDER, *LACKING,  # answers depend on these
    }
)  # fmt: skip
_OTHER: Final = "other"


def known_format(name: str | None) -> str | None:
    """Return the name of a format, or of several that were joined, if it is one; else None."""
    return name if name is not None and _FORMATS.issuperset(name.split("+")) else None


class Scrubber:
    """Takes everything out of the notes of a capture that is not known to be harmless.

    Attributes:
        left_out: log lines that were left out.
        replaced: texts that were replaced, in part or whole, and parameters of command lines.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._texts = 0
        self._messages = Messages()

    @property
    def replaced(self) -> int:
        """How many texts and parameters were replaced."""
        return self._texts + self._messages.replaced

    def notes(self, notes: Notes, name: str, *, keep_times: bool = False) -> Notes:
        """Return the notes of a capture without names.

        Args:
            notes: of the capture.
            name: what stands for the paths of its files.
            keep_times: keep an empty line with its time for each log message that is left out; dumps of a log
                are recognised by those.

        Raises:
            AritraceError: a raw preserved set cannot be decoded.
        """
        return replace(
            notes,
            path=name,
            host=None,
            tool=notes.tool if notes.tool is not None and _TOOL.fullmatch(notes.tool) else None,
            problems=[self._problem(problem, name) for problem in notes.problems],
            boundaries=[self._boundary(mark) for mark in notes.boundaries],
            log=[line for given in notes.log for line in self._log_line(given, keep_times=keep_times)],
            preserved=[rebuilt(dump) for dump in notes.preserved],
            events=[self._event(event) for event in notes.events],
            clock=notes.clock if notes.clock in CLOCKS else None,
            created_ns=None,
            releases=list(dict.fromkeys(map(plain_release, notes.releases))),
            source_format=known_format(notes.source_format),
        )

    def _problem(self, problem: Problem, name: str) -> Problem:
        kind = problem.kind if problem.kind in _PROBLEM_KINDS else _OTHER
        self._texts += 1
        return replace(problem, kind=kind, file=name, message=REMOVED)

    def _boundary(self, mark: Boundary) -> Boundary:
        return mark if mark.release is None else replace(mark, release=plain_release(mark.release))

    def _event(self, event: Event) -> Event:
        text = phrases(event.text) or REMOVED
        self._texts += text != event.text
        return replace(event, kind=event.kind if event.kind in _EVENT_KINDS else _OTHER, text=text)

    def _log_line(self, line: LogLine, *, keep_times: bool) -> Iterator[LogLine]:
        """The messages of a line that are used, each as a line of its own."""
        found = False
        for message in log_lines.messages(line.text.encode("utf-8", "replace")):
            text = self._messages.message(message.text)
            if text is not None:
                found = True
                self._texts += text != message.text
                yield replace(line, text=_timed(message, text))
            elif keep_times and message.time_us is not None:
                found = True
                yield replace(line, text=_timed(message, REMOVED))
        self.left_out += not found


def _timed(message: KernelMessage, text: str) -> str:
    if message.time_us is None:
        return text
    return f"[{message.time_us // 1_000_000:5}.{message.time_us % 1_000_000:06}] {text}"
