"""No Python file of the folder that the program is started in is ever run, by it or by what it starts."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Every module that anything here could import, by its top-level name.
NAMES = sorted(
    sys.stdlib_module_names
    | importlib.metadata.packages_distributions().keys()
    | {"analyzer", "schemas", "sitecustomize", "usercustomize"}
)
PLANTED = 'import os\nos.close(os.open(os.environ["MARKS"] + "/" + __name__, os.O_CREAT))\n'
#: A console script as pip writes it; ``python -c`` would have the current directory on its own path.
SCRIPT = "import sys\nfrom analyzer.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
#: A Dask worker of one thread in this process: what it starts are the workers of the fleet run.
DASK = """
import sys
if __name__ == "__main__":
    from distributed import LocalCluster
    from analyzer.cli.application import run
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        options = ["--engine", "dask", "--scheduler", cluster.scheduler_address]
        sys.exit(run(["fleet", "run", "a.bin", "-q", "-o", "dask", *options]))
"""
DEVICE = "0000:02:00.0"
COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "completion": ["--show-completion", "bash"],
    "text": ["a.bin", "-vvv"],
    "json": ["a.bin", "--format", "json"],
    "csv": ["a.bin", "--format", "csv"],
    "junit": ["a.bin", "--format", "junit"],
    "sarif": ["a.bin", "--format", "sarif"],
    "parquet": ["a.bin", "--format", "parquet", "-o", "new.parquet"],
    "html": ["a.bin", "--html", "new.html"],
    "perfetto": ["a.bin", "--perfetto", "new.pftrace"],
    "every format": ["formats", "--exit-zero"],
    "options": ["a.bin", "--preserved", "@set", "--cmdline", "@cmdline", "--dmesg", "console.zst"],
    "explain": ["explain", "a.bin", DEVICE],
    "explain packets": ["explain", "formats/nettlp-tcpdump.pcap.zst", "0000:01:00.0", "-vv"],
    "atrisk": ["atrisk", "formats/lspci-xxxx-vvv.txt.zst"],
    "snapshot": ["snapshot", "a.bin", "--boot", "0"],
    "convert": ["convert", "a.bin", "--to", "bin", "-o", "new.bin", "--minimal", "--redact"],
    "convert to parquet": ["convert", "a.bin", "--to", "parquet", "-o", "table.parquet"],
    "stat": ["stat", "a.bin"],
    "dump": ["dump", "a.bin", "--access", "15004", "--bytes"],
    "log": ["log", "a.bin"],
    "rule": ["rule", "ARI001"],
    "corpus check": ["corpus", "check", "."],
    "corpus update": ["corpus", "update", "."],
    "fleet run": ["fleet", "run", "a.bin", "-o", "again", "-j", "2"],
    "fleet report": ["fleet", "report", "fleet", "--html", "fleet.html"],
    "fleet report to json": ["fleet", "report", "fleet", "--format", "json"],
    "fleet report to prometheus": ["fleet", "report", "fleet", "--format", "prometheus"],
    "lab list": ["lab", "list"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Captures, a finished fleet run, and a file for every name that could be imported."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.copy(ROOT / "traces" / "lost-explicit-write.bin", folder / "a.bin")
    shutil.copy(ROOT / "traces" / "lost-explicit-write.toml", folder / "a.toml")
    shutil.copytree(ROOT / "traces" / "formats", folder / "formats")
    shutil.copy(folder / "formats" / "console-healed-by-stock-kernel.txt.zst", folder / "console.zst")
    (folder / "set").write_text("0000:02:00.0\n", "ascii")
    (folder / "cmdline").write_text("quiet\n", "ascii")
    for name in NAMES:
        (folder / f"{name}.py").write_text(PLANTED, "ascii")
    return folder


@pytest.fixture
def start(folder, tmp_path):
    """Run a script in the folder; its status, what it said, and which planted files were run."""
    marks = tmp_path / "marks"
    marks.mkdir()
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()

    def started(script: str, *arguments: str) -> tuple[int, str, list[str]]:
        program = bin_folder / "analyze"
        program.write_text(script, "ascii")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MARKS": str(marks)}
        environment.pop("PYTHONSAFEPATH", None)
        done = subprocess.run(
            [sys.executable, program, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False,
            timeout=300,
        )  # fmt: skip
        return done.returncode, done.stderr, sorted(path.name for path in marks.iterdir())

    return started


def test_the_planted_files_are_run_by_an_interpreter_that_looks_there(start):
    # Python 3.13 imports linecache before a command given by -c, and traceback where one ends in an error.
    start("import subprocess, sys; subprocess.run([sys.executable, '-'], input=b'import multiprocessing')")
    assert start("")[2] == ["multiprocessing"]


@pytest.fixture(scope="module")
def _finished_fleet(folder):
    # Its own start is a case below; here the files are only made.
    from analyzer import fleet

    fleet.run([str(folder / "a.bin")], str(folder / "fleet"), jobs=1)


@pytest.mark.usefixtures("_finished_fleet")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_a_file_of_the_current_directory(command, start):
    ended, said, run = start(SCRIPT, *COMMANDS[command])
    assert run == []
    assert ended in (0, 1, 3), said


def test_workers_started_by_dask_run_none(start):
    ended, said, run = start(DASK)
    assert run == []
    assert ended == 0, said


@pytest.mark.parametrize(
    ("flags", "problem"), [(["-E"], "ignores its environment"), (["-E", "-P"], None), (["-I"], None)]
)
def test_flags_of_the_interpreter(flags, problem, folder, tmp_path):
    (tmp_path / "marks").mkdir()
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SCRIPT}"
    (tmp_path / "analyze").write_text(start, "utf-8")
    done = subprocess.run(
        [sys.executable, *flags, tmp_path / "analyze", "fleet", "run", "a.bin", "-o", tmp_path / "out"],
        cwd=folder, env={**os.environ, "MARKS": str(tmp_path / "marks")}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert list((tmp_path / "marks").iterdir()) == []
    assert done.returncode == (3 if problem else 0), done.stderr
    assert (problem or "") in done.stderr
