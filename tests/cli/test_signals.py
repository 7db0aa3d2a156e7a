"""Ctrl-C and polite kills at any moment: a file is as it was or whole, nothing beside it, not a word."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
OLD = b"what was here before"
MAIN = "from analyzer.cli import main; main()"
CONVERT = ["convert", "a.bin", "--to", "bin", "-q", "-o", "out/new"]
#: Counts Python calls; sends the signal at the one whose number is AT, with 0 tells how many there were.
#: Not those of generators, coroutines: what a profiler raises skips their own handlers; a signal's does not.
COUNTED = """
import atexit, inspect, os, signal, sys
generators = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
at, calls = int(os.environ["AT"]), 0
def look(frame, event, argument):
    global calls
    if event != "call" or frame.f_code.co_flags & generators:
        return
    calls += 1
    if calls == at:
        sys.setprofile(None)
        signal.raise_signal(NUMBER)
if at == 0:
    atexit.register(lambda: print(calls))
import signal
from analyzer.cli import main
sys.setprofile(look)
main()
"""
#: A signal that had to wait arrives before the file takes its name, however long that is.
SLOW = """
import os, time
replace = os.replace
def slow_replace(*names):
    time.sleep(3600)
    replace(*names)
os.replace = slow_replace
"""
#: Moments at which an exception does harm or is lost, and the code that sends the signal then.
MOMENTS = {
    "polars asks for numpy's version": """
import numpy.lib, os, signal
class Version(numpy.lib.NumpyVersion):
    def __init__(self, text):
        signal.raise_signal(NUMBER)
        super().__init__(text)
numpy.lib.NumpyVersion = Version
""",
    "an import": """
import os, sys, signal
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "polars.series":
            signal.raise_signal(NUMBER)
sys.meta_path.insert(0, Finder())
""",
    "the temporary file has just been made": """
import io, os, signal
io_open = io.open
def late_open(name, *rest, **options):
    stream = io_open(name, *rest, **options)
    if str(name).endswith(".tmp"):
        signal.raise_signal(NUMBER)
    return stream
io.open = late_open
""",
    "the temporary file is being removed": """
import os, signal
unlink, unlucky = os.unlink, os.replace
def late_unlink(*names, **options):
    signal.raise_signal(NUMBER)
    unlink(*names, **options)
def late_replace(*names):
    signal.raise_signal(NUMBER)
    unlucky(*names)
os.unlink, os.replace = late_unlink, late_replace
""",
    "a finaliser": """
import os, signal
class Late:
    def __del__(self):
        signal.raise_signal(NUMBER)
        str(self)
unlucky = os.replace
def late_replace(*names):
    Late()
    unlucky(*names)
os.replace = late_replace
""",
}
SIGNALS = [signal.SIGINT, signal.SIGTERM]
#: At which parts of the program's run a signal is sent.
PARTS = [0.01, 0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.9, 0.94, 0.97, 0.99]


class Ended(NamedTuple):
    status: int
    error: bytes
    #: The names in the output's folder, and the output's bytes.
    names: list[str]
    content: bytes


def run(code: str, number: int, at: int = 0) -> tuple[Ended, bytes]:
    Path("out").mkdir(exist_ok=True)
    Path("out/new").write_bytes(OLD)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("NUMBER", str(int(number))), *CONVERT],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AT": str(at)},
        capture_output=True,
        check=False,
    )
    names = [path.name for path in Path("out").iterdir()]
    return Ended(done.returncode, done.stderr, names, Path("out/new").read_bytes()), done.stdout


@pytest.fixture(autouse=True)
def _capture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "traces" / "lost-explicit-write.bin", "a.bin")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_that_takes_no_exception(moment, number):
    ended, _ = run(SLOW + MOMENTS[moment] + MAIN, number)
    assert ended == (128 + number, b"", ["new"], OLD)


def test_any_moment():
    run(COUNTED, 0)  # so that all later runs find compiled modules, and make the same calls
    whole, told = run(COUNTED, 0)
    assert whole == (0, b"", ["new"], whole.content)
    assert whole.content != OLD
    calls = int(told)
    statuses = set()
    for at, part in enumerate(PARTS):
        number = SIGNALS[at % 2]
        ended, _ = run(COUNTED, number, int(part * calls))
        # Before there is anything to tidy up the signal ends the program itself, as it does after its work.
        # One that was to wait for polars may find the work done.
        assert ended == whole or ended.status in (128 + number, -number)
        assert ended[1:] in (whole[1:], (b"", ["new"], OLD))
        statuses.add(ended.status)
    assert statuses >= {130, 143}


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_waits_for_a_pipe(number):
    """Which polars would let go on: its handler restarts system calls."""
    program = subprocess.Popen(
        [sys.executable, "-c", MAIN, "-"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    program.stdin.write(Path("a.bin").read_bytes()[:50_000])
    program.stdin.flush()
    looks = 0
    while program.poll() is None and looks < 10:
        looks = looks + 1 if taken(program.stdin) and sleeps(program.pid) else 0
        time.sleep(0.01)
    program.send_signal(number)
    try:
        assert program.wait() == 128 + number
    finally:
        program.kill()
    assert program.communicate() == (b"", b"")


def taken(pipe) -> bool:
    """Whether everything that was written to a pipe has been read."""
    waiting = bytearray(4)
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, waiting)
    return not any(waiting)


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_the_parent_ignores(number):
    ignoring = "import signal; signal.signal(NUMBER, signal.SIG_IGN)\n"
    ended, _ = run(ignoring + MOMENTS["an import"] + MAIN, number)
    assert ended == (0, b"", ["new"], ended.content)
    assert ended.content != OLD
