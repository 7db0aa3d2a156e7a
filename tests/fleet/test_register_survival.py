"""Which registers survived how many kexecs: numbers by hand, and against the JSON of each capture."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest
import result_samples as samples
from fleet_results import registers, write
from fleet_runs import TRACES
from prometheus_client.parser import text_string_to_metric_families

from analyzer import fleet
from analyzer.analysis import analyze
from analyzer.fleet.answers import Rate
from analyzer.report import fleet_report, json_report
from analyzer.report.page import new_page, plain
from analyzer.report.survival_wording import answer, limits, not_handed_over

MANUAL = Path(__file__).parents[2] / "docs" / "fleet.md"
PORT = ("1b36:000c", "root-port", True)
DEVICE = ("8086:1572", "endpoint", True)
OTHER = ("8086:1572", "endpoint", False)
#: One kexec each. A reset of a port took the addresses of 8 functions: that is one kexec.
KEXECS = [
    registers(
        (("ACS", *PORT), {"kept": 2}),
        (("BAR", *PORT), {"kept": 1}),
        (("BAR", *DEVICE), {"lost": 6, "healed": 2, "undetermined": 1}),
        (("MPS", *DEVICE), {"kept": 8, "kept_at_reset": 8}),
    ),
    registers(
        (("ACS", *PORT), {"kept": 1, "undetermined": 1}),
        (("BAR", *DEVICE), {"kept": 8, "kept_at_reset": 3}),
        (("SR-IOV", *DEVICE), {"cleared": 1, "kept": 1}),
    ),
    registers(
        (("ACS", *PORT), {"kept": 2, "kept_at_reset": 2}),
        (("BAR", *DEVICE), {"kept": 8, "kept_at_reset": 7}),
        (("Bus Master", *DEVICE), {"expected": 8}),
    ),
    registers((("BAR", *OTHER), {"changed": 3, "kept": 5})),  # a plain kexec
    registers(),
]
DAYS = [20_000, 20_000, 20_001, 20_001, 20_001]


def results():
    made = (samples.lost, samples.clean, samples.clean, samples.clean, samples.clean)
    return [("a", sample(), day) for sample, day in zip(made, DAYS, strict=True)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    out = tmp_path_factory.mktemp("survival") / "out"
    write(out, results(), states=[[one] for one in KEXECS], batch_size=2)
    return out


def counted(state, scope="preserved"):
    """Kexecs by their word: lost, undetermined, cleared, kept, nothing."""
    counts = getattr(state, scope)
    words = ("lost", "undetermined", "cleared", "kept", "nothing")
    return tuple(getattr(counts, f"kexecs_{word}") for word in words)


def test_kexecs_by_their_word(directory):
    found = fleet.report(str(directory)).registers
    assert {one.name: counted(one) for one in found.states} == {
        "BAR": (1, 0, 0, 2, 0),
        "ACS": (0, 1, 0, 1, 1),
        "Bus Master": (0, 0, 0, 0, 1),
        "MPS": (0, 0, 0, 0, 1),
        "SR-IOV": (0, 0, 1, 0, 0),
    }
    assert [one.name for one in found.states] == ["BAR", "ACS", "Bus Master", "MPS", "SR-IOV"]
    assert (found.kexecs, found.lost, found.undetermined, found.cleared, found.kept, found.nothing) == (
        3, 1, 1, 0, 1, 0
    )  # fmt: skip
    assert (found.others, found.without) == (1, 0)


def test_functions_and_the_rate_of_kexecs(directory):
    bar = fleet.report(str(directory)).registers.states[0]
    assert (bar.code, bar.preserved.lost, bar.preserved.healed, bar.preserved.kept) == ("STATE009", 6, 2, 17)
    assert (bar.preserved.kept_at_reset, bar.preserved.undetermined) == (10, 1)
    # 8 functions lost it at once: 1 of 3 kexecs. The bounds are roots of p^3 and (1-p)^3, as published.
    loss = bar.preserved.loss
    assert (loss.events, loss.trials) == (1, 3)
    assert (loss.low, loss.high) == (pytest.approx(0.0084, abs=5e-5), pytest.approx(0.9057, abs=5e-5))
    assert counted(bar, "others") == (1, 0, 0, 0, 0)
    assert bar.others.loss.rate == 1.0


def test_where_it_was_lost(directory):
    bar = fleet.report(str(directory)).registers.states[0]
    assert {one.value: one.counts.loss.events for one in bar.by_port_type} == {"endpoint": 1, "root-port": 0}
    assert {one.value: one.counts.loss.trials for one in bar.by_port_type} == {"endpoint": 3, "root-port": 1}
    assert [one.value for one in bar.by_vendor_device] == ["8086:1572", "1b36:000c"]
    assert {one.value: one.counts.loss.trials for one in bar.by_release} == {"7.3.4": 3}


def test_batches_do_not_change_it(directory, tmp_path):
    for size in (1, 5):
        write(tmp_path / f"{size}", results(), states=[[one] for one in KEXECS], batch_size=size)
        assert fleet.report(str(tmp_path / f"{size}")).registers == fleet.report(str(directory)).registers


def test_pieces_do_not_change_it(directory, monkeypatch):
    whole = fleet.report(str(directory)).registers
    monkeypatch.setattr("analyzer.fleet.result_tables._PIECE", 1)
    assert fleet.report(str(directory)).registers == whole


def test_a_period(directory):
    first_day = dt.date(1970, 1, 1) + dt.timedelta(days=20_000)
    found = fleet.report(str(directory), until=first_day).registers
    assert (found.kexecs, found.others) == (2, 0)
    assert {one.name: counted(one) for one in found.states}["BAR"] == (1, 0, 0, 1, 0)
    rest = fleet.report(str(directory), since=first_day + dt.timedelta(days=1)).registers
    assert (rest.kexecs, rest.others) == (1, 1)


def test_the_same_capture_in_two_runs_counts_once(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "again")
    both = fleet.report([str(directory), str(tmp_path / "again")])
    assert both.captures.repeated == 5
    assert both.registers == fleet.report(str(directory)).registers


def test_another_run_adds_to_it(directory, tmp_path):
    names = [f"other-{number}.bin" for number in range(5)]
    write(tmp_path / "more", results(), states=[[one] for one in KEXECS], names=names)
    found = fleet.report([str(directory), str(tmp_path / "more")]).registers
    assert {one.name: counted(one) for one in found.states}["BAR"] == (2, 0, 0, 4, 0)


def without_the_table(directory: Path) -> None:
    """What a version before the table ``state`` left."""
    shutil.rmtree(directory / "state")
    for path in (directory / "batches").iterdir():
        record = json.loads(path.read_text())
        record["parts"].pop("state", None)
        path.write_text(json.dumps(record))


def test_a_run_of_before_says_what_it_lacks(directory, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(directory, old)
    without_the_table(old)
    report = fleet.report(str(old))
    found = report.registers
    assert (found.kexecs, found.kept, found.others, found.without, found.states) == (0, 0, 0, 4, [])
    assert answer(found).sign == "unknown"
    assert [text for text in limits(report) if text.startswith("4 kexecs in no number here")] != []
    assert report.tally == fleet.report(str(directory)).tally


def test_a_run_of_before_beside_a_new_one(directory, tmp_path):
    names = [f"other-{number}.bin" for number in range(5)]
    old = tmp_path / "old"
    write(old, results(), states=[[one] for one in KEXECS], names=names)
    without_the_table(old)
    found = fleet.report([str(directory), str(old)]).registers
    alone = fleet.report(str(directory)).registers
    assert (found.without, found.states) == (4, alone.states)


def test_the_answer_in_words(directory):
    found = fleet.report(str(directory)).registers
    assert answer(found) == ("bad", "Not all: preserved functions lost some at 1 of 3 kexecs: BAR at 1.")
    assert not_handed_over(found) == (
        "Functions that were not handed over, which the incoming kernel sets up anew, lost: BAR at 1"
        " of 1 (kexecs)."
    )


def test_no_loss_is_never_a_yes(tmp_path):
    """It is said how often a loss could have been seen."""
    write(tmp_path / "out", results()[1:3], states=[[one] for one in KEXECS[1:3]])
    report = fleet.report(str(tmp_path / "out"))
    assert answer(report.registers) == (
        "good",
        (
            "No loss was seen at 2 kexecs. Each register that had a value to lose had one at 1 to 2 of them."
            " At 1 some are not captured."
        ),
    )
    assert list(limits(report)) == [
        "Nothing is known of: ACS, Bus Master (no value to lose, or not captured)."
    ]


def test_where_nothing_had_a_value_to_lose_nothing_is_known(tmp_path):
    idle = registers((("MPS", *DEVICE), {"kept": 8, "kept_at_reset": 8}))
    write(tmp_path / "out", results()[:1], states=[[idle]])
    found = fleet.report(str(tmp_path / "out")).registers
    assert answer(found) == ("unknown", "Not known: no register is decided at any of 1 kexec.")
    assert found.states[0].preserved.loss == Rate(0, 0, None, None, None)


TEXT = """\
Which registers survived  Can hardware registers be trusted across a kexec?
  Not all: preserved functions lost some at 1 of 3 kexecs: BAR at 1.
  Nothing is known of: Bus Master, MPS (no value to lose, or not captured).
  3 stranded devices not compared: only functions that both kernels enumerated are.
              kexecs lost    rate   95 % interval  cleared  not captured  nothing to lose  functions lost
  BAR              1 of 3  33.3 %  0.84 to 90.6 %        0             0                0         8 of 15
  ACS              0 of 1   0.0 %   0.0 to 97.5 %        0             1                1          0 of 3
  Bus Master       0 of 0       -               -        0             0                1          0 of 0
  MPS              0 of 0       -               -        0             0                1          0 of 0
  SR-IOV           0 of 1   0.0 %   0.0 to 97.5 %        1             0                0          0 of 2
"""
GROUPS = """\
Registers lost, by vendor:device of the function  preserved functions
                  kexecs lost    rate   95 % interval  not captured
  8086:1572  BAR       1 of 3  33.3 %  0.84 to 90.6 %             0
"""


def test_the_text(directory):
    page = new_page(None)
    fleet_report.fill(page, fleet.report(str(directory)))
    text = "".join(f"{line.rstrip()}\n" for line in plain(page).splitlines())
    assert TEXT in text
    assert GROUPS in text
    assert "  other registers lost at 1 of 3 kexecs: see 'Which registers survived'\n" in text
    everything = new_page(None)
    fleet_report.fill(everything, fleet.report(str(directory)), everything=True)
    assert "1b36:000c  BAR" in plain(everything)
    assert "1b36:000c  BAR" not in text


# -- against the JSON output of each capture ----------------------------------------------------------------


def json_of(paths):
    return json.loads(json_report.json_text(analyze(paths)))["captures"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    paths = [str(path) for path in sorted(TRACES.glob("*.bin"))]
    out = tmp_path_factory.mktemp("corpus") / "out"
    fleet.run(paths, str(out), jobs=1)
    return json_of(paths), fleet.report(str(out)).registers


@pytest.mark.slow
def test_functions_are_those_of_the_captures(corpus):
    """``state_counts`` of all kexecs, added up."""
    captures, found = corpus
    wanted: Counter[tuple[str, str]] = Counter()
    for capture in captures:
        for kexec in capture["kexecs"]:
            for one in kexec["state_counts"]:
                for word in ("kept", "lost", "not_captured"):
                    wanted[one["name"], word] += one[word]
    totals: Counter[tuple[str, str]] = Counter()
    for state in found.states:
        for counts in (state.preserved, state.others):
            totals[state.name, "kept"] += counts.kept + counts.expected
            totals[state.name, "lost"] += counts.lost + counts.changed + counts.healed + counts.cleared
            totals[state.name, "not_captured"] += counts.undetermined
    assert totals == wanted


@pytest.mark.slow
def test_kexecs_with_a_loss_are_those_of_the_captures(corpus):
    """The lists ``state`` of all kexecs: preserved is what the bridges and devices of the kexec say."""
    captures, found = corpus
    wanted: Counter[str] = Counter()
    lost = 0
    for capture in captures:
        for kexec in capture["kexecs"]:
            preserved = {one["bdf"] for one in (*kexec["bridges"], *kexec["devices"]) if one["preserved"]}
            names = {
                one["name"]
                for one in kexec["state"]
                if one["bdf"] in preserved and one["verdict"] in ("lost", "changed", "healed")
            }
            wanted.update(names)
            lost += bool(names)
    assert {
        one.name: one.preserved.kexecs_lost for one in found.states if one.preserved.kexecs_lost
    } == wanted
    assert found.lost == lost > 0


def test_the_query_of_the_manual_says_the_same(directory):
    text = MANUAL.read_text("utf-8")
    (query,) = [one for one in re.findall("```sql\n(.*?)```", text, re.DOTALL) if "kexecs_lost" in one]
    rows = duckdb.sql(query.replace("'out/", f"'{directory}/")).fetchall()
    wanted = {}
    for one in fleet.report(str(directory)).registers.states:
        lost, undetermined, cleared, kept, _ = counted(one)
        counts = one.preserved
        functions = (
            counts.lost + counts.changed + counts.healed,
            counts.kept - counts.kept_at_reset + counts.cleared,
        )
        wanted[one.name] = (lost, undetermined, cleared + kept, *functions)
    assert {name: tuple(map(int, numbers)) for name, *numbers in rows} == wanted


def samples_of(directory):
    from analyzer.report import fleet_prometheus

    families = text_string_to_metric_families(fleet_prometheus.text(fleet.report(str(directory))))
    return {
        (one.name.removeprefix("aritrace_fleet_state_"), *one.labels.values()): one.value
        for family in families
        for one in family.samples
        if "_state_" in one.name
    }


def test_the_textfile(directory):
    found = samples_of(directory)
    bar = {key[-1]: value for key, value in found.items() if key[:4] == ("kexecs", "STATE009", "yes", "BAR")}
    assert bar == {"lost": 1, "undetermined": 0, "cleared": 0, "kept": 2, "nothing": 0}
    functions = {
        key[-1]: value for key, value in found.items() if key[:4] == ("functions", "STATE009", "yes", "BAR")
    }
    assert functions == {
        "kept": 7, "kept_at_reset": 10, "lost": 6, "healed": 2, "changed": 0, "cleared": 0, "expected": 0,
        "undetermined": 1,
    }  # fmt: skip
    assert sum(functions.values()) == 26
    assert found["loss_ratio", "STATE009", "BAR"] == pytest.approx(1 / 3)
    assert ("loss_ratio", "STATE005", "MPS") not in found  # nothing is known of it
    assert {key[1:]: value for key, value in found.items() if key[0].endswith("_lost_kexecs")} == {
        ("STATE009", "7.3.4", "BAR"): 1,
        ("STATE009", "0x1572", "BAR", "0x8086"): 1,
        ("STATE009", "endpoint", "BAR"): 1,
    }
    assert found[("kexecs_not_counted",)] == 0


def test_the_labels_of_a_textfile_are_bounded(tmp_path):
    """3,000 models of device that all lost a BAR: a thousand are named."""
    rows = [(("BAR", f"8086:{number:04x}", "endpoint", True), {"lost": 1}) for number in range(3_000)]
    write(tmp_path / "out", results()[:1], states=[[registers(*rows)]])
    found = samples_of(tmp_path / "out")
    assert sum(key[0] == "device_lost_kexecs" for key in found) == 1_000
    assert found["kexecs", "STATE009", "yes", "BAR", "lost"] == 1
