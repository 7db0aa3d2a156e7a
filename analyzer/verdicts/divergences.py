"""Prediction against observation: the analyzer's own proof, function by function."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer import bdf
from analyzer.results import Divergence
from analyzer.results.rules import REASONS
from schemas import config_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import Node, Path, World
    from analyzer.results import DeviceReason
    from analyzer.verdicts.reset_evidence import LogMessage

#: Messages that a slot lost or gained its device (pciehp; docs/replay.md, log lines).
_HOT_PLUG = re.compile(r"Link (?:Down|Up)\b(?! ignored)|Card (?:not )?present")


@dataclass(frozen=True)
class Comparison:
    """What the prediction and the observation say of each other; functions by the names of their nodes.

    Attributes:
        divergences: every difference.
        doubted: predicted, not enumerated, and nothing shows why.
        gone: predicted and not enumerated because something happened during the scan, and the
            reason as devices have it.
        found: enumerated against the prediction, or where it leaves that open: whatever the rule is, the
            kernel has them.
    """

    divergences: list[Divergence] = field(default_factory=list)
    doubted: frozenset[int] = frozenset()
    gone: Mapping[int, DeviceReason] = field(default_factory=dict)
    found: frozenset[int] = frozenset()


class _Why(NamedTuple):
    """Why a function was not enumerated: note, whether that explains it, and what it is for a device."""

    note: str
    explained: bool
    reason: DeviceReason | None = None


def compare(
    world: World,
    prediction: Prediction,
    incoming: Topology,
    messages: Sequence[LogMessage] = (),
    *,
    complete: bool = True,
) -> Comparison:
    """Where the replay of the policy that ran and the incoming kernel's own enumeration differ.

    Functions that the replay calls merely possible (an input is not in the capture) are no divergence either
    way. Empty when neither the incoming kernel's scan nor a snapshot of it is in the capture.

    Args:
        world: the hardware.
        prediction: replay of the policy that ran.
        incoming: what the incoming kernel enumerated.
        messages: messages and events about functions, which may explain a difference.
        complete: the input is not known to lack functions: what a snapshot does not list is gone.
    """
    lacking = incoming.logged is not None and bool(incoming.logged.missing)
    listed = incoming.is_snapshot and complete and not lacking
    if incoming.boot.scan is None and not incoming.is_snapshot:
        return Comparison()
    certain = {prediction.keys[path]: path for path in prediction.certain}
    possible = {prediction.keys[path]: path for path in prediction.possible}
    observed = incoming.enumerated
    reached = [
        number for number, node in enumerate(prediction.order) if prediction.keys[node.path] in observed
    ]
    last = reached[-1] if reached else -1
    differing = []
    doubted: set[int] = set()
    gone: dict[int, DeviceReason] = {}
    reasons: dict[Path, _Why] = {}
    for number, node in enumerate(prediction.order):
        key = prediction.keys[node.path]
        if key in certain and key not in observed:
            if lacking:
                doubted.add(node.name)
                continue
            hidden = reasons.get(node.path[:-1])  # the scan reaches a bridge before what is below
            if hidden is not None and hidden.reason is not None:
                why = hidden._replace(reason="ancestor-hidden")
            else:
                why = _why_not_observed(world, node, incoming, messages, later=number > last)
            if listed and why.reason is None and node.outgoing is not None:
                why = _Why(REASONS["not-listed"], explained=True, reason="not-listed")
            reasons[node.path] = why
            differing.append(
                Divergence(
                    bdf.text(key), predicted=True, observed=False, note=why.note, explained=why.explained
                )
            )
            if not why.explained:
                doubted.add(node.name)
            elif why.reason is not None and key not in incoming.functions:  # nor by a later scan
                gone[node.name] = why.reason
    # A silent function was enumerated before it fell silent, on a machine that a snapshot no longer shows.
    extra = observed - incoming.silent - certain.keys() - possible.keys()
    for key in extra:
        known = _hot_plugged(incoming.ancestors(key), messages) or _fell_silent_since(key, incoming)
        note = known or "the incoming kernel enumerated it, the replay does not reach it"
        differing.append(
            Divergence(bdf.text(key), predicted=False, observed=True, note=note, explained=known is not None)
        )
    for key, path in possible.items():
        node = world.by_path[path]
        if listed and key not in observed and node.outgoing is not None:
            gone[node.name] = "not-listed"
    names = {node.incoming: node.name for node in world.by_path.values()}
    open_ends = observed & possible.keys() - incoming.silent
    return Comparison(
        sorted(differing, key=lambda item: bdf.parse(item.bdf)),
        frozenset(doubted),
        gone,
        frozenset(names.get(key, key) for key in extra | open_ends),
    )


def _why_not_observed(
    world: World, node: Node, incoming: Topology, messages: Sequence[LogMessage], *, later: bool
) -> _Why:
    """Why a function was predicted and not enumerated."""
    if incoming.scan_ends.get(node.path[0]) is None and later and not incoming.is_snapshot:
        return _Why("the capture ends before the scan reaches it", explained=True)
    above = world.parent(node)
    bridges = []
    while above is not None:
        if above.incoming is not None and above.incoming in incoming.functions:
            bridges.append(incoming.functions[above.incoming])
        above = world.parent(above)
    died = _died(world, node, incoming)
    if died is not None:
        note = f"{bdf.text(died.incoming or 0)} stopped answering while the scan set it up"
        beside: DeviceReason = "chain-broken" if died.devfn else "function-0-absent"
        return _Why(note, explained=True, reason="bridge-gone" if died is world.parent(node) else beside)
    plugged = _hot_plugged(bridges, messages)
    if plugged is not None:
        return _Why(plugged, explained=True, reason="no-response")
    place = f" below {bdf.text(bridges[0].function)}" if bridges else ""
    note = f"the replay reaches it{place}, no enumeration of it by the incoming kernel is in the capture"
    return _Why(note, explained=False)


def _died(world: World, node: Node, incoming: Topology) -> Node | None:
    """A function of the same bus, or a bridge above, whose answers turned to all ones during this scan."""
    above = world.parent(node)
    siblings = [] if above is None else [*above.children.values(), above]
    end = incoming.scan_ends.get(node.path[0], incoming.boot.last)
    for sibling in siblings:
        function = incoming.functions.get(sibling.incoming) if sibling.incoming is not None else None
        if function is not None and function.scans and _fell_silent(function, end, extended=sibling.has_ari):
            return sibling
    return None


def _fell_silent(function: Function, end: int, *, extended: bool | None) -> bool:
    """Whether a function's reads turned to all ones after its discovery and stayed so up to row ``end``.

    Base addresses return ones while they are sized. A byte of ones shows nothing, and above 0x100 silence
    shows something only of a function that has something there.
    """
    accesses = function.view.accesses
    offsets = accesses.offsets
    during = (accesses.rows > function.scans[0]) & (accesses.rows <= end) & ~accesses.writes
    during &= (offsets < config_header.CONFIG_SIZE) | bool(extended)
    byte = (accesses.values == 0xFF) & (accesses.widths < 2)
    sized = (offsets >= config_header.BASE_ADDRESS_0) & (offsets <= config_header.ROM_ADDRESS)
    answers = np.flatnonzero(during & accesses.live & ~byte)
    first = answers[-1] + 1 if answers.size else 0
    return bool((during & ~accesses.live & ~sized)[first:].any())


def _fell_silent_since(key: int, incoming: Topology) -> str | None:
    """Function 0 of the bus or of the device, if the snapshot lists it and it no longer answers."""
    for function_0 in (key >> 8 << 8, key & ~7):
        if function_0 in incoming.silent:
            return f"{bdf.text(function_0)} reads all ones now: the walk began there when it still answered"
    return None


def _hot_plugged(bridges: Sequence[Function], messages: Sequence[LogMessage]) -> str | None:
    keys = {bridge.function for bridge in bridges}
    for item in messages:
        if item.function in keys and _HOT_PLUG.search(item.text):
            return f"hot-plug on {bdf.text(item.function)}: {item.text}"
    return None
