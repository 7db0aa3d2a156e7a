"""What both kernels of a kexec decided, and the policy that the incoming one followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hand_made import EXP, Part, read

from analyzer.observed import decisions
from analyzer.observed.decisions import Decision
from analyzer.observed.register_state import OutgoingState
from analyzer.verdicts import handovers

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT, OTHER, BELOW = 0x08, 0x10, 0x0100
CONTROL_2 = EXP + 0x28


@dataclass(eq=False)
class Boot:
    """A boot with bridges, from row ``first`` to row 99 later; accesses are numbered from 1,000."""

    first: int
    bridges_of_it: tuple[Part, ...] = ()
    decided: dict[int, list[Decision]] = field(default_factory=dict)
    functions: dict[int, object] = field(default_factory=dict)

    @property
    def boot(self) -> SimpleNamespace:
        return SimpleNamespace(first=self.first, last=self.first + 99)

    def access(self, row: int) -> int:
        return 1000 + row

    def bridges(self) -> Sequence[Part]:
        return self.bridges_of_it

    def lost_numbers(self) -> tuple[list[Part], list[Part]]:
        return [], []


def decided(bridge: int, rule: str, enabled: bool | None, row: int) -> dict[int, list[Decision]]:
    word: Any = rule
    return {bridge: [Decision(bridge, BELOW, word, enabled, row)]}


def recognised(monkeypatch: pytest.MonkeyPatch, *pairs: tuple[int, Boot, Boot]) -> list[Any]:
    """What is known of kexecs whose boots decided what they say; each boot is asked once."""

    def of_boots(boots: Sequence[Boot]) -> list[dict[int, list[Decision]]]:
        assert len(set(boots)) == len(boots)
        return [boot.decided for boot in boots]

    monkeypatch.setattr(decisions, "of_boots", of_boots)
    given: Any = pairs
    return handovers.handovers(given)


def test_each_kexec_has_the_decisions_of_its_own_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The incoming kernel of the first is the outgoing one of the second; numbers are given."""
    first = Boot(0, (Part(function=PORT),), decided(PORT, "set", True, 50))
    second = Boot(100, (Part(function=PORT),), decided(PORT, "inherit", False, 150))
    third = Boot(200, (), decided(PORT, "set", True, 250))
    one, two = recognised(monkeypatch, (0, first, second), (4, second, third))
    assert (one.number, one.outgoing, one.incoming, one.accesses) == (0, first, second, (1000, 1199))
    assert (two.number, two.outgoing, two.incoming, two.accesses) == (4, second, third, (1100, 1299))
    assert (one.decided_before, one.decided_after) == (first.decided, second.decided)
    assert (two.decided_before, two.decided_after) == (second.decided, third.decided)
    assert (one.outgoing_states, two.outgoing_states) == (
        {PORT: OutgoingState(1, 50)},
        {PORT: OutgoingState(0, 150)},
    )
    assert (one.observed_policy, two.observed_policy) == ("inherit", "stock")


@pytest.mark.parametrize(
    ("before", "after", "above_seven", "policy"),
    [
        # The bit was written right after it was read: what the outgoing kernel used, or what is needed.
        (False, False, False, "serialize"),
        (True, True, False, "serialize"),
        (True, True, True, "heal"),
        (False, True, True, "heal"),
    ],
)
def test_a_kernel_that_writes_what_the_outgoing_one_used(
    monkeypatch: pytest.MonkeyPatch, before: bool, after: bool, above_seven: bool, policy: str
) -> None:
    outgoing = Boot(0, (Part(function=PORT),), decided(PORT, "set", before, 50))
    functions: dict[int, object] = dict.fromkeys([BELOW, BELOW + 8] if above_seven else [BELOW], "function")
    incoming = Boot(100, (), decided(PORT, "restore", after, 150), functions)
    (found,) = recognised(monkeypatch, (0, outgoing, incoming))
    assert found.observed_policy == policy


@pytest.mark.parametrize(
    ("accesses", "its", "expected"),
    [
        ((), {}, OutgoingState()),
        ((), decided(PORT, "set", True, 50), OutgoingState(1, 50)),
        # Without its decision in the capture the reads of the register count, never a function above 7.
        ((read(CONTROL_2, 2, 0x20),), {}, OutgoingState(1, 100)),
        ((read(CONTROL_2, 2, 0x20),), decided(OTHER, "set", False, 50), OutgoingState(1, 100)),
    ],
)
def test_what_the_outgoing_kernel_last_used(
    accesses: tuple[Any, ...], its: dict[int, list[Decision]], expected: OutgoingState
) -> None:
    outgoing: Any = Boot(0, (Part(accesses, function=PORT),), functions={BELOW: "", BELOW + 8: ""})
    assert handovers.outgoing_states(outgoing, its) == {PORT: expected}
