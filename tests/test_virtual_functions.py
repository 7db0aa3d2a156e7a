"""Virtual functions, by the SR-IOV capability of their physical function: a preserved one is stranded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from simulator import Kernel, Sriov, endpoint, one_port
from small_dumps import EIGHTH, FIRST, dump
from sriov_dumps import VIRTUAL, sriov
from stories import tell

from analyzer import analysis, bdf
from analyzer.cli import exit_status
from analyzer.observed import virtual_functions
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.report import text_report
from analyzer.report.page import Page, plain
from analyzer.results import POLICIES, Analysis, DeviceVerdict
from analyzer.verdicts import verdict
from schemas import extended_capabilities as ext

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.results import CaptureResult

CAPTURE = "traces/inherit-virtual-functions.bin"
BRIDGE = "0000:02:01.0"


@pytest.mark.parametrize(
    ("registers", "numbers"),
    [
        # control, NumVFs, First VF Offset, VF Stride
        ((0x09, 2, 8, 1), {"01:01.0": 1, "01:01.1": 2}),
        ((0x09, 3, 8, 4), {"01:01.0": 1, "01:01.4": 2, "01:02.0": 3}),
        ((0x19, 2, 256, 1), {"02:00.0": 1, "02:00.1": 2}),
        ((0x09, 1, 8, 0), {"01:01.0": 1}),
        ((0x09, 2, 1, 1), {"01:00.1": 1, "01:00.2": 2}),
        # VF Enable clear, no virtual functions, or none that is not the physical one
        ((0x08, 2, 8, 1), {}),
        ((0x09, 0, 8, 1), {}),
        ((0x09, 1, 0, 1), {}),
        # beyond the last bus
        ((0x09, 2, 0xFFFF, 1), {}),
    ],
)
def test_which_functions_are_virtual(
    tmp_path: Path, registers: tuple[int, int, int, int], numbers: dict[str, int]
) -> None:
    path = tmp_path / "dump.txt"
    path.write_text(dump(size=4096, rows=sriov(*registers) | VIRTUAL))
    (topology,) = analysis.study(open_capture(str(path))).topologies
    asked = [bus << 8 | devfn for bus in (0, 1, 2, 0xFF) for devfn in range(256)]
    found = virtual_functions.among(topology, [*asked, 1 << 16 | 0x108])
    assert {bdf.text(key)[5:]: one.number for key, one in found.items()} == numbers
    assert {one.physical.function for one in found.values()} <= {bdf.parse(FIRST)}


def test_a_function_with_a_vendor_is_not_virtual(tmp_path: Path) -> None:
    for rows, expected in (({}, 0), (VIRTUAL, 1), ({(EIGHTH, 0x00): None}, 1)):
        path = tmp_path / "dump.txt"
        path.write_text(dump(size=4096, rows=sriov(0x09, 1, 8, 1) | rows))
        (topology,) = analysis.study(open_capture(str(path))).topologies
        assert len(virtual_functions.among(topology, [bdf.parse(EIGHTH)])) == expected


def judged(path: str, **options: object) -> CaptureResult:
    return analysis.analyze_capture(open_capture(path), Options(**options))  # type: ignore[arg-type]


def device(result: CaptureResult, name: str) -> DeviceVerdict:
    return next(item for item in result.kexecs[-1].devices if item.bdf == name)


def status(result: CaptureResult) -> int:
    return exit_status.of_analysis(Analysis("observed", [result], verdict.summarise([result])))


@pytest.mark.parametrize(
    ("name", "bridge", "said", "reason"),
    [
        *((f"0000:04:00.{number}", BRIDGE, "stranded", "virtual-function") for number in (1, 2, 3, 4)),
        ("0000:04:00.5", None, "undetermined", "never-seen"),
        ("0000:04:01.0", None, "undetermined", "never-seen"),
        ("0000:04:00.0", BRIDGE, "reachable", None),
    ],
)
@pytest.mark.parametrize("policy", ["observed", *POLICIES])
def test_a_preserved_virtual_function(
    policy: str, name: str, bridge: str | None, said: str, reason: str | None
) -> None:
    result = judged(CAPTURE, preserved=name, policy=policy)
    found = device(result, name)
    assert (found.preserved, found.bridge, found.verdict, found.reason) == (True, bridge, said, reason)
    assert all(name not in outcome.stranded for outcome in result.kexecs[0].policies.values())


def test_what_follows_for_a_preserved_virtual_function() -> None:
    result = judged(CAPTURE, preserved="04:00.2")
    (kexec,) = result.kexecs
    codes = [item.code for item in kexec.consequences]
    assert codes == ["bit-stays-off", "virtual-functions", "sriov-layout", "find-selective"]
    assert [item.text for item in kexec.findings if item.code == "ARI007"] == [
        "preserved device 0000:04:00.2 stranded (virtual-function)"
    ]
    assert (result.verdict, result.weight, status(result)) == ("findings", "loss", 1)
    text = plain(
        text_report.fill(Page(width=10**6), Analysis("observed", [result], verdict.summarise([result])))
    )
    assert text.startswith("LOST: ARI Forwarding on 0000:02:01.0; 1 preserved device stranded\n")
    assert (
        "0000:04:00.2      STRANDED: it is a virtual function, which no series preserves: "
        "the incoming kernel clears VF Enable\n"
    ) in text
    assert "never enumerated" not in text
    assert "o reboot is needed" not in text


def test_without_the_registers_of_the_physical_function_it_is_undetermined() -> None:
    capture = open_capture(CAPTURE)
    at = (
        analysis.study(capture)
        .topologies[1]
        .functions[bdf.parse("04:00.0")]
        .capabilities.extended[ext.SRIOV_ID]
    )
    own = (pl.col("bus") == 4) & (pl.col("devfn") == 0)
    capture.accesses = capture.accesses.filter(~(own & pl.col("offset").is_between(at, at + 0x3F)))
    result = analysis.analyze_capture(capture, Options(preserved="04:00.2"))
    found = device(result, "0000:04:00.2")
    assert (found.verdict, found.reason) == ("undetermined", "never-seen")


PF, FIRST_VF = "0000:01:00.0", "0000:01:01.0"


@pytest.mark.parametrize("rule", ["stock", "inherit", "serialize", "heal"])
@pytest.mark.parametrize(
    ("vfs", "cleared", "said", "reason", "word"),
    [
        (2, False, "stranded", "virtual-function", 1),
        (2, True, "undetermined", "never-seen", 3),  # sriov_numvfs was set to 0 before the kexec
        (0, False, "undetermined", "never-seen", 3),
    ],
)
def test_on_a_simulated_machine(
    rule: str, vfs: int, cleared: bool, said: str, reason: str, word: int
) -> None:
    def before(recording: object) -> None:
        if vfs:
            recording.enable_vfs(PF, vfs)  # type: ignore[attr-defined]
        if cleared:
            recording.setpci(PF, "ECAP_SRIOV+08.w", 0)  # type: ignore[attr-defined]

    story = tell(
        one_port({0: endpoint(ari=0, sriov=Sriov(total=4, offset=8))}),
        before=before,
        incoming=Kernel(policy=rule),  # type: ignore[arg-type]
        options=Options(preserved=f"{PF},{FIRST_VF}"),
    )
    found = story.device(FIRST_VF)
    assert (found.verdict, found.reason) == (said, reason)
    assert story.device(PF).verdict == "reachable"
    assert status(story.result) == word
    assert ("virtual-functions" in [item.code for item in story.kexec.consequences]) is (word == 1)
    assert "reboot" not in [item.code for item in story.kexec.consequences]
