"""Which kernel log belongs to which boot, and what the logs say of a kexec: kind, options, command lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf, decisions
from analyzer.kernel_logs import cmdline as command_line
from analyzer.kexecs import Setting
from analyzer.sidecars import beside
from analyzer.small_files import COMMAND_LINE_LIMIT, given_text, read_limited
from analyzer.verdicts.loss_weight import LIVE_UPDATE_POLICIES
from analyzer.verdicts.reset_evidence import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.boots import BootSpan
    from analyzer.capture import Capture
    from analyzer.kernel_logs.kernel_log import KernelLog, KernelRun, RunsAt
    from analyzer.kexecs import Handover
    from analyzer.options import Options
    from analyzer.results import KexecKind

_LOG_LIMIT = 256 << 20


@dataclass
class BootLogs:
    """Kernel runs of a capture's boots by source, best first (``dmesg``, ``capture``, ``sidecar``)."""

    spans: Sequence[BootSpan]
    events: Sequence[Told] = ()
    by_source: dict[str, dict[int, KernelRun]] = field(default_factory=dict)

    @classmethod
    def open(cls, options: Options, capture: Capture, spans: Sequence[BootSpan]) -> BootLogs:
        """Read and align every log that belongs to a capture."""
        events = [
            Told(bdf.key(*event.bdf), event.text, capture.path, event.seq, event.time_ns)
            for event in capture.notes.events
            if event.bdf is not None
        ]
        logs = cls(spans, events)
        if options.dmesg is not None:
            logs.add("dmesg", read_limited(options.dmesg, _LOG_LIMIT))
        if capture.notes.log:
            logs.add("capture", [line.text for line in capture.notes.log])
        paths = beside(capture.pieces, ".dmesg")
        if paths:  # of several pieces: one history, as the accesses are
            logs.add("sidecar", b"\n".join(read_limited(path, _LOG_LIMIT) for path in paths))
        return logs

    def add(self, source: str, log: bytes | list[str]) -> None:
        """Read one log, a file's bytes or its lines, and align it with the boots."""
        from analyzer.kernel_logs import kernel_log  # its expressions are compiled only where there is a log

        read = kernel_log.parse(log) if isinstance(log, bytes) else kernel_log.parse_lines(log)
        self.by_source[source] = align(self.spans, read)

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

    def _told(self, handover: Handover, runs: tuple[KernelRun | None, KernelRun | None]) -> tuple[Told, ...]:
        """Messages of both kernels about functions, and the capture's own events between their scans."""
        logged = [
            Told(event.function, event.text, "kernel log")
            for run in runs
            if run is not None
            for event in run.events
            if event.function is not None
        ]
        return (*logged, *(told for told in self.events if handover.covers(told.access)))

    def setting(self, handover: Handover, options: Options) -> Setting:
        """What is known of one kexec beside the accesses."""
        outgoing = self.run_of(handover.outgoing.boot.index)
        incoming = self.run_of(handover.incoming.boot.index)
        noari, scan_all = (None, None) if incoming is None else (incoming.noari, incoming.pcie_scan_all)
        if options.cmdline is not None and (incoming is None or incoming.cmdline is None):
            given = command_line.pci_options(given_text(options.cmdline, COMMAND_LINE_LIMIT))
            noari, scan_all = given.noari, given.pcie_scan_all
        if noari is None:
            noari = decisions.observed_noari(handover.decided_after)
        return Setting(
            kind=_kind(handover, outgoing, incoming),
            noari=noari,
            scan_all=bool(scan_all),
            logged_series=incoming.series if incoming is not None else (),
            told=self._told(handover, (outgoing, incoming)),
            options=options,
        )


def align(spans: Sequence[BootSpan], log: KernelLog) -> dict[int, KernelRun]:
    """Boot index -> kernel run.

    As many runs as kernels: one to one. Fewer runs: a log that ends in a kexec belongs to the first kernels,
    any other to the last ones. More runs than kernels: the capture began later, the last runs count.
    """
    kernels = [span.index for span in spans if span.kind != "firmware"]
    runs = list(log.runs)
    if len(runs) < len(kernels):
        kernels = (
            kernels[: len(runs)] if runs and runs[-1].kexec_started else kernels[len(kernels) - len(runs) :]
        )
    elif len(runs) > len(kernels):
        runs = runs[len(runs) - len(kernels) :]
    return dict(zip(kernels, runs, strict=True))


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
