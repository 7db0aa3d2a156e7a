"""The ARI decision of each policy for one bridge: pci_configure_ari and its variants.

Linux 7.3 drivers/pci/pci.c pci_configure_ari (stock); series v4 to v9 "PCI: liveupdate: Inherit / Adopt ARI
Forwarding Enable on preserved bridges" (inherit). ``serialize`` is the restore variant asked about in the
v3/v4 discussion (June 2026), ``heal`` is hypothetical; neither exists in a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from analyzer.series import AriRule, named

if TYPE_CHECKING:
    from analyzer.results import PolicyName

#: Which branch decided; docs/replay.md cites each.
Branch = Literal[
    "no-function-0", "not-pcie", "unsupported", "noari", "set", "clear", "inherited", "restored", "healed",
    "unknown"
]  # fmt: skip


class AriDecision(NamedTuple):
    """``enabled``: ARI state that enumeration uses (None: not in the capture); ``branch``: why."""

    enabled: bool | None
    branch: Branch


class AriQuestion(NamedTuple):
    """What the decision about one bridge depends on; None is unknown.

    Attributes:
        policy, series, noari: the kernel (see :class:`analyzer.replay.profile.Profile`).
        preserved: it takes the bridge for preserved, by its address under the numbering of this scan.
        preserved_above_seven: it takes a function numbered 8 or above on the bus below for preserved.
        saved: ARI state that the outgoing kernel last used.
        hardware: bit 5 of DEVCTL2 as a read returns it.
        bridge_is_pcie, bridge_supports: the bridge has a PCI Express capability, and supports ARI Forwarding.
        function_0: function 0 of the bus below answers.
        function_0_is_pcie, function_0_has_ari: its capabilities.
    """

    policy: PolicyName
    series: str
    noari: bool | None
    preserved: bool
    preserved_above_seven: bool
    saved: bool | None
    hardware: bool | None
    bridge_is_pcie: bool | None
    bridge_supports: bool | None
    function_0: bool
    function_0_is_pcie: bool | None
    function_0_has_ari: bool | None


def decide(*facts: Any) -> AriDecision:
    """Decide ARI of a bridge while function 0 below it is set up.

    Args:
        facts: those of :class:`AriQuestion`, in order.
    """
    asked = AriQuestion(*facts)
    if not asked.function_0:
        return AriDecision(False, "no-function-0")  # pci_configure_ari never runs: the field stays 0 at boot
    if asked.noari and asked.policy == "stock":  # tested first in a stock kernel, later in a patched one
        return AriDecision(False, "noari")
    if asked.function_0_is_pcie is False or asked.bridge_is_pcie is False:
        return AriDecision(False, "not-pcie")
    if asked.bridge_supports is False:
        return AriDecision(False, "unsupported")
    decision = _applicable(asked)
    if asked.bridge_supports and (asked.function_0_is_pcie or asked.function_0_has_ari):
        return decision
    # Whether this point is reached is not in the capture; where it is not, ARI stays off.
    return AriDecision(False if decision.enabled is False else None, "unknown")


def _applicable(asked: AriQuestion) -> AriDecision:
    """The rule for a bridge that supports ARI Forwarding, above a PCIe function 0."""
    if asked.preserved:
        return _preserved(asked)
    if asked.noari:
        return AriDecision(False, "noari")
    if asked.function_0_has_ari is False:
        return AriDecision(False, "clear")
    if asked.function_0_has_ari is None or asked.noari is None:
        return AriDecision(None, "unknown")
    return AriDecision(True, "set")


def _preserved(asked: AriQuestion) -> AriDecision:
    """The step that the policies put before the stock rule, for an incoming preserved bridge."""
    if asked.policy == "serialize":
        return AriDecision(asked.saved, "restored" if asked.saved is not None else "unknown")
    if asked.policy == "heal" and asked.preserved_above_seven:
        # by the set alone: a listed function may be invisible to this kernel
        return AriDecision(True, "healed")
    match named(asked.series).ari:
        case AriRule.READ:
            return AriDecision(asked.hardware, "inherited" if asked.hardware is not None else "unknown")
