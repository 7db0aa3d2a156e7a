"""A kernel log is placed by its runs and the capture's releases; one of another machine is set aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import analyzer.analysis
from analyzer.capture import Boundary, LogLine
from analyzer.kernel_logs import kernel_log
from analyzer.observed.boots import BootSpan
from analyzer.observed.log_placing import LogPlacement
from analyzer.options import Options
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
#: Two kernels 7.3.4, a plain kexec between them, and a log of their own in the capture.
CAPTURE = TRACES / "healed-by-stock-kernel.bin"
#: Each kernel of a log: its release and command line; a kexec from each to the next.
SAME = [("7.3.4", "first"), ("7.3.4", "second")]


def after(release: str) -> str:
    """The message of a kernel that was started by a kexec from that release."""
    return f"given\n[    0.000000] KHO: exec from: {release} (count 1)"


def log(runs: list[tuple[str, str]]) -> str:
    return "[    9.000000] kexec_core: Starting new kernel\n".join(
        f"[    0.000000] Linux version {release} (x@y) #1\n[    0.000000] Command line: {cmdline}\n"
        for release, cmdline in runs
    )


def analysed(tmp_path, runs, *, own: str | None = None, releases: tuple[str, ...] = ()):
    """The capture with a log of its own (``own``) or none, named releases, and a log given."""
    capture = open_capture(str(CAPTURE))
    capture.notes.log = [LogLine(line) for line in (own or "").splitlines()]
    capture.notes.boundaries = [replace(mark, release=None) for mark in capture.notes.boundaries]
    capture.notes.releases = list(releases)
    (tmp_path / "log").write_text(log(runs), "ascii")
    result = analyzer.analysis.analyze_capture(capture, Options(dmesg=str(tmp_path / "log")))
    kernels = [boot for boot in result.boots if boot.kind == "kernel"]
    return [(boot.release, boot.cmdline) for boot in kernels], result.kexecs[0].warnings


@pytest.mark.parametrize(
    ("own", "releases", "given", "kernels"),
    [
        (None, (), SAME, SAME),
        # The capture says nothing of its kernels: the log is all that is known.
        (None, (), [("6.1.0", "a"), ("6.1.0", "b")], [("6.1.0", "a"), ("6.1.0", "b")]),
        (log(SAME), (), [("7.3.4", "a"), ("7.3.4", "b")], [("7.3.4", "a"), ("7.3.4", "b")]),
        # It goes on to a kernel after the capture, or began before it.
        (
            log([("7.3.4", "p"), ("7.3.5", "q")]),
            (),
            [("7.3.4", "a"), ("7.3.5", "b"), ("6.1.0", "c")],
            [("7.3.4", "a"), ("7.3.5", "b")],
        ),
        (
            log([("7.3.4", "p"), ("7.3.5", "q")]),
            (),
            [("6.1.0", "c"), ("7.3.4", "a"), ("7.3.5", "b")],
            [("7.3.4", "a"), ("7.3.5", "b")],
        ),
        # It is of one of the two.
        (log([("7.3.4", "p"), ("7.3.5", "q")]), (), [("7.3.4", "a")], [("7.3.4", "a"), ("7.3.5", "q")]),
        (log([("7.3.4", "p"), ("7.3.5", "q")]), (), [("7.3.5", "b")], [("7.3.4", "p"), ("7.3.5", "b")]),
        (None, ("7.3.4",), [("6.1.0", "a"), ("7.3.4", "b")], [("6.1.0", "a"), ("7.3.4", "b")]),
    ],
)
def test_a_log_is_placed_where_it_agrees(own, releases, given, kernels, tmp_path):
    assert analysed(tmp_path, given, own=own, releases=releases) == (kernels, [])


@pytest.mark.parametrize(
    ("own", "releases", "given", "boot", "ours"),
    [
        (log(SAME), (), [("6.1.0", "a"), ("6.1.0", "b")], 1, "7.3.4"),
        (log(SAME), (), [("6.1.0", "a")], 2, "7.3.4"),
        (log(SAME), (), [("7.3.4", "a"), ("6.1.0", "b")], 2, "7.3.4"),
        (None, ("7.3.4",), [("6.1.0", "a"), ("6.1.0", "b")], 1, "7.3.4"),
    ],
)
def test_a_log_of_another_machine_is_set_aside(own, releases, given, boot, ours, tmp_path):
    kernels, (warning,) = analysed(tmp_path, given, own=own, releases=releases)
    without = [("7.3.4", "first"), ("7.3.4", "second")] if own else [(None, None), (None, None)]
    assert kernels == without
    assert warning == (
        f"--dmesg {tmp_path}/log seems to be of another machine, and nothing of it was used:"
        f" it says that boot {boot} ran Linux 6.1.0, the capture says {ours}"
    )


@pytest.mark.parametrize(("before", "placed"), [("7.3.4", True), ("6.1.0", False)])
def test_a_log_is_placed_after_the_release_that_it_names(before: str, placed: bool, tmp_path):
    """A log of one kernel alone, whose first message of KHO names the kernel before."""
    kernels, warnings = analysed(tmp_path, [("7.3.4", after(before))], own=log(SAME))
    assert [cmdline for _, cmdline in kernels] == ["first", "given" if placed else "second"]
    assert any("ran Linux 6.1.0, the capture says 7.3.4" in text for text in warnings) is not placed


def test_a_kernel_that_was_started_by_kexec_does_not_come_after_firmware():
    runs = kernel_log.parse_lines(log([("7.3.4", after("6.1.0"))]).splitlines())
    spans = [BootSpan(0, "firmware", 0, 9, "start"), BootSpan(1, "kernel", 10, 19, "reboot", 12)]
    placing = LogPlacement(spans)
    assert placing.place(runs, "the log") == {}
    (warning,) = placing.warnings
    assert "it says that boot 0 ran Linux 6.1.0, the capture says firmware" in warning


def test_the_boundaries_of_a_capture_count_before_its_own_log():
    capture = open_capture(str(CAPTURE))
    at = analyzer.analysis.analyze_capture(capture).kexecs[0].at_access
    capture.notes.boundaries = [Boundary(at, "plain", "7.3.9")]
    result = analyzer.analysis.analyze_capture(capture)
    assert result.boots[-1].release == "7.3.9"
    assert result.boots[-1].cmdline is None
    (warning,) = result.kexecs[0].warnings
    assert warning.startswith("the log in the capture seems to be of another machine")
    assert warning.endswith("ran Linux 7.3.4, the capture says 7.3.9")


def test_what_a_foreign_log_says_of_the_kexec_and_the_preserved_set_is_not_used(tmp_path):
    foreign = "[    1.000000] pci 0000:02:00.0: Device will be preserved across next Live Update\n"
    first, second = log([("6.1.0", "a"), ("6.1.0", "b")]).split("[    9.000000]")
    (tmp_path / "log").write_text(f"{first}{foreign}[    9.000000]{second}", "ascii")
    capture = open_capture(str(CAPTURE))
    with_log = analyzer.analysis.analyze_capture(capture, Options(dmesg=str(tmp_path / "log"))).kexecs[0]
    without = analyzer.analysis.analyze_capture(capture).kexecs[0]
    assert with_log.warnings[-1].startswith(f"--dmesg {tmp_path}/log seems to be of another machine")
    with_log.warnings.pop()
    assert with_log == without


def test_a_capture_without_a_kexec_says_so_among_its_errors(tmp_path):
    capture = open_capture(str(TRACES / "formats" / "trace-dat-kprobes-kernel1.dat"))
    assert capture.notes.releases
    (tmp_path / "log").write_text(log([("6.1.0", "a")]), "ascii")
    result = analyzer.analysis.analyze_capture(capture, Options(dmesg=str(tmp_path / "log")))
    assert result.kexecs == []
    assert [error.kind for error in result.errors][-1] == "other-machine"
