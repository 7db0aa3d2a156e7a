"""``analyze explain`` as text: the bit over time, each policy's decision, the walk over the functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.registers import missing_bytes
from analyzer.report import state_section
from analyzer.report.evidence import access_text, add_evidence
from analyzer.report.page import Span
from analyzer.report.wording import clock, listed, on_off

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.questions.explain.explanation import (
        ChainStep,
        Explanation,
        FunctionKind,
        KexecExplanation,
        PolicyDecision,
        TimelineEntry,
        VirtualFunctionFacts,
    )
    from analyzer.report.page import Page, Style

#: Entries of a timeline that are shown before its middle is left out.
_MOST_ENTRIES = 60
_KINDS: dict[str, Style] = {"changes": "warn", "decides": "strong", "boundary": "strong", "context": "dim"}

_WORDS: dict[FunctionKind, str] = {
    "root-port": "root port",
    "switch-upstream": "switch upstream port",
    "switch-downstream": "switch downstream port",
    "pcie-to-pci": "PCIe-to-PCI bridge",
    "pci-to-pcie": "PCI-to-PCIe bridge",
    "pci": "PCI bridge",
    "bridge": "bridge",
    "cardbus": "CardBus bridge",
    "endpoint": "endpoint",
    "rc-endpoint": "root complex integrated endpoint",
    "rc-event-collector": "root complex event collector",
    "virtual-function": "virtual function",
    "undiscovered": "answers, but the access that discovered it is not in the input",
    "silent": "every byte reads ff: powered down, or off the bus",
    "unknown": "of an unknown header type",
}


def fill(
    page: Page,
    explanation: Explanation,
    *,
    verbosity: int = 0,
    packets: Mapping[int, str] | None = None,
) -> Page:
    """Write everything that is known about one function to ``page``.

    Args:
        page: an empty page.
        explanation: what the capture shows.
        verbosity: 0 leaves out context entries and the middle of long timelines, 1 shows all.
        packets: for a TLP capture, the decoded packets that are the evidence, by their byte in the file.
    """
    ids = f" [{explanation.vendor_device}]" if explanation.vendor_device else ""
    page.line(Span(explanation.bdf, "strong"), f"{ids} {_what(explanation)}")
    _add_place(page, explanation)
    if explanation.virtual_function is not None:
        _add_virtual_function(page, explanation, explanation.virtual_function)
    for used in explanation.uses:
        page.prose(f"used as, in boot {used.boot}: {used.use.text} ({used.use.source})", indent=2)
    for kexec in explanation.kexecs:
        page.blank()
        page.line(Span(f"kexec {kexec.index}", "strong"), f": {kexec.conclusion}")
    for text in explanation.no_response:
        page.prose(text, indent=2)
    _add_timeline(page, explanation, verbosity)
    state_section.add_histories(page, explanation, verbosity)
    for kexec in explanation.kexecs:
        _add_kexec(page, kexec, explanation.bdf)
    if explanation.unknown:
        page.blank()
        page.line(Span("Unknown", "strong"))
        for text in explanation.unknown:
            page.prose(text, indent=2, bullet=page.glyph("unknown"))
    if packets:
        page.blank()
        page.line(Span("Packets", "strong"))
        rows = [(Span(f"@{place:#x}", "dim"), text) for place, text in sorted(packets.items())]
        page.table(rows, indent=2, right=frozenset({0}))
    return page


def _what(explanation: Explanation) -> str:
    """What the function is, in words."""
    virtual = explanation.virtual_function
    if virtual is not None:
        return "looks like a virtual function" if virtual.physical is None else "virtual function"
    words = _WORDS[explanation.kind]
    if not explanation.kind_missing:
        return words
    missing = missing_bytes.in_words(explanation.kind_missing)
    if explanation.kind == "unknown":
        return f"unknown: the input lacks the header type ({missing})"
    return f"{words}, port type unknown: the input lacks {missing}"


def _add_place(page: Page, explanation: Explanation) -> None:
    """Add what is above the function, and where the input does not show it."""
    path, missing = explanation.path_from_root, explanation.missing_bridge_bus
    if path:
        arrow = f" {page.glyph('arrow')} "
        page.line(f"  below {arrow.join(path)}")
    if missing is not None:
        unknown = "" if path else ": whether ARI Forwarding applies is unknown"
        page.line(f"  {bdf.bridge_above(missing)} is not in the input{unknown}")
    elif not path and explanation.bridge is None:
        page.line("  on a root bus: no bridge is above it, so it does not depend on ARI Forwarding")


def _add_virtual_function(page: Page, explanation: Explanation, virtual: VirtualFunctionFacts) -> None:
    if virtual.physical is None:
        page.prose(
            "it reads ffff at its vendor ID and other values elsewhere; its physical function's SR-IOV "
            "capability is not in the input (none in the input leads to it)",
            indent=2,
        )
    else:
        page.prose(
            f"number {virtual.number} of physical function {virtual.physical} in boot {virtual.boot} "
            f"(First VF Offset {virtual.offset}, VF Stride {virtual.stride}, NumVFs {virtual.count})",
            indent=2,
        )
    needs = {
        True: "it needs ARI Forwarding",
        False: "it does not need ARI Forwarding",
        None: "whether it needs ARI Forwarding is unknown",
    }[virtual.needs_ari]
    if explanation.bridge is not None:
        above = f"that of {explanation.bridge}"
        needs += {
            True: f"; {above} was on when boot {virtual.boot} ended",
            False: f"; {above} was off when boot {virtual.boot} ended",
            None: f"; whether {above} is on is not in the input",
        }[virtual.ari]
    page.prose(needs, indent=2)
    page.prose(f"{virtual.rule}.", indent=2)


def _add_timeline(page: Page, explanation: Explanation, verbosity: int) -> None:
    entries = explanation.timeline
    if not verbosity:
        entries = [entry for entry in entries if entry.kind != "context"]
    page.blank()
    page.line(Span("Timeline", "strong"))
    if not entries:
        page.line("  no access in the capture shows it")
        return
    left_out = 0 if verbosity else max(len(entries) - _MOST_ENTRIES, 0)
    head = entries[: _MOST_ENTRIES // 2] if left_out else entries
    tail = entries[-_MOST_ENTRIES // 2 :] if left_out else []
    everything = verbosity > 0
    add_entries(page, head, everything=everything)
    if left_out:
        page.line(f"  {page.glyph('more')} {left_out:,} entries left out (-v shows all)")
        add_entries(page, tail, everything=everything)


def add_entries(
    page: Page, entries: Sequence[TimelineEntry], *, everything: bool = False, indent: int = 2
) -> None:
    """Add a line for each entry of a timeline; ``everything`` decodes fields that are 0 as well."""
    page.table([_row(entry, everything) for entry in entries], indent=indent, right=frozenset({0, 1, 2}))


def _row(entry: TimelineEntry, everything: bool) -> tuple[str | Span, ...]:
    style = _KINDS.get(entry.kind, "")
    said = access_text(entry.op, entry.bdf, entry.register, entry.value)
    fields = [field for field in entry.fields if everything or field.value or field.name.startswith("ARI")]
    decoded = ", ".join(field.text or f"{field.name}={field.value:#x}" for field in fields)
    note = "; ".join(part for part in (decoded, entry.note) if part)
    return (
        Span("" if entry.access is None else f"#{entry.access}", "dim"),
        Span("" if entry.offset_bytes is None else f"@{entry.offset_bytes:#x}", "dim"),
        Span("" if entry.time_ns is None else clock(entry.time_ns), "dim"),
        "" if entry.boot is None else f"boot {entry.boot}",
        "" if entry.ari is None else on_off(entry.ari),
        Span(said, style),
        Span(note, style if entry.op is None else ""),
    )


def _add_kexec(page: Page, kexec: KexecExplanation, asked: str) -> None:
    page.blank()
    series = f", series {kexec.series}" if kexec.series else ""
    observed = "not recognised" if kexec.observed_policy == "unknown" else kexec.observed_policy
    page.line(
        Span(f"kexec {kexec.index}", "strong"),
        (
            f" at access {kexec.at_access} ({kexec.kind}; observed policy: {observed}; verdict "
            f"under {kexec.policy}{series})"
        ),
    )
    if kexec.cause:
        sure = f" (confidence {kexec.confidence})" if kexec.confidence else ""
        whose = "cause" if kexec.bridge is not None else "cause, at the bridge above"
        page.prose(f"{whose}: {kexec.cause}{sure}", indent=2)
        if kexec.cause_source:
            page.prose(f"[{kexec.cause_source}]", indent=4, style="dim")
    add_evidence(page, kexec.evidence, indent=4)
    if kexec.decisions:
        page.line("  Decisions")
        add_decisions(page, kexec, indent=2)
    add_walks(page, kexec, asked)
    state_section.add_verdicts(page, kexec)


def add_decisions(page: Page, kexec: KexecExplanation, *, indent: int, sources: bool = True) -> None:
    """Add what each policy decides; ``*`` marks the one that was followed, ``sources`` cites the rules."""
    for decision in kexec.decisions:
        _add_decision(page, decision, indent, sources)


def add_walks(page: Page, kexec: KexecExplanation, asked: str, *, indent: int = 2) -> None:
    """Add the walks over the functions of a bus, step by step; the function ``asked`` for is highlighted."""
    for policy, steps in kexec.walks.items():
        page.line(f"{' ' * indent}Function walk under ", Span(policy, "strong"))
        page.table([_step(page, step, asked) for step in steps], indent=indent + 2, right=frozenset())


def _add_decision(page: Page, decision: PolicyDecision, indent: int, sources: bool) -> None:
    parts = []
    if decision.ari is not None:
        parts.append(on_off(decision.ari))
    if decision.discovered is not None:
        parts.append("discovered" if decision.discovered else "not discovered")
    if decision.writes:
        parts.append(f"writes {decision.writes}")
    said = listed(parts, len(parts)) or "undetermined"
    mark = "*" if decision.runs else " "
    harmed = decision.discovered is False
    page.line(
        f"{' ' * indent}{mark} ",
        Span(f"{decision.policy:9}", "strong"),
        " ",
        Span(said, "bad" if harmed else ""),
    )
    page.prose(decision.rule, indent=indent + 12)
    if decision.source and sources:
        page.prose(f"[{decision.source}]", indent=indent + 12, style="dim")


def _step(page: Page, step: ChainStep, asked: str) -> tuple[str | Span, ...]:
    facts = []
    if step.multifunction is not None:
        facts.append("multi-function" if step.multifunction else "single-function")
    if step.ari_capability is not None:
        facts.append("ARI capability" if step.ari_capability else "no ARI capability")
    if step.next_function is not None:
        facts.append(f"next function {step.next_function}")
    glyph = {"found": " ", "absent": "-", "skipped": page.glyph("bad"), "stop": page.glyph("warn")}
    style: Style = "strong" if step.bdf == asked else ""
    place = "" if step.access is None else f"#{step.access}"
    return (
        glyph[step.outcome],
        Span(step.bdf, style),
        Span(step.outcome, style),
        ", ".join(facts),
        Span(place, "dim"),
        step.note,
    )
