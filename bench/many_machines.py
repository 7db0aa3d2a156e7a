"""A capture each of many machines, no two alike: what hosts of different builds would send.

The machines are those of the study (bench/study_machines.py), drawn with a seed; a kernel hands functions
over to the next, and on every tenth machine one of the study's faults happens. As in long_captures.py,
drivers of the outgoing kernel poll: here the Status registers of functions, at irregular times.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from simulator import Kernel, Recording
from study_faults import FAULTS
from study_kexecs import KERNELS
from study_machines import KINDS, build

from analyzer.converting.native import NativeWriter
from schemas.config_header import STATUS

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1
#: Registers that are polled, and nanoseconds between two polls.
_POLLED, _PACE = 40, (20_000, 80_000)


def write(folder: Path, count: int, accesses: int) -> None:
    """Write so many captures of exactly so many accesses; machines whose kexec takes more are passed over."""
    made = number = 0
    while made < count:
        recording, shutdown = _kexec(number)
        polls = accesses - len(recording.wire.rows)
        if polls >= 0:
            _write(folder / f"{made:06}.bin", recording, shutdown, polls, number)
            made += 1
        number += 1


def _kexec(number: int) -> tuple[Recording, int]:
    """One machine's kexec, and where the outgoing kernel's shutdown begins."""
    kinds = tuple(KINDS)
    host = build(kinds[number % len(kinds)], random.Random(f"{SEED} machine {number}"))  # noqa: S311
    recording = Recording(host.machine)
    recording.firmware()
    outgoing = recording.boot(Kernel(iommu=True, keeps_bus_master=True))
    preserved = recording.preserve(*host.handed_over)
    saved = {device.name: device.ari_enabled for device in outgoing.devices if device.is_bridge}
    shutdown = len(recording.wire.rows)
    recording.freeze(*host.handed_over)
    recording.kexec()
    fault = FAULTS[number // 10 % len(FAULTS)] if number % 10 == 9 else FAULTS[0]
    ports = [] if fault.running else fault.ports(host)
    if ports:
        recording.blackout(lambda _machine: fault.happen(recording, ports[0]))
    incoming = tuple(KERNELS.values())[number % len(KERNELS)].kernel()
    recording.boot(replace(incoming, preserved=preserved, saved=saved))
    return recording, shutdown


def _write(path: Path, recording: Recording, shutdown: int, polls: int, seed: int) -> None:
    capture = recording.capture()
    table = capture.accesses.drop("capture", "file", "seq")
    with path.open("wb") as file, NativeWriter(file, clock=capture.notes.clock) as writer:
        later = 0
        writer.accesses(table.head(shutdown))
        if polls > 0:
            reads = (pl.col("op") == "read") & (pl.col("offset") == STATUS) & ~pl.col("absent")
            source = table.head(shutdown).filter(reads).tail(_POLLED)
            moments = np.random.default_rng(seed).integers(*_PACE, polls).cumsum()
            later = int(moments[-1])
            began = int(table["time_ns"][shutdown - 1])
            writer.accesses(
                source[np.arange(polls) % source.height].with_columns(time_ns=pl.Series(began + moments))
            )
        writer.accesses(table.slice(shutdown).with_columns(pl.col("time_ns") + later))
