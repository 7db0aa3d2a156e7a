"""The exit status of the main job, as a pure function over its result (interface: exit status)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.verdicts import findings, rules

if TYPE_CHECKING:
    from analyzer.results import Analysis

OK = 0
#: A preserved bridge is lost, unconfigured, hidden or gone, or a preserved device is stranded.
LOSS = 1
#: Wrong usage, or the program itself failed.
FAILED = 2
#: No such loss, but an input could not be judged or a divergence stands unexplained.
DOUBT = 3
#: What the manual says of them.
MEANINGS = {
    OK: "nothing lost",
    LOSS: "a preserved bridge lost ARI Forwarding or its bus numbers, or a preserved device is stranded",
    FAILED: "wrong usage, or the program itself failed",
    DOUBT: (
        "no such loss, but an input could not be judged, or prediction and observation differ without a "
        "known reason"
    ),
}
#: By convention 128 + signal number: a closed pipe. Ctrl-C and polite kills: :mod:`analyzer.cli.signals`.
BROKEN_PIPE = 141


def of_analysis(
    analysis: Analysis,
    *,
    strict: bool = False,
    exit_zero: bool = False,
    assume_preserved: bool = False,
    selected: frozenset[str] | None = None,
) -> int:
    """Return the exit status for ``analysis``.

    Args:
        analysis: the result of the main job.
        strict: a healed loss counts as a loss, an undetermined verdict as doubt.
        exit_zero: always 0, for pipelines that read the report instead.
        assume_preserved: as the option of the same name, see :func:`analyzer.verdicts.findings.counts`.
        selected: finding codes that count; None = all.
    """
    if exit_zero:
        return OK
    status = OK
    for capture in analysis.captures:
        if capture.verdict == "unreadable":
            status = DOUBT
        if (
            strict
            and capture.verdict == "undetermined"
            and (selected is None or rules.UNDETERMINED in selected)
        ):
            status = DOUBT
        for kexec in capture.kexecs:
            for finding in findings.for_kexec(kexec, assume_preserved=assume_preserved):
                if selected is not None and finding.code not in selected:
                    continue
                weight = findings.weight(finding, kexec, strict=strict, assume_preserved=assume_preserved)
                if weight == "loss":
                    return LOSS
                if weight == "doubt":
                    status = DOUBT
    return status
