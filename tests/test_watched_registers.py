"""What accesses show of a watched register: the arrays against a plain loop over the accesses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_functions import table

from analyzer.observed.index import windows
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.reading import Wanted, read
from analyzer.observed.registers.watched_registers import DWORDS, WatchedRegisters
from schemas.state_watch import WATCHED

PORT = 0x0018  # 00:03.0
EXP = 0x40
#: An endpoint with a PCI Express capability at 0x40: what makes it one comes first.
HEAD = [
    ("read", 0x00, 4, 0x12345678),
    ("read", 0x0E, 1, 0x00),
    ("read", 0x06, 2, 0x0010),
    ("read", 0x34, 1, EXP),
    ("read", EXP, 2, 0x0010),
]
#: What locates the capability.
FIXED = (0x06, 0x0E, 0x34, EXP)
Access = tuple[str, int, int, int]
_COLUMNS = ("op", "offset", "width", "value")
COMMAND, DEVCTL, LNKSTA = ("HEADER0", 0x04), ("CAP_EXP", 0x08), ("CAP_EXP", 0x10)
WHERE = {COMMAND: 0x04, ("HEADER0", 0x10): 0x10, DEVCTL: EXP + 0x08, LNKSTA: EXP + 0x10}


def shown(rows: list[Access], end: int | None = None) -> WatchedRegisters:
    """Of the function in its only boot; ``end``: row of the kernel's last own access."""
    (index,) = windows(
        [table([{"key": PORT, "status": "ok", **dict(zip(_COLUMNS, row, strict=True))} for row in rows])]
    )
    (found,) = read([Wanted(index, 0, len(rows) - 1, [PORT], end)])
    return found.table.watched


def naive(rows: list[Access], start: int, *, status: int | None) -> dict[str, dict[int, int]]:
    """First reads before a write, and last values, byte by byte; ``status``: bytes from here on are RW1C."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    touched: set[int] = set()
    silent = False
    for op, offset, width, value in rows:
        if op == "read" and value == (1 << 8 * width) - 1:
            silent |= offset < 0x10 and width > 1
            continue
        silent &= op == "write"
        if silent:
            continue
        for byte in range(width):
            place = offset + byte - start
            if not 0 <= place < 4 or (op == "write" and status is not None and place >= status):
                continue
            if place not in touched and op == "read":
                first[place] = value >> 8 * byte & 0xFF
            touched.add(place)
            last[place] = value >> 8 * byte & 0xFF
    return {"first": first, "last": last}


def watched_bytes(dword: tuple[str, int]) -> set[int]:
    """Bytes of a dword that belong to a watched register."""
    registers = [one.register for one in WATCHED if one.register.base == dword[0]]
    whole = {byte for one in registers for byte in range(one.offset, one.offset + one.size)}
    return {byte - dword[1] for byte in whole if 0 <= byte - dword[1] < 4}


def bytes_of(shown_bits: Any, column: int) -> dict[int, int]:
    known, value = int(shown_bits.known[0, column]), int(shown_bits.values[0, column])
    return {byte: value >> 8 * byte & 0xFF for byte in range(4) if known >> 8 * byte & 0xFF}


def one_access(draw: st.DrawFn) -> Access:
    width = draw(st.sampled_from([1, 2, 4]))
    start = draw(st.sampled_from(sorted(WHERE.values())))
    offset = start + draw(st.integers(-3, 3)) if draw(st.booleans()) else start
    value = draw(st.one_of(st.integers(0, (1 << 8 * width) - 1), st.just((1 << 8 * width) - 1)))
    return draw(st.sampled_from(["read", "write"])), max(offset, 0x04), width, value


@given(st.lists(st.composite(one_access)(), max_size=30), st.integers(0, 30))
def test_the_arrays_say_what_a_loop_says(rows: list[Access], own: int) -> None:
    """Accesses that cross into the next dword are among them; those after the kernel's own last do not count.

    What locates the capability is read first, so that no other access changes where it is.
    """
    rows = [
        row for row in rows if not any(row[1] <= byte < row[1] + row[2] for byte in (0x06, 0x34, EXP, 0x0E))
    ]
    whole = [*HEAD, *rows]
    end = len(HEAD) - 1 + min(own, len(rows))
    found = shown(whole, end)
    for dword, start in WHERE.items():
        expected = naive(whole[: end + 1], start, status=2 if dword == LNKSTA else None)
        column, of_registers = DWORDS.index(dword), watched_bytes(dword)
        for word, bits in (("first", found.first), ("last", found.last)):
            said = {byte: value for byte, value in expected[word].items() if byte in of_registers}
            assert bytes_of(bits, column) == said, dword


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [
        ([], None, None),
        ([("read", 0x48, 2, 0x2810)], 0x2810, 0x2810),
        ([("write", 0x48, 2, 0x2830), ("read", 0x48, 2, 0x2830)], None, 0x2830),
        ([("read", 0x48, 0, 0x2810)], 0x2810, 0x2810),  # no width: all of the register that begins there
        ([("read", 0x48, 0, 0x10)], 0x0010, 0x0010),
        ([("read", 0x48, 2, 0xFFFF)], None, None),  # nobody answered
        # a write that nobody takes, after a read of the header that nobody answers
        ([("read", 0x48, 2, 0x10), ("read", 0x04, 2, 0xFFFF), ("write", 0x48, 2, 0xFFFF)], 0x10, 0x10),
        ([("read", 0x04, 2, 0xFFFF), ("read", 0x0A, 1, 2), ("write", 0x48, 2, 0x20)], None, 0x20),
        ([("read", 0x49, 1, 0x28), ("write", 0x48, 1, 0x10)], None, 0x2810),  # a byte is first written
    ],
)
def test_device_control(rows: list[Access], first: int | None, last: int | None) -> None:
    found, column = shown([*HEAD, *rows]), DWORDS.index(DEVCTL)
    for bits, value in ((found.first, first), (found.last, last)):
        whole = int(bits.known[0, column]) & 0xFFFF == 0xFFFF
        assert (int(bits.values[0, column]) & 0xFFFF if whole else None) == value


def test_a_function_level_reset_that_the_kernel_initiated() -> None:
    rows = [*HEAD, ("read", 0x48, 2, 0x2810), ("write", 0x48, 2, 0xA810), ("read", 0x04, 2, 0)]
    assert shown(rows).reset.tolist() == [len(HEAD) + 1]
    assert shown(rows[:-2]).reset.tolist() == [NONE]
    bridge = [("read", 0x0E, 1, 0x01) if row[1] == 0x0E else row for row in rows]
    assert shown(bridge).reset.tolist() == [NONE]  # Bridge Configuration Retry Enable


def test_every_state_has_one_dword() -> None:
    for state in WATCHED:
        first, last = state.register.offset, state.register.offset + state.register.size - 1
        assert first // 4 == last // 4
        assert state.mask < 1 << 8 * state.register.size
        assert not state.reset_bits & ~state.mask
