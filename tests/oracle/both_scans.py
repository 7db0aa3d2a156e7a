"""Running both implementations on random machines."""

from __future__ import annotations

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
    from random_worlds import Case

    from analyzer.replay.node_table import NodeTable

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
    """Machines by as many as are replayed together."""
    for first in range(0, len(made), TOGETHER):
        yield made[first : first + TOGETHER]


class Scans:
    """Both implementations on many machines.

    Args:
        cases: the machines.
        kinds: for each machine, the policy and whether the scan is the one that the capture shows, so that
            the replay knows which numbers it gave to renumbered buses; else it is a what-if, and renumbered
            buses keep their outgoing numbers.
    """

    def __init__(self, cases: Sequence[Case], kinds: Sequence[tuple[str, bool]]) -> None:
        self.naive: list[naive_scan.Kernel] = []
        self.kinds = [(case, *kind) for case in cases for kind in kinds]
        kernels = []
        for case in cases:
            what_if: NodeTable | None = None
            for policy, as_ran in kinds:
                kernel = _naive(case, policy, as_ran=as_ran)
                self.naive.append(kernel)
                if as_ran:
                    machine = replay_inputs.machine(replay_inputs.nodes(case, kernel))
                else:
                    machine = what_if = what_if or replay_inputs.machine(replay_inputs.nodes(case))
                profile = replay_inputs.profile(case, policy)
                kernels.append(enumeration.Kernel(machine, profile, as_ran))
        self.replay = enumeration.Replay(kernels)

    def __iter__(self) -> Iterator[tuple[Case, str, bool, naive_scan.Kernel, int]]:
        """Machine, policy, whether it ran, the naive scan and the number of the kernel in the replay."""
        for number, (kind, kernel) in enumerate(zip(self.kinds, self.naive, strict=True)):
            yield *kind, kernel, number


def _naive(case: Case, policy: str, *, as_ran: bool) -> naive_scan.Kernel:
    kernel = case.kernel(policy)
    if as_ran:
        kernel.number = first_free_number
        for path, hardware in case.functions():
            kernel.numbers_in_use.add((path[0] >> 8, hardware.numbers[1]))
    kernel.boot(case.machine)
    return kernel
