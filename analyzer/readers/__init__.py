"""Each reader turns the bytes of one capture format into the access table (:mod:`analyzer.capture.accesses`).

A reader is a module with ``read(stream, notes, options) -> Iterator[pl.DataFrame]``: it yields frames of
``accesses.READER_SCHEMA`` in the order of the capture and writes what else it learns into the notes. The
options are the hints of a user for formats that cannot say everything themselves.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import polars as pl

from analyzer.capture import (
    LACKS_FUNCTIONS,
    Capture,
    Notes,
    Problem,
    SourceFile,
    accesses,
    sidecars,
    thinning,
)
from analyzer.errors import (
    EmptyInputError,
    LimitExceededError,
    SeveralGuestsError,
    UnreadableInputError,
    UnsupportedFormatError,
)
from analyzer.options import Options
from analyzer.readers import mixed_reports
from analyzer.readers.formats import DMESG, SNAPSHOTS, SYSFS_CONFIG, Format
from analyzer.readers.sniff import identify
from analyzer.readers.unwrap import ByteStream, open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    Reader = Callable[[ByteStream, Notes, Options], Iterator[pl.DataFrame]]

Answer = TypeVar("Answer")

#: Most accesses of a capture that is held in memory as a whole (48 bytes each).
MAX_ACCESSES = 50_000_000
#: Problems of a capture without accesses that the refusal names.
_MOST_TOLD = 5


def open_capture(path: str, options: Options | None = None, *, thin: bool = True, first: int = 0) -> Capture:
    """Read one capture file, or standard input for ``-``, into memory.

    Args:
        path: the file.
        options: hints for formats that cannot say everything themselves.
        thin: leave repeated reads of very long captures out (:mod:`analyzer.capture.thinning`).
        first: accesses of the pieces that this file goes on from (``join``), which ``kexec_at`` counts too.

    Raises:
        AritraceError: it cannot be read, is empty, of no supported format, damaged from the start, or has
            more accesses than ``MAX_ACCESSES``.
    """
    chosen = options or Options()
    try:
        capture = _opened(path, chosen, thin=thin, first=first)
    except SeveralGuestsError as error:
        meant = [guest for guest in error.guests if chosen.guest is not None and guest.has(chosen.guest)]
        if path == "-" and error.guests:
            error.advice = "write it to a file, and name that: what is piped in cannot be read twice"
        if not meant or path == "-":
            raise
        chosen = replace(chosen, guest=meant[0].pid, threads=meant[0].threads)
        capture = _opened(path, chosen, thin=thin, first=first)
    if chosen.threads:
        capture.path = f"{path}[{f'pid {chosen.guest}' if chosen.guest else 'host'}]"
        for beside in sidecars.every(path):
            message = (
                "this sidecar does not say which guest it is of, and was not used; name it as the guest is"
                f" named here ({Path(capture.path).name}{Path(beside).suffix}), or give it with an option and"
                f" --guest {chosen.guest}"
            )
            capture.notes.problems.append(Problem("not-followed", beside, None, message))
    return capture


def each_machine(path: str, options: Options, answer: Callable[[Options], Answer]) -> list[Answer]:
    """Call ``answer`` with options that open a capture; where it is of several guests, once for each.

    Raises:
        AritraceError: as :func:`open_capture`; of several guests, if they cannot be told apart.
    """
    try:
        return [answer(options)]
    except SeveralGuestsError as error:
        if not error.guests or options.guest is not None or path == "-":
            raise
        chosen = [replace(options, guest=guest.pid, threads=guest.threads) for guest in error.guests]
    return [answer(one) for one in chosen]


def _opened(path: str, chosen: Options, *, thin: bool, first: int) -> Capture:
    notes = Notes(path)
    if not thin:
        return _gathered(path, chosen, notes, None)
    marks = thinning.Marks(notes, chosen.kexec_at, first)
    capture = _gathered(path, chosen, notes, marks)
    late = marks.late(capture.recorded) if capture.thinned else []
    if late and Path(path).is_file():  # a pipe cannot be read again
        notes = Notes(path)
        marks = thinning.Marks(notes, chosen.kexec_at, first, late)
        del capture
        capture = _gathered(path, chosen, notes, marks)
        late = marks.late(capture.recorded) if capture.thinned else []
    if late:
        raise UnreadableInputError(
            "expected boundaries before their accesses in a capture of this length, found "
            f"{len(late)} after them (the first at access {late[0]}), repeated reads being left out by then",
            path=path,
            advice="give it as a file that does not change: it is then read twice",
        )
    return capture


def _gathered(path: str, options: Options, notes: Notes, marks: thinning.Marks | None) -> Capture:
    """Read one capture file; without ``marks`` it is not thinned."""
    frames: list[pl.DataFrame] = []
    rows = recorded = 0
    batches = read_batches(path, options, notes=notes)
    while True:
        try:
            frame = next(batches)
        except StopIteration as end:
            source: SourceFile = end.value
            break
        if marks and recorded <= thinning.LONG < recorded + frame.height:
            frames = [thinning.thin(earlier, marks.within(earlier)) for earlier in frames]
            rows = sum(earlier.height for earlier in frames)
        recorded += frame.height
        frames.append(
            thinning.thin(frame, marks.within(frame)) if marks and recorded > thinning.LONG else frame
        )
        rows += frames[-1].height
        if rows > MAX_ACCESSES:
            batches.close()
            raise LimitExceededError(
                f"expected at most {MAX_ACCESSES} accesses besides repeated reads, found more",
                path=path,
                advice="cut the capture around one kexec",
            )
    table = accesses.concat(frames, rechunk=True)
    thinned = recorded - rows
    return Capture(path, [source], source.format, table, notes, thinned)


def read_batches(
    path: str, options: Options | None = None, *, notes: Notes | None = None
) -> Generator[pl.DataFrame, None, SourceFile]:
    """Yield the accesses of one capture file in frames of ``accesses.SCHEMA``, in bounded memory.

    What else the file says is complete in ``notes`` when the generator ends; its value is the source file.

    Args:
        path: the file, or ``-`` for standard input.
        options: hints for formats that cannot say everything themselves.
        notes: where the reader writes; by default nowhere.

    Raises:
        AritraceError: as :func:`open_capture`; some only after frames were yielded.
    """
    notes = notes or Notes(path)
    if path != "-" and os.path.isdir(path):  # noqa: PTH112 Path.is_dir raises in a folder that is closed
        return (yield from _read_directory(path, notes))
    chosen = options or Options()
    with open_stream(path) as stream:
        form = identify(stream, chosen)
        mixed_reports.name_others(stream, form, notes)
        rows = 0
        for frame in _reader(form, path)(stream, notes, chosen):
            yield with_keys(frame, rows)
            rows += frame.height
        for kind, message in stream.damage:
            notes.truncated = True
            notes.problem(kind, message, stream.offset)
        if notes.truncated and form.name in (*SNAPSHOTS, DMESG.name):
            notes.problem(LACKS_FUNCTIONS, "functions after the cut are not in this snapshot")
        if not rows:
            raise EmptyInputError(
                f"expected config accesses, found none in this {form.title}"
                + (" (the format is that of --input-format)" if chosen.input_format is not None else "")
                + (f" ({stream.reason})" if stream.truncated else "")
                + _held(notes),
                path=path,
                advice=form.advice,
            )
        return SourceFile(path, form.name, stream.sha256)


def _held(notes: Notes) -> str:
    """What a capture without accesses holds, as its reader has noted it."""
    told = [problem.message for problem in notes.problems[:_MOST_TOLD]]
    more = len(notes.problems) - len(told)
    return "".join(f"; {message}" for message in told) + (f"; and {more} more problems" if more else "")


def _read_directory(path: str, notes: Notes) -> Generator[pl.DataFrame, None, SourceFile]:
    """Read a directory that is one capture: the copy of a tree of sysfs, its hash over all that was read."""
    from analyzer.readers.snapshot.sysfs import is_tree, read_tree

    if not is_tree(path):
        raise UnreadableInputError(
            "expected a capture, found a directory", path=path, advice="name the files in it"
        )
    rows = 0
    frames = read_tree(path, notes)
    while True:
        try:
            frame = next(frames)
        except StopIteration as end:
            return SourceFile(path, SYSFS_CONFIG.name, end.value)
        yield with_keys(frame, rows)
        rows += frame.height


def _reader(form: Format, path: str) -> Reader:
    if form.reader is None:
        raise UnsupportedFormatError(
            f"expected a format with a reader, found: {form.title}", path=path, advice=form.advice
        )
    # Imported when the first capture of its format is opened: a run rarely needs more than one.
    return cast("Reader", importlib.import_module(f"{__name__}.{form.reader}").read)


def with_keys(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """A reader's frame with the keys of capture 0 and file 0, its accesses numbered from ``first`` on."""
    rows = frame.height
    keys = pl.Series("capture", [0], pl.UInt32), pl.Series("file", [0], pl.UInt16)
    seq = pl.Series("seq", np.arange(first, first + rows, dtype=np.uint64))
    every = [*(key.new_from_index(0, rows) for key in keys), seq, *frame.get_columns()]
    return pl.DataFrame(every)  # no query: one for each frame is half of a decode
