"""The ARI decision on inputs that a recorded kexec hardly shows: options and addresses that are not known."""

from __future__ import annotations

import pytest
from hand_made_worlds import link, predict

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.ari import AriDecision
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node

BRIDGE = 0x00_0008
SECONDARY = 0x0001


def decision(
    profile: Profile, address: int, secondary: int, *, hardware: bool | None, ari: bool | None
) -> AriDecision:
    """What a scan decides on a bridge of the root bus of that address, above a function 0.

    Args:
        profile: the kernel.
        address: key of the bridge under the numbering of this scan.
        secondary: number of the bus below.
        hardware: bit 5 of DEVCTL2.
        ari: function 0 has an ARI capability.
    """
    bridge = Node(
        (address >> 8, address & 0xFF),
        outgoing=BRIDGE,
        is_bridge=True,
        is_pcie=True,
        ari_supported=True,
        hardware=hardware,
        numbers=BusNumbers(address >> 8 & 0xFF, secondary, secondary, row=0),
    )
    below = Node((*bridge.path, 0), is_pcie=True, has_ari=ari)
    prediction = predict(link({node.path: node for node in (bridge, below)}), profile)
    assert prediction.keys == {bridge.path: address, below.path: secondary << 8}
    return prediction.decisions[bridge.path]


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
    profile = kernel(policy, noari=noari, preserved=preserved)
    decided = decision(profile, BRIDGE, SECONDARY, hardware=True, ari=ari)
    assert decided == expected


def test_the_handed_over_state_is_looked_up_under_the_address_of_this_scan() -> None:
    """The set knows addresses only: a bridge found elsewhere is taken for the one listed there."""
    moved = 0x00_0300
    profile = kernel("serialize", preserved=(BRIDGE, moved), **{"8": False, "300": True})
    decided = decision(profile, moved, 0x04, hardware=None, ari=True)
    assert decided == AriDecision(True, "restored")
