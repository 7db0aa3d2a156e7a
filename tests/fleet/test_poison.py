"""Files that take their worker down, or never end: they cost themselves, not their batch."""

import os
import sys
from pathlib import Path

import pytest
from fleet_runs import CLEAN, LOST, TRACES, tree

from analyzer.converting.native import write_capture
from analyzer.readers import open_capture

#: Loaded by every worker at its start: files of these names do to it what a bug in a decoder would. The limit
#: of seconds runs only for those that never end; on a busy machine the others would reach it, too.
POISON = """
import ctypes, os, signal
import analyzer.fleet.analysis as analysis
healthy = analysis.open_one
paused = 0

def open_one(path, options):
    global paused
    name = os.path.basename(path)
    if not name.startswith(("endless", "native", "pipe")):
        paused = signal.setitimer(signal.ITIMER_REAL, 0)[0] or paused
    elif paused:
        signal.setitimer(signal.ITIMER_REAL, paused)
    if name.startswith("segfault"):
        ctypes.string_at(0)
    if name.startswith("endless"):
        while True:
            pass
    if name.startswith("native"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        ctypes.CDLL(None).sleep(3600)
    if name.startswith("greedy"):
        os.abort() if b"x" * (1 << 40) else None
    if name.startswith("exit"):
        os._exit(7)
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("fault"):
        raise ZeroDivisionError
    return healthy(path, options)

analysis.open_one = open_one
"""


@pytest.fixture
def poisoned(fleet, monkeypatch):
    variables = fleet.at_start(POISON)
    monkeypatch.setenv("PYTHONPATH", variables["PYTHONPATH"])
    monkeypatch.setattr(sys, "path", [variables["PYTHONPATH"].split(os.pathsep)[0], *sys.path])
    return fleet


def test_each_poison_is_its_own_row_and_harms_no_other(poisoned):
    for name in ("segfault", "endless", "native", "greedy", "exit", "killed", "fault"):
        poisoned.add(f"{name}.bin", CLEAN)
    for number in range(4):
        poisoned.add(f"healthy-{number}.bin", LOST)
    poisoned.run("--max-seconds", 2)
    expected = {f"healthy-{number}.bin": "ok" for number in range(4)} | {
        "segfault.bin": "crashed",
        "endless.bin": "timeout",
        "native.bin": "timeout",
        "greedy.bin": "too-large",
        "exit.bin": "crashed",
        "killed.bin": "crashed",
        "fault.bin": "crashed",
    }
    assert poisoned.outcomes() == expected
    reasons = {Path(row["path"]).name: row["reason"] for row in poisoned.rows("captures")}
    for name, words in {
        "segfault.bin": "died of SIGSEGV",
        "endless.bin": "longer than 2 s",
        "greedy.bin": "more memory than --max-memory allows",
        "exit.bin": "ended with status 7",
        "killed.bin": "died of SIGKILL 5 times",
        "fault.bin": "ZeroDivisionError",
    }.items():
        assert words in reasons[name]
    healthy = [row for row in poisoned.rows("kexecs") if "healthy" in row["path"]]
    assert [row["ari"] for row in healthy] == ["lost"] * 4


def test_a_batch_done_file_by_file_gives_the_same_files(poisoned):
    """The first attempt at the batch dies of a file that is fine the second time: chance, not poison."""
    for number in range(3):
        poisoned.add(f"healthy-{number}.bin", LOST)
    poisoned.run()
    (once := poisoned.out.with_name("once")).mkdir()
    flag = poisoned.captures.with_name("flag")
    custom = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0], "sitecustomize.py")
    custom.write_text(
        POISON
        + f"""
def once(path, options):
    if path.endswith("1.bin") and not os.path.exists({str(flag)!r}):
        open({str(flag)!r}, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return open_one(path, options)
analysis.open_one = once
"""
    )
    poisoned.run(out=once)
    assert flag.exists()
    assert tree(once) == tree(poisoned.out)


def test_a_pipe_without_a_writer_times_out(poisoned):
    os.mkfifo(poisoned.captures / "pipe")
    poisoned.add("fine.bin", CLEAN)
    sources = [poisoned.captures / name for name in ("pipe", "fine.bin")]
    assert poisoned("run", *sources, "-o", poisoned.out, "--max-seconds", 2)[0] == 0
    assert poisoned.outcomes() == {"pipe": "timeout", "fine.bin": "ok"}


def test_a_capture_that_needs_more_memory_than_allowed(fleet):
    capture = open_capture(str(LOST))
    import polars as pl

    capture.accesses = pl.concat([capture.accesses] * 60).with_columns(
        seq=pl.int_range(capture.accesses.height * 60, dtype=pl.UInt64)
    )
    write_capture(capture, fleet.captures / "big.bin")
    fleet.add("small.bin", CLEAN)
    fleet.run("--max-memory", "150M")  # the small one alone needs up to 60M, the big one more than 300M
    assert fleet.outcomes() == {"big.bin": "too-large", "small.bin": "ok"}


def test_the_whole_corpus_has_rows(fleet):
    """Every sample of every format, whatever the analysis makes of it."""
    assert fleet("run", TRACES / "formats", "-o", fleet.out, "-j", 2)[0] == 0
    names = {path.name for path in (TRACES / "formats").iterdir()}
    logs = {name for name in names if name.startswith("console-")}
    assert set(fleet.outcomes()) == names - logs - {"README.md"}
    assert not {"crashed", "timeout", "too-large"} & set(fleet.outcomes().values())
