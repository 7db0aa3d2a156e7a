"""Rows of the state watch: what one says of one register, and what writes after the kexec make of it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hand_made import ACS, SRIOV, Access, Part, read, write

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.watched_registers import BITS_OF, DWORD_OF, DWORDS
from analyzer.results.state import StateVerdict
from analyzer.verdicts.state_watch import StateWatch, _Kexecs
from analyzer.verdicts.watched_functions import ShownState
from schemas import state_watch as states
from schemas.state_watch import WATCHED

BEFORE, AFTER = 0x0200, 0x0500
ACS_CTRL, COMMAND = ACS + 0x06, 0x04
LOST = ShownState(0, WATCHED.index(states.ACS), 0x7F, 0x1D, 0, 0x1D, False, False, 0, 7, 8)
KEPT = LOST._replace(first=0x1D, written=True, left=0x1D)
MASTER = ShownState(0, WATCHED.index(states.BUS_MASTERS[0]), 4, 0, 0, 4, False, False, 0, 7, 8)
DUMPS = "the input has dumps alone: it was lost, cleared by the incoming kernel, or changed later by its user"
SHUTDOWN = "how the outgoing kernel left it at its shutdown is not in the capture"
MISSING = "accesses are missing from the capture: one of them may have changed it"
OWN = f"the incoming kernel's own write changed it: {states.ACS.rule}"
UNCHANGED = ("0x001d", "0x001d")
HEALED = "the incoming kernel set it again; it was without it in between"


def functions(
    *after: Access, preserved: bool = True, orderly: bool = True, dump: bool = False, whole: bool = True
) -> SimpleNamespace:
    """One function: rows before the kexec are accesses 1000 + row, those after it 2000 + row.

    The incoming kernel's scan ends in row 120, its boot in row 140; rows count 100, 110, 120, ...
    """
    incoming = SimpleNamespace(
        functions={AFTER: Part(after, is_bridge=False)},
        boot=SimpleNamespace(orderly=orderly, end=140),
        scan_ends={5: 120},
        root_bus=lambda bus: bus,
        is_snapshot=dump,
        access=lambda row: 2000 + row,
    )
    outgoing = SimpleNamespace(access=lambda row: 1000 + row)
    kexec = SimpleNamespace(outgoing=outgoing, incoming=incoming, whole=whole)
    keys = np.array([[BEFORE, AFTER]])
    return SimpleNamespace(
        kexecs=[kexec], kexec=np.array([0]), keys=keys, is_preserved=np.array([preserved]), edges=[0, 1]
    )


def row(shown: ShownState, *after: Access, **more: bool) -> StateVerdict:
    return _Kexecs(functions(*after, **more)).verdict(shown)


def test_a_row_in_full() -> None:
    assert row(LOST) == StateVerdict(
        bdf="0000:02:00.0",
        name="ACS",
        register="ECAP_ACS+06.w",
        field="SrcValid ReqRedir CmpltRedir UpstreamFwd",
        before="0x001d",
        after="0x0000",
        verdict="lost",
        code="STATE003",
        severity="alarm",
        access_before=1007,
        access_after=2008,
        depends=states.ACS.dependents,
        note=None,
    )


def test_of_a_function_that_was_not_preserved_it_is_no_finding() -> None:
    found = row(LOST, preserved=False)
    assert (found.verdict, found.code, found.severity) == ("lost", None, "note")


def test_what_no_access_shows_has_no_value() -> None:
    nothing = LOST._replace(known=0, held=0, used=0, held_row=NONE, first_row=NONE)
    found = row(nothing)
    assert (found.before, found.after, found.access_before, found.access_after) == (None,) * 4
    assert found.field == states.ACS.field_of(states.ACS.mask)
    assert (found.verdict, found.code, found.severity) == ("undetermined", None, "note")


@pytest.mark.parametrize(
    ("after", "word", "values", "access", "field", "note"),
    [
        # its scan wrote 0, and 0x05 at last
        ([read(ACS_CTRL, 2, 0x1D), write(ACS_CTRL, 2, 0), write(ACS_CTRL, 2, 5)], "cleared",
         ("0x001d", "0x0005"), 2120, "CmpltRedir UpstreamFwd", OWN),
        ([write(ACS_CTRL, 2, 0), write(ACS_CTRL, 2, 0x1D)], "kept", UNCHANGED, 2008, None, None),
        # a byte of it: the other bits stay
        ([write(ACS_CTRL, 1, 0x1C)], "cleared", ("0x001d", "0x001c"), 2100, "SrcValid", OWN),
        # and one of the other byte changes nothing of it
        ([write(ACS_CTRL, 1, 0x1C), write(ACS_CTRL + 1, 1, 0)], "cleared",
         ("0x001d", "0x001c"), 2100, "SrcValid", OWN),
        # after its scan: a driver's
        ([read(ACS_CTRL, 2, 0x1D)] * 3 + [write(ACS_CTRL, 2, 0)], "kept", UNCHANGED, 2008, None, None),
        # answered by nobody, another register
        ([write(ACS_CTRL, 2, 0, failed=True), write(COMMAND, 2, 0)], "kept", UNCHANGED, 2008, None, None),
    ],
)  # fmt: skip
def test_what_its_own_writes_left(
    after: list[Access], word: str, values: tuple[str, str], access: int, field: str | None, note: str | None
) -> None:
    found = row(KEPT, *after)
    assert (found.verdict, (found.before, found.after)) == (word, values)
    assert (found.access_before, found.access_after, found.note) == (1007, access, note)
    assert found.field == field or field is None


@pytest.mark.parametrize(
    ("after", "word", "note"),
    [
        ([write(ACS_CTRL, 2, 0x1D)], "healed", HEALED),
        ([write(ACS_CTRL, 2, 0x1D), write(ACS_CTRL, 2, 0)], "healed", HEALED),
        ([write(ACS_CTRL, 2, 0x01), write(ACS_CTRL, 2, 0x1C)], "lost", None),
        ([write(ACS_CTRL, 1, 0x1D)], "healed", HEALED),
        ([write(ACS_CTRL + 1, 1, 0x1D)], "lost", None),
        ([read(ACS_CTRL, 2, 0x1D)], "lost", None),
        ([read(ACS_CTRL, 2, 0)] * 4 + [write(ACS_CTRL, 2, 0x1D)], "healed", HEALED),  # after its scan, too
        ([read(ACS_CTRL, 2, 0)] * 5 + [write(ACS_CTRL, 2, 0x1D)], "lost", None),  # after its boot
    ],
)
def test_what_it_set_again(after: list[Access], word: str, note: str | None) -> None:
    found = row(LOST._replace(written=True), *after)
    assert (found.verdict, found.note, found.access_after) == (word, note, 2008)
    assert (found.before, found.after) == ("0x001d", "0x0000")


@pytest.mark.parametrize(
    ("shown", "more", "word", "note"),
    [
        (LOST, {"dump": True}, "undetermined", DUMPS),
        (LOST, {"whole": False}, "undetermined", MISSING),
        (LOST, {"dump": True, "whole": False}, "undetermined", DUMPS),
        (LOST._replace(first=0x1D), {"whole": False}, "undetermined", MISSING),
        (LOST._replace(first=0x1D), {}, "kept", None),
        (LOST._replace(first=0x1D, known=0x1D), {"whole": False}, "undetermined", None),
        (LOST._replace(first=0x1D, known=0x1D), {}, "undetermined", None),
        (LOST._replace(first=0x1D, known=0x1D), {"dump": True}, "undetermined", None),
        (LOST, {"orderly": False}, "lost", None),
        (MASTER._replace(held=4), {"orderly": False}, "undetermined", SHUTDOWN),
        (MASTER._replace(held=4), {"orderly": False, "dump": True}, "undetermined", SHUTDOWN),
        (MASTER._replace(held=4), {"dump": True}, "undetermined", DUMPS),
        (LOST, {"orderly": False, "dump": True}, "undetermined", DUMPS),
        (MASTER._replace(held=4), {}, "lost", None),
        (MASTER, {}, "expected", "the outgoing kernel cleared it itself"),
        (MASTER._replace(was_reset=True), {}, "expected", "the outgoing kernel cleared it itself"),
        (LOST._replace(was_reset=True), {}, "expected", "the outgoing kernel reset the function"),
        (LOST._replace(first=0x1D, used=0x7F), {}, "kept", None),  # no shutdown clears it
    ],
)
def test_what_is_said_of_it(shown: ShownState, more: dict[str, bool], word: str, note: str | None) -> None:
    found = row(shown, **more)
    assert (found.verdict, found.note) == (word, note)


def test_what_the_shutdown_took_is_shown_as_it_was_used() -> None:
    found = row(MASTER)
    assert (found.before, found.after, found.field) == ("0x0004", "0x0000", "BusMaster")


@pytest.mark.parametrize(
    ("shown", "after", "more"),
    [
        (KEPT, [write(ACS_CTRL, 2, 0)], {"dump": True}),
        (KEPT._replace(written=False), [write(ACS_CTRL, 2, 0)], {}),
        (KEPT._replace(left=0x02), [write(ACS_CTRL, 2, 0)], {}),  # a bit that was off
    ],
)
def test_writes_that_have_no_say(shown: ShownState, after: list[Access], more: dict[str, bool]) -> None:
    assert row(shown, *after, **more).verdict == "kept"


def test_one_function_of_one_kexec_is_found_by_its_key_before() -> None:
    its = functions()
    its.keys = np.array([[1, 2], [BEFORE, AFTER], [AFTER, BEFORE]])
    its.edges, its.reset_counts = [0, 1, 3], np.array([[1, 2], [3, 4], [5, 6]])
    its.settled = lambda codes: np.array([True, codes == ("STATE003",), True])
    first, second = (StateWatch(_Kexecs(its), number) for number in range(2))
    assert (second.at_reset(BEFORE), second.at_reset(AFTER), second.at_reset(1)) == ((3, 4), (5, 6), None)
    assert (first.at_reset(1), first.at_reset(BEFORE)) == ((1, 2), None)
    assert first.pairs == [(1, 2)]
    assert second.settled("STATE003") == {BEFORE, AFTER}
    assert second.settled("STATE011") == {AFTER}


def test_the_functions_of_each_of_three_kexecs() -> None:
    its = functions()
    its.keys, its.edges = np.array([[1, 2], [3, 4], [5, 6], [7, 8]]), [0, 2, 3, 4]
    assert [StateWatch(_Kexecs(its), number).pairs for number in range(3)] == [
        [(1, 2), (3, 4)],
        [(5, 6)],
        [(7, 8)],
    ]


def test_of_several_bits_those_that_the_shutdown_took_are_named() -> None:
    state = states.DECODING[0]
    found = row(ShownState(0, WATCHED.index(state), 3, 1, 1, 3, False, False, 0, 7, 8))
    assert (found.verdict, found.field) == ("expected", state.field_of(2))
    assert found.field != state.field_of(3)


def test_what_it_wrote_again_though_nobody_was_without_it() -> None:
    found = row(LOST._replace(held=0x11, first=0x1D, written=True), write(ACS_CTRL, 2, 0x11))
    assert (found.verdict, found.note) == ("changed", "the incoming kernel wrote again what was held")


def test_byte_by_byte_what_it_wrote_adds_up() -> None:
    number, place = SRIOV + 0x10, WATCHED.index(states.NUM_VFS)
    shown = ShownState(0, place, 0xFFFF, 0x0102, 0x0102, 0x0102, False, True, 0x0102, 7, 8)
    found = row(shown, write(number, 1, 0), write(number + 1, 1, 0))
    assert (found.verdict, found.after, found.access_after) == ("cleared", "0x0000", 2110)


def test_where_no_end_of_its_scan_is_known_that_of_its_boot_counts() -> None:
    its = functions(*[read(ACS_CTRL, 2, 0x1D)] * 3, write(ACS_CTRL, 2, 0))
    its.kexecs[0].incoming.scan_ends.clear()
    assert _Kexecs(its).verdict(KEPT).verdict == "cleared"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (None, ["0000:02:00.0 ACS", "0000:05:00.0 MPS"]),
        (BEFORE, ["0000:02:00.0 ACS"]),
        (AFTER, ["0000:05:00.0 MPS"]),
        (0x100, []),
    ],
)
def test_every_register_that_a_function_shows(function: int | None, names: list[str]) -> None:
    """One kernel shows ACS of the one function, the other one shows Max Payload Size of the other."""
    its = functions()
    its.keys = np.array([[BEFORE, AFTER], [AFTER, BEFORE]])
    its.edges, its.kexec, its.is_preserved = [0, 2], np.array([0, 0]), np.array([True, True])
    shows = np.zeros((2, 2, len(DWORDS)), np.int64)
    for row_of, state in enumerate((states.ACS, states.MAX_PAYLOAD)):
        place = WATCHED.index(state)
        shows[row_of, row_of, DWORD_OF[place]] = BITS_OF[place]
    its.before = SimpleNamespace(last=SimpleNamespace(known=shows[0]))
    its.after = SimpleNamespace(first=SimpleNamespace(known=shows[1]))
    its.shown = lambda rows, places: [
        LOST._replace(row=at, state=place, known=0)
        for at, place in zip(rows.tolist(), places.tolist(), strict=True)
    ]
    found = StateWatch(_Kexecs(its), 0).every_verdict(function)
    assert [f"{one.bdf} {one.name}" for one in found] == names
