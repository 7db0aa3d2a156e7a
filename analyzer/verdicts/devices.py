"""What became of each function at one kexec, and why a function was not discovered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.results import DeviceVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import Node, World
    from analyzer.results import DeviceReason, DeviceVerdictName
    from analyzer.verdicts.divergences import Comparison


def verdicts(
    world: World,
    prediction: Prediction,
    preserved: frozenset[int],
    compared: Comparison,
    virtual: Mapping[int, str | None] | None = None,
) -> list[DeviceVerdict]:
    """One verdict per function of the outgoing kernel, of the preserved set, or newly discovered.

    Args:
        world: the hardware.
        prediction: the replay under the policy that verdicts are given under.
        preserved: keys of the preserved set (outgoing numbering).
        compared: what the incoming kernel did against the prediction, if it followed that policy.
        virtual: those of the preserved set that are virtual functions of the outgoing kernel, each with the
            bridge above its physical function. No kernel preserves one: they are stranded under any policy.
    """
    above = virtual or {}
    judged = [
        _verdict(world, node, prediction, preserved, compared)
        for node in world.nodes()
        if node.outgoing not in above
    ]
    judged.extend(
        DeviceVerdict(bdf.text(key), None, True, bridge, "stranded", "virtual-function")
        for key, bridge in above.items()
    )
    known = (
        {node.outgoing for node in world.nodes()} | {node.incoming for node in world.nodes()} | above.keys()
    )
    judged.extend(
        DeviceVerdict(bdf.text(key), None, True, None, "undetermined", "never-seen")
        for key in preserved
        if key not in known
    )
    return sorted(judged, key=lambda device: bdf.parse(device.bdf))


def _verdict(
    world: World, node: Node, prediction: Prediction, preserved: frozenset[int], compared: Comparison
) -> DeviceVerdict:
    is_preserved = node.name in preserved
    above = world.parent(node)
    bridge = None if above is None else bdf.text(above.name)
    text = bdf.text(node.name)
    if node.outgoing is None and is_preserved:
        return DeviceVerdict(text, node.vendor_device, True, bridge, "undetermined", "never-seen")
    if node.name in compared.found:
        return DeviceVerdict(text, node.vendor_device, is_preserved, bridge, "reachable")
    lost = compared.gone.get(node.name)
    if node.name in compared.doubted or node.silent or (node.path in prediction.possible and lost is None):
        return DeviceVerdict(text, node.vendor_device, is_preserved, bridge, "undetermined", "not-captured")
    if node.path in prediction.certain and (lost is None or node.outgoing is None):
        return DeviceVerdict(text, node.vendor_device, is_preserved, bridge, "reachable")
    verdict: DeviceVerdictName = "stranded" if is_preserved else "missing"
    return DeviceVerdict(
        text, node.vendor_device, is_preserved, bridge, verdict, lost or reason(world, node, prediction)
    )


def stranded(world: World, prediction: Prediction, preserved: frozenset[int]) -> list[int]:
    """Keys of the preserved functions that the outgoing kernel had and this prediction does not discover."""
    return sorted(
        node.outgoing
        for node in world.nodes()
        if node.outgoing is not None
        and node.outgoing in preserved
        and node.path not in prediction.certain
        and node.path not in prediction.possible
    )


def reason(world: World, node: Node, prediction: Prediction) -> DeviceReason:
    """Why a prediction does not discover a function: the first obstacle on the way down to it."""
    if prediction.panicked:
        return "kernel-panicked"
    above = world.parent(node)
    if above is not None:
        if above.path not in prediction.certain and above.path not in prediction.possible:
            return "ancestor-hidden" if above.present or above.unroutable else "bridge-gone"
        if prediction.numbers.get(above.path) == "refuse":
            return "bridge-unconfigured"
        if above.numbers_silent:
            return "bridge-gone"
    siblings = world.roots[node.path[0]] if above is None else above.children
    return _reason_on_bus(node, above, siblings, prediction)


def _reason_on_bus(
    node: Node, above: Node | None, siblings: dict[int, Node], prediction: Prediction
) -> DeviceReason:
    decision = None if above is None else prediction.decisions.get(above.path)
    enabled = decision is not None and decision.enabled
    one_device = enabled or (above is not None and above.one_child)
    first = 0 if one_device else node.devfn & ~7  # else each slot's walk begins with a function 0 of its own
    function_0 = siblings.get(first)
    if node.devfn != first and (function_0 is None or not function_0.present):
        return "function-0-absent"
    if not node.present or above is None:
        return node.ignored or "no-response"
    not_ari = function_0 is not None and function_0.has_ari is False
    if enabled:
        return "function-0-not-ari" if not_ari else "chain-broken"
    for_want_of_it = above.ari_supported is not False and not not_ari  # else ARI is off in any case
    return "noari" if decision is not None and decision.branch == "noari" and for_want_of_it else "ari-off"


def below(bridge: Node, keys: frozenset[int]) -> list[int]:
    """Those of ``keys`` (outgoing numbering) that sit anywhere below a bridge."""
    found = []
    waiting = list(bridge.children.values())
    while waiting:
        node = waiting.pop()
        waiting.extend(node.children.values())
        if node.outgoing is not None and node.outgoing in keys:
            found.append(node.outgoing)
    return found
