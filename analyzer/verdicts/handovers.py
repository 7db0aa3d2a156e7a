"""The two boots of a kexec and what their kernels decided, before any verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.observed import decisions, register_state
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.register_state import OutgoingState
    from analyzer.observed.topology import Topology
    from analyzer.results import ObservedPolicy


@dataclass(frozen=True)
class Handover:
    """The two boots of one kexec and what they decided, before any verdict.

    Attributes:
        number: 0-based number of the kexec in the capture.
        decided_before, decided_after: ARI decisions by bridge key.
        outgoing_states: ARI Forwarding as the outgoing kernel last used it, by bridge key.
        observed_policy: the policy that the incoming kernel followed.
        accesses: numbers of the first and the last access of the two boots.
    """

    number: int
    outgoing: Topology
    incoming: Topology
    decided_before: dict[int, list[decisions.Decision]]
    decided_after: dict[int, list[decisions.Decision]]
    outgoing_states: dict[int, OutgoingState]
    observed_policy: ObservedPolicy
    accesses: tuple[int, int]

    def covers(self, access: int | None) -> bool:
        """Whether an access number lies in one of the two boots."""
        return access is not None and self.accesses[0] <= access <= self.accesses[1]


def outgoing_states(
    outgoing: Topology, decided: dict[int, list[decisions.Decision]]
) -> dict[int, OutgoingState]:
    """ARI Forwarding as the outgoing kernel last used it on each of its bridges, by key.

    It is never inferred from an address: that a function above 7 answers does not show the bit.
    """
    return {
        bridge.function: register_state.outgoing_state(
            bridge, ARI_FORWARDING, decisions.last_decided(decided.get(bridge.function, []))
        )
        for bridge in outgoing.bridges()
    }


def handovers(pairs: Sequence[tuple[int, Topology, Topology]]) -> list[Handover]:
    """Recognise what both kernels of several kexecs decided.

    Args:
        pairs: number of the kexec in its capture, outgoing and incoming boot; all were read together.
    """
    boots = list(dict.fromkeys(boot for _, *both in pairs for boot in both))
    decided = dict(zip(boots, decisions.of_boots(boots), strict=True))
    found = []
    for number, outgoing, incoming in pairs:
        before, after = decided[outgoing], decided[incoming]
        states = outgoing_states(outgoing, before)
        enabled = {key: state.enabled for key, state in states.items()}
        policy = decisions.observed_policy(after, incoming, enabled)
        accesses = outgoing.access(outgoing.boot.first), incoming.access(incoming.boot.last)
        found.append(Handover(number, outgoing, incoming, before, after, states, policy, accesses))
    return found
