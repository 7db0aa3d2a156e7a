"""Whether a scan uses, assigns or refuses the bus numbers of a bridge.

Linux pci_scan_bridge_extend: 7.3 for the test itself; series v4 to v9 "PCI: liveupdate: Inherit (v4-v7) /
Keep / Preserve (v8, v9) bus numbers" for the refusals (docs/replay.md, bus-number rules).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.series import BusNumberRule, named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node

#: ``unknown``: to assign or to refuse hangs on a preserved neighbour that is perhaps not found (series v9).
Outcome = Literal["use", "assign", "refuse", "unknown"]


def outcome(
    bridge: Node, bus: int, siblings: Iterable[Node], profile: Profile, *, kept: bool = True
) -> Outcome:
    """Decide what the scan of ``bus`` does with one bridge on it.

    Args:
        bridge: the bridge.
        bus: key (``domain << 8 | bus``) of the bus that it sits on, as the scan knows it.
        siblings: every function that the scan discovered on that bus, the bridge included.
        profile: the kernel.
        kept: where the incoming kernel's read is not in the capture, the outgoing kernel's numbers are taken
            as kept, else as lost.
    """
    if not unusable(bridge, bus & 0xFF, kept=kept):
        return "use"
    if profile.live_update and _refuses(bridge, bus, siblings, profile, kept=kept):
        return "refuse"
    return "assign"


def unusable(bridge: Node, bus: int, *, kept: bool = True) -> bool:
    """Whether the numbers that the bridge shows are unset or broken on the bus of that number."""
    numbers = bridge.numbers
    if numbers is None and kept:
        numbers = bridge.outgoing_numbers
    return numbers is None or numbers.broken_on(bus)


def _refuses(bridge: Node, bus: int, siblings: Iterable[Node], profile: Profile, *, kept: bool) -> bool:
    match named(profile.series).bus_numbers:
        case BusNumberRule.PRESERVED_BRIDGE:
            return profile.preserves(bus << 8 | bridge.devfn)
        case BusNumberRule.EVERY_BRIDGE:
            return True
        case BusNumberRule.PRESERVED_BRIDGE_ON_BUS:
            return any(
                sibling.is_bridge
                and profile.preserves(bus << 8 | sibling.devfn)
                and unusable(sibling, bus & 0xFF, kept=kept)
                for sibling in siblings
            )
