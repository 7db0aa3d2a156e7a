"""Dumps of a log in a console, and logs of several boots: what tells them apart, and who said what."""

from __future__ import annotations

import pytest
from boot_messages import KEXEC, VERSION, at, boot, keys, parse, timed

PRESERVED = "pci 0000:00:03.0: Device was preserved by previous kernel across Live Update"
WILL_BE = "nvme 0000:03:00.{}: Device will be preserved across next Live Update"
LINK_DOWN = "pcieport 0000:00:03.0: pciehp: Slot(0): Link Down"
LINK_UP = "pcieport 0000:00:03.0: pciehp: Slot(0): Link Up"
NUMBER = "luo: Retrieved live update data, liveupdate number: {}"
CERTAIN = 20  # messages alike that are no coincidence


def messages(count: int, first: int, word: str) -> list[str]:
    """Messages with a time each, from 3 s on, of no interest to the program."""
    return [at(3_000_000 + number, f"usb {number}: {word}") for number in range(first, first + count)]


def facts(count: int, first: int, word: str) -> list[str]:
    """The same of messages about functions."""
    text = "[8086:1572] type 00 class 0x020000"
    return [
        at(3_000_000 + n, f"{word} 0000:{n >> 3:02x}:00.{n & 7}: {text}") for n in range(first, first + count)
    ]


@pytest.mark.parametrize("of_interest", [False, True])
@pytest.mark.parametrize(
    ("alike", "different", "kernels"),
    [
        (3, 2, 1),
        (2, 2, 2),
        (2, 3, 2),
        (0, 1, 2),
        (CERTAIN - 1, 30, 2),
        (CERTAIN, 30, 1),
    ],
)
def test_messages_alike_to_the_microsecond(
    alike: int, different: int, kernels: int, of_interest: bool
) -> None:
    """More than half of them are alike, or so many that it is no coincidence: a dump."""
    # Facts are compared however late they are, other messages only among the first ones.
    many = messages(300, -1000, "early") if of_interest else []
    some = facts if of_interest else messages
    common = some(alike, 0, "pci")
    first = [VERSION, *many, *common, *some(different, alike, "pci")]
    second = [VERSION, *common, *some(different, alike, "nvme")]
    assert len(parse(*first, *second)) == kernels


@pytest.mark.parametrize(
    ("time_us", "kernels"), [(500_000, 2), (1_999_999, 2), (2_000_000, 1), (99_000_000, 1)]
)
def test_a_message_of_the_first_two_seconds_is_of_a_boot(time_us: int, kernels: int) -> None:
    """Nothing alike can be expected: the second part begins later than the first one ends."""
    first = [at(0, VERSION), at(400_000, "a")]
    second = [at(0, VERSION), at(0, "b"), at(time_us, "c")]
    assert len(parse(*first, *second)) == kernels


@pytest.mark.parametrize(
    ("first", "second", "kernels"),
    [
        # LUO's number: two of them differ; a dump of a part of the log may show none
        ([NUMBER.format(1)], [NUMBER.format(1)], 1),
        ([NUMBER.format(1)], [], 1),
        ([], [NUMBER.format(1)], 1),
        ([NUMBER.format(1)], [NUMBER.format(2)], 2),
        # a function that was handed over, and that the first part does not say so of
        ([PRESERVED], [PRESERVED], 1),
        ([PRESERVED], [], 1),
        ([], [PRESERVED], 2),
    ],
)
def test_without_times_what_was_handed_over_decides(
    first: list[str], second: list[str], kernels: int
) -> None:
    assert len(parse(*boot("ro", *first), *boot("ro", *second))) == kernels


def test_a_console_that_hides_messages_may_hide_what_was_handed_over() -> None:
    assert len(parse(VERSION, "# dmesg", *boot("ro", PRESERVED))) == 1


def test_a_log_without_a_first_line_is_not_what_a_later_kernel_dumps() -> None:
    """Without times nothing says that both are one kernel."""
    runs = parse(WILL_BE.format(0), VERSION, WILL_BE.format(1))
    assert [(run.release, run.will_be_preserved) for run in runs] == [
        (None, keys("03:00.0")),
        ("7.3.4", keys("03:00.1")),
    ]


def test_a_dump_shows_what_the_console_has_lost() -> None:
    whole = timed(400_000, boot("ro quiet", LINK_DOWN))
    (run,) = parse(*whole[4:], "# dmesg", *whole)
    assert (run.release, run.cmdline, len(run.listed), len(run.events)) == ("7.3.4", "ro quiet", 5, 1)


def test_a_dump_with_times_of_a_console_without() -> None:
    live = boot("ro", LINK_DOWN, WILL_BE.format(0))
    (run,) = parse(*live, "# dmesg", *[at(1 + number, line) for number, line in enumerate(live)])
    assert (len(run.events), run.will_be_preserved) == (1, keys("03:00.0"))


def test_a_dump_without_times_of_a_console_with_them() -> None:
    live = boot("ro", LINK_DOWN, WILL_BE.format(0))
    (run,) = parse(*timed(400_000, live), "# dmesg -t", *live)
    assert (len(run.events), run.will_be_preserved) == (1, keys("03:00.0"))


def test_a_log_may_be_dumped_again() -> None:
    live = timed(400_000, boot("ro", LINK_DOWN))
    then = at(70_000_000, LINK_UP)
    (run,) = parse(*live, "# dmesg", *live, then, "# dmesg", *live, then, "# ")
    assert [event.text[-4:] for event in run.events] == ["Down", "k Up"]


def test_after_a_dump_the_same_message_is_said_again() -> None:
    """At another time it is another message."""
    live = timed(400_000, boot("ro", LINK_DOWN))
    (run,) = parse(*live, "# dmesg", *live, at(812_000_001, LINK_DOWN))
    assert [(event.text, event.time_us) for event in run.events] == [
        ("pciehp: Slot(0): Link Down", 400_007),
        ("pciehp: Slot(0): Link Down", 812_000_001),
    ]


def test_a_dump_of_the_kernel_before_without_times() -> None:
    first = boot("ro", WILL_BE.format(0), WILL_BE.format(7), LINK_DOWN)
    second = boot("ro again")
    runs = parse(*first, KEXEC, *second, "# cat saved-dmesg", *first, LINK_UP, WILL_BE.format(1))
    assert [run.cmdline for run in runs] == ["ro", "ro again"]
    assert [run.will_be_preserved for run in runs] == [keys("03:00.0", "03:00.7"), keys("03:00.1")]
    assert [[event.text for event in run.events] for run in runs] == [
        ["pciehp: Slot(0): Link Down"],
        ["pciehp: Slot(0): Link Up"],
    ]


@pytest.mark.parametrize(("between", "taken"), [(0, False), (2, False), (3, True)])
def test_a_message_that_one_of_the_last_three_kernels_said(between: int, taken: bool) -> None:
    """pstore holds the log of the kernel that ended, and not of those long before it."""
    lines = timed(400_000, ["Linux version 6.1.0 (x@y) #1", "Command line: ro", WILL_BE.format(0), KEXEC])
    others = [line for n in range(between) for line in (f"Linux version 6.2.{n} (x@y) #1", KEXEC)]
    *_, last = parse(*lines, *others, at(0, VERSION), at(60_000_000, "x"), lines[2])
    assert last.will_be_preserved == (keys("03:00.0") if taken else frozenset())


def test_two_kernels_may_say_the_same_at_the_same_time() -> None:
    """A dump comes later than what it repeats."""
    lines = [at(1_000_000, "x"), at(1_000_000, WILL_BE.format(0))]
    runs = parse(VERSION, *lines, KEXEC, VERSION, *lines)
    assert [run.will_be_preserved for run in runs] == [keys("03:00.0")] * 2


@pytest.mark.parametrize(
    ("live", "dumped", "then", "driver"),
    [
        # The beginning of the log, dumped: what came after it counts.
        (
            [at(1_000_000, "ixgbe 0000:03:00.5: a"), at(5_000_000, "vfio-pci 0000:03:00.5: b")],
            [at(1_000_000, "ixgbe 0000:03:00.5: a")],
            [],
            "vfio-pci",
        ),
        (
            [at(1_000_000, "ixgbe 0000:03:00.5: a")],
            [at(1_000_000, "ixgbe 0000:03:00.5: a")],
            [at(5_000_000, "vfio-pci 0000:03:00.5: b")],
            "vfio-pci",
        ),
        # Without times the later one.
        (["ixgbe 0000:03:00.5: a"], ["ixgbe 0000:03:00.5: a"], ["vfio-pci 0000:03:00.5: b"], "vfio-pci"),
    ],
)
def test_drivers_after_a_dump(live: list[str], dumped: list[str], then: list[str], driver: str) -> None:
    (run,) = parse(*boot("ro", *live), "# dmesg", *boot("ro", *dumped), *then)
    assert run.uses[0x305].driver == driver
