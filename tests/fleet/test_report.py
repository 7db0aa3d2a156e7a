"""``fleet report``: numbers against those worked out by hand, and its three forms."""

import json
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest
import result_samples as samples
from fleet_results import FLEET, REGISTERS, write
from fleet_runs import CLEAN, LOST, RESET, STOCK, Fleet
from prometheus_client.parser import text_string_to_metric_families
from result_samples import PORT

from analyzer import fleet
from analyzer.cli.fleet_command import _status
from analyzer.errors import AritraceError, UsageError
from analyzer.fleet.reporting import rate, tally
from analyzer.report.fleet_wording import headline


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fleet") / "out"
    write(directory, FLEET)
    return fleet.report(str(directory))


def test_kexecs_are_counted_by_what_became_of_ari(report):
    tally = report.tally
    assert (tally.lost, tally.healed, tally.kept, tally.undetermined) == (3, 1, 3, 1)
    assert vars(report.beside) == {"nothing": 0, "plain": 1, "crash": 0}
    assert report.kexecs == 9
    assert report.devices_stranded == 3 + 3 + 6
    assert report.captures.outcomes == {"ok": 9, "unsupported": 1}


@pytest.mark.parametrize(
    ("events", "trials", "low", "high"),
    # Clopper and Pearson's bounds in closed form at the ends, else from published tables (rounded).
    [
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (1, 1, 0.025, 1.0),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (2, 20, 0.0123, 0.3170),
    ],
)
def test_intervals_are_exact_binomial(events, trials, low, high):
    found = rate(events, trials)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.rate == events / trials


def test_no_trial_has_no_rate():
    assert rate(0, 0) == (rate(0, 0).__class__)(0, 0, None, None, None)


def test_rates_are_of_decided_kexecs(report):
    assert (report.tally.loss.events, report.tally.loss.trials) == (3, 7)
    assert (report.tally.hardware_loss.events, report.tally.hardware_loss.trials) == (4, 7)


def test_rates_over_hosts(report):
    hosts = report.hosts
    assert (hosts.decided, hosts.nameless) == (3, 1)
    assert (hosts.loss.events, hosts.loss.trials) == (2, 3)
    assert (hosts.hardware_loss.events, hosts.hardware_loss.trials) == (3, 3)
    assert [host.host for host in report.hosts_worst] == ["a", "b", "c"]
    assert [host.devices_stranded for host in report.hosts_worst] == [6, 6, 0]


def test_groups(report):
    by_series = {group.value: group.tally for group in report.by_series}
    assert list(by_series) == ["v7"]
    assert by_series["v7"].loss == report.tally.loss
    by_port = {
        group.value: (group.tally.lost, group.tally.healed, group.tally.kept) for group in report.by_port_type
    }
    # The switch's upstream port is unconfigured in one; every "other" root port kept its bit.
    assert by_port == {"switch-downstream": (3, 1, 3), "switch-upstream": (1, 0, 0), "root-port": (0, 0, 7)}


def test_devices_stranded_without_a_lost_bridge_are_no_clean_fleet(report):
    """As of the main job: what else strands devices counts, whatever became of ARI Forwarding."""
    found = replace(report, tally=tally(0, 0, 3, 0, 1), losses=1, devices_stranded=6)
    assert headline(found) == (
        "STRANDED", "bad", "6 preserved devices; no ARI Forwarding lost at 3 decided kexecs"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("counts", "more", "word"),
    [
        ((0, 0, 3, 0, 1), {}, "clean"),
        ((0, 0, 3, 1, 1), {"doubts": 1}, "UNDETERMINED"),
        ((0, 0, 3, 0, 1), {"complete": False}, "UNDETERMINED"),
        ((0, 0, 3, 0, 1), {"captures": ("ok", "timeout")}, "UNDETERMINED"),
        ((0, 0, 3, 0, 1), {"losses": 1}, "LOST"),
        ((0, 0, 0, 0, 0), {"losses": 1, "devices_stranded": 1}, "STRANDED"),
        ((0, 0, 0, 0, 0), {}, "clean"),
        ((0, 0, 0, 0, 0), {"kexecs": 0}, "NO KEXEC"),
        ((0, 0, 0, 0, 0), {"kexecs": 0, "captures": ("timeout",)}, "UNDETERMINED"),
    ],
)
def test_the_headline_is_clean_only_where_the_exit_status_is(report, counts, more, word):
    outcomes = dict.fromkeys(more.pop("captures", ("ok",)), 1)
    captures = replace(report.captures, outcomes=outcomes, done=sum(outcomes.values()), doubtful=0)
    usual = {"losses": 0, "doubts": 0, "devices_stranded": 0, "captures": captures}
    found = replace(report, tally=tally(*counts), **usual | more)
    assert headline(found).word == word
    assert _status(found, strict=False) == {"clean": 0, "NO KEXEC": 0, "UNDETERMINED": 3}.get(word, 1)


def test_causes(report):
    found = {cause.cause: (cause.rate.events, cause.bridges, cause.hosts) for cause in report.causes}
    assert found == {
        "explicit-write": (2, 2, 1),
        "secondary-bus-reset": (1, 1, 1),
        "selective-loss": (1, 1, 1),
        None: (1, 1, 1),  # the port below the switch that was reset is only hidden
    }


def test_policies(report):
    found = {
        policy.policy: (policy.devices, policy.rate.events, policy.rate.trials) for policy in report.policies
    }
    assert found["inherit"] == (3 + 3 + 6 + 3, 4, 7)
    assert found["stock"] == found["heal"] == (0, 0, 7)
    (inherit,) = [policy for policy in report.policies_plain if policy.policy == "inherit"]
    assert (inherit.devices, inherit.rate.trials) == (3, 1)


def test_worst_bridges(report):
    worst = [(one.host, one.bdf, one.lost, one.healed, one.devices_stranded) for one in report.bridges_worst]
    assert worst[0] == ("a", PORT, 2, 0, 6)
    assert len(worst) == report.bridges_with_loss == 4


@pytest.mark.parametrize(
    ("trend_by", "periods"),
    [
        ("day", ["2024-10-04", "2024-10-05", "2024-10-13", None]),
        ("week", ["2024-W40", "2024-W41", None]),
    ],
)
def test_trend(report, trend_by, periods):
    found = fleet.report(report.directory, trend_by=trend_by)
    assert [group.value for group in found.trend] == periods
    assert sum(group.tally.loss.trials for group in found.trend) == 7


def test_lists_are_cut_and_say_so(report):
    found = fleet.report(report.directory, most_named=1)
    assert len(found.hosts_worst) == len(found.bridges_worst) == 1
    assert (found.hosts_with_loss, found.bridges_with_loss) == (3, 4)


def test_only_finished_batches_count(tmp_path):
    job = write(tmp_path / "out", FLEET)
    next((tmp_path / "out" / "batches").glob("batch-000001-*")).unlink()
    found = fleet.report(job.directory)
    assert (found.complete, found.batches_done, found.batches) == (False, 2, 3)
    assert found.captures.done == 6
    assert found.tally.loss.trials == 4


def test_a_fleet_without_any_row(tmp_path):
    write(tmp_path / "out", [(None, samples.unreadable(), None)])
    found = fleet.report(str(tmp_path / "out"))
    assert found.kexecs == 0
    assert found.tally.loss.rate is None
    assert found.trend == []


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_directory_without_a_run(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(AritraceError, match=r"found no job.json"):
        fleet.report(str(tmp_path / name))


def test_a_damaged_part_is_an_error_with_advice(tmp_path):
    job = write(tmp_path / "out", FLEET)
    for part in (tmp_path / "out" / "kexecs").rglob("part-0*"):
        part.write_bytes(b"PAR1 damaged")
    with pytest.raises(AritraceError) as error:
        fleet.report(job.directory)
    assert error.value.advice


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("captures", "path", None),
        ("captures", "outcome", None),
        ("kexecs", "ari", None),
        ("bridges", "bdf", "00:03.0"),
        ("state", "name", None),
    ],
)
def test_a_row_that_no_run_writes_is_refused(tmp_path, table, column, value):
    job = write(tmp_path / "out", FLEET, states=REGISTERS)
    part = next(path for path in (tmp_path / "out" / table).rglob("part-0*") if pl.read_parquet(path).height)
    rows = pl.read_parquet(part).with_columns(pl.lit(value, pl.String).alias(column))
    rows.write_parquet(part, metadata={"aritrace": pl.read_parquet_metadata(part)["aritrace"]})
    message = f"expected a value of {column} in each row of the table {table}, found {rows.height} row"
    with pytest.raises(AritraceError, match=message):
        fleet.report(job.directory)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("captures", 10**30),
        ("captures", 1e999),
        ("captures", True),
        ("replaced", [10**30]),
        ("first_batch", -1),
        ("manifest", "../manifest-0.parquet"),
        ("manifest", [1]),
    ],
)
def test_a_job_that_no_run_writes_is_refused(tmp_path, name, value):
    write(tmp_path / "out", FLEET)
    path = tmp_path / "out" / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UsageError, match="expected the job file of a fleet run"):
        fleet.report(str(tmp_path / "out"))


def test_a_batch_may_be_as_large_as_the_user_says(tmp_path):
    write(tmp_path / "out", FLEET, 10**30)
    assert fleet.report(str(tmp_path / "out")).complete


@pytest.mark.parametrize("limit", ["max_bytes", "max_memory"])
def test_a_limit_that_no_system_takes_is_refused(tmp_path, limit):
    limits = fleet.Limits(**{limit: 1 << 63})
    with pytest.raises(UsageError, match="expected limits of at most 4611686018427387904 bytes"):
        fleet.run([str(CLEAN)], str(tmp_path / "out"), limits=limits)


def test_of_how_many_batches_a_job_speaks_costs_nothing(tmp_path):
    write(tmp_path / "out", FLEET)
    path = tmp_path / "out" / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "captures": 1 << 40}))
    found = fleet.report(str(tmp_path / "out"))
    assert (found.batches, found.complete) == (1 << 38, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("captures", "3"),
        ("parts", {"captures": ["../captures/x.parquet"]}),
        ("parts", {"captures": ["job.json"]}),
        ("parts", {"captures": 1}),
    ],
)
def test_a_record_that_no_run_writes_is_a_batch_that_is_not_done(tmp_path, name, value):
    write(tmp_path / "out", FLEET)
    (path,) = (tmp_path / "out" / "batches").glob("batch-000001-*")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert fleet.report(str(tmp_path / "out")).batches_done == 2


def test_endless_brackets_are_no_job_and_no_record(tmp_path):
    write(tmp_path / "out", FLEET)
    (record,) = (tmp_path / "out" / "batches").glob("batch-000001-*")
    record.write_text("[" * 100_000)
    assert fleet.report(str(tmp_path / "out")).batches_done == 2
    (tmp_path / "out" / "job.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="expected the job file of a fleet run"):
        fleet.report(str(tmp_path / "out"))


def test_tables_of_another_version_are_refused(tmp_path):
    job = write(tmp_path / "out", FLEET)
    for part in (tmp_path / "out").rglob("part-0*"):
        pl.read_parquet(part).write_parquet(part, metadata={"aritrace": '{"schema": 1}'})
    with pytest.raises(AritraceError, match="expected tables of schema 2, found 1"):
        fleet.report(job.directory)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run over real captures."""
    folder = Fleet(tmp_path_factory.mktemp("real"))
    for host, capture in (("n1", LOST), ("n2", CLEAN), ("n3", RESET), ("n3", STOCK)):
        folder.add(f"{host}/{capture.name}", capture)
    folder.run("--host-from-path", "n[0-9]")
    return folder


def test_text(real):
    status, out, err = real("report", real.out)
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("LOST: ARI Forwarding at 2 of 3 decided kexecs: 66.7 % (95 %: 9.4 to 99.2 %)")
    assert "hosts with a loss                    2 of 3  66.7 % (95 %: 9.4 to 99.2 %)" in out
    assert "explicit-write" in out
    assert "Worst hosts  2 with a loss, healed or not" in out
    assert max(map(len, lines)) <= 120


def test_json_is_versioned_and_complete(real):
    status, out, _ = real("report", real.out, "--format", "json", "--exit-zero")
    assert status == 0
    found = json.loads(out)
    assert (found["schema"], found["tool"]["name"], found["complete"]) == (1, "aritrace", True)
    assert found["tally"]["loss"]["events"] == 2
    assert real("report", real.out, "--format", "json")[1] == out


def test_prometheus_textfile(real, tmp_path):
    target = tmp_path / "aritrace.prom"
    assert real("report", real.out, "--format", "prometheus", "-o", target)[0] == 1
    samples_found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(target.read_text())
        for sample in family.samples
    }
    assert samples_found["aritrace_fleet_complete",] == 1
    assert samples_found["aritrace_fleet_kexecs", ("ari", "lost")] == 2
    labels = {
        "host": "n1", "segment": "0000", "bus": "02", "device": "00", "function": "0",
        "vendor_id": "0x104c", "device_id": "0x8233",
    }  # fmt: skip
    assert samples_found["aritrace_fleet_bridge_lost_kexecs", *sorted(labels.items())] == 1


def test_exit_status(tmp_path):
    def status(name, results, *options):
        write(tmp_path / name, results)
        return Fleet(_made(tmp_path / f"{name}-program"))("report", tmp_path / name, *options)[0]

    clean, healed = (None, samples.clean(), None), (None, samples.healed(kind="live-update"), None)
    assert status("clean", [clean]) == 0
    assert status("lost", [clean, (None, samples.lost(), None)]) == 1
    assert status("bad", [clean, (None, samples.unreadable(), None)]) == 3
    assert status("healed", [clean, healed]) == 0
    assert status("healed-strict", [clean, healed], "--strict") == 1
    assert status("unknown", [(None, samples.undetermined(), None)]) == 3
    assert status("cut", [clean, (None, samples.capture("x", [], "no-kexec", weight="doubt"), None)]) == 3


def _made(path):
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT count(*) FROM bridges WHERE verdict = 'lost' AND capture_verdict = 'findings'", [(1,)]),
        ("SELECT DISTINCT host FROM devices WHERE verdict = 'stranded' ORDER BY host", [("n1",), ("n3",)]),
        ("SELECT sum(len(policies.heal.stranded)) FROM kexecs", [(6,)]),
        (
            (
                "SELECT b.cause, unnest(b.stranded) FROM bridges b JOIN kexecs k USING (capture, kexec) "
                "WHERE k.host = 'n1' AND b.cause IS NOT NULL ORDER BY ALL"
            ),
            [("explicit-write", f"0000:03:{d}") for d in ("01.0", "01.1", "02.0")],
        ),
        ("SELECT count(*) FROM errors", [(0,)]),
        ("SELECT outcome, count(*) FROM captures GROUP BY ALL", [("ok", 4)]),
    ],
)
def test_duckdb_reads_the_tables_directly(real, query, answer):
    tables = " ".join(
        f"{'WITH' if not at else ','} {name} AS (SELECT * FROM read_parquet('{real.out}/{name}/**/*.parquet',"  # noqa: S608 the test's own words
        " hive_partitioning = true))"
        for at, name in enumerate(("captures", "kexecs", "bridges", "devices", "errors"))
    )
    assert duckdb.sql(f"{tables} {query}").fetchall() == answer


MANUAL = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()


@pytest.mark.parametrize("query", re.findall("```sql\n(.*?)```", MANUAL, re.DOTALL))
def test_the_queries_of_the_manual_run(real, query):
    assert duckdb.sql(query.replace("'out/", f"'{real.out}/")).columns


def test_polars_reads_the_tables_directly(real):
    bridges = pl.scan_parquet(real.out / "bridges", hive_partitioning=True)
    found = bridges.filter(pl.col("verdict") == "lost").select("host", "cause", "capture_verdict").collect()
    assert found.rows() == [("n1", "explicit-write", "findings")]
