"""How the analysis came to its premises: boots, logs, decisions, policy, patch series, preserved set.

The report at its most talkative says these things; every other report rests on them silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.plurals import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Study
    from analyzer.kernel_logs.kernel_log import KernelRun
    from analyzer.observed.decisions import Decision, Rule
    from analyzer.options import Options
    from analyzer.verdicts.kexecs import KexecAnalysis

_TRANSITIONS = {
    "start": "the capture begins with it",
    "kexec": "entered by kexec",
    "reboot": "entered through firmware",
}
_RULES: dict[Rule, str] = {
    "set": "wrote 1 (stock rule)",
    "clear": "wrote 0 (stock rule)",
    "restore": "read it and wrote it at once, without a look at function 0 (heal or serialize)",
    "inherit": "read it and wrote nothing (inherit rule)",
    "untouched": "left it alone although the port supports it (pci=noari)",
    "unsupported": "found the port without ARI Forwarding",
    "skipped": "did not look at it (pci=noari)",
    "none": "had nothing to decide",
    "cut": "made a decision that the capture does not show to its end",
}
_SOURCES = {"dmesg": "--dmesg", "capture": "in the capture", "sidecar": "next to the capture"}


def of_capture(study: Study) -> list[str]:
    """Return how the capture was divided into boots, and which kernel log belongs to which."""
    return [*_boots(study), *_logs(study)]


def of_kexec(study: Study, kexec_analysis: KexecAnalysis, options: Options) -> list[str]:
    """Return what the verdicts of one kexec rest on, a sentence each."""
    return [
        *_kind(study, kexec_analysis),
        *_decisions(study, kexec_analysis),
        _policy(kexec_analysis, options),
        _series(study, kexec_analysis, options),
        *_handover(kexec_analysis),
    ]


def _boots(study: Study) -> Iterator[str]:
    index = study.index
    for topology in study.topologies:
        boot = topology.boot
        how = _TRANSITIONS[boot.entered_by]
        if boot.marked:
            how += ", as the capture or an option marks it"
        scan = (
            "its scan of the bus is not in the capture"
            if boot.scan is None
            else f"its scan of the bus begins at access {index.seq[boot.scan]}"
        )
        accesses = f"accesses {index.seq[boot.first]} to {index.seq[boot.last]}"
        yield (
            f"boot {boot.index} ({boot.kind}), {accesses}: {how}; {scan}, "
            f"{count(len(topology.enumerated), 'function')} enumerated"
        )


def _logs(study: Study) -> Iterator[str]:
    for source, runs in study.logs.by_source.items():
        said = ", ".join(f"boot {boot}: {_run(run)}" for boot, run in sorted(runs.items()))
        yield f"kernel log {_SOURCES.get(source, source)}: {said or 'no kernel in it'}"
    if not study.logs.by_source:
        yield "no kernel log: kinds and command lines come from the accesses and options alone"


def _run(run: KernelRun) -> str:
    release = f"Linux {run.release}" if run.release else "release unknown"
    return f"{release} from line {run.first_line}"


def _kind(study: Study, kexec_analysis: KexecAnalysis) -> Iterator[str]:
    result = kexec_analysis.result
    boot = kexec_analysis.handover.incoming.boot
    why = (
        "as marked in the capture"
        if boot.kexec_kind is not None
        else "from the kernel log and the rule that was followed"
        if study.logs.run_of(boot.index) is not None
        else "from the rule that was followed"
    )
    yield f"kexec {result.index} is {result.kind}, {why}"


def _decisions(study: Study, kexec_analysis: KexecAnalysis) -> Iterator[str]:
    """What both kernels decided on each bridge, with the deciding access."""
    kexec = kexec_analysis.handover
    sides = (("outgoing", kexec.decided_before), ("incoming", kexec.decided_after))
    for side, decided in sides:
        for key, several in sorted(decided.items()):
            for decision in several:
                if decision.rule not in ("none", "unsupported"):
                    yield f"{bdf.text(key)}: the {side} kernel {_decision(study, decision)}"


def _decision(study: Study, decision: Decision) -> str:
    used = {True: "ARI on", False: "ARI off", None: "unknown"}[decision.enabled]
    return f"{_RULES[decision.rule]} at access {study.index.seq[decision.row]}: {used} from then on"


def _policy(kexec_analysis: KexecAnalysis, options: Options) -> str:
    result = kexec_analysis.result
    if options.policy != "observed":
        return f"policy {result.policy} as --policy says; observed: {result.observed_policy}"
    if result.observed_policy == "unknown":
        return f"policy {result.policy} for lack of a better one: no decision shows which rule was followed"
    return f"policy {result.policy}: the one that the incoming kernel followed"


def _series(study: Study, kexec_analysis: KexecAnalysis, options: Options) -> str:
    version = kexec_analysis.result.series
    run = study.logs.run_of(kexec_analysis.handover.incoming.boot.index)
    if options.series is not None:
        return f"bus-number rules of series {version}: as --series says"
    if run is not None and run.series:
        return f"bus-number rules of series {version}: its log has messages of {', '.join(run.series)}"
    return f"bus-number rules of series {version}: the newest that fits what the incoming kernel did"


def _handover(kexec_analysis: KexecAnalysis) -> Iterator[str]:
    result = kexec_analysis.result
    profile = kexec_analysis.profiles[result.policy]
    yield f"preserved: {count(len(profile.preserved), 'function')}, source {result.preserved_source}"
    if profile.handover != "matched":
        yield f"the incoming kernel does not take the handed-over data ({profile.handover})"
    if result.noari:
        yield "the incoming kernel runs with pci=noari"
    for policy, prediction in kexec_analysis.predictions.items():
        ran = " (the one compared with the observation)" if policy == kexec_analysis.ran else ""
        certain, open_ = len(prediction.certain), len(prediction.possible)
        unknown = f", {open_:,} that the capture leaves open" if open_ else ""
        yield f"replay of {policy}{ran}: {count(certain, 'function')} found{unknown}"
