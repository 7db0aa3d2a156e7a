"""Longer and longer captures, each analysed by a process of its own: time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import long_captures
from measuring import ANALYZE, Run, Table, median_run, megabytes, rate, run_command

if TYPE_CHECKING:
    from measuring import Plan

TITLE = "Longer captures"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10_000, 30_000)
LONGEST = 100_000_000
#: A file of 10 GB, stored raw: 24 bytes an access.
HUGE = 10_000_000_000 // 24
_FEW_RUNS = 10_000_000


def measure(plan: Plan) -> list[Table]:
    """Measure sizes of a whole range; one result a row."""
    sizes = [(size, 3) for size in (QUICK_SIZES if plan.quick else SIZES)]
    if plan.long:
        sizes += [(LONGEST, 3), (HUGE, 0)]
    rows = []
    before: tuple[int, float] | None = None
    for size, level in sizes:
        path = plan.folder / "scaling.bin"
        long_captures.native(path, size, level)
        stored = path.stat().st_size
        command = [ANALYZE, "--quiet", str(path)]
        # The loss of the recording is found: exit status 1.
        run = run_command(command, {1}) if size >= _FEW_RUNS else median_run(plan, command, {1})
        path.unlink()
        rows.append(_row(size, stored, level, run, before))
        before = size, run.seconds
    head = (
        "accesses",
        "file MB",
        "seconds",
        "accesses/s",
        "ns for each further access",
        "peak MB",
        "asked for",
    )
    return [Table("`analyze FILE` from the shell, start included", head, rows)]


def _row(size: int, stored: int, level: int, run: Run, before: tuple[int, float] | None) -> list[str]:
    further = ""
    if before is not None:
        further = f"{(run.seconds - before[1]) / (size - before[0]) * 1e9:,.0f}"
    return [
        f"{size:,}",
        megabytes(stored) + ("" if level else " (raw)"),
        f"{run.seconds:.2f}",
        rate(size / run.seconds),
        further,
        megabytes(run.peak_bytes),
        "peak < 1,000" if size == HUGE else "",
    ]
