"""Read trace events that the kernel printed into its log: ``tp_printk``, and the ftrace dump of an oops.

A serial console shows both kernels of a kexec in one file, with the probes that each set up at its boot.
Sources: Linux ``kernel/trace/trace.c`` (``output_printk``, ``ftrace_dump_one``) and ``trace_output.c``
(``trace_print_lat_context``)::

    [   47.501553] EVENT: (FUNCTION <- CALLER) seg=0 bus=0 ...            tp_printk
    [   47.501553]    COMM-PID  0d..1. 123456us : EVENT: (...) seg=0 ...  ftrace_dump_on_oops

The dump holds what ``tp_printk`` has printed before: then only the latter counts. A log that is shown again
(``dmesg`` in a shell) is recognised by times that go back. The other lines are the log of the kernels: a
kernel that the log says was started by kexec begins at its first line.
"""

from __future__ import annotations

import bisect
import itertools
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from analyzer.capture import Boundary, LogLine
from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import kernel_log, log_lines
from analyzer.readers import text_blocks
from analyzer.readers.config_events import FieldNames
from analyzer.readers.tallies import Count
from analyzer.readers.trace.evidence import KINDS
from analyzer.readers.trace.ftrace_lines import SCHEMA, EventLines
from analyzer.readers.trace.ftrace_text import EventReading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import BoundaryName, Notes
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.kernel_logs.log_lines import KernelMessage
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK: Final = 1 << 20
#: Limits of the lines that are kept, far above what consoles print.
MAX_LINES: Final = 4_000_000
MAX_BYTES: Final = 256 << 20
_PART: Final = 100_000
_MOST_NAMES: Final = 20
#: Processor and thread of an event that tp_printk printed: it does not say them.
_NO_THREAD: Final = (-1, -1)

_DUMPED: Final = re.compile(
    r" *\S.{0,15}?-(?P<pid>\d{1,8}) +(?P<cpu>\d{1,4})[A-Za-z.#][\w.#]{2,8} +(?P<us>\d{1,15})us.?: "
    r"(?P<event>\w{1,64}): (?P<said>.*)"
)
_PRINTED: Final = re.compile(r"(?P<event>\w{1,64}): (?P<said>.*)")
_LOST: Final = re.compile(r"CPU:\d{1,5} \[(?:LOST )?(\d{0,15}) ?EVENTS(?: DROPPED)?\]")
_NOT_PRINTED: Final = re.compile(r"\*\* (\d{1,15}) printk messages dropped \*\*")
#: How a kernel's message begins, or the first bytes of one: it always ends with its line. A prompt does not.
_MESSAGE: Final = re.compile(rb"(?:<(?:\d{0,3}$|\d{1,3}>))?(?:\[ *(?:\d|$)|$)")
_ENTERED: Final[dict[str | None, BoundaryName]] = {"firmware": "boot", "kexec": "kexec", "crash": "crash"}


@dataclass(slots=True)
class _Event:
    """One event line: start of the line, time, and what it says. ``dumped``: it is of a dump."""

    where: int
    time_us: int | None
    cpu: int
    thread: int
    name: str
    said: str
    dumped: bool


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses that a kernel log shows in frames of ``accesses.READER_SCHEMA``.

    ``where`` is the start of the line; ``time_ns`` counts from the start of each kernel, in a dump from that
    of its trace buffer.

    Raises:
        LimitExceededError: more kernels than a log can sensibly hold.
        UnsupportedFormatError: an event that may be a read or a write.
        UsageError: ``field_map`` has a field that does not exist.
    """
    log = _EventLog(notes, options)
    log.read(stream)
    runs = _runs(notes)
    starts = [log.places[run.first_line - 1] for run in runs]
    reading = EventReading(notes, options)
    events = _once(log.events, starts, notes)
    wheres: list[int] = []
    for first in range(0, len(events), _PART):
        for frame in reading.take_lines(_table(events[first : first + _PART])):
            wheres.extend(frame["where"].to_list())
            yield frame
    if events and any(event.time_us is not None for event in events):
        notes.clock = "local"
    yield from reading.close()
    log.close()
    for run in runs[1:]:
        seq = bisect.bisect_left(wheres, log.places[run.first_line - 1])
        if 0 < seq < len(wheres):
            _mark(run, log.numbers[run.first_line - 1], seq, notes)


@dataclass
class _EventLog:
    """The lines of a log, its events apart.

    ``places`` and ``numbers`` are those of the other lines in the file: where each begins, and which it is.
    """

    notes: Notes
    options: Options
    events: list[_Event] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    torn: Count = field(default_factory=Count)
    not_printed: Count = field(default_factory=Count)
    lost: Count = field(default_factory=Count)
    dumps: Count = field(default_factory=Count)
    names: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = FieldNames.of(self.options.field_map).roles
        fields = "|".join(re.escape(name) for role in ("bus", "devfn") for name in names[role])
        self._fields = re.compile(rf"(?<!\w)(?:{fields})=")
        words = "|".join([rf"(?:{fields})=", *KINDS, "EVENTS", "printk messages dropped"])
        self._likely = re.compile(words.encode())

    def read(self, stream: ByteStream) -> None:
        """Take every line up to the limits."""
        lines = text_blocks.log_lines(
            stream,
            self.notes,
            _BLOCK,
            MAX_LINES,
            MAX_BYTES,
            is_whole=lambda line: not _MESSAGE.match(line) and not self._likely.search(line),
        )
        for number, (line, where) in enumerate(lines, 1):
            self._line(line, number, where)

    def _line(self, line: bytes, number: int, where: int) -> None:
        if line.rstrip().endswith(b": config space:"):
            self.dumps.add(1, where)
        likely = self._likely.search(line) or any(name in line for name in self.names)
        pieces = list(log_lines.messages(line)) if likely else []
        taken = [self._taken(message, where) for message in pieces]
        if not any(taken):
            self.notes.log.append(LogLine(line.decode("utf-8", "replace").rstrip("\r")))
            self.places.append(where)
            self.numbers.append(number)

    def _taken(self, message: KernelMessage, where: int) -> bool:
        """Whether a message is an event; lost and torn ones are counted."""
        text = message.text
        if (mark := _NOT_PRINTED.search(text)) is not None:
            self.not_printed.add(int(mark[1]), where)
        elif (mark := _LOST.match(text.strip())) is not None:
            self.lost.add(max(int(mark[1] or 1), 1), where)
        elif self._fields.search(text) is not None or text.partition(":")[0] in KINDS:
            return self._event(message, where)
        elif any(f"{name.decode()}: (" in text for name in self.names):
            self.torn.add(1, where)
        return False

    def _event(self, message: KernelMessage, where: int) -> bool:
        dumped = _DUMPED.fullmatch(message.text)
        match = dumped or _PRINTED.fullmatch(message.text)
        if match is None:
            self.torn.add(1, where)
            return False
        time_us = message.time_us if dumped is None else int(dumped["us"])
        cpu, thread = _NO_THREAD if dumped is None else (int(dumped["cpu"]), int(dumped["pid"]))
        name = sys.intern(match["event"])  # there are few, each on many lines
        event = _Event(where, time_us, cpu, thread, name, match["said"], dumped is not None)
        self.events.append(event)
        if len(self.names) < _MOST_NAMES and event.name not in KINDS:
            self.names.add(event.name.encode())
        return True

    def close(self) -> None:
        """Write the account into the notes."""
        self.torn.report(
            self.notes,
            "damaged",
            "{} [line of a config access is|lines of config accesses are] torn and left out",
        )
        self.not_printed.report(
            self.notes,
            "dropped",
            "the kernel dropped {} [message|messages] because the console was too slow; accesses may be among"
            " them: use a faster console, or print fewer messages",
        )
        self.dumps.report(
            self.notes,
            "unsupported",
            "{} [dump|dumps] of pci=earlydump in this log [is|are] not used: the log is read for its trace"
            " events; put the lines of that kernel into a file of their own, and give both with --join",
            loses=False,
        )
        self.lost.report(self.notes, "dropped", "the ring buffer that was dumped had lost {} [event|events]")


def _once(events: list[_Event], starts: list[int], notes: Notes) -> list[_Event]:
    """Return the events without those that the log shows again.

    Args:
        events: in the order of the log.
        starts: places where a kernel begins.
        notes: of the reader.
    """
    kept: list[_Event] = []
    again = Count()
    for _, of_kernel in itertools.groupby(events, lambda event: bisect.bisect_right(starts, event.where)):
        known: set[tuple[int | None, str, str]] = set()
        latest, printed, repeating = -1, False, False
        for event in of_kernel:
            what = (event.time_us, event.name, event.said)
            if event.dumped:
                repeated = printed
            else:
                time = latest if event.time_us is None else event.time_us
                repeating = what in known and (time < latest or repeating)
                repeated = repeating
                printed = True
                latest = max(latest, time)
                known.add(what)
            if repeated:
                again.add(1, event.where)
            else:
                kept.append(event)
    again.report(
        notes,
        "duplicate",
        "{} [event is|events are] in the log a second time and [does|do] not count again",
        loses=False,
    )
    return kept


def _table(events: list[_Event]) -> EventLines:
    columns: dict[str, list[Any]] = {
        "where": [event.where for event in events],
        "left": [""] * len(events),
        "buffer": [None] * len(events),
        "pid": [event.thread for event in events],
        "cpu": [event.cpu for event in events],
        "time_ns": [None if event.time_us is None else event.time_us * 1000 for event in events],
        "group": [None] * len(events),
        "event": [event.name for event in events],
        "said": [event.said for event in events],
    }
    return EventLines(pl.DataFrame(columns, schema=SCHEMA), [], 0, 0)


def _runs(notes: Notes) -> tuple[KernelRun, ...]:
    try:
        return kernel_log.parse_lines(line.text for line in notes.log).runs
    except LimitExceededError as error:
        error.path = notes.path
        raise


def _mark(run: KernelRun, line: int, seq: int, notes: Notes) -> None:
    """Put a boundary in front of the first access of a kernel, whose first line is that of the file."""
    kind = _ENTERED.get(run.entered_by)
    if kind is not None:
        notes.boundaries.append(Boundary(seq, kind, run.release))
        return
    notes.problem(
        "no-boundary",
        f"the log does not say how the kernel of its line {line} was started; if by kexec, give"
        f" --kexec-at access:{seq}",
    )
