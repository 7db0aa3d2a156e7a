"""Which branch of the ARI decision is taken, word by word: `analyze explain` names and cites them."""

from __future__ import annotations

import pytest
from hand_made_worlds import link, predict

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.ari import AriDecision, decide
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node

#: Root bus 0 of domain 2, a bridge on it, and the bus below that, as keys.
ROOT, SECONDARY = 0x2_00, 0x2_01
BRIDGE = ROOT << 8 | 8
#: Function 8 on the bus below the bridge, the first that only ARI can address, and function 7.
EIGHT, SEVEN = SECONDARY << 8 | 8, SECONDARY << 8 | 7


def decision(
    policy: str = "stock",
    *,
    pcie: bool | None = True,
    supported: bool | None = True,
    hardware: bool | None = None,
    function_0: tuple[bool | None, bool | None] | None = (True, True),
    preserved: tuple[int, ...] = (),
    noari: bool | None = False,
    saved: dict[int, bool | None] | None = None,
    handover: str = "matched",
) -> AriDecision:
    """Scan; ``function_0`` is (PCI Express, ARI capability), None where it does not exist."""
    bridge = Node((ROOT, 8), is_bridge=True, is_pcie=pcie, ari_supported=supported, hardware=hardware)
    bridge.numbers = BusNumbers(0, 1, 1, row=0)
    below = [] if function_0 is None else [Node((ROOT, 8, 0), is_pcie=function_0[0], has_ari=function_0[1])]
    world = link({node.path: node for node in (bridge, *below)})
    profile = Profile(policy, "v7", frozenset(preserved), noari, False, saved or {}, handover)
    return predict(world, profile).decisions[bridge.path]


#: Facts of the rule, those of a preserved bridge that supports ARI Forwarding and has it on, above a PCIe
#: function 0 with the capability.
PLAIN = {
    "policy": "inherit", "series": "v7", "noari": False, "preserved": True, "preserved_above_seven": False,
    "saved": None, "hardware": True, "bridge_is_pcie": True, "bridge_supports": True, "function_0": True,
    "function_0_is_pcie": True, "function_0_has_ari": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "enabled", "branch"),
    [
        ({}, True, "inherited"),
        ({"hardware": False}, False, "inherited"),
        ({"hardware": None}, None, "unknown"),
        ({"noari": True}, True, "inherited"),
        ({"function_0_has_ari": False}, True, "inherited"),
        ({"function_0": False}, False, "no-function-0"),
        ({"function_0_is_pcie": False}, False, "not-pcie"),
        ({"bridge_is_pcie": False}, False, "not-pcie"),
        ({"bridge_supports": False}, False, "unsupported"),
        ({"bridge_supports": None}, None, "unknown"),
        ({"bridge_supports": None, "hardware": False}, False, "unknown"),
        ({"function_0_is_pcie": None}, True, "inherited"),
        ({"function_0_is_pcie": None, "function_0_has_ari": None}, None, "unknown"),
        ({"policy": "stock", "noari": True, "bridge_supports": False}, False, "noari"),
        ({"noari": True, "bridge_supports": False}, False, "unsupported"),
        ({"policy": "serialize", "saved": True, "hardware": False}, True, "restored"),
        ({"policy": "serialize", "saved": False}, False, "restored"),
        ({"policy": "serialize"}, None, "unknown"),
        ({"policy": "heal", "hardware": False}, False, "inherited"),
        ({"policy": "heal", "hardware": False, "preserved_above_seven": True}, True, "healed"),
        ({"hardware": False, "preserved_above_seven": True}, False, "inherited"),
        ({"policy": "heal", "preserved": False, "preserved_above_seven": True}, True, "set"),
        ({"preserved": False, "hardware": False}, True, "set"),
        ({"preserved": False, "noari": True}, False, "noari"),
        ({"preserved": False, "noari": None}, None, "unknown"),
        ({"preserved": False, "function_0_has_ari": False}, False, "clear"),
        ({"preserved": False, "function_0_has_ari": False, "noari": None}, False, "clear"),
        ({"preserved": False, "function_0_has_ari": None}, None, "unknown"),
    ],
)
@pytest.mark.parametrize("series", ["v4", "v5", "v6", "v7", "v8", "v9"])
def test_the_rule_by_its_facts(
    series: str, facts: dict[str, object], enabled: bool | None, branch: str
) -> None:
    asked = PLAIN | facts | {"series": series}
    assert decide(*asked.values()) == AriDecision(enabled, branch)


@pytest.mark.parametrize("policy", ["stock", "inherit", "serialize", "heal"])
@pytest.mark.parametrize(
    ("inputs", "enabled", "branch"),
    [
        ({}, True, "set"),
        ({"function_0": None}, False, "no-function-0"),
        ({"function_0": None, "noari": True}, False, "no-function-0"),
        ({"function_0": (False, False)}, False, "not-pcie"),
        ({"pcie": False}, False, "not-pcie"),
        ({"pcie": False, "supported": False}, False, "not-pcie"),
        ({"supported": False}, False, "unsupported"),
        ({"function_0": (True, False)}, False, "clear"),
        ({"function_0": (True, None)}, None, "unknown"),
        ({"function_0": (None, True)}, True, "set"),  # only a PCI Express function has that capability
        ({"pcie": None}, True, "set"),  # DEVCAP2 was read: the bridge is PCI Express
        ({"noari": True}, False, "noari"),
        ({"noari": None}, None, "unknown"),
        # Whether DEVCAP2 says supported, or function 0 is PCI Express, is not in the capture.
        ({"supported": None}, None, "unknown"),
        ({"supported": None, "function_0": (True, False)}, False, "unknown"),
        ({"supported": None, "function_0": (None, None)}, None, "unknown"),
        ({"function_0": (None, None)}, None, "unknown"),
        ({"function_0": (None, False)}, False, "unknown"),
    ],
)
def test_a_bridge_that_is_not_preserved(
    policy: str, inputs: dict[str, object], enabled: bool | None, branch: str
) -> None:
    assert decision(policy, **inputs) == AriDecision(enabled, branch)


@pytest.mark.parametrize(
    ("inputs", "stock", "patched"),
    [
        ({"function_0": (False, False)}, "noari", "not-pcie"),
        ({"pcie": False}, "noari", "not-pcie"),
        ({"supported": False}, "noari", "unsupported"),
        ({"supported": None}, "noari", "unknown"),
    ],
)
def test_a_stock_kernel_tests_noari_first(inputs: dict[str, object], stock: str, patched: str) -> None:
    assert decision("stock", noari=True, **inputs) == AriDecision(False, stock)
    assert decision("inherit", noari=True, **inputs) == AriDecision(False, patched)


@pytest.mark.parametrize(
    ("policy", "inputs", "enabled", "branch"),
    [
        ("stock", {"hardware": False}, True, "set"),
        ("inherit", {"hardware": True}, True, "inherited"),
        ("inherit", {"hardware": False}, False, "inherited"),
        ("inherit", {"hardware": None}, None, "unknown"),
        ("inherit", {"hardware": True, "function_0": (True, False)}, True, "inherited"),
        ("inherit", {"hardware": True, "supported": False}, False, "unsupported"),
        ("inherit", {"hardware": True, "supported": None}, None, "unknown"),
        ("inherit", {"hardware": False, "supported": None}, False, "unknown"),
        ("inherit", {"hardware": False, "handover": "unmatched"}, True, "set"),
        ("serialize", {"hardware": False, "saved": {BRIDGE: True}}, True, "restored"),
        ("serialize", {"hardware": True, "saved": {BRIDGE: False}}, False, "restored"),
        ("serialize", {"hardware": True, "saved": {BRIDGE: None}}, None, "unknown"),
        ("serialize", {"hardware": True}, None, "unknown"),
        ("serialize", {"preserved": (EIGHT,), "saved": {BRIDGE: False}}, True, "set"),
        ("heal", {"hardware": True}, True, "inherited"),
        ("heal", {"hardware": False}, False, "inherited"),
        ("heal", {"hardware": None}, None, "unknown"),
        ("heal", {"hardware": False, "preserved": (BRIDGE, EIGHT)}, True, "healed"),
        ("heal", {"hardware": False, "preserved": (BRIDGE, SECONDARY << 8 | 0xFF)}, True, "healed"),
        ("heal", {"hardware": False, "preserved": (BRIDGE, SEVEN)}, False, "inherited"),
        ("heal", {"hardware": False, "preserved": (BRIDGE, EIGHT + 0x100)}, False, "inherited"),
        ("inherit", {"hardware": False, "preserved": (BRIDGE, EIGHT)}, False, "inherited"),
        ("inherit", {"hardware": False, "preserved": (BRIDGE + 1,)}, True, "set"),
        ("heal", {"hardware": False, "preserved": (BRIDGE + 1, EIGHT)}, True, "set"),
    ],
)
def test_a_preserved_bridge(
    policy: str, inputs: dict[str, object], enabled: bool | None, branch: str
) -> None:
    assert decision(policy, **({"preserved": (BRIDGE,)} | inputs)) == AriDecision(enabled, branch)
