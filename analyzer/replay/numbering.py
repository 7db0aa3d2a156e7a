"""Which bus numbers a scan would assign, and whether the bridges above forward them.

Linux 7.3 pci_scan_child_bus_extend and pci_scan_bridge_extend: pass 0 scans behind every bridge whose numbers
are usable and notes the highest number in use; pass 1 gives each other bridge the next one. A bridge above
that kept its numbers is not widened, so that in a packed switch nothing answers behind new ones ("devices
behind bridge are unusable because [bus ..] cannot be assigned for them"). Seen live: docs/replay.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.replay import bus_numbers

if TYPE_CHECKING:
    from analyzer.replay.world import Node, World

_LAST_BUS = 255


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
    unnumbered = [bridge for bridge in bridges if bus_numbers.unusable(bridge, bus)]
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
