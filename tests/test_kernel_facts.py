"""What a kernel's messages come to in the end: facts by function and line, events, how it began and ended."""

from __future__ import annotations

import pytest
from boot_messages import KEXEC, VERSION, at, boot, keys, parse

from analyzer.capture import FunctionUse
from analyzer.kernel_logs import kernel_log
from analyzer.kernel_logs.kernel_log import EnumeratedFunction, LogEvent

F = 0x0300  # 0000:03:00.0
INVALID = "pci 0000:03:00.0: bridge configuration invalid ([bus {}]), reconfiguring"
LISTED = "pci 0000:03:00.0: [8086:1572] type 00 class 0x020000"
CRASH = "Kernel panic - not syncing: sysrq triggered crash"
CORRECTED = "pcieport 0000:00:03.0: AER: Corrected error received: 0000:03:00.0"
QUIRKS = "vfio-pci 0000:03:00.0: Refusing to preserve device that relies on ACS quirks"
NO_VFS = "vfio-pci 0000:03:00.0: Cannot preserve Virtual Functions"


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (["pci 0000:03:00.0: unknown header type 02, ignoring device"], {"ignored-header": {F: 2}}),
        (
            ["pci 0000:03:00.0: unknown header type 7f, ignoring device"],
            {"ignored-header": {F: 2}, "header-all-ones": {F: 2}},
        ),
        # The first line that says it, however often it is said.
        ([INVALID.format("00-00"), "x", INVALID.format("00-00")], {"invalid-bridge": {F: 2}}),
        # An event is no fact.
        (["pci 0000:03:00.0: retraining failed"], {}),
        # A log that does not show that it was going to be preserved.
        (["nvme 0000:03:00.0: Device will no longer be preserved across next Live Update"], {}),
    ],
)
def test_facts_of_a_function(lines: list[str], facts: dict[str, dict[int, int]]) -> None:
    (run,) = parse(VERSION, *lines)
    assert run.facts == facts


@pytest.mark.parametrize(
    ("said", "unnamed"),
    [
        ("was preserved by previous kernel", True),
        ("will be preserved", True),
        ("will no longer be preserved", False),
    ],
)
def test_a_damaged_address_of_a_preserved_function(said: str, unnamed: bool) -> None:
    """A serial console has lost a character of it."""
    text = f"nvme 0000:03:00.: Device {said} across {'next ' * said.startswith('will')}Live Update"
    (run,) = parse(*boot(), text)
    assert run.unnamed_preserved == (text if unnamed else None)
    assert run.facts == {}


def test_functions_as_listed() -> None:
    (run,) = parse(
        VERSION,
        "pci 0000:03:00.0: [8086:1572] type 00 class 0x020000 PCIe Endpoint",
        "pci 0000:03:00.0: [8086:ffff] type 00 class 0x020000",  # the first line counts
        "pci 0000:04:00.0: [104c:8232] type 01 class 0x060400",
    )
    assert run.listed == {
        F: EnumeratedFunction("8086:1572", 0, 0x020000, "PCIe Endpoint"),
        0x0400: EnumeratedFunction("104c:8232", 1, 0x060400, ""),
    }


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        (
            [at(1_500_000, CORRECTED)],
            [LogEvent("aer", 0x18, "AER: Corrected error received: 0000:03:00.0", 3, 1_500_000)],
        ),
        ([CRASH], [LogEvent("panic", None, CRASH, 3, None)]),
        # A fact that is an event besides, said once more.
        (
            [INVALID.format("00-00"), INVALID.format("05-02")],
            [LogEvent("bridge", F, "bridge configuration invalid ([bus 00-00]), reconfiguring", 3, None)],
        ),
        ([QUIRKS], []),
    ],
)
def test_events(lines: list[str], events: list[LogEvent]) -> None:
    (run,) = parse(VERSION, "", *lines)
    assert list(run.events) == events


def test_all_texts_about_a_function_are_evidence_of_the_series() -> None:
    (run,) = parse(VERSION, QUIRKS, NO_VFS)
    assert run.series == ("v8", "v9")


@pytest.mark.parametrize(
    ("lines", "crash", "entered_by"),
    [
        ([VERSION, "Reserving 4KB of memory at 0x1ff0000 for elfcorehdr"], True, "crash"),
        ([VERSION, "Command line: ro elfcorehdr=867700K"], True, "crash"),
        ([VERSION, "Command line: ro crashkernel=256M"], False, None),
        (["SeaBIOS (version 1.17.0)", "-- Reboot --", VERSION], False, "firmware"),
        (["-- Reboot --", "SeaBIOS (version 1.17.0)", VERSION], False, "firmware"),
        (["-- Reboot --", VERSION], False, None),
    ],
)
def test_how_a_kernel_came_to_run(lines: list[str], crash: bool, entered_by: str | None) -> None:
    (run,) = parse(*lines)
    assert (run.crash_kernel, run.entered_by) == (crash, entered_by)


@pytest.mark.parametrize(
    ("lines", "ended"),
    [
        ([CRASH, CORRECTED], "panic"),
        ([KEXEC, CORRECTED], "kexec"),
        ([CRASH, "Rebooting in 5 seconds.."], "reboot"),
        ([CORRECTED], None),
    ],
)
def test_what_a_kernel_says_after_its_end_changes_no_ending(lines: list[str], ended: str | None) -> None:
    (run,) = parse(*boot(), *lines)
    assert run.ended == ended


@pytest.mark.parametrize("line", ["SeaBIOS (version 1.17.0)", "-- Reboot --", f"-- Boot {'0' * 32} --"])
def test_what_stands_between_kernels_is_none(line: str) -> None:
    assert parse(line) == ()
    # Equal kernels on both sides are two boots.
    first, second = parse(*boot(), line, *boot())
    assert (first.first_line, second.first_line) == (1, 9)


@pytest.mark.parametrize(
    ("begin", "length", "cut"),
    [
        ("Command line: ", 1019, False),
        ("Command line: ", 1020, True),
        ("Kernel command line: ", 1019, False),
        ("Kernel command line: ", 1020, True),
        ("Kernel command line: ", 1021, True),
    ],
)
def test_how_long_a_command_line_is_whole(begin: str, length: int, cut: bool) -> None:
    """printk cuts a message at 1021 characters; a blank at the end is no longer there."""
    (run,) = parse(VERSION, begin.ljust(length, "x"))
    assert run.cmdline_cut is cut
    assert run.noari is (None if cut else False)


@pytest.mark.parametrize(
    ("lines", "uses"),
    [
        # A ring buffer that has lost its beginning: they are of the kernel that the first fact is of.
        (["vfio-pci 0000:03:00.0: x", KEXEC], [{F: "vfio-pci"}]),
        # Those of a kernel whose own beginning is lost, before the beginning of the next one.
        (["vfio-pci 0000:03:00.0: x", VERSION], [{}]),
        (
            ["vfio-pci 0000:03:00.0: x", "-- Reboot --", LISTED],
            [{}],
        ),
        (["vfio-pci 0000:03:00.0: x", KEXEC, "Command line: ro"], [{F: "vfio-pci"}, {}]),
    ],
)
def test_drivers_are_of_the_kernel_that_names_them(lines: list[str], uses: list[dict[int, str]]) -> None:
    assert [{key: use.driver for key, use in run.uses.items()} for run in parse(*lines)] == uses


def test_a_use_names_its_source() -> None:
    (run,) = parse(VERSION, "nvme nvme3: pci function 0000:03:00.0")
    assert run.uses == {F: FunctionUse(driver="nvme", block=["nvme3"], source="kernel log")}


def test_lines_of_undecodable_text() -> None:
    """As ``open(errors="surrogateescape")`` gives them."""
    (run,) = kernel_log.parse_lines([VERSION, "usb 1: \udcff", "Command line: ro \udcff pci=noari"]).runs
    assert (run.cmdline, run.noari) == ("ro ? pci=noari", True)


def test_keys_of_functions() -> None:
    (run,) = parse(VERSION, INVALID.format("00-00"))
    assert run.functions("invalid-bridge") == keys("03:00.0")
    assert run.functions("refused-bridge") == frozenset()
