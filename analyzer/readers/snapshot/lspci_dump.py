"""Read the hex dump of ``lspci -xxx`` or ``-xxxx``, with or without ``-D``, amid whatever ``-v`` prints.

Source: pciutils ``lib/dump.c`` (3.9), which reads its own output back for ``lspci -F``::

    device    [DOMAIN:]BUS:SLOT.FUNCTION and a space    (domain of 4 to 8 hex digits; the last is one digit,
    0-7) row       OFFSET: BYTE BYTE ...                     (offset of 2 to 8 hex digits, bytes of 2)

Any other line is a remark; an empty one ends the device. ``analyze snapshot`` remarks which bytes its capture
does not hold (:data:`UNKNOWN_REMARK`): those are not read here either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.capture import LACKS_FUNCTIONS
from analyzer.plurals import count, counted
from analyzer.readers.line_cleaning import DUMP
from analyzer.readers.snapshot.config_bytes import NO_CAPABILITIES, NO_EXTENDED, ConfigBytes, Reads
from analyzer.readers.tallies import Count
from analyzer.readers.text_blocks import TextBlocks
from schemas.config_header import (
    CONFIG_SIZE,
    EXTENDED_CONFIG_SIZE,
    HEADER_SIZE,
    HEADER_TYPE,
    HEADER_TYPE_CARDBUS,
    HEADER_TYPE_LAYOUT,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 1 << 20
#: Start of a remark with the ranges of bytes (hex, inclusive) that are printed as 00 without being known.
UNKNOWN_REMARK: Final = "\tNot captured, shown as 00:"
_ROW_BYTES = 16
_ROW_DWORDS = 4
#: How many bytes lspci shows: with -x (of a CardBus bridge 128), -xxx and -xxxx.
_SIZES: Final = (HEADER_SIZE, CONFIG_SIZE, EXTENDED_CONFIG_SIZE)
_CARDBUS_SIZE: Final = 128

_LINE = re.compile(
    rb"""^(?:
      (?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-9a-fA-F])[ \t][^\n]*
    | ([0-9a-fA-F]{2,8}):[ \t]([^\n]*)
    | ("""
    + re.escape(UNKNOWN_REMARK.encode())
    + rb""")([^\n]*)
    | [ \t\r]*
    )$""",
    re.MULTILINE | re.VERBOSE,
)
_BYTES = re.compile(rb"[0-9a-fA-F]{2}(?:[ \t][0-9a-fA-F]{2})*")
_RANGE = re.compile(rb"([0-9a-f]{1,3})(?:-([0-9a-f]{1,3}))?")


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the dump as dword reads in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is null; ``where`` is the start of the row's line. Bytes that the dump does not show are not
    read.

    Raises:
        LimitExceededError: more functions than any host has.
    """
    del options  # the format says everything itself
    dump = _DumpReader(notes)
    blocks = TextBlocks(
        stream, notes, DUMP, _is_full_row
    )  # longer lines are remarks: devices and rows are short
    for text, base in blocks.read(_BLOCK):
        yield from dump.lines(text, base)
    yield from dump.finish(cut=blocks.cut)


def _is_full_row(line: bytes) -> bool:
    match = _LINE.match(line)
    row = match[6].strip() if match is not None and match[6] is not None else b""
    return len(row) == _ROW_BYTES * 3 - 1 and _BYTES.fullmatch(row) is not None


class _DumpReader:
    """The devices of a dump, one at a time."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._reads = Reads(notes)
        self._device: ConfigBytes | None = None
        self._unknown: list[tuple[int, int]] = []
        self._damaged = 0
        self._reported_rows = 0  # rows of the device that are missing and whose damage was reported
        self._lacking = 0
        self._odd = 0
        self._largest = 0
        self._ownerless = 0
        self._left_out = Count()  # functions whose address does not exist

    def lines(self, text: bytes, base: int) -> Iterator[pl.DataFrame]:
        """Take whole lines; ``base`` is the place of ``text`` in the stream."""
        for match in _LINE.finditer(text):
            domain, bus, slot, function, offset, row, remark, ranges = match.groups()
            if row is not None:
                self._row(int(offset, 16), row.strip(), base + match.start())
            elif bus is not None:
                yield from self._close()
                self._open(domain, bus, slot, function, base + match.start())
            elif remark is not None:
                self._unknown.extend(_ranges(ranges))
            elif self._device is not None and match.start() < len(text):
                yield from self._close()  # an empty line; after the last newline there is none

    def finish(self, *, cut: bool) -> Iterator[pl.DataFrame]:
        """Yield the rest; ``cut``: the last line was left out."""
        # lspci ends each device with an empty line and shows as many bytes of the last as of the others.
        cut |= self._device is not None and not (
            _ends_as_lspci_does(self._device) and self._device.size >= self._largest
        )
        yield from self._close()
        if cut:
            message = "this dump ends within a device: those after it may be missing"
            self._notes.problem(LACKS_FUNCTIONS, message)
        if self._lacking > 1:
            self._notes.problem("damaged", f"rows are missing in {count(self._lacking - 1, 'more function')}")
        message = "{} [function|functions] of this dump [is|are] left out"
        self._left_out.report(self._notes, LACKS_FUNCTIONS, message, loses=False)
        if self._ownerless:
            self._notes.missing_dwords += self._ownerless * _ROW_DWORDS
            message = counted(
                "{} [row|rows] of bytes [is|are] left out: the line with the function is missing",
                self._ownerless,
            )
            self._notes.problem(LACKS_FUNCTIONS, message)
        if self._odd:
            self._notes.problem(
                "short",
                counted(
                    "{} [function ends|functions end] after another row than lspci's last: rows may be"
                    " missing",
                    self._odd,
                ),
            )
        yield from self._reads.finish(
            {
                HEADER_SIZE: f"{NO_CAPABILITIES}; run lspci -D -xxxx as root",
                CONFIG_SIZE: f"{NO_EXTENDED}; run lspci -D -xxxx as root",
            }
        )

    def _open(self, domain: bytes | None, bus: bytes, slot: bytes, function: bytes, where: int) -> None:
        if int(slot, 16) > 0x1F or function not in b"01234567":
            self._damage("is the line of a device whose address does not exist; its rows are left out", where)
            self._left_out.add(1, where)
            return
        devfn = int(slot, 16) << 3 | int(function)
        self._reported_rows = 0
        self._unknown = []
        self._device = ConfigBytes(bdf.key(int(domain or b"0", 16), int(bus, 16), devfn))

    def _row(self, offset: int, row: bytes, where: int) -> None:
        if self._device is None:
            self._ownerless += _BYTES.fullmatch(row) is not None  # else a remark that looks like a row
            return
        if not _BYTES.fullmatch(row):
            self._damage("is a row with something else than bytes in it and is left out", where)
            return
        data = bytes.fromhex(row.decode("ascii"))
        if offset + len(data) > EXTENDED_CONFIG_SIZE:
            self._damage(f"is a row beyond the {EXTENDED_CONFIG_SIZE} bytes there are and is left out", where)
            return
        self._device.put(offset, data, where)

    def _close(self) -> Iterator[pl.DataFrame]:
        device, self._device = self._device, None
        unknown, self._unknown = self._unknown, []
        if device is not None:
            self._check_rows(device, device.holes - self._reported_rows * _ROW_BYTES)
            for start, end in unknown:
                device.forget(start, end + 1)
            yield from self._reads.add(device)

    def _check_rows(self, device: ConfigBytes, missing: int) -> None:
        """Report a missing row: lspci shows all from the first on, so its line became a remark."""
        self._odd += not _ends_as_lspci_does(device)
        self._largest = max(self._largest, device.size)
        if missing <= 0:
            return
        self._lacking += 1
        self._notes.missing_dwords += -(-missing // 4)
        if self._lacking == 1:
            self._notes.problem(
                "damaged",
                f"rows of {bdf.text(device.function)} are missing: {count(missing, 'byte')} before its"
                f" last row",
            )

    def _damage(self, what: str, where: int) -> None:
        self._damaged += 1
        self._reported_rows += 1
        self._notes.missing_dwords += _ROW_DWORDS
        if self._damaged == 1:
            self._notes.problem("damaged", f"this {what}; further ones are not listed", where)


def _ends_as_lspci_does(device: ConfigBytes) -> bool:
    if device.size == _CARDBUS_SIZE:
        return device.byte(HEADER_TYPE) & HEADER_TYPE_LAYOUT == HEADER_TYPE_CARDBUS
    return device.size in _SIZES


def _ranges(text: bytes) -> Iterator[tuple[int, int]]:
    for first, last in _RANGE.findall(text):
        yield int(first, 16), int(last or first, 16)
