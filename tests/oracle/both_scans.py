"""Running both implementations on random machines."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, TypeVar

import replay_inputs
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from naive_scan import first_free_number
from random_worlds import cases

from analyzer.replay import enumeration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import naive_scan
    from hypothesis.strategies import SearchStrategy
    from random_worlds import Case, Path

    from analyzer.replay.world import Node

_T = TypeVar("_T")

POLICIES = ("stock", "inherit", "serialize", "heal")
#: Machines whose scans are replayed together: one alone takes hundreds of times its share.
TOGETHER = 250


def random_cases(number: int, count: int, *strategies: SearchStrategy) -> list[Any]:
    """That many machines; with further strategies tuples of a machine and what those give.

    Shrinking is done by ``smallest``, in terms of machines.
    """
    made: list[Any] = []
    limits = settings(
        max_examples=count,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    drawn = st.tuples(cases(), *strategies) if strategies else cases()
    seed(number)(limits(given(drawn)(lambda one: made.append(one))))()  # noqa: PLW0108 (given wants a function)
    return made


def together(made: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Machines by as many as are replayed together.

    Garbage is looked for between them: what they consist of is in use until it has been compared, and looking
    through it again and again takes a third of the time.
    """
    for first in range(0, len(made), TOGETHER):
        gc.disable()
        try:
            yield made[first : first + TOGETHER]
        finally:
            gc.enable()


class Scans:
    """Both implementations on many machines.

    Args:
        cases: the machines.
        kinds: for each machine, the policy and whether the scan is the one that the capture shows, so that
            the replay knows which numbers it gave to renumbered buses; else it is a what-if, and renumbered
            buses keep their outgoing numbers.
    """

    def __init__(self, cases: Sequence[Case], kinds: Sequence[tuple[str, bool]]) -> None:
        self.kinds = [(case, *kind) for case in cases for kind in kinds]
        self.naive = [_naive(*kind) for kind in self.kinds]
        described: dict[object, dict[Path, Node]] = {}  # a what-if is asked of one machine for all policies
        which: list[object] = []
        for number, ((case, _, as_ran), kernel) in enumerate(zip(self.kinds, self.naive, strict=True)):
            which.append(number if as_ran else ("what-if", number // len(kinds)))
            if which[-1] not in described:
                described[which[-1]] = replay_inputs.nodes(case, kernel if as_ran else None)
        machines = dict(zip(described, replay_inputs.machines(list(described.values())), strict=True))
        self.replay = enumeration.Replay(
            [
                enumeration.ScanningKernel(machines[one], replay_inputs.profile(case, policy), as_ran)
                for one, (case, policy, as_ran) in zip(which, self.kinds, strict=True)
            ]
        )

    def __iter__(self) -> Iterator[tuple[Case, str, bool, naive_scan.Kernel, int]]:
        """Machine, policy, whether it ran, the naive scan and the number of the kernel in the replay."""
        for number, (kind, kernel) in enumerate(zip(self.kinds, self.naive, strict=True)):
            yield *kind, kernel, number


def _naive(case: Case, policy: str, as_ran: bool) -> naive_scan.Kernel:
    kernel = case.kernel(policy)
    if as_ran:
        kernel.number = first_free_number
        for path, hardware in case.functions():
            kernel.numbers_in_use.add((path[0] >> 8, hardware.numbers[1]))
    kernel.boot(case.machine)
    return kernel
