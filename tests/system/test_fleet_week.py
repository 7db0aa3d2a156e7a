"""A week of a fleet of 40 hosts with the real program: day after day it says what one run over all says.

Monday to Thursday one run is added to; Wednesday's processes are killed, and the command repeated. Friday and
Saturday are a second run, which has Thursday's captures too. Sunday's report is over both.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fleet_days import CORRECTED, DAYS, GROUPING, LATE, UNREADABLE, Captures
from fleet_program import Program, counted_rows
from prometheus_tools import node_exporter, panels, prometheus, promtool, refuted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

#: What a report says of the runs that it is over, and not of the fleet.
_OF_RUNS = {"directory", "runs", "batches", "batches_done"}
_OPTIONS = [*GROUPING, "-j", 2, "--batch-size", 2]
#: Captures that each of the first four days adds, the late and the corrected one included.
_ADDED = [40, 7, 7 + 1, 7 + 1]


class Week:
    """What was done each day, and what it left."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder)
        self.captures = Captures(self.program.captures)
        self.folder = folder
        self.first, self.second, self.once = (folder / name for name in ("first", "second", "once"))
        #: Of each call that added: what it said.
        self.added: list[str] = []
        self.stamps: dict[str, dict[str, int]] = {}
        self._first_days()
        self._second_run()
        manifests = [word for day in DAYS for word in ("--manifest", self.captures.manifest(day))]
        # Batches of a size of their own: the numbers do not depend on how the work is split.
        self.run(self.program.captures, *manifests, "-o", self.once, *GROUPING, "-j", 2)

    def _first_days(self) -> None:
        for number, day in enumerate(DAYS[:4]):
            self.captures.arrive(day)
            command = [
                self.program.captures, "--manifest", self.captures.manifest(day), "-o", self.first, "--add",
                *_OPTIONS,
            ]  # fmt: skip
            if number == 2:
                self.done_before_kill = self.program.killed("h38", self.first / "batches", "run", *command)
                self.stamps["killed"] = self._stamps()
                self.textfile_of_killed = self.report(self.first, form="prometheus")
                self.text_of_killed = self.report(self.first, form="text")
            self.added.append(self.run(*command))
            self.stamps[day] = self._stamps()
            if number == 2:
                self.repeated = self.run(*command)
                self.stamps["repeated"] = self._stamps()

    def _second_run(self) -> None:
        for day in DAYS[4:]:
            self.captures.arrive(day)
        days = DAYS[3:]
        manifests = [word for day in days for word in ("--manifest", self.captures.manifest(day))]
        self.run(*(self.program.captures / day for day in days), *manifests, "-o", self.second, *_OPTIONS)

    def _stamps(self) -> dict[str, int]:
        """When the record of each batch that is done was written, and each part that it names."""
        found = {}
        for record in self.first.glob("batches/batch-*.json"):
            parts = [part for table in json.loads(record.read_text())["parts"].values() for part in table]
            names = [str(record.relative_to(self.first)), *parts]
            found |= {name: (self.first / name).stat().st_mtime_ns for name in names}
        return found

    def run(self, *arguments: object) -> str:
        """What ``fleet run`` says on standard error."""
        status, out, err = self.program("run", *arguments)
        assert (status, out) == (0, ""), err
        return err

    def report(self, *arguments: object, form: str = "json") -> str:
        status, out, err = self.program("report", *arguments, "--format", form, "--exit-zero")
        assert (status, err) == (0, "")
        return out

    def at_once(self, calls: Iterable[Sequence[object]]) -> list[dict]:
        """Reports as JSON, of processes that work at the same time."""
        form = ("--format", "json", "--exit-zero")
        started = [self.program.start("report", *arguments, *form) for arguments in calls]
        return [json.loads(process.communicate()[0]) for process in started]

    def numbers(self, *arguments: object) -> dict:
        found = json.loads(self.report(*arguments))
        del found["captures"]["replaced"], found["captures"]["repeated"]
        return {name: value for name, value in found.items() if name not in _OF_RUNS}


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    return Week(tmp_path_factory.mktemp("week"))


@pytest.fixture(scope="module")
def both(week):
    """The report of Sunday as JSON, and as a textfile."""
    return json.loads(week.report(week.first, week.second)), week.report(
        week.first, week.second, form="prometheus"
    )


def test_each_day_adds_what_is_new(week):
    found = [re.search(r"(\d+) captures added", said) for said in week.added[1:]]
    # Wednesday's: what the killed run had listed is finished, and nothing more is new.
    assert [int(one[1]) if one else 0 for one in found] == [_ADDED[1], 0, _ADDED[3]]
    assert re.search(r": 40 captures: ", week.added[0])
    jobs = sorted(path.name for path in week.first.glob("job*.json"))
    assert jobs == ["job-000001.json", "job-000002.json", "job-000003.json", "job.json"]


def test_a_killed_run_loses_nothing_and_its_repetition_does_nothing_twice(week):
    assert 2 <= week.done_before_kill < 4
    # Batches that were done when it was killed, or on earlier days, stay as they were written.
    killed, wednesday, thursday = (week.stamps[name] for name in ("killed", DAYS[2], DAYS[3]))
    for earlier, later in [(week.stamps[DAYS[1]], killed), (killed, wednesday), (wednesday, thursday)]:
        assert earlier.items() <= later.items()
    assert len(killed) < len(wednesday)
    assert week.stamps["repeated"] == wednesday
    assert "0 captures added" in week.repeated
    assert not list(week.first.rglob("*.tmp"))


def test_nothing_counts_twice(week):
    for directory in (week.first, week.second, week.once):
        for rows in counted_rows([directory]).values():
            assert max(rows.values()) == 1


def test_the_tables_hold_the_rows_of_one_run(week):
    """But for the numbers of captures, and Thursday's, which both runs have."""
    days, once = counted_rows([week.first, week.second]), counted_rows([week.once])
    assert {table: set(rows) for table, rows in days.items()} == {
        table: set(rows) for table, rows in once.items()
    }
    repeated = Counter(json.loads(row)["path"] for row, count in days["captures"].items() if count == 2)
    assert len(repeated) == 7
    assert all(f"/{DAYS[3]}/" in path for path in repeated)


def test_the_report_says_the_numbers_of_one_run(week, both):
    report, textfile = both
    assert week.numbers(week.first, week.second) == week.numbers(week.once)
    assert textfile == week.report(week.once, form="prometheus")
    assert (report["captures"]["replaced"], report["captures"]["repeated"]) == (2, 7)


def test_what_the_week_was(week, both):
    """As it was put together."""
    report, _ = both
    assert (report["complete"], report["captures"]["listed"]) == (True, len(week.captures.became))
    tally = report["tally"]
    assert {name: tally[name] for name in week.captures.tally} == week.captures.tally
    # The two real recordings end at the kexec, without a trailer.
    assert report["captures"]["outcomes"] == {"ok": 69, "truncated": 2, "unsupported": 2}
    lost = Counter(host for (_, host), word in week.captures.became.items() if word in ("lost", "hidden"))
    assert {host["host"]: host["tally"]["lost"] for host in report["hosts_worst"]} == lost | {
        host: 0 for (_, host), word in week.captures.became.items() if word == "healed"
    }
    assert (lost[CORRECTED], lost[LATE]) == (2, 1)
    unreadable = {host for (_, host), word in week.captures.became.items() if word == "unreadable"}
    assert unreadable == UNREADABLE


def test_the_days_sum_to_the_week(week, both):
    whole, _ = both
    days = [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in DAYS]
    reports = week.at_once((week.first, week.second, "--since", day, "--until", day) for day in days)
    assert all(set(report["untimed"].values()) == {0} for report in reports)
    for numbers in (
        lambda one: {name: one[name] for name in ("kexecs", "losses", "doubts", "devices_stranded")},
        lambda one: {name: one["tally"][name] for name in ("lost", "healed", "kept", "undetermined")},
        lambda one: one["captures"]["outcomes"],
        lambda one: one["captures"]["verdicts"],
        lambda one: {cause["cause"]: cause["bridges"] for cause in one["causes"]},
        lambda one: {policy["policy"]: policy["devices"] for policy in one["policies"]},
    ):
        assert sum((Counter(numbers(report)) for report in reports), Counter()) == Counter(numbers(whole))
    assert [group for report in reports for group in report["trend"]] == whole["trend"]
    half = json.loads(week.report(week.first, week.second, "--until", days[2]))
    assert half["kexecs"] == sum(report["kexecs"] for report in reports[:3])


def test_text_and_page_say_it_too(week, tmp_path):
    page = tmp_path / "page.html"
    status, text, err = week.program("report", week.first, week.second, "--html", page)
    assert (status, err) == (1, "")
    lost, decided = week.captures.tally["lost"], sum(week.captures.tally.values()) - 3
    assert f"\nLOST: ARI Forwarding at {lost} of {decided} decided kexecs" in text
    assert f"{lost} of {decided}" in page.read_text()
    assert week.text_of_killed.startswith("NOT FINISHED: ")


@pytest.mark.parametrize("which", ["both", "killed"])
def test_promtool_accepts_both_textfiles(week, both, which):
    text = both[1] if which == "both" else week.textfile_of_killed
    assert promtool("check", "metrics", given=text) == (0, "")


def test_the_alerts_that_these_textfiles_set_off(week, both, tmp_path):
    """By promtool, with the numbers of these files: each bridge, each kind of input without an answer."""
    report, text = both
    bridges = sum(bridge["lost"] > 0 for bridge in report["bridges_worst"])
    at_once = {"AritraceBridgeLostAri": bridges}
    later = at_once | {"AritraceInputsWithoutAnswer": 2, "AritraceKexecsUndetermined": 1}
    assert refuted(text, 0, at_once, tmp_path) == ""
    assert refuted(text, 13, later, tmp_path) == ""
    killed = week.textfile_of_killed
    assert "aritrace_fleet_complete 0.0" in killed
    lost = len(re.findall(r"^aritrace_fleet_bridge_lost_kexecs\{.*\} [1-9]", killed, re.MULTILINE))
    assert 0 < lost < bridges
    fired = later | {"AritraceBridgeLostAri": lost, "AritraceRunNotFinished": 1}
    assert refuted(killed, 13, fired, tmp_path) == ""
    # The sense of this test: what does not fire is not accepted.
    assert refuted(text, 13, fired, tmp_path) != ""


@pytest.fixture(scope="module")
def server(both, tmp_path_factory):
    """Prometheus, of what node_exporter shows of Sunday's textfile."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "textfiles").mkdir()
    (folder / "textfiles" / "aritrace.prom").write_text(both[1])
    with node_exporter(folder / "textfiles") as exporter, prometheus(exporter, folder) as running:
        yield running


def test_every_panel_of_the_dashboard_shows_the_numbers(server, both):
    """Each query as Prometheus answers it."""
    report, _ = both
    tally, hosts = report["tally"], report["hosts"]
    bridges = report["bridges_worst"]
    shown = {title: [server.query(query) for query in queries] for title, queries in panels().items()}

    def values(title: str, *labels: str) -> list[dict]:
        return [
            {" ".join(sample[label] for label in labels): value for sample, value in found}
            for found in shown.pop(title)
        ]

    def rate(rate: dict, *names: str) -> list[dict]:
        return [{"": pytest.approx(rate[name])} for name in names]

    assert values("Hosts that lost ARI Forwarding") == rate(hosts["loss"], "rate")
    assert values("Kexecs that lost ARI Forwarding") == rate(tally["loss"], "rate")
    assert values("Loss per kexec, with its 95 % interval") == rate(tally["loss"], "rate", "low", "high")
    assert values("Run finished") == [{"": 1}]
    ((age,),) = (found.values() for found in values("Age of the report"))
    assert 0 <= age < 600
    states = {name: tally[name] for name in ("lost", "healed", "kept", "undetermined")}
    assert values("Kexecs by what became of ARI Forwarding", "ari") == [states | report["beside"]]
    lost = {bridge["host"]: bridge["lost"] for bridge in bridges if bridge["lost"]}
    assert values("Bridges that lost ARI Forwarding", "host") == [lost]
    assert values("Devices that each kernel policy would have stranded", "policy") == [
        {policy["policy"]: policy["devices"] for policy in report["policies"]}
    ]
    causes = {cause["cause"]: cause["rate"]["events"] for cause in report["causes"]}
    assert values("Decided kexecs by cause of the loss", "cause") == [causes]
    releases = {group["value"] or "": group["tally"]["lost"] for group in report["by_release"]}
    shown_releases = [
        {sample.get("release", ""): value for sample, value in found}
        for found in shown.pop("Lost kexecs by release of the incoming kernel")
    ]
    assert shown_releases == [releases]
    assert values("Inputs by outcome", "outcome") == [report["captures"]["outcomes"]]
    stranded = {bridge["host"]: bridge["devices_stranded"] for bridge in bridges}
    healed = {bridge["host"]: bridge["healed"] for bridge in bridges}
    assert values("Devices stranded below bridges", "host") == [stranded, healed]
    states_of_functions(report["registers"], values, shown)
    assert shown == {}


FUNCTION_VERDICTS = (
    "kept", "kept_at_reset", "lost", "changed", "healed", "cleared", "expected", "undetermined",
)  # fmt: skip


def states_of_functions(registers: dict, values: Callable, shown: dict) -> None:
    """The panels about other registers than ARI Forwarding."""
    preserved = {one["name"]: one["preserved"] for one in registers["states"]}
    lost = {name: counts["kexecs_lost"] for name, counts in preserved.items()}
    assert len(lost) > 10
    assert values("Kexecs at which preserved functions lost other registers", "state") == [lost]
    decided = {name: counts["loss"] for name, counts in preserved.items() if counts["loss"]["trials"]}
    assert values("Loss of other registers per kexec, with its 95 % interval", "state") == [
        {name: pytest.approx(loss[end]) for name, loss in decided.items()} for end in ("rate", "low", "high")
    ]
    for found, group in zip(
        shown.pop("Where other registers were lost"),
        ("by_vendor_device", "by_port_type", "by_release"),
        strict=True,
    ):
        every = [row["counts"]["kexecs_lost"] for one in registers["states"] for row in one[group]]
        most = sorted((count for count in every if count), reverse=True)[:20]
        assert sorted((value for _, value in found if value), reverse=True) == most
    functions, others = shown.pop("Registers of preserved functions by verdict")
    totals = {verdict: sum(counts[verdict] for counts in preserved.values()) for verdict in FUNCTION_VERDICTS}
    totals["kept"] -= totals["kept_at_reset"]  # that is a verdict of its own there
    assert {sample["verdict"]: value for sample, value in functions} == totals
    assert [value for _, value in others] == [registers["without"]]


def test_prometheus_loads_the_rules_and_alerts_on_each_bridge(server, both):
    """Those that wait for an hour are pending."""
    found = Counter((one["alertname"], one["state"]) for one in server.alerts())
    assert found == {
        ("AritraceBridgeLostAri", "firing"): sum(bridge["lost"] > 0 for bridge in both[0]["bridges_worst"]),
        ("AritraceInputsWithoutAnswer", "pending"): 2,
        ("AritraceKexecsUndetermined", "pending"): 1,
    }
