import csv
import io
import json
from pathlib import Path

import duckdb
import junitparser
import pytest
import result_samples as samples

from analyzer.cli.application import run

CAPTURE = str(Path(__file__).parents[2] / "traces" / "lost-explicit-write.bin")


def test_csv_goes_to_stdout_and_the_status_stays(program):
    program.results["lost.bin"] = samples.lost()
    status, out, err = program("lost.bin", "bad.bin", "--format", "csv")
    assert (status, err) == (1, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["path"] for row in rows if row["row"] == "capture"] == ["lost.bin", "bad.bin"]


def test_junit_follows_the_options_of_the_exit_status(program, tmp_path):
    target = tmp_path / "report.xml"
    program.results["lost.bin"] = samples.lost()
    for options, failures, expected in (
        ([], 1, 1),
        (["--ignore", "ARI001,ARI007"], 0, 0),
        (["--select", "ARI007"], 1, 1),
        (["--exit-zero"], 1, 0),
    ):
        program.results["lost.bin"] = samples.lost()
        status, out, _ = program("lost.bin", "--format", "junit", "-o", str(target), *options)
        assert (status, out) == (expected, "")
        assert junitparser.JUnitXml.fromfile(str(target)).failures == failures


def test_sarif_has_the_selected_findings(program):
    program.results["lost.bin"] = samples.lost()
    _, out, _ = program("lost.bin", "--format", "sarif", "--select", "ARI001")
    assert [result["ruleId"] for result in json.loads(out)["runs"][0]["results"]] == ["ARI001"]


@pytest.mark.parametrize("output", [[], ["-o", "-"]])
def test_parquet_needs_a_file(program, output):
    status, out, err = program("a.bin", "--format", "parquet", *output)
    assert (status, out) == (2, "")
    assert "name it: -o FILE" in err
    assert program.paths is None


def test_parquet_of_findings(tmp_path):
    target = tmp_path / "findings.parquet"
    assert run([CAPTURE, "--format", "parquet", "-o", str(target)]) == 1
    codes = duckdb.read_parquet(str(target)).filter("code is not null").order("code, bdf").project("code")
    assert codes.fetchall() == [("ARI001",), ("ARI007",), ("ARI007",), ("ARI007",)]


def test_parquet_of_accesses(tmp_path):
    target = tmp_path / "accesses.parquet"
    assert run(["convert", CAPTURE, "-o", str(target)]) == 0
    table = duckdb.read_parquet(str(target))
    assert table.aggregate("count(*)").fetchall() == [(27586,)]
    rows = table.filter("seq = 15004").project('bus, devfn, "offset", op, value, "where", time_ns').fetchall()
    assert rows == [(2, 0, 184, "write", 0, 0x5A500, 1795328052840954000)]
