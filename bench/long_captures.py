"""Captures of any length, made of real ones: what came first, drivers that poll for long, then the kexec.

Long captures are long because somebody reads config space for hours. Here the outgoing kernel does: before
the kexec of a real recording it reads the link status of every function that has one, and the AER status of
every port, again and again. The values are those of the recording, and one of them changes now and then.
Below the length of the recording it is the start of the outgoing kernel and what is around the kexec.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from measuring import TRACES

from analyzer.analysis import analyze_capture
from analyzer.converting.native import NativeWriter
from analyzer.readers import open_capture
from analyzer.readers.unwrap import open_stream
from schemas.simpletrace import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from analyzer.capture import Capture

NATIVE = TRACES / "lost-explicit-write.bin"
LOG = TRACES / "formats" / "qemu-log-dialect-c.log.zst"
SIMPLETRACE = TRACES / "formats" / "qemu-simpletrace-v4.simple.zst"

#: Link Status of the machine's root ports, switch ports and endpoints; a function is polled at the first.
_LINK_STATUS = 0x66, 0xA2, 0x92
_AER_STATUS = 0x104
#: So many accesses before the kexec the polling happens: before the last things that the old kernel does.
_BEFORE_KEXEC = 2000
#: The first polled register changes every so many polls: Link Autonomous Bandwidth Status comes and goes.
_CHANGE = 10_007
_BANDWIDTH_STATUS = 0x8000
#: Nanoseconds between two polls, as they come.
_PACE = 20_000, 80_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Story:
    """A recording and where to make it longer.

    Attributes:
        capture: the recording.
        start: the first access of the outgoing kernel.
        kexec: the first access behind the kexec.
        at: the access before which the polling happens.
        polled: rows of the accesses that are repeated.
    """

    capture: Capture
    start: int
    kexec: int
    at: int
    polled: NDArray[np.int64]


def story(path: Path) -> Story:
    """Open a recording and choose what is polled: registers as they were last read before that place."""
    capture = open_capture(str(path))
    result = analyze_capture(capture)
    kexec = result.kexecs[0].at_access
    start = result.boots[result.kexecs[0].outgoing_boot].first_access
    at = kexec - _BEFORE_KEXEC
    before = capture.accesses.with_row_index("row").head(at).filter(~pl.col("absent"))
    function = ["bus", "devfn"]
    ports = before.filter((pl.col("offset") == _AER_STATUS) & (pl.col("op") == "write")).select(function)
    reads = before.filter(pl.col("op") == "read")
    link = reads.filter(pl.col("offset").is_in(_LINK_STATUS)).with_columns(
        rank=pl.col("offset").replace_strict(_LINK_STATUS, range(len(_LINK_STATUS)))
    )
    link = link.filter(pl.col("rank") == pl.col("rank").min().over(function)).drop("rank")
    aer = reads.filter(pl.col("offset") == _AER_STATUS).join(ports, on=function, how="semi")
    last = pl.concat([link, aer]).group_by(*function, "offset").agg(pl.col("row").max())
    return Story(capture, start, kexec, at, last.get_column("row").sort().to_numpy().astype(np.int64))


def native(path: Path, accesses: int, level: int = 3) -> None:
    """Write a native capture of so many accesses; ``level`` as for ``NativeWriter``."""
    told = story(NATIVE)
    notes, table = told.capture.notes, told.capture.accesses.drop("capture", "file", "seq")
    polls = accesses - table.height
    with path.open("wb") as file, NativeWriter(file, clock=notes.clock, level=level) as writer:
        if polls <= 0:
            for part in _pieces(told, accesses):
                writer.accesses(table.slice(*part))
            return
        writer.accesses(table.head(told.at))
        end = int(table["time_ns"][told.at - 1])
        begin = end
        for frame in _polls(table[told.polled], polls, end):
            writer.accesses(frame)
            end = int(frame["time_ns"][-1])
        writer.accesses(table.slice(told.at).with_columns(pl.col("time_ns") + (end - begin)))
        writer.preserved(*notes.preserved)
        writer.log(
            *(
                dataclasses.replace(line, seq=line.seq + polls) if line.seq and line.seq > told.at else line
                for line in notes.log
            )
        )


def _pieces(told: Story, accesses: int) -> list[tuple[int, int]]:
    """Return first row and length of what a short capture is made of."""
    behind = min(accesses // 2, told.capture.accesses.height - told.kexec)
    before = accesses - behind
    if before >= told.kexec:
        return [(0, accesses)]
    last = before // 4
    start = max(0, min(told.start, told.kexec - before))
    return [(start, before - last), (told.kexec - last, last + behind)]


def _polls(source: pl.DataFrame, polls: int, start_ns: int) -> Iterator[pl.DataFrame]:
    """Yield reads of the rows of ``source`` in turn."""
    pace = np.random.default_rng(1)
    for first in range(0, polls, _BLOCK):
        number = np.arange(first, min(first + _BLOCK, polls))
        which = number % source.height
        frame = source[which]
        flip = np.where((which == 0) & (number // _CHANGE % 2 == 1), _BANDWIDTH_STATUS, 0)
        moments = start_ns + np.cumsum(pace.integers(*_PACE, len(number)))
        start_ns = int(moments[-1])
        yield frame.with_columns(
            time_ns=pl.Series(moments),
            value=pl.Series(frame["value"].to_numpy() ^ flip.astype(np.uint32)),
        )


def log_text(path: Path, lines: int) -> None:
    """Write a log of QEMU with so many lines, each an access."""
    told = story(LOG)
    real = content(LOG).decode().splitlines()
    if lines <= len(real):
        kept = [line for first, count in _pieces(told, lines) for line in real[first : first + count]]
        path.write_text("\n".join(kept) + "\n")
        return
    polls = [line.partition(":")[2] for line in (real[row] for row in told.polled)]
    thread, _, moment = real[told.at - 1].partition(":")[0].partition("@")
    begin = now = int(moment.replace(".", ""))  # the fraction has six digits
    paces = np.random.default_rng(1).integers(*_PACE, lines - len(real)) // 1000
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in real[: told.at])
        for number, pace in enumerate(paces.tolist()):
            now += pace
            file.write(f"{thread}@{now // 1_000_000}.{now % 1_000_000:06}:{polls[number % len(polls)]}\n")
        for line in real[told.at :]:
            head, _, event = line.partition(":")
            moment = int(head.partition("@")[2].replace(".", "")) + now - begin
            file.write(f"{thread}@{moment // 1_000_000}.{moment % 1_000_000:06}:{event}\n")


def simpletrace(path: Path, records: int) -> None:
    """Write a simpletrace file with so many accesses (at least those of the recording), or a few more."""
    told = story(SIMPLETRACE)
    data = np.frombuffer(content(SIMPLETRACE), np.uint8)
    places = told.capture.accesses["where"].to_numpy().astype(np.int64)
    cut = int(places[told.at])
    # A record's time is behind its type and its event; `length` counts all but the type.
    layout = LAYOUTS["little"].record
    pieces = [data[place : place + 8 + _length(layout, data, place)] for place in places[told.polled]]
    block = np.concatenate(pieces)
    moments_in_block = np.cumsum([0, *map(len, pieces[:-1])]) + 16
    rounds = max(0, -(-(records - len(places)) // len(pieces)))
    many = np.tile(block, (rounds, 1))
    now = int(_moments(data, places[told.at - 1 : told.at] + 16)[0])
    paces = np.random.default_rng(1).integers(*_PACE, rounds * len(pieces)).cumsum()
    moments = (now + paces).astype("<u8").reshape(rounds, len(pieces))
    for column, place in enumerate(moments_in_block):
        many[:, place : place + 8] = moments[:, column].copy().view(np.uint8).reshape(-1, 8)
    rest = data[cut:].copy()
    later = places[told.at :] - cut + 16
    moved = _moments(rest, later) + np.uint64(paces[-1] if rounds else 0)
    rest[later[:, None] + np.arange(8)] = moved.astype("<u8").view(np.uint8).reshape(-1, 8)
    with path.open("wb") as file:
        for part in (data[:cut], many, rest):
            file.write(part.tobytes())


def _length(layout: object, data: NDArray[np.uint8], place: int) -> int:
    return int(layout.parse(data[place : place + 1024].tobytes()).body.length)  # type: ignore[attr-defined]


def _moments(data: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the u64 at each place."""
    return data[places[:, None] + np.arange(8)].copy().view("<u8")[:, 0]


def content(path: Path) -> bytes:
    """Return the uncompressed bytes of a sample."""
    with open_stream(str(path)) as stream:
        return stream.read(1 << 30)
