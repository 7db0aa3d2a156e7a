"""What reports say of the state watch: one line, each register on request, a section of the page."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import result_samples as samples

from analyzer.analysis import analyze
from analyzer.report.html.page import pieces
from analyzer.report.json_report import json_text
from analyzer.report.junit_report import junit_text
from analyzer.report.page import new_page, plain
from analyzer.report.sarif_report import sarif_text
from analyzer.report.state_section import lines, row_text
from analyzer.report.text_report import fill
from analyzer.report.verdict_table import csv_text
from analyzer.results.state import StateVerdict

if TYPE_CHECKING:
    from analyzer.results import Analysis

TRACES = Path(__file__).parents[2] / "traces"
DEVICE = "0000:03:00.0"
RESET = "inherit-nested-hot-reset"


def state(
    bdf: str, name: str, verdict: str, severity: str = "warning", code: str | None = None
) -> StateVerdict:
    return StateVerdict(
        bdf=bdf,
        name=name,
        register="CAP_EXP+08.w",
        field="MaxPayload",
        before="0x0040",
        after="0x0000",
        verdict=verdict,  # type: ignore[arg-type]
        code=code,
        severity=severity,  # type: ignore[arg-type]
        access_before=7,
        access_after=None,
        depends="DMA",
    )


def found(name: str) -> Analysis:
    return analyze([str(TRACES / f"{name}.bin")])


def said(name: str, verbosity: int = 0) -> str:
    """The text report in one line."""
    return " ".join(plain(fill(new_page(None), found(name), verbosity=verbosity)).split())


def test_lines_count_functions_and_begin_with_the_alarms() -> None:
    (kexec,) = samples.lost().kexecs
    bridge = kexec.bridges[0].bdf
    kexec.state = [
        state(bridge, "MPS", "lost"),
        state(DEVICE, "MPS", "lost"),
        state(bridge, "ACS", "lost", "alarm", "STATE003"),
        state(bridge, "ACS", "lost", "alarm", "STATE003"),
        state(DEVICE, "BAR", "healed"),
        state(DEVICE, "MSI", "expected", "note"),
    ]
    assert lines(kexec) == [
        ("Other state lost", "ACS on 1 bridge, MPS on 2 functions"),
        ("Other state lost, and set again by the incoming kernel", "BAR on 1 function"),
    ]


def test_a_row_in_a_line() -> None:
    one = state(DEVICE, "MPS", "lost", code="STATE005")
    place = "0000:03:00.0 CAP_EXP+08.w MaxPayload:"
    rest = "0x0000, lost (accesses 7 to ?) [STATE005];"
    assert row_text(one) == f"{place} 0x0040 to {rest} depends on it: DMA"
    assert row_text(replace(one, before=None, note="why")) == f"{place} ? to {rest} why"


def test_the_text_report() -> None:
    text = said(RESET)
    lost = "Bus Master on 1 bridge, Memory or I/O Enable on 1 bridge, bridge window on 1 bridge"
    assert f"Other state lost: {lost} (-v lists each register)" in text
    assert "bus-master-lost" not in text
    assert "0000:03:00.0 COMMAND BusMaster: 0x0004 to 0x0000, lost" in said(RESET, 1)
    assert "Also" not in said("clean-inherit")


def test_json() -> None:
    (capture,) = json.loads(json_text(found(RESET)))["captures"]
    rows = capture["kexecs"][0]["state"]
    assert {row["verdict"] for row in rows} == {"lost", "expected"}
    (master,) = [row for row in rows if row["severity"] == "alarm"]
    assert (master["bdf"], master["register"], master["field"]) == (DEVICE, "COMMAND", "BusMaster")
    assert (master["before"], master["after"], master["code"]) == ("0x0004", "0x0000", "STATE011")


def test_every_finding_is_in_one_row_of_the_table() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(found(RESET)))))
    for code in ("STATE009", "STATE011"):
        assert sum(row["code"] == code for row in rows) == 1
    assert {row["verdict"] for row in rows if row["row"] == "state"} == {"lost", "expected"}


def test_findings_reach_the_other_formats() -> None:
    analysis = found(RESET)
    assert '"STATE011"' in sarif_text(analysis)
    assert "STATE011 error: " in junit_text(analysis)


@pytest.mark.parametrize(
    ("name", "section"),
    [
        (RESET, "<details open><summary>Other state lost: Bus Master on 1 bridge"),
        ("clean-inherit", "<details><summary>Other registers: of those that both kernels show, none was"),
    ],
)
def test_the_section_of_the_page_is_open_only_where_something_was_lost(name: str, section: str) -> None:
    assert section in "".join(pieces(found(name)))
