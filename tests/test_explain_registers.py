"""Watched registers of one function over time, and registers that differ and that no rule judges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stories import BELOW_SWITCH, Kernel, switch, tell

from analyzer.analysis import study
from analyzer.questions.explain.function import explain, explain_capture
from analyzer.questions.explain.registers import raw_differences
from analyzer.report import explain_report
from analyzer.report.page import new_page, plain

if TYPE_CHECKING:
    from analyzer.questions.explain.explanation import Explanation

TRACES = Path(__file__).parent.parent / "traces"
RESET = str(TRACES / "inherit-nested-hot-reset.bin")
DOWNSTREAM, DEVICE = "0000:02:00.0", "0000:03:00.0"


def values(explanation: Explanation, register: str) -> list[tuple[int, str, str]]:
    """Boot, direction and value of each access that shows another value."""
    (history,) = [one for one in explanation.registers if one.register == register]
    return [(one.boot, one.op, one.value) for one in history.values]


def test_acs_over_a_loss() -> None:
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        outgoing=Kernel(iommu=True),
        incoming=Kernel(policy="inherit", series="v9", iommu=True),
        blackout=lambda machine: machine.clear(DOWNSTREAM, "ECAP_ACS+06.w", 0x04),
    )
    found = explain_capture(story.recording.capture(), DOWNSTREAM)
    assert values(found, "ECAP_ACS+06.w") == [
        (1, "read", "0x0000"),
        (1, "write", "0x001d"),
        (2, "read", "0x0019"),
    ]
    (kexec,) = found.kexecs
    (acs,) = [one for one in kexec.state if one.name == "ACS"]
    assert (acs.verdict, acs.before, acs.after) == ("lost", "0x001d", "0x0019")
    assert "kept" in {one.verdict for one in kexec.state}


def test_a_bar_that_is_sized_has_one_value() -> None:
    found = explain(str(TRACES / "clean-inherit.bin"), "0000:03:00.0")
    (history,) = [one for one in found.registers if one.register == "BASE_ADDRESS_0"]
    assert {one.value for one in history.values if one.boot > 0} == {history.values[-1].value}


@pytest.mark.parametrize("verbosity", [0, 1])
def test_the_text(verbosity: int) -> None:
    page = explain_report.fill(new_page(None), explain(RESET, DEVICE), verbosity=verbosity)
    text = " ".join(plain(page).split())
    assert "Watched registers over time" in text
    assert "0x0004 (boot 1, write #5585), 0x0000 (boot 2, read #7806)" in text
    assert "Watched registers: 11 kept, 1 not captured on one side" in text
    assert "0000:03:00.0 COMMAND BusMaster: 0x0004 to 0x0000, lost" in text


def test_a_register_that_no_rule_judges() -> None:
    """Bridge Control is not watched: it is shown, with the accesses, and has no verdict."""
    story = tell(
        switch(),
        preserve=BELOW_SWITCH,
        before=lambda recording: recording.setpci(DOWNSTREAM, "BRIDGE_CONTROL", 0x0013),
        blackout=lambda machine: machine.poke(DOWNSTREAM, "BRIDGE_CONTROL", 0x0010),
    )
    working = study(story.recording.capture())
    found = raw_differences(working, working.kexec_analyses[0])
    differing = [(one.bdf, one.offset, one.before[:4], one.after[:4]) for one in found]
    assert (DOWNSTREAM, "03c", "0013", "0010") in differing
    assert [one for one in story.kexec.state if one.verdict != "expected"] == []


def test_a_clean_capture_has_none() -> None:
    story = tell(switch(), preserve=BELOW_SWITCH)
    working = study(story.recording.capture())
    assert raw_differences(working, working.kexec_analyses[0]) == []
