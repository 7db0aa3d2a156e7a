"""Version of the Live Update patches in the incoming kernel, and whether it takes the handed-over data.

Recognised from what is known besides the accesses (``--series``, kernel log, layout of that data), then from
what the kernel did with bridges that lost their bus numbers, the one place where versions differ
(docs/replay.md, bus-number rules).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from analyzer import series
from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import bus_numbers
from analyzer.replay.enumeration import Replay, ScanningKernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.preservation.preserved import HandedOver
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.profile import Handover, Profile
    from analyzer.replay.world import Node


def candidates(option: str | None, logged: Iterable[str], handed_over: HandedOver | None) -> list[str]:
    """Versions that fit what is known besides the accesses, oldest first; never empty.

    Raises:
        UsageError: ``option`` is a series that the program does not know.
    """
    if option is not None:
        return [series.named(option).name]
    known = set(logged)
    fitting = [row for row in series.TABLE if row.name in known] or list(series.TABLE)
    if handed_over is not None:
        same = [row for row in fitting if row.hands_over and row.hands_over.layout == handed_over.layout]
        # Of the versions with that layout, those that take the data before those that panic over it.
        taking = [row for row in same if handover(row.name, handed_over) != "panic"]
        fitting = taking or same or fitting
    return [row.name for row in fitting]


def recognise(fitting: list[str], machine: NodeTable, inheriting: Profile, *, followed: bool) -> str:
    """The newest version whose bus-number rules do what the incoming kernel did.

    Args:
        fitting: candidates, oldest first.
        machine: the hardware.
        inheriting: the incoming kernel under the inherit policy, of any version.
        followed: the incoming kernel followed the inherit policy (else there is nothing to compare).
    """
    if not followed or len(fitting) == 1:
        return fitting[-1]
    primary = machine.columns["numbers_primary"]
    rows = np.flatnonzero(bus_numbers.unusable_on(machine, primary) & (primary != NONE))
    lost = [machine.nodes[row] for row in rows.tolist()]
    if not lost:
        return fitting[-1]
    replay = Replay([ScanningKernel(machine, replace(inheriting, series=name)) for name in fitting])
    agreeing = [name for number, name in enumerate(fitting) if _agrees(replay.prediction(number), lost)]
    return (agreeing or fitting)[-1]


def _agrees(prediction: Prediction, lost: list[Node]) -> bool:
    """Whether every bridge without bus numbers got, or did not get, new ones as predicted."""
    for node in lost:
        predicted = prediction.numbers.get(node.path)
        # Refused numbers that are not zero are still what the kernel last read there.
        assigned = node.incoming_numbers is not None and node.incoming_numbers != node.numbers
        if predicted in ("assign", "refuse") and (predicted == "assign") != assigned:
            return False
    return True


def handover(name: str, handed_over: HandedOver | None) -> Handover:
    """Whether a kernel of that version takes the data: by FLB name, then by its version field if it has one.

    Raises:
        UsageError: a series that the program does not know.
    """
    row = series.named(name)
    taken = row.hands_over
    if handed_over is None or taken is None:
        return "matched"
    if handed_over.layout != taken.layout or (handed_over.name and handed_over.name != taken.flb_name):
        return "unmatched"
    if handed_over.version is not None and handed_over.version != taken.version:
        return "panic" if "version" in row.panics else "unmatched"
    return "matched"
