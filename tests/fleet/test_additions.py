"""``fleet run --add``, day after day, and one report over all: the numbers of one run over everything."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import time
from pathlib import Path

import duckdb
import pytest
from fleet_runs import CLEAN, LOST, SELECTIVE, STOCK, Fleet
from test_histories import AFTER, BEFORE, fill
from unprivileged import unprivileged

from analyzer import fleet as library
from analyzer.errors import UsageError
from analyzer.fleet import asking, gathering, histories, job, manifest
from analyzer.fleet.drilldown import drill_down
from analyzer.fleet.job import Job, Request
from analyzer.report.html import fleet_page, fleet_queries

PATTERN = ["--group-by", "(?P<time>2026-[^/]+)/(?P<host>h[0-9]+)/", "--group-order", "before,after"]


def report(*directories: Path, **asked) -> dict:
    """The numbers of a report: all but what says which runs they are over."""
    found = library.report([str(one) for one in directories], **asked)
    return {name: value for name, value in vars(found).items() if name not in OF_RUNS}


OF_RUNS = {"directory", "runs", "batches", "batches_done", "captures", "since", "until", "untimed"}


def added(said: str) -> int:
    found = re.search(r"note: (\d+) captures? added", said)
    return -1 if found is None else int(found[1])


@pytest.fixture
def add(fleet):
    def run(*arguments: object) -> int:
        status, _, err = fleet("run", fleet.captures, "-o", fleet.out, "-j", 1, "--add", *arguments)
        assert status == 0, err
        return added(err)

    return run


@pytest.mark.timeout(120)
def test_a_week_of_a_small_fleet(fleet, tmp_path):
    """40 hosts as pairs on the first day, new ones on three more; a run is killed, one repeated."""
    days = [dt.date(2026, 3, number) for number in range(1, 5)]
    batch = ["--batch-size", 5, "-j", 2]
    for number, day in enumerate(days):
        hosts = range(40) if not number else range(number, 40, 7)
        became = {f"h{host}": "lost" if (host + number) % 10 == 3 else "kept" for host in hosts}
        fill(fleet.captures / day.isoformat(), became)
        arguments = ["run", fleet.captures, "-o", fleet.out, "--add", *PATTERN, *batch]
        if number == 2:
            killed = fleet.start(*arguments)
            while killed.poll() is None and not (fleet.out / "job-000002.json").exists():
                time.sleep(0.01)
            killed.kill()
            killed.communicate()
        status, _, err = fleet(*arguments)
        assert status == 0, err
        before = {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*.parquet")}
        status, _, err = fleet(*arguments)
        assert (status, added(err) if number else 0) == (0, 0)
        assert {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*.parquet")} == before
    once = tmp_path / "once"
    fleet.run(*PATTERN, *batch, out=once)
    assert report(fleet.out) == report(once)
    assert report(fleet.out)["tally"].loss.events == 6
    assert len(fleet.rows("captures")) == len(fleet.rows("captures", once)) == 40 + 3 * 6
    # Each day alone, in directories of their own, the second day in two of them.
    alone = []
    for number, names in enumerate([days[:2], days[1:]]):
        alone.append(tmp_path / f"alone{number}")
        sources = [fleet.captures / day.isoformat() for day in names]
        assert fleet("run", *sources, "-o", alone[-1], *PATTERN, *batch)[0] == 0
    assert report(*alone) == report(once)
    assert library.report(list(map(str, alone))).captures.repeated == 6
    for since, until in [(days[1], None), (days[1], days[2]), (None, days[0])]:
        within = report(fleet.out, since=since, until=until)
        assert within == report(*alone, since=since, until=until)
        shown = [group for group in report(once)["trend"] if _inside(group.value, since, until)]
        assert within["trend"] == shown
        assert within["tally"].loss.trials == sum(group.tally.loss.trials for group in shown)


def _inside(day: str, since: dt.date | None, until: dt.date | None) -> bool:
    return (since is None or day >= since.isoformat()) and (until is None or day <= until.isoformat())


def test_what_is_new_is_added_and_what_changed_replaces(fleet, add):
    fleet.add("a.bin", CLEAN)
    fleet.add("grows.bin", LOST.read_bytes()[: LOST.stat().st_size // 2])
    assert add() == -1  # the first time it is a run like any other
    assert add() == 0
    fleet.add("b.bin", STOCK)
    fleet.add("grows.bin", LOST)
    (fleet.captures / "a.bin").unlink()  # it was analysed when it was there
    assert add() == 2
    found = {(Path(row["path"]).name, row["outcome"]) for row in fleet.rows("captures")}
    assert found == {("a.bin", "ok"), ("b.bin", "ok"), ("grows.bin", "truncated"), ("grows.bin", "ok")}
    (replaced,) = fleet.rows("replaced")
    (old,) = [row for row in fleet.rows("captures") if row["outcome"] == "truncated"]
    assert replaced["capture"] == old["capture"]
    counted = library.report(str(fleet.out)).captures
    assert (counted.outcomes, counted.listed, counted.replaced) == ({"ok": 3}, 3, 1)
    page = fleet.out / "page.html"
    assert fleet("report", fleet.out, "--html", page)[0] == 1
    assert "WHERE capture NOT IN (SELECT capture FROM read_parquet" in page.read_text().replace("&#39;", "'")


def test_a_piece_that_comes_later_replaces_the_shorter_history(fleet, add):
    fill(fleet.captures / "2026-03-01", {"h1": "lost"})
    after = fleet.captures / "2026-03-01" / "h1" / "after.txt"
    kept = after.read_bytes()
    after.unlink()
    add(*PATTERN)
    assert library.report(str(fleet.out)).captures.verdicts == {"no-kexec": 1}
    after.write_bytes(kept)
    assert add(*PATTERN) == 1
    assert library.report(str(fleet.out)).captures.verdicts == {"findings": 1}
    # Without the pattern the pieces are no captures of their own.
    status, _, err = fleet("run", fleet.captures, "-o", fleet.out, "--add")
    assert (status, "group-by was '(?P<time>" in err) == (2, True)


def test_a_manifest_for_each_day(fleet, add):
    names = ["a.txt", "b.txt", "c.txt"]
    for name in names:
        fleet.add(name, BEFORE.encode())
    manifests = [fleet.captures / f"{number}.csv" for number in range(2)]
    manifests[0].write_text("pieces\na.txt;b.txt\n")
    manifests[1].write_text("pieces\nb.txt;c.txt\n")
    add("--manifest", manifests[0])
    # c.txt was a capture of its own; b.txt is in both histories because the manifests say so.
    assert add("--manifest", manifests[1]) == 1
    counted = [row for row in fleet.rows("captures") if row["capture"] not in _replaced(fleet)]
    assert [[Path(one).name for one in row["pieces"]] for row in counted] == [names[:2], names[1:]]
    assert add() == 0


def _replaced(fleet: Fleet) -> set[int]:
    return {row["capture"] for row in fleet.rows("replaced")}


def test_what_a_manifest_said_holds_until_another_one_says_otherwise(fleet, add):
    """Where sources show its files again: neither names nor the pattern say what was preserved."""
    fill(fleet.captures / "2026-03-01", {"h1": "lost"})
    fleet.add("alone.bin", LOST)
    manifests = [fleet.captures / f"{number}.csv" for number in range(4)]
    head, pair = "host,pieces,preserved\n", "2026-03-01/h1/before.txt;2026-03-01/h1/after.txt"
    said = f"node1,{pair},01:01.0\nnode2,alone.bin,03:00.0\n"
    manifests[0].write_text(head + said)
    add("--manifest", manifests[0], *PATTERN)
    fleet.add("new.bin", CLEAN)
    manifests[1].write_text(head + "node3,new.bin,\n")
    assert add("--manifest", manifests[1], *PATTERN) == 1
    assert add(*PATTERN) == 0
    first = {("node1", "option"), ("node2", "option"), ("node3", "capture")}
    assert _counted(fleet) == first
    # A file that changed is analysed again as its manifest said.
    fleet.add("alone.bin", SELECTIVE)
    assert add(*PATTERN) == 1
    assert _counted(fleet) == first
    manifests[2].write_text(head + "other,alone.bin,\n")
    assert add("--manifest", manifests[2], *PATTERN) == 1
    # Its two pieces in a longer history: that of the two is part of it, also if one changed.
    (fleet.captures / "2026-03-01" / "h1" / "after.txt").write_text(AFTER["kept"])
    (fleet.captures / "2026-03-01" / "h1" / "last.txt").write_text(AFTER["lost"])
    manifests[3].write_text(head + f"node1,{pair};2026-03-01/h1/last.txt,01:01.0\n")
    assert add("--manifest", manifests[3], *PATTERN) == 1
    assert add("--manifest", manifests[2], *PATTERN) == 0
    assert _counted(fleet) == {("node1", "option"), ("other", "capture"), ("node3", "capture")}


def _counted(fleet: Fleet) -> set[tuple[str, str]]:
    """Host, and who named the preserved set, of each kexec that counts."""
    rows = [row for row in fleet.rows("kexecs") if row["capture"] not in _replaced(fleet)]
    return {(row["host"], row["preserved_source"]) for row in rows}


def test_a_source_that_was_empty_is_no_row_any_more(fleet, add):
    add()
    assert fleet("report", fleet.out)[0] == 3
    fleet.add("a.bin", CLEAN)
    assert add() == 1
    assert fleet("report", fleet.out)[0] == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [(["--policy", "stock"], "policy was"), (["--host-from-path", "x"], "host-from-path was")],
)
def test_an_addition_with_other_options_is_refused(fleet, add, change, complaint):
    fleet.add("a.bin", CLEAN)
    add()
    status, _, err = fleet("run", fleet.captures, "-o", fleet.out, "--add", *change)
    assert status == 2
    assert complaint in err
    assert "'fleet report' takes several" in err


def test_an_addition_of_relative_paths_from_elsewhere_is_refused(fleet, monkeypatch, tmp_path):
    fleet.add("a.bin", CLEAN)
    monkeypatch.chdir(tmp_path)
    assert fleet("run", "captures", "-o", fleet.out, "--add")[0] == 0
    fleet.add(b"\xff.bin", CLEAN)
    shutil.copytree("captures", tmp_path / "other" / "captures")
    monkeypatch.chdir(tmp_path / "other")
    status, _, err = fleet("run", "captures", "-o", fleet.out, "--add")
    assert status == 2
    assert "relative paths mean other files here" in err


def test_shards_add_together(fleet, add):
    for number in range(4):
        fleet.add(f"{number}.bin", CLEAN)
    add("--batch-size", 1)
    for number in range(4, 8):
        fleet.add(f"{number}.bin", LOST)
    for shard in range(3):
        status, _, err = fleet(
            "run", fleet.captures, "-o", fleet.out, "--add", "--batch-size", 1, "--shard", f"{shard}/3"
        )
        assert status == 0, err
    found = library.report(str(fleet.out))
    assert (found.complete, found.captures.verdicts) == (True, {"clean": 4, "findings": 4})
    assert sorted(path.name for path in fleet.out.glob("job*")) == ["job-000001.json", "job.json"]


def test_a_capture_in_two_runs_counts_once(fleet, tmp_path):
    """By path and content: the same name with another content is another capture."""
    outs = [tmp_path / f"out{number}" for number in range(3)]
    fleet.add("same.bin", LOST)
    fleet.add("anew.bin", CLEAN)
    fleet.run(out=outs[0])
    fleet.add("anew.bin", LOST)
    fleet.add("copy.bin", LOST)
    fleet.run(out=outs[1])
    fleet.run("--host-from-path", "(same)", out=outs[2])
    found = library.report([str(outs[0]), str(outs[1])])
    assert (found.kexecs, found.captures.repeated, found.captures.listed) == (4, 1, 4)
    found = library.report([str(outs[1]), str(outs[2])])
    assert (found.kexecs, found.captures.repeated) == (3, 3)
    assert [host.host for host in found.hosts_worst] == ["same"]


#: Ways to name the directory of captures; the run and its working directory are above it.
SPELLINGS = ["captures", "./captures/", "captures/../captures", "ABSOLUTE", "ABSOLUTE/../captures"]


@pytest.mark.parametrize(
    ("earlier", "later", "pairs"),
    [(name, SPELLINGS[number - 4], bool(number % 2)) for number, name in enumerate(SPELLINGS)],
)
def test_a_path_that_is_spelled_otherwise_names_the_same_capture(
    earlier, later, pairs, fleet, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    fill(fleet.captures / "2026-03-01", {"h1": "lost"})
    options = [*(PATTERN if pairs else ()), "-j", 1]
    sources = [name.replace("ABSOLUTE", str(fleet.captures)) for name in (earlier, later)]
    for number, source in enumerate(sources):
        assert fleet("run", source, "-o", f"out{number}", *options)[0] == 0
    captures = 1 if pairs else 2
    found = library.report(["out0", "out1"])
    assert (found.captures.listed, found.captures.repeated, found.kexecs) == (captures, captures, int(pairs))
    assert added(fleet("run", sources[1], "-o", "out0", "--add", *options)[2]) == 0
    assert fleet("run", *sources, "-o", "both", *options)[0] == 0
    assert library.report("both").captures.listed == captures
    # What is new or changed is it under the new name, too.
    (fleet.captures / "2026-03-01" / "h1" / "after.txt").write_text(AFTER["kept"] + "\n")
    fill(fleet.captures / "2026-03-01", {"h2": "lost"})
    assert added(fleet("run", sources[1], "-o", "out0", "--add", *options)[2]) == (2 if pairs else 3)
    found = library.report("out0").captures
    assert (found.listed, found.replaced) == (2 * captures, 1)


def test_the_directory_of_a_run_among_the_sources_is_no_capture(fleet):
    fleet.add("a.bin", CLEAN)
    fleet.run(out=fleet.captures / "out")
    fleet.run()
    assert fleet.outcomes() == {"a.bin": "ok"}


def test_the_queries_of_a_page_count_what_its_report_counts(fleet, add, tmp_path):
    """Two runs, one with an addition that replaces a row; and a period."""
    fill(fleet.captures / "2026-03-01", {"h1": "lost", "h2": "kept"})
    add(*PATTERN)
    fill(fleet.captures / "2026-03-02", {"h1": "lost"})
    (fleet.captures / "2026-03-01" / "h2" / "after.txt").write_text(AFTER["lost"])
    assert add(*PATTERN) == 2
    other = tmp_path / "other"
    fill(other / "2026-03-03", {"h4": "kept"})
    out = tmp_path / "out-other"
    assert fleet("run", other, "-o", out, *PATTERN)[0] == 0
    for days in ({}, {"since": dt.date(2026, 3, 2)}, {"until": dt.date(2026, 3, 1)}):
        found = library.report([str(fleet.out), str(out)], **days)
        tables = fleet_queries.tables_of(found)

        def rows(dimension: str, tables=tables) -> list[dict]:
            relation = duckdb.sql(fleet_queries.query(dimension, None, tables, "day"))
            return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

        kexecs = {"lost": found.tally.lost, "kept": found.tally.kept}
        for dimension in ("all", "release", "trend", "host", "vendor_device"):
            states = [row["state"] for row in rows(dimension)]
            assert {state: states.count(state) for state in kexecs} == kexecs
        assert len(rows("outcome")) == found.captures.done == found.captures.listed - _outside(found, days)
        assert len(rows("cause")) == found.tally.lost
        registers = [one.preserved for one in found.registers.states]
        assert sum(one.kexecs_kept for one in registers) > 0
        for word in ("lost", "undetermined", "cleared", "kept", "nothing"):
            states = [row["state"] for row in rows("register")]
            assert states.count(word) == sum(getattr(one, f"kexecs_{word}") for one in registers)
        assert len({row["policy"] for row in rows("policies")}) <= 4
        shown = fleet_page.shown_part(found)
        assert "".join(fleet_page.pieces(shown, drill_down(shown))).count("2026-03-0") > 0


def _outside(found, days) -> int:
    return found.captures.listed - found.kexecs if days else 0


def test_an_input_without_an_answer_counts_until_a_run_has_one(fleet, tmp_path):
    outs = [tmp_path / f"out{number}" for number in range(3)]
    for out, content in zip(outs, [b"", b"", CLEAN], strict=True):
        fleet.add("a.bin", content)
        fleet.run(out=out)
    assert library.report(list(map(str, outs[:2]))).captures.outcomes == {"unreadable": 1}
    assert library.report(list(map(str, outs))).captures.outcomes == {"ok": 1}
    assert library.report([str(outs[2]), str(outs[0])]).captures.outcomes == {"ok": 1}


def test_runs_that_cannot_be_in_one_report(fleet, tmp_path):
    fleet.add("a.bin", CLEAN)
    fleet.run()
    other = tmp_path / "stock"
    fleet.run("--policy", "stock", out=other)
    with pytest.raises(UsageError, match="found --policy 'stock' here and 'observed' in"):
        library.report([str(fleet.out), str(other)])
    with pytest.raises(UsageError, match="named twice"):
        library.report([str(fleet.out), f"{fleet.out}/."])
    with pytest.raises(UsageError, match="--until 2026-03-01 is before --since 2026-03-02"):
        library.report(str(fleet.out), since=dt.date(2026, 3, 2), until=dt.date(2026, 3, 1))
    for day in ("yesterday", "9999-12-31", "1969-12-31"):
        assert fleet("report", fleet.out, "--since", day)[0] == 2
        assert fleet("report", fleet.out, "--until", day)[0] == 2


def test_what_has_no_time_is_in_no_period_and_no_all_clear(fleet):
    """The dumps have no time: one pair says its own, in the manifest, and is clean."""
    fill(fleet.captures, {"h1": "kept", "h2": "lost"})
    rows = "h1/before.txt;h1/after.txt,2026-03-31\nh2/before.txt;h2/after.txt,\n"
    (fleet.captures / "m.csv").write_text("pieces,time\n" + rows)
    fleet.run("--manifest", fleet.captures / "m.csv")
    status, out, _ = fleet("report", fleet.out, "--since", "2026-03-31", "--until", "2026-03-31")
    assert status == 3
    assert "UNDETERMINED: no loss in this period is known, but 1 kexec with a loss have no time" in out
    found = json.loads(fleet("report", fleet.out, "--since", "2026-03-31", "--format", "json")[1])
    assert found["untimed"] == {"kexecs": 1, "losses": 1, "doubts": 0, "captures": 0, "unanswered": 0}
    assert (found["kexecs"], found["captures"]["outcomes"]) == (1, {"ok": 1})
    assert fleet("report", fleet.out, "--since", "2026-04-01")[0] == 3
    assert fleet("report", fleet.out)[0] == 1


@pytest.mark.parametrize("output", ["s3://bucket/out", "gs://bucket/out", "file:///tmp/out"])
def test_an_output_in_an_object_store_is_refused_before_the_work(fleet, output, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    fleet.add("a.bin", CLEAN)
    before = sorted(tmp_path.iterdir())
    status, _, err = fleet("run", fleet.captures, "-o", output)
    assert status == 2
    assert f"{output}: expected a directory of this machine for the tables, found a URL" in err
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_of_version_1_keeps_the_names_of_its_files():
    """Its job has no additions, and the names of its files are digests without them."""
    request = Request(sources=("x",))
    new = Job("out", request, "manifest-0.parquet", 4, 2, "1")
    old = Job("out", request, "manifest-0.parquet", 4, 2, "1", schema=1)
    assert "addition" not in job._text(old)
    assert "group_by" not in job._text(old)
    assert new.identity != old.identity
    assert list(old.batches) == [0, 1]


def test_what_of_a_listing_is_new(tmp_path):
    """Derived: by size, time and version, whatever the order."""
    entries = [
        manifest.Entry(b"/a", 1, 1),
        manifest.Entry(b"/b", 1, 1),
        manifest.Entry(b"s3://c/d", 5, 1, "etag"),
        manifest.Entry(b"/gone", 1, 1),
    ]
    written = manifest.write(manifest.listed(entries), str(tmp_path))
    run = Job(str(tmp_path), Request(sources=()), written.name, 4, 9, "1", working_directory=str(Path.cwd()))
    now = [
        manifest.Entry(b"/a", 1, 1),
        manifest.Entry(b"/b", 1, 2),
        manifest.Entry(b"s3://c/d", 5, 1, "other"),
        manifest.Entry(b"/gone"),
        manifest.Entry(b"/new", 0, 0),
    ]
    _, wanted = asking.asked(["/"])
    found = gathering.addition([run], manifest.listed(now), wanted)
    assert found.rows["location"].to_list() == [b"/b", b"/new", b"s3://c/d"]
    assert found.replaced == (1, 3)


@pytest.mark.parametrize("pieces", [["private.bin"], ["open.bin", "private.bin"]])
def test_a_file_that_may_be_read_now_is_new(pieces, tmp_path, monkeypatch):
    """Its size and its time of change are what they were."""
    monkeypatch.chdir(tmp_path)
    for name in pieces:
        Path(name).write_bytes(b"content")
        Path(name).chmod(0o644)
    Path("private.bin").chmod(0)
    with unprivileged(tmp_path):
        before = manifest.listed([histories.history(pieces)])
    Path("private.bin").chmod(0o644)
    with unprivileged(tmp_path):
        now, again = (manifest.listed([histories.history(pieces)]) for _ in range(2))
    run = _job_of(before, tmp_path)
    _, wanted = asking.asked([str(tmp_path)])
    found = gathering.addition([run], now, wanted)
    assert (found.rows.height, found.replaced) == (1, (0,))
    assert gathering.addition([_job_of(now, tmp_path)], again, wanted).rows.height == 0


def _job_of(rows, folder: Path) -> Job:
    written = manifest.write(rows, str(folder))
    here = str(Path.cwd())
    return Job(str(folder), Request(sources=()), written.name, rows.height, 9, "1", working_directory=here)
