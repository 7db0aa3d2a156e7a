"""Hostile names and log lines in what other programs read: timelines, Parquet, tables and reports of a fleet.

Each is opened by its own consumer, and compared with what harmless names give.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from dataclasses import replace

import duckdb
import fleet_results
import hostile_texts as texts
import limited
import polars as pl
import pytest
import result_samples
from google.protobuf.json_format import MessageToDict
from hostile_texts import HOSTILE, PLAIN, assert_quiet
from html_document import parse
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace
from prometheus_client.parser import text_string_to_metric_families

from analyzer import fleet
from analyzer.fleet.drilldown import drill_down
from analyzer.report import fleet_json, fleet_prometheus, fleet_report, page
from analyzer.report.html import fleet_page
from analyzer.report.html.fleet_queries import CountedTables, query
from schemas.native import MAGIC

#: The host name as tables hold it: what the native format can say, and nothing lost of it.
SHOWN_NAME = os.fsencode(texts.HOSTILE_NAME).decode("utf-8", "backslashreplace")


def made(target, capture, *arguments):
    """What the program writes to ``OUT`` of a capture, as bytes."""
    ended = limited.analyze(*({"CAPTURE": capture, "OUT": target}.get(word, word) for word in arguments))
    assert ended.status in (0, 1), ended.err
    assert_quiet(ended.out)
    assert_quiet(ended.err)
    return target.read_bytes()


def asked(query, *values):
    """What DuckDB answers."""
    with duckdb.connect() as connection:
        return connection.execute(query, values).fetchall()


def strings(value):
    """Every text in nested lists and dictionaries, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def test_timeline(pair, tmp_path):
    found = {}
    for which, capture in pair.items():
        trace = Trace()
        trace.ParseFromString(made(tmp_path / "trace", capture, "CAPTURE", "--perfetto", "OUT"))
        found[which] = MessageToDict(trace)["packet"]
    shown = list(strings(found["hostile"]))
    for text in shown:
        assert_quiet(text)
        assert "\n" not in text
    assert sum("calc" in text for text in shown) > 2  # else it proves nothing
    kinds = {which: Counter(key for packet in packets for key in packet) for which, packets in found.items()}
    assert kinds["hostile"] == kinds["plain"]


def test_table_of_verdicts(pair, tmp_path):
    tables, path = {}, tmp_path / "findings.parquet"
    for which, capture in pair.items():
        made(path, capture, "CAPTURE", "--format", "parquet", "-o", "OUT")
        tables[which] = pl.read_parquet(path)
        (seen,) = asked(f"select count(*), any_value(host) from '{path}'")  # noqa: S608 a path of ours
        assert seen == (tables[which].height, HOSTILE if which == "hostile" else PLAIN)
        json.loads(pl.read_parquet_metadata(path)["aritrace"])
    plain, hostile = tables["plain"], tables["hostile"]
    assert (hostile.schema, hostile.height) == (plain.schema, plain.height)
    assert hostile["verdict"].to_list() == plain["verdict"].to_list()
    assert set(hostile["host"]) == {HOSTILE}  # data stays what it is: whoever shows it escapes it
    assert {path.rpartition("/")[2] for path in hostile["path"]} == {SHOWN_NAME}


def test_table_of_accesses(pair, tmp_path):
    tables, path = {}, tmp_path / "accesses.parquet"
    for which, capture in pair.items():
        made(path, capture, "convert", "CAPTURE", "-o", "OUT")
        tables[which] = pl.read_parquet(path).drop("where")
        about = pl.read_parquet_metadata(path)["aritrace"]
        assert about.isascii()
        assert_quiet(about)
        assert asked("select json_valid(?)", about) == [(True,)]
    assert tables["hostile"].equals(tables["plain"])
    notes = json.loads(about)
    assert notes["path"].rpartition("/")[2] == SHOWN_NAME
    assert notes["notes"]["host"] == HOSTILE
    assert HOSTILE in {event["text"] for event in notes["notes"]["events"]}


@pytest.mark.parametrize("options", [[], ["--minimal", "--redact"]])
def test_the_native_format_keeps_what_it_is_given(pair, options, tmp_path):
    again = tmp_path / "again.bin"
    data = made(again, pair["hostile"], "convert", "CAPTURE", "-o", "OUT", *options)
    assert data.startswith(MAGIC)
    report = json.loads(limited.analyze(again, "--format", "json").out)
    (capture,) = report["captures"]
    assert capture["host"] == (None if options else HOSTILE)
    assert capture["verdict"] == "findings"


def test_a_name_in_a_problem_keeps_its_bytes(pair, tmp_path):
    cut, again = tmp_path / texts.HOSTILE_NAME, tmp_path / "again.bin"
    cut.write_bytes(pair["hostile"].read_bytes()[:-50])
    made(again, cut, "convert", "CAPTURE", "-o", "OUT")
    report = json.loads(limited.analyze(again, "--format", "json").out)
    files = [problem["file"].rpartition("/")[2] for problem in report["captures"][0]["errors"]]
    assert SHOWN_NAME in files


@pytest.fixture(scope="module")
def runs(pair, tmp_path_factory):
    """Output directories of a fleet of one capture, by whether it is the plain or the hostile one."""
    directories = {}
    for which, name in (("plain", "out"), ("hostile", "o'ut<b>\u202e\x1b[2J =1")):
        directory = tmp_path_factory.mktemp(which) / name
        ended = limited.analyze("fleet", "run", pair[which], "-o", directory, "-j", "1", memory=8 << 30)
        assert ended.status == 0, ended.err
        assert_quiet(ended.err)
        directories[which] = directory
    return directories


def answer(runs, which, *arguments):
    """A report on one of the fleets, and its page."""
    page = runs[which].parent / "page.html"
    output = runs[which].parent / "report"
    ended = limited.analyze("fleet", "report", runs[which], *arguments, "-o", output, "--html", page)
    assert ended.status == 1, ended.err
    assert_quiet(ended.out)
    assert_quiet(ended.err)
    return output.read_text("utf-8"), page.read_text("utf-8")


@pytest.mark.parametrize("table", ["captures", "kexecs", "bridges", "devices", "state", "errors"])
def test_tables_of_a_fleet(runs, table, tmp_path):
    frames, cells = {}, {}
    for which, directory in runs.items():
        shutil.copytree(directory / table, tmp_path / which)  # the folder's name is a pattern to both readers
        frames[which] = pl.read_parquet(tmp_path / which, hive_partitioning=True)
        rows = asked(f"from read_parquet('{tmp_path}/{which}/**/*.parquet', hive_partitioning = true)")
        assert len(rows) == frames[which].height
        cells[which] = set(strings(rows))
    assert frames["hostile"].schema == frames["plain"].schema
    assert frames["hostile"].height == frames["plain"].height > 0
    assert HOSTILE in cells["hostile"]
    assert any(text.endswith(SHOWN_NAME) for text in cells["hostile"])
    assert not any(re.search("[\ud800-\udfff]|\\\\ud[89a-f]", text) for text in cells["hostile"])


@pytest.mark.parametrize("arguments", [[], ["-v"]])
def test_report_of_a_fleet_as_text(runs, arguments):
    report, _ = answer(runs, "hostile", *arguments)
    assert_quiet(report)
    assert "calc" in report
    assert len(report.splitlines()) == len(answer(runs, "plain", *arguments)[0].splitlines())


def test_report_of_a_fleet_as_json(runs):
    report, _ = answer(runs, "hostile", "--format", "json")
    assert report.isascii()
    assert_quiet(report)
    found, plain = json.loads(report), json.loads(answer(runs, "plain", "--format", "json")[0])
    assert [host["host"] for host in found["hosts_worst"]] == [HOSTILE]
    assert found["tally"] == plain["tally"]


def test_report_of_a_fleet_for_prometheus(runs):
    samples = {}
    for which in runs:
        report, _ = answer(runs, which, "--format", "prometheus")
        assert_quiet(report)
        families = list(text_string_to_metric_families(report))
        samples[which] = [sample for family in families for sample in family.samples]
    for sample in samples["hostile"]:
        for value in sample.labels.values():
            assert_quiet(value)
            assert "\n" not in value
    hosts = {sample.labels["host"] for sample in samples["hostile"] if "host" in sample.labels}
    assert len(hosts) == 1
    assert "calc" in hosts.pop()
    counted = {which: [(one.name, one.value) for one in found] for which, found in samples.items()}
    assert counted["hostile"] == counted["plain"]


def test_names_that_become_one_are_counted_together(tmp_path):
    """A name with an escape character, and one with its harmless form, are one series."""
    results = []
    for name in ("a\x1b", "a\\x1b"):
        result = result_samples.lost()
        result.boots = [replace(boot, release=name) for boot in result.boots]
        results.append((name, result, 20_000))
    fleet_results.write(tmp_path / "out", results)
    report = fleet_prometheus.text(fleet.report(str(tmp_path / "out")))
    samples = [one for family in text_string_to_metric_families(report) for one in family.samples]
    counted = {one.name: one.value for one in samples if "a\\x1b" in one.labels.values() and one.value}
    assert counted == {
        "aritrace_fleet_release_kexecs": 2,
        "aritrace_fleet_bridge_lost_kexecs": 2,
        "aritrace_fleet_bridge_devices_stranded": 6,
    }


def test_tables_with_other_texts_in_every_column(tmp_path):
    """Tables that somebody else gives: in each column of texts but those that are counted by their words."""
    fleet_results.write(tmp_path / "out", fleet_results.FLEET, 16, states=fleet_results.REGISTERS)
    counted = {"outcome", "verdict", "ari", "kind", "bdf"}
    for part in (tmp_path / "out").rglob("part-0*.parquet"):
        rows, about = pl.read_parquet(part), pl.read_parquet_metadata(part).get("aritrace")
        texts = [name for name, dtype in rows.schema.items() if dtype == pl.String and name not in counted]
        rows = rows.with_columns(pl.lit(f"{name} {HOSTILE}").alias(name) for name in texts)
        if about is not None:
            rows.write_parquet(part, metadata={"aritrace": about})
    report = fleet.report(str(tmp_path / "out"))
    shown = fleet_page.shown_part(report)
    html = "".join(fleet_page.pieces(shown, drill_down(shown)))
    for text in (
        fleet_json.text(report),
        fleet_prometheus.text(report),
        page.plain(fleet_report.fill(page.Page(), report, everything=True)),
        html,
    ):
        assert_quiet(text)
        assert "calc" in text
    assert {one.tag for one in parse(html).all()}.isdisjoint({"img", "iframe", "object"})
    list(text_string_to_metric_families(fleet_prometheus.text(report)))


def test_queries_of_the_page(runs):
    """They name the folder, which is a pattern to DuckDB."""
    plain, hostile = (
        asked(query("all", None, CountedTables([(str(runs[which]), False)]), "day"))
        for which in ("plain", "hostile")
    )
    assert len(hostile) == len(plain) == 1
    assert any(str(cell).endswith(SHOWN_NAME) for cell in hostile[0])


def test_page_of_a_fleet(runs):
    pages = {which: answer(runs, which)[1] for which in runs}
    assert_quiet(pages["hostile"])
    found = {which: parse(page) for which, page in pages.items()}
    assert "calc" in found["hostile"].text
    tags = {which: Counter(one.tag for one in page.all()) for which, page in found.items()}
    for tag in ("script", "style", "img", "iframe", "object", "form", "base", "embed", "svg", "b", "a"):
        assert tags["hostile"][tag] == tags["plain"][tag], tag
    for one in found["hostile"].all():
        assert not any(name.startswith("on") or name in ("src", "srcdoc") for name in one.attributes)
        assert one.attributes.get("href", "#").startswith("#") or one.attributes["href"] == "data:,"
