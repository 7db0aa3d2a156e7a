"""One inherited state of one function across one kexec: before, after, and when it changed.

The functions take the state as a value (:mod:`schemas.inherited_state`) and know no register of their own.
A value is the state's field, shifted down; None where the capture does not show it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from schemas.inherited_state import InheritedState


@dataclass(frozen=True)
class OutgoingState:
    """What the outgoing kernel last used.

    Attributes:
        value: the field, None if the capture does not show it.
        row: row of the access that shows it, None if it is not known.
    """

    value: int | None = None
    row: int | None = None

    @property
    def enabled(self) -> bool | None:
        """Of a flag: on, off, or None for unknown."""
        return None if self.value is None else bool(self.value)


def history(function: Function | None, state: InheritedState) -> Iterator[Sample]:
    """Yield every access of one boot that shows or changes some of a state, in order.

    Where an access covers the state in part (a byte of a word), the rest is what earlier accesses showed, if
    they did. Writes to an error status register clear its bits and are left out.
    """
    if function is None:
        return
    mask, value, known = state.mask, 0, 0
    for sample in function.accesses_to(state.register):
        if not sample.mask & mask or (sample.write and state.is_error_status):
            continue
        if not sample.dead:
            value, known = value & ~sample.mask | sample.value, known | sample.mask
            if sample.mask & mask != mask:
                yield sample._replace(value=value, mask=known)
                continue
        yield sample


def outgoing_state(
    function: Function | None, state: InheritedState, decided: OutgoingState | None = None
) -> OutgoingState:
    """Return what the outgoing kernel last used.

    What it decided, or a later confirmed set (a write of a value other than that after a reset, which a read
    confirms). A stray write of the reset value is the loss itself, not a new state. Where the decision is not
    in the capture, reads of the register count.

    Args:
        function: the function in the outgoing boot.
        state: the state.
        decided: what the kernel was seen to decide.
    """
    current = decided or OutgoingState()
    shown = OutgoingState()
    wrote: int | None = None
    for sample in history(function, state):
        value = sample.field(state.mask)
        if value is None or (current.row is not None and sample.row <= current.row):
            continue
        if sample.write:
            wrote = value
            continue
        if shown.value is None or value not in (shown.value, state.reset_value):
            shown = OutgoingState(value, sample.row)
        if value == wrote != state.reset_value and current.value not in (None, value):
            current = OutgoingState(value, sample.row)
    return shown if current.value is None else current


def last_shown(function: Function | None, state: InheritedState) -> Sample | None:
    """The last access that shows the whole state: what a read returned, or what was written."""
    shown = [sample for sample in history(function, state) if sample.field(state.mask) is not None]
    return shown[-1] if shown else None


def is_on(function: Function | None, state: InheritedState) -> bool | None:
    """Whether a flag is on in hardware, as the last access shows it."""
    shown = last_shown(function, state)
    return None if shown is None else bool(shown.field(state.mask))


def first_after(function: Function | None, state: InheritedState) -> Sample | None:
    """First read of the incoming boot that shows the state, before that kernel's own write, or None."""
    for sample in history(function, state):
        if sample.write:
            return None
        if sample.field(state.mask) is not None:
            return sample
    return None


def last_held(
    function: Function | None, state: InheritedState, held: OutgoingState, until: int = sys.maxsize
) -> int | None:
    """Row of the last access before ``until`` that shows the state as it was held, at or after its row."""
    row = held.row
    since = -1 if held.row is None else held.row
    for sample in history(function, state):
        if since <= sample.row < until and sample.field(state.mask) == held.value:
            row = sample.row
    return row


def first_changed(
    function: Function | None, state: InheritedState, held: OutgoingState, since: int | None
) -> int | None:
    """Row of the outgoing boot's first access after ``since`` that shows the state changed for good."""
    row: int | None = None
    for sample in history(function, state):
        value = sample.field(state.mask)
        if value is None or (since is not None and sample.row <= since):
            continue
        if value == held.value:
            row = None
        elif row is None:
            row = sample.row
    return row


def changing_write(
    function: Function, state: InheritedState, held: int | None, since: int, until: int
) -> tuple[Sample, Sample | None] | None:
    """The write between two rows that changed a state, and the read before it, or None.

    A read-modify-write that carries what it just read is no change, nor is a write after an all-ones read.

    Args:
        function: the function.
        state: the state.
        held: its value at ``since``.
        since: row after which it is looked for.
        until: row before which it is looked for.
    """
    intact: bool | None = True
    before: Sample | None = None
    found: tuple[Sample, Sample | None] | None = None
    for sample in history(function, state):
        if not since < sample.row < until:
            continue
        value = sample.field(state.mask)
        same = None if value is None else value == held
        if sample.write:
            if same is False and intact:
                found = (sample, before)
            elif same:
                found = None
            intact = same if intact is not None else None
        else:
            intact, before = same, sample
            if same:
                found = None  # the write did not stick
    return found
