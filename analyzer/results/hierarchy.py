"""Who is below whom at one kexec: what every tree of bridges and functions is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.results import BridgeVerdict, DeviceVerdict, KexecResult


@dataclass(frozen=True)
class Hierarchy:
    """Bridges and functions by what is above them, in the order of the results.

    Bus numbers of damaged data may form a cycle: its bridges are below each other, and below no root bus.

    Attributes:
        bridges: bridge verdicts by BDF.
        above: BDF of a bridge -> the bridge above it, None on a root bus.
        below: the bridges right below a bridge; under None those on a root bus.
        functions: the functions right below a bridge that are no bridge; under None those on a root bus.
    """

    bridges: dict[str, BridgeVerdict]
    above: dict[str, str | None]
    below: dict[str | None, list[str]]
    functions: dict[str | None, list[DeviceVerdict]]


def of_kexec(kexec: KexecResult) -> Hierarchy:
    """Return the hierarchy as the outgoing kernel had it.

    The bridge above is the one that the device's verdict names, else the one that leads to the bus that the
    BDF is on.
    """
    bridges = {bridge.bdf: bridge for bridge in kexec.bridges}
    named = {device.bdf: device.bridge for device in kexec.devices}
    leading_to = {
        (bridge.bdf.rsplit(":", 2)[0], bridge.secondary): bridge.bdf
        for bridge in kexec.bridges
        if bridge.secondary
    }
    found = Hierarchy(bridges, {}, {}, {})
    for bridge in kexec.bridges:
        domain, bus, _ = bridge.bdf.rsplit(":", 2)
        above = named.get(bridge.bdf) or leading_to.get((domain, int(bus, 16)))
        found.above[bridge.bdf] = above if above in bridges and above != bridge.bdf else None
        found.below.setdefault(found.above[bridge.bdf], []).append(bridge.bdf)
    for device in kexec.devices:
        if device.bdf not in bridges:
            found.functions.setdefault(device.bridge if device.bridge in bridges else None, []).append(device)
    return found
