"""Kernels that are replayed together find on their machines what each finds alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import replay_inputs
from both_scans import POLICIES, random_cases

from analyzer.replay import enumeration

if TYPE_CHECKING:
    from analyzer.replay.enumeration import FoundRows


def rows(found: FoundRows) -> list[tuple[int, int, bool]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


def test_many_machines_change_nothing() -> None:
    """Each machine is scanned by every policy; two of them name what they find as the kernel that ran."""
    cases = random_cases(7, 40)
    machines = replay_inputs.machines([replay_inputs.nodes(case) for case in cases])
    kernels = [
        enumeration.ScanningKernel(machine, replay_inputs.profile(case, policy), observed)
        for case, machine in zip(cases, machines, strict=True)
        for policy, observed in zip(POLICIES, (False, True, True, False), strict=True)
    ]
    together = enumeration.Replay(kernels)
    several = 0
    for number, kernel in enumerate(kernels):
        alone = enumeration.Replay([kernel])
        assert rows(together.found(number)) == rows(alone.found(0))
        assert together.prediction(number) == alone.prediction(0)
        several += len(together.prediction(number).order) > 5
    assert several > 40
