"""What a talkative report adds to the results of a capture, taken from its study before that is forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.questions.explain import derivation
from analyzer.questions.explain.working import Gatherer

if TYPE_CHECKING:
    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.options import Options
    from analyzer.questions.explain.working import Working
    from analyzer.results import CaptureResult


@dataclass(frozen=True)
class Details:
    """One capture.

    Attributes:
        working: the accesses that show or change an ARI bit, and what each policy decides.
        premises: how the capture was divided and its logs aligned.
        kexec_premises: what the verdicts of each kexec rest on.
    """

    working: Working
    premises: list[str]
    kexec_premises: list[list[str]]


@dataclass
class DetailsGatherer:
    """Keeps the details of the first captures of a call (as many as :class:`Gatherer` does)."""

    options: Options
    _working: Gatherer = field(default_factory=Gatherer)
    _premises: list[tuple[CaptureResult, list[str], list[list[str]]]] = field(default_factory=list)

    def __call__(self, capture: Capture, study: Study) -> None:
        """Take the details of one capture (see ``analyzer.analysis.analyze``)."""
        self._working(capture, study)
        if self._working.of(study.result) is not None:
            of_kexecs = [derivation.of_kexec(study, item, self.options) for item in study.kexec_analyses]
            self._premises.append((study.result, derivation.of_capture(study), of_kexecs))

    def of(self, result: CaptureResult) -> Details | None:
        """The details of a result, None if they were not kept."""
        working = self._working.of(result)
        found = next((item for item in self._premises if item[0] is result), None)
        return None if working is None or found is None else Details(working, found[1], found[2])
