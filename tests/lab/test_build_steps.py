"""A step of the build: its log, its error, its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from analyzer.lab.build.steps import BuildError, last_lines, run_step

if TYPE_CHECKING:
    from pathlib import Path


def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    for word in ("one", "two"):
        run_step(
            "count",
            [sys.executable, "-c", "import os; print(os.environ['WORD'], os.getcwd())"],
            log=log,
            seconds=60,
            folder=tmp_path,
            environment={"WORD": word},
        )
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith(("one", "two"))] == [
        f"one {tmp_path}",
        f"two {tmp_path}",
    ]


def test_a_failing_step_shows_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    script = "for i in range(99): print('line', i)\nraise SystemExit(3)"
    with pytest.raises(BuildError, match=r"cannot compile: .*status 3") as failure:
        run_step("compile", [sys.executable, "-c", script], log=log, seconds=60)
    assert failure.value.path == str(log)
    assert "line 98" in str(failure.value)
    assert "line 80" not in str(failure.value)


def test_a_program_that_is_not_there_fails_as_any_other(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot compile"):
        run_step("compile", [tmp_path / "no-such-program"], log=tmp_path / "log", seconds=60)


def test_a_step_that_takes_too_long_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child"
    wait = subprocess.Popen.wait

    def runs_out(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        """Wait; 5 s are over when the step has a child, however busy the machine is."""
        if timeout is None:
            return wait(process)
        assert timeout == 5
        while not (child.exists() and child.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        raise subprocess.TimeoutExpired(process.args, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", runs_out)
    script = (
        "import pathlib, subprocess, sys\n"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(c.pid))\n"
        "c.wait()"
    )
    with pytest.raises(BuildError, match="not done after 5 s"):
        run_step("wait", [sys.executable, "-c", script], log=tmp_path / "log", seconds=5)
    while alive(int(child.read_text())):
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that was killed and that nobody has waited for yet is no longer running.
    with open(f"/proc/{pid}/stat") as status:  # noqa: PTH123 - /proc is no place for pathlib's checks
        return status.read().rpartition(")")[2].split()[0] not in {"Z", "X"}


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", ""),
        (b"a\nb\nc\n", "    b\n    c"),
        (b"x\x1b[31mred\n", "    x?[31mred"),
        (b"caf\xe9\n", "    caf\\xe9"),
    ],
)
def test_last_lines_are_safe_to_show(tmp_path: Path, content: bytes, shown: str) -> None:
    (tmp_path / "log").write_bytes(content)
    assert last_lines(tmp_path / "log", 2) == shown
