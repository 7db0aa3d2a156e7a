"""What became of each function at one kexec, and why a function was not discovered."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from analyzer import bdf, distinct_questions
from analyzer.observed.registers.first_reads import NONE
from analyzer.results import DeviceVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from analyzer.replay.enumeration import FoundRows, Prediction
    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.world import Node, World
    from analyzer.results import DeviceReason, DeviceVerdictName
    from analyzer.verdicts.divergences import Comparison


class _DeviceFacts(NamedTuple):
    """What becomes of a function depends on this; see :class:`analyzer.verdicts.divergences.Comparison`.

    Attributes:
        known: the outgoing kernel had it.
        preserved: it is in the preserved set.
        found, doubted: as in the comparison.
        silent: every byte of it reads ff.
        certain, possible: what the prediction says of it.
        gone: the comparison says why it is not there.
    """

    known: bool
    preserved: bool
    found: bool
    doubted: bool
    silent: bool
    certain: bool
    possible: bool
    gone: bool


def judge(*facts: bool) -> tuple[DeviceVerdictName, DeviceReason | None]:
    """The verdict on one function; the reason of one that is stranded or missing is looked up.

    Args:
        facts: those of a function, in order.
    """
    device = _DeviceFacts(*facts)
    if not device.known and device.preserved:
        return "undetermined", "never-seen"
    if device.found:
        return "reachable", None
    if device.doubted or device.silent or (device.possible and not device.gone):
        return "undetermined", "not-captured"
    if device.certain and not (device.gone and device.known):
        return "reachable", None
    return "stranded" if device.preserved else "missing", None


def verdicts(
    machine: NodeTable,
    found: FoundRows,
    prediction: Callable[[], Prediction],
    preserved: frozenset[int],
    compared: Comparison,
    virtual: Mapping[int, str | None] | None = None,
) -> list[DeviceVerdict]:
    """One verdict per function of the outgoing kernel, of the preserved set, or newly discovered.

    Args:
        machine: the hardware.
        found: what the replay under the policy that verdicts are given under discovers.
        prediction: the same function by function, where a reason is to be found.
        preserved: keys of the preserved set (outgoing numbering).
        compared: what the incoming kernel did against the prediction, if it followed that policy.
        virtual: those of the preserved set that are virtual functions of the outgoing kernel, each with the
            bridge above its physical function. No kernel preserves one: they are stranded under any policy.
    """
    virtual = virtual or {}
    names = machine.names.tolist()
    certain, possible = (set(found.rows[chosen].tolist()) for chosen in (found.certain, ~found.certain))
    outgoing, silent = machine.columns["outgoing"].tolist(), machine.columns["silent"].tolist()
    answers = distinct_questions.each(
        judge,
        (
            (
                key != NONE,
                name in preserved,
                name in compared.found,
                name in compared.doubted,
                is_silent == 1,
                row in certain,
                row in possible,
                name in compared.gone,
            )
            for row, (name, key, is_silent) in enumerate(zip(names, outgoing, silent, strict=True))
        ),
    )
    texts = [bdf.text(name) for name in names]
    judged = [
        (
            name,
            DeviceVerdict(
                texts[row],
                machine.vendor_devices[row],
                name in preserved,
                None if above == NONE else texts[above],
                verdict,
                compared.gone.get(name) or reason(machine.world, machine.nodes[row], prediction())
                if verdict in ("stranded", "missing")
                else why,
            ),
        )
        for row, (name, above, (verdict, why)) in enumerate(
            zip(names, machine.above.tolist(), answers, strict=True)
        )
        if outgoing[row] not in virtual
    ]
    judged.extend(
        (key, DeviceVerdict(bdf.text(key), None, True, bridge, "stranded", "virtual-function"))
        for key, bridge in virtual.items()
    )
    known = {*outgoing, *machine.columns["incoming"].tolist(), *virtual}
    judged.extend(
        (key, DeviceVerdict(bdf.text(key), None, True, None, "undetermined", "never-seen"))
        for key in preserved - known
    )
    return [device for _, device in sorted(judged, key=itemgetter(0))]


def stranded(machine: NodeTable, found: FoundRows, preserved: frozenset[int]) -> list[int]:
    """Keys of the preserved functions that the outgoing kernel had and a replay does not discover."""
    rows = set(found.rows.tolist())
    keys = machine.columns["outgoing"].tolist()
    return sorted(key for row, key in enumerate(keys) if row not in rows and key in preserved)


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
