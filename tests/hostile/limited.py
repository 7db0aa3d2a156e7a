"""Run the real program in a process of its own, with the operating system holding it to its limits."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What every hostile input must do with: address space (not only what is used of it), processor time, and
#: the size of any file written.
MEMORY, SECONDS, OUTPUT = 3 << 30, 60, 256 << 20

_PROGRAM = """
import resource, sys
memory, seconds, output = (int(word) for word in sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_FSIZE, (output, output))
sys.argv[:4] = ["analyze"]
from analyzer.cli import main
main()
"""


@dataclass(frozen=True)
class Ended:
    """How the program ended."""

    status: int
    out: str
    err: str


def analyze(
    *arguments: object, memory: int = MEMORY, seconds: int = SECONDS, output: int = OUTPUT, **more: object
) -> Ended:
    """Run ``analyze`` with these arguments; a traceback or death by a signal fails the test.

    Args:
        arguments: of the command line.
        memory: bytes of address space.
        seconds: of processor time.
        output: bytes that a file may grow to.
        more: for ``subprocess.run``.
    """
    limits = [str(memory), str(seconds), str(output)]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *limits, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "2"},
        check=False,
        timeout=10 * seconds,
        **more,
    )
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    assert "Traceback" not in err, err
    assert done.returncode in (0, 1, 2, 3), (done.returncode, err)
    return Ended(done.returncode, out, err)
