"""One inherited state of one function at one kexec: what was held, what was read first, and between what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer.observed import register_state
from analyzer.observed.register_state import OutgoingState
from analyzer.results import Window

if TYPE_CHECKING:
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.results import Evidence, Phase
    from analyzer.verdicts.causes import Attribution
    from analyzer.verdicts.evidence import EvidenceBuilder
    from schemas.inherited_state import InheritedState


@dataclass(frozen=True)
class StateAtKexec:
    """One state of one function.

    Attributes:
        state: the register and its bits.
        before, after: the function in the outgoing and in the incoming boot (None: not seen there).
        outgoing: what the outgoing kernel last used.
        first: the incoming kernel's first read, before its own write, or None.
    """

    state: InheritedState
    before: Function | None
    after: Function | None
    outgoing: OutgoingState = field(default_factory=OutgoingState)
    first: Sample | None = None

    @property
    def value_after(self) -> int | None:
        """The field in the incoming kernel's first read."""
        return None if self.first is None else self.first.field(self.state.mask)

    @property
    def is_on_after(self) -> bool | None:
        """The same of a flag."""
        return None if self.value_after is None else bool(self.value_after)

    def evidence(self, builder: EvidenceBuilder) -> list[Evidence]:
        """The accesses that show it on either side of the kexec."""
        state, register = self.state, self.state.register
        proof = []
        row, value = self.outgoing.row, self.outgoing.value or 0
        if self.before is not None and row is not None and self.before.start_of(register.base) is not None:
            note = f"outgoing kernel: {state.name} {state.plain(value)}"
            proof.append(builder.access(row, register, note, self.before))
        if self.after is not None and self.first is not None:
            note = f"first read after the kexec: {state.plain(self.value_after or 0)}"
            proof.append(builder.access(self.first.row, register, note, self.after))
        return proof

    def window(self, cause: Attribution | None, outgoing_end: int, builder: EvidenceBuilder) -> Window:
        """Between which accesses it was lost.

        Args:
            cause: why, if that is known.
            outgoing_end: row of the outgoing kernel's last access.
            builder: knows the access numbers.
        """
        held = register_state.last_held(self.before, self.state, self.outgoing)
        changed = register_state.first_changed(self.before, self.state, self.outgoing, held)
        by, row = (None, None) if cause is None else (cause.cause, cause.row)
        lost = changed if changed is not None or by == "incoming-write" else row
        phase: Phase = "blackout"
        if lost is not None and lost <= outgoing_end:
            phase = "outgoing"
        elif by == "incoming-write":
            phase = "incoming"
        if changed is None:
            held, changed = self._shown_after(held, row if by == "incoming-write" else None)
        return Window(builder.number(held), builder.number(changed), phase)

    def _shown_after(self, held: int | None, wrote: int | None) -> tuple[int | None, int | None]:
        """Last access that shows it as it was held, and first that shows it changed, after the kexec.

        Args:
            held: the last one before the kexec.
            wrote: row at which the incoming kernel's boot changed it, if it did.
        """
        if wrote is None or (self.first is not None and self.value_after != self.outgoing.value):
            return held, None if self.first is None else self.first.row
        shown = OutgoingState(self.outgoing.value, held)
        return register_state.last_held(self.after, self.state, shown, wrote), wrote
