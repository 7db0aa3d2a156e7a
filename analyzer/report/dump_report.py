"""``analyze dump`` and ``analyze log``: a line for each access or log line, as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.escaping import inert
from analyzer.plurals import count
from analyzer.report.evidence import access_text
from analyzer.report.problems import complain
from analyzer.report.wording import clock, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.capture import LogLine
    from analyzer.questions.dump import DumpedAccess, DumpRemarks

#: Bytes of a record on one line.
_ROW = 32
_MOST_NAMED = 4


def lines(accesses: Iterable[DumpedAccess], *, everything: bool = False) -> Iterator[str]:
    """Yield each access as a line, and its record, if it has one, below it.

    Args:
        accesses: as they come.
        everything: also the fields that are 0.
    """
    for one in accesses:
        yield f"{_line(one, everything)}\n"
        if one.record is None:
            continue
        if one.line:
            yield f"{'':12}line: {inert(one.record)}\n"
            continue
        data = one.record.split()
        for at in range(0, len(data), _ROW):
            label = "bytes: " if not at else f"{f'+{at:#x}: ':>7}"
            yield f"{'':12}{label}{' '.join(data[at : at + _ROW])}\n"


def _line(one: DumpedAccess, everything: bool) -> str:
    time = "" if one.time_ns is None else f"{clock(one.time_ns)}  "
    cpu = "" if one.cpu is None else f"cpu {one.cpu}  "
    said = access_text(one.op, one.bdf, one.register, one.value)
    notes = [
        field.text or f"{field.name}={field.value:#x}"
        for field in one.fields
        if everything or (field.bits and (field.value or field.name.startswith("ARI")))
    ]
    if one.absent:
        notes = ["no function answered"]
    elif one.status not in ("ok", "unknown"):
        notes.insert(0, f"failed: {one.status}")
    decoded = f"  {', '.join(notes)}" if notes else ""
    place = f"#{one.access}"
    return f"{place:>11}  {f'@{one.offset_bytes:#x}':>11}  {time}{cpu}{said}{decoded}"


def log_lines(log: Iterable[LogLine], *, places: bool) -> Iterator[str]:
    """Yield each line of a kernel log, with ``places`` after the access that it came before."""
    for line in log:
        place = "" if line.seq is None else f"#{line.seq}"
        yield f"{f'{place:>11}  ' if places else ''}{inert(line.text)}\n"


def print_remarks(remarks: DumpRemarks, register: str | None) -> None:
    """Print what the lines do not say, on standard error."""
    if not remarks.shown:
        complain(f"none of {count(remarks.seen, 'access', 'accesses')} is selected", "note")
    if remarks.unplaced:
        names = listed([bdf.text(key) for key in sorted(remarks.unplaced)], _MOST_NAMED)
        which = count(len(remarks.unplaced), "function")
        complain(
            f"where {register} is in {which} is not in the capture (their capability lists), and their"
            f" accesses may be missing here: {names}; an offset finds them, as in --register 68.w",
            "note",
        )
    if remarks.overflow:
        complain("so many functions that registers of some are shown by their number", "note")
    if remarks.without_record:
        complain(
            f"the bytes of {count(remarks.without_record, 'access', 'accesses')} cannot be shown: they are in"
            " a compressed section, or the capture is a directory",
            "note",
        )
