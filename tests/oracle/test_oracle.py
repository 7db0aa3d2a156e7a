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
from both_scans import POLICIES, random_cases, scan
from smaller_worlds import smallest

if TYPE_CHECKING:
    from collections.abc import Callable

    from random_worlds import Case

CASES = int(os.environ.get("ARITRACE_ORACLE_CASES", "10000"))
PART = 1000


def disagreement(case: Case, policy: str, *, as_ran: bool) -> str | None:
    """What the two implementations say differently, or None."""
    kernel, _, prediction = scan(case, policy, as_ran=as_ran)
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
            return f"{policy}, as ran: {as_ran}: {what}: replay {replayed}, naive scan {naive}"
    return None


@pytest.mark.parametrize("part", range(-(-CASES // PART)))
def test_replay_equals_the_naive_scan(part: int, record_property: Callable) -> None:
    compared = 0

    @random_cases(part, min(PART, CASES - part * PART))
    def check(case: Case) -> None:
        nonlocal compared
        compared += 1
        for policy, as_ran in product(POLICIES, (False, True)):
            differs = partial(disagreement, policy=policy, as_ran=as_ran)
            if differs(case):
                small = smallest(case, differs)
                pytest.fail(f"{differs(small)}\n{small!r}")

    check()
    record_property("oracle_cases", compared)
