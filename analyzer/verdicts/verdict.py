"""The one word for a whole capture: clean, findings, undetermined or no-kexec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.results import Summary
from analyzer.verdicts import rules
from analyzer.verdicts.findings import LOSSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.results import CaptureResult, CaptureVerdict, KexecResult

#: Findings that cast doubt instead of naming a loss.
_DOUBTS = frozenset({rules.UNDETERMINED, rules.DIVERGENCE})


def of_capture(kexecs: Sequence[KexecResult], *, whole: bool) -> CaptureVerdict:
    """Return the verdict over all kexecs of a capture.

    Args:
        kexecs: their results with findings.
        whole: no access was dropped, and every incoming kernel's scan is in the capture to its end; without
            that nothing is called clean.
    """
    if not kexecs:
        return "no-kexec"
    weighty = [finding for kexec in kexecs for finding in kexec.findings if finding.severity != "note"]
    if any(finding.code not in _DOUBTS for finding in weighty):
        return "findings"
    return "clean" if whole and not weighty else "undetermined"


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
