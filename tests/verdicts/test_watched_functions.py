"""Functions of both boots: which are matched, what they show of a watched register, which of them settled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hand_made_watch import Value, Values, cells, place, registers, shift

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import DWORD_OF, WatchedRegisters
from analyzer.verdicts import watched_functions
from analyzer.verdicts.watched_functions import ShownState, WatchedFunctions, bits_in_dwords
from schemas import state_watch as states

if TYPE_CHECKING:
    from schemas.state_watch import WatchedState

BAR, WINDOW = states.BARS[0], states.WINDOWS[0]
#: The access that shows each value of the outgoing boot, and of the incoming one.
OLD_ROW, NEW_ROW = 40, 70


def functions(
    before: WatchedRegisters, after: WatchedRegisters, keys: list[tuple[int, int]] | None = None
) -> WatchedFunctions:
    count = len(before.reset)
    rows = np.arange(count)
    same = np.stack([rows, rows], axis=1) if keys is None else np.array(keys)
    return WatchedFunctions((), rows * 0, same, rows, rows, before, after, rows >= 0)


def test_bits_of_states_that_share_a_dword() -> None:
    found = bits_in_dwords([states.MAX_PAYLOAD, states.REQUESTS, states.ACS])
    shared, acs = DWORD_OF[place(states.MAX_PAYLOAD)], DWORD_OF[place(states.ACS)]
    assert shared == DWORD_OF[place(states.REQUESTS)]
    assert {at: int(found[at]) for at in np.flatnonzero(found)} == {shared: 0x79F0, acs: 0x7F0000}
    assert not bits_in_dwords(()).any()


# What both boots show of one register.

LOST = ShownState(0, place(states.ACS), 0x7F, 0x1D, 0x00, 0x1D, False, False, 0, OLD_ROW, NEW_ROW)
PAYLOAD = ShownState(0, place(states.MAX_PAYLOAD), 0xE0, 0x20, 0x00, 0x20, False, False, 0, OLD_ROW, NEW_ROW)
ADDRESS = ShownState(0, place(BAR), 0xFFFFFFF0, 0xFE000000, 0, 0xFE000000, False, False, 0, OLD_ROW, NEW_ROW)


def shows(before: WatchedRegisters, after: WatchedRegisters, state: WatchedState) -> ShownState:
    (found,) = functions(before, after).shown(np.array([0]), np.array([place(state)]))
    return found


@pytest.mark.parametrize(
    ("state", "before", "first", "last", "expected"),
    [
        (states.ACS, 0x1D, 0, 0x1D, LOST),
        (states.ACS, 0x1D, 0, 0, LOST._replace(left=0x1D)),
        (states.ACS, 0x1D, 0x1D, 0x05, LOST._replace(first=0x1D, left=0x18)),
        (states.ACS, 0x05, 0x1D, 0x1D, LOST._replace(held=0x05, first=0x1D, used=0x05, left=0x18)),
        # some bits are known in one boot alone
        (states.ACS, (0x1D, 0x1F), 0x70, 0x1D, LOST._replace(known=0x1F, first=0x10)),
        (states.ACS, 0x5D, (0x0C, 0x0F), 0x5D, LOST._replace(known=0x0F, held=0x0D, first=0x0C, used=0x0D)),
        (states.ACS, 0x1D, 0, (0x00, 0x0C), LOST._replace(left=0x0C)),
        # other bits of the register
        (states.MAX_PAYLOAD, (0x2810 | 0x20, 0xFFFF), (0x2010, 0xFFFF), (0x0020, 0xFFFF), PAYLOAD),
        (BAR, 0xFE000000, 0, 0xFE000000, ADDRESS),
        # sized with ones, and not written back
        (BAR, 0xFFFFFFF0, 0, 0xFFFFFFF0, ADDRESS._replace(known=0, held=0, used=0)),
        (WINDOW, 0xF0, 0, 0xF0, LOST._replace(state=place(WINDOW), known=0xF0, held=0xF0, used=0xF0)),
    ],
)
def test_what_is_shown_of_a_register(
    state: WatchedState, before: Value, first: Value, last: Value, expected: ShownState
) -> None:
    old = registers(OLD_ROW, {state: before})
    new = registers(NEW_ROW, {state: last}, first=[{state: first}])
    assert shows(old, new, state) == expected


def test_what_the_outgoing_kernel_cleared_was_in_use() -> None:
    old = registers(OLD_ROW, {states.ACS: 0x05})._replace(cleared=cells({states.ACS: 0x188 << 16}))
    found = shows(old, registers(NEW_ROW, {states.ACS: 0x05}), states.ACS)
    assert (found.held, found.used) == (0x05, 0x0D)


@pytest.mark.parametrize(("reset", "expected"), [(NONE, False), (OLD_ROW - 1, False), (OLD_ROW + 1, True)])
def test_a_reset_after_the_last_access_took_it(reset: int, expected: bool) -> None:
    old = registers(OLD_ROW, {states.ACS: 0x1D})._replace(reset=np.array([reset]))
    assert shows(old, registers(NEW_ROW, {states.ACS: 0}), states.ACS) == LOST._replace(
        was_reset=expected, left=0x1D
    )


def test_a_reset_by_the_write_that_was_last_spares_max_payload_size() -> None:
    """Device Control itself initiates it, and keeps Max_Payload_Size (PCI Express 6.6.2)."""
    old = registers(OLD_ROW, {states.MAX_PAYLOAD: 0x20})._replace(reset=np.array([OLD_ROW]))
    new = registers(NEW_ROW, {states.MAX_PAYLOAD: 0})
    assert shows(old, new, states.MAX_PAYLOAD) == PAYLOAD._replace(left=0x20)


def test_a_write_of_the_incoming_kernel() -> None:
    new = registers(NEW_ROW, {states.ACS: 0x1D}, first=[{states.ACS: 0}])
    new = new._replace(written=cells({states.ACS: NEW_ROW}, default=NONE))
    old = registers(OLD_ROW, {states.ACS: 0x1D})
    assert shows(old, new, states.ACS) == LOST._replace(written=True)


def test_of_several_functions_each_shows_its_own() -> None:
    its = functions(
        registers(OLD_ROW, {states.ACS: 0x1D}, {states.MAX_PAYLOAD: 0x20}, {BAR: 0xFFFFFFF0}),
        registers(NEW_ROW, {states.ACS: 0}, {states.MAX_PAYLOAD: 0x40}, {BAR: 0}),
    )
    found = its.shown(np.array([1, 0]), np.array([place(states.MAX_PAYLOAD), place(states.ACS)]))
    assert [(one.row, one.held, one.first, one.left) for one in found] == [
        (1, 0x20, 0x40, 0x60),
        (0, 0x1D, 0x00, 0x1D),
    ]
    assert its.shown(np.array([], np.int64), np.array([], np.int64)) == []


# Functions with one address in both boots, and nothing that differs.


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({states.ACS: 0x1D}, {states.ACS: 0x1D}, True),
        ({states.ACS: 0x1D}, {states.ACS: 0x1C}, False),
        ({states.ACS: 0x1D}, {states.ACS: 0}, False),
        ({states.ACS: 0}, {states.ACS: 0}, True),
        ({}, {}, True),
        ({states.ACS: 0x1D}, {}, False),
        ({}, {states.ACS: 0x1D}, False),
        ({states.ACS: (0x0D, 0x0F)}, {states.ACS: (0x0D, 0x0F)}, False),  # the other bits may differ
        ({states.ACS: (0x01, 0x01)}, {states.ACS: (0x01, 0x01)}, False),
        ({states.ACS: (0x0D, 0x0F)}, {states.ACS: 0x0D}, False),
        ({states.ACS: 0x1D, BAR: 0}, {states.ACS: 0x1D, BAR: 0x1000}, True),  # is not asked
        ({states.ACS: 0x1D, BAR: 0}, {states.ACS: 0x1D}, True),
        ({states.ACS: (0x11D, 0xFFFF)}, {states.ACS: (0x01D, 0xFFFF)}, True),  # another bit of its register
    ],
)
def test_settled(before: Values, after: Values, expected: bool) -> None:
    its = functions(registers(OLD_ROW, before), registers(NEW_ROW, after))
    assert its.settled(("STATE003",)).tolist() == [expected]


def test_the_lowest_bit_alone_differs() -> None:
    asked = ("STATE011",)
    its = functions(
        registers(OLD_ROW, {states.DECODING[0]: 0x3, states.BUS_MASTERS[0]: 4}),
        registers(NEW_ROW, {states.DECODING[0]: 0x2, states.BUS_MASTERS[0]: 4}),
    )
    assert its.settled(asked).tolist() == [False]


def test_each_function_is_settled_for_itself() -> None:
    kept = {states.ACS: 0x1D}
    its = functions(
        registers(OLD_ROW, kept, kept, kept, {}),
        registers(NEW_ROW, kept, {states.ACS: 0}, kept, {}),
        [(8, 8), (9, 9), (16, 17), (17, 16)],
    )
    assert its.settled(("STATE003",)).tolist() == [True, False, False, False]
    assert its.settled(("STATE009", "STATE011")).tolist() == [True, True, False, False]


def test_one_question_is_worked_out_once() -> None:
    its = functions(registers(OLD_ROW, {states.ACS: 0x1D}), registers(NEW_ROW, {states.ACS: 0}))
    asked, another = ("STATE003",), ("STATE009",)
    assert its.settled(asked) is its.settled(asked)
    assert its.settled(another).tolist() != its.settled(asked).tolist()


# Matching.

WATCH = registers(OLD_ROW, *({states.ACS: row} for row in range(8)))
FACTS = {name: np.full(8, NONE) for name in ("header_type", "is_pcie", "pcie_type")}
FACTS |= {"vendor": np.full(8, 0x8086), "device": np.array([1, 2, 3, 4, 1, 2, 3, 4])}


def boot(rows: dict[int, int], facts: dict[str, np.ndarray]) -> Any:
    table = SimpleNamespace(facts=facts, watched=WATCH)
    return SimpleNamespace(functions=SimpleNamespace(row_of=rows.__getitem__, table=table))


def kexec(
    pairs: list[tuple[int, int]], *, base: int, facts: dict[str, np.ndarray], preserved: tuple[int, ...] = ()
) -> Any:
    """Two boots; function N of the first, and of the second, is row base + N % 16 of the table."""
    columns = np.array(pairs, np.int64).reshape(-1, 2).T
    before, after = ({key: base + key % 16 for key in column.tolist() if key != NONE} for column in columns)
    return SimpleNamespace(
        outgoing=boot(before, facts),
        incoming=boot(after, facts),
        machine=SimpleNamespace(columns={"outgoing": columns[0], "incoming": columns[1]}),
        preserved=frozenset(preserved),
    )


def test_functions_of_two_kexecs_are_matched_by_place() -> None:
    """By key before the kexec; those that one kernel alone enumerated, or another device, are left out."""
    first = kexec(
        [(0x12, 0x22), (0x11, 0x23), (0x10, NONE), (NONE, 0x20), (0x13, 0x21)],
        base=0,
        facts=(facts := FACTS | {"device": np.array([1, 7, 2, 7, 1, 2, 3, 4])}),
        preserved=(0x11, 0x22),
    )
    second = kexec([(0x31, 0x30), (0x30, 0x31)], base=4, facts=facts, preserved=(0x30,))
    second.incoming.functions.row_of = {0x30: 5, 0x31: 4}.__getitem__
    found = watched_functions.of_kexecs([first, second])
    assert found.keys.tolist() == [[0x11, 0x23], [0x12, 0x22], [0x13, 0x21], [0x30, 0x31], [0x31, 0x30]]
    assert (found.was.tolist(), found.now.tolist()) == ([1, 2, 3, 4, 5], [3, 2, 1, 4, 5])
    assert (found.kexec.tolist(), found.edges) == ([0, 0, 0, 1, 1], [0, 3, 5])
    assert found.is_preserved.tolist() == [True, False, False, True, False]
    assert (found.before.first.values >> 16)[:, DWORD_OF[place(states.ACS)]].tolist() == [1, 2, 3, 4, 5]
    assert (found.after.first.values >> 16)[:, DWORD_OF[place(states.ACS)]].tolist() == [3, 2, 1, 4, 5]


def test_another_device_in_the_place_is_left_out() -> None:
    found = watched_functions.of_kexecs(
        [kexec([(0x10, 0x20), (0x11, 0x22)], base=0, facts=FACTS, preserved=(0x10, 0x11))]
    )
    assert (found.keys.tolist(), found.is_preserved.tolist()) == ([[0x10, 0x20]], [True])
    assert (found.was.tolist(), found.now.tolist()) == ([0], [0])


@pytest.mark.parametrize("count", [1, 2])
def test_boots_that_share_no_function(count: int) -> None:
    apart = kexec([(0x10, NONE), (NONE, 0x20)], base=0, facts=FACTS, preserved=(0x10,))
    found = watched_functions.of_kexecs([apart] * count)
    assert (found.keys.tolist(), found.edges, found.candidates) == ([], [0] * (count + 1), [])
    assert found.kinds.kinds == []


# A base address that was written and never read back.


@pytest.mark.parametrize(
    ("state", "written", "first", "last", "known"),
    [
        (BAR, OLD_ROW, {}, 0xFE000000, 0),
        (BAR, OLD_ROW, {BAR: 0xFE000000}, 0xFE000000, 0xFFFFFFF0),  # as it was read at first
        (BAR, OLD_ROW, {BAR: 0xFD000000}, 0xFE000000, 0),
        (BAR, OLD_ROW, {BAR: (0xFE000000, 0xFFFF0000)}, 0xFE000000, 0),  # the rest was never read
        (BAR, OLD_ROW, {BAR: 0xFE000000}, (0xFE000000, 0xFFFF0000), 0xFFFF0000),
        (BAR, OLD_ROW, {BAR: (0xFE000000, 0xFFFFFF00)}, (0xFE000000, 0xFFFF0000), 0xFFFF0000),
        (BAR, OLD_ROW - 10, {}, 0xFE000000, 0xFFFFFFF0),  # and was read after that
        (BAR, NONE, {}, 0xFE000000, 0xFFFFFFF0),
        (WINDOW, OLD_ROW, {}, 0x10, 0xF0),
    ],
)
def test_an_address_that_nobody_read_back(
    state: WatchedState, written: int, first: Values, last: Value, known: int
) -> None:
    old = registers(OLD_ROW, {state: last}, first=[first])
    old = old._replace(written=cells({state: written}, default=NONE))
    its = watched_functions._forget_unconfirmed(functions(old, registers(NEW_ROW, {})))
    assert its.before.last.known.tolist() == cells({state: known << shift(state)}).tolist()
