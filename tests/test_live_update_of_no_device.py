"""A real Live Update that hands over no PCI device: said where the logs show it, else a set is assumed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer.analysis import analyze_capture
from analyzer.cli.application import run
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.capture import LogLine

TRACES = Path(__file__).parent.parent / "traces"
NO_DEVICE = "live-update-of-a-memfd"


def place(log: list[LogLine], text: str) -> int:
    return next(number for number, line in enumerate(log) if text in line.text)


def whole(log: list[LogLine]) -> list[LogLine]:
    return log


def starts_late(log: list[LogLine]) -> list[LogLine]:
    """Of the outgoing kernel only its last words."""
    return log[place(log, "Starting new kernel") - 1 :]


def ends_early(log: list[LogLine]) -> list[LogLine]:
    """Of the incoming kernel nothing after the line of the orchestrator: it has not scanned PCI yet."""
    return log[: place(log, "luo: Retrieved") + 1]


def both(log: list[LogLine]) -> list[LogLine]:
    return ends_early(starts_late(log))


@pytest.mark.parametrize(
    ("name", "part", "source", "preserved"),
    [
        (NO_DEVICE, whole, "capture", 0),
        (NO_DEVICE, starts_late, "capture", 0),  # a device would be named where it is enumerated
        (NO_DEVICE, ends_early, "capture", 0),  # a device would be named before the kexec
        (NO_DEVICE, both, "assumed", 6),
        ("inherit-partial", whole, "capture", 8),
        ("inherit-partial", starts_late, "capture", 8),
        ("inherit-partial", ends_early, "capture", 8),
        ("inherit-partial", both, "assumed", 11),
    ],
)
def test_what_the_logs_leave_out_is_not_taken_for_nothing(
    name: str, part: Callable[[list[LogLine]], list[LogLine]], source: str, preserved: int
) -> None:
    capture = open_capture(str(TRACES / f"{name}.bin"))
    capture.notes.log[:] = part(capture.notes.log)
    kexec = analyze_capture(capture).kexecs[0]
    assert kexec.kind == "live-update"
    assert kexec.preserved_source == source
    assert sum(device.preserved for device in kexec.devices) == preserved


def test_the_report_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(TRACES / f"{NO_DEVICE}.bin")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(
        "clean: 1 kexec, ARI Forwarding kept on 2 bridges; no ARI Forwarding or bus number lost, no"
        " device stranded"
    )
    assert (
        "the incoming kernel followed the stock rule; verdicts under policy stock. "
        "Preserved: no PCI device, from the capture itself." in text
    )


def test_the_real_lines_are_in_the_log() -> None:
    log = open_capture(str(TRACES / f"{NO_DEVICE}.bin")).notes.log
    wanted = (
        "KHO: found kexec handover data.",
        "luo: Retrieved live update data, liveupdate number: 1",
        "KHO: exec from: 7.3.4-aritrace-lab (count 1)",
    )
    assert [text for text in wanted if not any(line.text.endswith(text) for line in log)] == []
