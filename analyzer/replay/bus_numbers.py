"""Whether a scan uses, assigns or refuses the bus numbers of a bridge, and what newly assigned ones reach.

Linux pci_scan_bridge_extend: 7.3 for the test itself; series v4 to v9 "PCI: liveupdate: Inherit (v4-v7) /
Keep / Preserve (v8, v9) bus numbers" for the refusals (docs/replay.md, bus-number rules).

New numbers: Linux 7.3 pci_scan_child_bus_extend and pci_scan_bridge_extend. Pass 0 scans below every bridge
whose numbers are usable and notes the highest number in use; pass 1 gives each other bridge the next one. A
bridge above that kept its numbers is not widened, so that in a packed switch nothing answers below new ones
("devices behind bridge are unusable because [bus ..] cannot be assigned for them"). Seen live:
docs/replay.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.series import BusNumberRule, named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.replay.profile import Profile
    from analyzer.replay.world import Node, World

#: ``unknown``: to assign or to refuse depends on a preserved neighbour that is perhaps not found (series v9).
Outcome = Literal["use", "assign", "refuse", "unknown"]

_LAST_BUS = 255


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


def mark_unreachable(world: World) -> None:
    """Note the bridges whose new bus numbers, if a kernel assigned them, would reach nothing."""
    for root in sorted(world.roots):
        _number(world.roots[root], root & 0xFF, _LAST_BUS)


def _number(devices: dict[int, Node], bus: int, limit: int) -> int:
    """Number the buses below one bus; return the highest number then in use.

    Args:
        devices: the functions on the bus.
        bus: its number.
        limit: highest number that every bridge above forwards.
    """
    highest = bus
    present = (devices[devfn] for devfn in sorted(devices) if devices[devfn].present)
    bridges = [node for node in present if node.is_bridge]
    unnumbered = [bridge for bridge in bridges if unusable(bridge, bus)]
    for bridge in bridges:
        numbers = bridge.numbers or bridge.outgoing_numbers
        if bridge not in unnumbered and numbers is not None and numbers.secondary > bus:
            _number(bridge.children, numbers.secondary, min(limit, numbers.subordinate))
            highest = max(highest, numbers.subordinate)
    for bridge in unnumbered:
        new = highest + 1
        bridge.beyond_reach = new > limit
        highest = new if bridge.beyond_reach else _number(bridge.children, new, limit)
    return highest
