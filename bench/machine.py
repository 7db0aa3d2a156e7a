"""What the figures were measured on: the machine and the versions of all who took part."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from measuring import MISSING, Table

_PACKAGES = "aritrace", "polars", "numpy", "construct", "scapy", "zstandard"
#: Program -> what makes it say its version, and the words before the version.
_PROGRAMS = {
    "trace-cmd": (["trace-cmd"], "trace-cmd version "),
    "tshark": (["tshark", "--version"], "TShark (Wireshark) "),
    "qemu-system-x86_64": (["qemu-system-x86_64", "--version"], "QEMU emulator version "),
    "grep": (["grep", "--version"], "grep (GNU grep) "),
}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def describe() -> Table:
    """Return the table of the machine."""
    rows = [
        ("date", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d")),
        ("processor", f"{_field('/proc/cpuinfo', 'model name')}, {cores()} cores"),
        ("memory", f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("load before the run", f"{os.getloadavg()[0]:.1f}"),
        ("Python", platform.python_version()),
        *((name, version(name)) for name in _PACKAGES),
        *((name, _program(name)) for name in _PROGRAMS),
    ]
    return Table("Measured on", ("", ""), rows)


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"  # not every architecture names its processors


def _program(name: str) -> str:
    command, before = _PROGRAMS[name]
    if shutil.which(name) is None:
        return MISSING
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    for line in (answer.stdout + answer.stderr).splitlines():
        if line.startswith(before):
            return line.removeprefix(before).split(" ")[0].rstrip(".,")
    return "unknown"
