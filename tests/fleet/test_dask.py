"""The Dask engine on a real cluster of processes on this machine."""

import contextlib
import os
import signal
import threading
import warnings

import pytest
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
