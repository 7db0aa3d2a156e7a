"""A capture cut short never makes a verdict more certain: what it cannot know is undetermined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.analysis import analyze_capture
from analyzer.readers import open_capture
from analyzer.report import headline

TRACES = Path(__file__).parent.parent / "traces"
PLACES = 12


@pytest.mark.parametrize(
    "name",
    ["hidden-after-port-reset-in-blackout", "hidden-after-secondary-bus-reset", "lost-selective-in-blackout"],
)
def test_devices_of_a_cut_capture_are_as_in_the_whole_one_or_undetermined(name: str) -> None:
    capture = open_capture(str(TRACES / f"{name}.bin"))
    kexec = analyze_capture(capture).kexecs[-1]
    whole = {device.bdf: device.verdict for device in kexec.devices}
    rows = capture.accesses.height - kexec.at_access
    judged = set()
    for place in range(1, PLACES):
        # Denser towards the kexec: the scan comes first, and most of a boot behind it changes nothing.
        end = kexec.at_access + rows * place**2 // PLACES**2
        cut = replace(capture, accesses=capture.accesses.head(end))
        for result in analyze_capture(cut).kexecs:
            judged.add(end)
            contrary = {
                device.bdf: device.verdict
                for device in result.devices
                if device.verdict not in ("undetermined", whole.get(device.bdf, device.verdict))
            }
            assert contrary == {}, f"cut behind {end} accesses"
    assert len(judged) > PLACES // 2


@pytest.mark.parametrize(
    ("accesses", "weight", "says"),
    [
        (2_000, None, []),  # firmware: no kernel scans yet
        (3_000, "doubt", ["the capture ends within the scan of its last kernel: what came after is unknown"]),
        (5_000, "doubt", ["the capture ends within the scan of its last kernel: what came after is unknown"]),
        (6_000, None, []),  # the scan is over: a kernel that runs, and no kexec
    ],
)
def test_a_capture_that_ends_within_a_scan_may_lack_its_kexec(
    accesses: int, weight: str | None, says: list[str]
) -> None:
    capture = open_capture(str(TRACES / "lost-selective-in-blackout.bin"))
    result = analyze_capture(replace(capture, accesses=capture.accesses.head(accesses)))
    assert (result.verdict, result.weight) == ("no-kexec", weight)
    assert [problem.message for problem in result.errors] == says
    line = str(headline.of_capture(result))
    assert line.endswith("; the capture ends within the scan of its last kernel") == bool(says)
