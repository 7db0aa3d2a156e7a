"""The alerts and the dashboard of docs/examples: they ask for metrics that the program writes, and fire."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from fleet_runs import CLEAN, LOST, Fleet
from prometheus_tools import DASHBOARD, MTIME, RULES, alerts, node_exporter, panels, promtool, refuted

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def queries() -> list[str]:
    """Every query of the dashboard, of panels and of variables, as PromQL."""
    asked = [query for queries_of_one in panels().values() for query in queries_of_one]
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


def unknown_to_grafana(dashboard: dict) -> list[str]:
    """What of a dashboard Grafana's own types for it and its panels leave out or change: its places."""
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))
    return list(_left_out(dashboard, known, ""))


def _left_out(given: object, known: object, place: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name in known:
                yield from _left_out(value, known[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}"
    elif isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        for at, pair in enumerate(zip(given, known, strict=True)):
            yield from _left_out(*pair, f"{place}[{at}]")
    elif given != known:
        yield place


def test_grafana_knows_everything_in_the_dashboard():
    assert unknown_to_grafana(DASHBOARD) == []
    changed = copy.deepcopy(DASHBOARD)
    changed["refersh"] = "5m"
    changed["panels"][0]["options"]["colourMode"] = "value"
    changed["panels"][4]["targets"][0]["legendFromat"] = "lost"
    assert sorted(unknown_to_grafana(changed)) == [
        ".panels[0].options.colourMode", ".panels[4].targets[0].legendFromat", ".refersh"
    ]  # fmt: skip


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
    assert refuted(text if name is not None else None, hours, firing, tmp_path) == ""


@pytest.mark.system
def test_node_exporter_hands_the_textfile_on(textfiles, tmp_path):
    (tmp_path / "aritrace.prom").write_text(textfiles["lost"])
    with node_exporter(tmp_path) as address, urlopen(f"http://{address}/metrics") as answer:
        handed_on = answer.read().decode()
    # Where no register was lost a metric has no sample, and nothing to hand on.
    with_samples = [line for line in textfiles["lost"].splitlines() if not line.startswith("#")]
    assert len(metrics("\n".join(with_samples))) > 10
    assert metrics("\n".join(with_samples)) <= metrics(handed_on)
    assert "node_textfile_scrape_error 0" in handed_on
    (file,) = re.findall(rf'^{MTIME}{{file="([^"]+)"}}', handed_on, re.MULTILINE)
    (pattern,) = re.findall(r'file=~"([^"]+)"', alerts()["AritraceReportStale"])
    assert re.fullmatch(pattern, file)
