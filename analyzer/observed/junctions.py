"""Whether consecutive pieces of one history can be in the order in which they were given (``--join``).

The order is what the user says and is never changed. What contradicts it is a problem of kind
:data:`analyzer.capture.OUT_OF_ORDER`: a clock that both pieces share and that goes back, or firmware that
configures the machine at the start of a later piece, so that no kexec lies before it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from analyzer.capture import OUT_OF_ORDER, Problem, joining
from analyzer.observed import boots
from analyzer.observed.index import AccessIndex, enumerations
from schemas.config_header import BASE_ADDRESS_0, ROM_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.capture import Capture

#: How far the clocks of two recorders may overlap: the incoming kernel takes the time from the battery-backed
#: clock, which counts whole seconds and drifts.
OVERLAP_NS: Final = 5_000_000_000
#: 2001-09-09: no clock that starts with a machine or a kernel counts so far.
_SINCE_1970: Final = 10**18
_BOOT_ID: Final = re.compile("-- Boot ([0-9a-f]{32}) --")
_SIZING: Final = 0xFFFFFFFF
_NS: Final = 1e9


def join(pieces: Sequence[Capture]) -> Capture:
    """Join consecutive pieces of one history.

    Each junction is a kexec unless the later piece begins with a boot record of its own, or with firmware.

    Args:
        pieces: at least one, in order.

    Returns:
        the capture; pieces that contradict their order are among its problems.
    """

    def reboot(number: int) -> Problem | None:
        piece = pieces[number - 1]
        return _firmware_problem(number, piece, pieces[number - 2]) if begins_with_firmware(piece) else None

    joined = joining.join(pieces, reboot)
    joined.notes.problems.extend(clock_problems(pieces))
    joined.notes.problems.extend(creation_problems(pieces))
    joined.notes.problems.extend(same_boot_problems(pieces))
    return joined


def clock_problems(pieces: Sequence[Capture]) -> list[Problem]:
    """Return a problem for each piece that begins clearly before an earlier one ends.

    Only times of the same clock are compared: UTC, TAI, or the host's clock of QEMU's simpletrace. A kernel's
    own clocks (``monotonic``, ``boot``, ``local``) start again with each kernel.
    """
    latest: dict[str, tuple[int, int, int]] = {}  # clock -> start, end and number of the piece that ends last
    problems = []
    for number, piece in enumerate(pieces, start=1):
        times = piece.accesses["time_ns"].drop_nulls()
        clock = _clock(piece, times)
        if clock is None:
            continue
        start, end = int(times[0]), int(times[-1])
        begun, ended, earlier = latest.get(clock, (start - 1, start, 0))
        back = ended - start
        # Of two pieces in the wrong order the one given later begins before the other began, however short.
        if back > OVERLAP_NS or (back > 0 and start <= begun):
            message = (
                f"piece {number} ({piece.path}) begins {_seconds(back)} before piece {earlier}"
                f" ({pieces[earlier - 1].path}) ends: are they in order? --join takes them as you name them"
            )
            problems.append(Problem(OUT_OF_ORDER, piece.path, None, message))
        if not earlier or end > ended:
            latest[clock] = (start, end, number)
    return problems


def creation_problems(pieces: Sequence[Capture]) -> list[Problem]:
    """Return a problem for each piece that was made clearly before an earlier one, by its file's own account.

    Only pieces whose accesses have no time of day (:func:`clock_problems`): snapshots, and recordings by a
    clock that starts again with each kernel.
    """
    latest: tuple[int, int] | None = None  # time of creation and number of the piece that was made last
    problems = []
    for number, piece in enumerate(pieces, start=1):
        created = piece.notes.created_ns
        if created is None or _clock(piece, piece.accesses["time_ns"].drop_nulls()) is not None:
            continue
        if latest is not None and latest[0] - created > OVERLAP_NS:
            message = (
                f"piece {number} ({piece.path}) was made {_seconds(latest[0] - created)} before piece"
                f" {latest[1]} ({pieces[latest[1] - 1].path}): are they in order? --join takes them as you"
                " name them"
            )
            problems.append(Problem(OUT_OF_ORDER, piece.path, None, message))
        latest = max(latest or (created, number), (created, number))
    return problems


def same_boot_problems(pieces: Sequence[Capture]) -> list[Problem]:
    """Return a problem for each piece of the same boot as the one before it: no kexec lies between them.

    The boot ID is that of ``analyze collect`` and of journals; the kernel makes one at each start
    (``Documentation/admin-guide/sysctl/kernel.rst``: random/boot_id).
    """
    problems = []
    for number, (before, piece) in enumerate(pairwise(pieces), start=2):
        ended, begins = _boot_ids(before)[-1:], _boot_ids(piece)[:1]
        if ended and ended == begins:
            message = (
                f"pieces {number - 1} ({before.path}) and {number} ({piece.path}) are of the same boot"
                f" ({begins[0]}), so that no kexec lies between them: take one before the kexec and one after"
            )
            problems.append(Problem(OUT_OF_ORDER, piece.path, None, message))
    return problems


def _boot_ids(piece: Capture) -> list[str]:
    found = (_BOOT_ID.fullmatch(line.text) for line in piece.notes.log)
    return [match[1] for match in found if match is not None]


def _firmware_problem(number: int, piece: Capture, before: Capture) -> Problem:
    """Return the problem of piece ``number`` (from 1), which :func:`begins_with_firmware`."""
    message = (
        f"piece {number} ({piece.path}) begins with firmware that configures the machine, so that a reboot,"
        f" not a kexec, lies between piece {number - 1} ({before.path}) and it: are they in order?"
    )
    return Problem(OUT_OF_ORDER, piece.path, None, message)


def begins_with_firmware(piece: Capture) -> bool:
    """Whether firmware enumerates in front of the first kernel's scan in this piece.

    Firmware writes bus numbers outside a bridge visit of Linux and sizes BARs; a kernel sizes them only once
    its scan has begun. A stray write in the blackout does the former at most.
    """
    if piece.notes.scans:
        return piece.notes.scans[0].after_firmware
    sizing = piece.accesses.filter(
        (pl.col("op") == "write")
        & (pl.col("value") == _SIZING)
        & pl.col("offset").is_between(BASE_ADDRESS_0, ROM_ADDRESS - 1)
    )["seq"]
    if sizing.is_empty():
        return False
    index = AccessIndex(piece.accesses)
    scans = boots.anchor_rows(index, enumerations(index))
    if not scans.size or int(index.seq[scans[0]]) < int(sizing[0]):
        return False
    return bool(np.any(boots.firmware_writes(index) < scans[0]))


def _clock(piece: Capture, times: pl.Series) -> str | None:
    """Name of the clock of these times, None if there are none or it starts again with each kernel."""
    clock = piece.notes.clock
    if times.is_empty():
        return None
    if clock in {"realtime", "tai"}:
        return clock
    if clock == "monotonic" and piece.format == "qemu-simpletrace":
        return "host"
    return "realtime" if clock is None and int(times[0]) >= _SINCE_1970 else None


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / _NS:,.0f} s" if nanoseconds >= 10 * _NS else f"{nanoseconds / _NS:.3f} s"
