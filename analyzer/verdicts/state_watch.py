"""The state watch: every watched register of every function, compared across one kexec.

Functions are matched by their place (device and function numbers from the root bus down), which new bus
numbers do not change. The comparison is made on arrays; only what differs becomes an object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF, DWORDS
from analyzer.results.state import StateVerdict
from analyzer.verdicts import state_counts, state_rule
from analyzer.verdicts.state_rule import StateFacts
from schemas.state_watch import BARS, MAX_PAYLOAD, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from analyzer.observed.topology import Topology
    from analyzer.replay.node_table import NodeTable
    from analyzer.results.state import StateCount, StateVerdictName
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.state_counts import FunctionKinds, StateGroups
    from schemas.state_watch import WatchedState


def _bits(states: Iterable[WatchedState]) -> NDArray[np.int64]:
    """The bits of states, for each watched dword."""
    found = np.zeros(len(DWORDS), np.int64)
    for place, state in enumerate(WATCHED):
        if state in states:
            found[DWORD_OF[place]] |= BITS_OF[place]
    return found


_WATCHED: Final = _bits(WATCHED)
_BITS_OF_CODE: Final = {
    code: _bits([state for state in WATCHED if state.code == code])
    for code in dict.fromkeys(state.code for state in WATCHED)
}
_CLEARED_BY_WRITE: Final = _bits([state for state in WATCHED if state_rule.clears_flags(state)])
_TUNED: Final = _bits([MAX_PAYLOAD])
#: What the outgoing kernel's own writes are said of: interrupts are set up again by every kernel.
_AT_SHUTDOWN: Final = _bits([state for state in WATCHED if state.at_shutdown and state.severity != "note"])
_SIZED: Final = frozenset(BARS)
#: For each state whether it is a BAR.
_SIZED_STATES: Final = np.array([one in _SIZED for one in WATCHED])
#: Which dwords are base addresses.
_BASE_ADDRESSES: Final = _bits(_SIZED) != 0
_DUMPED: Final = (
    "the input has dumps alone: it was lost, cleared by the incoming kernel, or changed later by its user"
)
_NO_SHUTDOWN: Final = "how the outgoing kernel left it at its shutdown is not in the capture"
_MISSING: Final = "accesses are missing from the capture: one of them may have changed it"


@dataclass(frozen=True)
class WatchContext:
    """One kexec, as the watch sees it.

    Attributes:
        preserved: functions that were handed over.
        whole: no access is known to be missing from the capture.
    """

    outgoing: Topology
    incoming: Topology
    machine: NodeTable
    preserved: frozenset[int]
    whole: bool
    builder: EvidenceBuilder


class StateWatch:
    """Watched registers of every function that both kernels enumerated."""

    def __init__(self, context: WatchContext) -> None:
        self._context = context
        before, after = context.outgoing.functions, context.incoming.functions
        columns = (context.machine.columns[name].tolist() for name in ("outgoing", "incoming"))
        pairs = sorted(pair for pair in zip(*columns, strict=True) if NONE not in pair)
        was = np.array([before.row_of(key) for key, _ in pairs], np.int64)
        now = np.array([after.row_of(key) for _, key in pairs], np.int64)
        same = ~_replaced(context, was, now)
        self._pairs = [pair for pair, is_same in zip(pairs, same.tolist(), strict=True) if is_same]
        self._was, self._now = was[same], now[same]
        self._before, self._after = before.table.watched.of(self._was), after.table.watched.of(self._now)
        self._is_preserved = np.array([key in context.preserved for key, _ in self._pairs], np.bool_)
        self._forget_unconfirmed()

    def _forget_unconfirmed(self) -> None:
        """Take a base address that was written and never read back for unknown: it may have no such bits.

        A kernel reads back what it writes there (Linux 7.3 pci_std_update_resource); firmware may not.
        """
        first, last = self._before.first, self._before.last
        read_first = (first.values == last.values) & (first.known & last.known == last.known)
        last.known[_BASE_ADDRESSES & (self._before.written == last.rows) & ~read_first] = 0

    @cached_property
    def _places(self) -> dict[int, int]:
        """Key of the outgoing boot -> row of the arrays."""
        return {key: place for place, (key, _) in enumerate(self._pairs)}

    @cached_property
    def verdicts(self) -> list[StateVerdict]:
        """What changed, by function in the order of :data:`schemas.state_watch.WATCHED`."""
        return [verdict for _, verdict in self._said]

    @cached_property
    def _said(self) -> list[tuple[int, StateVerdict]]:
        """The same, each with the row of its function."""
        found = ((place, self._verdict(place, number)) for place, number in self._candidates())
        return [(place, one) for place, one in found if one.verdict != "kept"]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Functions that are compared: keys in the outgoing and in the incoming boot."""
        return self._pairs

    def settled(self, *codes: str) -> frozenset[int]:
        """Functions of one address in both boots of which no state of the codes differs, or none is known."""
        bits = np.bitwise_or.reduce([_BITS_OF_CODE[code] for code in codes])
        ours, theirs = self._before.last.known & bits, self._after.first.known & bits
        differs = (self._before.last.values ^ self._after.first.values) & ours & theirs
        partly = (ours ^ theirs) | np.where(ours != 0, ours ^ bits, 0)
        places = np.flatnonzero(~((differs | partly) != 0).any(axis=1)).tolist()
        return frozenset(key for key, now in (self._pairs[place] for place in places) if key == now)

    def every_verdict(self, function: int | None = None) -> Iterator[StateVerdict]:
        """Every watched register that a function shows, kept and unknown ones too.

        Args:
            function: its key in the outgoing boot; None: of all functions.
        """
        for place, (key, _) in enumerate(self._pairs):
            if function is not None and key != function:
                continue
            for number, dword in enumerate(DWORD_OF.tolist()):
                known = self._before.last.known[place, dword] | self._after.first.known[place, dword]
                if known & BITS_OF[number]:
                    yield self._verdict(place, number)

    def at_reset(self, function: int) -> tuple[int, int] | None:
        """How many watched registers of a function had another value and stand at their reset value.

        Returns:
            that, and how many had another value before; None where it is not compared.
        """
        place = self._places.get(function)
        if place is None:
            return None
        reset, had = self._reset_counts
        return int(reset[place]), int(had[place])

    def counts(self) -> list[StateCount]:
        """Of each state that a function shows how many functions kept it."""
        return state_counts.by_name(self._worst)

    def groups(self) -> StateGroups:
        """How many functions of each kind have each verdict."""
        return state_counts.by_kind(self._worst, self._kinds)

    @cached_property
    def _worst(self) -> NDArray[np.int8]:
        return state_counts.with_said(
            self._unsaid, ((place, one.name, one.verdict) for place, one in self._said)
        )

    @cached_property
    def _unsaid(self) -> NDArray[np.int8]:
        context = self._context
        return state_counts.unsaid(
            self._before,
            self._after,
            shutdown_known=context.incoming.boot.orderly is True,
            from_dump=context.incoming.is_snapshot,
            whole=context.whole,
        )

    @cached_property
    def _kinds(self) -> FunctionKinds:
        return state_counts.kinds(
            self._context.outgoing.functions.table.facts,
            self._was,
            self._context.incoming.functions.table.facts,
            self._now,
            self._is_preserved,
        )

    @cached_property
    def _reset_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each function how many registers stand at their reset value, of those that had another."""
        known = (self._before.last.known & self._after.first.known)[:, DWORD_OF] & BITS_OF
        held, first = self._before.last.values[:, DWORD_OF], self._after.first.values[:, DWORD_OF]
        known[_SIZED_STATES & (held & BITS_OF == BITS_OF)] = 0
        # 0 may be hard-wired, whatever a reset gives elsewhere (PCI Express 7.5.3.4, of Device Control).
        had = (held & known != 0) & ~state_counts.STATUS
        had &= np.logical_and.reduce([(held ^ value) & known != 0 for value in state_counts.RESETS])
        reset = had & np.logical_or.reduce([(first ^ value) & known == 0 for value in state_counts.RESETS])
        return reset.sum(axis=1), had.sum(axis=1)

    def _candidates(self) -> Iterator[tuple[int, int]]:
        """Function and state wherever something may have changed."""
        before, after = self._before, self._after
        known = before.last.known & after.first.known
        suspects = (before.last.values ^ after.first.values) & known & _WATCHED
        gone = before.last.values & ~after.last.values & _CLEARED_BY_WRITE
        tuned = (before.last.values ^ after.last.values) & _TUNED
        by_write = (gone | tuned) & known & np.where(after.written != NONE, after.last.known, 0)
        left = before.cleared & ~before.last.values & _AT_SHUTDOWN & known
        suspects |= np.where(self._is_preserved[:, None], by_write | left, 0)
        for place, dword in np.argwhere(suspects).tolist():
            bits = int(suspects[place, dword])
            for number in np.flatnonzero(dword == DWORD_OF).tolist():
                if bits & int(BITS_OF[number]):
                    yield place, number

    def _facts(self, place: int, number: int) -> StateFacts:
        """What the arrays show; what takes single accesses is left out."""
        context, before, after = self._context, self._before, self._after
        state, dword, bits = WATCHED[number], int(DWORD_OF[number]), int(BITS_OF[number])
        shift = 8 * (state.register.offset & 3)
        known = int(before.last.known[place, dword] & after.first.known[place, dword]) & bits
        held = int(before.last.values[place, dword])
        if state in _SIZED and held & bits == bits:
            known = 0  # sized, and not yet written back
        last = before.last.rows[place, dword]
        return StateFacts(
            state,
            known=known >> shift,
            held=(held & known) >> shift,
            first=(int(after.first.values[place, dword]) & known) >> shift,
            from_dump=context.incoming.is_snapshot,
            used=((held | int(before.cleared[place, dword])) & known) >> shift if state.at_shutdown else None,
            was_reset=bool(before.reset[place] > last),
            whole=context.whole,
            shutdown_known=context.incoming.boot.orderly is True,
        )

    def _may_be_written(self, place: int, number: int, facts: StateFacts) -> bool:
        """Whether the incoming kernel's own writes have a say: only then are single accesses looked at."""
        dword, bits = int(DWORD_OF[number]), int(BITS_OF[number])
        if facts.from_dump or not facts.known or self._after.written[place, dword] == NONE:
            return False
        if facts.differing:
            return not facts.was_reset  # by that it is expected, whatever is written
        left = int(self._before.last.values[place, dword] ^ self._after.last.values[place, dword])
        wanted = state_rule.of_interest(facts) << 8 * (facts.state.register.offset & 3)
        return bool(left & bits & wanted & int(self._after.last.known[place, dword]))

    def _verdict(self, place: int, number: int) -> StateVerdict:
        key, now = self._pairs[place]
        facts = self._facts(place, number)
        state, dword = facts.state, int(DWORD_OF[number])
        wrote: int | None = None
        if self._may_be_written(place, number, facts):
            facts, wrote = _own_writes(facts, self._context.incoming, now)
        word = state_rule.verdict(facts)
        preserved = bool(self._is_preserved[place])
        severity = state_rule.severity(state, word, preserved=preserved)
        shown, held, after = facts.differing, facts.held, facts.first
        if word == "cleared" and facts.written is not None:
            shown, after = (facts.held ^ facts.written) & facts.known, facts.written & facts.known
        elif word == "expected" and facts.used is not None and not shown:
            shown, held = facts.used & ~facts.held & facts.known, facts.used
        held_row, first_row = self._before.last.rows[place, dword], self._after.first.rows[place, dword]
        digits = 2 * state.register.size
        number_of = self._context.builder.number
        return StateVerdict(
            bdf=bdf.text(key),
            name=state.short,
            register=state.register.setpci,
            field=state.field_of(shown or state.mask),
            before=f"0x{held:0{digits}x}" if facts.known else None,
            after=f"0x{after:0{digits}x}" if facts.known else None,
            verdict=word,
            code=state.code if preserved and word in _FOUND else None,
            severity=severity,
            access_before=number_of(_row(held_row)),
            access_after=number_of(wrote if word == "cleared" else _row(first_row)),
            depends=state.dependents,
            note=_note(facts, word),
        )


#: Verdicts that are a finding on a preserved function.
_FOUND: Final[frozenset[StateVerdictName]] = frozenset({"lost", "changed", "healed", "cleared"})


def _row(row: np.int64) -> int | None:
    return None if row == NONE else int(row)


def _replaced(context: WatchContext, was: NDArray[np.int64], now: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where another device sits in the place than before: it inherits nothing."""
    found: NDArray[np.bool_] = np.zeros(len(was), np.bool_)
    for name in ("vendor", "device"):
        ids = (
            context.outgoing.functions.table.facts[name][was],
            context.incoming.functions.table.facts[name][now],
        )
        found |= (ids[0] != ids[1]) & (ids[0] != NONE) & (ids[1] != NONE)
    return found


def _own_writes(facts: StateFacts, incoming: Topology, key: int) -> tuple[StateFacts, int | None]:
    """Add what the incoming kernel itself wrote, and the row of the write that its scan left.

    Writes after its scan are those of drivers and users.
    """
    state, function = facts.state, incoming.functions[key]
    end = incoming.scan_ends.get(incoming.root_bus(key >> 8), incoming.boot.end)
    written, row, again = facts.written, None, False
    for sample in function.accesses_to(state.register):
        if not sample.write or sample.dead or not sample.mask & facts.known or sample.row > incoming.boot.end:
            continue
        value = (written if written is not None else facts.first) & ~sample.mask | sample.value & sample.mask
        again |= not (value ^ facts.held) & facts.known
        if sample.row <= end:
            written, row = value & state.mask, sample.row
    return replace(facts, written=written, set_again=again), row


def _note(facts: StateFacts, word: StateVerdictName) -> str | None:
    if word == "healed":
        return "the incoming kernel set it again; it was without it in between"
    if word == "cleared":
        return f"the incoming kernel's own write changed it: {facts.state.rule}"
    if word == "expected":
        by_reset = facts.was_reset and facts.differing
        return "the outgoing kernel " + ("reset the function" if by_reset else "cleared it itself")
    if word == "changed" and facts.set_again:
        return "the incoming kernel wrote again what was held"
    if word != "undetermined":
        return None
    if facts.state.at_shutdown and not facts.shutdown_known:
        return _NO_SHUTDOWN
    if facts.differing and facts.from_dump:
        return _DUMPED
    shown = facts.known == facts.state.mask
    return _MISSING if not facts.whole and (facts.differing or shown) else None
