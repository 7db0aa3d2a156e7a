"""The analysis of a run, compared with what the kernels really did and what the scenario expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.lab import expected_state
from analyzer.results import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.lab.runner import Run
    from analyzer.lab.scenarios import ExpectedKexec, Scenario
    from analyzer.results import CaptureResult, KexecResult


@dataclass(frozen=True)
class Outcome:
    """One scenario that ran, or did not.

    Attributes:
        problems: a sentence for each difference from what is expected.
        result: the analysis of the capture, or None where there is none.
        skipped: why it could not be run here, or None.
        expectation: the ``[expect]`` table of what was found, where it was asked for.
    """

    name: str
    title: str
    problems: list[str]
    result: CaptureResult | None = None
    enumerated: dict[int, list[str]] | None = None
    capture: str | None = None
    seconds: float = 0.0
    skipped: str | None = None
    expectation: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is as expected."""
        return not self.problems


def compare(scenario: Scenario, run: Run, result: CaptureResult, exit_status: int) -> list[str]:
    """Return a sentence for each difference.

    Args:
        scenario: what is expected.
        run: what the kernels did.
        result: the analysis of the capture.
        exit_status: of ``analyze`` over it.
    """
    return [*_truth(scenario, run), *_capture(scenario, result, exit_status), *_kexecs(scenario, run, result)]


def bridge_text(verdict: str, cause: str | None, cause_bdf: str | None) -> str:
    """Return a bridge's verdict as scenarios write it."""
    return " ".join(filter(None, (verdict, cause, cause_bdf)))


def _truth(scenario: Scenario, run: Run) -> Iterator[str]:
    for number, boot in enumerate(scenario.boots, start=1):
        wanted = boot.enumerated(scenario.topology)
        if number not in run.enumerated:
            yield f"kernel {number} did not print what it enumerated"
        else:
            yield from _sets(f"kernel {number} enumerated", wanted, run.enumerated[number])


def _capture(scenario: Scenario, result: CaptureResult, exit_status: int) -> Iterator[str]:
    kernels = sum(boot.kind == "kernel" for boot in result.boots)
    pairs = (
        ("kernels in the capture", len(scenario.boots), kernels),
        ("kexecs in the capture", len(scenario.kexecs), len(result.kexecs)),
        ("verdict of the capture", scenario.verdict, result.verdict),
        ("exit status", scenario.exit_status, exit_status),
    )
    for what, wanted, found in pairs:
        if wanted != found:
            yield f"{what}: expected {wanted}, found {found}"


def _kexecs(scenario: Scenario, run: Run, result: CaptureResult) -> Iterator[str]:
    incoming = [number + 2 for number, boot in enumerate(scenario.boots) if boot.leave == "kexec"]
    for kexec, wanted, kernel in zip(result.kexecs, scenario.kexecs, incoming, strict=False):
        for text in _kexec(kexec, wanted, run.enumerated.get(kernel, [])):
            yield f"kexec {kexec.index}: {text}"


def _kexec(kexec: KexecResult, wanted: ExpectedKexec, truth: list[str]) -> Iterator[str]:
    if (kexec.kind, kexec.observed_policy) != (wanted.kind, wanted.policy):
        yield (
            f"expected a {wanted.kind} kexec to a kernel with the {wanted.policy} rule, "
            f"found {kexec.kind}, {kexec.observed_policy}"
        )
    yield from _sets("the functions seen in the capture", truth, kexec.observed.discovered)
    if not wanted.divergences:
        yield from _sets("the functions predicted", truth, kexec.policies[kexec.policy].discovered)
    yield from _sets("divergences", list(wanted.divergences), [item.bdf for item in kexec.divergences])
    stranded = [device.bdf for device in kexec.devices if device.verdict == "stranded"]
    yield from _sets("stranded devices", list(wanted.stranded), stranded)
    found = {item.bdf: bridge_text(item.verdict, item.cause, item.cause_bdf) for item in kexec.bridges}
    for bdf in sorted({*found, *wanted.bridges}):
        expected, seen = wanted.bridges.get(bdf), found.get(bdf, "not mentioned")
        if expected is None and seen not in UNCHANGED:
            yield f"bridge {bdf}: expected nothing remarkable, found {seen}"
        elif expected is not None and expected != seen:
            yield f"bridge {bdf}: expected {expected}, found {seen}"
    yield from expected_state.differences(wanted.state, expected_state.said(kexec))


def _sets(what: str, wanted: list[str], found: list[str]) -> Iterator[str]:
    missing, unexpected = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing:
        yield f"{what}: missing {', '.join(missing)}"
    if unexpected:
        yield f"{what}: unexpected {', '.join(unexpected)}"
