"""What a capture holds and what it lacks, before any question about ARI is asked (``analyze stat``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed import boots
from analyzer.observed.index import AccessIndex, enumerations
from analyzer.readers.formats import SNAPSHOTS
from analyzer.results import Boot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.capture import Capture, Problem, SourceFile
    from analyzer.observed.boots import BootSpan
    from analyzer.options import Options

#: How many of the longest silences are reported.
GAPS = 3
_EXTENDED = 0x100


@dataclass(frozen=True)
class Gap:
    """A silence: ``duration_ns`` between access ``after_access`` and the next one."""

    after_access: int
    duration_ns: int


@dataclass(frozen=True)
class KexecMark:
    """A kexec boundary: the incoming kernel's first access, and the kind if the capture says so."""

    at_access: int
    blackout_ns: int | None
    kind: str | None


@dataclass
class CaptureStatistics:
    """Counts over one capture.

    Attributes:
        functions: distinct functions that answered: a read of them was not all ones.
        absent: accesses that no function answered, by the recorder's word or as all its reads are ones.
        failed: accesses that completed with an error status.
        extended: accesses to registers beyond 0xff.
        clock: what the time stamps count (:class:`analyzer.capture.Notes`).
        start_ns, end_ns: time stamps of the first and last access that have one.
        gaps: the longest silences, longest first.
        thinned: repeated reads of a very long capture that were passed over: in ``accesses`` and ``reads``,
            not in the counts that follow.
        dropped: records that the recorder lost, and those in the file that cannot be used.
        missing_dwords: dwords that a snapshot must have shown and does not.
        foreign_lines: lines of a text capture that are no accesses.
        missing: what the capture lacks for a full answer, a sentence each.
        error: why nothing could be read (then all counts are 0).
    """

    path: str
    format: str | None = None
    files: list[SourceFile] = field(default_factory=list)
    host: str | None = None
    tool: str | None = None
    accesses: int = 0
    thinned: int = 0
    reads: int = 0
    writes: int = 0
    absent: int = 0
    failed: int = 0
    extended: int = 0
    functions: int = 0
    widths_known: bool = False
    clock: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    boots: list[Boot] = field(default_factory=list)
    kexecs: list[KexecMark] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    log_lines: int = 0
    preserved_sets: int = 0
    events: int = 0
    truncated: bool = False
    dropped: int = 0
    foreign_lines: int = 0
    missing: list[str] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    error: str | None = None
    missing_dwords: int = 0


def stat(path: str, options: Options | None = None) -> CaptureStatistics:
    """Count what a capture holds and name what it lacks.

    Raises:
        AritraceError: the capture cannot be read.
    """
    from analyzer.readers import open_capture

    return describe(open_capture(path, options))


def describe(capture: Capture) -> CaptureStatistics:
    """The same for a capture that is already in memory."""
    index = AccessIndex(capture.accesses)
    notes = capture.notes
    spans = boots.split(index, enumerations(index), notes.boundaries, capture.path)
    timed = index.time_ns[index.time_ns >= 0]
    found = CaptureStatistics(
        path=capture.path,
        format=capture.format,
        files=capture.files,
        host=notes.host,
        tool=notes.tool,
        accesses=capture.recorded,
        thinned=capture.thinned,
        reads=int(index.is_read.sum()) + capture.thinned,
        writes=int(index.is_write.sum()),
        absent=int(_absent(index).sum()),
        failed=int(index.failed.sum()),
        extended=int((index.offset >= _EXTENDED).sum()),
        functions=int(np.unique(index.function[_answered(index)]).size),
        widths_known=bool(index.rows) and bool((index.width > 0).all()),
        clock=notes.clock,
        start_ns=int(timed[0]) if timed.size else None,
        end_ns=int(timed[-1]) if timed.size else None,
        boots=[_boot(index, span) for span in spans],
        kexecs=[_kexec(index, spans, span) for span in spans if span.entered_by == "kexec"],
        gaps=_gaps(index),
        log_lines=len(notes.log),
        preserved_sets=len(notes.preserved),
        events=len(notes.events),
        truncated=notes.truncated,
        dropped=notes.dropped,
        foreign_lines=notes.foreign_lines,
        errors=notes.problems,
        missing_dwords=notes.missing_dwords,
    )
    found.missing = _missing(found, spans)
    return found


def _answered(index: AccessIndex) -> NDArray[np.bool_]:
    """Reads that a function answered; kprobes, KVM and memory regions show an absent one by ones only."""
    return index.live & ~index.absent & ~index.failed


def _absent(index: AccessIndex) -> NDArray[np.bool_]:
    """Accesses that no function answered.

    A vendor ID of ones is an answer of a virtual function (PCIe 9.3.4.1.1): it counts where other reads show
    that nothing is there, or that the function has another vendor ID.
    """
    answered = np.unique(index.function[_answered(index)])
    read = np.unique(index.function[index.is_read])
    silent = np.isin(index.function, np.setdiff1d(read, answered)) & ~index.failed
    gone = np.zeros(index.rows, bool)
    identified = np.unique(index.function[index.present_id])
    vendor = index.vendor_reads
    gone[vendor] = ~index.live[vendor] & ~index.failed[vendor] & np.isin(index.function[vendor], identified)
    return np.asarray(index.absent | silent | gone, np.bool_)


def _boot(index: AccessIndex, span: BootSpan) -> Boot:
    return Boot(
        index=span.index,
        kind=span.kind,
        release=span.release,
        cmdline=None,
        first_access=int(index.seq[span.first]),
        last_access=int(index.seq[span.end]),
        start_ns=index.time_at(span.first),
        end_ns=index.time_at(span.end),
    )


def _kexec(index: AccessIndex, spans: Sequence[BootSpan], span: BootSpan) -> KexecMark:
    silence = boots.blackout(index, spans[span.index - 1], span) if span.index else None
    return KexecMark(int(index.seq[span.first]), silence, span.kexec_kind)


def _gaps(index: AccessIndex) -> list[Gap]:
    """Return the longest silences between neighbouring accesses of the same file."""
    if index.rows < 2:
        return []
    steps = np.diff(index.time_ns)
    steps[(index.time_ns[1:] < 0) | (index.time_ns[:-1] < 0) | (np.diff(index.file) != 0)] = 0
    longest = np.argsort(-steps, kind="stable")[:GAPS]
    return [Gap(int(index.seq[row]), int(steps[row])) for row in longest.tolist() if steps[row] > 0]


def _missing(found: CaptureStatistics, spans: list[BootSpan]) -> list[str]:
    snapshot = any(form in SNAPSHOTS for form in (found.format or "").split("+"))
    beyond = "run lspci -D -xxxx as root" if snapshot else "record ECAM accesses too"
    lacks = (
        (found.start_ns is None, "time stamps: the length of the blackout is unknown"),
        (
            not found.widths_known,
            "access widths: not recorded, and inferred from what the kernel does",
        ),
        (
            not found.absent,
            "accesses to absent functions: a function that is gone looks like one that was never accessed",
        ),
        (
            not found.extended,
            f"registers beyond 0xff: the ARI, SR-IOV and ACS capabilities are not shown ({beyond})",
        ),
        (
            not found.log_lines,
            "kernel log: the kind of a kexec and link events are known from accesses only (give --dmesg)",
        ),
        (
            not found.preserved_sets and not found.log_lines,
            "preserved set: give --preserved, --flb or --dmesg, else it is assumed",
        ),
        (
            bool(not found.preserved_sets and found.log_lines),
            "preserved set: known only as far as the kernel log says it (--preserved or --flb gives it)",
        ),
        (not found.kexecs, "kexec: no boundary between two kernels was found (--kexec-at gives one)"),
        (
            bool(spans) and bool(found.kexecs) and spans[0].kind == "kernel" and spans[0].scan is None,
            "the outgoing kernel's enumeration: the capture begins after it",
        ),
        (
            bool(spans) and bool(found.kexecs) and spans[-1].scan is None,
            "the incoming kernel's enumeration: the capture ends before it",
        ),
    )
    return [text for lacking, text in lacks if lacking]
