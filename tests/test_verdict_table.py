from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest
import result_samples as samples

from analyzer import analyze
from analyzer.report.verdict_table import write_findings
from analyzer.results import Divergence, Secondary, frames

CORPUS = Path(__file__).parents[1] / "traces"


def test_a_row_for_each_verdict():
    analysis = samples.analysis(samples.lost(), samples.unreadable())
    table = frames.verdicts(analysis)
    assert dict(table.schema) == frames.VERDICT_COLUMNS
    assert table["row"].to_list() == ["capture", *["bridge"] * 4, *["device"] * 11, "capture"]
    stranded = table.filter(pl.col("verdict") == "stranded").row(0, named=True)
    assert (stranded["code"], stranded["severity"], stranded["reason"]) == ("ARI007", "error", "ari-off")
    unread = table.row(-1, named=True)
    assert (unread["verdict"], unread["reason"]) == ("unreadable", "unsupported")
    assert unread["text"].startswith("expected a capture")


def test_every_finding_stands_in_exactly_one_row():
    result = samples.undetermined()
    kexec = result.kexecs[0]
    unknown = samples.device(samples.PORT, "undetermined", "not-captured")
    kexec.devices = [unknown, samples.device(samples.OTHER, "undetermined", preserved=False)]
    kexec.divergences = [
        Divergence(samples.ROOT, predicted=True, observed=False, note="", explained=False),
        Divergence(samples.ROOT, predicted=True, observed=False, note="said so", explained=True),
    ]
    kexec.secondary = [
        Secondary(samples.PORT, kind, "", []) for kind in ("acs-lost", "bus-master-lost", "new")
    ]
    analysis = samples.analysis(result)
    told = frames.verdicts(analysis).filter(pl.col("code").is_not_null())
    expected = [(f.code, f.severity, f.bdf, f.text) for f in kexec.findings]
    assert told.select("code", "severity", "bdf", "text").rows() == expected
    assert told["row"].to_list() == ["bridge", "device", *["divergence"] * 2, *["secondary"] * 3]


def test_a_finding_that_was_not_selected_leaves_its_verdict():
    analysis = samples.analysis(samples.lost())
    kexec = analysis.captures[0].kexecs[0]
    kexec.findings = [finding for finding in kexec.findings if finding.code == "ARI001"]
    table = frames.verdicts(analysis)
    assert table.filter(pl.col("code").is_not_null())["bdf"].to_list() == [samples.PORT]
    assert table.filter(pl.col("verdict") == "stranded").height == 3


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    target = tmp_path_factory.mktemp("findings") / "findings.parquet"
    names = ("lost-explicit-write", "hidden-after-secondary-bus-reset", "clean-inherit")
    write_findings(analyze([str(CORPUS / f"{name}.bin") for name in names]), target)
    return target


def test_duckdb_reads_the_findings(parquet):
    table = duckdb.read_parquet(str(parquet)).filter("severity = 'error'")
    counts = table.aggregate("parse_filename(path, true) as name, code, count(*)").order("name, code")
    assert counts.fetchall() == [
        ("hidden-after-secondary-bus-reset", "ARI003", 1),
        ("hidden-after-secondary-bus-reset", "ARI006", 1),
        ("hidden-after-secondary-bus-reset", "ARI007", 6),
        ("lost-explicit-write", "ARI001", 1),
        ("lost-explicit-write", "ARI007", 3),
    ]


def test_duckdb_reads_the_evidence(parquet):
    lost = duckdb.read_parquet(str(parquet)).filter("row = 'bridge' and verdict = 'lost'")
    writes = lost.project("unnest(evidence, recursive := true)").filter("op = 'write'").order("access")
    found = writes.project("access, offset_bytes, register, value").fetchall()
    assert found == [
        (3599, 0x176D8, "CAP_EXP+28.w", "0x0020"),
        (15004, 0x5A500, "CAP_EXP+28.w", "0x0000"),
    ]


def test_the_same_result_gives_the_same_bytes(tmp_path):
    files = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for file in files:
        write_findings(samples.analysis(replace(samples.lost())), file)
    assert files[0].read_bytes() == files[1].read_bytes()
