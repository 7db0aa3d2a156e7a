"""The page of a fleet as text: numbers, the captures that they count, queries, escapes, size."""

import itertools
import json
import re
import shutil
from dataclasses import replace

import duckdb
import fleet_results
import html_document
import pytest
import result_samples as samples
from fleet_results import FLEET, REGISTERS, page, write
from fleet_runs import Fleet

from analyzer import fleet
from analyzer.fleet.answers import Rate
from analyzer.fleet.drilldown import Shown, drill_down
from analyzer.fleet.reporting import rate
from analyzer.report.html import fleet_lists, fleet_queries
from analyzer.report.html.fleet_queries import CountedTables
from analyzer.report.html.rate_chart import Scale, bar

#: What a capture's maker may try: markup, an attribute's end, a script, a link, hidden signs.
HOSTILE = "</style><script>x()</script>\"' onload=x <a href='javascript:x()'> \u202etxt\u200b\x1b[31m'; DROP"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    made = tmp_path_factory.mktemp("fleet") / "out"
    write(made, FLEET, states=REGISTERS)
    return made


@pytest.fixture(scope="module")
def text(directory):
    return page(directory)


@pytest.fixture(scope="module")
def root(text):
    return html_document.parse(text)


def cells(row):
    return [cell.text for cell in row.all() if cell.tag in ("th", "td")]


def table(root, title):
    """The rows of a table by name."""
    (found,) = (one for one in root.all("table") if next(one.all("caption")).text == title)
    body = next(found.all("tbody"))
    return {cells(row)[0]: row for row in body.all("tr")}


def link_of_number(root, row, word):
    """The paths of the list that a number in a row leads to."""
    (link,) = (one for one in row.all("a") if word in one.text)
    (target,) = root.all("details", id=link.attributes["href"][1:])
    return [item.text for item in target.all("li")]


def test_the_page_is_well_formed_with_one_heading_and_no_level_skipped(root):
    (heading,) = root.all("h1")
    assert heading.inside("main") is not None
    levels = [int(one.tag[1]) for one in root.all() if re.fullmatch(r"h\d", one.tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_name_is_there_once_and_every_link_leads_to_one(root):
    elements = list(root.all())
    names = [one.attributes["id"] for one in elements if "id" in one.attributes]
    assert len(names) == len(set(names))
    targets = {one.attributes["href"] for one in root.all("a")}
    targets |= {f"#{e.attributes['aria-labelledby']}" for e in elements if "aria-labelledby" in e.attributes}
    assert targets - {f"#{name}" for name in names} == set()


@pytest.mark.parametrize(
    ("results", "heading"),
    [
        (FLEET, "✗ LOST: ARI Forwarding at 3 of 7 decided kexecs: 42.9 % (95 %: 9.9 to 81.6 %)"),
        (
            [("a", samples.clean(), 20_000)],
            "✓ clean: no ARI Forwarding lost at 1 decided kexec, 0.0 % (95 %: 0.0",
        ),
        ([("a", samples.undetermined(), None)], "? UNDETERMINED: no kexec here has a decided verdict"),
        ([(None, samples.unreadable(), None)], "? UNDETERMINED: no kexec here has a decided verdict"),
    ],
    ids=["lost", "clean", "undetermined", "nothing read"],
)
def test_the_verdict_in_one_line(tmp_path, results, heading):
    write(tmp_path / "out", results)
    (found,) = html_document.parse(page(tmp_path / "out")).all("h1")
    assert found.text.startswith(heading)


def test_no_rate_is_without_its_interval_and_no_interval_without_what_it_is_of(root):
    rated = list(root.all("td", cls="rate"))
    assert len(rated) > 20
    for one in rated:
        assert re.fullmatch(
            r"<?[\d.]+ % <?[\d.]+ to <?[\d.]+ %|no decided kexec|nothing is known", one.text
        ), one.text
    for what in ("Lost, per kexec", "Lost by the hardware, healed or not", "Hosts with a loss"):
        (term,) = (one for one in root.all("dt") if one.text == what)
        siblings = [one for one in term.parent.children if not isinstance(one, str)]
        answer = siblings[siblings.index(term) + 1].text
        assert re.search(r"\d of \d+ = [\d.]+ % \(95 %: [\d.]+ to [\d.]+ %\)", answer)


@pytest.mark.parametrize(
    ("results", "hosts", "kexecs"),
    [
        ([(None, samples.clean(), 20_000)], "? no host with a decided kexec is named", "✓ 0 of 1 = 0.0 %"),
        ([("a", samples.undetermined(), 20_000)], "? no host with a decided kexec", "? no decided kexec"),
        ([("a", samples.clean(), 20_000)], "✓ 0 of 1 = 0.0 % (95 %: 0.0 to 97.5 %)", "✓ 0 of 1 = 0.0 %"),
    ],
    ids=["no host", "undetermined", "clean"],
)
def test_what_is_not_known_is_never_good(tmp_path, results, hosts, kexecs):
    write(tmp_path / "out", results)
    (found,) = html_document.parse(page(tmp_path / "out")).all("section", cls="found")
    answers = dict(zip((t.text for t in found.all("dt")), (a.text for a in found.all("dd")), strict=True))
    assert answers["Hosts with a loss"].startswith(hosts)
    assert answers["Lost, per kexec"].startswith(kexecs)


def test_what_limits_the_answer_is_said(root):
    (limits,) = root.all("section", **{"aria-labelledby": "limits"})
    for words in (
        "1 undetermined kexec:",
        "1 input without an answer",
        "1 plain kexec:",
        "1 decided kexec without a known host",
        "2 kexecs of unknown time",
    ):
        assert words in limits.text


def test_an_unfinished_run_says_so(tmp_path):
    write(tmp_path / "out", FLEET)
    next((tmp_path / "out" / "batches").glob("batch-000001-*")).unlink()
    root = html_document.parse(page(tmp_path / "out"))
    assert next(root.all("h1")).text.endswith("(unfinished run)")
    assert "Not finished: 2 of 3 batches are done" in next(root.all("p", cls="warn")).text


def test_the_policies_side_by_side(root):
    found = {
        name: cells(row)[2:6]
        for name, row in table(root, "What each kernel policy would have stranded").items()
    }
    assert found == {
        "stock": ["✓ 0", "0", "0", "7"],
        "inherit": ["✗ 15", "0", "✗ 4 kexecs, list of captures", "7"],
        "serialize": ["✓ 0", "0", "0", "7"],
        "heal": ["✓ 0", "0", "0", "7"],
    }
    plain = table(root, "The same, had the plain kexecs been live updates")
    assert link_of_number(root, plain["inherit"], "kexecs") == ["008.bin kexec 0"]


@pytest.mark.parametrize(
    ("title", "row", "word", "paths"),
    [
        ("Kernel releases", "7.3.4", "lost", ["000.bin kexec 0", "001.bin kexec 0", "004.bin kexec 0"]),
        ("Kernel releases", "7.3.4", "kept", ["002.bin kexec 0", "003.bin kexec 0", "006.bin kexec 0"]),
        ("Series of the Live Update patches", "v7", "healed", ["005.bin kexec 0"]),
        ("Port types", "switch-upstream", "lost", ["004.bin kexec 0, 0000:01:00.0"]),
        ("Bridges", "1b36:000c", "undetermined", ["007.bin kexec 0, 0000:02:00.0"]),
        ("Causes", "secondary-bus-reset", "bridges", ["004.bin kexec 0, 0000:01:00.0"]),
        ("Worst hosts", "a", "lost", ["000.bin kexec 0", "001.bin kexec 0"]),
        ("As a table", "2024-10-13", "lost", ["004.bin kexec 0"]),
        ("As a table", "unknown", "healed", ["005.bin kexec 0"]),
        ("What became of the kexecs", "plain", "plain", ["008.bin kexec 0"]),
        ("Inputs", "unsupported", "unsupported", ["009.bin"]),
    ],
)
def test_numbers_lead_to_the_captures_that_they_count(root, title, row, word, paths):
    assert link_of_number(root, table(root, title)[row], word) == paths


def test_every_list_is_as_long_as_its_number(root):
    links = [one for one in root.all("a") if "list of captures" in one.text]
    assert len(links) > 40
    for link in links:
        (target,) = root.all("details", id=link.attributes["href"][1:])
        assert len(list(target.all("li"))) == int(link.text.split()[0])


def test_long_lists_are_cut_and_name_the_condition_that_gives_all(tmp_path):
    write(tmp_path / "out", [("a", samples.clean(), 20_000) for _ in range(60)], 60)
    root = html_document.parse(page(tmp_path / "out"))
    (link,) = (one for one in table(root, "Kernel releases")["7.3.4"].all("a"))
    (target,) = root.all("details", id=link.attributes["href"][1:])
    assert len(list(target.all("li"))) == 50
    assert "and 10 more; all of them: WHERE incoming_release = '7.3.4' AND state = 'kept'" in target.text


@pytest.mark.parametrize("trend_by", ["day", "week"])
def test_the_queries_give_what_the_lists_name(directory, trend_by):
    report = fleet.report(str(directory), trend_by=trend_by)
    found = drill_down(Shown(report, 60, 60, 60, 60)).sources
    assert len({cell.dimension for cell in found}) == 13
    for cell, sources in found.items():
        where = fleet_queries.condition(cell)
        rows = duckdb.sql(
            fleet_queries.query(cell.dimension, where, CountedTables([(str(directory), False)]), trend_by)
        )
        paths = [row[rows.columns.index("path")] for row in rows.fetchall()]
        assert paths == [source.path for source in sources], cell


def test_which_registers_survived(root):
    """Numbers of kexecs: lost, not captured, cleared, kept, nothing to lose; then functions."""
    rows = {name.split()[0]: cells(row) for name, row in table(root, "Which registers survived").items()}
    assert {name: row[2:] for name, row in rows.items()} == {
        "BAR": ["12.5 % 0.32 to 52.7 %", "✗ 1 lost, list of captures", "0", "0", "7", "0", "8 of 44"],
        "ACS": ["0.0 % 0.0 to 41.0 %", "0", "? 1 not captured, list of captures", "0", "7", "0", "0 of 15"],
        "MPS": ["nothing is known", "0", "0", "0", "0", "1", "0 of 0"],
        "SR-IOV": [
            "0.0 % 0.0 to 97.5 %", "0", "0", "1 cleared by the incoming kernel, list of captures", "0", "0",
            "0 of 1",
        ],
    }  # fmt: skip
    (answer,) = root.all("p", cls="answer")
    assert answer.text == (
        "✗ Can hardware registers be trusted across a kexec? Not all: preserved functions lost some at 1 of 8"
        " kexecs: BAR at 1."
    )


def test_the_bars_are_shares_of_all_kexecs(root):
    drawn = {}
    for name, row in table(root, "Which registers survived").items():
        parts = (one for one in row.all("rect") if one.attributes["class"].startswith("share "))
        drawn[name.split()[0]] = [
            (one.attributes["class"], one.attributes["x"], one.attributes["width"]) for one in parts
        ]
    assert drawn == {
        "BAR": [("share bad", "0.0%", "12.5%"), ("share good", "12.5%", "87.5%")],
        "ACS": [("share unknown", "0.0%", "12.5%"), ("share good", "12.5%", "87.5%")],
        "MPS": [("share none", "0.0%", "12.5%")],
        "SR-IOV": [("share warn", "0.0%", "12.5%")],
    }


def test_a_lost_register_leads_to_its_captures(root):
    (row,) = (r for name, r in table(root, "Which registers survived").items() if name.startswith("BAR"))
    assert link_of_number(root, row, "lost") == ["000.bin kexec 0"]


def test_where_registers_were_lost(root):
    of_device = table(root, "By vendor:device of the function")
    assert {name: cells(row)[2:] for name, row in of_device.items()} == {
        "8086:1572": ["BAR", "✗ 1", "8", "0", "8 of 43"]
    }


def test_a_page_without_counts_of_registers_says_why(tmp_path):
    made = tmp_path / "out"
    write(made, FLEET, states=REGISTERS)
    shutil.rmtree(made / "state")
    for path in (made / "batches").iterdir():
        record = json.loads(path.read_text())
        record["parts"].pop("state", None)
        path.write_text(json.dumps(record))
    root = html_document.parse(page(made))
    (answer,) = root.all("p", cls="answer")
    assert answer.text.startswith("? Can hardware registers be trusted across a kexec? Not known: ")
    (section,) = (one for one in root.all("section") if one.attributes["aria-labelledby"] == "registers")
    assert "9 kexecs in no number here" in section.text
    assert list(section.all("table")) == []


def test_hosts_over_time(root):
    (grid,) = root.all("table", cls="grid")
    heads, *rows = (cells(row) for row in grid.all("tr"))
    assert heads == ["Host", "2024 10-04", "2024 10-05", "2024 10-13", "unknown"]
    assert rows == [
        ["a", "✗ 2 2 lost", "✓ 1 kept", "", ""],
        ["b", "", "✓ 1 kept", "✗ 1 lost", ""],
        ["c", "", "? 1 undetermined", "", "! 1 healed"],
    ]


def test_the_trend_has_a_point_for_each_period_and_unknown_time_stands_apart(root):
    plot, apart = (one for one in root.all("svg", cls="plot"))
    assert len(list(plot.all("circle"))) == 3
    assert len(list(plot.all("line", cls="gap"))) == 1  # 5 to 13 October
    assert [one.text for one in apart.all("text")] == ["unknown"]
    assert "unknown time: 0 of 2 lost, 0.0 % (95 %: 0.0 to 84.2 %)" in apart.text


@pytest.mark.parametrize(
    ("rates", "whole", "top"),
    [
        ([], Rate(0, 0, None, None, None), 1.0),
        ([rate(1, 1000)], rate(1, 1000), 0.006),
        ([rate(3, 100)], rate(3, 1000), 0.04),
        ([rate(1, 1)], rate(3, 100), 1.0),
        ([rate(0, 5000)], rate(0, 5000), 0.0008),
    ],
)
def test_an_axis_fits_the_rates_and_the_fleet_s_interval(rates, whole, top):
    assert Scale.of(rates, whole).top == pytest.approx(top)


def test_an_interval_beyond_the_axis_is_marked():
    found = bar(rate(1, 10), Scale(0.2), rate(1, 20))
    assert (found.at, found.high, found.beyond, found.whole) == (50.0, 100.0, True, 25.0)
    assert bar(rate(0, 0), Scale(0.2), None) is None


def hostile():
    lost = samples.lost(warnings=[HOSTILE])
    lost.boots = [replace(boot, release=HOSTILE) for boot in lost.boots]
    lost.kexecs[0].series = HOSTILE
    lost.kexecs[0].bridges = [
        replace(one, vendor_device=HOSTILE, port_type=HOSTILE, cause=HOSTILE if one.cause else None)
        for one in lost.kexecs[0].bridges
    ]
    return lost


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    made = tmp_path_factory.mktemp("hostile") / "o'ut <b>"
    write(made, [(HOSTILE, hostile(), 20_000)], names=[HOSTILE.replace("/", "")])
    return page(made)


def test_hostile_strings_are_text(hostile_page):
    root = html_document.parse(hostile_page)
    for one in root.all():
        assert one.tag not in {"img", "iframe", "object", "form", "base", "b" if one.attributes else "embed"}
        assert not any(name.startswith("on") or name in ("style", "src") for name in one.attributes)
        if one.tag == "a":
            assert re.fullmatch(r"#[a-z0-9-]+", one.attributes["href"])
    assert len(list(root.all("script"))) == len(list(root.all("style"))) == 1
    assert not re.search("[\u202e\u200b\x1b]", hostile_page)
    shown = "\\u202etxt\\u200b\\x1b[31m"
    assert HOSTILE.partition(" \u202e")[0] in root.text
    assert root.text.count(shown) > 8


def test_a_condition_quotes_what_it_shows_and_leaves_out_what_it_cannot(directory):
    cell = fleet_lists.Cell("release", ("it's",), "lost")
    assert fleet_queries.condition(cell) == "incoming_release = 'it''s' AND state = 'lost'"
    assert fleet_queries.condition(fleet_lists.Cell("release", (HOSTILE,), "lost")) is None
    assert (
        fleet_queries.condition(fleet_lists.Cell("host", (None,), "lost"))
        == "host IS NULL AND state = 'lost'"
    )
    quoted = fleet_queries.query(
        "release", fleet_queries.condition(cell), CountedTables([(str(directory), False)]), "day"
    )
    assert duckdb.sql(quoted).fetchall() == []


def test_paths_are_ready_for_a_shell(tmp_path):
    write(tmp_path / "out", [("a", samples.lost(), 20_000)], names=["my capture's $(x).bin"])
    root = html_document.parse(page(tmp_path / "out"))
    assert link_of_number(root, table(root, "Worst hosts")["a"], "lost") == [
        "'my capture'\"'\"'s $(x).bin' kexec 0"
    ]


def test_the_same_results_give_the_same_bytes(directory, text):
    assert page(directory) == text


def test_a_page_of_5000_hosts_with_long_names_is_below_5_mb(tmp_path):
    # Each kind has its own releases and days; those of plain kexecs are in no rate.
    kinds = [samples.lost, samples.clean, samples.hidden, fleet_results.plain, samples.undetermined]
    results, names = [], []
    for number in range(5000):
        capture = kinds[number % 5]()
        release = f"7.{number % 300}.0-{'<&>' * 200}"
        capture.boots = [replace(boot, release=release) for boot in capture.boots]
        results.append((f"host{number:05d}.{'<exa>' * 30}", capture, 20_000 + number % 900))
        names.append("/deep\u202e<&" * 150 + f"/{number:05d}.bin")
    write(tmp_path / "out", results, 1000, names)
    text = page(tmp_path / "out")
    assert 1_000_000 < len(text.encode()) < 5_000_000
    root = html_document.parse(text)
    assert "1,800 more rows not shown here" in root.text
    assert "180 more rows not shown here" in root.text
    assert "350 earlier ones not drawn" in root.text


def test_the_program_writes_the_page_beside_its_report(tmp_path, directory):
    target = tmp_path / "fleet.html"
    program = Fleet(tmp_path)
    status, out, err = program("report", directory, "--html", target)
    assert (status, err) == (1, "")
    assert out.startswith("LOST: ARI Forwarding at 3 of 7")
    assert target.read_text("utf-8") == page(directory)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("-", "expected the name of a file"),
        ("job.json", "overwrite a file of the run"),
        ("x.txt", "overwrite"),
    ],
)
def test_a_page_needs_a_file_of_its_own(tmp_path, directory, target, words):
    path = {"job.json": directory / "job.json", "x.txt": tmp_path / "x.txt"}.get(target, target)
    before = (directory / "job.json").read_bytes()
    (tmp_path / "x.txt").touch()
    status, out, err = Fleet(tmp_path)("report", directory, "--html", path, "-o", tmp_path / "x.txt")
    assert (status, out) == (2, "")
    assert words in err
    assert (directory / "job.json").read_bytes() == before
