"""What the options of a trace.dat say besides the records: machine, tool, clock, number of lost events.

Source: libtracecmd ``trace-input.c`` (``handle_options``, ``timestamp_calc``), Linux ``kernel/trace/trace.c``
(``trace_clocks``, ``tracing_stats_read``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schemas.trace_dat import Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.readers.trace.dat_parts import TraceFile

#: Clocks that count ns, as ``Notes.clock`` names them.
_CLOCKS = {
    "local": "local", "global": "local", "perf": "local", "uptime": "local", "mono": "monotonic",
    "mono_raw": "local", "boot": "boot", "tai": "tai",
}  # fmt: skip
_CHOSEN = re.compile(r"\[(\w[\w-]{0,30})\]")
_NUMBER = re.compile(rb"\s*([+-]?)(0[xX][0-9a-fA-F]{1,16}|\d{1,20})")
_STAT = re.compile(
    r"(?m)^(CPU|overrun|commit overrun|dropped events): *(\d{1,15})\s*$|^(Buffer): (.{0,200})$"
)
_MOST_SHIFT = 32
_MASK32 = np.uint64(0xFFFF_FFFF)
_LARGEST = np.iinfo(np.int64).max
_MOST_NAME = 200


@dataclass(frozen=True)
class TraceClock:
    """How the numbers in a trace become ns.

    Attributes:
        name: as ``Notes.clock`` names it, None if that cannot be said.
        counts_ns: whether the numbers mean ns at all, possibly after ``mult`` and ``shift``.
        offset: added to each.
    """

    name: str | None
    counts_ns: bool
    mult: int = 0
    shift: int = 0
    offset: int = 0

    def nanoseconds(self, raw: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ns."""
        time = raw.astype(np.uint64)
        if self.mult:
            # mul_u64_u32_shr: 96 bits, in two halves.
            mult, shift = np.uint64(self.mult), np.uint64(self.shift)
            low = ((time & _MASK32) * mult) >> shift
            time = (((time >> np.uint64(32)) * mult) << np.uint64(32 - self.shift)) + low
        return np.minimum(time, np.uint64(_LARGEST)).astype(np.int64) + np.int64(self.offset)


def clock_of(file: TraceFile, notes: Notes) -> TraceClock:
    """Return the clock of the file; note if its buffers do not have the same."""
    names = {buffer.clock for buffer in file.buffers if buffer.clock}
    chosen = _CHOSEN.search(file.clock or "")
    if chosen and not names:
        names = {chosen[1]}
    if len(names) > 1:
        notes.problem(
            "clock",
            f"the buffers of this file have different clocks ({', '.join(sorted(names))}): the order between"
            " them means nothing; record with one (trace-cmd record -C boot)",
        )
        return TraceClock(None, counts_ns=False)
    name = next(iter(names)) if names else "local"
    offset = sum(_offset(data) * 1000 for data in file.option(Option.DATE))
    dated = bool(file.option(Option.DATE))
    offset += sum(map(_offset, file.option(Option.OFFSET)))
    offset = max(min(offset, _LARGEST), -_LARGEST)
    for data in file.option(Option.TSC2NSEC):
        if len(data) >= file.layouts.tsc2nsec.sizeof():
            scale = file.layouts.tsc2nsec.parse(data)
            if 0 < scale.shift <= _MOST_SHIFT and scale.mult:
                return TraceClock(None, True, int(scale.mult), int(scale.shift), offset)
    if name not in _CLOCKS:
        return TraceClock(None, counts_ns=False)
    return TraceClock("realtime" if dated else _CLOCKS[name], True, offset=offset)


def _offset(data: bytes) -> int:
    found = _NUMBER.match(data)
    return 0 if found is None else int(found[1] + found[2], 16 if b"x" in found[2].lower() else 10)


def note_facts(file: TraceFile, notes: Notes) -> None:
    """Write into the notes which machine and kernel recorded, and with what."""
    for data in file.option(Option.UNAME):
        # uname's sysname, nodename, release and machine (trace-record.c, add_uname).
        words = _text(data).split()
        if len(words) >= 4:
            notes.host = None if words[1] == "(none)" else words[1]
            notes.releases = [words[2]]
    for data in file.option(Option.VERSION):
        notes.tool = ("trace-cmd " + _text(data).split(" ")[0]).strip()


def lost_events(file: TraceFile) -> Iterator[tuple[str, int, int, int]]:
    """Yield what the kernel counted: buffer, CPU, events overwritten, and events not recorded at all."""
    buffer, cpu = "", -1
    overwritten = refused = 0
    for data in file.option(Option.CPUSTAT):
        for key, number, _, name in _STAT.findall(_text(data)):
            if key in ("CPU", "") and cpu >= 0:
                yield buffer, cpu, overwritten, refused
                overwritten = refused = 0
            if key == "CPU":
                cpu = int(number)
            elif key == "overrun":
                overwritten = int(number)
            elif key:
                refused += int(number)
            else:
                buffer, cpu = name, -1
    if cpu >= 0:
        yield buffer, cpu, overwritten, refused


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")[: 1 << 16]
