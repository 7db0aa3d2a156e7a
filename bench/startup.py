"""Whole commands from the shell: one capture of 20,000 accesses, and the help.

Beside them a bare start of Python and the import of polars, which every start with a capture pays.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import long_captures
from measuring import ANALYZE, Table, median_run, megabytes

if TYPE_CHECKING:
    from measuring import Plan

TITLE = "One capture from the shell"
ACCESSES = 20_000


def measure(plan: Plan) -> list[Table]:
    """Make the captures and time the commands."""
    native, log = plan.folder / "short.bin", plan.folder / "short.log"
    long_captures.native(native, ACCESSES)
    long_captures.log_text(log, ACCESSES)
    commands = [
        ("`analyze cfg.bin`", [ANALYZE, str(native)], 1, "≤ 0.5"),
        ("`analyze cfg.log`", [ANALYZE, str(log)], 1, "≤ 0.8"),
        ("`analyze --help`", [ANALYZE, "--help"], 0, "≤ 0.4"),
        ("`python -c pass`", [sys.executable, "-c", "pass"], 0, ""),
        ("`python -c 'import polars'`", [sys.executable, "-c", "import polars"], 0, ""),
    ]
    rows = []
    for name, command, status, limit in commands:
        run = median_run(plan, command, {status})
        rows.append((name, f"{run.seconds:.3f}", limit, megabytes(run.peak_bytes)))
    caption = f"Captures of {ACCESSES:,} accesses around one kexec; median of {plan.runs}"
    return [Table(caption, ("command", "seconds", "asked for", "peak MB"), rows)]
