"""The Dask engine on a real cluster of processes on this machine."""

import contextlib
import os
import signal
import threading
import warnings

import pytest
import test_histories as histories
from fleet_runs import CLEAN, LOST, tree


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with warnings.catch_warnings():
        # Dask's own: a port in use, a slow start of a loaded machine.
        warnings.simplefilter("ignore")
        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", processes=True
        )
        yield cluster
        cluster.close()


def fill(fleet, captures):
    for number in range(captures):
        fleet.add(f"{number:02d}.bin", (CLEAN, LOST)[number % 2])
    fleet.add("zz-bad.bin", b"no capture")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_cluster_gives_the_same_files_also_if_its_workers_die(fleet, cluster):
    fill(fleet, 24)
    fleet.run("--batch-size", 3)
    out = fleet.out.with_name("dask")
    killed = []
    ended = threading.Event()

    def kill():
        for done in (0, 2, 4):
            while not out.exists() or len(list(out.glob("batches/*"))) < done:
                if ended.wait(0.01):
                    return
            for worker in list(cluster.workers.values())[:1]:
                with contextlib.suppress(ProcessLookupError, AttributeError, TypeError):
                    os.kill(worker.pid, signal.SIGKILL)
                    killed.append(worker.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    status, _, err = fleet(
        "run", fleet.captures, "-o", out, "--batch-size", 3, "--engine", "dask",
        "--scheduler", cluster.scheduler_address,
    )  # fmt: skip
    ended.set()
    killer.join()
    assert status == 0, err
    assert killed
    assert tree(out) == tree(fleet.out)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_error_of_the_run_comes_back_from_the_cluster(fleet, cluster):
    fleet.add("one.bin", CLEAN)
    status, _, err = fleet(
        "run", fleet.captures, "-o", fleet.out, "--cmdline", "@nowhere", "--engine", "dask",
        "--scheduler", cluster.scheduler_address,
    )  # fmt: skip
    assert status != 0
    assert "nowhere" in err


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_scheduler_is_one_message(fleet, monkeypatch):
    from analyzer.fleet import engines

    monkeypatch.setattr(engines, "_CONNECT_S", 1)
    fleet.add("one.bin", CLEAN)
    status, _, err = fleet(
        "run", fleet.captures, "-o", fleet.out, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"
    )
    assert status == 2
    assert "no response from a Dask scheduler at tcp://127.0.0.1:9" in err


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_cluster_joins_and_adds_as_this_machine_does(fleet, cluster):
    outs = [fleet.out, fleet.out.with_name("dask")]
    engines = [[], ["--engine", "dask", "--scheduler", cluster.scheduler_address]]
    asked = ["--group-by", "2026-[^/]+/(?P<host>h[0-9])/", "--group-order", "before,after"]
    for day in ("2026-03-01", "2026-03-02"):
        histories.fill(fleet.captures / day, {"h1": "lost", "h2": "kept"})
        manifest = fleet.captures / f"{day}.jsonl"
        manifest.write_text(
            f'{{"pieces": ["{day}/h2/before.txt", "{day}/h2/after.txt"], "preserved": "01:01.0"}}'
        )
        for out, engine in zip(outs, engines, strict=True):
            day_asked = [fleet.captures / day, "--manifest", manifest, *asked, "--add", "-o", out]
            status, _, err = fleet("run", *day_asked, "--batch-size", 1, *engine)
            assert status == 0, err
    assert tree(outs[0]) == tree(outs[1])
    assert sorted(row["verdict"] for row in fleet.rows("captures")) == ["clean"] * 2 + ["findings"] * 2
