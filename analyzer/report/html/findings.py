"""What happened at one kexec as a page shows it: sentences, what follows, a card with proofs per bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.capture import ENUMERATION_ONLY
from analyzer.plurals import count
from analyzer.questions.explain import decode
from analyzer.report import state_section
from analyzer.report.html import grounds
from analyzer.report.wording import (
    BRIDGES,
    CAUSES,
    cause_text,
    common_errors,
    listed,
    port,
)
from analyzer.results import CHANGES, LOSSES, Consequence, rules
from analyzer.results.rules import REASONS
from analyzer.verdicts import consequences
from analyzer.verdicts.loss_weight import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.questions.explain.explanation import DecodedField, KexecExplanation
    from analyzer.questions.explain.working import KexecWorking
    from analyzer.report.html.grounds import UnknownFact, VerdictStep
    from analyzer.report.html.tree import Sign
    from analyzer.results import BridgeVerdict, CaptureResult, Evidence, Finding, KexecResult, Secondary
    from analyzer.results.rules import Rule
    from analyzer.results.state import StateVerdict

#: Bridges with a card, names in a sentence, entries of a list, before the rest is counted.
_MOST_CARDS, _MOST_NAMED, _MOST_LISTED = 40, 8, 40
#: Bridges that are described one by one in the first lines.
_MOST_SENTENCES = 3


@dataclass(frozen=True)
class Proof:
    """One piece of evidence with what its register holds, field by field.

    Attributes:
        evidence: the access or log line.
        reported: the ARI bit and whatever else is not 0.
        fields: every field.
        relative: time to the incoming kernel's first access, empty where no clock holds across the kexec.
    """

    evidence: Evidence
    reported: list[DecodedField]
    fields: list[DecodedField]
    relative: str = ""


@dataclass(frozen=True)
class Card:
    """What became of one bridge, and what proves it."""

    bridge: BridgeVerdict
    sign: Sign
    title: str
    rule: Rule | None
    severity: str
    cause: str
    proofs: list[Proof]
    explained: KexecExplanation | None


@dataclass(frozen=True)
class StateTexts:
    """What a page says of the watched registers.

    Attributes:
        lines: beginning and text of each line; empty where nothing was lost.
        rows: registers that changed, those that were lost first.
        left_out: how many more there are.
        sign: of the lines.
    """

    lines: list[tuple[str, str]]
    rows: list[StateVerdict]
    left_out: int
    sign: Sign

    @property
    def is_open(self) -> bool:
        """Shown without being asked for: something weighs more than a note."""
        return self.sign in ("bad", "warn")


@dataclass(frozen=True)
class KexecTexts:
    """Everything that a page says about one kexec, except for its tree."""

    sentences: list[tuple[Sign, str]]
    act: list[Consequence]
    follows: list[Consequence]
    cards: list[Card]
    cards_left_out: int
    secondary: list[tuple[Secondary, list[Proof]]]
    secondary_left_out: int
    common_errors: str
    state: StateTexts
    unknown: list[UnknownFact]
    reasons: list[VerdictStep]
    codes: list[tuple[Rule, list[Finding]]]
    alarm: bool
    title_after: str


def kexec_texts(capture: CaptureResult, kexec: KexecResult, working: KexecWorking | None) -> KexecTexts:
    """Return what a page says about one kexec.

    Args:
        capture: the capture it belongs to.
        kexec: its verdicts.
        working: how they were reached, None if that is not known.
    """
    ranked = sorted(
        (
            b
            for b in kexec.bridges
            if b.verdict in CHANGES and (b.preserved or b.evidence or b.verdict in LOSSES)
        ),
        key=lambda bridge: CHANGES.index(bridge.verdict),
    )
    follow = kexec.consequences
    start = _start(capture, kexec)
    # A finding that --ignore leaves out keeps its weight here.
    weighed = [*kexec.findings, *kexec.ignored]
    by_code: dict[str, list[Finding]] = {}
    for finding in kexec.findings:
        by_code.setdefault(finding.code, []).append(finding)
    others = state_section.beside(kexec)
    common = [item for item in others if item.is_common]
    secondary = [item for item in others if not item.is_common]
    return KexecTexts(
        sentences=list(_sentences(capture, kexec, ranked)),
        act=[item for item in follow if item.code in consequences.ACTIONS] or _advice(weighed),
        follows=[item for item in follow if item.code not in consequences.ACTIONS],
        cards=[_card(bridge, weighed, working, start) for bridge in ranked[:_MOST_CARDS]],
        cards_left_out=max(len(ranked) - _MOST_CARDS, 0),
        secondary=[(item, proofs(item.evidence, start)) for item in secondary[:_MOST_LISTED]],
        secondary_left_out=max(len(secondary) - _MOST_LISTED, 0),
        common_errors=common_errors(common, "--format json") if common else "",
        state=_state(kexec),
        unknown=grounds.unknown(capture, kexec, working),
        reasons=grounds.reasons(capture, kexec),
        codes=[(rules.RULES[code], found) for code, found in sorted(by_code.items())],
        alarm=WEIGHTS[kexec.preservation] is not None,
        title_after=_title_after(kexec),
    )


def _state(kexec: KexecResult) -> StateTexts:
    weights = {one.severity for one in kexec.state}
    sign: Sign = "bad" if "alarm" in weights else "warn" if "warning" in weights else "none"
    rows = [*kexec.state, *kexec.state_undetermined]
    rows.sort(key=lambda one: ("alarm", "warning", "note").index(one.severity))
    lines = [*state_section.lines(kexec), *state_section.notes(kexec)]
    return StateTexts(lines, rows[:_MOST_LISTED], max(len(rows) - _MOST_LISTED, 0), sign)


def _advice(found: Sequence[Finding]) -> list[Consequence]:
    """The advice of the rules that raised the alarm, where the verdicts themselves ask for no action."""
    codes = sorted({finding.code for finding in found if finding.severity != "note"})
    return [Consequence(code, rules.RULES[code].advice, f"analyze rule {code}") for code in codes]


def proofs(evidence: Sequence[Evidence], start_ns: int | None) -> list[Proof]:
    """Return evidence with its registers decoded; ``start_ns``: the incoming kernel's first access."""
    found = []
    for item in evidence:
        fields = decode.of_evidence(item)
        reported = [part for part in fields if part.value or part.name.startswith("ARI")]
        relative = ""
        if start_ns is not None and item.time_ns is not None:
            relative = f"{(item.time_ns - start_ns) / 1e9:+.6f}"
        found.append(Proof(item, reported, fields, relative))
    return found


def _start(capture: CaptureResult, kexec: KexecResult) -> int | None:
    """Time of the incoming kernel's first access, None where the clock does not hold across the kexec."""
    if kexec.blackout_ns is None:
        return None
    return next((boot.start_ns for boot in capture.boots if boot.index == kexec.incoming_boot), None)


def _card(
    bridge: BridgeVerdict, found: Sequence[Finding], working: KexecWorking | None, start_ns: int | None
) -> Card:
    code = rules.BRIDGE_CODES.get(bridge.verdict)
    severity = next((f.severity for f in found if f.code == code and f.bdf == bridge.bdf), "note")
    return Card(
        bridge,
        "bad" if bridge.verdict in LOSSES else "warn",
        BRIDGES[bridge.verdict],
        None if code is None else rules.RULES[code],
        severity,
        bridge.cause_note or ("" if bridge.cause is None else CAUSES[bridge.cause]),
        proofs(bridge.evidence, start_ns),
        None if working is None else working.explained.get(bridge.bdf),
    )


def _title_after(kexec: KexecResult) -> str:
    if kexec.policy == kexec.observed_policy:
        return "Incoming kernel found"
    if kexec.observed_policy == "unknown":
        return f"Incoming kernel, taken to follow policy {kexec.policy}, found"
    return f"What if: a kernel with policy {kexec.policy} would find"


def _sentences(
    capture: CaptureResult, kexec: KexecResult, ranked: Sequence[BridgeVerdict]
) -> Iterable[tuple[Sign, str]]:
    """What happened, for readers who have never seen the tool."""
    stranded = [device for device in kexec.devices if device.verdict == "stranded"]
    named: set[str] = set()
    hidden = [bridge for bridge in ranked if bridge.verdict == "hidden"]
    visible = [bridge for bridge in ranked if bridge.verdict != "hidden"]
    for bridge in visible[:_MOST_SENTENCES]:
        yield ("bad" if bridge.verdict in LOSSES else "warn", _what(bridge))
        if bridge.cause is not None:
            sure = f" Confidence: {bridge.confidence}." if bridge.confidence else ""
            yield ("none", f"Cause: {cause_text(bridge)}.{sure}")
        if bridge.stranded:
            named.update(bridge.stranded)
            some = f"{count(len(bridge.stranded), 'preserved device')} below it"
            were = "was" if len(bridge.stranded) == 1 else "were"
            names = listed(bridge.stranded, _MOST_NAMED)
            yield ("bad", f"{some} {were} not found by the incoming kernel (stranded): {names}.")
    others = visible[_MOST_SENTENCES:]
    if others:
        words = ", ".join(sorted({bridge.verdict for bridge in others}))
        names = listed([bridge.bdf for bridge in others], _MOST_NAMED)
        worst: Sign = "bad" if others[0].verdict in LOSSES else "warn"
        yield (
            worst,
            f"Something similar happened to {count(len(others), 'more bridge')} ({words}): {names}.",
        )
    if hidden:
        kept = sum(bridge.preserved for bridge in hidden)
        verb = "is hidden" if len(hidden) == 1 else "are hidden"
        if kept != len(hidden):
            verb += f" ({kept} of them preserved)"
        names = listed([bridge.bdf for bridge in hidden], _MOST_NAMED)
        yield ("bad", f"{count(len(hidden), 'bridge')} below {verb}: {names}.")
    rest = [device for device in stranded if device.bdf not in named]
    if rest:
        why = sorted({REASONS[device.reason] for device in rest if device.reason})
        more = f"{len(rest):,} more preserved devices" if named else count(len(rest), "preserved device")
        text = f"{more} not found by the incoming kernel (stranded)"
        names = listed([device.bdf for device in rest], _MOST_NAMED)
        yield ("bad", f"{text}: {names}{': ' + '; '.join(why) if why else ''}.")
    standing = [item.bdf for item in kexec.divergences if not item.explained]
    if standing:
        names = listed(standing, _MOST_NAMED)
        yield (
            "warn",
            (f"The incoming kernel did not do what its rules predict for {names}: see the self-check."),
        )
    lost = _state(kexec)
    for title, text in lost.lines:
        if lost.is_open:
            yield (lost.sign if title == state_section.LINES[0][1] else "none", f"{title}: {text}.")
    if not ranked and not stranded:
        yield from _nothing_lost(capture, kexec, doubted=bool(standing))


def _nothing_lost(capture: CaptureResult, kexec: KexecResult, *, doubted: bool) -> Iterable[tuple[Sign, str]]:
    """The sentences where no loss was seen; good only where the capture contains the complete scan."""
    kept = sum(bridge.verdict == "kept" for bridge in kexec.bridges)
    unknown = sum(bridge.verdict == "undetermined" and bridge.preserved for bridge in kexec.bridges)
    unseen = sum(device.verdict == "undetermined" and device.preserved for device in kexec.devices)
    if unknown:
        yield (
            "unknown",
            f"For {count(unknown, 'bridge')} the capture does not show whether ARI Forwarding was lost.",
        )
    if unseen:
        verb = "it was" if unseen == 1 else "they were"
        some = count(unseen, "preserved function")
        yield ("unknown", f"For {some} the capture does not show whether {verb} found.")
    if unknown or unseen:
        return
    text = f"o bridge lost ARI Forwarding or bus numbers; ARI Forwarding was kept on {count(kept, 'bridge')}."
    if capture.verdict == "undetermined" and not doubted:
        cut = "It does not contain the complete scan of the incoming kernel."
        if any(problem.kind == ENUMERATION_ONLY for problem in capture.errors):
            cut = "A kernel log does not show ARI Forwarding."
        yield ("unknown", f"As far as the capture goes, n{text} {cut}")
    else:
        yield ("none" if doubted else "good", f"N{text}")


def _what(bridge: BridgeVerdict) -> str:
    kind = port(bridge.port_type)
    bus = "" if bridge.secondary is None else f", bus {bridge.secondary:02x} below it"
    name = f"Bridge {bridge.bdf} ({kind}{bus})"
    texts = {
        "lost": "lost ARI Forwarding: the outgoing kernel used it, and the incoming kernel found it off.",
        "healed": (
            "lost ARI Forwarding before the incoming kernel ran, and that kernel switched it on again before "
            "it looked for devices."
        ),
        "unconfigured": (
            "lost its bus numbers and the incoming kernel left it without any: nothing below it was scanned."
        ),
        "renumbered": "got bus numbers assigned anew; devices below it may have new addresses.",
        "gone": "no longer answers.",
        "cleared": "had ARI Forwarding on, and the incoming kernel itself switched it off.",
        "ignored": "has ARI Forwarding on, but the incoming kernel does not use it.",
        "gained": "had ARI Forwarding off before and has it on now.",
    }
    return f"{name} {texts[bridge.verdict]}"
