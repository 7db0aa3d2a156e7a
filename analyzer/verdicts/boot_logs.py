"""Which kernel log belongs to which boot, and what logs say about a kexec: kind, options, command lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.capture.sidecars import beside
from analyzer.kernel_logs import cmdline as command_line
from analyzer.observed import decisions, kernel_options
from analyzer.readers.small_files import command_line as given_command_line
from analyzer.readers.small_files import kernel_log, kernel_log_bytes
from analyzer.results import LIVE_UPDATE_POLICIES
from analyzer.verdicts.kexecs import KernelSettings
from analyzer.verdicts.reset_evidence import LogMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import Capture
    from analyzer.kernel_logs.kernel_log import KernelLog, KernelRun, RunsAt
    from analyzer.observed.boots import BootSpan
    from analyzer.observed.index import AccessIndex
    from analyzer.options import Options
    from analyzer.results import KexecKind
    from analyzer.verdicts.handovers import Handover


@dataclass
class BootLogs:
    """Kernel runs of a capture's boots by source, best first (``dmesg``, ``capture``, ``sidecar``).

    ``warnings`` name logs that were set aside. ``given_cmdline`` is the command line of the option.
    """

    spans: Sequence[BootSpan]
    events: Sequence[LogMessage] = ()
    by_source: dict[str, dict[int, KernelRun]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    given_cmdline: str | None = None

    @classmethod
    def open(cls, options: Options, capture: Capture, spans: Sequence[BootSpan]) -> BootLogs:
        """Read and align every log that belongs to a capture.

        Raises:
            AritraceError: a file that an option names, or a sidecar, cannot be read or holds no log.
        """
        from analyzer.kernel_logs import kernel_log as log_reader  # compiled only where there is a log
        from analyzer.observed.log_placing import LogPlacement

        events = [
            LogMessage(bdf.key(*event.bdf), event.text, capture.path, event.seq, event.time_ns)
            for event in capture.notes.events
            if event.bdf is not None
        ]
        # The capture's own log goes first: what it says is the capture's word as well.
        found: dict[str, tuple[KernelLog, str]] = {}
        lines = [line.text for line in capture.notes.log]
        scanned = {number for scan in capture.notes.scans for number in range(*scan.lines)}
        others = [line for number, line in enumerate(lines) if number not in scanned]
        if others:
            found["capture"] = log_reader.parse_lines(others), "the log in the capture"
        given = kernel_log(options)
        if given is not None:
            found["dmesg"] = given, f"--dmesg {options.dmesg}"
        paths = beside(capture.pieces, ".dmesg")
        if paths:  # of several pieces: one history, as the accesses are
            whole = b"\n".join(kernel_log_bytes(path) for path in paths)
            found["sidecar"] = log_reader.parse(whole), ", ".join(paths)
        logs = cls(spans, events, given_cmdline=given_command_line(options))
        placing = LogPlacement(spans, capture.notes.releases)
        aligned = {source: placing.place(log, name) for source, (log, name) in found.items()}
        for scan in capture.notes.scans:  # a log that is a boot of its own has its place
            row = capture.accesses["seq"].search_sorted(scan.first)
            boot = next(span.index for span in reversed(spans) if span.first <= row)
            runs = log_reader.parse_lines(lines[slice(*scan.lines)]).runs
            if runs:
                aligned.setdefault("capture", {})[boot] = runs[0]
        logs.by_source = {
            source: aligned[source] for source in ("dmesg", "capture", "sidecar") if aligned.get(source)
        }
        logs.warnings = placing.warnings
        return logs

    def run_of(self, boot: int) -> KernelRun | None:
        """The log of one boot from the first source that has it."""
        for runs in self.by_source.values():
            if boot in runs:
                return runs[boot]
        return None

    def runs_at_kexecs(self) -> dict[str, RunsAt]:
        """Per source: the logs of both kernels by kexec number."""
        incoming = [span.index for span in self.spans if span.entered_by == "kexec"]

        def lookup(runs: dict[int, KernelRun]) -> RunsAt:
            return lambda kexec: (runs.get(incoming[kexec] - 1), runs.get(incoming[kexec]))

        return {source: lookup(runs) for source, runs in self.by_source.items()}

    def _reported(
        self, handover: Handover, runs: tuple[KernelRun | None, KernelRun | None]
    ) -> tuple[LogMessage, ...]:
        """Messages of both kernels about functions, and the capture's own events between their scans."""
        logged = [
            LogMessage(event.function, event.text, "kernel log")
            for run in runs
            if run is not None
            for event in run.events
            if event.function is not None
        ]
        return (*logged, *(messages for messages in self.events if handover.covers(messages.access)))

    def settings(self, index: AccessIndex, handover: Handover, options: Options) -> KernelSettings:
        """What is known of the kernels of one kexec besides what they read and found."""
        outgoing = self.run_of(handover.outgoing.boot.index)
        incoming = self.run_of(handover.incoming.boot.index)
        noari, scan_all = (None, None) if incoming is None else (incoming.noari, incoming.pcie_scan_all)
        renumbers = None if incoming is None else incoming.assign_busses
        if self.given_cmdline is not None and (incoming is None or incoming.cmdline is None):
            given = command_line.pci_options(self.given_cmdline)
            noari, scan_all, renumbers = given.noari, given.pcie_scan_all, given.assign_busses
        if noari is None:
            noari = decisions.observed_noari(handover.decided_after)
        if renumbers is None:
            renumbers = kernel_options.assign_busses(handover.incoming)
            if not renumbers and outgoing is not None:
                # A kernel that keeps numbers shows nothing of the option; kexec mostly takes the line along.
                renumbers = outgoing.assign_busses
        return KernelSettings(
            kind=_kind(handover, outgoing, incoming),
            noari=noari,
            scan_all=bool(scan_all),
            logged_series=incoming.series if incoming is not None else (),
            messages=self._reported(handover, (outgoing, incoming)),
            options=options,
            assign_busses=bool(renumbers),
            isolated_functions=kernel_options.isolated_functions(index, handover.incoming),
            data_not_taken=incoming is not None and incoming.data_not_taken,
            panicked=incoming is not None and incoming.panicked_over_data,
        )


def _kind(handover: Handover, outgoing: KernelRun | None, incoming: KernelRun | None) -> KexecKind:
    """What the kexec was for: an explicit mark, else the logs, else the rule that was followed."""
    marked = handover.incoming.boot.kexec_kind
    if marked is not None:
        return marked
    if incoming is not None and incoming.crash_kernel:
        return "crash"
    preserved = outgoing is not None and bool(outgoing.will_be_preserved)
    started = incoming is not None and incoming.live_update_evidence
    if preserved or started or handover.observed_policy in LIVE_UPDATE_POLICIES:
        return "live-update"
    if incoming is None or outgoing is None or not outgoing.kexec_started:
        return "unknown"
    return "plain"
