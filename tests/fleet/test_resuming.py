"""Runs that are killed, repeated, split and run beside each other: the same files in the end, made once."""

import contextlib
import fcntl
import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from fleet_runs import CLEAN, LOST, RESET, SELECTIVE, tree

_KILLS = 10
#: Loaded by every worker at its start.
HOLD = """
import os, time
import analyzer.fleet.analysis as analysis
free = analysis.open_one

def open_one(path, options):
    while os.path.basename(path) >= "20" and os.path.exists(os.environ["HELD"]):
        time.sleep(0.01)
    return free(path, options)

analysis.open_one = open_one
"""


def fill(fleet, captures):
    for number in range(captures):
        fleet.add(f"{number:02d}.bin", (CLEAN, LOST, RESET, SELECTIVE)[number % 4])
    fleet.add("zz-bad.bin", b"no capture")


def children(pid):
    """Worker processes of a driver."""
    found = []
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            found.extend(int(child) for child in path.read_text().split())
    return [child for child in found if b"spawn_main" in _command(child)]


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def halted(fleet, tmp_path):
    """A fleet whose captures 20 and above are not opened before :func:`release`: no run can be at its end."""
    fleet.environment |= fleet.at_start(HOLD) | {"HELD": str(tmp_path / "held")}
    (tmp_path / "held").touch()
    return fleet


def release(fleet):
    Path(fleet.environment["HELD"]).unlink()


def batches(directory):
    return list(directory.glob("batches/batch-*"))


def until(true, driver, seconds=0.01):
    """Wait until something is true, and return it; the driver must run meanwhile."""
    while not (found := true()):
        assert driver.poll() is None, driver.communicate()
        time.sleep(seconds)
    return found


@pytest.mark.parametrize("seed", [6])
def test_killed_at_random_moments_the_result_is_the_same(fleet, seed):
    """Driver or worker, SIGKILL, 20 times in all; then the run is finished and compared byte by byte."""
    chance = random.Random(seed)  # noqa: S311 no secret
    fill(fleet, 24)
    arguments = ["run", fleet.captures, "-j", 2, "--batch-size", 2, "-q"]
    begin = time.monotonic()
    fleet.start(*arguments, "-o", fleet.out).communicate()
    whole = time.monotonic() - begin
    undisturbed, victim = tree(fleet.out), fleet.out.with_name("victim")
    assert {row["reason"] for row in fleet.rows("captures") if row["outcome"] == "crashed"} == set()
    kills = {"driver": 0, "worker": 0}
    before: dict[Path, int] = {}
    for turn in itertools.count():
        if min(kills.values()) >= _KILLS:
            break
        driver = fleet.start(*arguments, "-o", victim)
        if turn % 2:
            while not (workers := children(driver.pid)) and driver.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, whole / 2))
            for worker in chance.sample(workers, min(1, len(workers))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    kills["worker"] += 1
        time.sleep(chance.uniform(0, whole))
        if driver.poll() is None:
            driver.kill()
            kills["driver"] += 1
        driver.communicate()
        # What was done stays as it was.
        assert {path: path.stat().st_mtime_ns for path in before} == before
        before = {path: path.stat().st_mtime_ns for path in batches(victim)}
        if len(before) > 10:
            _wait_for_orphans(victim)
            for path in chance.sample(sorted(before), 9):
                del before[path]
                path.unlink()
    _wait_for_orphans(victim)
    assert fleet(*arguments, "-o", victim)[0] == 0
    assert tree(victim) == undisturbed


def _wait_for_orphans(directory):
    """A worker whose driver is gone ends its batch, then itself; until then it may still write."""
    first = None
    while _orphans() or tree(directory) != first:
        first = tree(directory)
        time.sleep(0.5)


def _orphans():
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            parent = int(text.rpartition(")")[2].split()[1])
            if parent == 1 and b"spawn_main" in _command(path.parent.name):
                found.append(path.parent.name)
    return found


def test_a_worker_killed_in_a_run_that_goes_on(halted):
    fill(halted, 24)
    halted.run("--batch-size", 3)
    victim = halted.out.with_name("victim")
    driver = halted.start("run", halted.captures, "-o", victim, "-j", 2, "--batch-size", 3)
    for done in range(3):
        until(lambda: len(batches(victim)) > done, driver)  # noqa: B023 called at once
        worker = until(lambda: children(driver.pid), driver)[0]
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    release(halted)
    _, err = driver.communicate()
    assert driver.returncode == 0, err
    assert tree(victim) == tree(halted.out)


def test_ctrl_c_at_a_terminal_while_workers_start_is_silent(halted):
    """A terminal sends it to the whole group, to workers whose interpreter is not even up as well."""
    fill(halted, 24)
    for number in range(5):
        driver = halted.start("run", halted.captures, "-o", halted.out.with_name(f"out{number}"), "-j", 2)
        workers = until(lambda: children(driver.pid), driver, 0.002)  # noqa: B023 called at once
        deaf = [_blocked(worker) >> signal.SIGINT - 1 & 1 for worker in workers]
        os.killpg(driver.pid, signal.SIGINT)
        assert driver.communicate() == ("", "")
        assert driver.returncode == 130
        assert all(deaf)


def _blocked(pid):
    """Mask of the signals that a process blocks."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))


@pytest.mark.parametrize(("signal_number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_stop_leaves_no_half_file_and_no_worker(halted, signal_number, status):
    fill(halted, 30)
    driver = halted.start("run", halted.captures, "-o", halted.out, "-j", 2, "--batch-size", 2)
    until(lambda: batches(halted.out), driver)
    workers = children(driver.pid)
    os.killpg(driver.pid, signal_number) if signal_number == signal.SIGINT else driver.send_signal(
        signal_number
    )
    _, err = driver.communicate()
    assert driver.returncode == status
    assert "Traceback" not in err
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert not list(halted.out.rglob("*.tmp"))
    assert 0 < len(batches(halted.out)) < 16
    halted.run("--batch-size", 2)
    assert len(halted.rows("captures")) == 31


def test_shards_together_are_one_run(fleet):
    fill(fleet, 10)
    fleet.run("--batch-size", 2)
    shards = fleet.out.with_name("shards")
    arguments = ["run", fleet.captures, "-o", shards, "-j", 1, "--batch-size", 2, "--shard"]
    started = [fleet.start(*arguments, f"{number}/3") for number in range(3)]  # all at once, on one directory
    for shard in started:
        assert shard.communicate()[0] == ""
        assert shard.returncode == 0
    assert tree(shards) == tree(fleet.out)
    assert fleet("report", shards)[0] == 1


def test_one_shard_alone_is_no_finished_run(fleet):
    fill(fleet, 6)
    status, _, err = fleet("run", fleet.captures, "-o", fleet.out, "--shard", "0/3", "--batch-size", 2)
    assert status == 0
    assert "2 of 4 batches are done" in err
    status, out, _ = fleet("report", fleet.out, "--format", "json")
    assert json.loads(out)["complete"] is False
    assert fleet("report", fleet.out)[1].startswith("NOT FINISHED: 2 of 4 batches are done")


def test_a_second_run_does_nothing_twice(fleet):
    fill(fleet, 4)
    fleet.run("--batch-size", 2)
    times = {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*.parquet")}
    fleet.run("--batch-size", 2)
    assert {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*.parquet")} == times


def test_a_part_that_was_lost_is_made_again(fleet):
    fill(fleet, 4)
    fleet.run("--batch-size", 2)
    whole = tree(fleet.out)
    min(fleet.out.glob("bridges/*/part-000001-*")).unlink()
    min(fleet.out.glob("batches/batch-000000-*")).write_bytes(b"{")
    fleet.run("--batch-size", 2)
    assert tree(fleet.out) == whole


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (["--policy", "stock"], "policy was 'observed', now it is 'stock'"),
        (["--max-seconds", "7"], "max-seconds was 600, now it is 7"),
        (["--batch-size", "9"], "batch-size was None, now it is 9"),
        (["--host-from-path", "x"], "host-from-path was None, now it is 'x'"),
        (["another-source"], "sources was"),
    ],
)
def test_another_run_in_the_same_directory_is_refused(finished, change, complaint):
    status, out, err = finished("run", finished.captures, *change, "-o", finished.out)
    assert (status, out) == (2, "")
    assert complaint in err
    assert "give -o another directory" in err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    from fleet_runs import Fleet

    fleet = Fleet(tmp_path_factory.mktemp("finished"))
    fleet.add("one.bin", CLEAN)
    fleet.run()
    return fleet


def test_jobs_and_shards_are_no_part_of_a_run(finished):
    assert finished("run", finished.captures, "-o", finished.out, "-j", 1, "--shard", "1/2")[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("job.json", "{}", "expected the job file of a fleet run"),
        ("job.json", '{"schema": 99}', "expected a directory of schema 2, found 99"),
        ("job.json", "[1]", "expected the job file of a fleet run"),
        ("MANIFEST", "changed", "the manifest was changed since this run began"),
        ("MANIFEST", None, "the manifest of this run cannot be read"),
    ],
)
def test_a_directory_that_was_tampered_with_is_refused(fleet, name, content, complaint):
    fleet.add("one.bin", CLEAN)
    fleet.run()
    path = next(fleet.out.glob("manifest-*")) if name == "MANIFEST" else fleet.out / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    status, _, err = fleet("run", fleet.captures, "-o", fleet.out)
    assert status == 2
    assert complaint in err


def test_a_list_file_that_changed_means_another_run(fleet, tmp_path):
    fleet.add("one.bin", CLEAN)
    (tmp_path / "list").write_text(f"{fleet.captures}/one.bin\n")
    assert fleet("run", f"@{tmp_path}/list", "-o", fleet.out)[0] == 0
    (tmp_path / "list").write_text(f"{fleet.captures}/two.bin\n")
    status, _, err = fleet("run", f"@{tmp_path}/list", "-o", fleet.out)
    assert status == 2
    assert "lists was" in err


def test_a_directory_with_other_files_is_refused(fleet):
    fleet.add("one.bin", CLEAN)
    status, _, err = fleet("run", fleet.captures, "-o", fleet.captures)
    assert status == 2
    assert "found 'one.bin' in it" in err
    assert [path.name for path in fleet.captures.iterdir()] == ["one.bin"]


@pytest.mark.parametrize(
    ("held", "kind", "shard", "status"),
    [
        ("run.lock", fcntl.LOCK_EX, None, 2),
        ("run.lock", fcntl.LOCK_EX, "0/2", 2),
        ("run.lock", fcntl.LOCK_SH, None, 2),
        ("run.lock", fcntl.LOCK_SH, "0/2", 0),
        ("shard-0-of-2.lock", fcntl.LOCK_EX, "0/2", 2),
        ("shard-1-of-2.lock", fcntl.LOCK_EX, "0/2", 0),
    ],
)
def test_who_may_work_beside_whom(finished, held, kind, shard, status):
    """Held by somebody else: a whole run excludes all, a shard the same shard and whole runs."""
    with (finished.out / held).open("ab") as stream:
        fcntl.flock(stream, kind)
        found, _, err = finished(
            "run", finished.captures, "-o", finished.out, *(["--shard", shard] if shard else [])
        )
    assert found == status
    assert ("another run works in this directory" in err) == (status == 2)


def test_two_runs_at_once_one_is_told_so(fleet):
    fill(fleet, 20)
    arguments = ["run", fleet.captures, "-o", fleet.out, "-j", 1, "--batch-size", 4]
    both = [fleet.start(*arguments), fleet.start(*arguments)]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    assert sorted(status for _, status in ends) in ([0, 2], [0, 0])
    assert all("another run works" in err for err, status in ends if status == 2)
    assert len(fleet.rows("captures")) == 21
