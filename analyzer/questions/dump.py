"""The accesses of one capture, decoded one by one (``analyze dump``), and the kernel log that it keeps.

A capture of any length is read once from front to back; nothing of it is held but the frame at hand and what
names the registers (:mod:`analyzer.questions.register_names`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer import bdf
from analyzer.capture import Notes, accesses
from analyzer.errors import EmptyInputError, SeveralGuestsError, UsageError
from analyzer.observed.batches import WIDTH_BITS
from analyzer.options import Options
from analyzer.questions.explain import decode
from analyzer.questions.register_names import RegisterNames
from analyzer.readers import read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import LogLine
    from analyzer.questions.explain.explanation import DecodedField
    from analyzer.questions.register_names import RegisterRange

#: Most accesses of which the bytes are shown: they take a second pass over the file.
MOST_RECORDS: Final = 1000


@dataclass(frozen=True)
class Selection:
    """Which accesses are wanted; all that is given must hold.

    Attributes:
        first, last: access numbers, both included; None: no bound.
        function: key of a function (see :mod:`analyzer.bdf`).
        register: of it, or of any function.
        limit: at most so many.
    """

    first: int = 0
    last: int | None = None
    function: int | None = None
    register: RegisterRange | None = None
    limit: int | None = None


@dataclass(frozen=True)
class DumpedAccess:
    """One access.

    Attributes:
        access: its number.
        offset_bytes: place of its record in the uncompressed stream.
        status: ``ok``, or how it failed; ``absent``: no function answered.
        value: hexadecimal; None where the input shows single bits of it only.
        record: its bytes in the file, decompressed, as hexadecimal (of a packet without the file's own
            header), or its line of text; None if they were not asked for or cannot be shown.
        line: the record is a line of text.
    """

    access: int
    offset_bytes: int
    time_ns: int | None
    cpu: int | None
    op: str
    bdf: str
    register: str
    offset: int
    width: int
    value: str | None
    status: str
    absent: bool
    fields: list[DecodedField]
    record: str | None = None
    line: bool = False


@dataclass
class DumpRemarks:
    """What there is to say at the end.

    Attributes:
        seen: accesses that were looked at.
        shown: accesses that were given out.
        unplaced: functions whose register could not be placed: the capture does not show their capability
            lists.
        overflow: so many functions that some registers have no names.
        without_record: accesses whose bytes the format does not let find.
    """

    seen: int = 0
    shown: int = 0
    unplaced: set[int] = field(default_factory=set)
    overflow: bool = False
    without_record: int = 0


def dump(
    path: str, selection: Selection, options: Options | None = None, remarks: DumpRemarks | None = None
) -> Iterator[DumpedAccess]:
    """Yield the selected accesses of a capture in their order.

    Args:
        path: the file, or ``-``.
        selection: which ones.
        options: hints for formats that cannot say everything themselves.
        remarks: filled as the accesses go by.

    Raises:
        AritraceError: as :func:`analyzer.readers.open_capture`; some only after accesses were given out.
        UsageError: the capture has no access with the number of the selection.
    """
    said = remarks if remarks is not None else DumpRemarks()
    names = RegisterNames()
    for frame in _frames(path, options or Options()):
        if frame.is_empty():
            continue
        said.seen = int(frame["seq"][-1]) + 1
        keys = _keys(frame)
        names.learn(keys, frame)
        rows = np.flatnonzero(_chosen(frame, keys, selection, names, said))
        said.overflow = names.overflow
        if selection.limit is not None:
            rows = rows[: selection.limit - said.shown]
        for row in rows.tolist():
            said.shown += 1
            yield _access(frame, row, int(keys[row]), names)
        past = selection.last is not None and said.seen > selection.last
        if past or (selection.limit is not None and said.shown >= selection.limit):
            return
    if selection.first >= said.seen:
        raise UsageError(
            f"this capture holds accesses 0 to {said.seen - 1}, not {selection.first}", path=path
        )


def with_records(
    path: str, selection: Selection, options: Options | None = None, remarks: DumpRemarks | None = None
) -> list[DumpedAccess]:
    """Return the selected accesses with the bytes of their records, at most ``MOST_RECORDS``.

    Raises:
        AritraceError: as :func:`dump`; more accesses than that are selected, or the capture is no file.
    """
    from analyzer.readers.record_bytes import is_text, records_at

    if path == "-":
        raise UsageError("--bytes reads the capture twice", path=path, advice="give it as a file")
    said = remarks if remarks is not None else DumpRemarks()
    bounded = replace(selection, limit=min(selection.limit or MOST_RECORDS + 1, MOST_RECORDS + 1))
    found = list(dump(path, bounded, options, said))
    if len(found) > MOST_RECORDS:
        raise UsageError(
            f"--bytes shows at most {MOST_RECORDS:,} accesses, and more are selected",
            path=path,
            advice=f"narrow it, as in --access {found[0].access}-{found[MOST_RECORDS - 1].access}",
        )
    if Path(path).is_dir():  # a place is one in a file of it
        said.without_record = len(found)
        return found
    form, records = records_at(path, (one.offset_bytes for one in found), options)
    text = is_text(form)
    shown = [
        replace(one, record=_readable(records.get(one.offset_bytes), text=text), line=text) for one in found
    ]
    said.without_record = sum(one.record is None for one in shown)
    return shown


def _readable(record: bytes | None, *, text: bool) -> str | None:
    if record is None:
        return None
    return record.decode("utf-8", "replace") if text else record.hex(" ")


def kept_log(path: str, options: Options | None = None) -> list[LogLine]:
    """Return the kernel log that a capture keeps, in the order of the file.

    Raises:
        EmptyInputError: there is none.
        AritraceError: the capture cannot be read.
    """
    notes = Notes(path)
    for _ in read_batches(path, options or Options(), notes=notes):
        pass
    if not notes.log:
        raise EmptyInputError(
            "expected a kernel log in this capture, found none",
            path=path,
            advice="analyze stat says what it holds; analyze convert --dmesg puts a log into a .bin",
        )
    return notes.log


def _frames(path: str, options: Options) -> Iterator[pl.DataFrame]:
    """The accesses of a capture, or of the one guest in it that is meant."""
    batches = read_batches(path, options)
    try:
        first = next(batches, None)
    except SeveralGuestsError as error:
        meant = [one for one in error.guests if options.guest is not None and one.has(options.guest)]
        if not meant or path == "-":
            raise
        batches = read_batches(path, replace(options, guest=meant[0].pid, threads=meant[0].threads))
        first = next(batches, None)
    if first is not None:
        yield first
        yield from batches


def _keys(frame: pl.DataFrame) -> NDArray[np.int64]:
    domain, bus, devfn = (frame[name].to_numpy().astype(np.int64) for name in ("domain", "bus", "devfn"))
    return domain << 16 | bus << 8 | devfn


def _chosen(
    frame: pl.DataFrame,
    keys: NDArray[np.int64],
    selection: Selection,
    names: RegisterNames,
    remarks: DumpRemarks,
) -> NDArray[np.bool_]:
    seq = frame["seq"].to_numpy()
    chosen = seq >= selection.first
    if selection.last is not None:
        chosen &= seq <= selection.last
    if selection.function is not None:
        chosen &= keys == selection.function
    if selection.register is not None and chosen.any():
        remarks.unplaced |= names.unknown(selection.register, keys[chosen])
        offset = frame["offset"].to_numpy().astype(np.int64)
        width = frame["width"].to_numpy().astype(np.int64)
        chosen &= names.matching(selection.register, keys, offset, width)
        remarks.unplaced -= set(np.unique(keys[chosen]).tolist())
    return chosen


def _access(frame: pl.DataFrame, row: int, key: int, names: RegisterNames) -> DumpedAccess:
    one = frame.row(row, named=True)
    place = names.place(key, one["offset"])
    known = one.get(accesses.KNOWN)
    whole = known is None or known in (accesses.EVERY_BIT, int(WIDTH_BITS[one["width"]]))
    # The register's own size where the capture does not record the width, as in reports.
    register = decode.register_at(*place)
    width = one["width"] or (register.size if register is not None else 0)
    return DumpedAccess(
        access=one["seq"],
        offset_bytes=one["where"],
        time_ns=one["time_ns"],
        cpu=one["cpu"],
        op=one["op"],
        bdf=bdf.text(key),
        register=place.name(width),
        offset=one["offset"],
        width=one["width"],
        value=f"0x{one['value']:0{2 * width}x}" if whole else None,
        status=one["status"],
        absent=one["absent"],
        fields=decode.of_access(*place, width, one["value"], -1 if known is None else known),
    )
