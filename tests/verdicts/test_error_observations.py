"""What is said of error bits: those of one register and window together, and beside the cause of a loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hand_made import AER, Part, PlainEvidence, read, shown

from analyzer.replay.world import Node
from analyzer.results import ErrorBit
from analyzer.verdicts import error_observations
from analyzer.verdicts.error_status import FunctionErrors, KexecWindow, LatchedBit
from schemas.error_status import (
    CORRECTABLE_ERRORS,
    DEVICE_ERRORS,
    ROOT_ERRORS,
    UNCORRECTABLE_ERRORS,
)

END, PLACE, MS = 900, "0000:00:01.0", 10**6
DLP, SDES, UNNAMED = 0x10, 0x20, 1 << 28
CESTA, UESTA = AER + 0x10, AER + 0x04
FUNCTION = Part()
STATUS_PLACE = f"ECAP_AER behind {AER:#x}, 4 bytes"


class Timed(PlainEvidence):
    """Evidence with times: rows count ms, but those from 800 on if ``clock`` is off."""

    def __init__(self, *, clock: bool = True) -> None:
        self.clock = clock

    def time_ns(self, row: int) -> int | None:
        return row * MS if self.clock or row < 800 else None


def window(*, dump: bool = False, whole: bool = True, clock: bool = True) -> KexecWindow:
    return KexecWindow(Timed(clock=clock), END, dump, whole)


def bit(mask: int = SDES, since: int | None = 800, row: int = 910, **more: object) -> LatchedBit:
    values = {
        "function": FUNCTION,
        "status": UNCORRECTABLE_ERRORS,
        "severity": "fatal",
        "severity_by_default": False,
        "masked": False,
    }
    return LatchedBit(mask=mask, since=since, row=row, **(values | more))


def observed(*bits: LatchedBit, **more: bool):
    return error_observations._observation(PLACE, bits, window(**more))


def test_bits_of_one_register_and_window_are_one_observation():
    found = observed(bit(DLP), bit(UNNAMED, severity="non-fatal", masked=True))
    assert (found.bdf, found.kind) == (PLACE, "error-status")
    assert found.note == (
        "UESta: DLP+ bit 28+, set between access 800, 100.000 ms before the kexec, and access 910: Data Link "
        "Protocol Error (fatal), an error that lspci has no word for (non-fatal; masked)"
    )
    assert shown(found.evidence) == [
        (800, STATUS_PLACE, "clear"),
        (910, STATUS_PLACE, "first read after the kexec: DLP+ bit 28+"),
    ]
    times = {"last_clear": 800, "first_set": 910, "before_kexec_ns": 100 * MS}
    unnamed = "an error that lspci has no word for"
    assert found.errors == [
        ErrorBit(
            "ECAP_AER+04.l", "UESta", "DLP", "Data Link Protocol Error", "fatal",
            severity_by_default=False, masked=False, **times,
        ),
        ErrorBit(
            "ECAP_AER+04.l", "UESta", "bit 28", unnamed, "non-fatal",
            severity_by_default=False, masked=True, **times,
        ),
    ]  # fmt: skip


def test_a_bit_that_no_access_shows_clear_was_set_at_an_unknown_time():
    found = observed(bit(since=None, severity_by_default=True))
    assert found.note == (
        "UESta: SDES+, set at an unknown time before access 910 (no access shows it clear): Surprise Down "
        "Error (fatal by default: ECAP_AER+0c.l is not in the capture)"
    )
    assert shown(found.evidence) == [(910, STATUS_PLACE, "first read after the kexec: SDES+")]
    (error,) = found.errors
    assert (error.last_clear, error.before_kexec_ns, error.severity_by_default) == (None, None, True)


@pytest.mark.parametrize(
    ("since", "row", "clock", "text"),
    [
        (800, 910, True, "set between access 800, 100.000 ms before the kexec, and access 910"),
        (900, 910, True, "set between access 900, 0.000 ms before the kexec, and access 910"),
        # In the blackout, or where a time is not recorded: no time.
        (901, 910, True, "set between access 901 and access 910"),
        (790, 910, False, "set between access 790 and access 910"),
        (801, 910, False, "set between access 801 and access 910"),
        # The outgoing kernel read it itself, up to its last access.
        (
            850,
            899,
            True,
            "set between access 850, 50.000 ms before the kexec, and access 899 of the outgoing kernel",
        ),
        (
            850,
            900,
            True,
            "set between access 850, 50.000 ms before the kexec, and access 900 of the outgoing kernel",
        ),
        (850, 901, True, "set between access 850, 50.000 ms before the kexec, and access 901"),
    ],
)
def test_between_which_accesses(since, row, clock, text):
    assert error_observations._between(bit(since=since, row=row), window(clock=clock)) == text


@pytest.mark.parametrize("since", [790, 801])
def test_a_lead_needs_both_times(since):
    (error,) = observed(bit(since=since), clock=False).errors
    assert error.before_kexec_ns is None
    (error,) = observed(bit(since=since)).errors
    assert error.before_kexec_ns == (900 - since) * MS


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_234_567, "1.235 ms"),
        (999_999_000, "999.999 ms"),
        (999_999_499, "999.999 ms"),
        (10**9, "1.000 s"),
        (2_500_000_000, "2.500 s"),
        (1_234_567_000_000, "1,234.567 s"),
        (3_600_000_000_000, "3,600.000 s"),
        (604_800 * 10**9, "604,800.000 s"),
    ],
)
def test_durations(ns, text):
    assert error_observations._duration(ns) == text


ABSENT = "ECAP_AER+{}.l is not in the capture"


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, " (fatal)"),
        ({"masked": True}, " (fatal; masked)"),
        ({"masked": None}, " (fatal; ECAP_AER+08.l is not in the capture)"),
        ({"severity": None}, ""),
        ({"severity": None, "masked": True}, " (masked)"),
        (
            {"severity": "non-fatal", "severity_by_default": True, "masked": None},
            f" (non-fatal by default: {ABSENT.format('0c')}; {ABSENT.format('08')})",
        ),
        (
            {"status": CORRECTABLE_ERRORS, "severity": "correctable", "masked": None},
            " (correctable; ECAP_AER+14.l is not in the capture)",
        ),
        # No register masks these.
        ({"status": ROOT_ERRORS, "masked": None}, " (fatal)"),
        ({"status": DEVICE_ERRORS, "severity": None, "masked": None}, ""),
    ],
)
def test_how_severe_and_whether_signalled(more, text):
    assert error_observations._qualities(bit(**more)) == text


def test_bits_of_other_registers_and_windows_are_apart():
    bits = [
        bit(DLP),
        bit(1, status=CORRECTABLE_ERRORS),
        bit(SDES),
        bit(SDES, since=810),
        bit(SDES, row=920),
        bit(SDES, since=None),
    ]
    groups = error_observations._groups(bits)
    assert groups == [[bits[0], bits[2]], [bits[1]], [bits[3]], [bits[4]], [bits[5]]]


def function(key: int, *, cesta: int = 0, uesta: int = 0, latched: bool = True) -> Part:
    return Part((read(CESTA, 4, cesta), read(UESTA, 4, uesta)), function=key, latched=latched)


def findings(nodes: list[Node], before: dict[int, Part], after: dict[int, Part], *, dump: bool = False):
    machine = SimpleNamespace(nodes=nodes)
    return error_observations.findings(machine, before, after, window(dump=dump))


def test_errors_of_a_machine_the_alarms_first():
    """A fatal error that is not masked is an alarm; its mask must have been read."""
    one = function(0x0208, cesta=1)
    two = Part((read(CESTA, 4, 0), read(UESTA, 4, SDES), read(AER + 0x08, 4, 0)), function=0x0308)
    nodes = [
        Node((0, 8), outgoing=0x08, incoming=0x0208),
        Node((0, 16), outgoing=0x10, incoming=0x0308),
        Node((0, 24), outgoing=0x18),
        Node((0, 32), outgoing=0x20, incoming=0x0408),
    ]
    before = {0x08: function(0x08), 0x10: function(0x10), 0x18: function(0x18, uesta=SDES)}
    found = findings(nodes, before, {0x0208: one, 0x0308: two})
    # Named as the outgoing kernel named them.
    assert [(item.bdf, item.is_alarm, item.errors[0].bit) for item in found] == [
        ("0000:00:02.0", True, "SDES"),
        ("0000:00:01.0", False, "RxErr"),
    ]
    # Its own last read showed the bit clear.
    assert [item.errors[0].last_clear for item in found] == [110, 100]


def test_a_function_that_is_new_has_no_earlier_read():
    nodes = [Node((0, 8), incoming=0x08)]
    (found,) = findings(nodes, {0x08: function(0x08)}, {0x08: function(0x08, uesta=SDES)})
    assert found.errors[0].last_clear is None


@pytest.mark.parametrize(
    ("latched", "dump", "found"), [(True, False, 1), (False, False, 0), (False, True, 1)]
)
def test_only_functions_that_show_an_error_are_asked(latched, dump, found):
    """But of a dump all: what a scan left is no sign of what it read."""
    nodes = [Node((0, 8), outgoing=0x08, incoming=0x08)]
    after = {0x08: function(0x08, uesta=SDES, latched=latched)}
    assert len(findings(nodes, {}, after, dump=dump)) == found


FATAL = (
    "UESta: SDES+, set between access 800, 100.000 ms before the kexec, and access 910: Surprise Down Error"
)
PROTOCOL = FATAL.replace("SDES", "DLP").replace("Surprise Down", "Data Link Protocol")
MASKED, MILD = bit(masked=True), bit(DLP, severity="non-fatal")
ONE_FATAL = "a fatal PCIe error was recorded on the path"
NONE_FATAL = "PCIe errors were recorded on the path, none signalled as fatal"
REST = "without AER: b, d; not captured: e (x, y); f (z)"
NOT_KNOWN = "whether a PCIe error was recorded on the path is not known"
FIRMWARE = "no kernel reads them where firmware handles errors"


def errors(name: str, *latched: LatchedBit, **more: object) -> FunctionErrors:
    return FunctionErrors(name, latched, **more)


@pytest.mark.parametrize(
    ("path", "facts", "word", "text"),
    [
        # One fatal error that is signalled is enough; what is beside it is named too.
        (
            [errors("a", bit()), errors("b")],
            {},
            "fatal",
            f"{ONE_FATAL}: a {FATAL} (fatal)",
        ),
        (
            [
                errors("a", MASKED, bit(row=920)),
                errors("b", has_registers=False),
                errors("c", bit()),
                errors("d", has_registers=False),
                errors("e", doubts=("x", "y")),
                errors("f", doubts=("z",)),
            ],
            {},
            "fatal",
            f"{ONE_FATAL}: a {FATAL.replace('910', '920')} (fatal); c {FATAL} (fatal); {REST}",
        ),
        # What the outgoing kernel read itself counts as well.
        (
            [errors("a", handled=(bit(),))],
            {},
            "fatal",
            f"{ONE_FATAL}: a {FATAL} (fatal)",
        ),
        (
            [errors("a", MASKED), errors("b", has_registers=False)],
            {},
            "recorded",
            f"{NONE_FATAL}: a {FATAL} (fatal; masked); without AER: b",
        ),
        (
            [errors("a", MILD)],
            {},
            "recorded",
            f"{NONE_FATAL}: a {PROTOCOL} (non-fatal)",
        ),
        # Clean: read of one at least, nothing in doubt, and nothing missing.
        (
            [errors("a"), errors("b"), errors("c", has_registers=False)],
            {},
            "clean",
            "read and clean: no PCIe error was recorded on the path (a, b; without AER: c)",
        ),
        (
            [errors("a"), errors("b", doubts=("x",))],
            {},
            "not-captured",
            f"not captured: b (x); read and clean: a; {NOT_KNOWN}",
        ),
        (
            [errors("a", doubts=("x",)), errors("b", has_registers=None)],
            {},
            "not-captured",
            f"not captured: a (x); {NOT_KNOWN}",
        ),
        (
            [errors("a")],
            {"whole": False},
            "not-captured",
            f"read and clean: a; accesses are missing from the capture; {NOT_KNOWN}",
        ),
        ([errors("a", has_registers=False)], {}, "not-captured", f"without AER: a; {NOT_KNOWN}"),
        # Nobody read any of them.
        (
            [errors("a", doubts=("x",), is_unread=True), errors("b", has_registers=False, is_unread=True)],
            {},
            "not-captured",
            f"without AER: b; not captured: a (x); {FIRMWARE}; {NOT_KNOWN}",
        ),
        (
            [errors("a", doubts=("x",), is_unread=True), errors("b")],
            {},
            "not-captured",
            f"not captured: a (x); read and clean: b; {NOT_KNOWN}",
        ),
        (
            [errors("a", doubts=("x",), is_unread=True)],
            {"dump": True},
            "not-captured",
            f"not captured: a (x); {NOT_KNOWN}",
        ),
        (
            [errors("a", doubts=("x",), is_unread=True)],
            {"whole": False},
            "not-captured",
            f"not captured: a (x); accesses are missing from the capture; {FIRMWARE}; {NOT_KNOWN}",
        ),
    ],
)
def test_what_stands_beside_a_cause(path, facts, word, text):
    assert error_observations.path_errors(path, window(**facts)) == (word, text)
