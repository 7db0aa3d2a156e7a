"""What a run of the lab says: one word a scenario, what the kernels did, and every problem."""

from pathlib import Path

import analyzer
from analyzer.lab.comparison import Outcome
from analyzer.report import lab_report
from analyzer.report.page import Page, plain

CAPTURE = Path(__file__).parents[2] / "traces" / "healed-by-stock-kernel.bin"

HEALED = "0000:02:00.0 healed selective-loss"


def test_outcomes():
    result = analyzer.analyze([str(CAPTURE)]).captures[0]
    found = result.kexecs[0].observed.discovered
    outcomes = [
        Outcome("healed", "A title", [], result, {1: found, 2: found}, "out/healed.bin", 17.24),
        Outcome("hung", "Another", ["hung: not finished after 2 s"]),
        Outcome("igb", "A third", [], skipped="this QEMU has no igb"),
    ]
    assert plain(lab_report.fill_run(Page(), outcomes)).splitlines() == [
        "ok    healed  A title",
        "        enumerated: kernel 1 19, kernel 2 19; 17.2 s",
        f"        kexec 0: {HEALED}; 19 functions predicted, 19 enumerated, 0 divergences",
        "        out/healed.bin",
        "FAIL  hung  Another",
        "        - hung: not finished after 2 s",
        "skip  igb  this QEMU has no igb",
        "",
        "3 scenarios, 1 skipped, 1 not as expected",
    ]


def test_what_a_guest_prints_is_made_inert():
    page = lab_report.fill_run(Page(), [Outcome("x", "", ["last line was: \x1b[2J"])])
    assert "\x1b" not in plain(page)
