"""A long log of QEMU's trace events, beside ``grep``, which only has to find the lines."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import long_captures
from measuring import Contender, Plan, Table, compare, megabytes
from native import analyse, decode
from profiles import where_the_time_goes

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Text log of QEMU"
LINES, FEW = 2_000_000, 50_000


def measure(plan: Plan) -> list[Table]:
    """Measure one log."""
    path = plan.folder / "long.log"
    long_captures.log_text(path, plan.size(LINES, FEW))
    found = shutil.which("grep") is not None
    contenders = [
        Contender("decode", partial(decode, path), 1e6),
        Contender("whole analysis", partial(analyse, path)),
        Contender("`grep -cE pci_cfg_`", partial(grep, path) if found else None),
    ]
    tables = [compare(plan, f"{megabytes(path.stat().st_size)} MB", "lines", contenders)]
    if plan.profile:
        tables.append(where_the_time_goes("decoding", partial(decode, path)))
    path.unlink()
    return tables


def grep(path: Path) -> int:
    """Count the lines of config accesses."""
    command = ["grep", "-cE", "pci_cfg_", str(path)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)
