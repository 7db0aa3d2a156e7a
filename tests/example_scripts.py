"""The scripts of docs/examples, run as their units run them, with the program of this environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PROGRAM = str(Path(sys.executable).parent / "analyze")


def run_example(name: str, **variables: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a script; the variables begin with ``ARITRACE_``."""
    settings = {f"ARITRACE_{key.upper()}": str(value) for key, value in variables.items()}
    done = subprocess.run(
        [EXAMPLES / name],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | {"ARITRACE_ANALYZE": PROGRAM} | settings,
    )
    return done.returncode, done.stdout, done.stderr


def sysfs(dump: str, folder: Path) -> Path:
    """Make the tree of ``config`` files, as below ``/sys/bus/pci/devices``, that a dump of lspci shows."""
    for device in filter(None, dump.split("\n\n")):
        head, *rows = device.strip().splitlines()
        place = folder / f"0000:{head.split()[0]}"
        place.mkdir(parents=True)
        (place / "config").write_bytes(b"".join(bytes.fromhex(row.partition(": ")[2]) for row in rows))
    return folder
