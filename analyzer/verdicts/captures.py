"""Captures analysed side by side: boots, kexecs, their replays, and the verdict on each capture.

Stages work on tables of several captures (docs/tables.md): the accesses some at a time, the replays of all at
once. What is worked out for one kexec alone are causes and evidence.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.capture import Problem
from analyzer.capture.sidecars import not_followed
from analyzer.observed import boots, kexec_at, topology
from analyzer.observed.index import AccessIndex, enumerations, windows
from analyzer.observed.topology import Topology
from analyzer.preservation.preserved import assumed, not_handed_over, resolve, sources, without
from analyzer.replay import two_boots
from analyzer.replay.enumeration import Replay
from analyzer.results import POLICIES, Boot, CaptureResult
from analyzer.verdicts import former_uses, handovers, kexecs, loss_weight, state_watch, verdict
from analyzer.verdicts.boot_logs import BootLogs
from analyzer.verdicts.evidence import EvidenceBuilder
from analyzer.verdicts.kexecs import Predictions
from analyzer.verdicts.watched_functions import WatchedKexec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.capture import Capture, LoggedScan
    from analyzer.observed.boots import BootSpan
    from analyzer.options import Options
    from analyzer.preservation.preserved import PreservedSources
    from analyzer.replay.node_table import NodeTable
    from analyzer.results import KexecResult
    from analyzer.verdicts.handovers import Handover
    from analyzer.verdicts.kexecs import KexecAnalysis, KexecQuestion
    from analyzer.verdicts.state_watch import StateWatch

#: Accesses that are worked on at a time where captures are analysed together: what fits processor caches
#: and yet costs little per capture; and those of the captures whose kexecs are replayed at once.
INDEXED_ROWS, REPLAYED_ROWS = 400_000, 4_000_000
#: Buses without their bridge that are named before the rest is counted.
_MOST_BUSES = 4


@dataclass(frozen=True)
class Study:
    """Everything that was worked out about one capture: the result and what it rests on (for ``explain``).

    Attributes:
        index: the accesses.
        topologies: one per boot.
        kexec_analyses: one per kexec, each with its replay.
        builder: makes evidence.
        logs: the kernel logs, aligned with the boots.
    """

    index: AccessIndex
    topologies: list[Topology]
    kexec_analyses: list[KexecAnalysis]
    builder: EvidenceBuilder
    logs: BootLogs
    result: CaptureResult


def batches(captures: Sequence[Capture], most: int) -> Iterator[list[Capture]]:
    """Split captures into batches of at most so many accesses (one capture may have more)."""
    batch: list[Capture] = []
    rows = 0
    for capture in captures:
        if batch and rows + capture.accesses.height > most:
            yield batch
            batch, rows = [], 0
        batch.append(capture)
        rows += capture.accesses.height
    if batch:
        yield batch


def studies(captures: Sequence[Capture], options: Options) -> Iterator[Study]:
    """Analyse captures side by side: their accesses some at a time, their replays all at once."""
    asked = [one for batch in batches(captures, INDEXED_ROWS) for one in _asked(batch, options)]
    every = [kexec for one in asked for kexec in one.kexecs]
    replay = Replay([kernel for kexec in every for kernel in kexec.kernels])
    predictions = (Predictions(replay, number * len(POLICIES)) for number in range(len(every)))
    for one in asked:
        yield _conclude(one, list(itertools.islice(predictions, len(one.kexecs))))


def _asked(captures: Sequence[Capture], options: Options) -> list[_CaptureAsked]:
    """What is asked about captures; what needs every access is done for all of them at once."""
    indexes = windows([capture.accesses for capture in captures])
    split = [_split(capture, index, options) for capture, index in zip(captures, indexes, strict=True)]
    # Nothing is asked of the functions of other boots, but by ``explain``, which then works them out.
    pairs = (pair for boots_of_one in split for pair in _kexecs(boots_of_one))
    topology.read(list(dict.fromkeys(itertools.chain.from_iterable(pairs))))
    recognised = handovers.handovers(
        [(number, *pair) for boots_of_one in split for number, pair in enumerate(_kexecs(boots_of_one))]
    )
    machines = two_boots.build(
        [two_boots.TwoBoots(one.outgoing, one.incoming, one.decided_after) for one in recognised]
    )
    kexecs = zip(recognised, machines, strict=True)
    asked = [
        _ask(capture, index, topologies, [next(kexecs) for _ in _kexecs(topologies)], options)
        for capture, index, topologies in zip(captures, indexes, split, strict=True)
    ]
    _watch(asked)
    return asked


def _watch(asked: Sequence[_CaptureAsked]) -> None:
    """Compare the watched registers of all kexecs at once."""
    numbered = [(one, kexec) for one in asked for kexec in one.kexecs]
    watched = [
        WatchedKexec(
            kexec.handover.outgoing,
            kexec.handover.incoming,
            kexec.machine,
            kexec.preserved.keys,
            kexec.settings.whole,
        )
        for _, kexec in numbered
    ]
    for (one, _), watch in zip(numbered, state_watch.compare(watched), strict=True):
        one.watches.append(watch)


def _split(capture: Capture, index: AccessIndex, options: Options) -> list[Topology]:
    """Boots of one capture."""
    pairs = enumerations(index)
    marks = [*capture.notes.boundaries, *kexec_at.parse_kexec_at(index, options.kexec_at)]
    spans = boots.split(index, pairs, marks, capture.path)
    return [Topology(index, span, pairs, _logged(capture, index, span)) for span in spans]


def _logged(capture: Capture, index: AccessIndex, span: BootSpan) -> LoggedScan | None:
    """The scan of a kernel log that a boot consists of."""
    first, last = int(index.seq[span.first]), int(index.seq[span.last])
    return next((scan for scan in capture.notes.scans if scan.first <= first and last < scan.end), None)


@dataclass(frozen=True)
class _CaptureAsked:
    """One capture before the replay of its kexecs."""

    capture: Capture
    index: AccessIndex
    topologies: list[Topology]
    options: Options
    logs: BootLogs
    opened: PreservedSources
    builder: EvidenceBuilder
    kexecs: list[KexecQuestion] = field(default_factory=list)
    watches: list[StateWatch] = field(default_factory=list)


def _ask(
    capture: Capture,
    index: AccessIndex,
    topologies: list[Topology],
    recognised: list[tuple[Handover, NodeTable]],
    options: Options,
) -> _CaptureAsked:
    """Everything about one capture that its replay needs."""
    logs = BootLogs.open(options, capture, [topology.boot for topology in topologies])
    opened = sources(options, capture, logs.runs_at_kexecs())
    builder = EvidenceBuilder(index, capture.files)
    asked = _CaptureAsked(capture, index, topologies, options, logs, opened, builder)
    asked.kexecs.extend(_ask_kexec(asked, *kexec) for kexec in recognised)
    return asked


def _conclude(asked: _CaptureAsked, replays: Sequence[Predictions]) -> Study:
    """The verdicts on one capture: its kexecs one after the other."""
    capture, index, topologies, logs = asked.capture, asked.index, asked.topologies, asked.logs
    kexec_analyses = [
        _conclude_kexec(asked, *kexec) for kexec in zip(asked.kexecs, replays, asked.watches, strict=True)
    ]
    results = [kexec_analysis.result for kexec_analysis in kexec_analyses]
    unmatched = asked.opened.beyond(len(results))
    whole = (
        capture.notes.whole
        and not unmatched
        and all(_both_scans_whole(*pair) for pair in _kexecs(topologies))
    )
    ends_in_scan = _ends_in_scan(topologies, results, capture.path)
    # What came after the cut is unknown: it may hold a kexec.
    cut_before_kexec = bool(ends_in_scan or (capture.notes.truncated and not results))
    result = CaptureResult(
        path=capture.path,
        files=capture.files,
        format=capture.format,
        host=capture.notes.host,
        accesses=capture.recorded,
        truncated=capture.notes.truncated,
        dropped=capture.notes.dropped,
        verdict=verdict.of_capture(results, whole=whole),
        boots=[_boot(index, topology.boot, logs) for topology in topologies],
        kexecs=results,
        errors=[
            *capture.notes.problems,
            *not_followed(capture.pieces),
            *_unsaid(results, logs, capture.path),
            *_no_such_kexec(unmatched, len(results), capture.path),
            *ends_in_scan,
            *_without_bridge(topologies, results, capture.path),
        ],
        missing_dwords=capture.notes.missing_dwords,
        clock=capture.notes.clock,
    )
    result.weight = verdict.weight(result, asked.options, whole=whole and not cut_before_kexec)
    return Study(index, topologies, kexec_analyses, asked.builder, logs, result)


def _unsaid(results: Sequence[KexecResult], logs: BootLogs, path: str) -> list[Problem]:
    """Warnings about logs of a capture without a kexec, which would have them."""
    return [] if results else [Problem("other-machine", path, None, text) for text in logs.warnings]


def _kexecs(topologies: list[Topology]) -> Iterator[tuple[Topology, Topology]]:
    for outgoing, incoming in itertools.pairwise(topologies):
        if incoming.boot.entered_by == "kexec":
            yield outgoing, incoming


def _ask_kexec(asked: _CaptureAsked, handover: Handover, machine: NodeTable) -> KexecQuestion:
    outgoing, incoming = handover.outgoing, handover.incoming
    index, options, notes = asked.index, asked.options, asked.capture.notes
    settings = replace(
        asked.logs.settings(index, handover, options),
        complete=not notes.may_lack_functions,
        whole=notes.whole,
    )
    at_stake = assumed(
        outgoing, incoming, handover.outgoing_states, handover.decided_after, handover.observed_policy
    )
    how = loss_weight.preservation(
        settings.kind,
        handover.observed_policy,
        scanned=incoming.boot.scan is not None,
        assume=options.assume_preserved,
    )
    others = frozenset[int]()
    if how not in ("live-update", "none"):
        others = not_handed_over(outgoing, incoming, handover.decided_after)
    fallback = frozenset() if how == "none" else without(at_stake, others, outgoing)
    preserved = resolve(asked.opened, handover.number, outgoing, fallback)
    # Where nothing was handed over, the policies are still compared: on what would have been handed over.
    what_if = preserved.keys or at_stake
    return kexecs.question(index, handover, machine, preserved, what_if, settings, how, others)


def _conclude_kexec(
    asked: _CaptureAsked, question: KexecQuestion, predictions: Predictions, watch: StateWatch
) -> KexecAnalysis:
    logs, notes = asked.logs, asked.capture.notes
    found = kexecs.conclude(question, predictions, watch, asked.builder)
    outgoing, incoming = question.handover.outgoing, question.handover.incoming
    uses = former_uses.of_boot(outgoing.boot.index, asked.index, logs, notes.uses)
    found.result.devices = former_uses.added(
        found.result.devices, outgoing, incoming, uses, asked.builder, whole=notes.whole
    )
    found.result.preservation = question.preservation if question.preserved.source == "assumed" else "known"
    found.result.warnings.extend(logs.warnings)
    verdict.conclude(found.result, asked.options, frozenset(map(bdf.text, question.not_handed_over)))
    return found


def _no_such_kexec(numbers: Sequence[int], kexecs: int, path: str) -> Iterator[Problem]:
    """What the preserved list says of kexecs that the capture does not have."""
    for number in numbers:
        found = f"{kexecs} kexec{'s' * (kexecs != 1)}"
        message = f"the preserved list names functions for kexec {number}, this capture holds {found}"
        yield Problem("no-such-kexec", path, None, f"{message} (they are numbered from 0)")


def _ends_in_scan(topologies: Sequence[Topology], kexecs: Sequence[KexecResult], path: str) -> list[Problem]:
    """Warn that a capture without a kexec ends while a kernel still scans: more is missing."""
    if kexecs or not topologies or not topologies[-1].scan_is_cut:
        return []
    message = "the capture ends within the scan of its last kernel: what came after is unknown"
    return [Problem("truncated", path, None, message)]


def _without_bridge(
    topologies: Sequence[Topology], kexecs: Sequence[KexecResult], path: str
) -> Iterator[Problem]:
    """Functions of the last kernel of a capture without a kexec whose bridge no access shows."""
    kernels = [topology for topology in topologies if topology.boot.kind != "firmware"]
    if kexecs or not kernels:
        return
    orphans = kernels[-1].orphans
    for bus, below in itertools.islice(orphans.items(), _MOST_BUSES):
        more = f" and {len(below) - 4} more" if len(below) > 4 else ""
        names = ", ".join(map(bdf.text, below[:4])) + more
        message = (
            f"{bdf.bridge_above(bus)} is not in the capture ({names} below it): whether ARI "
            "Forwarding applies there is unknown"
        )
        yield Problem("no-bridge", path, None, message)
    if len(orphans) > _MOST_BUSES:
        rest = f"the bridges above {len(orphans) - _MOST_BUSES} more buses are not in the capture"
        yield Problem("no-bridge", path, None, rest)


def _both_scans_whole(outgoing: Topology, incoming: Topology) -> bool:
    """Whether the incoming kernel's scan is in the capture to its end, and the outgoing one's if it began."""
    if not incoming.is_snapshot and incoming.boot.scan is None:
        return False
    return not (outgoing.scan_is_cut or incoming.scan_is_cut)


def _boot(index: AccessIndex, span: BootSpan, logs: BootLogs) -> Boot:
    run = logs.run_of(span.index)
    return Boot(
        index=span.index,
        kind=span.kind,
        release=span.release or (run.release if run is not None else None),
        cmdline=run.cmdline if run is not None else None,
        first_access=int(index.seq[span.first]),
        last_access=int(index.seq[span.end]),
        start_ns=index.time_at(span.first),
        end_ns=index.time_at(span.end),
    )
