"""Open a trace.dat of either version: from its first byte to its event formats and the places of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers.trace.dat_cursor import Cursor, CursorError
from analyzer.readers.trace.dat_parts import PartReader, TraceFile
from analyzer.readers.trace.dat_v6 import read_v6
from analyzer.readers.trace.dat_v7 import read_v7
from schemas import trace_dat as layout

if TYPE_CHECKING:
    from analyzer.capture import Notes
    from analyzer.readers.trace.whole_content import WholeContent

_HEAD = 4096


def open_file(content: WholeContent, notes: Notes) -> TraceFile:
    """Return the parts of a trace.dat; what is cut or damaged beside them stands in ``notes``.

    Raises:
        DamagedInputError: it ends, or is damaged, before anything that can be decoded.
        UnsupportedFormatError: another version, an unknown compression, or the text of a latency tracer.
    """
    try:
        return _opened(content, notes)
    except CursorError as error:
        raise DamagedInputError(
            ("the file ends early: " if error.short else "") + error.message,
            path=notes.path,
            offset=error.offset,
            advice="copy the file again, or record again: trace-cmd record writes it whole only when it ends",
        ) from error


def _opened(content: WholeContent, notes: Notes) -> TraceFile:
    file, place = _head(content, notes)
    parts = PartReader(content, notes, file)
    (read_v6 if file.version == 6 else read_v7)(parts, parts.cursor(place))
    if not file.buffers:
        raise CursorError("expected a buffer with CPU data, found none", 0, short=notes.truncated)
    return file


def _head(content: WholeContent, notes: Notes) -> tuple[TraceFile, int]:
    """Return the file as its head describes it, and the place behind the head."""
    data = content.at(0, _HEAD)
    cursor = Cursor(data, "little", 0)
    cursor.take(len(layout.MAGIC), "the magic")
    version = cursor.text("the file version")
    if version.encode() not in layout.VERSIONS:
        raise UnsupportedFormatError(
            f"expected version 6 or 7 of trace.dat, found version {version[:20]!r}",
            path=notes.path,
            offset=len(layout.MAGIC),
            advice="convert it: trace-cmd convert --file-version 7 -i FILE -o NEW",
        )
    endian = cursor.number(1, "the byte order")
    if endian not in layout.BYTE_ORDERS:
        raise CursorError(f"expected byte order 0 or 1, found {endian}", cursor.place - 1)
    order = layout.BYTE_ORDERS[endian]
    rest = Cursor(data[cursor.position :], order, cursor.position)
    rest.take(1, "the size of a long")
    page_size = rest.number(4, "the page size")
    return TraceFile(layout.LAYOUTS[order], int(version), page_size), rest.place
