"""The page of the main job: ``--html FILE``, for one capture or many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.plurals import count
from analyzer.questions.explain.lanes import Lanes
from analyzer.questions.explain.working import MOST_QUIET, MOST_REPORTED
from analyzer.replay import citations
from analyzer.report import headline
from analyzer.report.html import findings, timeline, tree
from analyzer.report.html.environment import render
from analyzer.report.policy_table import MEANINGS
from analyzer.report.wording import (
    agreement,
    dates_in,
    duration,
    listed,
    lost_records,
    missing_dwords,
    no_boundary,
)
from analyzer.results import POLICIES, UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture import Problem
    from analyzer.questions.explain.working import Details, KexecWorking
    from analyzer.report.headline import Headline
    from analyzer.report.html.findings import KexecTexts
    from analyzer.report.html.timeline import Drawing
    from analyzer.report.html.tree import Sign, TreeStep
    from analyzer.results import Analysis, BridgeVerdict, CaptureResult, KexecResult

#: Rows of all trees of a page, and of each tree at least.
_ROWS, _FEWEST_ROWS = 12_000, 40
#: Sections that are open at first on a page of many captures.
_MOST_OPEN = 3
_MOST_PROBLEMS = 10
_SIGNS: dict[str, Sign] = {
    "UNREADABLE": "unknown",
    "UNDETERMINED": "unknown",
    "NO KEXEC": "none",
    "clean": "good",
    "LOST": "bad",
    "STRANDED": "bad",
}
_CONTENTS = (
    ("act", "What to do now"),
    ("tree", "Before and after"),
    ("timeline", "Timeline"),
    ("evidence", "Evidence"),
    ("policies", "Policies"),
    ("follows", "What follows"),
    ("unknown", "Unknown"),
    ("how", "How it was reached"),
)
_LEGEND: tuple[tuple[Sign, str], ...] = (
    ("bad", "lost or stranded"),
    ("warn", "changed"),
    ("unknown", "not in the capture"),
    ("good", "found"),
)


@dataclass(frozen=True)
class PolicyRow:
    """One row of the table of policies; ``ran``: the incoming kernel followed it."""

    name: str
    meaning: str
    source: str
    found: str
    stranded: int
    undetermined: int
    names: str
    judged: bool
    ran: bool


@dataclass(frozen=True)
class KexecView:
    """One kexec as the templates show it."""

    anchor: str
    kexec: KexecResult
    title: str
    sign: Sign
    texts: KexecTexts
    preserved: int
    tree: list[TreeStep]
    legend: tuple[tuple[Sign, str], ...]
    new: list[str]
    bits: dict[str, str]
    policies: list[PolicyRow]
    premises: list[str]
    check: str
    check_sign: Sign


@dataclass(frozen=True)
class CaptureView:
    """One capture as the templates show it; ``shown``: it has a section."""

    anchor: str
    capture: CaptureResult
    headline: Headline
    sign: Sign
    facts: str
    limits: list[str]
    stranded: int
    shown: bool
    open: bool
    kexecs: list[KexecView]
    drawing: Drawing | None
    no_drawing: str
    no_boundary: str
    several_files: bool
    files_named: bool


def pieces(
    analysis: Analysis,
    details_of: Callable[[CaptureResult], Details | None] | None = None,
) -> Iterator[str]:
    """Yield the page piece by piece; the same analysis gives the same page.

    Args:
        analysis: the result of the main job.
        details_of: the details of each result (``questions.explain.details``); without them a page
            has no timelines.
    """
    views = _views(analysis, details_of or (lambda _: None))
    whole = headline.of_analysis(analysis)
    yield from render(
        "page.html.j2",
        whole=whole,
        sign=_SIGNS.get(whole.word, "warn"),
        views=views,
        left_out=sum(not view.shown and view.capture.verdict != "unreadable" for view in views),
        contents=_CONTENTS,
    )
    yield "\n"


def _views(analysis: Analysis, details_of: Callable[[CaptureResult], Details | None]) -> list[CaptureView]:
    many = len(analysis.captures) > 1
    kexecs = sum(len(capture.kexecs) for capture in analysis.captures)
    rows = max(_ROWS // max(kexecs, 1), _FEWEST_ROWS)
    left = {"reported": MOST_REPORTED, "quiet": MOST_QUIET}
    opened = 0
    views = []
    for number, capture in enumerate(analysis.captures):
        line = headline.of_capture(capture)
        quiet = capture.verdict in ("clean", "no-kexec")
        shown = not many
        if many and capture.verdict != "unreadable":
            left["quiet" if quiet else "reported"] -= 1
            shown = left["quiet" if quiet else "reported"] >= 0
        is_open = shown and _SIGNS.get(line.word) == "bad" and opened < _MOST_OPEN
        opened += is_open
        details = details_of(capture) if shown else None
        views.append(
            _CaptureMaker(f"c{number}", capture, details, rows).view(
                line, shown=shown, is_open=is_open, many=many
            )
        )
    return sorted(views, key=lambda view: headline.WORSE_FIRST.index(view.headline.word))


@dataclass(frozen=True)
class _CaptureMaker:
    anchor: str
    capture: CaptureResult
    details: Details | None
    rows: int

    def view(self, line: Headline, *, shown: bool, is_open: bool, many: bool) -> CaptureView:
        capture = self.capture
        working = None if self.details is None else self.details.working
        lanes = Lanes() if working is None else working.lanes
        no_drawing = "No access of this capture shows an ARI bit."
        if working is None:
            no_drawing = "This page was made from results alone, without the capture: it has no timeline."
        elif many:
            lanes, no_drawing = _essential(lanes, capture)
        return CaptureView(
            anchor=self.anchor,
            capture=capture,
            headline=line,
            sign=_SIGNS.get(line.word, "warn"),
            facts=_facts(capture),
            limits=list(_limits(capture)),
            stranded=sum(d.verdict == "stranded" for kexec in capture.kexecs for d in kexec.devices),
            shown=shown,
            open=is_open,
            kexecs=[
                self._kexec(number, kexec) for number, kexec in enumerate(capture.kexecs if shown else [])
            ],
            drawing=timeline.draw(capture, lanes, self.anchor) if shown else None,
            no_drawing=no_drawing,
            no_boundary=no_boundary(cut=capture.truncated) if capture.verdict == "no-kexec" else "",
            several_files=len(capture.files) > 1,
            files_named=any(file.sha256 for file in capture.files),
        )

    def _kexec(self, number: int, kexec: KexecResult) -> KexecView:
        working, premises = None, []
        if self.details is not None:
            working = self.details.working.kexecs[number]
            premises = [*self.details.premises, *self.details.kexec_premises[number]]
        texts = findings.kexec_texts(self.capture, kexec, working)
        check, check_sign = _check(kexec)
        return KexecView(
            anchor=f"{self.anchor}-k{number}",
            kexec=kexec,
            title=_title(self.capture, kexec),
            sign=_worst(texts),
            texts=texts,
            preserved=sum(device.preserved for device in kexec.devices),
            tree=tree.steps(kexec, working, self.rows),
            legend=_LEGEND,
            new=_new(kexec, working),
            bits={bridge.bdf: _bits(bridge) for bridge in kexec.bridges},
            policies=_policies(kexec),
            premises=premises,
            check=check,
            check_sign=check_sign,
        )


def _essential(lanes: Lanes, capture: CaptureResult) -> tuple[Lanes, str]:
    """On a page of many captures: only the lanes of bridges that changed, or that caused a change."""
    quiet = UNCHANGED
    bridges = [bridge for kexec in capture.kexecs for bridge in kexec.bridges]
    wanted = {bridge.bdf for bridge in bridges if bridge.verdict not in quiet}
    wanted |= {bridge.cause_bdf for bridge in bridges if bridge.cause_bdf is not None}
    kept = [lane for lane in lanes.lanes if lane.bdf in wanted]
    left_out = lanes.left_out + len(lanes.lanes) - len(kept)
    said = "Nothing happened to any bridge. Analyse this capture alone for its timeline."
    return Lanes(kept[: timeline.MOST_OPEN], left_out, lanes.events, lanes.events_left_out), said


def _facts(capture: CaptureResult) -> str:
    facts = [f"format {capture.format}" if capture.format else "format unknown"]
    facts.append(count(capture.accesses, "access", "accesses"))
    if len(capture.files) > 1:
        facts.append(count(len(capture.files), "file"))
    facts += [count(len(capture.boots), "boot"), count(len(capture.kexecs), "kexec")]
    if capture.host:
        facts.append(f"host {capture.host}")
    if dates := dates_in(capture):
        facts.append(f"times in {dates}")
    return ", ".join(facts)


def _limits(capture: CaptureResult) -> Iterator[str]:
    if capture.truncated:
        yield "The capture is cut short: it is analysed up to the cut."
    if capture.dropped:
        yield f"{lost_records(capture.dropped)}: what they held is unknown."
    if capture.missing_dwords:
        yield f"{missing_dwords(capture.missing_dwords)}: what they held is unknown."
    for problem in capture.errors[:_MOST_PROBLEMS]:
        yield f"{problem.kind}: {_place_of(capture, problem)}{problem.message}"
    if len(capture.errors) > _MOST_PROBLEMS:
        rest = count(len(capture.errors) - _MOST_PROBLEMS, "more problem")
        yield f"and {rest} (--format json lists all)"


def _place_of(capture: CaptureResult, problem: Problem) -> str:
    """File and byte of a problem, unless its message begins with them."""
    if capture.verdict == "unreadable" and problem.file != capture.path:
        return ""
    place = f" at byte {problem.offset_bytes:#x}" if problem.offset_bytes is not None else ""
    return f"{problem.file or capture.path}{place}: "


def _title(capture: CaptureResult, kexec: KexecResult) -> str:
    boots = {boot.index: boot for boot in capture.boots}
    kind = {"unknown": "of unknown kind", "live-update": "Live Update"}.get(kexec.kind, kexec.kind)

    def kernel(number: int) -> str:
        boot = boots.get(number)
        return f"boot {number}" + (f" (Linux {boot.release})" if boot is not None and boot.release else "")

    title = f"{kind}, from {kernel(kexec.outgoing_boot)} to {kernel(kexec.incoming_boot)}"
    title += f" at access {kexec.at_access}"
    return title if kexec.blackout_ns is None else f"{title}, blackout {duration(kexec.blackout_ns)}"


def _worst(texts: KexecTexts) -> Sign:
    signs = {sign for sign, _ in texts.sentences}
    if "bad" in signs:
        return "bad" if texts.alarm else "warn"
    return next((sign for sign in ("warn", "unknown", "good") if sign in signs), "none")


def _new(kexec: KexecResult, working: KexecWorking | None) -> list[str]:
    """Addresses that only the incoming kernel used; empty where it is not known what the outgoing one had."""
    if working is None:
        return []
    listed_rows = {device.bdf for device in kexec.devices} | set(working.moved.values())
    return [name for name in kexec.observed.discovered if name not in working.had and name not in listed_rows]


def _bits(bridge: BridgeVerdict) -> str:
    words = {True: "on", False: "off", None: "unknown"}
    return (
        f"used by the outgoing kernel: {words[bridge.ari_before]}; first seen after the kexec: "
        f"{words[bridge.ari_after]}; used by the incoming kernel: {words[bridge.ari_decided]}"
    )


def _policies(kexec: KexecResult) -> list[PolicyRow]:
    rows = []
    for name in POLICIES:
        outcome = kexec.policies.get(name)
        if outcome is not None:
            rows.append(
                PolicyRow(
                    name,
                    MEANINGS[name],
                    citations.POLICIES[name],
                    f"{len(outcome.discovered):,}",
                    len(outcome.stranded),
                    len(outcome.undetermined),
                    listed(outcome.stranded or outcome.undetermined, 12),
                    name == kexec.policy,
                    name == kexec.observed_policy,
                )
            )
    return rows


def _check(kexec: KexecResult) -> tuple[str, Sign]:
    """Whether the replay predicts what the incoming kernel really did: the analyzer checks itself by it."""
    if not kexec.divergences:
        if not kexec.observed.discovered:
            return "the capture does not show what the incoming kernel enumerated.", "unknown"
        agreed = agreement(kexec)
        return f"{agreed.text}.", "good" if agreed.whole else "unknown"
    standing = sum(not item.explained for item in kexec.divergences)
    differing = count(len(kexec.divergences), "function")
    text = f"prediction and observation differ for {differing}, {standing} of them unexplained."
    return text, "bad" if standing else "none"
