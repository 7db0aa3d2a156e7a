"""``analyze fleet`` as processes, with a run that can be held in its middle, and the tables it leaves."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
from fleet_runs import Fleet

from analyzer.fleet.rows import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Loaded by every worker at its start: what names the host in HELD_HOST is not analysed while HELD exists.
_HOLD = """
import os, time
import analyzer.fleet.analysis as analysis
free = analysis.analyze_inputs

def analyze_inputs(entries, *arguments):
    entries = list(entries)
    host = os.environ["HELD_HOST"].encode()
    while any(host in entry.location for _, entry in entries) and os.path.exists(os.environ["HELD"]):
        time.sleep(0.01)
    return free(entries, *arguments)

analysis.analyze_inputs = analyze_inputs
"""


class Program(Fleet):
    """Calls start a process of their own each, and wait for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._held = folder / "held"
        self._holding = self.at_start(_HOLD) | {"HELD": str(self._held)}

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate()
        return process.returncode, out, err

    def killed(self, host: str, batches: Path, *arguments: object) -> int:
        """Start a run, and kill all its processes at once when only the batch of a host is not done.

        Returns:
            how many batches it did.
        """
        before = len(list(batches.glob("batch-*")))
        self._held.touch()
        usual = self.environment
        self.environment = usual | self._holding | {"HELD_HOST": host}
        process = self.start(*arguments)
        self.environment = usual
        while (done := len(list(batches.glob("batch-*"))) - before) < 2:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        self._held.unlink()
        return done


def counted_rows(directories: Iterable[Path]) -> dict[str, Counter[str]]:
    """How often each row that counts stands in the tables of some runs, without the numbers of captures."""
    found: dict[str, Counter[str]] = {table: Counter() for table in TABLES}
    for directory in directories:
        replaced = pl.read_parquet(directory / "replaced")["capture"].implode()
        for table, rows in found.items():
            frame = pl.read_parquet(directory / table, hive_partitioning=True)
            frame = frame.filter(~pl.col("capture").is_in(replaced)).drop("capture")
            rows.update(frame.select(sorted(frame.columns)).write_ndjson().splitlines())
    return found
