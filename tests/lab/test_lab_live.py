"""Real kexecs of Debian's kernel in QEMU: what the analysis predicts is what each kernel enumerates."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analyzer.cli.application import run

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    "name",
    [
        "clean",
        "healed-in-blackout",
        "switch-reset-in-blackout",
        "reboot",
        "acs-cleared-in-blackout",
        "command-cleared-in-blackout",
    ],
)
def test_a_scenario_comes_out_as_it_must(name, tmp_path, capsys):
    status = run(["lab", "run", name, "-o", str(tmp_path)])
    said = capsys.readouterr()
    assert (status, said.out.split()[0]) == (0, "ok"), said.out + said.err
    assert "0 not as expected" in said.out
    assert (tmp_path / f"{name}.bin").stat().st_size > 10_000
    assert {path.name for path in (tmp_path / name).iterdir()} == {"cfg.log", "cfg.dmesg", "truth.json"}


def test_the_page_shows_what_a_run_prints(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "lab.md").read_text("utf-8")
    (name, shown) = re.search(r"analyze lab run (\S+)\n```\n\n```\n(.*?)```", page, re.DOTALL).groups()
    monkeypatch.chdir(tmp_path)
    assert run(["lab", "run", name]) == 0
    said = [
        re.sub(r"\d+\.\d s$", "N s", text, flags=re.MULTILINE) for text in (capsys.readouterr().out, shown)
    ]
    assert said[0] == said[1]


def command_lines():
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes()
        except OSError:
            continue


def test_nothing_is_left_running_after_sigterm(tmp_path):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(tmp_path), "HOME": str(Path.home())}
    program = "from analyzer.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "lab", "run", "clean", "--no-kvm", "-o", str(tmp_path / "out")],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert "kernel 1 of 2 is up" in process.stderr.readline()
        (folder,) = tmp_path.glob("aritrace-lab-*")
        assert any(str(folder).encode() in line for line in command_lines())
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait() == 128 + signal.SIGTERM
        finally:
            process.kill()
    while any(str(folder).encode() in line for line in command_lines()):
        time.sleep(0.05)
    assert not folder.exists()


def test_the_time_limit_holds(tmp_path, capsys):
    assert run(["lab", "run", "clean", "--no-kvm", "--timeout", "2", "-o", str(tmp_path)]) == 1
    assert "clean: not finished after 2 s" in capsys.readouterr().out
