"""Which log is which boot's, by source, and what the logs of both kernels say about a kexec."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from analyzer.capture import Capture, Event, LoggedScan, LogLine, Notes
from analyzer.kernel_logs.kernel_log import KernelRun, parse_lines
from analyzer.observed import kernel_options
from analyzer.observed.boots import BootSpan
from analyzer.observed.decisions import Decision
from analyzer.options import Options
from analyzer.verdicts.boot_logs import BootLogs
from analyzer.verdicts.handovers import Handover
from analyzer.verdicts.reset_evidence import LogMessage

#: A kernel that a kexec started, and the one before it.
OUTGOING, INCOMING = BootSpan(0, "kernel", 0, 4, "start"), BootSpan(1, "kernel", 5, 9, "kexec")
PORT = "pcieport 0000:00:01.0: pciehp: Slot(0): Link Down"


def kernel(command_line: str, release: str = "6.12.1") -> list[str]:
    return [f"Linux version {release} (x@y) #1", f"Command line: {command_line}"]


def captured(path: str = "capture", *, joined: tuple[str, ...] = (), **notes: object) -> Capture:
    """A capture of the accesses 100 to 109."""
    accesses = pl.DataFrame({"seq": range(100, 110)})
    return Capture(path, [], "native", accesses, Notes(path, **notes), joined=joined)


def lines(*texts: str) -> list[LogLine]:
    return [LogLine(text) for text in texts]


def said(logs: BootLogs) -> dict[str, dict[int, str | None]]:
    """The command line of each boot, by source."""
    return {
        source: {boot: run.cmdline for boot, run in runs.items()} for source, runs in logs.by_source.items()
    }


@pytest.fixture
def written(tmp_path):
    """Write a log of its own; returns its path."""

    def write(name: str, *texts: str) -> str:
        path = tmp_path / name
        path.write_text("\n".join(texts))
        return str(path)

    return write


def test_the_command_line_of_the_option_is_kept():
    assert BootLogs.open(Options(cmdline="quiet"), captured(), [OUTGOING]).given_cmdline == "quiet"


def test_no_log_says_nothing():
    logs = BootLogs.open(Options(), captured(), [OUTGOING, INCOMING])
    assert (logs.by_source, logs.warnings, logs.run_of(0), logs.given_cmdline) == ({}, [], None, None)


def test_the_option_is_asked_first_then_the_capture_then_the_file_beside_it(written, tmp_path):
    written("capture.dmesg", *kernel("sidecar"))
    capture = captured(str(tmp_path / "capture"), log=lines(*kernel("capture")))
    given = Options(dmesg=written("given", *kernel("option")))
    logs = BootLogs.open(given, capture, [OUTGOING])
    expected = [("dmesg", {0: "option"}), ("capture", {0: "capture"}), ("sidecar", {0: "sidecar"})]
    assert list(said(logs).items()) == expected
    assert logs.run_of(0).cmdline == "option"
    without_option = BootLogs.open(Options(), capture, [OUTGOING])
    assert list(said(without_option)) == ["capture", "sidecar"]


def test_a_boot_that_the_best_source_lacks_is_taken_from_the_next():
    (first,), (second,) = (parse_lines(kernel(name)).runs for name in ("first", "second"))
    logs = BootLogs([OUTGOING, INCOMING], by_source={"dmesg": {1: first}, "sidecar": {0: second, 1: second}})
    assert [logs.run_of(boot) for boot in range(3)] == [second, first, None]


def test_the_files_beside_joined_pieces_are_one_history(written, tmp_path):
    written("before.dmesg", *kernel("outgoing"))
    written("after.dmesg", *kernel("incoming"))
    pieces = (str(tmp_path / "before"), str(tmp_path / "after"))
    logs = BootLogs.open(Options(), captured(joined=pieces), [OUTGOING, INCOMING])
    assert said(logs) == {"sidecar": {0: "outgoing", 1: "incoming"}}
    outgoing, incoming = logs.runs_at_kexecs()["sidecar"](0)
    assert (outgoing.cmdline, incoming.cmdline) == ("outgoing", "incoming")


def test_logs_of_another_machine_are_named_and_set_aside(written, tmp_path):
    ours = [BootSpan(0, "kernel", 0, 9, "start", release="6.1.7")]
    other = kernel("x", release="5.4.3")
    pieces = (str(tmp_path / "one"), str(tmp_path / "two"))
    beside = written("one.dmesg", *other), written("two.dmesg", "pci 0000:00:00.0: a later line")
    given = written("given", *other)
    capture = captured(joined=pieces, log=lines(*other))
    logs = BootLogs.open(Options(dmesg=given), capture, ours)
    rest = (
        "seems to be of another machine, and nothing of it was used: it says that boot 0 ran Linux 5.4.3, "
        "the capture says 6.1.7"
    )
    assert logs.by_source == {}
    assert logs.warnings == [
        f"the log in the capture {rest}",
        f"--dmesg {given} {rest}",
        f"{beside[0]}, {beside[1]} {rest}",
    ]


def test_the_log_in_the_capture_counts_as_the_word_of_the_capture(written):
    """Of two logs that contradict each other, the one from elsewhere is of another machine."""
    given = written("given", *kernel("option", release="5.4.3"))
    logs = BootLogs.open(Options(dmesg=given), captured(log=lines(*kernel("capture"))), [OUTGOING])
    assert said(logs) == {"capture": {0: "capture"}}
    assert logs.warnings[0].startswith(f"--dmesg {given} seems to be of another machine")


def test_releases_that_a_capture_names_without_a_place_count_too(written):
    capture = captured(releases=["6.1.7", "6.1.8"])
    logs = BootLogs.open(Options(dmesg=written("given", *kernel("x"))), capture, [OUTGOING])
    assert logs.by_source == {}
    assert logs.warnings[0].endswith("that boot 0 ran Linux 6.12.1, the capture says 6.1.7 or 6.1.8")


def test_a_scan_that_a_log_shows_has_its_boot_by_its_accesses():
    """Its lines are no log of the capture: that one's kernels are placed by their number."""
    log = lines(*kernel("outgoing"), *kernel("incoming"), *kernel("log of the capture"))
    scans = [
        LoggedScan("log", 100, 105, (0, 2), frozenset({0})),
        LoggedScan("log", 105, 110, (2, 4), frozenset({0})),
    ]
    spans = [OUTGOING, INCOMING]
    alone = BootLogs.open(Options(), captured(log=log[:4], scans=scans), spans)
    assert said(alone) == {"capture": {0: "outgoing", 1: "incoming"}}
    one = BootLogs.open(
        Options(),
        captured(log=[*log[2:4], *log[4:]], scans=[LoggedScan("log", 100, 105, (0, 2), frozenset({0}))]),
        spans,
    )
    assert said(one) == {"capture": {0: "incoming", 1: "log of the capture"}}


def test_a_scan_of_which_no_line_is_left_has_no_log():
    scans = [LoggedScan("log", 100, 110, (0, 0), frozenset({0}))]
    assert BootLogs.open(Options(), captured(scans=scans), [OUTGOING]).by_source == {}


def test_events_of_functions_are_messages_with_their_access():
    events = [
        Event("link", 104, (0, 0x3A, 0x08), "Link Down", 17),
        Event("link", 105, None, "a link of nobody"),
    ]
    logs = BootLogs.open(Options(), captured("place", events=events), [OUTGOING])
    assert logs.events == [LogMessage(0x3A08, "Link Down", "place", 104, 17)]


def test_logs_of_both_kernels_by_number_of_the_kexec():
    spans = [
        OUTGOING,
        BootSpan(1, "kernel", 5, 9, "reboot"),
        BootSpan(2, "kernel", 10, 14, "kexec"),
        BootSpan(3, "kernel", 15, 19, "kexec"),
    ]
    first, second, third = (parse_lines(kernel(name)).runs[0] for name in "abc")
    logs = BootLogs(spans, by_source={"dmesg": {0: first, 1: second, 3: third}, "capture": {2: first}})
    at = logs.runs_at_kexecs()
    assert {source: (runs(0), runs(1)) for source, runs in at.items()} == {
        "dmesg": ((second, None), (None, third)),
        "capture": ((None, first), (first, None)),
    }


def settings(
    outgoing: tuple[str, ...] = (),
    incoming: tuple[str, ...] | KernelRun = (),
    *,
    given: str | None = None,
    events: tuple[LogMessage, ...] = (),
    policy: str = "unknown",
    marked: str | None = None,
    decided: tuple[str, ...] = (),
    shown: bool | None = None,
):
    """What is known of the kernels of a kexec.

    Args:
        outgoing, incoming: lines of their logs (or what was read of one).
        given: the command line that the option names.
        policy: that the incoming kernel followed.
        marked: kind of the kexec by a mark in the capture.
        decided: rules of the incoming kernel's decisions.
        shown: whether its scan shows that it numbers buses anew.
    """
    runs = {
        boot: log if isinstance(log, KernelRun) else parse_lines(log).runs[0]
        for boot, log in enumerate((outgoing, incoming))
        if log
    }
    boots = SimpleNamespace(boot=OUTGOING), SimpleNamespace(boot=BootSpan(1, "kernel", 5, 9, "kexec"))
    boots[1].boot.kexec_kind = marked
    after = {8: [Decision(8, 0x100, rule, None, 7) for rule in decided]} if decided else {}
    handover = Handover(0, *boots, {}, after, {}, policy, (100, 109))
    logs = BootLogs([OUTGOING, INCOMING], events, {"dmesg": runs} if runs else {}, given_cmdline=given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_options, "assign_busses", lambda boot: shown if boot is boots[1] else None)
        patch.setattr(
            kernel_options, "isolated_functions", lambda index, boot: (index, boot) == ("all", boots[1])
        )
        return logs.settings("all", handover, OPTIONS)


OPTIONS = Options(strict=True)
PLAIN, MINIMAL = tuple(kernel("root=/dev/vda")), ("Linux version 6.12.1 (x@y) #1",)
KEXEC = "kexec_core: Starting new kernel"
KEPT = "pci 0000:01:00.0: Device will be preserved across next Live Update"
WAS_KEPT = "pci 0000:01:00.0: Device was preserved by previous kernel across Live Update"


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({}, "unknown"),
        ({"outgoing": (*PLAIN, KEXEC), "incoming": PLAIN}, "plain"),
        # Without either log, or without the order to go on, nothing shows what the kexec was for.
        ({"outgoing": (*PLAIN, KEXEC)}, "unknown"),
        ({"incoming": PLAIN}, "unknown"),
        ({"outgoing": PLAIN, "incoming": PLAIN}, "unknown"),
        # One sign of a Live Update is enough.
        ({"outgoing": (*PLAIN, KEPT)}, "live-update"),
        ({"outgoing": (*PLAIN, KEPT, KEXEC), "incoming": PLAIN}, "live-update"),
        ({"incoming": (*PLAIN, WAS_KEPT)}, "live-update"),
        ({"outgoing": (*PLAIN, KEXEC), "incoming": (*PLAIN, WAS_KEPT)}, "live-update"),
        ({"policy": "inherit"}, "live-update"),
        ({"policy": "serialize"}, "live-update"),
        ({"policy": "heal"}, "live-update"),
        ({"policy": "stock"}, "unknown"),
        # A kernel that saves a dump was not started for a Live Update; a mark goes before all.
        ({"incoming": tuple(kernel("elfcorehdr=0x1000")), "policy": "inherit"}, "crash"),
        ({"outgoing": PLAIN, "incoming": tuple(kernel("elfcorehdr=0x1000"))}, "crash"),
        ({"incoming": tuple(kernel("elfcorehdr=0x1000")), "marked": "plain"}, "plain"),
        ({"outgoing": (*PLAIN, KEPT), "marked": "crash"}, "crash"),
    ],
)
def test_what_the_kexec_was_for(facts, kind):
    assert settings(**facts).kind == kind


@pytest.mark.parametrize(
    ("facts", "options"),
    [
        ({}, (None, False, False)),
        ({"incoming": tuple(kernel("pci=noari"))}, (True, False, False)),
        ({"incoming": tuple(kernel("pci=pcie_scan_all,assign-busses"))}, (False, True, True)),
        # The option says it where no log does.
        ({"given": "pci=noari,pcie_scan_all,assign-busses"}, (True, True, True)),
        ({"given": "pci=noari,pcie_scan_all", "incoming": MINIMAL}, (True, True, False)),
        ({"given": "pci=noari,pcie_scan_all,assign-busses", "incoming": PLAIN}, (False, False, False)),
        ({"given": "quiet", "outgoing": tuple(kernel("pci=noari"))}, (False, False, False)),
        # Then the decisions of the scan, and the numbers that it wrote.
        ({"decided": ("skipped",)}, (True, False, False)),
        ({"decided": ("set",), "incoming": MINIMAL}, (False, False, False)),
        ({"decided": ("set",), "incoming": tuple(kernel("pci=noari"))}, (True, False, False)),
        ({"shown": True}, (None, False, True)),
        ({"shown": True, "incoming": PLAIN}, (False, False, False)),
        # The line of the kernel before, which kexec mostly takes along; it says nothing of pci=noari.
        ({"outgoing": tuple(kernel("pci=noari,assign-busses"))}, (None, False, True)),
        ({"outgoing": tuple(kernel("pci=assign-busses")), "shown": False}, (None, False, True)),
        ({"outgoing": PLAIN, "shown": True}, (None, False, True)),
        ({"outgoing": tuple(kernel("pci=assign-busses")), "incoming": PLAIN}, (False, False, False)),
    ],
)
def test_options_of_the_incoming_kernel(facts, options):
    found = settings(**facts)
    assert (found.noari, found.scan_all, found.assign_busses) == options


def test_what_else_is_handed_on():
    found = settings()
    assert (found.options, found.isolated_functions) == (OPTIONS, True)
    assert (found.logged_series, found.data_not_taken, found.panicked) == ((), False, False)


def test_what_the_incoming_kernel_says_of_what_was_handed_over():
    plain = parse_lines(PLAIN).runs[0]
    assert settings(incoming=replace(plain, series=("v5", "v6"))).logged_series == ("v5", "v6")
    for facts, expected in (
        ({}, (False, False)),
        ({"data_not_taken": True}, (True, False)),
        ({"panicked_over_data": True}, (False, True)),
    ):
        found = settings(incoming=replace(plain, **facts))
        assert (found.data_not_taken, found.panicked) == expected


def test_messages_about_functions():
    """Those of both logs, then the capture's events from the first access of the boots to the last."""
    about_none = "pciehp: Link Down somewhere"
    events = tuple(LogMessage(8, f"at {access}", "capture", access, None) for access in (99, 100, 109, 110))
    found = settings((*PLAIN, PORT, about_none), (*PLAIN, PORT.replace("01.0", "02.0")), events=events)
    assert found.messages == (
        LogMessage(0x0008, "pciehp: Slot(0): Link Down", "kernel log"),
        LogMessage(0x0010, "pciehp: Slot(0): Link Down", "kernel log"),
        *events[1:3],
    )
    assert settings(incoming=(*PLAIN, PORT)).messages == found.messages[:1]
