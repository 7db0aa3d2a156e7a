"""Prediction against observation: the analyzer's own proof, function by function."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from analyzer import bdf
from analyzer.results import Divergence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.registers.functions import Function
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import Node, World
    from analyzer.topology import Topology
    from analyzer.verdicts.reset_evidence import Told

#: Messages that a slot lost or gained its device (pciehp; docs/replay.md, log lines).
_HOT_PLUG = re.compile(r"Link (?:Down|Up)\b(?! ignored)|Card (?:not )?present")


def compare(
    world: World, prediction: Prediction, incoming: Topology, told: Sequence[Told] = ()
) -> list[Divergence]:
    """Where the replay of the policy that ran and the incoming kernel's own enumeration differ.

    Functions that the replay calls merely possible (an input is not in the capture) are no divergence either
    way. Empty when neither the incoming kernel's scan nor a snapshot of it is in the capture.

    Args:
        world: the hardware.
        prediction: replay of the policy that ran.
        incoming: what the incoming kernel enumerated.
        told: messages and events about functions, which may explain a difference.
    """
    if incoming.boot.scan is None and not incoming.is_snapshot:
        return []
    certain = {prediction.keys[path]: path for path in prediction.certain}
    possible = {prediction.keys[path] for path in prediction.possible}
    observed = incoming.enumerated
    reached = [
        number for number, node in enumerate(prediction.order) if prediction.keys[node.path] in observed
    ]
    last = reached[-1] if reached else -1
    found = []
    for number, node in enumerate(prediction.order):
        key = prediction.keys[node.path]
        if key in certain and key not in observed:
            note, explained = _why_not_observed(world, node, incoming, told, later=number > last)
            found.append(
                Divergence(bdf.text(key), predicted=True, observed=False, note=note, explained=explained)
            )
    for key in observed - certain.keys() - possible:
        plugged = _hot_plugged(incoming.ancestors(key), told)
        note = plugged or "the incoming kernel enumerated it, the replay does not reach it"
        explained = plugged is not None
        found.append(
            Divergence(bdf.text(key), predicted=False, observed=True, note=note, explained=explained)
        )
    return sorted(found, key=lambda item: bdf.parse(item.bdf))


def _why_not_observed(
    world: World, node: Node, incoming: Topology, told: Sequence[Told], *, later: bool
) -> tuple[str, bool]:
    """Note on a function that was predicted and not enumerated, and whether that explains it."""
    if incoming.scan_ends.get(node.path[0]) is None and later and not incoming.is_snapshot:
        return "the capture ends before the scan reaches it", True
    above = world.parent(node)
    bridges = []
    while above is not None:
        if above.incoming is not None and above.incoming in incoming.functions:
            bridges.append(incoming.functions[above.incoming])
        above = world.parent(above)
    died = _died(world, node, incoming)
    if died is not None:
        return f"{bdf.text(died.function)} stopped answering while the scan set it up", True
    plugged = _hot_plugged(bridges, told)
    if plugged is not None:
        return plugged, True
    place = f" below {bdf.text(bridges[0].function)}" if bridges else ""
    return (
        f"the replay reaches it{place}, the capture holds no enumeration of it by the incoming kernel",
        False,
    )


def _died(world: World, node: Node, incoming: Topology) -> Function | None:
    """A function of the same bus, or a bridge above, whose answers turned to all ones during this scan."""
    above = world.parent(node)
    siblings = [] if above is None else [*above.children.values(), above]
    end = incoming.scan_ends.get(node.path[0], incoming.boot.last)
    for sibling in siblings:
        function = incoming.functions.get(sibling.incoming) if sibling.incoming is not None else None
        if function is None or not function.scans:
            continue
        view = function.view
        during = (view.rows > function.scans[0]) & (view.rows <= end) & ~view.writes & (view.offsets < 0x100)
        silent = during & (view.absent | (view.values == 0xFFFFFFFF))
        # BAR sizing reads all ones back from 64-bit BARs; a dead function never answers again.
        if silent.any() and not (during & ~silent & (view.rows > view.rows[np.flatnonzero(silent)[0]])).any():
            return function
    return None


def _hot_plugged(bridges: Sequence[Function], told: Sequence[Told]) -> str | None:
    keys = {bridge.function for bridge in bridges}
    for item in told:
        if item.function in keys and _HOT_PLUG.search(item.text):
            return f"hot-plug on {bdf.text(item.function)}: {item.text}"
    return None
