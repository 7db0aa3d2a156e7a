"""The state watch: every watched register of every function, compared across one kexec.

The comparison is made on arrays (:mod:`analyzer.verdicts.watched_functions`); what differs becomes an object.
"""

from __future__ import annotations

import bisect
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF
from analyzer.results.state import StateVerdict
from analyzer.verdicts import state_counts, state_rule, watched_functions
from analyzer.verdicts.state_rule import StateFacts
from schemas.state_watch import WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.topology import Topology
    from analyzer.results.state import StateCount, StateVerdictName
    from analyzer.verdicts.state_counts import StateGroups
    from analyzer.verdicts.watched_functions import ShownState, WatchedFunctions, WatchedKexec


_DUMPED: Final = (
    "the input has dumps alone: it was lost, cleared by the incoming kernel, or changed later by its user"
)
_NO_SHUTDOWN: Final = "how the outgoing kernel left it at its shutdown is not in the capture"
_MISSING: Final = "accesses are missing from the capture: one of them may have changed it"


class _Kexecs:
    """What became of the watched registers at several kexecs, each thing worked out for all at once."""

    def __init__(self, functions: WatchedFunctions) -> None:
        self.functions = functions

    @cached_property
    def said(self) -> list[tuple[int, StateVerdict]]:
        """What changed, each with the row of its function."""
        found = ((shown.row, self.verdict(shown)) for shown in self.functions.candidates)
        return [(row, one) for row, one in found if one.verdict != "kept"]

    @cached_property
    def _ranks(self) -> NDArray[np.int8]:
        said = ((row, one.name, one.verdict) for row, one in self.said)
        return state_counts.with_said(self.functions.unsaid, said)

    @cached_property
    def counts(self) -> list[list[StateCount]]:
        """Of each kexec the counts by name of the state."""
        return state_counts.by_name(self._ranks, self.functions.edges)

    @cached_property
    def groups(self) -> list[StateGroups]:
        """Of each kexec the counts by kind of function."""
        return state_counts.by_kind(self._ranks, self.functions.kinds, self.functions.edges)

    def verdict(self, shown: ShownState) -> StateVerdict:
        """The verdict on one state of one function."""
        functions, row = self.functions, shown.row
        kexec = functions.kexecs[functions.kexec[row]]
        key, now = functions.keys[row].tolist()
        facts = _facts(shown, kexec)
        state = facts.state
        wrote: int | None = None
        if _may_be_written(shown, facts):
            facts, wrote = _own_writes(facts, kexec.incoming, now)
        word = state_rule.verdict(facts)
        preserved = bool(functions.is_preserved[row])
        differing, held, after = facts.differing, facts.held, facts.first
        if word == "cleared" and facts.written is not None:
            differing, after = (facts.held ^ facts.written) & facts.known, facts.written & facts.known
        elif word == "expected" and facts.used is not None and not differing:
            differing, held = facts.used & ~facts.held & facts.known, facts.used
        digits = 2 * state.register.size
        first_row = wrote if word == "cleared" else _row(shown.first_row)
        held_row = _row(shown.held_row)
        return StateVerdict(
            bdf=bdf.text(key),
            name=state.short,
            register=state.register.setpci,
            field=state.field_of(differing or state.mask),
            before=f"0x{held:0{digits}x}" if facts.known else None,
            after=f"0x{after:0{digits}x}" if facts.known else None,
            verdict=word,
            code=state.code if preserved and word in _FOUND else None,
            severity=state_rule.severity(state, word, preserved=preserved),
            access_before=None if held_row is None else kexec.outgoing.access(held_row),
            access_after=None if first_row is None else kexec.incoming.access(first_row),
            depends=state.dependents,
            note=_note(facts, word),
        )


class StateWatch:
    """Watched registers of every function that both kernels of one kexec enumerated."""

    def __init__(self, kexecs: _Kexecs, number: int) -> None:
        self._kexecs, self._number = kexecs, number
        self._its = slice(*kexecs.functions.edges[number : number + 2])

    @cached_property
    def verdicts(self) -> list[StateVerdict]:
        """What changed, by function; in one dword in the order of :data:`schemas.state_watch.WATCHED`."""
        said = self._kexecs.said
        first, last = (
            bisect.bisect_left(said, edge, key=itemgetter(0)) for edge in (self._its.start, self._its.stop)
        )
        return [verdict for _, verdict in said[first:last]]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Functions that are compared: keys in the outgoing and in the incoming boot."""
        return [(before, after) for before, after in self._kexecs.functions.keys[self._its].tolist()]

    def settled(self, *codes: str) -> frozenset[int]:
        """Functions of one address in both boots of which no state of the codes differs, or none is known."""
        functions = self._kexecs.functions
        return frozenset(functions.keys[self._its, 0][functions.settled(codes)[self._its]].tolist())

    def every_verdict(self, function: int | None = None) -> Iterator[StateVerdict]:
        """Every watched register that a function shows, kept and unknown ones too.

        Args:
            function: its key in the outgoing boot; None: of all functions.
        """
        functions = self._kexecs.functions
        chosen = np.arange(len(functions.keys))[self._its]
        if function is not None:
            chosen = chosen[functions.keys[chosen, 0] == function]
        known = functions.before.last.known[chosen] | functions.after.first.known[chosen]
        at, states = np.nonzero(known[:, DWORD_OF] & BITS_OF)
        return map(self._kexecs.verdict, functions.shown(chosen[at], states))

    def at_reset(self, function: int) -> tuple[int, int] | None:
        """How many watched registers of a function had another value and stand at their reset value.

        Returns:
            that, and how many had another value before; None where it is not compared.
        """
        functions = self._kexecs.functions
        at = np.flatnonzero(functions.keys[self._its, 0] == function)
        if not at.size:
            return None
        reset, had = functions.reset_counts[self._its][at[0]].tolist()
        return reset, had

    @property
    def counts(self) -> list[StateCount]:
        """Of each state that a function shows how many functions kept it."""
        return self._kexecs.counts[self._number]

    @property
    def groups(self) -> StateGroups:
        """How many functions of each kind have each verdict."""
        return self._kexecs.groups[self._number]


def compare(kexecs: Sequence[WatchedKexec]) -> list[StateWatch]:
    """Compare the watched registers of kexecs whose boots are in one table of functions."""
    if not kexecs:
        return []
    every = _Kexecs(watched_functions.of_kexecs(kexecs))
    return [StateWatch(every, number) for number in range(len(kexecs))]


#: Verdicts that are a finding on a preserved function.
_FOUND: Final[frozenset[StateVerdictName]] = frozenset({"lost", "changed", "healed", "cleared"})


def _row(row: int) -> int | None:
    return None if row == NONE else row


def _facts(shown: ShownState, kexec: WatchedKexec) -> StateFacts:
    """What the arrays show; what takes single accesses is left out."""
    state, boot = WATCHED[shown.state], kexec.incoming.boot
    return StateFacts(
        state,
        known=shown.known,
        held=shown.held,
        first=shown.first,
        from_dump=kexec.incoming.is_snapshot,
        used=shown.used if state.at_shutdown else None,
        was_reset=shown.was_reset,
        whole=kexec.whole,
        shutdown_known=boot.orderly is True,
    )


def _may_be_written(shown: ShownState, facts: StateFacts) -> bool:
    """Whether the incoming kernel's own writes have a say: only then are single accesses looked at."""
    if facts.from_dump or not facts.known or not shown.written:
        return False
    if facts.differing:
        return not facts.was_reset  # by that it is expected, whatever is written
    return bool(shown.left & state_rule.of_interest(facts))


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
    return facts._replace(written=written, set_again=again), row


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
