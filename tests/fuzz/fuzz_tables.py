"""Bytes as an access table and back, so that a fuzzer of bytes makes captures that no machine would give.

A record is 10 bytes: kind and op, domain and status, bus, devfn, register (u16), value (u32). Kinds below 16
are accesses of width 0, 1, 2 or 4; the others are marks in the history (a kexec, a boot, a kernel log line).
"""

from __future__ import annotations

import numpy as np

from analyzer.capture import Boundary, Capture, Event, LogLine, Notes, PreservedDump, SourceFile, accesses
from analyzer.readers import with_keys

RECORD = np.dtype(
    [("kind", "u1"), ("place", "u1"), ("bus", "u1"), ("devfn", "u1"), ("offset", "<u2"), ("value", "<u4")]
)
_MARKS = ("boot", "kexec", "live-update", "plain", "crash")
_LOG = (
    "[    0.000000] Linux version 6.18.0-luo (x) #1 SMP",
    "[    1.000000] pci 0000:02:00.0: ARI forwarding inherited",
    "[    9.000000] kexec_core: Starting new kernel",
    "[    0.000000] Command line: pci=noari liveupdate=on",
    "[    1.000000] pci 0000:03:00.0: [8086:1533] type 00 class 0x020000 PCIe Endpoint",
    "[    2.000000] pcieport 0000:00:01.0: Link Down",
)
_DOMAINS = np.array([0, 0, 0, 0, 0, 0, 1, 0x10000], np.uint32)


def capture_of(data: bytes) -> Capture:
    """The capture that these bytes stand for; every sequence of bytes stands for one."""
    rows = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)
    is_mark = rows["kind"] >= 0xF0
    found = rows[~is_mark]
    count = len(found)
    width = np.array([0, 1, 2, 4], np.uint8)[found["kind"] >> 1 & 3]
    limit = np.array([0xFFFFFFFF, 0xFF, 0xFFFF, 0xFFFFFFFF], np.uint32)[found["kind"] >> 1 & 3]
    time = np.cumsum(found["kind"].astype(np.int64) * 1000)
    table = accesses.from_columns(
        {
            "time_ns": accesses.pl.Series(time),
            "domain": _DOMAINS[found["place"] & 7],
            "bus": found["bus"],
            "devfn": found["devfn"],
            "offset": found["offset"] & 0xFFF,
            "width": width,
            "op": found["kind"] & 1,
            "value": found["value"] & limit,
            "status": np.minimum(found["place"] >> 3 & 7, 4) * (found["place"] >> 6 == 3),
            "absent": found["place"] >> 6 == 2,
            "where": np.arange(count, dtype=np.uint64) * np.uint64(24),
        },
        count,
    )
    notes = Notes("fuzz.bin", host="fuzz")
    before = np.cumsum(~is_mark)
    for at in np.flatnonzero(is_mark).tolist():
        _mark(notes, rows[at], int(before[at]))
    source = SourceFile("fuzz.bin", "native", "0" * 64)
    return Capture("fuzz.bin", [source], "native", with_keys(table, 0), notes)


def _mark(notes: Notes, row: np.void, seq: int) -> None:
    kind = int(row["kind"]) - 0xF0
    if kind < 10:
        notes.boundaries.append(Boundary(seq, _MARKS[kind % 5], "6.18.0" if kind < 5 else None))
    elif kind < 13:
        notes.log.append(LogLine(_LOG[int(row["value"]) % len(_LOG)], seq if kind < 12 else None, None))
    elif kind < 15:
        place = (0, int(row["bus"]), int(row["devfn"]))
        notes.events.append(Event(("link", "hotplug", "aer", "dpc")[int(row["value"]) % 4], seq, place, "x"))
    else:
        notes.preserved.append(PreservedDump(row.tobytes() * 8, "pci", None))


def bytes_of(capture: Capture, limit: int = 4000) -> bytes:
    """The records of a capture's accesses and boundaries: a seed."""
    table = capture.accesses
    rows = np.zeros(table.height, RECORD)
    kind = {0: 0, 1: 2, 2: 4, 4: 6}
    rows["kind"] = [kind[width] for width in table["width"].to_list()]
    rows["kind"] |= table["op"].to_physical().to_numpy()
    rows["place"] = table["absent"].to_numpy().astype(np.uint8) << 7
    for name in ("bus", "devfn", "offset", "value"):
        rows[name] = table[name].to_numpy()
    marks = {mark.seq: mark.kind for mark in capture.notes.boundaries}
    parts, last = [], 0
    for seq in sorted(marks):
        mark = np.zeros(1, RECORD)
        mark["kind"] = 0xF0 + _MARKS.index(marks[seq])
        parts += [rows[max(last, seq - limit // 2) : seq], mark]
        last = seq
    parts.append(rows[last : last + limit // 2])
    return b"".join(part.tobytes() for part in parts)
