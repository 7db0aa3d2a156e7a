"""Kernel logs and serial consoles: one ``KernelRun`` for each kernel that booted, with what it said.

Input is whatever people keep: ``dmesg`` of one kernel or of several, journald or syslog files, a console with
firmware, two kernels and a shell in it. A ``Linux version`` line begins a new kernel when the one before it
ended (kexec, reboot, panic, firmware text, a journal's boot mark) or differs from it: in version, command
line, the times of its messages, or what Live Update handed to it. Else what follows is a dump of a known
kernel's log (analyzer.kernel_logs.log_segments).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import cmdline, log_facts, log_lines
from analyzer.kernel_logs.driver_messages import DriverMessages
from analyzer.kernel_logs.log_segments import ENDINGS, Ending, Entry, LogRecord, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from analyzer.capture import FunctionUse
    from analyzer.kernel_logs.log_facts import Fact
    from analyzer.kernel_logs.log_lines import KernelMessage

#: Bounds on what an input can make us hold.
MAX_RUNS, MAX_FACTS = 1000, 500_000
#: Messages of a log: each costs some microseconds, and a byte where the log is compressed.
MAX_MESSAGES = 2_000_000
#: printk cuts messages at 1021 characters: a command line that reaches this far may be cut.
_PRINTK_LIMIT = 1021
#: Facts that only a booting kernel prints: after an end they begin the next kernel.
_BOOTING = frozenset(
    {"cmdline", "kernel-cmdline", "kho", "exec-from", "liveupdate", "was-preserved", "enumerated"}
)


@dataclass(frozen=True)
class LogEvent:
    """A link, error, reset or bridge message.

    Attributes:
        kind: ``hotplug``, ``dpc``, ``aer``, ``rrs``, ``reset``, ``link``, ``bridge``, ``payload`` or
            ``panic``.
        function: key of the function it is about, or None.
        text: the message.
        line_number: physical line, from 1.
        time_us: printk's time, or None.
    """

    kind: str
    function: int | None
    text: str
    line_number: int
    time_us: int | None


@dataclass(frozen=True)
class EnumeratedFunction:
    """A function as the kernel's enumeration line shows it; evidence only."""

    vendor_device: str
    header_type: int
    class_code: int
    kind: str


@dataclass(frozen=True)
class KernelRun:
    """One kernel's lifetime as its log shows it.

    Attributes:
        release: kernel release, or None if its ``Linux version`` line is missing.
        cmdline: its command line, or None.
        cmdline_cut: the command line may go on (printk cuts long messages).
        first_line: physical line of its first message, from 1.
        entered_by: how it came to run, or None if the log does not say.
        ended: how it ended, or None if the log does not say.
        facts: what is said about functions (``will-be-preserved``, ``was-preserved``, ``finished``,
            ``never-finished``, ``invalid-bridge``, ``refused-bridge``, ``ignored-header``, and of these
            ``header-all-ones``) -> function key -> line that says so.
        listed: the functions whose IDs and header type it prints, by key.
        previous_release: release of the kernel before it, as KHO handed it over; None if no message says it.
        kexec_count: which kexec since the last boot by firmware started it, from 1, by the same message.
        data_not_taken: it found nothing that it could use in what was handed over, and went on.
        panicked_over_data: it panicked because it could not take the handed-over PCI data.
        unnamed_preserved: a message that a function is preserved whose address is damaged, or None.
        uses: what its messages say that functions are used as when its log ends, by function key.
        liveupdate_number: LUO's number of the Live Update that started it, or None.
        crash_kernel: it was started to save a crash dump (kdump).
        scan_all: it set ``pci=pcie_scan_all`` by itself.
        events: its events, or the first and the last of them.
        series: versions of the Live Update PCI series that fit its messages; empty if no message shows it.
    """

    release: str | None
    cmdline: str | None
    cmdline_cut: bool
    first_line: int
    entered_by: Entry | Literal["crash"] | None
    ended: Ending | None
    facts: Mapping[str, Mapping[int, int]]
    listed: Mapping[int, EnumeratedFunction]
    liveupdate_number: int | None
    crash_kernel: bool
    scan_all: bool
    events: tuple[LogEvent, ...]
    series: tuple[str, ...]
    previous_release: str | None = None
    kexec_count: int | None = None
    data_not_taken: bool = False
    panicked_over_data: bool = False
    unnamed_preserved: str | None = None
    uses: Mapping[int, FunctionUse] = field(default_factory=dict)

    @property
    def enumerated(self) -> dict[int, EnumeratedFunction]:
        """Those of the listed functions that it does not ignore for their header type."""
        ignored = self.functions("ignored-header")
        return {key: function for key, function in self.listed.items() if key not in ignored}

    def functions(self, fact: str) -> frozenset[int]:
        """Keys of the functions that a fact was said about."""
        return frozenset(self.facts.get(fact, ()))

    @property
    def will_be_preserved(self) -> frozenset[int]:
        """What it was going to hand over when its log ends, bridges included."""
        return self.functions("will-be-preserved")

    @property
    def was_preserved(self) -> frozenset[int]:
        """Functions that it set up and found in the preserved set.

        It prints that before it looks at the header type: a function with an unknown one (``ignored-header``)
        is named, and not enumerated.
        """
        return self.functions("was-preserved")

    @property
    def finished(self) -> frozenset[int]:
        """Preserved functions whose Live Update is over."""
        return self.functions("finished")

    @property
    def never_finished(self) -> frozenset[int]:
        """Preserved functions that were never finished; under series v9 also those that never showed up."""
        return self.functions("never-finished")

    @property
    def kexec_started(self) -> bool:
        """It handed over to another kernel in order."""
        return self.ended == "kexec"

    @property
    def live_update_evidence(self) -> bool:
        """It was started by a Live Update: LUO's number, or preserved functions."""
        said = ("was-preserved", "finished", "never-finished", "refused-bridge")
        return self.liveupdate_number is not None or any(self.facts.get(fact) for fact in said)

    @property
    def noari(self) -> bool | None:
        """``pci=noari``; None if its command line is unknown or may be cut before it could show."""
        return self._pci_option("noari")

    @property
    def pcie_scan_all(self) -> bool | None:
        """``pci=pcie_scan_all``, also where the kernel set it by itself; None as for ``noari``."""
        return True if self.scan_all else self._pci_option("pcie_scan_all")

    @property
    def assign_busses(self) -> bool | None:
        """``pci=assign-busses``; None as for ``noari``."""
        return self._pci_option("assign_busses")

    def _pci_option(self, name: str) -> bool | None:
        if self.cmdline is None:
            return None
        given: bool = getattr(cmdline.pci_options(self.cmdline), name)
        return None if self.cmdline_cut and not given else given


#: Kexec number -> logs of the outgoing and the incoming kernel.
RunsAt: TypeAlias = "Callable[[int], tuple[KernelRun | None, KernelRun | None]]"


@dataclass(frozen=True)
class KernelLog:
    """Everything that one log says.

    Attributes:
        runs: the kernels in the order of the log.
    """

    runs: tuple[KernelRun, ...]


def parse(data: bytes) -> KernelLog:
    """Read a log or console text of any encoding that keeps ASCII.

    Raises:
        LimitExceededError: more kernels or facts than a log can sensibly hold.
    """
    reader = _Reader()
    end = 0
    for match in log_lines.LINE.finditer(data):  # empty lines cost nothing
        reader.line(match[0], data.count(b"\n", end, match.start()) + (end == 0))
        end = match.end()
    reader.close()
    return KernelLog(tuple(map(_run, reader.runs)))


def parse_lines(lines: Iterable[bytes | str]) -> KernelLog:
    """Read log lines without their line feeds; ``line_number`` counts them from 1.

    Raises:
        LimitExceededError: as :func:`parse`.
    """
    reader = _Reader()
    for line in lines:
        reader.line(line.encode("utf-8", "replace") if isinstance(line, str) else line)
    reader.close()
    return KernelLog(tuple(map(_run, reader.runs)))


@dataclass
class _Reader:
    """Cuts the log into segments and sorts out which of them are kernels.

    ``number`` is that of the line at hand, ``messages`` how many there were on all lines. ``early`` has what
    stands before the first fact, where a ring buffer has lost its beginning.
    """

    runs: list[Segment] = field(default_factory=list)
    current: Segment | None = None
    early: DriverMessages = field(default_factory=DriverMessages)
    firmware: bool = False
    boot_mark: bool = False
    number: int = 0
    facts: int = 0
    messages: int = 0

    def line(self, line: bytes, passed: int = 1) -> None:
        """Take a line that is ``passed`` lines further down than the one before."""
        self.number += passed
        for message in log_lines.messages(line):
            self._message(message)

    def _message(self, message: KernelMessage) -> None:
        self.messages += 1
        if self.messages > MAX_MESSAGES:
            raise LimitExceededError(
                f"expected at most {MAX_MESSAGES} messages in a log, found more by line {self.number}",
                advice="give the part of the log around the kexec in question",
            )
        fact = log_facts.read(message.text)
        drivers = self.early if self.current is None else None if self._over() else self.current.drivers
        if drivers is not None:
            drivers.add(message)
        if fact is None:
            if self.current is not None:
                self.current.message(message)
            return
        if fact.kind in ("firmware", "journal-boot"):
            self.firmware |= fact.kind == "firmware"
            self.boot_mark = True
            self.early = DriverMessages()  # of the kernel before
            return
        if fact.kind == "version":
            self._open(fact.text)
        elif self.current is None or (self._over() and fact.kind in _BOOTING):
            self._open(None)
        self._take(fact, message)

    def _over(self) -> bool:
        """Whether the current kernel has ended, so that another must be running."""
        return self.boot_mark or (self.current is not None and self.current.ended is not None)

    def _open(self, version: str | None) -> None:
        ended = self.current.ended if self.current is not None else None
        entered: Entry | None = "firmware" if self.firmware or ended == "reboot" else None
        if ended == "kexec" and not self.firmware:
            entered = "kexec"
        certain = self._over()
        self.close()
        self.current = Segment(self.number, version, certain=certain, entered_by=entered)
        if version is None:
            self.current.drivers.absorb(self.early)
        self.early = DriverMessages()
        self.firmware = self.boot_mark = False

    def _take(self, fact: Fact, message: KernelMessage) -> None:
        record = LogRecord(fact, message, self.number)
        if self.current is None or any(run.said_before(record, self.current) for run in self.runs[-3:]):
            return
        self.current.message(message)
        if fact.kind == "version":
            return
        self.facts += fact.kind != "event"
        if self.facts > MAX_FACTS:
            raise LimitExceededError(
                f"expected at most {MAX_FACTS} messages about Live Update and enumeration, found more by "
                f"line {self.number}",
                advice="give the part of the log around the kexec in question",
            )
        self.current.add(record)
        self.current.ended = ENDINGS.get(fact.kind, self.current.ended)

    def close(self) -> None:
        """Give the current segment to the kernel whose log it dumps, or let it be a kernel of its own."""
        segment, self.current = self.current, None
        if segment is None:
            return
        if not segment.certain:
            for known in reversed(self.runs):
                if segment.repeats(known):
                    self.runs[-1].absorb(segment, known)
                    return
        if len(self.runs) == MAX_RUNS:
            raise LimitExceededError(
                f"expected at most {MAX_RUNS} kernels in one log, found more by line {self.number}",
                advice="give the part of the log around the kexec in question",
            )
        self.runs.append(segment)


def _run(segment: Segment) -> KernelRun:
    """Fold a segment's records into what they say in the end."""
    facts: dict[str, dict[int, int]] = {}
    listed: dict[int, EnumeratedFunction] = {}
    events: list[LogEvent] = []
    about_kernel: dict[str, str] = {}
    series = []
    for fact, message, line in segment.all_records():
        if fact.event is not None:
            events.append(LogEvent(fact.event, fact.function, fact.text, line, message.time_us))
        if fact.series is not None:
            series.append(fact.series)
        if fact.function is None:
            about_kernel.setdefault(fact.kind, fact.text)
        elif fact.kind == "no-longer-preserved":
            facts.get("will-be-preserved", {}).pop(fact.function, None)
        elif fact.kind == "enumerated":
            printed = log_facts.enumerated(fact.text)
            if printed is not None:
                listed.setdefault(fact.function, EnumeratedFunction(*printed))
        elif fact.kind != "event":
            facts.setdefault(fact.kind, {}).setdefault(fact.function, line)
            if log_facts.shows_all_ones(fact):
                facts.setdefault("header-all-ones", {}).setdefault(fact.function, line)
    text = segment.command_line
    crash = text is not None and cmdline.is_crash_kernel(text)
    crash |= bool({"elfcorehdr", "kdump"} & about_kernel.keys())
    previous, _, count = about_kernel.get("exec-from", "").partition(" ")
    entered = segment.entered_by or ("crash" if crash else "kexec" if previous else None)
    return KernelRun(
        release=log_facts.release(segment.version) if segment.version else None,
        cmdline=text,
        cmdline_cut=_may_be_cut(segment),
        first_line=segment.line,
        entered_by=entered,
        ended=segment.ended,
        facts=facts,
        listed=listed,
        liveupdate_number=int(about_kernel["liveupdate"]) if "liveupdate" in about_kernel else None,
        crash_kernel=crash,
        scan_all="scan-all" in about_kernel,
        events=tuple(events),
        series=log_facts.common_series(series),
        previous_release=previous or None,
        kexec_count=int(count) if count else None,
        data_not_taken="no-data" in about_kernel,
        unnamed_preserved=about_kernel.get("unnamed-preserved"),
        panicked_over_data=log_facts.panics_over_data(about_kernel.get("panic", "")),
        uses=segment.drivers.uses(),
    )


def _may_be_cut(segment: Segment) -> bool:
    printed = [len("Kernel command line: ") + len(part) for part in segment.kernel_cmdline]
    if not printed and segment.early_cmdline is not None:
        printed = [len("Command line: ") + len(segment.early_cmdline)]
    return any(length >= _PRINTK_LIMIT - 1 for length in printed)
