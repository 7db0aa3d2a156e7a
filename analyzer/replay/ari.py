"""The ARI decision of each policy for one bridge: pci_configure_ari and its variants.

Linux 7.3 drivers/pci/pci.c pci_configure_ari (stock); series v4 to v9 "PCI: liveupdate: Inherit / Adopt ARI
Forwarding Enable on preserved bridges" (inherit). ``serialize`` is the restore variant asked about in the
v3/v4 discussion (June 2026), ``heal`` is hypothetical; neither exists in a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from analyzer.series import AriRule, named

if TYPE_CHECKING:
    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node

#: Which branch decided; docs/replay.md cites each.
Branch = Literal[
    "no-function-0", "not-pcie", "unsupported", "noari", "set", "clear", "inherited", "restored", "healed",
    "unknown"
]  # fmt: skip


class AriDecision(NamedTuple):
    """``enabled``: ARI state that enumeration uses (None: not in the capture); ``branch``: why."""

    enabled: bool | None
    branch: Branch


def decide(
    bridge: Node, function_0: Node | None, profile: Profile, *, address: int, secondary: int
) -> AriDecision:
    """Decide ARI of ``bridge`` while function 0 below it is set up.

    Args:
        bridge: the bridge.
        function_0: function 0 on the bus below (None: it does not exist).
        profile: the kernel.
        address: key of the bridge under the numbering of this scan, by which the preserved set is searched.
        secondary: key (``domain << 8 | bus``) of the bus below.
    """
    if function_0 is None:
        return AriDecision(False, "no-function-0")  # pci_configure_ari never runs: the field stays 0 at boot
    if profile.noari and profile.policy == "stock":  # tested first in a stock kernel, later in a patched one
        return AriDecision(False, "noari")
    if function_0.is_pcie is False or bridge.is_pcie is False:
        return AriDecision(False, "not-pcie")
    if bridge.ari_supported is False:
        return AriDecision(False, "unsupported")
    decision = _applicable(bridge, function_0, profile, address, secondary)
    if bridge.ari_supported and (function_0.is_pcie or function_0.has_ari):
        return decision
    # Whether this point is reached is not in the capture; where it is not, ARI stays off.
    return AriDecision(False if decision.enabled is False else None, "unknown")


def _applicable(
    bridge: Node, function_0: Node, profile: Profile, address: int, secondary: int
) -> AriDecision:
    """The rule for a bridge that supports ARI Forwarding, above a PCIe function 0."""
    if profile.preserves(address):
        return _preserved(bridge, profile, address, secondary)
    if profile.noari:
        return AriDecision(False, "noari")
    if function_0.has_ari is False:
        return AriDecision(False, "clear")
    if function_0.has_ari is None or profile.noari is None:
        return AriDecision(None, "unknown")
    return AriDecision(True, "set")


def _preserved(bridge: Node, profile: Profile, address: int, secondary: int) -> AriDecision:
    """The step that the policies put before the stock rule, for an incoming preserved bridge."""
    hardware = bridge.hardware
    if profile.policy == "serialize":
        saved = profile.saved.get(address)
        return AriDecision(saved, "restored" if saved is not None else "unknown")
    if profile.policy == "heal" and profile.preserves_above_seven(secondary):
        # by the set alone: a listed function may be invisible to this kernel
        return AriDecision(True, "healed")
    match named(profile.series).ari:
        case AriRule.READ:
            return AriDecision(hardware, "inherited" if hardware is not None else "unknown")
