"""Error bits of one function, register by register: what is new, since when, and what is not known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made import AER, EXP, Access, Capabilities, Part, PlainEvidence, read, write

from analyzer.verdicts import error_status
from analyzer.verdicts.error_status import FunctionErrors, KexecWindow
from schemas.pcie_capability import TYPE_DOWNSTREAM, TYPE_RC_EVENT_COLLECTOR, TYPE_ROOT_PORT

UESTA, CESTA, ROOTSTA = AER + 0x04, AER + 0x10, AER + 0x30
CLEAN = [read(CESTA, 4, 0), read(UESTA, 4, 0)]
KEY = 0x0200


def errors(
    before: list[Access],
    after: list[Access],
    *,
    kind: int = TYPE_DOWNSTREAM,
    since: int | None = None,
    dump: bool = False,
    **more: object,
) -> FunctionErrors:
    """Rows of both boots count 100, 110, 120, ..."""
    window = KexecWindow(PlainEvidence(), outgoing_end=900, dump=dump)
    values = {"pcie_type": kind, "numbers": (1, 2, 3)} | more
    made = [Part(tuple(accesses), **values) for accesses in (before, after)]
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
        # clear in a byte: the others are as they were, not seen set
        ([read(UESTA, 1, 0)], [CLEAN[0], read(UESTA, 4, 0x4000)], [("CmpltTO", None, 110)], ()),
        ([read(UESTA, 4, 0x20), read(UESTA, 4, 0)], [CLEAN[0], read(UESTA, 4, 0x20)],
         [("SDES", 110, 110)], ()),
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
    assert found == FunctionErrors("0000:02:00.0", (), ("the incoming kernel did not enumerate it",), None)


SEVERITIES, UNCORRECTABLE_MASK, CORRECTABLE_MASK = AER + 0x0C, AER + 0x08, AER + 0x14


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # PCI Express' defaults: SDES is fatal, CmpltTO is not; the masks are not known
        ([], [read(UESTA, 4, 0x4020)], [("SDES", "fatal", True, None), ("CmpltTO", "non-fatal", True, None)]),
        ([read(SEVERITIES, 4, 0x4000)], [read(UESTA, 4, 0x4020)],
         [("SDES", "non-fatal", False, None), ("CmpltTO", "fatal", False, None)]),
        ([], [read(UESTA, 4, 0x20), read(SEVERITIES, 4, 0)], [("SDES", "non-fatal", False, None)]),
        # as the outgoing kernel last shows it, not as it was first, nor as it is after the kexec
        ([read(SEVERITIES, 4, 0), read(SEVERITIES, 4, 0x20)], [read(UESTA, 4, 0x20), read(SEVERITIES, 4, 0)],
         [("SDES", "fatal", False, None)]),
        ([read(UNCORRECTABLE_MASK, 4, 0x20)], [read(UESTA, 4, 0x4020)],
         [("SDES", "fatal", True, True), ("CmpltTO", "non-fatal", True, False)]),
        ([], [read(CESTA, 4, 0x2001), read(CORRECTABLE_MASK, 4, 0x2000)],
         [("RxErr", "correctable", False, False), ("AdvNonFatalErr", "correctable", False, True)]),
        # a byte of the mask only, and nobody answered before
        ([read(UNCORRECTABLE_MASK, 4, 0x20), read(UNCORRECTABLE_MASK + 1, 1, 0),
          read(UNCORRECTABLE_MASK, 4, None)], [read(UESTA, 4, 0x20)], [("SDES", "fatal", True, True)]),
    ],
)  # fmt: skip
def test_severity_and_mask(
    before: list[Access], after: list[Access], expected: list[tuple[str, str, bool, bool | None]]
) -> None:
    found = errors(before, after).latched
    assert [(one.word, one.severity, one.severity_by_default, one.masked) for one in found] == expected


def test_a_message_that_a_root_port_received_was_sent() -> None:
    after = [read(ROOTSTA, 4, 0x45), *CLEAN]
    found = errors([], after, kind=TYPE_ROOT_PORT).latched
    assert [(one.word, one.severity, one.severity_by_default, one.masked) for one in found] == [
        ("CERcvd", "correctable", False, False),
        ("UERcvd", None, False, False),
        ("FatalMsg", "fatal", False, False),
    ]


def test_what_the_outgoing_kernel_handled_is_of_its_boot() -> None:
    before = [read(SEVERITIES, 4, 0x20), read(UESTA, 4, 0), read(UESTA, 4, 0x20)]
    (one,) = errors(before, CLEAN, since=100).handled
    assert (one.function.accesses, one.since, one.row, one.severity) == (tuple(before), 110, 120, "fatal")
    assert one.severity_by_default is False


@pytest.mark.parametrize(("is_pcie", "end"), [(True, False), (None, False), (True, True), (False, False)])
def test_a_function_without_the_capability(is_pcie: bool | None, end: bool) -> None:
    """Whether it has one is known of a function that is no PCI Express function, or whose list has an end."""
    capabilities = Capabilities({0x10: EXP}, {})
    capabilities.extended_end = end
    window = KexecWindow(PlainEvidence(), outgoing_end=900, dump=True)
    after = Part(
        (read(EXP + 0x0A, 2, 0x0004), read(0x1E, 2, 0)), capabilities=capabilities, numbers=(1, 2, 3)
    )
    after.is_pcie = is_pcie
    found = error_status.of_function(KEY, None, after, window)
    known = end or is_pcie is False
    assert found.bdf == "0000:02:00.0"
    assert bits(found) == [("FatalErr", None, 100)]
    assert (found.has_registers, found.is_unread) == (False if known else None, False)
    assert found.doubts == (() if known else ("its extended capabilities",))


def test_a_dump_shows_nothing_of_what_was_cleared_before_it() -> None:
    doubts = ("ECAP_AER+10.l", "ECAP_AER+04.l")
    for after, is_unread in (([], True), (CLEAN, False), ([read(UESTA, 1, 0)], False)):
        found = errors(CLEAN, after, dump=True)
        assert (found.doubts, found.is_unread, found.has_registers) == (doubts, is_unread, True)


@pytest.mark.parametrize(
    ("is_bridge", "pcie", "expected"),
    [(True, EXP, ["FatalErr", "<SERR"]), (True, None, ["<SERR"]), (False, EXP, ["FatalErr"])],
)
def test_what_dumps_alone_show(is_bridge: bool, pcie: int | None, expected: list[str]) -> None:
    after = [read(EXP + 0x0A, 2, 0x0004), read(0x1E, 2, 0x4000)]
    found = errors([], after, dump=True, is_bridge=is_bridge, pcie=pcie).latched
    assert [one.word for one in found] == expected
    assert [one.severity for one in found] == [{"FatalErr": "fatal"}.get(word) for word in expected]
    assert errors([], after, is_bridge=is_bridge, pcie=pcie).latched == ()


@pytest.mark.parametrize(
    ("after", "is_unread"), [([], True), ([read(CESTA, 4, 0)], False), ([read(UESTA, 4, 0)], False)]
)
def test_whether_any_was_read(after: list[Access], is_unread: bool) -> None:
    assert errors([], after).is_unread is is_unread


@pytest.mark.parametrize(
    ("numbers", "lost"), [((0, 0, 0), True), (None, True), ((1, 2, 3), False), ((0, 1, 1), False)]
)
def test_a_loss_of_power_takes_error_status_with_it(numbers: tuple[int, int, int] | None, lost: bool) -> None:
    """The outgoing kernel had changed a sticky mask, and it has its first value again."""
    mask = CORRECTABLE_MASK
    before = [read(mask, 4, 0x2000), write(mask, 4, 0), *CLEAN]
    doubt = ("it lost power, and its error status with it",)
    assert errors(before, [read(mask, 4, 0x2000), *CLEAN], numbers=numbers).doubts == (doubt if lost else ())
    assert errors(before, [read(mask, 4, 0), *CLEAN], numbers=numbers).doubts == ()


def test_bits_that_say_that_a_link_went_down() -> None:
    words = read(UESTA, 4, 0x4030), read(CESTA, 4, 0xF1C1)
    above = errors([read(UESTA, 4, 0), read(UESTA, 4, 0x20)], CLEAN, since=100)
    below = errors([], [*words])
    assert [(name, one.word) for name, one in error_status.link_errors([below, above])] == [
        ("0000:02:00.0", "SDES"),
        ("0000:02:00.0", "DLP"),
        ("0000:02:00.0", "SDES"),
    ]


NEAR = [read(AER, 4, 0x14011), read(AER + 0x34, 4, 0x11), read(UNCORRECTABLE_MASK, 4, 0x20)]


@pytest.mark.parametrize(
    ("before", "after", "since", "quiet"),
    [
        ([], CLEAN, None, True),
        ([], [*NEAR, *CLEAN], None, True),
        (
            [],
            [*CLEAN, write(UESTA, 4, 0xFFFFFFFF), read(UESTA, 4, 0x20)],
            None,
            True,
        ),  # its first read counts
        ([], [read(CESTA, 0, 0), read(UESTA, 0, 0)], None, True),  # a capture without widths
        ([], [], None, False),
        ([], CLEAN[:1], None, False),
        ([], CLEAN[1:], None, False),
        ([], [CLEAN[0], read(UESTA, 4, 0x20)], None, False),
        ([], [read(CESTA, 4, 1), CLEAN[1]], None, False),
        ([], [CLEAN[0], read(UESTA, 4, None)], None, False),
        ([], [CLEAN[0], write(UESTA, 4, 0), CLEAN[1]], None, False),
        ([], [CLEAN[0], read(UESTA, 2, 0)], None, False),
        ([], [CLEAN[0], read(UESTA, 1, 0)], None, False),
        ([], [*CLEAN, read(UESTA + 1, 1, 0)], None, False),
        ([], [*CLEAN, read(CESTA + 3, 1, 0)], None, False),
        ([read(UESTA, 4, 0x20)], CLEAN, None, True),
        ([read(UESTA, 4, 0x20)], CLEAN, 99, False),
        ([read(UESTA, 4, 0x20)], CLEAN, 100, True),
        ([read(UESTA, 4, 0), write(UESTA, 4, 0x20)], CLEAN, 99, True),
        ([read(CESTA, 4, 1)], CLEAN, 99, False),
        ([read(ROOTSTA, 4, 1)], CLEAN, 99, False),
        ([read(ROOTSTA + 3, 1, 1)], CLEAN, 99, False),
        (NEAR, CLEAN, 99, True),
        ([read(SEVERITIES, 4, 0x20), read(0x3C, 1, 0xB)], CLEAN, 99, True),
    ],
)
def test_a_cheap_check_knows_functions_that_show_nothing(
    before: list[Access], after: list[Access], since: int | None, quiet: bool
) -> None:
    made = Part(tuple(before)), Part(tuple(after), latched=False)
    assert error_status._is_quiet(*made, since) is quiet
    if quiet:
        assert errors(before, after, since=since, latched=False) == FunctionErrors("0000:02:00.0")


def test_the_cheap_check_leaves_out_what_it_cannot_judge() -> None:
    clean = Part(tuple(CLEAN), latched=False)
    assert error_status._is_quiet(None, clean, 99)
    assert error_status._is_quiet(Part((read(UESTA, 4, 0x20),), capabilities=Capabilities({}, {})), clean, 99)
    assert not error_status._is_quiet(None, Part(tuple(CLEAN)), None)  # a bit is latched
    clean.view.known = clean.view.values  # a dump in part
    assert not error_status._is_quiet(None, clean, None)
    root = [
        Part((*accesses, *CLEAN), latched=False, pcie_type=TYPE_ROOT_PORT)
        for accesses in ((), (read(ROOTSTA, 4, 0),), (read(ROOTSTA, 4, 0), read(ROOTSTA + 3, 1, 0)))
    ]
    assert [error_status._is_quiet(None, one, None) for one in root] == [False, True, False]


@pytest.mark.parametrize("numbers", [None, (0, 0, 0)])
def test_the_cheap_check_says_nothing_of_a_function_that_may_have_lost_power(
    numbers: tuple[int, int, int] | None,
) -> None:
    before = [read(CORRECTABLE_MASK, 4, 0x2000), write(CORRECTABLE_MASK, 4, 0), *CLEAN]
    found = errors(before, [read(CORRECTABLE_MASK, 4, 0x2000), *CLEAN], numbers=numbers, latched=False)
    assert found.doubts == ("it lost power, and its error status with it",)
    assert errors(CLEAN, CLEAN, dump=True, latched=False).doubts == ("ECAP_AER+10.l", "ECAP_AER+04.l")


def test_nobody_answered_at_first() -> None:
    before = [read(UESTA, 4, None), read(UESTA, 4, 0)]
    assert bits(errors(before, [CLEAN[0], read(UESTA, 4, 0x20)])) == [("SDES", 110, 110)]
    after = [CLEAN[0], read(UESTA, 4, 0x20)]
    assert bits(errors([write(UESTA, 4, 0x20)], after)) == [("SDES", 100, 110)]
    assert bits(errors([write(UESTA, 4, 0x10)], after)) == [("SDES", None, 110)]
    partly = [read(UESTA, 4, 0x20), read(UESTA + 1, 1, 0)]  # the other byte
    assert errors(partly, after).doubts == ("UESta: SDES was set before already",)
