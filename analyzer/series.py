"""Version of the Live Update patches in the incoming kernel, and whether it takes the handed-over data.

Recognised from what is known beside the accesses (``--series``, kernel log, layout of that data), then from
what the kernel did with bridges that lost their bus numbers, the one place where versions differ
(docs/replay.md, bus-number rules).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.options import SERIES
from analyzer.replay import bus_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.options import Series
    from analyzer.preservation.preserved import HandedOver
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.profile import Handover
    from analyzer.replay.world import Node, World

#: Series -> layout of pci_ser and FLB name (schemas/pci_ser.py); earlier ones did not settle on one.
_FLB: dict[Series, tuple[str, str]] = {
    "v6": ("H6", "pci-v3"),
    "v7": ("H7", "pci-v2"),
    "v8": ("H8", "pci"),
    "v9": ("H8", "pci"),
}
#: Version of pci_ser that series v8 and v9 expect.
_PCI_SER_VERSION = 2


def candidates(
    option: Series | None, logged: Iterable[Series], handed_over: HandedOver | None
) -> list[Series]:
    """Versions that fit what is known beside the accesses, oldest first; never empty."""
    if option is not None:
        return [option]
    fitting: list[Series] = [series for series in SERIES if series in set(logged)] or list(SERIES)
    if handed_over is not None:
        same = [series for series in fitting if _FLB.get(series, ("", ""))[0] == handed_over.layout]
        fitting = same or fitting
    return fitting


def recognise(
    fitting: list[Series], world: World, predict: Callable[[Series], Prediction], *, followed: bool
) -> Series:
    """The newest version whose bus-number rules do what the incoming kernel did.

    Args:
        fitting: candidates, oldest first.
        world: the hardware.
        predict: replay of the inherit policy under one version.
        followed: the incoming kernel followed the inherit policy (else there is nothing to compare).
    """
    if not followed or len(fitting) == 1:
        return fitting[-1]
    lost = [node for node in world.nodes() if _lost_numbers(node)]
    if not lost:
        return fitting[-1]
    agreeing = [series for series in fitting if _agrees(predict(series), lost)]
    return (agreeing or fitting)[-1]


def _lost_numbers(node: Node) -> bool:
    return node.is_bridge and node.numbers is not None and bus_numbers.unusable(node, node.numbers.primary)


def _agrees(prediction: Prediction, lost: list[Node]) -> bool:
    """Whether every bridge without bus numbers got, or did not get, new ones as predicted."""
    for node in lost:
        predicted = prediction.numbers.get(node.path)
        # Refused numbers that are not zero are still what the kernel last read there.
        assigned = node.incoming_numbers is not None and node.incoming_numbers != node.numbers
        if predicted in ("assign", "refuse") and (predicted == "assign") != assigned:
            return False
    return True


def handover(series: Series, handed_over: HandedOver | None) -> Handover:
    """Whether a kernel of that version takes the data: by FLB name, then (v8, v9) by its version field."""
    if handed_over is None or series not in _FLB:
        return "matched"
    layout, name = _FLB[series]
    if handed_over.layout != layout or (handed_over.name and handed_over.name != name):
        return "unmatched"
    if handed_over.version is not None and handed_over.version != _PCI_SER_VERSION:
        return "panic"
    return "matched"
