"""The main job: captures in, verdicts out. Every step is a call into one package."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.capture import Problem, joining
from analyzer.capture.sidecars import not_followed
from analyzer.errors import AritraceError
from analyzer.observed import boots, junctions, kexec_at, topology
from analyzer.observed.index import AccessIndex, enumerations, windows
from analyzer.observed.topology import Topology
from analyzer.options import Options
from analyzer.preservation.preserved import assumed, not_handed_over, resolve, sources, without
from analyzer.readers.small_files import of_option
from analyzer.results import Analysis, Boot, CaptureResult
from analyzer.verdicts import former_uses, handovers, kexecs, loss_weight, verdict
from analyzer.verdicts.boot_logs import BootLogs
from analyzer.verdicts.evidence import EvidenceBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.capture import Capture, LoggedScan, PlacedUse
    from analyzer.observed.boots import BootSpan
    from analyzer.preservation.preserved import PreservedSources
    from analyzer.results import KexecResult
    from analyzer.verdicts.kexecs import KexecAnalysis

#: Accesses that are worked on at a time where captures are analysed together: what fits processor caches
#: and yet costs little per capture.
_BATCH_ROWS = 400_000
#: Buses without their bridge that are named before the rest is counted.
_MOST_BUSES = 4


def analyze(
    paths: Sequence[str],
    options: Options | None = None,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    studied: Callable[[Capture, Study], None] | None = None,
) -> Analysis:
    """Analyse captures given by path (``-`` is standard input).

    Args:
        paths: one capture each; with ``options.join`` the consecutive pieces of one.
        options: see :class:`analyzer.options.Options`.
        progress: called before each capture: how many are done, of how many, and which comes.
        studied: called with each capture and its working, which is discarded afterwards: what a report needs
            beyond the results is to be taken here.

    Returns:
        a result per capture in the given order, and per guest where a recording is of several; one that
        cannot be read is a row with verdict ``unreadable``.

    Raises:
        UsageError: an option cannot be meant as written, or there is only one piece to join.
    """
    from analyzer.readers import each_machine

    chosen = options or Options()
    if chosen.join:
        joining.refuse_single(paths)
    groups = [list(paths)] if chosen.join and paths else [[path] for path in paths]
    results: list[CaptureResult] = []
    for done, group in enumerate(groups):
        if progress is not None:
            progress(done, len(groups), group[0])

        def answer(options: Options, group: Sequence[str] = group) -> CaptureResult:
            return _answer(group, options, studied)

        try:
            if len(group) == 1:
                results.extend(each_machine(group[0], chosen, answer))
            else:
                results.append(answer(chosen))
        except AritraceError as error:
            if error.kind == "usage":
                raise
            results.append(verdict.unreadable(joining.path_of(group), error))
    return Analysis(chosen.policy, results, verdict.summarise(results))


def _answer(
    group: Sequence[str], options: Options, studied: Callable[[Capture, Study], None] | None
) -> CaptureResult:
    """One result; a function of its own, so that a capture is gone before the next one is opened."""
    capture = open_pieces(group, options)
    working = study(capture, options)
    if studied is not None:
        studied(capture, working)
    return working.result


def open_pieces(paths: Sequence[str], options: Options | None = None, *, thin: bool = True) -> Capture:
    """Open one capture, or several that are consecutive pieces of one, with the snapshot that seeds it.

    Args:
        paths: in order.
        options: see :class:`analyzer.options.Options`.
        thin: as of :func:`analyzer.readers.open_capture`.

    Raises:
        AritraceError: one of them cannot be read.
    """
    from analyzer.readers import open_capture

    chosen = options or Options()
    snapshot = None
    if chosen.seed is not None:
        by_content = replace(chosen, input_format=None, bdf=None)  # those are of the captures
        snapshot = of_option(
            chosen, "--seed", chosen.seed, lambda path: open_capture(path, by_content, thin=thin)
        )
    reading = replace(chosen, join=True) if len(paths) > 1 else chosen
    pieces: list[Capture] = []
    first = 0 if snapshot is None else snapshot.recorded
    for number, path in enumerate(paths, start=1):
        try:
            pieces.append(open_capture(path, reading, thin=thin, first=first))
        except AritraceError as error:
            raise joining.of_piece(error, number, paths) from None
        first += pieces[-1].recorded
    capture = pieces[0] if len(pieces) == 1 else junctions.join(pieces)
    return capture if snapshot is None else joining.seed(snapshot, capture)


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


def analyze_capture(capture: Capture, options: Options | None = None) -> CaptureResult:
    """Analyse one capture that is already in memory."""
    return study(capture, options).result


def analyze_batch(
    captures: Sequence[Capture],
    options: Options | None = None,
    *,
    studied: Callable[[Study], None] | None = None,
) -> list[CaptureResult]:
    """Analyse captures together: the same results as one by one, for less.

    Args:
        captures: open ones.
        options: see :class:`analyzer.options.Options`.
        studied: called with the working of each capture, in order, which is discarded afterwards.

    Raises:
        LimitExceededError: one of them has more than :data:`analyzer.observed.boots.MAX_BOOTS` boots.
    """
    results = []
    for batch in _batches(captures):
        for one in _studies(batch, options):
            if studied is not None:
                studied(one)
            results.append(one.result)
    return results


def _batches(captures: Sequence[Capture]) -> Iterator[list[Capture]]:
    """Split captures into batches of at most ``_BATCH_ROWS`` accesses (one capture may have more)."""
    batch: list[Capture] = []
    rows = 0
    for capture in captures:
        if batch and rows + capture.accesses.height > _BATCH_ROWS:
            yield batch
            batch, rows = [], 0
        batch.append(capture)
        rows += capture.accesses.height
    if batch:
        yield batch


def study(capture: Capture, options: Options | None = None) -> Study:
    """Analyse one capture and keep the working."""
    (only,) = _studies([capture], options)
    return only


def _studies(captures: Sequence[Capture], options: Options | None) -> Iterator[Study]:
    """Analyse captures side by side: what needs every access is done for all of them at once."""
    chosen = options or Options()
    indexes = windows([capture.accesses for capture in captures])
    split = [_split(capture, index, chosen) for capture, index in zip(captures, indexes, strict=True)]
    # Nothing is asked of the functions of other boots, but by ``explain``, which then works them out.
    pairs = (pair for boots_of_one in split for pair in _kexecs(boots_of_one))
    topology.read(list(dict.fromkeys(itertools.chain.from_iterable(pairs))))
    for capture, index, topologies in zip(captures, indexes, split, strict=True):
        yield _study(capture, index, topologies, chosen)


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


def _study(capture: Capture, index: AccessIndex, topologies: list[Topology], chosen: Options) -> Study:
    """Analyse one capture: its kexecs one after the other."""
    spans = [topology.boot for topology in topologies]
    logs = BootLogs.open(chosen, capture, spans)
    opened = sources(chosen, capture, logs.runs_at_kexecs())
    builder = EvidenceBuilder(index, capture.files)
    kexec_analyses = [
        _analyze_kexec(
            index,
            number,
            pair,
            _CaptureFacts(
                chosen,
                logs,
                opened,
                builder,
                not capture.notes.may_lack_functions,
                capture.notes.whole,
                capture.notes.uses,
            ),
        )
        for number, pair in enumerate(_kexecs(topologies))
    ]
    results = [kexec_analysis.result for kexec_analysis in kexec_analyses]
    unmatched = opened.beyond(len(results))
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
        boots=[_boot(index, span, logs) for span in spans],
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
    result.weight = verdict.weight(result, chosen, whole=whole and not cut_before_kexec)
    return Study(index, topologies, kexec_analyses, builder, logs, result)


def _unsaid(results: Sequence[KexecResult], logs: BootLogs, path: str) -> list[Problem]:
    """Warnings about logs of a capture without a kexec, which would have them."""
    return [] if results else [Problem("other-machine", path, None, text) for text in logs.warnings]


@dataclass(frozen=True)
class _CaptureFacts:
    """What stays the same for every kexec of a capture."""

    options: Options
    logs: BootLogs
    opened: PreservedSources
    builder: EvidenceBuilder
    complete: bool
    whole: bool
    uses: Sequence[PlacedUse]


def _kexecs(topologies: list[Topology]) -> Iterator[tuple[Topology, Topology]]:
    for outgoing, incoming in itertools.pairwise(topologies):
        if incoming.boot.entered_by == "kexec":
            yield outgoing, incoming


def _analyze_kexec(
    index: AccessIndex, number: int, pair: tuple[Topology, Topology], known: _CaptureFacts
) -> KexecAnalysis:
    outgoing, incoming = pair
    handover = handovers.handover(index, number, outgoing, incoming)
    settings = replace(
        known.logs.settings(index, handover, known.options), complete=known.complete, whole=known.whole
    )
    at_stake = assumed(
        outgoing, incoming, handover.outgoing_states, handover.decided_after, handover.observed_policy
    )
    how = loss_weight.preservation(
        settings.kind,
        handover.observed_policy,
        scanned=incoming.boot.scan is not None,
        assume=known.options.assume_preserved,
    )
    others = frozenset[int]()
    if how not in ("live-update", "none"):
        others = not_handed_over(outgoing, incoming, handover.decided_after)
    fallback = frozenset() if how == "none" else without(at_stake, others, outgoing)
    preserved = resolve(known.opened, number, outgoing, fallback)
    # Where nothing was handed over, the policies are still compared: on what would have been handed over.
    what_if = preserved.keys or at_stake
    kexec_analysis = kexecs.analyze_kexec(index, handover, preserved, what_if, settings, known.builder)
    uses = former_uses.of_boot(outgoing.boot.index, index, known.logs, known.uses)
    result = kexec_analysis.result
    result.devices = former_uses.added(result.devices, outgoing, incoming, uses, known.builder)
    kexec_analysis.result.preservation = how if preserved.source == "assumed" else "known"
    kexec_analysis.result.warnings.extend(known.logs.warnings)
    verdict.conclude(kexec_analysis.result, known.options, frozenset(bdf.text(key) for key in others))
    return kexec_analysis


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
