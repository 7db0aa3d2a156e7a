"""The alerts and the dashboard of docs/examples: they ask for metrics that the program writes, and fire."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml
from fleet_runs import CLEAN, LOST, Fleet

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
RULES = EXAMPLES / "aritrace.rules.yml"
DASHBOARD = json.loads((EXAMPLES / "aritrace-dashboard.json").read_text("utf-8"))
#: Of node_exporter: when the textfile was written.
MTIME = "node_textfile_mtime_seconds"


@pytest.fixture(scope="module")
def textfiles(tmp_path_factory):
    """What the program writes for a fleet without a fault, and for one with a loss and an empty file."""
    written = {}
    for name in ("clean", "lost"):
        fleet = Fleet(tmp_path_factory.mktemp(name))
        fleet.add("clean.bin", CLEAN)
        if name == "lost":
            fleet.add("lost.bin", LOST)
            fleet.add("empty.bin", b"")
        fleet.run()
        status, written[name], _ = fleet("report", fleet.out, "--format", "prometheus", "--exit-zero")
        assert status == 0
    return written


def alerts() -> dict[str, str]:
    """Expression of each alert."""
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def queries() -> list[str]:
    """Every query of the dashboard, of panels and of variables, as PromQL."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    listed = [one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
    return asked + [re.fullmatch(r"label_values\((\w+), \w+\)", one)[1] for one in listed]


def metrics(text: str) -> set[str]:
    return set(re.findall(r"\b(?:aritrace|node)_\w+", text))


def test_every_metric_that_is_asked_for_is_written(textfiles):
    written = metrics(textfiles["lost"])
    assert metrics(" ".join(alerts().values())) - written == {MTIME}
    assert metrics(" ".join(queries())) - written == {MTIME}


def test_the_dashboard_shows_every_metric(textfiles):
    assert metrics(textfiles["lost"]) <= metrics(" ".join(queries()))


def test_panels_do_not_overlap():
    """Of 24 columns, and each with a number of its own."""
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


def promtool(*arguments: object, given: str | None = None) -> tuple[int, str]:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=given, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.system
def test_promtool_accepts_the_rules():
    status, said = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert (status, "7 rules found" in said) == (0, True), said


@pytest.mark.system
def test_promtool_accepts_every_query_of_the_dashboard(tmp_path):
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    status, said = promtool("check", "rules", path)
    assert (status, f"{len(rules)} rules found" in said) == (0, True), said
    path.write_text(path.read_text().replace("sum by (ari)", "sum by ari"))
    assert promtool("check", "rules", path)[0] != 0


@pytest.mark.system
@pytest.mark.parametrize("name", ["clean", "lost"])
def test_promtool_accepts_the_textfile(textfiles, name):
    assert promtool("check", "metrics", given=textfiles[name]) == (0, "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("name", "change", "hours", "firing"),
    [
        ("clean", None, 13, {}),
        ("clean", None, 37, {"AritraceReportStale": 1}),
        ("lost", None, 0, {"AritraceBridgeLostAri": 1}),
        ("lost", None, 2, {"AritraceBridgeLostAri": 1, "AritraceInputsWithoutAnswer": 1}),
        ("clean", ("complete 1.0", "complete 0.0"), 11, {}),
        ("clean", ("complete 1.0", "complete 0.0"), 13, {"AritraceRunNotFinished": 1}),
        (
            "clean",
            ('kexecs{ari="undetermined"} 0.0', 'kexecs{ari="undetermined"} 2.0'),
            2,
            {"AritraceKexecsUndetermined": 1},
        ),
        (
            "clean",
            (
                'preserved="yes",state="BAR",verdict="lost"} 0.0',
                'preserved="yes",state="BAR",verdict="lost"} 3.0',
            ),
            0,
            {"AritraceRegistersLost": 1},
        ),
        (None, None, 0, {}),
        (None, None, 2, {"AritraceReportMissing": 1}),
    ],
    ids=[
        "clean",
        "old",
        "lost",
        "lost later",
        "going on",
        "not finished",
        "undetermined",
        "registers",
        "new",
        "missing",
    ],
)
def test_the_alerts_that_fire(textfiles, name, change, hours, firing, tmp_path):
    """Prometheus' own evaluation, on what the program wrote (at time 0) or that with one value changed."""
    text = "" if name is None else textfiles[name]
    if change is not None:
        assert change[0] in text
        text = text.replace(*change)
    samples = [line.rpartition(" ") for line in text.splitlines() if line[0] != "#"]
    series = [{"series": one, "values": f"{value}x2400"} for one, _, value in samples]
    if name is not None:
        series.append({"series": f'{MTIME}{{file="/srv/textfile/aritrace.prom"}}', "values": "0x2400"})
    count = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{hours}h",
        "exp_samples": [{"labels": f'{{alertname="{one}"}}', "value": n} for one, n in firing.items()],
    }
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [count]}
    path = tmp_path / "test.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    status, said = promtool("test", "rules", path)
    assert status == 0, said


@pytest.mark.system
def test_node_exporter_hands_the_textfile_on(textfiles, tmp_path):
    (tmp_path / "aritrace.prom").write_text(textfiles["lost"])
    process = subprocess.Popen(
        [
            "prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={tmp_path}", "--web.listen-address=127.0.0.1:0",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        address = next(found[1] for line in process.stderr if (found := re.search(r"address=(127\S+)", line)))
        with urlopen(f"http://{address}/metrics") as answer:
            handed_on = answer.read().decode()
    finally:
        process.terminate()
        process.communicate()
    # Where no register was lost a metric has no sample, and nothing to hand on.
    with_samples = [line for line in textfiles["lost"].splitlines() if not line.startswith("#")]
    assert len(metrics("\n".join(with_samples))) > 10
    assert metrics("\n".join(with_samples)) <= metrics(handed_on)
    assert "node_textfile_scrape_error 0" in handed_on
    (file,) = re.findall(rf'^{MTIME}{{file="([^"]+)"}}', handed_on, re.MULTILINE)
    (pattern,) = re.findall(r'file=~"([^"]+)"', alerts()["AritraceReportStale"])
    assert re.fullmatch(pattern, file)
