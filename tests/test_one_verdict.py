"""One verdict per capture: headline, findings, consequences, exit status and every format say the same."""

from __future__ import annotations

import csv
import io
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import junitparser
import pytest

from analyzer import analyze
from analyzer.cli import exit_status
from analyzer.fleet import rows
from analyzer.fleet.analysis import AnalyzedInput
from analyzer.fleet.manifest import Entry
from analyzer.options import Options
from analyzer.report import headline, text_report
from analyzer.report.html.page import pieces
from analyzer.report.json_report import json_text
from analyzer.report.junit_report import junit_text
from analyzer.report.page import Page, plain
from analyzer.report.sarif_report import sarif_text
from analyzer.report.verdict_table import csv_text
from analyzer.results import LOSSES

if TYPE_CHECKING:
    from analyzer.results import Analysis

TRACES = Path(__file__).parents[1] / "traces"
CAPTURES = sorted(TRACES.glob("*.bin"))
POLICIES = ("observed", "stock", "inherit", "serialize", "heal")
#: As the capture says; every function below an ARI bridge; two functions above 7; one that is not there.
PRESERVED = (
    {},
    {"assume_preserved": True},
    {"preserved": "0000:03:01.0,0000:05:01.0"},
    {"preserved": "0000:77:00.0"},
)
ASKED = [given | {"policy": policy} for given, policy in itertools.product(PRESERVED, POLICIES)]

REBOOT = "Reboot the host: preserved devices are"
#: Exit status -> words that may stand first.
WORDS = {
    0: {"clean", "HEALED", "WARNING", "NOTED", "NO KEXEC"},
    1: {"LOST", "STRANDED", "RENUMBERED"},
    3: {"UNDETERMINED", "DIVERGES", "UNREADABLE", "LOST", "STRANDED", "NO KEXEC"},
}


def stranded(analysis: Analysis) -> set[str]:
    return {
        device.bdf
        for kexec in analysis.captures[0].kexecs
        for device in kexec.devices
        if device.verdict == "stranded"
    }


def text_of(analysis: Analysis) -> str:
    page = Page(width=10**6)
    return plain(text_report.fill(page, analysis, verbosity=1))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_format_says_the_same(path: Path) -> None:
    for asked in ASKED:
        analysis = analyze([str(path)], Options(**asked))
        (capture,) = analysis.captures
        status = exit_status.of_analysis(analysis)
        harmed = stranded(analysis)
        found = [finding for kexec in capture.kexecs for finding in kexec.findings]
        codes = {item.code for kexec in capture.kexecs for item in kexec.consequences}

        # Headline and exit status.
        line = headline.of_analysis(analysis)
        assert line.word in WORDS[status], asked
        assert (status == 1) == (capture.weight == "loss")
        assert (status == 3) == (capture.weight == "doubt")

        # Findings and consequences.
        assert {finding.bdf for finding in found if finding.code == "ARI007"} == harmed
        assert ("reboot" in codes) == bool(harmed)
        assert "bit-stays-off" not in codes or not harmed
        lost = [bridge for kexec in capture.kexecs for bridge in kexec.bridges if bridge.verdict in LOSSES]
        missing = [item for kexec in capture.kexecs for item in kexec.devices if item.verdict == "missing"]
        if capture.verdict == "clean":
            assert not lost
            assert not missing
            assert not harmed
            assert status == 0
            assert line.word in {"clean", "NOTED"}
        if harmed:
            assert capture.verdict == "findings"
            assert status != 0

        # Text and HTML.
        text = text_of(analysis)
        assert text.startswith(f"{line.title}: ")
        assert (REBOOT in text) == bool(harmed)
        assert "No reboot is needed" not in text
        assert "STRANDED" not in text.partition("\n")[2] or harmed
        if asked["policy"] == "observed":  # a page takes as long as all the rest
            assert (REBOOT in "".join(pieces(analysis))) == bool(harmed)

        # JSON, CSV, SARIF, JUnit, fleet rows.
        read = json.loads(json_text(analysis))
        assert read["captures"][0]["weight"] == capture.weight
        assert read["summary"]["devices_stranded"] == sum(
            device.verdict == "stranded" for kexec in capture.kexecs for device in kexec.devices
        )
        table = list(csv.DictReader(io.StringIO(csv_text(analysis))))
        assert {row["bdf"] for row in table if row["verdict"] == "stranded"} == harmed
        assert [row["verdict"] for row in table if row["row"] == "capture"] == [capture.verdict]
        results = json.loads(sarif_text(analysis))["runs"][0]["results"]
        assert [result["level"] for result in results] == [finding.severity for finding in found]
        suite = junitparser.JUnitXml.fromstring(junit_text(analysis).encode())
        assert (suite.failures > 0) == (status == 1)
        assert (suite.failures == 0 and suite.errors > 0) == (status == 3)
        frames = rows.tables([AnalyzedInput(0, Entry(b"x"), capture, "ok")], None)
        assert frames["captures"]["weight"].to_list() == [capture.weight]
        assert frames["kexecs"]["loss"].any() == (status == 1)
