"""Decode a large trace.dat: our reader beside ``trace-cmd report``, on the same file in the same run.

    python bench/trace_dat.py [REPEATS]

The file is made of a real recording: converted to version 6 by trace-cmd, and its ring-buffer pages repeated
with later and later times. ``trace-cmd report`` prints text that a program would still have to parse; its
``-t`` and plug-ins are off. Prints a markdown table of medians and the ratio.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from analyzer.capture import Notes
from analyzer.options import Options
from analyzer.readers import trace_dat
from analyzer.readers.unwrap import ByteStream
from schemas.trace_dat import FLYRECORD_MARK

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "traces" / "formats" / "trace-dat-kprobes-kernel1.dat"
RUNS = 3
PAGE = 4096


def version_6(folder: Path) -> bytes:
    """Convert the sample with trace-cmd itself."""
    target = folder / "v6.dat"
    subprocess.run(
        [
            "trace-cmd",
            "convert",
            "--file-version",
            "6",
            "--compression",
            "none",
            "-i",
            str(SAMPLE),
            "-o",
            str(target),
        ],
        check=True,
        capture_output=True,
    )
    return target.read_bytes()


def enlarged(data: bytes, repeats: int) -> bytes:
    """Repeat the pages of the only CPU, which end the file, each time later than the last."""
    place = data.index(FLYRECORD_MARK) + len(FLYRECORD_MARK)
    offset, size = np.frombuffer(data, "<u8", 2, place).tolist()
    pages = np.frombuffer(data, np.uint8, size, offset).reshape(-1, PAGE)
    many = np.tile(pages, (repeats, 1))
    times = many[:, :8].copy().view("<u8")[:, 0]
    span = int(times.max() - times.min()) + 1_000_000_000
    times += np.repeat(np.arange(repeats, dtype=np.uint64) * np.uint64(span), len(pages))
    many[:, :8] = times.astype("<u8").view(np.uint8).reshape(-1, 8)
    head = bytearray(data[:offset])
    head[place + 8 : place + 16] = (size * repeats).to_bytes(8, "little")
    return bytes(head) + many.tobytes()


def ours(path: Path) -> tuple[float, int]:
    """Seconds and accesses of one decode."""
    start = time.perf_counter()
    with ByteStream(str(path), path.open("rb")) as stream:
        rows = sum(frame.height for frame in trace_dat.read(stream, Notes(str(path)), Options()))
    return time.perf_counter() - start, rows


def theirs(path: Path) -> tuple[float, int]:
    """Seconds and lines of one ``trace-cmd report``."""
    start = time.perf_counter()
    output = subprocess.run(["trace-cmd", "report", "-N", str(path)], check=True, capture_output=True).stdout
    seconds = time.perf_counter() - start
    return seconds, sum(1 for line in io.BytesIO(output) if b": cfg_" in line)


def main() -> None:
    """Make the file, measure both, print the table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "large.dat"
        path.write_bytes(enlarged(version_6(folder), repeats))
        results = {}
        for title, measure in (("aritrace", ours), ("`trace-cmd report`", theirs)):
            runs = [measure(path) for _ in range(RUNS)]
            results[title] = statistics.median(seconds for seconds, _ in runs), runs[0][1]
        print(f"{path.stat().st_size / 1e6:.0f} MB, median of {RUNS} runs")
        print()
        print("| decoder | records | seconds | records/s |")
        print("|---|---|---|---|")
        for title, (seconds, rows) in results.items():
            print(f"| {title} | {rows:,} | {seconds:.2f} | {rows / seconds:,.0f} |")
        (mine, _), (other, _) = results.values()
        print()
        print(f"ratio: {other / mine:.1f}")


if __name__ == "__main__":
    main()
