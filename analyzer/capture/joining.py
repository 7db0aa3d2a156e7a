"""Consecutive pieces of one history as one capture (``--join``), and a snapshot in front of one (``--seed``).

Order is what the user says: the clocks of two kernels may overlap. What contradicts it is reported
(:mod:`analyzer.observed.junctions`), never changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from analyzer.capture import Boundary, Capture, Notes, accesses
from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.capture import PreservedDump, Problem, SourceFile
    from analyzer.errors import AritraceError


def refuse_single(paths: Sequence[str]) -> None:
    """Refuse to join less than two pieces.

    Raises:
        UsageError: there are less than two.
    """
    if len(paths) < 2:
        raise UsageError(
            f"--join needs at least two pieces, found {len(paths)}" + (f": {paths[0]}" if paths else ""),
            advice="name them in order, as in: analyze --join BEFORE AFTER",
        )


def path_of(paths: Sequence[str]) -> str:
    """The path of what is joined from pieces, as reports show it."""
    return " + ".join(paths)


def of_piece(error: AritraceError, number: int, paths: Sequence[str]) -> AritraceError:
    """Make the error of a piece that of the whole: say which piece it is (``number`` from 1)."""
    error.path = error.path or paths[number - 1]
    if len(paths) > 1:
        error.message = f"piece {number} of {len(paths)}: {error.message}"
    return error


def join(pieces: Sequence[Capture], reboot: Callable[[int], Problem | None]) -> Capture:
    """One capture out of consecutive pieces, with a kexec at each junction.

    Args:
        pieces: at least one, in order.
        reboot: asked for each piece (numbered from 1) that has no boot record of its own at its beginning;
            the problem that it returns says why a reboot, not a kexec, lies before the piece.
    """
    return _concatenate(pieces, [piece.path for piece in pieces], reboot)


def seed(snapshot: Capture, capture: Capture) -> Capture:
    """A capture that starts mid-life, with a snapshot of the machine as it was then in front of it.

    Both belong to the same kernel: no boundary is put between them.
    """
    return _concatenate([snapshot, capture], [capture.path], None)


def _concatenate(
    pieces: Sequence[Capture], paths: list[str], reboot: Callable[[int], Problem | None] | None
) -> Capture:
    """Concatenate pieces; without ``reboot`` there is no boundary between them."""
    notes = Notes(path_of(paths))
    tables = []
    files: list[SourceFile] = []
    rows = 0
    for number, piece in enumerate(pieces, start=1):
        first = len(files)
        files.extend(piece.files)
        keys = (pl.col("file") + first).cast(accesses.SCHEMA["file"]), (pl.col("seq") + rows).alias("seq")
        tables.append(piece.accesses.with_columns(*keys).cast({"seq": pl.UInt64}))
        own = [replace(mark, seq=mark.seq + rows) for mark in piece.notes.boundaries]
        if reboot is not None and rows and not any(mark.seq == rows for mark in own):
            problem = reboot(number)
            notes.boundaries.append(Boundary(rows, "kexec" if problem is None else "boot"))
            notes.problems.extend([] if problem is None else [problem])
        notes.boundaries.extend(own)
        notes.preserved.extend(_sets_of(piece, pieces[:number], notes.boundaries))
        _merge(notes, piece.notes, rows)
        rows += piece.recorded
    notes.clock = _clock(pieces)
    # The recording that began last is the one of the last kernel: nearest to the kexec before it.
    notes.created_ns = next(
        (at for piece in reversed(pieces) if (at := piece.notes.created_ns) is not None), None
    )
    formats = list(dict.fromkeys(piece.format for piece in pieces))
    thinned = sum(piece.thinned for piece in pieces)
    return Capture(notes.path, files, "+".join(formats), accesses.concat(tables), notes, thinned, paths)


def _sets_of(
    piece: Capture, so_far: Sequence[Capture], boundaries: Sequence[Boundary]
) -> Iterator[PreservedDump]:
    """The preserved sets of a piece, each with the number of its kexec where that is certain.

    A file of ``analyze collect --after`` has the set of the kexec before it, one of ``--before`` that of the
    next. A set of a kexec that is not in the history is left out.
    """
    moment = piece.notes.collected
    kexecs = sum(mark.kind != "boot" for mark in boundaries)
    entered_by_kexec = bool(boundaries) and boundaries[-1].kind != "boot"
    every = all(other.notes.collected for other in so_far)
    for dump in piece.notes.preserved:
        if dump.kexec is not None or moment is None:
            yield dump
        elif moment == "before":
            yield replace(dump, kexec=kexecs) if every else dump
        elif len(so_far) > 1 and entered_by_kexec:
            yield replace(dump, kexec=kexecs - 1) if every else dump


def _clock(pieces: Sequence[Capture]) -> str | None:
    """The clock of joined pieces; one that is not named and counts since 1970 counts as UTC."""
    timed = (piece for piece in pieces if piece.accesses["time_ns"].null_count() < piece.accesses.height)
    clocks = {piece.notes.clock for piece in timed}
    if len(clocks) > 1:
        return "realtime" if clocks == {"realtime", None} else "mixed"
    return next(iter(clocks), None)


def _merge(notes: Notes, other: Notes, rows: int) -> None:
    """Add what a later piece says; its access numbers continue those of the earlier pieces."""
    notes.host = notes.host or other.host
    notes.tool = notes.tool or other.tool
    notes.truncated = notes.truncated or other.truncated
    notes.dropped += other.dropped
    notes.missing_dwords += other.missing_dwords
    notes.foreign_lines += other.foreign_lines
    notes.problems.extend(other.problems)
    lines = len(notes.log)
    notes.scans.extend(
        replace(
            scan,
            first=scan.first + rows,
            end=scan.end + rows,
            lines=(scan.lines[0] + lines, scan.lines[1] + lines),
        )
        for scan in other.scans
    )
    notes.log.extend(replace(line, seq=None if line.seq is None else line.seq + rows) for line in other.log)
    notes.events.extend(replace(event, seq=event.seq + rows) for event in other.events)
    notes.uses.extend(replace(one, seq=one.seq + rows) for one in other.uses)
    notes.releases.extend(release for release in other.releases if release not in notes.releases)
