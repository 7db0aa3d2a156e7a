"""What a verdict rests on: what is unknown and why, and how it was reached, step by step with its sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.replay import citations
from analyzer.report.wording import (
    BRIDGES,
    CAUSES,
    PRESERVED_SOURCES,
    listed,
)
from analyzer.results.rules import REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.questions.explain.working import KexecWorking
    from analyzer.results import CaptureResult, KexecResult

_MOST_NAMED, _MOST_LISTED = 8, 40
_RULES_DOCUMENT = "docs/replay.md"


@dataclass(frozen=True)
class UnknownFact:
    """Something that is not known, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class VerdictStep:
    """One step of how the verdict was reached, with its source."""

    text: str
    source: str


def unknown(capture: CaptureResult, kexec: KexecResult, working: KexecWorking | None) -> list[UnknownFact]:
    """Return everything about one kexec that is not known, the most important first."""
    found = [*_undetermined(kexec), *_circumstances(kexec)]
    if capture.truncated:
        found.append(
            UnknownFact(
                "What happened after the end of the capture", "it is cut short, analysed up to the cut"
            )
        )
    if capture.dropped:
        found.append(
            UnknownFact(f"What {count(capture.dropped, 'record')} held", "they are missing or unusable")
        )
    if capture.missing_dwords:
        number = count(capture.missing_dwords, "dword")
        found.append(UnknownFact(f"What {number} of configuration space held", "the dump does not show them"))
    if working is None:
        found.append(
            UnknownFact(
                "The accesses of each bridge, and what it decided", "this page was made from results alone"
            )
        )
    return found


def reasons(capture: CaptureResult, kexec: KexecResult) -> list[VerdictStep]:
    """Return how the verdicts of one kexec were reached, in order."""
    return list(_all_reasons(capture, kexec))


def _undetermined(kexec: KexecResult) -> Iterable[UnknownFact]:
    bridges = [bridge for bridge in kexec.bridges if bridge.verdict == "undetermined"]
    for bridge in bridges[:_MOST_LISTED]:
        missing = bridge.missing_access or "the deciding access"
        yield UnknownFact(f"What became of bridge {bridge.bdf}", f"not in the capture: {missing}")
    devices = [device for device in kexec.devices if device.verdict == "undetermined"]
    for device in devices[:_MOST_LISTED]:
        why = REASONS[device.reason] if device.reason else "the capture does not show it"
        yield UnknownFact(f"Whether {device.bdf} was found", why)
    more = max(len(bridges) - _MOST_LISTED, 0) + max(len(devices) - _MOST_LISTED, 0)
    if more:
        yield UnknownFact(f"{more:,} more bridges and devices", "as above; --format json lists all")
    for bridge in kexec.bridges:
        if bridge.cause == "unknown":
            yield UnknownFact(f"Why {bridge.bdf} {BRIDGES[bridge.verdict]}", CAUSES["unknown"])


def _circumstances(kexec: KexecResult) -> Iterable[UnknownFact]:
    if kexec.observed_policy == "unknown":
        yield UnknownFact(
            "Which rule the incoming kernel followed",
            f"no access shows it; the verdicts take it to be {kexec.policy} (--policy changes that)",
        )
    if kexec.preserved_source == "assumed":
        yield UnknownFact(
            "Which devices were really preserved",
            f"the input does not say; {PRESERVED_SOURCES['assumed']} "
            "(--preserved, --flb or --dmesg names them)",
        )
    ran = kexec.policies.get(kexec.policy)
    if ran is not None and ran.assumed:
        yield UnknownFact(
            f"{count(len(ran.assumed), 'function')} that the incoming kernel did not read",
            f"taken as the outgoing kernel saw them: {listed(ran.assumed, _MOST_NAMED)}",
        )
    if kexec.blackout_ns is None:
        yield UnknownFact("How long the blackout was", "the capture has no times for it, or its clock jumped")
    if kexec.noari is None:
        yield UnknownFact(
            "Whether the incoming kernel ran with pci=noari",
            "its command line is not in the input (--dmesg, --cmdline)",
        )


def _all_reasons(capture: CaptureResult, kexec: KexecResult) -> Iterable[VerdictStep]:
    boots = {boot.index: boot for boot in capture.boots}
    before, after = boots.get(kexec.outgoing_boot), boots.get(kexec.incoming_boot)
    if before is not None and after is not None:
        yield VerdictStep(
            (
                f"The outgoing kernel made accesses {before.first_access} to {before.last_access}, the "
                f"incoming one {after.first_access} to {after.last_access}. The capture shows no firmware "
                "between them, so this is a kexec."
            ),
            f"{_RULES_DOCUMENT}, Boots",
        )
    preserved = sum(device.preserved for device in kexec.devices)
    source = PRESERVED_SOURCES[kexec.preserved_source]
    yield VerdictStep(
        f"Preserved: {count(preserved, 'function') + ', ' + source if preserved else 'nothing'}.",
        f"{_RULES_DOCUMENT}, Preserved set",
    )
    observed = {
        "stock": "The incoming kernel read and then wrote bit 5 on every bridge: the stock rule.",
        "inherit": "On preserved bridges the incoming kernel read bit 5 and wrote nothing: the inherit rule.",
        "serialize": "On preserved bridges the incoming kernel wrote bit 5 as it was before: serialize.",
        "heal": "On preserved bridges the incoming kernel read bit 5 and then set it: the heal rule.",
        "unknown": "The accesses do not show which rule the incoming kernel followed.",
    }[kexec.observed_policy]
    yield VerdictStep(
        f"{observed} Verdicts are given under policy {kexec.policy}: {citations.POLICIES[kexec.policy]}.",
        f"{_RULES_DOCUMENT}, The ARI decision",
    )
    if kexec.series:
        yield VerdictStep(
            f"Bus numbers follow the rule of version {kexec.series} of the Live Update patches.",
            f"{_RULES_DOCUMENT}, Bus numbers",
        )
    yield VerdictStep(
        (
            "For each bridge: the bit as the outgoing kernel last used it, as the first read after the "
            "kexec shows it, and as the incoming kernel used it. Which devices are then found follows from "
            "a replay of the kernel's own walk over bridges and functions."
        ),
        f"{_RULES_DOCUMENT}, Before, after, verdict; The function walk",
    )
