"""Findings of one kexec: each verdict that matters, as a coded alarm with its weight.

The weight decides the exit status: an ``error`` is a loss that the operator must act on, a ``warning`` casts
doubt or was repaired, a ``note`` is only told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.results import Finding
from analyzer.verdicts import rules

if TYPE_CHECKING:
    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult
    from analyzer.verdicts.rules import Severity

#: Bridge verdicts that mean a loss wherever the bridge is preserved (interface: exit status).
LOSSES = frozenset({"lost", "unconfigured", "hidden", "gone"})


def counts(kexec: KexecResult, *, assume_preserved: bool = False) -> bool:
    """Tell whether losses at this kexec may set the exit status.

    A preserved set that is only assumed does so if the kexec is a live update, the incoming kernel
    followed the inherit rule, or the user said so: a plain kexec of a host that preserves nothing is no
    alarm.
    """
    return (
        kexec.preserved_source != "assumed"
        or assume_preserved
        or kexec.kind == "live-update"
        or kexec.observed_policy == "inherit"
    )


def weight(
    finding: Finding, kexec: KexecResult, *, strict: bool = False, assume_preserved: bool = False
) -> Literal["loss", "doubt"] | None:
    """Tell what a finding does to the exit status: 1 for a loss, 3 for a doubt, nothing for None.

    Args:
        finding: one of this kexec's.
        kexec: its result.
        strict: a healed loss counts as a loss, an undetermined verdict as doubt.
        assume_preserved: as in :func:`counts`.
    """
    if finding.severity == "error":
        return "loss"
    if finding.severity == "note":
        return None
    healed = finding.code == rules.BRIDGE_CODES["healed"]
    if strict and healed and counts(kexec, assume_preserved=assume_preserved):
        return "loss"
    doubtful = finding.code == rules.DIVERGENCE or (strict and finding.code == rules.UNDETERMINED)
    return "doubt" if doubtful else None


def for_kexec(kexec: KexecResult, *, assume_preserved: bool = False) -> list[Finding]:
    """Return the findings of one kexec: bridges, devices, divergences, secondary ones, each by BDF.

    Args:
        kexec: verdicts of one kexec.
        assume_preserved: the user takes every function below an ARI bridge as preserved.
    """
    heavy = counts(kexec, assume_preserved=assume_preserved)
    found = [_bridge(bridge, heavy) for bridge in kexec.bridges if bridge.verdict in rules.BRIDGE_CODES]
    for device in kexec.devices:
        finding = _device(device, heavy)
        if finding is not None:
            found.append(finding)
    for divergence in kexec.divergences:
        severity: Severity = "note" if divergence.explained else "warning"
        said = "predicted but not enumerated" if divergence.predicted else "enumerated but not predicted"
        text = f"{divergence.bdf} was {said}" + (f": {divergence.note}" if divergence.note else "")
        found.append(Finding(rules.DIVERGENCE, severity, divergence.bdf, text))
    for secondary in kexec.secondary:
        code = rules.SECONDARY_CODES.get(secondary.kind, rules.OTHER_SECONDARY)
        text = secondary.note or f"{secondary.kind} on {secondary.bdf}"
        found.append(Finding(code, rules.RULES[code].severity, secondary.bdf, text))
    return found


def _bridge(bridge: BridgeVerdict, heavy: bool) -> Finding:
    code = rules.BRIDGE_CODES[bridge.verdict]
    rule = rules.RULES[code]
    severity = rule.severity
    if not bridge.preserved or (severity == "error" and not heavy):
        severity = "note"
    text = f"{rule.title} on {bridge.bdf}"
    if bridge.verdict == "undetermined":
        text = f"{bridge.bdf}: undetermined" + (
            f", the capture does not hold {bridge.missing_access}" if bridge.missing_access else ""
        )
    elif bridge.cause and bridge.cause != "unknown":
        text += f" ({bridge.cause}{' of ' + bridge.cause_bdf if bridge.cause_bdf else ''})"
    return Finding(code, severity, bridge.bdf, text)


def _device(device: DeviceVerdict, heavy: bool) -> Finding | None:
    reason = f" ({device.reason})" if device.reason else ""
    if device.verdict == "stranded":
        severity: Severity = "error" if heavy else "note"
        return Finding(
            rules.STRANDED, severity, device.bdf, f"preserved device {device.bdf} stranded{reason}"
        )
    if device.verdict == "missing":
        return Finding(rules.MISSING, "note", device.bdf, f"{device.bdf} missing{reason}")
    if device.verdict == "undetermined" and device.preserved:
        return Finding(rules.UNDETERMINED, "warning", device.bdf, f"{device.bdf}: undetermined{reason}")
    return None
