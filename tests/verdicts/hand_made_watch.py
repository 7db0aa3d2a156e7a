"""What functions show of the watched registers, put together by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import DWORD_OF, DWORDS, ShownBits, WatchedRegisters
from schemas.state_watch import WATCHED, WatchedState

#: A register's value and which of its bits are known; a value alone is known in all bits of the state.
Value = int | tuple[int, int]
Values = Mapping[WatchedState, Value]


def place(state: WatchedState) -> int:
    return WATCHED.index(state)


def shift(state: WatchedState) -> int:
    return 8 * (state.register.offset & 3)


def cells(*functions: Mapping[WatchedState, int], default: int = 0) -> np.ndarray:
    """Of each function the values of some registers, in their dwords."""
    found = np.full((len(functions), len(DWORDS)), default, np.int64)
    for row, values in enumerate(functions):
        for state, value in values.items():
            found[row, DWORD_OF[place(state)]] = value
    return found


def bits(row: int, *functions: Values) -> ShownBits:
    known, values = np.zeros((2, len(functions), len(DWORDS)), np.int64)
    for function, its in enumerate(functions):
        for state, value in its.items():
            number, mask = value if isinstance(value, tuple) else (value, state.mask)
            dword = DWORD_OF[place(state)]
            known[function, dword] |= mask << shift(state)
            values[function, dword] |= (number & mask) << shift(state)
    return ShownBits(values, known, np.where(known != 0, row, NONE))


def registers(row: int, *last: Values, first: Sequence[Values] | None = None) -> WatchedRegisters:
    """What functions hold last, and read first: the same, if nothing else is given."""
    return WatchedRegisters(
        bits(row, *(last if first is None else first)),
        bits(row, *last),
        cells(*[{}] * len(last)),
        cells(*[{}] * len(last), default=NONE),
        np.full(len(last), NONE),
    )
