"""Whole commands from the shell: the first capture of the day, and the help.

    python bench/startup.py

Times ``analyze`` on a native capture and a text log of 20,000 accesses each, and ``analyze --help``, beside
a bare Python start and the import of polars; prints a markdown table of medians.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOG = ROOT / "traces" / "formats" / "qemu-log-dialect-c.log.zst"
ACCESSES = 20_000
RUNS = 7


def seconds(command: list[str]) -> float:
    """Median wall time of a command after one warm-up run."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def main() -> None:
    """Make the inputs, time the commands, print the table."""
    import zstandard

    analyze = shutil.which("analyze", path=Path(sys.executable).parent) or "analyze"
    with tempfile.TemporaryDirectory() as folder:
        text = zstandard.ZstdDecompressor().stream_reader(LOG.open("rb")).read()
        lines = text.split(b"\n")
        log = Path(folder) / "cfg.log"
        # The last ACCESSES of the log: the whole incoming kernel and the end of the outgoing one.
        log.write_bytes(b"\n".join(lines[-ACCESSES - 1 :]))
        native = Path(folder) / "cfg.bin"
        subprocess.run([analyze, "convert", "-q", str(log), "-o", str(native)], check=True)
        rows = [
            ("`analyze cfg.bin`", 0.5, [analyze, str(native)]),
            ("`analyze cfg.log`", 0.8, [analyze, str(log)]),
            ("`analyze --help`", 0.4, [analyze, "--help"]),
            ("`python -c pass`", None, [sys.executable, "-c", "pass"]),
            ("`python -c 'import polars'`", None, [sys.executable, "-c", "import polars"]),
        ]
        print(f"20,000 accesses, median of {RUNS} runs")
        print()
        print("| command | seconds | asked for |")
        print("|---|---|---|")
        for name, limit, command in rows:
            print(f"| {name} | {seconds(command):.3f} | {limit if limit is not None else ''} |")


if __name__ == "__main__":
    main()
