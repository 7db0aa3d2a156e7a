"""Kernel logs and consoles: which kernels ran, and what each one said."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from boot_messages import KEXEC, VERSION, boot, keys, parse, timed
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer import bdf
from analyzer.errors import LimitExceededError
from analyzer.kernel_logs import kernel_log, log_facts

FORMATS = Path(__file__).parent.parent / "traces" / "formats"


def console(name: str) -> bytes:
    return zstandard.ZstdDecompressor().decompress((FORMATS / name).read_bytes(), max_output_size=1 << 20)


def test_console_of_a_stock_kernel() -> None:
    runs = kernel_log.parse(console("console-healed-by-stock-kernel.txt.zst")).runs
    assert [run.release for run in runs] == ["7.3.4", "7.3.4"]
    assert [run.first_line for run in runs] == [2, 574]
    assert [run.entered_by for run in runs] == ["firmware", "kexec"]
    assert [run.ended for run in runs] == ["kexec", "reboot"]
    assert [run.cmdline for run in runs] == [
        "console=ttyS0 loglevel=8 stage=1 stages=2",
        "stage=2 console=ttyS0 loglevel=8 stages=2",
    ]
    assert [len(run.enumerated) for run in runs] == [19, 19]
    assert not any(run.live_update_evidence or run.will_be_preserved or run.series for run in runs)
    assert [run.noari for run in runs] == [False, False]


def test_console_of_a_live_update_that_hid_a_subtree() -> None:
    outgoing, incoming = kernel_log.parse(console("console-hidden-after-secondary-bus-reset.txt.zst")).runs
    preserved = keys(
        "00:03.0", "01:00.0", "02:00.0", "03:00.0", "03:00.1", "03:01.0", "03:01.1", "03:02.0",
        "00:04.0", "05:00.0", "05:01.0",
    )  # fmt: skip
    assert outgoing.will_be_preserved == preserved
    assert incoming.was_preserved == keys("00:03.0", "00:04.0", "01:00.0", "05:00.0", "05:01.0")
    assert incoming.functions("invalid-bridge") == incoming.functions("refused-bridge") == keys("01:00.0")
    assert incoming.series == ("v6", "v7")
    assert incoming.live_update_evidence
    assert not outgoing.live_update_evidence
    assert outgoing.kexec_started
    assert outgoing.enumerated.keys() - incoming.enumerated.keys() == keys(
        "02:00.0", "02:01.0", "03:00.0", "03:00.1", "03:01.0", "03:01.1", "03:02.0", "04:00.0"
    )
    port = incoming.enumerated[bdf.parse("01:00.0")]
    assert (port.vendor_device, port.header_type, port.class_code, port.kind) == (
        "104c:8232", 1, 0x060400, "PCIe Switch Upstream Port",
    )  # fmt: skip
    assert [(event.kind, event.line_number) for event in incoming.events] == [
        ("bridge", 796),
        ("bridge", 797),
    ]


def test_console_lines_of_the_test_setup_say_nothing() -> None:
    data = console("console-hidden-after-secondary-bus-reset.txt.zst")
    kept = b"\n".join(line for line in data.split(b"\n") if b"lab:" not in line and b"LAB:" not in line)
    with_lab, without = (
        [(run.facts.keys(), run.enumerated, len(run.events)) for run in kernel_log.parse(text).runs]
        for text in (data, kept)
    )
    assert with_lab == without


def test_what_was_added_and_taken_back_is_not_preserved() -> None:
    (run,) = parse(
        *boot(),
        "nvme 0000:03:00.0: Device will be preserved across next Live Update",
        "nvme 0000:03:00.1: Device will be preserved across next Live Update",
        "nvme 10000:e1:00.0: Device will be preserved across next Live Update",
        "nvme 0000:03:00.0: Device will no longer be preserved across next Live Update",
        "nvme 0000:03:00.1: Device will no longer be preserved across next Live Update",
        "nvme 0000:03:00.1: Device will be preserved across next Live Update",
    )
    assert run.will_be_preserved == keys("03:00.1", "10000:e1:00.0")


def test_the_facts_of_an_incoming_kernel() -> None:
    (run,) = parse(
        VERSION,
        "KHO: found kexec handover data. Will skip init for some devices",
        "luo: Retrieved live update data, liveupdate number: 17",
        "Kernel command line: ro pci=noari,pcie_scan_all",
        "pci 0000:03:00.0: Device was preserved by previous kernel across Live Update",
        "vfio-pci 0000:03:00.0: Device is finished participating in Live Update",
        "PCI: liveupdate: 0000:03:01.0 was never finished!",
        "Kernel panic - not syncing: 1 preserved device(s) were never finished!",
    )
    assert run.liveupdate_number == 17
    assert (run.noari, run.pcie_scan_all) == (True, True)
    assert run.was_preserved == run.finished == keys("03:00.0")
    assert run.never_finished == keys("03:01.0")
    assert run.series == ("v9",)
    assert run.ended == "panic"
    assert run.facts["never-finished"] == {bdf.parse("03:01.0"): 7}


def test_the_kernel_before_and_the_number_of_the_kexec() -> None:
    (run,) = parse(*boot(), "KHO: exec from: 7.3.4-hv (count 3)")
    assert (run.previous_release, run.kexec_count, run.entered_by) == ("7.3.4-hv", 3, "kexec")


def test_kho_off_in_a_crash_kernel() -> None:
    (run,) = parse(*boot(), "KHO: disabled in the kdump kernel")
    assert (run.crash_kernel, run.entered_by, run.previous_release) == (True, "crash", None)


def test_a_function_that_is_ignored_for_its_header_type_is_not_enumerated() -> None:
    (run,) = parse(
        *boot(),
        "pci 0000:03:00.0: Device was preserved by previous kernel across Live Update",
        "pci 0000:03:00.0: [8086:1592] type 7f class 0xffffff conventional PCI",
        "pci 0000:03:00.0: unknown header type 7f, ignoring device",
    )
    assert run.was_preserved == run.functions("ignored-header") == keys("03:00.0")
    assert run.enumerated.keys() == keys(*(f"00:{slot:02x}.0" for slot in range(5)))


@pytest.mark.parametrize(
    ("line", "not_taken", "panicked", "series"),
    [
        ("luo: LUO state is incompatible with 'luo-v5'", True, False, ()),
        ("PCI: liveupdate: No incoming FLB matched pci-v2", True, False, ("v4", "v5", "v6", "v7")),
        ("Failed to retrieve incoming FLB data", True, False, ("v4", "v5", "v6")),
        (
            "Kernel panic - not syncing: Failed to retrieve incoming FLB data (-22)",
            False,
            True,
            ("v7", "v8", "v9"),
        ),
        (
            "Kernel panic - not syncing: Incoming PCI FLB version (v1) is incompatible with this kernel (v2)",
            False,
            True,
            ("v9",),
        ),
        ("Kernel panic - not syncing: sysrq triggered crash", False, False, ()),
    ],
)
def test_what_was_handed_over_is_not_taken(
    line: str, not_taken: bool, panicked: bool, series: tuple[str, ...]
) -> None:
    (run,) = parse(*boot(), line)
    assert (run.data_not_taken, run.panicked_over_data, run.series) == (not_taken, panicked, series)


def test_contradicting_series_evidence_names_none() -> None:
    (run,) = parse(
        *boot(),
        "pci 0000:02:00.0: Cannot reconfigure bridge during Live Update!",
        "PCI: liveupdate: 0000:03:01.0 was never finished!",
    )
    assert run.series == ()


def test_a_flood_of_events_keeps_both_ends() -> None:
    flood = [f"pcieport 0000:00:03.0: AER: Corrected error received: id {number}" for number in range(12_000)]
    (run,) = parse(*boot(), *flood, "pcieport 0000:00:03.0: pciehp: Slot(0): Link Down")
    assert len(run.events) == 10_000
    assert run.events[0].text.endswith("id 0")
    assert run.events[-1].kind == "hotplug"


@pytest.mark.parametrize("style", ["plain", "timed"])
def test_a_dump_in_the_console_is_no_boot(style: str) -> None:
    live = boot("ro", "nvme 0000:03:00.0: Device will be preserved across next Live Update")
    live = timed(400_000, live) if style == "timed" else live
    runs = parse(*live, "# dmesg", *live, "# kexec -e", KEXEC, *boot("ro again"))
    assert [run.cmdline for run in runs] == ["ro", "ro again"]
    assert runs[0].ended == "kexec"
    assert runs[0].will_be_preserved == keys("03:00.0")
    assert runs[0].facts["will-be-preserved"] == {bdf.parse("03:00.0"): 8}


def test_proc_version_in_the_console_is_no_boot() -> None:
    for live in (boot(), timed(400_000, boot())):
        runs = parse(
            *live, "# cat /proc/version", VERSION, "# ", "[   99.000001] nvme 0000:03:00.0: x", KEXEC
        )
        assert [run.ended for run in runs] == ["kexec"]


def test_a_dump_of_a_console_without_times_may_have_times() -> None:
    runs = parse(*boot(), "# dmesg", *timed(400_000, boot()), "# ")
    assert len(runs) == 1


def test_a_dump_of_only_some_lines_is_no_boot() -> None:
    live = timed(400_000, boot("ro", *(f"nvme nvme{number}: queues" for number in range(500))))
    runs = parse(
        *live, "# dmesg | grep -e version -e type", live[0], *live[2:7], "[  900.000000] later", KEXEC
    )
    assert len(runs) == 1


def test_an_event_after_a_dump_belongs_to_the_live_kernel() -> None:
    live = timed(400_000, boot("ro", "pcieport 0000:00:03.0: pciehp: Slot(0): Link Down"))
    (run,) = parse(
        *live, "# dmesg", *live, "[  812.000001] pcieport 0000:00:03.0: pciehp: Slot(0): Link Up", KEXEC
    )
    assert [event.text[-9:] for event in run.events] == ["Link Down", "): Link Up"[-9:]]
    assert run.kexec_started


def test_equal_kernels_behind_a_kexec_are_two_boots() -> None:
    runs = parse(*boot(), KEXEC, *boot(), KEXEC, *boot())
    assert [run.entered_by for run in runs] == [None, "kexec", "kexec"]


def test_equal_kernels_behind_firmware_are_two_boots() -> None:
    runs = parse(
        *boot(), "SeaBIOS (version 1.17.0)", *boot(), "\x1b[2J\x1b[HEFI stub: Loaded initrd", *boot()
    )
    assert [run.entered_by for run in runs] == [None, "firmware", "firmware"]


def test_a_journal_of_two_boots() -> None:
    mark = "-- Boot 0123456789abcdef0123456789abcdef --"
    lines = [f"Nov 22 06:11:55 host kernel: {line}" for line in boot()]
    assert len(parse(mark, *lines, mark, *lines)) == 2


def test_two_logs_in_one_file_are_told_apart_by_their_times() -> None:
    first, second = timed(400_000, boot()), timed(410_003, boot())
    assert len(parse(*first, *second)) == 2
    assert len(parse(*first, *first)) == 1


def test_two_logs_without_times_are_told_apart_by_what_was_handed_over() -> None:
    preserved = "pci 0000:00:03.0: Device was preserved by previous kernel across Live Update"
    number = "luo: Retrieved live update data, liveupdate number: {}"
    assert len(parse(*boot(), *boot("ro quiet", preserved))) == 2
    assert len(parse(*boot("ro", number.format(1)), *boot("ro", number.format(2)))) == 2


@pytest.mark.parametrize(
    ("second", "kernels"),
    [
        (boot("other"), 2),
        ([VERSION.replace("7.3.4", "7.3.5"), "Command line: ro quiet"], 2),
        (boot(), 1),
    ],
)
def test_a_difference_makes_a_boot(second: list[str], kernels: int) -> None:
    assert len(parse(*boot(), *second)) == kernels


def test_a_dump_of_the_previous_kernel_in_the_next_one() -> None:
    preserved = "nvme 0000:03:00.0: Device will be preserved across next Live Update"
    first = timed(400_000, boot("ro", preserved, KEXEC))
    second = timed(300_000, boot("ro again"))
    later = "[   60.000000] nvme 0000:04:00.0: Device will be preserved across next Live Update"
    runs = parse(*first, *second, "# cat /sys/fs/pstore/dmesg", *first, later)
    assert [run.cmdline for run in runs] == ["ro", "ro again"]
    assert [run.will_be_preserved for run in runs] == [keys("03:00.0"), keys("04:00.0")]
    assert [run.ended for run in runs] == ["kexec", None]


def test_a_kernel_whose_first_line_is_lost() -> None:
    runs = parse(*boot(), KEXEC, "Command line: ro 2", "pci 0000:00:00.0: [8086:1000] type 00 class 0x060000")
    assert [(run.release, run.cmdline, run.entered_by) for run in runs] == [
        ("7.3.4", "ro quiet", None),
        (None, "ro 2", "kexec"),
    ]


def test_a_log_that_begins_in_the_middle() -> None:
    (run,) = parse("nvme 0000:03:00.0: Device will be preserved across next Live Update", KEXEC)
    assert (run.release, run.cmdline, run.noari, run.ended) == (None, None, None, "kexec")


def test_crash_kernel() -> None:
    runs = parse(
        *boot("crashkernel=256M"), "Kernel panic - not syncing: sysrq", *boot("ro elfcorehdr=867700K")
    )
    assert [(run.crash_kernel, run.entered_by) for run in runs] == [(False, None), (True, "crash")]


@pytest.mark.parametrize(
    ("lines", "cmdline", "noari"),
    [
        (["Command line: ro pci=noari "], "ro pci=noari", True),
        ([f"Kernel command line: {part}" for part in ("loglevel=7 \\", "pci=noari \\", "ro")],
         "loglevel=7 pci=noari ro", True),
        (["Command line: ro", "Kernel command line: pci=noari ro"], "pci=noari ro", True),
        (["Command line: ro", 'Unknown kernel command line parameters "pci=noari", will be'], "ro", False),
        ([], None, None),
    ],
)  # fmt: skip
def test_command_lines(lines: list[str], cmdline: str | None, noari: bool | None) -> None:
    (run,) = parse(VERSION, *lines)
    assert (run.cmdline, run.noari) == (cmdline, noari)


def test_a_command_line_that_printk_cut_says_no_more_than_it_shows() -> None:
    (run,) = parse(VERSION, ("Command line: quiet " + "x" * 2000)[:1021])
    assert run.cmdline_cut
    assert run.noari is None
    (run,) = parse(VERSION, ("Command line: pci=noari " + "x" * 2000)[:1021])
    assert run.noari is True


def test_the_kernel_may_scan_all_by_itself() -> None:
    (run,) = parse(*boot(), "PCI: Dell System detected, enabling pci=pcie_scan_all")
    assert run.pcie_scan_all


@pytest.mark.parametrize("text", ["", "\n\n", "hello\nworld\n", "login: root\n# lspci\n"])
def test_no_kernel(text: str) -> None:
    assert kernel_log.parse(text.encode()).runs == ()


def test_crlf_invalid_utf_8_and_prefixes_change_nothing() -> None:
    lines = boot("ro", "pci 0000:00:03.0: Device was preserved by previous kernel across Live Update")
    plain = parse(*lines)
    dressed = kernel_log.parse(
        b"\r\n".join(
            b"\xff\x1b[0m" * (number == 4) + b"<6>" + line.encode() for number, line in enumerate(lines)
        )
    ).runs
    assert dressed == plain
    assert kernel_log.parse_lines(lines).runs == plain


def test_too_many_kernels() -> None:
    with pytest.raises(LimitExceededError, match="at most 1000 kernels"):
        parse(*[line for _ in range(1001) for line in (VERSION, KEXEC)])


def test_first_look_skips_nothing_that_counts() -> None:
    """Dropping the cheap first look would change nothing on a real console."""
    lines = console("console-hidden-after-secondary-bus-reset.txt.zst").decode(errors="replace").split("\n")
    skipped = [line for line in lines if log_facts.read(line.rstrip()) is None]
    assert not any("Live Update" in line and "0000:" in line for line in skipped)


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from([*boot(), *timed(5, boot()), KEXEC, "x", "\x1bc", "Kernel panic - not syncing: y"])
    )
)
def test_any_order_of_lines_gives_runs_in_order(lines: list[str]) -> None:
    runs = parse(*lines)
    assert [run.first_line for run in runs] == sorted({run.first_line for run in runs})


@pytest.mark.parametrize(
    "text", ["", "\n", "\n\n", "x", "x\n", "\n\nx\n\n\ny\n\n", "x\n\n\ny", "\r\n\nx\r\n"]
)
@pytest.mark.parametrize("version", ["", "Linux version 6.1 (x@y)\n", "\n\nLinux version 6.1 (x@y)\n"])
def test_lines_are_counted_alike_in_bytes_and_in_lists(text: str, version: str) -> None:
    data = (text + version + text).encode()
    physical = data.removesuffix(b"\n").split(b"\n") if data else []
    assert kernel_log.parse(data) == kernel_log.parse_lines(physical)


def test_a_log_of_too_many_messages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "MAX_MESSAGES", 5)
    kernel_log.parse(b"a\n\n\nb\rc\nd\ne\n\n")
    with pytest.raises(LimitExceededError, match="at most 5 messages in a log, found more by line 6"):
        kernel_log.parse(b"a\n\n\nb\rc\nd\ne\rf\n\n")
