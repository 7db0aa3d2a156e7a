"""What is concluded from verdicts, once: findings of a kexec, the word for a capture, the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.capture import Problem
from analyzer.results import LOSSES, CaptureResult, Summary, rules
from analyzer.verdicts import consequences, findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.errors import AritraceError
    from analyzer.options import Options
    from analyzer.results import CaptureVerdict, KexecResult, Weight

#: Findings that cast doubt instead of naming a loss.
_DOUBTS = frozenset({rules.UNDETERMINED, rules.DIVERGENCE})
#: Findings that contradict "nothing lost", whatever was preserved.
_NOT_CLEAN = frozenset(
    {rules.BRIDGE_CODES[name] for name in LOSSES} | {rules.BRIDGE_CODES["healed"], rules.MISSING}
)


def conclude(kexec: KexecResult, options: Options, not_preserved: frozenset[str] = frozenset()) -> None:
    """Store findings and consequences in the result of a kexec; everything else only reads them.

    Args:
        kexec: verdicts of one kexec, with ``preservation``.
        options: those that decide which findings count.
        not_preserved: bridges of which the input shows that they were not handed over.
    """
    findings.add(kexec, options, not_preserved)
    kexec.consequences = consequences.for_kexec(kexec)


def of_capture(kexecs: Sequence[KexecResult], *, whole: bool) -> CaptureVerdict:
    """Return the verdict over all kexecs of a capture.

    Args:
        kexecs: their results with findings.
        whole: nothing that could contradict "clean" is known to be missing from the input: no access was
            dropped, no part is damaged, and every incoming kernel's scan is in it to its end.
    """
    if not kexecs:
        return "no-kexec"
    found = [finding for kexec in kexecs for finding in (*kexec.findings, *kexec.ignored)]
    weighty = [finding for finding in found if finding.severity != "note"]
    if any(item.code not in _DOUBTS for item in weighty) or any(item.code in _NOT_CLEAN for item in found):
        return "findings"
    return "clean" if whole and not weighty else "undetermined"


def weight(capture: CaptureResult, options: Options, *, whole: bool = True) -> Weight | None:
    """Return what a capture does to the exit status: 1 for a loss, 3 for a doubt, nothing for None.

    Args:
        capture: its result with verdict and findings.
        options: ``selected`` counts.
        whole: as in :func:`of_capture`.
    """
    weights = {finding.weight for kexec in capture.kexecs for finding in kexec.findings}
    if "loss" in weights:
        return "loss"
    if "doubt" in weights or capture.verdict == "unreadable":
        return "doubt"
    # What is missing may hold a kexec, or a loss.
    unknown = capture.verdict == "undetermined" or not whole
    counted = options.selected is None or rules.UNDETERMINED in options.selected
    return "doubt" if unknown and counted else None


def summarise(captures: Sequence[CaptureResult]) -> Summary:
    """Count captures, kexecs, lost preserved bridges, stranded devices, and captures without an answer."""
    kexecs = [kexec for capture in captures for kexec in capture.kexecs]
    return Summary(
        captures=len(captures),
        kexecs=len(kexecs),
        bridges_lost=sum(
            bridge.preserved and bridge.verdict in LOSSES for kexec in kexecs for bridge in kexec.bridges
        ),
        devices_stranded=sum(device.verdict == "stranded" for kexec in kexecs for device in kexec.devices),
        undetermined=sum(capture.verdict == "undetermined" for capture in captures),
        unreadable=sum(capture.verdict == "unreadable" for capture in captures),
    )


def unreadable(path: str, error: AritraceError) -> CaptureResult:
    """Return the result of a capture that could not be analysed: verdict ``unreadable`` and the reason.

    Where another file is at fault (a piece, a sidecar, what an option names), the message begins with it.
    """
    message = f"{error.message}; {error.advice}" if error.advice else error.message
    if error.path not in (None, path):
        message = f"{error.place}: {message}"
    return CaptureResult(
        path=path,
        files=[],
        format=None,
        host=None,
        accesses=0,
        truncated=False,
        dropped=0,
        verdict="unreadable",
        errors=[Problem(error.kind, error.path or path, error.offset, message)],
        weight="doubt",
    )
