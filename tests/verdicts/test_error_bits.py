"""Error bits of one function, register by register: what is new, since when, and what is not known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made import AER, Access, Part, read, write

from analyzer.verdicts import error_status
from analyzer.verdicts.error_status import FunctionErrors, KexecWindow
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_RC_EVENT_COLLECTOR, TYPE_ROOT_PORT

UESTA, CESTA, ROOTSTA = AER + 0x04, AER + 0x10, AER + 0x30
CLEAN = [read(CESTA, 4, 0), read(UESTA, 4, 0)]
KEY = 0x0200


def errors(
    before: list[Access], after: list[Access], *, kind: int = TYPE_DOWNSTREAM, since: int | None = None
) -> FunctionErrors:
    """Rows of both boots count 100, 110, 120, ..."""
    window = KexecWindow(SimpleNamespace(), outgoing_end=900, dump=False)
    made = [Part(tuple(accesses), pcie_type=kind, numbers=(1, 2, 3)) for accesses in (before, after)]
    return error_status.of_function(KEY, *made, window, since)


def bits(found: FunctionErrors) -> list[tuple[str, int | None, int]]:
    return [(one.word, one.since, one.row) for one in found.latched]


@pytest.mark.parametrize(
    ("before", "after", "expected", "doubts"),
    [
        (CLEAN, CLEAN, [], ()),
        ([], CLEAN, [], ()),
        (CLEAN, [CLEAN[0], read(UESTA, 4, 0x20)], [("SDES", 110, 110)], ()),
        # the clearing write, as the kernel does it
        ([read(UESTA, 4, 0x20), write(UESTA, 4, 0x20)], [CLEAN[0], read(UESTA, 4, 0x20)],
         [("SDES", 110, 110)], ()),
        # it clears the bits that it carries, and no other
        ([read(UESTA, 4, 0x30), write(UESTA, 4, 0x10)], [CLEAN[0], read(UESTA, 4, 0x30)],
         [("DLP", 110, 110)], ("UESta: SDES was set before already",)),
        # nobody answered: the write cleared nothing
        ([read(UESTA, 4, 0), read(UESTA, 4, None), write(UESTA, 4, 0x20)], [CLEAN[0], read(UESTA, 4, 0x20)],
         [("SDES", 100, 110)], ()),
        ([], [CLEAN[0], read(UESTA, 4, 0x20)], [("SDES", None, 110)], ()),
        # byte by byte
        (CLEAN, [CLEAN[0], *(read(UESTA + at, 1, 0x20 if at == 0 else 0) for at in range(4))],
         [("SDES", 110, 110)], ()),
        (CLEAN, [CLEAN[0], read(UESTA, 1, 0x20)], [("SDES", 110, 110)], ("ECAP_AER+04.l",)),
        # read after it was cleared, or answered by nobody
        (CLEAN, [CLEAN[0], write(UESTA, 4, 0xFFFFFFFF), read(UESTA, 4, 0)], [], ("ECAP_AER+04.l",)),
        (CLEAN, [CLEAN[0], write(UESTA, 4, 0), read(UESTA, 4, 0x20)], [("SDES", 110, 120)], ()),
        (CLEAN, [CLEAN[0], read(UESTA, 4, None)], [], ("ECAP_AER+04.l",)),
        (CLEAN, [read(UESTA, 4, 0)], [], ("ECAP_AER+10.l",)),
    ],
)  # fmt: skip
def test_bits_and_doubts(
    before: list[Access],
    after: list[Access],
    expected: list[tuple[str, int | None, int]],
    doubts: tuple[str, ...],
) -> None:
    found = errors(before, after)
    assert (bits(found), found.doubts) == (expected, doubts)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TYPE_ROOT_PORT, [("FatalMsg", None, 100)]),
        (TYPE_RC_EVENT_COLLECTOR, [("FatalMsg", None, 100)]),
        (TYPE_DOWNSTREAM, []),  # other functions have no such register there
    ],
)
def test_who_has_root_error_status(kind: int, expected: list[tuple[str, int | None, int]]) -> None:
    assert bits(errors([], [read(ROOTSTA, 4, 0xF800_0040), *CLEAN], kind=kind)) == expected


@pytest.mark.parametrize(("since", "expected"), [(None, []), (99, ["TLP"]), (110, ["TLP"]), (120, [])])
def test_what_the_outgoing_kernel_read_counts_from_a_row_on(since: int | None, expected: list[str]) -> None:
    before = [read(UESTA, 4, 0x20), write(UESTA, 4, 0xFFFFFFFF), read(UESTA, 4, 0x1000), CLEAN[1]]
    found = errors(before, CLEAN, since=since)
    assert [one.word for one in found.handled] == expected
    assert [(one.since, one.row) for one in found.handled] == [(110, 120)] * len(expected)


def test_a_function_that_is_not_there() -> None:
    found = error_status.of_function(KEY, None, None, KexecWindow(SimpleNamespace(), 0, dump=False))
    assert (found.has_registers, found.doubts) == (None, ("the incoming kernel did not enumerate it",))
