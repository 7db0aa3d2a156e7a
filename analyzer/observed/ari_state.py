"""ARI Forwarding of one bridge across one kexec: before, after, decided, and when the bit went.

The words are the interface's: *before* is what the outgoing kernel last believed and used, *after* is bit 5
in the first read behind the boundary, *decided* is what the incoming kernel used for enumeration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.observed.decisions import ARI_BIT

if TYPE_CHECKING:
    from analyzer.observed.decisions import Decision
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample


@dataclass(frozen=True)
class OutgoingState:
    """What the outgoing kernel believed of one bridge.

    Attributes:
        enabled: ARI on, off, or None (the capture does not tell).
        row: row of the access that shows it, None if it is not known.
        from_read: from a mere read of the register (no decision in the capture).
    """

    enabled: bool | None
    row: int | None = None
    from_read: bool = False


def outgoing_state(bridge: Function | None, decisions: list[Decision]) -> OutgoingState:
    """Return what the outgoing kernel last believed and used.

    Its last set, clear or inherit decision, or a later confirmed set (a write of 1 that a read confirms). A
    stray clear is the loss itself, not a new state. A capture that does not hold the decision is served by
    reads of the register. It is never inferred from an address: that a function above 7 answers does not show
    the bit.
    """
    if bridge is None:
        return OutgoingState(None)
    decided = [decision for decision in decisions if decision.enabled is not None]
    current = OutgoingState(decided[-1].enabled, decided[-1].row) if decided else OutgoingState(None)
    wrote = False
    shown: list[tuple[int, bool]] = []
    for sample in bridge.devctl2:
        bit = sample.bit(ARI_BIT)
        if bit is None or (current.row is not None and sample.row <= current.row):
            continue
        if sample.write:
            wrote = bit
            continue
        shown.append((sample.row, bit))
        if wrote and bit and current.enabled is False:
            current = OutgoingState(True, sample.row)
    if current.enabled is not None:
        return current
    return _without_decision(shown)


def _without_decision(shown: list[tuple[int, bool]]) -> OutgoingState:
    for row, bit in shown:
        if bit:
            return OutgoingState(True, row, from_read=True)
    if shown:
        return OutgoingState(False, shown[0][0], from_read=True)
    return OutgoingState(None)


def hardware(bridge: Function) -> bool | None:
    """The bit as the last access shows it: what a read returned, or what was written."""
    for sample in reversed(bridge.devctl2):
        bit = sample.bit(ARI_BIT)
        if bit is not None:
            return bit
    return None


def first_after(bridge: Function | None) -> Sample | None:
    """First read of the incoming boot that shows bit 5, before that kernel's own write, or None."""
    if bridge is None:
        return None
    for sample in bridge.devctl2:
        if not sample.mask >> ARI_BIT & 1:
            continue
        if sample.write:
            return None
        if not sample.dead:
            return sample
    return None


def last_on(bridge: Function | None, since: int | None) -> int | None:
    """Row of the outgoing boot's last access that shows the bit on, at or behind ``since``."""
    if bridge is None:
        return since
    row = since
    for sample in bridge.devctl2:
        if sample.bit(ARI_BIT) and (since is None or sample.row >= since):
            row = sample.row
    return row


def first_off(bridge: Function | None, since: int | None) -> int | None:
    """Row of the outgoing boot's first access behind ``since`` that shows the bit off for good."""
    if bridge is None:
        return None
    row: int | None = None
    for sample in bridge.devctl2:
        bit = sample.bit(ARI_BIT)
        if bit is None or (since is not None and sample.row <= since):
            continue
        if bit:
            row = None
        elif row is None:
            row = sample.row
    return row
