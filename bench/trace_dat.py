"""A large trace.dat, beside ``trace-cmd report``.

The file is made of a real recording: converted to version 6 by trace-cmd, which keeps the pages of its ring
buffer as they were, and these repeated on four CPUs with later and later times. ``trace-cmd report`` prints
text that a program would still have to parse; its plug-ins are off.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from measuring import MISSING, TRACES, Contender, Plan, Table, asked, compare, megabytes
from native import decode
from profiles import where_the_time_goes

from schemas.trace_dat import FLYRECORD_MARK, OPTIONS_MARK, Option

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "trace.dat of trace-cmd"
SAMPLE = TRACES / "formats" / "trace-dat-kprobes-kernel1.dat"
REPEATS, FEW = 160, 4
_PAGE = 4096
_CPUS = 4
_TARGET = 1.5e6
_NAMES = "decode", "`trace-cmd report -N`"


def measure(plan: Plan) -> list[Table]:
    """Measure one file; without trace-cmd there is none."""
    if shutil.which("trace-cmd") is None:
        rows = [(_NAMES[0], "trace-cmd makes the file", asked(_TARGET)), (_NAMES[1], MISSING, "")]
        return [Table("Not measured", ("", "events/s", "asked for"), rows)]
    path = plan.folder / "large.dat"
    path.write_bytes(enlarged(_version_6(plan.folder / "version-6.dat"), plan.size(REPEATS, FEW)))
    contenders = [
        Contender(_NAMES[0], partial(decode, path), _TARGET),
        Contender(_NAMES[1], partial(report, path)),
    ]
    caption = f"{megabytes(path.stat().st_size)} MB, {_CPUS} CPUs"
    tables = [compare(plan, caption, "events", contenders)]
    if plan.profile:
        tables.append(where_the_time_goes("decoding", partial(decode, path)))
    path.unlink()
    return tables


def report(path: Path) -> int:
    """Let trace-cmd print the events; count the config accesses."""
    output = subprocess.run(["trace-cmd", "report", "-N", str(path)], check=True, capture_output=True).stdout
    return output.count(b": cfg_")


def enlarged(data: bytes, repeats: int) -> bytes:
    """Repeat the pages of the only CPU of a version 6 file, in turns on each of ``_CPUS`` CPUs."""
    place = data.index(FLYRECORD_MARK) + len(FLYRECORD_MARK)
    offset, size = np.frombuffer(data, "<u8", 2, place).tolist()
    pages = np.frombuffer(data, np.uint8, size, offset).reshape(-1, _PAGE)
    moments = pages[:, :8].copy().view("<u8")[:, 0]
    span = int(moments.max() - moments.min()) + 1_000_000_000
    head = bytearray(data[:place])
    options = data.index(OPTIONS_MARK)
    head[options - 4 : options] = _CPUS.to_bytes(4, "little")
    # The option says it again: id u16, size u32, count u32.
    count = data.index(Option.CPUCOUNT.to_bytes(2, "little") + b"\4\0\0\0", options) + 6
    head[count : count + 4] = _CPUS.to_bytes(4, "little")
    # Behind the places of the CPU data stands the name of the clock.
    clock_size = 8 + int.from_bytes(data[place + 16 : place + 24], "little")
    clock = data[place + 16 : place + 16 + clock_size]
    offset = -(-(place + 16 * _CPUS + len(clock)) // _PAGE) * _PAGE
    parts = []
    for cpu in range(_CPUS):
        rounds = np.arange(cpu, repeats, _CPUS) // _CPUS
        many = np.tile(pages, (len(rounds), 1))
        later = np.repeat(rounds.astype(np.uint64) * np.uint64(span), len(pages))
        # A moment later on each CPU, so that the events have one order.
        shifted = np.tile(moments, len(rounds)) + later + np.uint64(cpu)
        many[:, :8] = shifted.astype("<u8").view(np.uint8).reshape(-1, 8)
        parts.append(many.tobytes())
        head += offset.to_bytes(8, "little") + len(parts[-1]).to_bytes(8, "little")
        offset += len(parts[-1])
    head += clock
    return bytes(head) + bytes(-len(head) % _PAGE) + b"".join(parts)


def _version_6(path: Path) -> bytes:
    """Convert the sample with trace-cmd itself."""
    options = ["--file-version", "6", "--compression", "none", "-i", str(SAMPLE), "-o", str(path)]
    subprocess.run(["trace-cmd", "convert", *options], check=True, capture_output=True)
    data = path.read_bytes()
    path.unlink()
    return data
