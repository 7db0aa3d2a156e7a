"""What a loss weighs at one kexec: the table (a) to (d) of docs/verdicts.md, decided once.

A loss is a loss, whoever was preserved. What it does to the exit status follows from what the input says of
the kexec: whether a source lists the preserved set, whether anything shows a live update, whether the
incoming kernel's scan is in the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.results import LIVE_UPDATE_POLICIES

if TYPE_CHECKING:
    from analyzer.results import KexecKind, ObservedPolicy, Preservation, Weight

#: Kinds of kexec that hand nothing over.
HANDS_NOTHING_OVER: Final = frozenset({"plain", "crash"})

WEIGHTS: Final[dict[Preservation, Weight | None]] = {
    "known": "loss",
    "live-update": "loss",
    "no-scan": "loss",
    "unrecognised": "doubt",
    "none": None,
}


def preservation(kind: KexecKind, observed: ObservedPolicy, *, scanned: bool, assume: bool) -> Preservation:
    """Tell what an assumed preserved set is worth at a kexec.

    Args:
        kind: what the kexec was for.
        observed: the policy that the incoming kernel followed.
        scanned: a scan of the incoming kernel is in the input (not of snapshots, nor of kernel logs).
        assume: the user takes every function below an ARI bridge as preserved.
    """
    if assume or kind == "live-update" or observed in LIVE_UPDATE_POLICIES:
        return "live-update"
    if kind in HANDS_NOTHING_OVER:
        return "none"
    return "unrecognised" if scanned else "no-scan"
