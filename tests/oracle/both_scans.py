"""Running both implementations on random machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import replay_inputs
from hypothesis import HealthCheck, Phase, given, seed, settings
from naive_scan import first_free_number
from random_worlds import cases

from analyzer.replay import enumeration

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy
    from naive_scan import Kernel
    from random_worlds import Case

    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import World

POLICIES = ("stock", "inherit", "serialize", "heal")


def random_cases(number: int, count: int, *strategies: SearchStrategy) -> Callable:
    """``given`` over that many machines; shrinking is done by ``smallest``, in terms of machines."""

    def decorate(check: Callable) -> Callable:
        limits = settings(
            max_examples=count,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        return seed(number)(limits(given(cases(), *strategies)(check)))

    return decorate


def scan(case: Case, policy: str, *, as_ran: bool) -> tuple[Kernel, World, Prediction]:
    """Both implementations on one machine.

    Args:
        as_ran: the scan is the one that the capture shows, so that the replay knows which numbers it gave to
            renumbered buses; else it is a what-if, and renumbered buses keep their outgoing numbers.
    """
    kernel = case.kernel(policy)
    if as_ran:
        kernel.number = first_free_number
        for path, hardware in case.functions():
            kernel.numbers_in_use.add((path[0] >> 8, hardware.numbers[1]))
    kernel.boot(case.machine)
    world = replay_inputs.world(replay_inputs.nodes(case, kernel if as_ran else None))
    profile = replay_inputs.profile(case, policy)
    return kernel, world, enumeration.predict(world, profile, renumbered_as_observed=as_ran)
