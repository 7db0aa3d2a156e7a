"""The one line that says whether something was lost, for a capture and for a whole call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.report.wording import count, listed
from analyzer.verdicts import findings, rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.report.page import Style
    from analyzer.results import Analysis, BridgeVerdict, CaptureResult, Finding

#: How many addresses a one-line summary names before it only counts.
_NAMED = 4
#: Words of headlines, the worst first.
WORSE_FIRST = (
    "LOST",
    "STRANDED",
    "DIVERGES",
    "HEALED",
    "RENUMBERED",
    "WARNING",
    "UNREADABLE",
    "UNDETERMINED",
    "NO KEXEC",
    "NOTED",
    "clean",
)
_WARNING_WORDS = (
    (rules.DIVERGENCE, "DIVERGES"),
    ("ARI002", "HEALED"),
    ("ARI004", "RENUMBERED"),
    (rules.UNDETERMINED, "UNDETERMINED"),
)
_LOSS_PHRASES = (
    (rules.BRIDGE_CODES["lost"], "ARI Forwarding on {}"),
    (rules.BRIDGE_CODES["unconfigured"], "bus numbers of {}"),
    (rules.BRIDGE_CODES["gone"], "{} does not answer"),
)
#: What is worth a word even where no preserved device is concerned.
_TOLD_CODES = frozenset({"ARI002", "ARI004"}) | {
    code for code, rule in rules.RULES.items() if rule.severity == "error"
}
_STYLES: dict[str, Style] = {
    "LOST": "bad",
    "STRANDED": "bad",
    "UNREADABLE": "warn",
    "clean": "good",
}


@dataclass(frozen=True)
class Headline:
    """A verdict in one word (``LOST``, ``clean``, ...) and the half sentence behind it."""

    word: str
    text: str

    @property
    def style(self) -> Style:
        """Colour of the word: bad for losses, good for clean, else a warning."""
        return _STYLES.get(self.word, "warn")

    def __str__(self) -> str:
        return f"{self.word}: {self.text}"


def of_capture(capture: CaptureResult, *, assume_preserved: bool = False) -> Headline:
    """Return the headline of one capture: the worst that was found, else why there is no finding."""
    found = [
        finding
        for kexec in capture.kexecs
        for finding in findings.for_kexec(kexec, assume_preserved=assume_preserved)
    ]
    errors = {finding.code for finding in found if finding.severity == "error"}
    if errors:
        word = "STRANDED" if errors == {rules.STRANDED} else "LOST"
        return Headline(word, _losses(found) + _where(capture))
    warnings = {finding.code for finding in found if finding.severity == "warning"}
    for code, word in _WARNING_WORDS:
        if code in warnings:
            return Headline(word, _warnings(capture, [f for f in found if f.severity == "warning"], code))
    if warnings:
        texts = [finding.text for finding in found if finding.severity == "warning"]
        return Headline("WARNING", listed(texts, 2))
    return _without_finding(capture, found)


def of_analysis(analysis: Analysis, *, assume_preserved: bool = False) -> Headline:
    """Return the headline of the whole call: the only capture's, or the worst one's word with counts."""
    headlines = [of_capture(capture, assume_preserved=assume_preserved) for capture in analysis.captures]
    if not headlines:
        return Headline("UNREADABLE", "nothing to analyse")
    if len(headlines) == 1:
        only, capture = headlines[0], analysis.captures[0]
        return Headline(only.word, _named(capture, only.text)) if only.word == "UNREADABLE" else only
    words = [headline.word for headline in headlines]
    worst = min(words, key=WORSE_FIRST.index)
    text = f"{words.count(worst)} of {len(words)} captures"
    if analysis.summary.devices_stranded and worst in {"LOST", "STRANDED"}:
        text += f"; {count(analysis.summary.devices_stranded, 'preserved device')} stranded"
    others = [
        f"{words.count(word)} {_PLAIN_WORDS[word]}" for word in WORSE_FIRST if word in words and word != worst
    ]
    return Headline(worst, f"{text}; the others: {', '.join(others)}" if others else text)


def _named(capture: CaptureResult, why: str) -> str:
    """Why the only capture gave no answer, with the file that is at fault first."""
    if capture.errors and capture.errors[0].file != capture.path:
        return f"{why} ({capture.path} was not judged)"
    return f"{capture.path}: {why}"


_PLAIN_WORDS = {
    "LOST": "with losses",
    "STRANDED": "with stranded devices only",
    "DIVERGES": "with an unexplained divergence",
    "HEALED": "healed",
    "RENUMBERED": "renumbered",
    "WARNING": "with warnings",
    "NOTED": "with notes",
    "UNREADABLE": "unreadable",
    "UNDETERMINED": "undetermined",
    "NO KEXEC": "without a kexec",
    "clean": "clean",
}


def _losses(found: Sequence[Finding]) -> str:
    parts: list[str] = []
    for code, phrase in _LOSS_PHRASES:
        named = _addresses(found, code)
        if named:
            parts.append(phrase.format(listed(named, _NAMED)))
    hidden = _addresses(found, rules.BRIDGE_CODES["hidden"])
    if hidden:
        below = count(len(hidden), "bridge") + " below hidden"
        parts.append(below if parts else f"{below}: {listed(hidden, _NAMED)}")
    stranded = sum(finding.code == rules.STRANDED and finding.severity == "error" for finding in found)
    text = ", ".join(parts)
    devices = (
        f"{count(stranded, 'preserved device')} stranded" if stranded else "no preserved device stranded"
    )
    if not parts:
        return f"{devices}, no bridge lost anything"
    return f"{text}; {devices}"


def _addresses(found: Sequence[Finding], code: str) -> list[str]:
    return list(
        dict.fromkeys(f.bdf for f in found if f.code == code and f.severity == "error" and f.bdf is not None)
    )


def _where(capture: CaptureResult) -> str:
    return f" ({count(len(capture.kexecs), 'kexec')} in the capture)" if len(capture.kexecs) > 1 else ""


def _warnings(capture: CaptureResult, found: Sequence[Finding], code: str) -> str:
    named = listed(list(dict.fromkeys(f.bdf for f in found if f.code == code and f.bdf)), _NAMED)
    if code == rules.DIVERGENCE:
        return f"the incoming kernel did not do what the replay predicts for {named}"
    if code == "ARI002":
        return f"ARI Forwarding on {named} was lost and switched on again; nothing is stranded"
    if code == "ARI004":
        return f"{named} lost its bus numbers and got new ones; nothing is stranded"
    texts = [f.text for f in found if f.code == code]
    return f"{listed(texts, 2)}; no loss seen otherwise{_where(capture)}"


def _without_finding(capture: CaptureResult, found: Sequence[Finding]) -> Headline:
    if capture.verdict == "unreadable":
        if not capture.errors:
            return Headline("UNREADABLE", "the capture could not be read")
        problem = capture.errors[0]
        own = problem.file == capture.path  # else the message names the file, and its byte
        place = f"at byte {problem.offset_bytes:#x}: " if own and problem.offset_bytes else ""
        return Headline("UNREADABLE", place + problem.message)
    if capture.verdict == "no-kexec":
        boots = count(len(capture.boots), "boot")
        return Headline(
            "NO KEXEC", f"{boots} and no kexec boundary in {count(capture.accesses, 'access', 'accesses')}"
        )
    if capture.verdict == "undetermined":
        missing = [
            f"{bridge.bdf}: the capture does not hold {bridge.missing_access}"
            for kexec in capture.kexecs
            for bridge in kexec.bridges
            if bridge.missing_access
        ]
        return Headline("UNDETERMINED", listed(missing, 2) or "the capture does not hold what would tell")
    noted = [finding for finding in found if finding.code in _TOLD_CODES]
    if noted or capture.verdict == "findings":
        told = listed([finding.text for finding in noted or found], 2)
        word = "HEALED" if {finding.code for finding in noted} == {"ARI002"} else "NOTED"
        return Headline(word, f"{told}; no preserved device is known to be concerned")
    bridges = [bridge for kexec in capture.kexecs for bridge in kexec.bridges]
    return Headline(
        "clean", f"{count(len(capture.kexecs), 'kexec')}, {_kept(bridges)}; nothing lost, nothing stranded"
    )


def _kept(bridges: Sequence[BridgeVerdict]) -> str:
    kept = sum(bridge.verdict == "kept" for bridge in bridges)
    return f"ARI Forwarding kept on {count(kept, 'bridge')}" if kept else "no bridge used ARI Forwarding"
