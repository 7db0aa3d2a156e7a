"""The replay against a second, naive implementation of the scan (naive_scan.py), on random machines.

Both are told everything about a machine and a kernel, and must agree on every function, address, ARI decision
and bus number. ``ARITRACE_ORACLE_CASES`` sets the number of machines. A machine on which they differ is made
as small as it gets and printed.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import pytest
from both_scans import POLICIES, Scans, random_cases, together
from smaller_worlds import smallest

if TYPE_CHECKING:
    from collections.abc import Callable

    from naive_scan import Kernel
    from random_worlds import Case

    from analyzer.replay.enumeration import Prediction

CASES = int(os.environ.get("ARITRACE_ORACLE_CASES", "10000"))
PART = 1000
KINDS = list(product(POLICIES, (False, True)))


def disagreement(kernel: Kernel, prediction: Prediction) -> str | None:
    """What the two implementations say differently, or None."""
    found = [device.path for device in kernel.found]
    pairs = {
        "functions in scan order": ([node.path for node in prediction.order], found),
        "certain": (prediction.certain, set(found)),
        "merely possible": (prediction.possible, set()),
        "addresses": (prediction.keys, {device.path: device.bdf for device in kernel.found}),
        "bus numbers": (prediction.numbers, kernel.outcomes),
        "ARI": (
            {path: decision.enabled for path, decision in prediction.decisions.items()},
            {bridge.path: bridge.ari_enabled for bridge in kernel.scanned},
        ),
    }
    for what, (replayed, naive) in pairs.items():
        if replayed != naive:
            return f"{what}: replay {replayed}, naive scan {naive}"
    return None


def alone(case: Case, policy: str, *, as_ran: bool) -> str | None:
    """The same of one machine."""
    scans = Scans([case], [(policy, as_ran)])
    return disagreement(scans.naive[0], scans.replay.prediction(0))


@pytest.mark.parametrize("part", range(-(-CASES // PART)))
def test_replay_equals_the_naive_scan(part: int, record_property: Callable) -> None:
    cases = random_cases(part, min(PART, CASES - part * PART))
    compared = 0
    for some in together(cases):
        scans = Scans(some, KINDS)
        for case, policy, as_ran, kernel, number in scans:
            if disagreement(kernel, scans.replay.prediction(number)):
                differs = partial(alone, policy=policy, as_ran=as_ran)
                small = smallest(case, differs)
                pytest.fail(f"{policy}, as ran: {as_ran}: {differs(small)}\n{small!r}")
        compared += len(some)
    record_property("oracle_cases", compared)
