"""The exit status of the main job, as a pure function of its result (interface: exit status)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.results import Analysis

OK = 0
#: A preserved bridge is lost, unconfigured, hidden, gone or renumbered, or a preserved device is stranded.
LOSS = 1
#: Wrong usage, or a failure of the program itself.
FAILED = 2
#: No such loss, but what would exclude one is not in the input, or a divergence is unexplained.
DOUBT = 3
#: What the manual says of them.
MEANINGS = {
    OK: "nothing preserved was lost, and every fact that could contradict that is in the input",
    LOSS: "a preserved bridge lost ARI Forwarding or its bus numbers, or a preserved device was stranded",
    FAILED: "wrong usage, or the program itself failed",
    DOUBT: (
        "no such loss, but what would exclude one is not in the input, or an input could not be analysed, or "
        "prediction and observation differ for no known reason"
    ),
}
#: By convention 128 + signal number: a closed pipe. SIGINT and SIGTERM: :mod:`analyzer.cli.signals`.
BROKEN_PIPE = 141


def of_analysis(analysis: Analysis, *, exit_zero: bool = False) -> int:
    """Return the exit status for ``analysis``.

    Args:
        analysis: the result of the main job, which holds the weight of each capture.
        exit_zero: always 0, for pipelines that read the report instead.
    """
    if exit_zero:
        return OK
    weights = {capture.weight for capture in analysis.captures}
    return LOSS if "loss" in weights else DOUBT if "doubt" in weights else OK
