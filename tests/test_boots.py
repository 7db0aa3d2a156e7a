"""Boundaries between kernels, from accesses alone and from marks; each rule as a small trace."""

from __future__ import annotations

import pytest
from tiny_trace import index

from analyzer.capture import Boundary
from analyzer.errors import LimitExceededError, UsageError
from analyzer.observed import boots, kexec_at
from analyzer.observed.boots import BootSpan, split
from analyzer.observed.index import enumerations

SWEEP = """
r 00:02.0 00.l gone     # early quirks
r 00:00.0 0a.w 0600
r 00:00.0 00.w 8086
r 00:00.0 0e.b 00
"""
SCAN = """
r 00:00.0 00.l 29c08086
r 00:00.0 0e.b 00
r 00:00.0 04.w 0103     # command toggle
w 00:00.0 04.w 0503
r 00:03.0 00.l 000c1b36
r 00:03.0 0e.b 01
"""
VISIT = """
r 00:03.0 18.l 00010100
r 00:03.0 3e.w 0002
w 00:03.0 3e.w 0002
w 00:03.0 1a.b 01
w 00:03.0 1e.w ffff
w 00:03.0 3e.w 0002
"""
VISIT_6_1 = VISIT.replace("w 00:03.0 1e.w ffff\n", "")
SHUTDOWN = """
r 00:03.0 04.w 0107
w 00:03.0 04.w 0103
r 00:00.0 04.w 0103
"""
FIRMWARE = """
r 00:03.0 00.w 1b36
r 00:03.0 0a.w 0604
w 00:03.0 19.b ff
r 00:03.0 0e.b 01
w 00:03.0 19.b 01
"""
RESCAN = """
r 00:01.0 00.l gone
r 00:03.0 18.l 00010100
r 00:03.0 3e.w 0002
w 00:03.0 3e.w 0002
w 00:03.0 1e.w ffff
w 00:03.0 3e.w 0002
"""
LSPCI = """
r 00:00.0 00.l 29c08086
r 00:00.0 04.l 00000103
r 00:00.0 08.l 06000000
r 00:00.0 0c.l 00000000
"""
REMOVE_AND_RESCAN = """
r 00:03.0 00.l 000c1b36
r 00:03.0 0e.b 01
"""
KERNEL = SWEEP + SCAN + VISIT


def spans(text: str, marks: tuple[Boundary, ...] = ()) -> list[BootSpan]:
    accesses = index(text)
    return split(accesses, enumerations(accesses), marks)


def shape(found: list[BootSpan]) -> list[tuple[str, str]]:
    return [(span.kind, span.entered_by) for span in found]


CASES = {
    "one kernel": (KERNEL, [("kernel", "start")]),
    "firmware, then a kernel": (FIRMWARE + KERNEL, [("firmware", "start"), ("kernel", "reboot")]),
    "a kexec": (KERNEL + SHUTDOWN + KERNEL, [("kernel", "start"), ("kernel", "kexec")]),
    "two kexecs": (
        (KERNEL + SHUTDOWN) * 2 + KERNEL,
        [("kernel", "start"), ("kernel", "kexec"), ("kernel", "kexec")],
    ),
    "a reboot through firmware is no kexec": (
        KERNEL + SHUTDOWN + FIRMWARE + KERNEL,
        [("kernel", "start"), ("firmware", "reboot"), ("kernel", "reboot")],
    ),
    "reboot and kexec": (
        FIRMWARE + KERNEL + SHUTDOWN + FIRMWARE + KERNEL + SHUTDOWN + KERNEL,
        [
            ("firmware", "start"),
            ("kernel", "reboot"),
            ("firmware", "reboot"),
            ("kernel", "reboot"),
            ("kernel", "kexec"),
        ],
    ),
    "a reboot of Linux 6.1, whose bridge visits end without a write of Secondary Status": (
        SWEEP + SCAN + VISIT_6_1 + SHUTDOWN + FIRMWARE + SWEEP + SCAN + VISIT_6_1,
        [("kernel", "start"), ("firmware", "reboot"), ("kernel", "reboot")],
    ),
    "a rescan is no boundary": (KERNEL + RESCAN + RESCAN, [("kernel", "start")]),
    "lspci is no boundary": (KERNEL + LSPCI, [("kernel", "start")]),
    "remove and rescan of a port is no boundary": (KERNEL + REMOVE_AND_RESCAN, [("kernel", "start")]),
    "an early sweep is no boundary": (KERNEL + SWEEP + SWEEP, [("kernel", "start")]),
    "a capture that starts with the shutdown": (
        SHUTDOWN + KERNEL,
        [("kernel", "start"), ("kernel", "kexec")],
    ),
    "a reboot whose kernel is not in the capture": (
        KERNEL + SHUTDOWN + FIRMWARE,
        [("kernel", "start"), ("firmware", "reboot")],
    ),
    "only lspci": (LSPCI, [("unknown", "start")]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=list(CASES))
def test_boots(text: str, expected: list[tuple[str, str]]) -> None:
    assert shape(spans(text)) == expected


def test_the_boundary_stands_behind_the_last_command_access() -> None:
    before = (KERNEL + SHUTDOWN).strip().count("\n") + 1
    before -= (KERNEL + SHUTDOWN).strip().count("\n\n")
    found = spans(KERNEL + SHUTDOWN + KERNEL)
    accesses = index(KERNEL + SHUTDOWN)
    assert (found[0].last, found[1].first) == (accesses.rows - 1, accesses.rows)
    assert found[1].orderly


#: Functions without a driver (00:00.0) are left out; the last access reads what was just written.
SHUTDOWN_6_1 = """
r 00:04.0 04.w 0107
w 00:04.0 04.w 0103
r 00:04.0 04.w 0103
r 00:03.0 04.w 0107
w 00:03.0 04.w 0103
r 00:03.0 04.w 0103
"""
#: The same where one root port alone has a driver: before it come the functions below it.
SHUTDOWN_ONE_ROOT_PORT = """
r 02:00.0 04.w 0107
w 02:00.0 04.w 0103
r 01:00.0 04.w 0107
w 01:00.0 04.w 0103
r 00:03.0 04.w 0107
w 00:03.0 04.w 0103
r 00:03.0 04.w 0103
"""
#: With the series a preserved bridge keeps Bus Master: its driver's write is the last access.
SHUTDOWN_PRESERVED = """
r 00:04.0 04.w 0107
w 00:04.0 04.w 0103
r 00:03.0 04.w 0507
w 00:03.0 04.w 0107
"""
FROM_OUTSIDE = """
w 00:03.0 7c.w 0000
"""
#: The same of Command registers, as firmware or a BMC would write them.
COMMAND_FROM_OUTSIDE = """
w 00:03.0 04.w 0000
w 00:04.0 04.w 0100
"""


@pytest.mark.parametrize("ending", [SHUTDOWN, SHUTDOWN_6_1, SHUTDOWN_ONE_ROOT_PORT, SHUTDOWN_PRESERVED])
@pytest.mark.parametrize("outside", ["", FROM_OUTSIDE, COMMAND_FROM_OUTSIDE])
def test_what_is_written_behind_the_shutdown_is_not_the_outgoing_kernels(ending: str, outside: str) -> None:
    own = index(KERNEL + ending).rows
    found = spans(KERNEL + ending + outside + KERNEL)
    assert shape(found) == [("kernel", "start"), ("kernel", "kexec")]
    assert (found[0].end, found[1].orderly) == (own - 1, True)
    assert found[0].last == found[0].end + outside.strip().count("\n") + bool(outside)


def test_lspci_is_no_shutdown() -> None:
    found = spans(KERNEL + LSPCI + FROM_OUTSIDE + KERNEL)
    assert (found[0].end, found[1].orderly) == (found[0].last, False)


def test_a_crash_kexec_is_cut_at_the_silence() -> None:
    """No shutdown: the longest gap behind the last write tells (a dump kernel reads before it writes)."""
    timed = "\n".join(
        f"@{number} {line}" for number, line in enumerate((KERNEL + KERNEL).strip().splitlines()) if line
    )
    lines = timed.splitlines()
    accesses = index(KERNEL)
    late = [line if number < accesses.rows else _later(line) for number, line in enumerate(lines)]
    found = spans("\n".join(late))
    assert shape(found) == [("kernel", "start"), ("kernel", "kexec")]
    assert found[1].first == accesses.rows
    assert not found[1].orderly


def _later(line: str) -> str:
    time, _, rest = line.partition(" ")
    return f"@{int(time[1:]) + 10**9} {rest}"


def test_a_mark_wins_over_recognition() -> None:
    text = KERNEL + SHUTDOWN + KERNEL
    recognised = spans(text)[1].first
    found = spans(text, (Boundary(recognised + 1, "live-update", "7.4.0"),))
    assert [(span.first, span.kexec_kind, span.release) for span in found] == [
        (0, None, None),
        (recognised + 1, "live-update", "7.4.0"),
    ]


def test_a_boot_mark_is_no_kexec() -> None:
    text = KERNEL + KERNEL
    middle = index(KERNEL).rows
    assert shape(spans(text, (Boundary(middle, "boot"),))) == [("kernel", "start"), ("kernel", "reboot")]


def test_bus_numbers_written_inside_a_bridge_visit_are_not_firmwares() -> None:
    accesses = index(KERNEL)
    assert boots.firmware_writes(accesses).size == 0


def test_bar_writes_at_0x18_of_an_endpoint_are_not_bus_numbers() -> None:
    text = KERNEL + "w 00:00.0 18.l ffffffff\nw 00:00.0 19.b 01"
    assert shape(spans(text)) == [("kernel", "start")]


@pytest.mark.parametrize(
    "text",
    ["access:x", "row:3", "access:0", "access:99999", "time:5", "", "access:²", "time:" + "9" * 5000],
    ids=lambda text: text[:9] or "nothing",
)
def test_bad_kexec_at_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--kexec-at"):
        kexec_at.parse_kexec_at(index(KERNEL), [text])


def test_enumeration_is_the_functions_next_access_not_the_traces() -> None:
    """CPUs interleave: another function's access may stand between the pair."""
    accesses = index(
        """
        r 00:00.0 00.l 29c08086
        r 05:00.0 10.l 00000004
        r 00:00.0 0e.b 00
        r 00:03.0 00.l 000c1b36
        r 00:03.0 04.l 00000103
        """
    )
    assert enumerations(accesses).tolist() == [0]


@pytest.mark.parametrize(
    "vendor", ["ffffffff", "00000000", "0000ffff", "ffff0000", "ffff0001", "gone", "error"]
)
def test_absent_vendor_patterns_are_no_enumeration(vendor: str) -> None:
    assert enumerations(index(f"r 00:00.0 00.l {vendor}\nr 00:00.0 0e.b 00")).size == 0


def test_more_boots_than_the_limit_are_refused() -> None:
    """Whoever asks: the main job and ``stat``."""
    accesses = index("\n".join(["r 00:00.0 00.l 12348086"] * (boots.MAX_BOOTS + 2)))
    marks = [Boundary(number, "kexec") for number in range(1, boots.MAX_BOOTS + 1)]
    assert len(split(accesses, enumerations(accesses), marks[1:])) == boots.MAX_BOOTS
    with pytest.raises(LimitExceededError, match="expected at most 10000 boots in a capture, found 10001"):
        split(accesses, enumerations(accesses), marks, "a.bin")
