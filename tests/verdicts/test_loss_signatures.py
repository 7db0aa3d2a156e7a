"""Signatures of a loss: the write that cleared bit 5, and the registers of a port that was reset."""

from __future__ import annotations

import pytest
from hand_made import EXP, Access, Part, read, write

from analyzer.observed.register_state import OutgoingState, changing_write
from analyzer.verdicts import causes
from schemas.inherited_state import ARI_FORWARDING

DEVCTL, DEVCTL2, CONTROL = EXP + 0x08, EXP + 0x28, 0x3E
ON, OFF = 0x0420, 0x0400


@pytest.mark.parametrize(
    ("accesses", "since", "until", "expected"),
    [
        ([write(DEVCTL2, 2, OFF)], 0, 999, (100, None)),
        ([read(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)], 0, 999, (110, 100)),
        ([write(DEVCTL2, 2, OFF)], 99, 101, (100, None)),
        ([write(DEVCTL2, 2, OFF)], 100, 999, None),
        ([write(DEVCTL2, 2, OFF)], 0, 100, None),
        ([write(DEVCTL2, 2, ON)], 0, 999, None),
        ([read(DEVCTL2, 2, OFF), write(DEVCTL2, 2, OFF)], 0, 999, None),  # carries what it just read
        ([read(DEVCTL2, 2, 0xFFFF), write(DEVCTL2, 2, OFF)], 0, 999, None),  # after an all-ones read
        ([read(DEVCTL2, 2, None), write(DEVCTL2, 2, OFF)], 0, 999, None),
        ([read(DEVCTL2, 2, 0xFFFF), write(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)], 0, 999, None),
        ([write(DEVCTL2, 2, OFF), write(DEVCTL2, 2, ON)], 0, 999, None),  # taken back
        ([write(DEVCTL2, 2, OFF), read(DEVCTL2, 2, ON)], 0, 999, None),  # did not stick
        ([write(DEVCTL2, 2, OFF), read(DEVCTL2, 2, OFF)], 0, 999, (100, None)),
        ([write(DEVCTL2, 2, OFF), write(DEVCTL2, 2, OFF)], 0, 999, (100, None)),  # the first
        ([write(DEVCTL2, 2, OFF), write(DEVCTL2, 2, ON), write(DEVCTL2, 2, OFF)], 0, 999, (120, None)),
        ([read(DEVCTL2, 2, ON), write(DEVCTL2 + 1, 1, 0), write(DEVCTL2, 2, OFF)], 0, 999, (120, 100)),
        ([write(DEVCTL2 + 1, 1, 0)], 0, 999, None),  # the byte without the bit
        ([write(DEVCTL2, 1, 0x00)], 0, 999, (100, None)),
        ([write(DEVCTL2, 4, 0x00000000)], 0, 999, (100, None)),
        ([write(DEVCTL2, 2, 0xFFDF)], 0, 999, (100, None)),  # that bit alone
    ],
)
def test_the_write_that_cleared_the_bit(
    accesses: list[Access], since: int, until: int, expected: tuple[int, int | None] | None
) -> None:
    found = changing_write(Part(tuple(accesses)), ARI_FORWARDING, 1, since, until)
    rows = None if found is None else (found[0].row, None if found[1] is None else found[1].row)
    assert rows == expected


@pytest.mark.parametrize(
    ("numbers", "control", "devctl", "expected"),
    [
        ((0, 0, 0), 0x0000, None, True),
        ((0, 0, 0), 0x0002, 0x0000, True),
        ((0, 0, 0), 0x0002, 0x2810, True),  # error reporting is bits 3:0
        ((0, 0, 0), 0x0002, 0x0001, False),
        ((0, 0, 0), 0x0002, 0x0008, False),
        ((0, 0, 0), 0x0002, None, False),
        ((0, 0, 0), None, 0x0000, True),
        ((0, 0, 0), None, None, False),
        ((0, 0, 0), 0x0000, 0x000F, True),
        ((1, 0, 0), 0x0000, 0x0000, False),
        ((0, 1, 0), 0x0000, 0x0000, False),
        ((0, 0, 1), 0x0000, 0x0000, False),
        (None, 0x0000, 0x0000, False),
    ],
)
def test_the_signature_of_a_reset(
    numbers: tuple[int, int, int] | None, control: int | None, devctl: int | None, expected: bool
) -> None:
    accesses = [] if control is None else [read(CONTROL, 2, control)]
    accesses += [] if devctl is None else [read(DEVCTL, 2, devctl)]
    assert causes.was_reset(_cause_context(Part(tuple(accesses), numbers=numbers))) is expected


def _cause_context(incoming: Part | None, outgoing: Part | None = None) -> causes.CauseContext:
    return causes.CauseContext(outgoing, incoming, [], 0, 0, OutgoingState(None))


def test_a_bridge_that_was_not_seen_was_not_reset() -> None:
    assert causes.was_reset(_cause_context(None)) is False


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], True),  # how it was is not in the input
        ([read(DEVCTL, 2, 0x000F)], True),
        ([read(DEVCTL, 2, 0x2810)], False),  # error reporting was off before: that it is off proves nothing
        ([read(DEVCTL, 2, 0x000F), write(DEVCTL, 2, 0x0000)], False),
        ([read(DEVCTL, 2, 0x0000), write(DEVCTL, 2, 0x000F)], True),
    ],
)
def test_error_reporting_proves_a_reset_only_where_it_was_on(before: list[Access], expected: bool) -> None:
    after = Part((read(CONTROL, 2, 0x0002), read(DEVCTL, 2, 0x0000)), numbers=(0, 0, 0))
    assert causes.was_reset(_cause_context(after, Part(tuple(before)))) is expected
