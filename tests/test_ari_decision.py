"""The ARI decision on inputs that a recorded kexec hardly shows: options and addresses that are not known."""

from __future__ import annotations

import pytest

from analyzer.replay.ari import AriDecision, decide
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node

BRIDGE = 0x00_0008
SECONDARY = 0x0001


def bridge(*, hardware: bool | None = None, supported: bool | None = True) -> Node:
    return Node(
        (0, 8), outgoing=BRIDGE, is_bridge=True, is_pcie=True, ari_supported=supported, hardware=hardware
    )


def function_0(*, ari: bool | None) -> Node:
    return Node((0, 8, 0), is_pcie=True, has_ari=ari)


def kernel(
    policy: str, *, noari: bool | None = False, preserved: tuple[int, ...] = (), **saved: bool
) -> Profile:
    return Profile(
        policy=policy,
        series="v9",
        preserved=frozenset(preserved),
        noari=noari,
        scan_all=False,
        saved={int(key, 16): value for key, value in saved.items()},
    )


@pytest.mark.parametrize(
    ("policy", "noari", "preserved", "ari", "expected"),
    [
        ("stock", True, (), True, AriDecision(False, "noari")),
        ("stock", None, (), True, AriDecision(None, "unknown")),
        ("stock", None, (), False, AriDecision(False, "clear")),  # off, with the option and without
        ("stock", None, (), None, AriDecision(None, "unknown")),
        ("inherit", True, (), True, AriDecision(False, "noari")),
        ("inherit", None, (), True, AriDecision(None, "unknown")),
        ("inherit", None, (), False, AriDecision(False, "clear")),
        # pci=noari does not reach a preserved bridge (series v4 to v9): not knowing it does no harm
        ("inherit", None, (BRIDGE,), True, AriDecision(True, "inherited")),
        ("inherit", True, (BRIDGE,), True, AriDecision(True, "inherited")),
    ],
)
def test_pci_noari_known_or_not(
    policy: str, noari: bool | None, preserved: tuple[int, ...], ari: bool | None, expected: AriDecision
) -> None:
    decided = decide(
        bridge(hardware=True),
        function_0(ari=ari),
        kernel(policy, noari=noari, preserved=preserved),
        address=BRIDGE,
        secondary=SECONDARY,
    )
    assert decided == expected


def test_the_handed_over_state_is_looked_up_under_the_address_of_this_scan() -> None:
    """The set knows addresses only: a bridge found elsewhere is taken for the one listed there."""
    moved = 0x00_0300
    profile = kernel("serialize", preserved=(BRIDGE, moved), **{"8": False, "300": True})
    decided = decide(bridge(), function_0(ari=True), profile, address=moved, secondary=0x0004)
    assert decided == AriDecision(True, "restored")
