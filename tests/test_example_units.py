"""The units of docs/examples, as systemd reads them, and its scripts, as shellcheck does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SCRIPTS = ("aritrace-collect", "aritrace-fleet", "aritrace-gate")
UNITS = (
    "aritrace-collect.service",
    "aritrace-fleet.service",
    "aritrace-fleet.timer",
    "aritrace-record.service",
    "live-update.service",
)
#: The unit that a site has; the example is a drop-in for it.
LIVE_UPDATE = "[Unit]\nDescription=Live Update\n\n[Service]\nType=oneshot\nExecStart=/usr/sbin/live-update\n"


@pytest.fixture
def host(tmp_path):
    """The files of a host on which docs/operating.md was followed."""
    units, programs = tmp_path / "etc/systemd/system", tmp_path / "opt/aritrace/libexec"
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for folder in (units, programs, tmp_path / "usr/bin", tmp_path / "usr/sbin", tmp_path / "bin"):
        folder.mkdir(parents=True)
    shutil.copytree(EXAMPLES / "live-update.service.d", units / "live-update.service.d")
    for path in (*EXAMPLES.glob("*.service"), *EXAMPLES.glob("*.timer")):
        shutil.copy(path, units)
    for name in SCRIPTS:
        shutil.copy(EXAMPLES / name, programs)
    for name in ("usr/bin/install", "usr/bin/python3", "usr/sbin/live-update", "bin/sh"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (units / "live-update.service").write_text(LIVE_UPDATE)
    return tmp_path


def verify(root: Path, *units: str) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", *units],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.system
def test_systemd_knows_every_line_and_finds_every_program(host):
    assert verify(host, *UNITS) == (0, "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("unit", "line", "wrong", "said"),
    [
        ("aritrace-record.service", "IgnoreOnIsolate", "IgnoreIsolate", "Unknown key 'IgnoreIsolate'"),
        ("aritrace-fleet.timer", "02:00:00", "26:00:00", "Failed to parse calendar specification"),
        ("live-update.service.d/aritrace.conf", "aritrace-gate", "gate", "/gate is not executable"),
    ],
)
def test_that_would_find_a_fault(host, unit, line, wrong, said):
    path = host / "etc/systemd/system" / unit
    text = path.read_text()
    assert line in text
    path.write_text(text.replace(line, wrong))
    assert said in verify(host, unit.partition(".d/")[0])[1]


@pytest.mark.system
def test_shellcheck_finds_nothing():
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_each_file_is_of_one_kind_and_named_in_the_documents():
    """A script is executable, what the units start is one of them, and the page says where each file goes."""
    page = (EXAMPLES.parent / "operating.md").read_text("utf-8")
    names = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file()}
    assert {name for name in names if os.access(EXAMPLES / name, os.X_OK)} == set(SCRIPTS)
    assert {name for name in names if f"(examples/{name})" not in page} == set()
    units = [name for name in names if name.endswith((".service", ".conf"))]
    text = "".join((EXAMPLES / name).read_text("utf-8") for name in units)
    assert set(re.findall(r"/opt/aritrace/libexec/(\S+)", text)) == {*SCRIPTS, "record.py"}
