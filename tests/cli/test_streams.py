"""The real program against streams that misbehave; the analysis is not needed for that."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

PROGRAM = [sys.executable, "-c", "from analyzer.cli import main; main()"]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(*arguments, **more):
    return subprocess.Popen(
        [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, **more
    )


@pytest.mark.parametrize("arguments", [["--help"], ["rule"], ["rule", "--format", "json"], ["no-such-file"]])
def test_a_reader_that_left_is_no_error(arguments):
    read, write = os.pipe()
    os.close(read)
    program = start(*arguments, stdout=write)
    os.close(write)
    _, err = program.communicate()
    assert program.returncode == 141
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_under_standard_output_is_reported():
    with Path("/dev/full").open("wb") as full:
        program = start("rule", stdout=full)
        _, err = program.communicate()
    assert program.returncode == 2
    assert b"cannot write to standard output: the disk is full (No space left on device)" in err
    assert b"Traceback" not in err


def test_closed_streams_do_not_crash():
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *PROGRAM, "rule"], env=ENVIRONMENT, check=False)
    assert done.returncode == 0


def test_a_terminal_that_takes_only_ascii_gets_escapes(tmp_path):
    done = subprocess.run(
        [*PROGRAM, str(tmp_path / "caf\u00e9")],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    assert b"caf\\xe9" in done.stdout
    assert b"caf\\xe9" in done.stderr


def opened_for(program: subprocess.Popen, fifo: Path) -> BinaryIO:
    """The writing end of a pipe, once the program reads it; one that ended instead has failed."""
    while True:
        try:
            return os.fdopen(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError:  # ENXIO: nobody reads yet
            assert program.poll() is None, program.communicate()
            time.sleep(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_it_by_convention(number, status, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = start(str(fifo), "-o", str(tmp_path / "report"), stdout=subprocess.PIPE)
    with opened_for(program, fifo) as stream:
        stream.write(b"x")
        stream.flush()
        program.send_signal(number)
        _, err = program.communicate()
    assert program.returncode == status
    assert b"Traceback" not in err
    assert list(tmp_path.iterdir()) == [fifo]
