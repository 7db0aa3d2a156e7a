"""The one line that says whether something was lost, for a capture and for a whole run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.capture import ENUMERATION_ONLY, LACKS_FUNCTIONS, OUT_OF_ORDER
from analyzer.plurals import count
from analyzer.report.wording import listed, lost_records, missing_dwords
from analyzer.results import rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.report.page import Style
    from analyzer.results import Analysis, BridgeVerdict, CaptureResult, Finding

#: How many addresses a one-line summary names before it only counts.
_NAMED = 4
#: Words of headlines, the worst first: exit status 1, then 3, then 0. What each means: :data:`MEANINGS`.
WORSE_FIRST = (
    "LOST",
    "STRANDED",
    "RENUMBERED",
    "DIVERGES",
    "UNREADABLE",
    "UNDETERMINED",
    "HEALED",
    "WARNING",
    "NOTED",
    "NO KEXEC",
    "clean",
)
MEANINGS = {
    "LOST": (
        "a bridge lost ARI Forwarding or its bus numbers, is hidden, or does not answer; or a preserved "
        "function lost ACS, its addresses or Bus Master"
    ),
    "STRANDED": (
        "no preserved bridge is known to have lost ARI Forwarding or bus numbers, yet a preserved device was "
        "not found"
    ),
    "RENUMBERED": "a preserved bridge got new bus numbers",
    "DIVERGES": "the incoming kernel did not do what the replay predicts, for no known reason",
    "UNREADABLE": "the input could not be read",
    "UNDETERMINED": (
        "no loss is seen, but the input lacks what would exclude one; the report names what is missing"
    ),
    "HEALED": "a bridge lost ARI Forwarding and the incoming kernel switched it on again",
    "WARNING": "only other state was lost, such as Max Payload Size, or a fatal PCIe error was recorded",
    "NOTED": "something was lost that was not preserved",
    "NO KEXEC": "the capture holds no kexec",
    "clean": (
        "every kexec was analysed, no bridge lost ARI Forwarding or bus numbers, no preserved device was "
        "stranded, prediction and observation agree"
    ),
}
#: Words that exit status 0 goes with; a doubt about the whole capture outweighs them.
_ALL_CLEAR = frozenset({"HEALED", "WARNING", "NOTED", "clean"})
UP_TO_THE_CUT = "up to the cut"
#: Problems that leave a capture undetermined and whose message is the whole reason.
_MISSING_KINDS = frozenset({LACKS_FUNCTIONS, "no-such-kexec", ENUMERATION_ONLY})
_WARNING_WORDS = (
    (rules.DIVERGENCE, "DIVERGES"),
    (rules.UNDETERMINED, "UNDETERMINED"),
    ("ARI002", "HEALED"),
)
_LOSS_PHRASES = (
    (rules.BRIDGE_CODES["lost"], "ARI Forwarding on {}"),
    (rules.BRIDGE_CODES["unconfigured"], "bus numbers of {}"),
    (rules.BRIDGE_CODES["renumbered"], "{} renumbered"),
    (rules.BRIDGE_CODES["gone"], "{} does not answer"),
    ("STATE003", "ACS isolation on {}"),
    ("STATE009", "addresses of {}"),
    ("STATE011", "Bus Master of {}"),
)
#: Codes that a headline mentions even where no preserved device is affected.
_NOTED_CODES = frozenset({"ARI002", rules.MISSING}) | {
    code for code, rule in rules.RULES.items() if rule.severity == "error" and code.startswith("ARI")
}
_STYLES: dict[str, Style] = {
    "LOST": "bad",
    "STRANDED": "bad",
    "RENUMBERED": "bad",
    "UNREADABLE": "warn",
    "clean": "good",
}


@dataclass(frozen=True)
class Headline:
    """A verdict in one word (``LOST``, ``clean``, ...), what limits it, and the half sentence after it."""

    word: str
    text: str
    limits: tuple[str, ...] = ()

    @property
    def style(self) -> Style:
        """Colour of the word: bad for losses, good for clean, else a warning."""
        return "warn" if self.word == "clean" and self.limits else _STYLES.get(self.word, "warn")

    @property
    def title(self) -> str:
        """The word with what limits it: ``LOST (capture cut short)``, ``clean up to the cut``."""
        if not self.limits:
            return self.word
        if self.limits == (UP_TO_THE_CUT,):
            return f"{self.word} {UP_TO_THE_CUT}"
        return f"{self.word} ({', '.join(self.limits)})"

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


def of_capture(capture: CaptureResult) -> Headline:
    """Return the headline of one capture: the worst that was found, else why there is no finding."""
    found = [finding for kexec in capture.kexecs for finding in (*kexec.findings, *kexec.ignored)]
    headline = _of_findings(capture, found)
    left_out = sorted(
        {item.code for kexec in capture.kexecs for item in kexec.ignored if item.severity != "note"}
    )
    word, text = headline.word, headline.text
    if capture.weight == "doubt" and word == "NO KEXEC" and not capture.truncated:
        text = f"{text}; {_incomplete(capture)}"
    elif capture.weight == "doubt" and word in _ALL_CLEAR:
        word, text = "UNDETERMINED", f"{_incomplete(capture)}; {text}"
    text += f" (not counted: {', '.join(left_out)})" if left_out else ""
    return Headline(word, text, tuple(_limits(capture, word)))


def _limits(capture: CaptureResult, word: str) -> Iterator[str]:
    errors = [
        kexec
        for kexec in capture.kexecs
        if any(item.severity == "error" for item in (*kexec.findings, *kexec.ignored))
    ]
    if errors and all(kexec.preserved_source == "assumed" for kexec in errors):
        yield "preserved set unknown"
    if any(kexec.is_what_if for kexec in capture.kexecs):
        yield f"what if: policy {capture.kexecs[0].policy}"
    if capture.truncated:
        yield UP_TO_THE_CUT if word == "clean" else "capture cut short"


def _of_findings(capture: CaptureResult, found: Sequence[Finding]) -> Headline:
    errors = {finding.code for finding in found if finding.severity == "error"}
    if errors:
        return Headline(_loss_word(capture, errors), _losses(found) + _where(capture))
    warnings = {finding.code for finding in found if finding.severity == "warning"}
    for code, word in _WARNING_WORDS:
        if code in warnings:
            return Headline(word, _warnings(capture, [f for f in found if f.severity == "warning"], code))
    if warnings and not any(finding.code in _NOTED_CODES for finding in found):
        texts = [finding.text for finding in found if finding.severity == "warning"]
        return Headline("WARNING", listed(texts, 2))
    return _without_finding(capture, found)


def _loss_word(capture: CaptureResult, errors: set[str]) -> str:
    if errors <= {rules.STRANDED, rules.PANICKED}:
        return "STRANDED"
    known = any(kexec.preserved_source != "assumed" for kexec in capture.kexecs)
    return "RENUMBERED" if known and errors == {rules.BRIDGE_CODES["renumbered"]} else "LOST"


def of_analysis(analysis: Analysis) -> Headline:
    """Return the headline of the whole run: the only capture's, or the worst one's word with counts."""
    headlines = [of_capture(capture) for capture in analysis.captures]
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
    """Why the only capture gave no answer; the file that caused it comes first."""
    if capture.errors and capture.errors[0].file != capture.path:
        return f"{why} ({capture.path} was not analysed)"
    return f"{capture.path}: {why}"


_PLAIN_WORDS = {
    "LOST": "with losses",
    "STRANDED": "with stranded devices only",
    "RENUMBERED": "renumbered",
    "DIVERGES": "with an unexplained divergence",
    "UNREADABLE": "unreadable",
    "UNDETERMINED": "undetermined",
    "HEALED": "healed",
    "WARNING": "with warnings",
    "NOTED": "with notes",
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
    gone = _addresses(found, rules.MISSING)
    if gone:
        verb = "is" if len(gone) == 1 else "are"
        parts.append(f"{count(len(gone), 'function')} {verb} gone ({listed(gone, _NAMED)})")
    panics = [finding.text for finding in found if finding.code == rules.PANICKED]
    stranded = sum(finding.code == rules.STRANDED and finding.severity == "error" for finding in found)
    unknown = list(dict.fromkeys(f.bdf for f in found if f.code == rules.UNDETERMINED and f.bdf))
    if stranded:
        devices = f"{count(stranded, 'preserved device')} stranded"
    else:
        in_doubt = any(finding.code == rules.UNDETERMINED for finding in found)
        devices = f"no preserved device {'known to be ' if in_doubt else ''}stranded"
    if panics and not (parts or stranded):
        return listed(panics, 2)
    parts.extend(panics)
    text = ", ".join(parts)
    if not parts:
        rest = (
            f"{listed(unknown, _NAMED)} undetermined"
            if unknown
            else "no preserved bridge lost ARI Forwarding or bus numbers"
        )
        return f"{devices}, {rest}"
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
    texts = [f.text for f in found if f.code == code]
    return f"{listed(texts, 2)}; no loss is seen elsewhere{_where(capture)}"


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
        return Headline("UNDETERMINED", _incomplete(capture))
    noted = [finding for finding in found if finding.code in _NOTED_CODES]
    if noted or capture.verdict == "findings":
        text = listed([finding.text for finding in noted or found], 2)
        if {finding.code for finding in noted} == {"ARI002"}:
            return Headline("HEALED", f"{text}; nothing is stranded")
        return Headline("NOTED", f"{text}; none of it is known to be preserved")
    bridges = [bridge for kexec in capture.kexecs for bridge in kexec.bridges]
    text = f"{count(len(capture.kexecs), 'kexec')}, {_kept(bridges)}"
    return Headline("clean", f"{text}; no ARI Forwarding or bus number lost, no device stranded")


def _incomplete(capture: CaptureResult) -> str:
    """Why a capture is not clean although no finding casts doubt on it."""
    if capture.dropped:
        return f"{lost_records(capture.dropped)}, which may hide a loss"
    if capture.missing_dwords:
        return missing_dwords(capture.missing_dwords)
    lacking = [problem.message for problem in capture.errors if problem.kind in _MISSING_KINDS]
    if lacking:
        return lacking[0]
    if any(problem.kind == OUT_OF_ORDER for problem in capture.errors):
        return "the pieces do not fit the order in which they were given"
    if not capture.kexecs:
        return "the capture ends within the scan of its last kernel"
    return "the capture ends before the incoming kernel's scan does; no loss is seen up to there"


def _kept(bridges: Sequence[BridgeVerdict]) -> str:
    kept = sum(bridge.verdict == "kept" for bridge in bridges)
    return f"ARI Forwarding kept on {count(kept, 'bridge')}" if kept else "no bridge used ARI Forwarding"
