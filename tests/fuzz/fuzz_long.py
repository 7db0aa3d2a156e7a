"""The long run: every target in turn, again and again: ``python tests/fuzz/fuzz_long.py DIR SECONDS [EACH]``.

``DIR/corpus`` keeps what was found interesting and is where the next run goes on; ``DIR/finds`` holds the
finds, ``DIR/logs`` what libFuzzer said, ``DIR/account.jsonl`` a line for each turn.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def turn(folder: Path, name: str, seconds: int) -> dict[str, object]:
    """Fuzz one target for some seconds."""
    for part in (f"corpus/{name}", f"finds/{name}", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    log = folder / "logs" / f"{name}-{time.time_ns()}.log"
    command = [sys.executable, str(HERE / "fuzz.py"), name, f"-max_total_time={seconds}"]
    command += ["-print_final_stats=1", f"-artifact_prefix={folder}/finds/{name}/", f"{folder}/corpus/{name}"]
    start = time.monotonic()
    with log.open("wb") as stream:
        ended = subprocess.run(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "FUZZ_FINDS": str(folder / "finds"), "POLARS_MAX_THREADS": "1"},
            check=False,
            timeout=seconds + 600,
        )
    said = log.read_text("utf-8", "replace")
    inputs = [int(number) for number in re.findall(r"number_of_executed_units: *(\d+)", said)]
    steps = [int(number) for number in re.findall(r"^#(\d+)", said, re.MULTILINE)]
    peak = [int(number) for number in re.findall(r"peak_rss_mb: *(\d+)", said)]
    return {
        "target": name,
        "seconds": round(time.monotonic() - start, 1),
        "inputs": (inputs or steps or [0])[-1],
        "peak_rss_mb": (peak or [None])[-1],
        "status": ended.returncode,
    }


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    each = int(sys.argv[3]) if len(sys.argv) > 3 else 120
    names = sys.argv[4].split(",") if len(sys.argv) > 4 else None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        listing = [sys.executable, "-c", "import fuzz_targets; print(*fuzz_targets.TARGETS)"]
        found = names or subprocess.run(
            listing, cwd=HERE, env={**os.environ, "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"},
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        for name in found:
            left = end - time.monotonic()
            if left <= 1:
                break
            with (folder / "account.jsonl").open("a") as account:
                account.write(json.dumps(turn(folder, name, int(min(each, left) + 1))) + "\n")


if __name__ == "__main__":
    main()
