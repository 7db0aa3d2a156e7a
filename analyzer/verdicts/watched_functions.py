"""Functions that both kernels of kexecs enumerated, with what each shows of the watched registers: as arrays.

Of several kexecs at once, one after the other. Functions are matched by their place (device and function
numbers from the root bus down), which new bus numbers do not change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF, DWORDS
from analyzer.verdicts import state_counts, state_rule
from schemas.state_watch import BARS, MAX_PAYLOAD, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.registers.watched_registers import WatchedRegisters
    from analyzer.observed.topology import Topology
    from analyzer.replay.node_table import NodeTable
    from analyzer.verdicts.state_counts import FunctionKinds
    from schemas.state_watch import WatchedState


def bits_in_dwords(states: Iterable[WatchedState]) -> NDArray[np.int64]:
    """The bits of states, for each watched dword."""
    found = np.zeros(len(DWORDS), np.int64)
    for place, state in enumerate(WATCHED):
        if state in states:
            found[DWORD_OF[place]] |= BITS_OF[place]
    return found


_WATCHED: Final = bits_in_dwords(WATCHED)
_CLEARED_BY_WRITE: Final = bits_in_dwords([state for state in WATCHED if state_rule.clears_flags(state)])
_TUNED: Final = bits_in_dwords([MAX_PAYLOAD])
#: What the outgoing kernel's own writes are said of: interrupts are set up again by every kernel.
_AT_SHUTDOWN: Final = bits_in_dwords(
    [state for state in WATCHED if state.at_shutdown and state.severity != "note"]
)
#: For each state whether it is a BAR, and which dwords are base addresses.
_SIZED_STATES: Final = np.array([one in BARS for one in WATCHED])
_BASE_ADDRESSES: Final = bits_in_dwords(BARS) != 0
#: Where the bits of each state's register begin in its dword.
_SHIFTS: Final = np.array([8 * (one.register.offset & 3) for one in WATCHED])
#: The states of one dword after those of another.
_BY_DWORD: Final = np.argsort(DWORD_OF, kind="stable")


class WatchedKexec(NamedTuple):
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


class ShownState(NamedTuple):
    """What the accesses show of one state of one function; values are its bits in the register.

    Attributes:
        row: of the function in the arrays.
        state: place in :data:`schemas.state_watch.WATCHED`.
        known, held, first, used, was_reset: as in :class:`analyzer.verdicts.state_rule.StateFacts`.
        written: the incoming kernel wrote some of the register's dword.
        left: bits in which what the incoming kernel left differs from what was held.
        held_row, first_row: rows of the accesses that show it; :data:`NONE` where none does.
    """

    row: int
    state: int
    known: int
    held: int
    first: int
    used: int
    was_reset: bool
    written: bool
    left: int
    held_row: int
    first_row: int


@dataclass(frozen=True)
class WatchedFunctions:
    """Arrays with a row for each function; those of one kexec follow each other.

    Attributes:
        kexecs: as given.
        kexec: which of them each function is of.
        keys: of each function in the outgoing and in the incoming boot.
        was, now: its rows in the boots' table.
        before, after: what it shows in the outgoing and in the incoming boot.
        is_preserved: which were handed over.
    """

    kexecs: Sequence[WatchedKexec]
    kexec: NDArray[np.int64]
    keys: NDArray[np.int64]
    was: NDArray[np.int64]
    now: NDArray[np.int64]
    before: WatchedRegisters
    after: WatchedRegisters
    is_preserved: NDArray[np.bool_]
    _settled: dict[tuple[str, ...], NDArray[np.bool_]] = field(default_factory=dict)

    @cached_property
    def edges(self) -> list[int]:
        """Where the functions of each kexec begin, and the end of the last."""
        found: list[int] = np.searchsorted(self.kexec, np.arange(len(self.kexecs) + 1)).tolist()
        return found

    @cached_property
    def unsaid(self) -> NDArray[np.int8]:
        """What :func:`analyzer.verdicts.state_counts.unsaid` makes of them."""
        asked = [
            (one.incoming.boot.orderly is True, one.incoming.is_snapshot, one.whole) for one in self.kexecs
        ]
        of_each = np.array(asked, np.bool_).reshape(-1, 3)[self.kexec]
        return state_counts.unsaid(self.before, self.after, *of_each.T)

    @cached_property
    def kinds(self) -> FunctionKinds:
        """What kind of function each is."""
        facts = self.kexecs[0].outgoing.functions.table.facts
        return state_counts.kinds(facts, self.was, self.now, self.is_preserved)

    @cached_property
    def candidates(self) -> list[ShownState]:
        """What is shown wherever something may have changed, by function and dword."""
        before, after = self.before, self.after
        known = before.last.known & after.first.known
        suspects = (before.last.values ^ after.first.values) & known & _WATCHED
        gone = before.last.values & ~after.last.values & _CLEARED_BY_WRITE
        tuned = (before.last.values ^ after.last.values) & _TUNED
        by_write = (gone | tuned) & known & np.where(after.written != NONE, after.last.known, 0)
        left = before.cleared & ~before.last.values & _AT_SHUTDOWN & known
        suspects |= np.where(self.is_preserved[:, None], by_write | left, 0)
        rows = np.flatnonzero(suspects.any(axis=1))
        at, states = np.nonzero((suspects[rows][:, DWORD_OF] & BITS_OF)[:, _BY_DWORD])
        return self.shown(rows[at], _BY_DWORD[states])

    def shown(self, rows: NDArray[np.int64], states: NDArray[np.int64]) -> list[ShownState]:
        """What the accesses show of some states, each of one function."""
        before, after, dwords, bits = self.before, self.after, DWORD_OF[states], BITS_OF[states]
        at, shift = (rows, dwords), _SHIFTS[states]
        held = before.last.values[at]
        known = before.last.known[at] & after.first.known[at] & bits
        known[_SIZED_STATES[states] & (held & bits == bits)] = 0  # sized, and not yet written back
        columns = (
            rows,
            states,
            known >> shift,
            (held & known) >> shift,
            (after.first.values[at] & known) >> shift,
            ((held | before.cleared[at]) & known) >> shift,
            before.reset[rows] > before.last.rows[at],
            after.written[at] != NONE,
            ((held ^ after.last.values[at]) & after.last.known[at] & bits) >> shift,
            before.last.rows[at],
            after.first.rows[at],
        )
        return list(map(ShownState, *(column.tolist() for column in columns)))

    @cached_property
    def reset_counts(self) -> NDArray[np.int64]:
        """For each function how many registers stand at their reset value, and of how many with another."""
        known = (self.before.last.known & self.after.first.known)[:, DWORD_OF] & BITS_OF
        held, first = self.before.last.values[:, DWORD_OF], self.after.first.values[:, DWORD_OF]
        known[_SIZED_STATES & (held & BITS_OF == BITS_OF)] = 0
        # 0 may be hard-wired, whatever a reset gives elsewhere (PCI Express 7.5.3.4, of Device Control).
        had = (held & known != 0) & ~state_counts.STATUS
        had &= np.logical_and.reduce([(held ^ value) & known != 0 for value in state_counts.RESETS])
        reset = had & np.logical_or.reduce([(first ^ value) & known == 0 for value in state_counts.RESETS])
        return np.stack([reset.sum(axis=1), had.sum(axis=1)], axis=1)

    def settled(self, codes: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which have one address in both boots, and no state of some codes differs, or none is known."""
        found = self._settled.get(codes)
        if found is None:
            bits = bits_in_dwords([state for state in WATCHED if state.code in codes])
            ours, theirs = self.before.last.known & bits, self.after.first.known & bits
            differs = (self.before.last.values ^ self.after.first.values) & ours & theirs
            partly = (ours ^ theirs) | np.where(ours != 0, ours ^ bits, 0)
            same_address = self.keys[:, 0] == self.keys[:, 1]
            found = self._settled[codes] = same_address & ~((differs | partly) != 0).any(axis=1)
        return found


def of_kexecs(kexecs: Sequence[WatchedKexec]) -> WatchedFunctions:
    """Match the functions of kexecs whose boots are in one table."""
    nothing = np.empty((0, 2), np.int64)
    keys, was, now = [nothing], [nothing[:, 0]], [nothing[:, 0]]
    for one in kexecs:
        outgoing, incoming = (one.machine.columns[name] for name in ("outgoing", "incoming"))
        pairs = np.stack([outgoing, incoming], axis=1)[(outgoing != NONE) & (incoming != NONE)]
        keys.append(pairs[np.argsort(pairs[:, 0])])
        before, after = one.outgoing.functions, one.incoming.functions
        was.append(np.array([before.row_of(key) for key in keys[-1][:, 0].tolist()], np.int64))
        now.append(np.array([after.row_of(key) for key in keys[-1][:, 1].tolist()], np.int64))
    every = np.concatenate(keys), np.concatenate(was), np.concatenate(now)
    of = np.repeat(np.arange(len(kexecs)), [len(one) for one in keys[1:]])
    preserved = [
        key in one.preserved for one, its in zip(kexecs, keys[1:], strict=True) for key in its[:, 0].tolist()
    ]
    table = kexecs[0].outgoing.functions.table
    same = ~_replaced(table.facts, *every[1:])
    pairs, rows_before, rows_after = (column[same] for column in every)
    return _forget_unconfirmed(
        WatchedFunctions(
            kexecs, of[same], pairs, rows_before, rows_after,
            table.watched.of(rows_before), table.watched.of(rows_after), np.array(preserved, np.bool_)[same],
        )
    )  # fmt: skip


def _replaced(
    facts: Mapping[str, NDArray[np.int64]], was: NDArray[np.int64], now: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Where another device sits in the place than before: it inherits nothing."""
    found: NDArray[np.bool_] = np.zeros(len(was), np.bool_)
    for name in ("vendor", "device"):
        before, after = facts[name][was], facts[name][now]
        found |= (before != after) & (before != NONE) & (after != NONE)
    return found


def _forget_unconfirmed(functions: WatchedFunctions) -> WatchedFunctions:
    """Take a base address that was written and never read back for unknown: it may have no such bits.

    A kernel reads back what it writes there (Linux 7.3 pci_std_update_resource); firmware may not.
    """
    first, last = functions.before.first, functions.before.last
    read_first = (first.values == last.values) & (first.known & last.known == last.known)
    last.known[_BASE_ADDRESSES & (functions.before.written == last.rows) & ~read_first] = 0
    return functions
