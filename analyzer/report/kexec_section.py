"""One kexec in full: what was lost, where, why, what other kernels would have done, what to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.report.bridge_tree import add_tree
from analyzer.report.evidence import add_evidence
from analyzer.report.page import Span
from analyzer.report.policy_table import add_policies
from analyzer.report.state_section import add_state, beside
from analyzer.report.wording import (
    BRIDGES,
    PRESERVATIONS,
    PRESERVED_SOURCES,
    agreement,
    cause_text,
    common_errors,
    duration,
    listed,
)
from analyzer.results import CHANGES, LOSSES
from analyzer.results.rules import REASONS
from analyzer.verdicts import consequences

if TYPE_CHECKING:
    from analyzer.report.page import Page, Style
    from analyzer.results import Boot, BridgeVerdict, CaptureResult, KexecResult

_MOST = 12


def add_kexec(
    page: Page,
    capture: CaptureResult,
    kexec: KexecResult,
    *,
    verbosity: int = 0,
) -> None:
    """Add everything that is known about one kexec to the page.

    Args:
        page: the page to add to.
        capture: the capture it belongs to (boots and files).
        kexec: its verdicts.
        verbosity: 0 what matters, 1 every bridge and function and all sources, 2 and more shorten no list.
    """
    page.blank()
    page.line(Span(f"kexec {kexec.index}", "strong"), f": {_title(capture, kexec)}")
    if kexec.is_what_if:
        page.prose(
            f"What if the incoming kernel had followed policy {kexec.policy}: this is not what happened.",
            indent=2,
            style="warn",
        )
    page.prose(_rules(kexec), indent=2, style="dim")
    if kexec.preservation in PRESERVATIONS:
        page.prose(PRESERVATIONS[kexec.preservation], indent=2, style="dim")
    page.blank()
    if not add_tree(page, kexec, everything=verbosity > 0):
        kept = sum(bridge.verdict == "kept" for bridge in kexec.bridges)
        unknown = any(bridge.verdict == "undetermined" for bridge in kexec.bridges)
        known = "is known to have lost" if unknown else "lost"
        page.prose(
            f"No bridge {known} ARI Forwarding or bus numbers; ARI Forwarding was kept on"
            f" {count(kept, 'bridge')}.",
            indent=2,
        )
    several_files = len(capture.files) > 1
    for bridge in kexec.bridges:
        explained = bridge.verdict in CHANGES and bridge.verdict != "hidden"  # the bridge above says why
        if explained and (bridge.preserved or bridge.evidence or verbosity):
            _add_why(page, bridge, several_files)
    _add_undetermined(page, kexec)
    _add_consequences(page, kexec, verbosity)
    if kexec.policies:
        page.blank()
        page.line(
            "  ",
            Span("What each kernel policy would have found", "strong"),
            " (*: the verdicts are given under it)",
        )
        add_policies(page, kexec, names=10**9 if verbosity > 1 else 8)
    _add_proof(page, kexec, verbosity)
    _add_secondary(page, kexec, several_files, verbosity)
    add_state(page, kexec, verbosity)
    for warning in kexec.warnings:
        page.prose(f"Warning: {warning}", indent=2, style="warn")


def _title(capture: CaptureResult, kexec: KexecResult) -> str:
    kind = {"unknown": "kind unknown", "plain": "plain"}.get(kexec.kind, kexec.kind)
    boots = {boot.index: boot for boot in capture.boots}
    before, after = boots.get(kexec.outgoing_boot), boots.get(kexec.incoming_boot)
    title = (
        f"{kind}, boot {kexec.outgoing_boot}{_release(before)} to boot "
        f"{kexec.incoming_boot}{_release(after)}, at access {kexec.at_access}"
    )
    return f"{title}, blackout {duration(kexec.blackout_ns)}" if kexec.blackout_ns is not None else title


def _release(boot: Boot | None) -> str:
    return f" (Linux {boot.release})" if boot is not None and boot.release else ""


def _rules(kexec: KexecResult) -> str:
    observed = {
        "stock": "the incoming kernel followed the stock rule",
        "inherit": "the incoming kernel inherited ARI Forwarding on preserved bridges",
        "serialize": "the incoming kernel restored ARI Forwarding on preserved bridges as it was before",
        "heal": "the incoming kernel switched ARI Forwarding on where a preserved function needs it",
        "unknown": "the rule that the incoming kernel followed could not be recognised",
    }[kexec.observed_policy]
    text = f"{observed}; verdicts under policy {kexec.policy}"
    preserved = sum(device.preserved for device in kexec.devices)
    # A Live Update that hands no PCI device over follows no rule of the patches.
    if kexec.series and (preserved or kexec.observed_policy != "stock"):
        text += f", bus numbers by patch series {kexec.series}"
    if kexec.noari:
        text += ", pci=noari"
    source = PRESERVED_SOURCES[kexec.preserved_source]
    if not preserved and kexec.kind == "live-update":
        return f"{text}. Preserved: no PCI device, {source}."
    if not preserved:
        return f"{text}. Preserved: nothing."
    return f"{text}. Preserved: {count(preserved, 'function')}, {source}."


def _add_why(page: Page, bridge: BridgeVerdict, several_files: bool) -> None:
    page.blank()
    harm: Style = "bad" if bridge.verdict in LOSSES else "warn"
    page.line("  ", Span(bridge.bdf, "strong"), " ", Span(BRIDGES[bridge.verdict], harm))
    if bridge.cause is not None:
        sure = f"; confidence {bridge.confidence}" if bridge.confidence else ""
        page.prose(f"cause: {cause_text(bridge)}{sure}", indent=4)
    window = bridge.window
    if window is not None:
        last = f"on at access {window.last_on}" if window.last_on is not None else "on at an unknown time"
        off = window.first_off
        first = "never seen off" if off is None else f"first seen off at access {off}"
        phase = f" ({window.phase})" if window.phase else ""
        page.line(f"    ARI Forwarding: last seen {last}, {first}{phase}")
    if bridge.path_errors_note is not None:
        style: Style = "warn" if bridge.path_errors == "fatal" else ""
        page.prose(f"errors: {bridge.path_errors_note}", indent=4, style=style)
    if bridge.registers_note is not None:
        page.prose(f"registers: {bridge.registers_note}", indent=4)
    add_evidence(page, bridge.evidence, indent=6, name_files=several_files)
    if bridge.stranded:
        names = listed(bridge.stranded, _MOST)
        page.prose(f"stranded below it: {names}", indent=4, style="bad")


def _add_undetermined(page: Page, kexec: KexecResult) -> None:
    bridges = [b for b in kexec.bridges if b.verdict == "undetermined"]
    devices = [d for d in kexec.devices if d.verdict == "undetermined"]
    if not bridges and not devices and not kexec.not_in_input:
        return
    page.blank()
    page.line("  ", Span("Undetermined", "strong"))
    for missing in kexec.not_in_input[:_MOST]:
        page.prose(f"not in the input: {missing}", indent=4, bullet=page.glyph("unknown"))
    for bridge in bridges[:_MOST]:
        missing = bridge.missing_access or "the deciding access"
        page.prose(f"{bridge.bdf}: not in the capture: {missing}", indent=4, bullet=page.glyph("unknown"))
    for device in devices[:_MOST]:
        why = REASONS[device.reason] if device.reason else "the capture does not show it"
        kept = "" if device.preserved else " (not in the preserved set)"
        page.prose(f"{device.bdf}{kept}: {why}", indent=4, bullet=page.glyph("unknown"))
    rest = max(len(bridges) - _MOST, 0) + max(len(devices) - _MOST, 0)
    if rest:
        page.line(f"    {page.glyph('more')} and {rest:,} more (--format json lists all)")


def _add_proof(page: Page, kexec: KexecResult, verbosity: int) -> None:
    """Say whether the prediction holds: the analyzer checks itself by it."""
    page.blank()
    unseen = [one for one in kexec.devices if one.reason == "not-captured"]
    if not kexec.divergences:
        if kexec.observed.discovered and not unseen:
            page.prose(f"Self-check: {agreement(kexec).text}.", indent=2)
        return
    fitting = _fitting(kexec)
    standing = [d for d in kexec.divergences if not d.explained]
    style: Style = "warn" if standing else ""
    page.prose(
        (
            f"Self-check: prediction and observation differ for {count(len(kexec.divergences), 'function')},"
            f" {len(standing)} of them unexplained."
        ),
        indent=2,
        style=style,
    )
    if fitting:
        page.prose(f"It enumerated what policy {fitting} predicts.", indent=2)
    most = len(kexec.divergences) if verbosity > 1 else _MOST
    for divergence in kexec.divergences[:most]:
        said = "predicted, not enumerated" if divergence.predicted else "enumerated, not predicted"
        note = f": {divergence.note}" if divergence.note else ""
        page.prose(
            f"{divergence.bdf} {said}{'' if divergence.explained else ', unexplained'}{note}",
            indent=4,
            bullet=page.glyph("bullet"),
        )
    if len(kexec.divergences) > most:
        page.line(f"    {page.glyph('more')} and {len(kexec.divergences) - most:,} more (-vv lists all)")


def _fitting(kexec: KexecResult) -> str:
    """Policies whose prediction is what the incoming kernel enumerated."""
    return " or ".join(
        name for name, outcome in kexec.policies.items() if outcome.discovered == kexec.observed.discovered
    )


def _add_secondary(page: Page, kexec: KexecResult, several_files: bool, verbosity: int) -> None:
    others = beside(kexec)
    if not others:
        return
    page.blank()
    page.line("  ", Span("Also seen", "strong"))
    common = [] if verbosity else [item for item in others if item.is_common]
    listed_here = [item for item in others if item not in common]
    for secondary in listed_here[:_MOST]:
        page.prose(
            f"{secondary.bdf} {secondary.kind}: {secondary.note}", indent=4, bullet=page.glyph("bullet")
        )
        add_evidence(page, secondary.evidence, indent=8, name_files=several_files)
    if len(listed_here) > _MOST:
        page.line(f"    {page.glyph('more')} and {len(listed_here) - _MOST:,} more (--format json lists all)")
    if common:
        page.prose(common_errors(common, "-v"), indent=4, bullet=page.glyph("bullet"))


def _add_consequences(page: Page, kexec: KexecResult, verbosity: int) -> None:
    follow = kexec.consequences
    titles = ("What would have to be done", "What would follow")
    if not kexec.is_what_if:
        titles = ("What to do now", "What follows")
    for title, wanted in zip(titles, (True, False), strict=True):
        chosen = [item for item in follow if (item.code in consequences.ACTIONS) == wanted]
        if not chosen:
            continue
        page.blank()
        page.line("  ", Span(title, "strong"))
        for consequence in chosen:
            page.prose(consequence.text, indent=4, bullet=page.glyph("bullet"))
            if verbosity:
                page.prose(f"[{consequence.source}]", indent=6, style="dim")
