"""Policies that share the walks of their buses find what each finds alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import replay_inputs
from both_scans import POLICIES, random_cases

from analyzer.replay import enumeration

if TYPE_CHECKING:
    from random_worlds import Case


def test_shared_walks_change_nothing() -> None:
    reused = 0

    @random_cases(7, 400)
    def check(case: Case) -> None:
        nonlocal reused
        hardware = replay_inputs.world(replay_inputs.nodes(case))
        walks: enumeration.Walks = {}
        for policy in POLICIES:
            profile = replay_inputs.profile(case, policy)
            before = len(walks)
            shared = enumeration.predict(hardware, profile, walks=walks)
            assert shared == enumeration.predict(hardware, profile)
            reused += len(walks) == before

    check()
    assert reused > 400
