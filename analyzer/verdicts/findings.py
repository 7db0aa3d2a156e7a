"""Findings of one kexec: each verdict that matters, as a coded alarm with its severity and weight.

An ``error`` is a loss that the operator must act on, a ``warning`` casts doubt or was repaired, a ``note`` is
only reported. The weight decides the exit status. Both are decided here, once, with every option that has a
say; reports and exit statuses only read them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.results import Finding, rules
from analyzer.results.watched_fields import stated_by_watch
from analyzer.verdicts.loss_weight import WEIGHTS

if TYPE_CHECKING:
    from analyzer.options import Options
    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult, Secondary, Weight
    from analyzer.results.rules import Severity


def add(kexec: KexecResult, options: Options, not_preserved: frozenset[str] = frozenset()) -> None:
    """Work out the findings of one kexec and store them in its result: those that are selected, and the rest.

    Args:
        kexec: its verdicts and ``preservation``.
        options: ``strict`` and ``selected`` count.
        not_preserved: bridges of which the input shows that they were not handed over.
    """
    selected = options.selected
    every = [_weighed(finding, kexec, options) for finding in _for_kexec(kexec, not_preserved, selected)]
    kexec.findings = [item for item in every if selected is None or item.code in selected]
    kexec.ignored = [
        replace(item, weight=None) for item in every if selected is not None and item.code not in selected
    ]


def _weighed(finding: Finding, kexec: KexecResult, options: Options) -> Finding:
    return replace(finding, weight=_weight(finding, kexec, strict=options.strict))


def _weight(finding: Finding, kexec: KexecResult, *, strict: bool) -> Weight | None:
    if finding.severity == "note":
        return None
    if finding.severity == "error":
        return WEIGHTS[kexec.preservation]
    if finding.code in (rules.UNDETERMINED, rules.DIVERGENCE):
        return "doubt"
    healed = finding.code == rules.BRIDGE_CODES["healed"]
    return WEIGHTS[kexec.preservation] if strict and healed else None


def _for_kexec(
    kexec: KexecResult, not_preserved: frozenset[str], selected: frozenset[str] | None
) -> list[Finding]:
    """Every finding: bridges, devices, divergences, secondary ones, each by BDF."""
    # It is not known which functions an assumed set does not hold, unless the kexec or the kernel shows it.
    unknown = kexec.preserved_source == "assumed" and kexec.preservation != "none"

    def affected(preserved: bool, bridge: str | None) -> bool:
        return preserved or (unknown and bridge not in not_preserved)

    # Where the kernel's rule is not known either, a function that is gone may have been preserved.
    gone_counts = kexec.preservation == "no-scan" or (
        kexec.preservation == "unrecognised" and kexec.observed_policy == "unknown"
    )
    unreached = [device for device in kexec.devices if device.reason == "kernel-panicked"]
    if unreached:  # every bridge and device has the same verdict for the same reason
        return [_panic(unreached)]
    found = [
        _bridge(bridge, affected(bridge.preserved, bridge.bdf))
        for bridge in kexec.bridges
        if bridge.verdict in rules.BRIDGE_CODES
    ]
    for device in kexec.devices:
        finding = _device(device, affected(device.preserved, device.bridge), gone_counts)
        if finding is not None:
            found.append(finding)
    if kexec.preservation != "none":
        texts = (f"not in the input: {missing}" for missing in kexec.not_in_input)
        found.extend(Finding(rules.UNDETERMINED, "warning", None, text) for text in texts)
    for divergence in kexec.divergences:
        severity: Severity = "note" if divergence.explained else "warning"
        said = "predicted but not enumerated" if divergence.predicted else "enumerated but not predicted"
        text = f"{divergence.bdf} was {said}" + (f": {divergence.note}" if divergence.note else "")
        found.append(Finding(rules.DIVERGENCE, severity, divergence.bdf, text))
    watched = _watched(kexec)
    # VFIO's freeze resets a function: what that cleared is no finding.
    frozen = {(one.bdf, "acs-lost") for one in kexec.state if one.verdict == "expected" and one.name == "ACS"}
    # One statement of one fact: that of the watch, unless it is ignored.
    stated = [
        one
        for one in stated_by_watch(kexec)
        if selected is None or rules.WATCHED_FIELDS[one.kind][0] in selected
    ]
    found.extend(
        _secondary(one, watched)
        for one in kexec.secondary
        if (one.bdf, one.kind) not in frozen and one not in stated
    )
    reported = {(item.bdf, item.code) for item in found}
    found.extend(
        _state(kexec, *key, severity, stated) for key, severity in watched.items() if key not in reported
    )
    return found


def _watched(kexec: KexecResult) -> dict[tuple[str, str], Severity]:
    """The state watch's findings on preserved functions: function and code -> the worst of their rows."""
    worst: dict[tuple[str, str], Severity] = {}
    for severity in ("note", "warning", "alarm"):
        for one in kexec.state:
            if one.code is not None and one.severity == severity:
                worst[one.bdf, one.code] = _SEVERITIES[severity]
    return worst


def _state(kexec: KexecResult, bdf: str, code: str, severity: Severity, stated: list[Secondary]) -> Finding:
    """One finding for everything of one code that a function lost, with what follows from a field of it."""
    texts = [
        f"{one.register} {one.field} {one.verdict} ({one.before} to {one.after})"
        for one in kexec.state
        if one.bdf == bdf and one.code == code
    ]
    texts += [one.note for one in stated if one.bdf == bdf and rules.WATCHED_FIELDS[one.kind][0] == code]
    return Finding(code, severity, bdf, f"{bdf}: {'; '.join(texts)}")


_SEVERITIES: dict[str, Severity] = {"alarm": "error", "warning": "warning", "note": "note"}


def _panic(unreached: list[DeviceVerdict]) -> Finding:
    stranded = sum(device.verdict == "stranded" for device in unreached)
    text = (
        "the incoming kernel panicked over the handed-over data when it set up the first function:"
        f" {count(stranded, 'preserved device')} stranded"
    )
    return Finding(rules.PANICKED, "error", None, text)


def _secondary(secondary: Secondary, watched: dict[tuple[str, str], Severity]) -> Finding:
    code = rules.SECONDARY_CODES.get(secondary.kind, rules.OTHER_SECONDARY)
    text = secondary.note or f"{secondary.kind} on {secondary.bdf}"
    severity = rules.RULES[code].severity
    if secondary.kind in rules.WATCHED_KINDS:  # where the watch does not decide, a dump, it is no alarm
        severity = watched.get((secondary.bdf, code), "warning")
    if secondary.errors:
        bits = " ".join(f"{error.bit}+" for error in secondary.errors)
        kind = "a fatal PCIe error" if secondary.is_alarm else "PCIe errors"
        text = f"{secondary.bdf} recorded {kind} ({secondary.errors[0].status}: {bits})"
        severity = severity if secondary.is_alarm else "note"
    return Finding(code, severity, secondary.bdf, text)


def _bridge(bridge: BridgeVerdict, affected: bool) -> Finding:
    code = rules.BRIDGE_CODES[bridge.verdict]
    rule = rules.RULES[code]
    undetermined = bridge.verdict == "undetermined"
    severity = rule.severity if bridge.preserved or (undetermined and affected) else "note"
    text = f"{rule.title} on {bridge.bdf}"
    if rule.title.startswith("bridge "):
        text = rule.title.replace("bridge", f"bridge {bridge.bdf}", 1)
    if undetermined:
        missing = f", not in the capture: {bridge.missing_access}" if bridge.missing_access else ""
        text = f"{bridge.bdf} is undetermined{missing}"
    elif bridge.cause == "unknown":
        text += " (cause unknown)"
    elif bridge.cause:
        text += f" ({bridge.cause}{' of ' + bridge.cause_bdf if bridge.cause_bdf else ''})"
    return Finding(code, severity, bridge.bdf, text)


def _device(device: DeviceVerdict, affected: bool, gone_counts: bool) -> Finding | None:
    reason = f" ({device.reason})" if device.reason else ""
    if device.verdict == "stranded":
        text = f"preserved device {device.bdf} stranded{reason}"
        return Finding(rules.STRANDED, "error", device.bdf, text)
    if device.verdict == "missing":
        severity: Severity = "error" if gone_counts and affected else "note"
        return Finding(rules.MISSING, severity, device.bdf, f"{device.bdf} missing{reason}")
    if device.verdict == "undetermined" and affected:
        return Finding(rules.UNDETERMINED, "warning", device.bdf, f"{device.bdf} is undetermined{reason}")
    return None
