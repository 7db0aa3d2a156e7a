import csv
import io

import duckdb
import pytest
import result_samples as samples

from analyzer.report.verdict_table import csv_text
from analyzer.results.frames import VERDICT_COLUMNS


def rows(*captures):
    return list(csv.DictReader(io.StringIO(csv_text(samples.analysis(*captures)))))


def test_a_lost_bridge_is_a_row():
    (lost,) = [row for row in rows(samples.lost()) if row["verdict"] == "lost"]
    assert list(lost) == ["stranded_count" if name == "stranded" else name for name in VERDICT_COLUMNS]
    assert (lost["path"], lost["kexec"], lost["bdf"]) == ("lost.bin", "0", samples.PORT)
    assert (lost["cause"], lost["confidence"], lost["code"]) == ("explicit-write", "high", "ARI001")
    assert (lost["ari_before"], lost["ari_after"], lost["new_secondary"]) == ("true", "false", "")
    assert lost["stranded_count"] == "3"
    assert lost["evidence"] == (
        "#9876 @0x12ab34 write 0000:02:00.0 CAP_EXP+28.w = 0x0000 (clears ARI Forwarding Enable); "
        "#10001 @0x13ab34 read 0000:02:00.0 CAP_EXP+28.w = 0x0000 (first read after the kexec)"
    )


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-", "'-"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\uff1d1", "'\uff1d1"),
        ("\t=1", "\\x09=1"),
        ("\r=1", "\\x0d=1"),
        ('a"b,c\nd', 'a"b,c\\x0ad'),
        ("\x1b[2Jx", "\\x1b[2Jx"),
        ("a\udcff", "a\\xff"),
    ],
)
def test_no_text_can_act_on_a_spreadsheet_or_terminal(hostile, harmless):
    result = samples.clean(hostile)
    result.host = hostile
    assert {(row["path"], row["host"]) for row in rows(result)} == {(harmless, harmless)}


def test_duckdb_reads_it(tmp_path):
    target = tmp_path / "verdicts.csv"
    captures = [samples.lost(), samples.hidden(), samples.unreadable(), samples.clean("a,b\n=c")]
    found = rows(*captures)
    target.write_text(csv_text(samples.analysis(*captures)))
    table = duckdb.read_csv(str(target), all_varchar=True)
    assert table.columns == list(found[0])
    assert len(table.fetchall()) == len(found)
    stranded = table.filter("verdict = 'stranded'").aggregate("path, count(*)").order("path")
    assert stranded.fetchall() == [("hidden.bin", 6), ("lost.bin", 3)]
