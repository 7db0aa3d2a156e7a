"""What a report shows beyond the results of a capture, taken from its study before that is discarded.

A study holds the whole capture; this holds a few hundred kilobytes at most, so that a page about many
captures needs no more memory than the largest of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.questions.explain import derivation, lanes, registers
from analyzer.questions.explain.function import at_kexec
from analyzer.results import UNCHANGED

if TYPE_CHECKING:
    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.options import Options
    from analyzer.questions.explain.explanation import KexecExplanation, RawDifference
    from analyzer.questions.explain.lanes import Lanes
    from analyzer.results import CaptureResult
    from analyzer.verdicts.kexecs import KexecAnalysis

#: Captures whose working is kept: with something to report, and without.
MOST_REPORTED, MOST_QUIET = 200, 100
#: Bridges of one kexec whose decisions are explained.
_MOST_EXPLAINED = 12


@dataclass(frozen=True)
class KexecWorking:
    """One kexec.

    Attributes:
        had: addresses that the outgoing kernel knew.
        moved: address under the outgoing kernel -> address under the incoming one, where they differ.
        explained: bridge -> what each policy decides on it and the walk over the functions below, for bridges
            that something happened to.
    """

    had: frozenset[str]
    moved: dict[str, str]
    explained: dict[str, KexecExplanation]


@dataclass(frozen=True)
class Working:
    """One capture: the lanes of its timeline, and the working of each of its kexecs in order."""

    lanes: Lanes
    kexecs: list[KexecWorking] = field(default_factory=list)


def of_study(capture: Capture, study: Study) -> Working:
    """Take what a page needs from a study."""
    return Working(
        lanes.gather(capture, study), [_of_kexec(kexec_analysis) for kexec_analysis in study.kexec_analyses]
    )


def _of_kexec(kexec_analysis: KexecAnalysis) -> KexecWorking:
    known = kexec_analysis.world.by_outgoing
    reported = [bridge.bdf for bridge in kexec_analysis.result.bridges if bridge.verdict not in UNCHANGED]
    return KexecWorking(
        frozenset(bdf.text(key) for key in known),
        {
            bdf.text(key): bdf.text(node.incoming)
            for key, node in sorted(known.items())
            if node.incoming is not None and node.incoming != key
        },
        {name: at_kexec(kexec_analysis, bdf.parse(name)) for name in reported[:_MOST_EXPLAINED]},
    )


@dataclass(frozen=True)
class Details:
    """What a talkative report adds to the results of one capture.

    Attributes:
        working: the accesses that show or change an ARI bit, and what each policy decides.
        premises: how the capture was divided and its logs aligned.
        kexec_premises: what the verdicts of each kexec rest on.
        raw: registers that differ across each kexec and that no rule judges.
    """

    working: Working
    premises: list[str]
    kexec_premises: list[list[str]]
    raw: list[list[RawDifference]] = field(default_factory=list)


@dataclass
class DetailsGatherer:
    """Keeps the details of the first captures of a call, those with something to report and some without."""

    options: Options
    kept: list[tuple[CaptureResult, Details]] = field(default_factory=list)
    reported: int = 0
    quiet: int = 0

    def __call__(self, capture: Capture, study: Study) -> None:
        """Take the details of one capture if there is space for them (see ``analyzer.analysis.analyze``)."""
        if study.result.verdict in ("clean", "no-kexec"):
            self.quiet += 1
            has_space = self.quiet <= MOST_QUIET
        else:
            self.reported += 1
            has_space = self.reported <= MOST_REPORTED
        if has_space:
            of_kexecs = [derivation.of_kexec(study, item, self.options) for item in study.kexec_analyses]
            raw = [registers.raw_differences(study, item) for item in study.kexec_analyses]
            details = Details(of_study(capture, study), derivation.of_capture(study), of_kexecs, raw)
            self.kept.append((study.result, details))

    def of(self, result: CaptureResult) -> Details | None:
        """The details of a result, None if they were not kept."""
        return next((details for kept, details in self.kept if kept is result), None)
