"""Read the hex dump of one ``config`` file, as ``hexdump -C``, ``xxd`` or ``od -t x1`` print it.

Sources: util-linux ``hexdump(1)``, POSIX ``od``, Vim ``xxd(1)``::

    00000000  86 80 48 a0 07 04 10 00  01 00 04 06 00 00 01 00  |..H.............|   hexdump -C
    00000000: 8680 48a0 0704 1000 0100 0406 0000 0100  ..H.............           xxd, xxd -g1
    0000000 86 80 48 a0 07 04 10 00 01 00 04 06 00 00 01 00                     od -t x1, od -A x -t x1

A row of ``*`` stands for rows like the one before it. The last line of hexdump and od is the size. Addresses
of od are octal unless ``-A x`` was given. Only the path, or ``--bdf``, says whose configuration space it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from analyzer.capture import LACKS_FUNCTIONS
from analyzer.errors import LimitExceededError, UnsupportedFormatError
from analyzer.readers.config_names import CONFIG_SIZES, function_of
from analyzer.readers.line_cleaning import DUMP
from analyzer.readers.snapshot.config_bytes import ConfigBytes, Reads
from analyzer.readers.snapshot.sysfs import LACKS
from analyzer.readers.text_blocks import TextBlocks
from schemas.config_header import EXTENDED_CONFIG_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK: Final = 1 << 20
_ROW_BYTES: Final = 16
#: A row of each program: address and bytes; what follows two blanks or a bar is their text.
_ROW: Final = re.compile(
    rb"[ \t]*(?P<address>[0-9a-fA-F]{6,8})(?::[ \t]|[ \t]{1,2})"
    rb"(?P<bytes>[0-9a-fA-F]{2}(?:[ \t]{0,2}[0-9a-fA-F]{2}){0,15})(?![0-9a-fA-F])(?P<rest>[^\n]*)"
)
_SIZE: Final = re.compile(rb"[ \t]*(?P<address>[0-9a-fA-F]{6,8})[ \t\r]*")
_SAME: Final = re.compile(rb"[ \t]*\*[ \t\r]*")
#: Rows of a config file, and what may stand around them.
_MOST_LINES: Final = 4096


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the dump as dword reads in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is null; ``where`` is the start of the row's line.

    Raises:
        UnsupportedFormatError: nothing says whose configuration space it is, or it is none.
        LimitExceededError: more lines than such a dump has.
    """
    key = options.bdf if options.bdf is not None else function_of(stream.path)
    if key is None:
        raise UnsupportedFormatError(
            "expected the address of the function in the name of this hex dump, found none",
            path=stream.path,
            advice="give it with --bdf DDDD:BB:DD.F, or name the file after it, as in 0000:03:00.0.txt",
        )
    dump = _Rows(notes)
    blocks = TextBlocks(stream, notes, DUMP, _is_whole)
    for text, base in blocks.read(_BLOCK):
        where = base
        for line in text.removesuffix(b"\n").split(b"\n"):
            dump.line(line, where)
            where += len(line) + 1
    function = dump.function(key)
    reads = Reads(notes)
    if function is not None:
        yield from reads.add(function)
    yield from reads.finish(LACKS)


def _is_whole(line: bytes) -> bool:
    row = _row(line)
    return _SIZE.fullmatch(line) is not None or (row is not None and len(row[1]) == _ROW_BYTES)


def _row(line: bytes) -> tuple[bytes, bytes] | None:
    """Address (as it is written) and bytes of a row, None if it is none."""
    match = _ROW.fullmatch(line)
    if match is None:
        return None
    rest = match["rest"].strip(b" \t\r")
    if rest and not match["rest"].startswith((b"  ", b" |", b" >", b"\t")):
        return None
    return match["address"], bytes.fromhex(match["bytes"].decode("ascii"))


class _Rows:
    """The rows of one dump, in order."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._rows: list[tuple[bytes, bytes, int]] = []  # address, bytes, place
        self._repeats: set[int] = set()  # rows after which one of asterisks stands
        self._size: bytes | None = None
        self._lines = 0

    def line(self, line: bytes, where: int) -> None:
        """Take the next line."""
        self._lines += 1
        if self._lines > _MOST_LINES:
            raise LimitExceededError(
                f"expected the hex dump of one config file, found more than {_MOST_LINES} lines",
                path=self._notes.path,
                advice="dump each config file into a file of its own, or take lspci -D -xxxx",
            )
        row = _row(line)
        if row is not None:
            self._rows.append((*row, where))
        elif _SAME.fullmatch(line) and self._rows:
            self._repeats.add(len(self._rows) - 1)
        elif (size := _SIZE.fullmatch(line)) is not None:
            self._size = size["address"]
        elif line.strip():
            self._notes.foreign_lines += 1

    def function(self, key: int) -> ConfigBytes | None:
        """The bytes of the function; None without any row."""
        base = self._base()
        known = ConfigBytes(key)
        places = [(int(address, base), data, where) for address, data, where in self._rows]
        size = int(self._size, base) if self._size is not None else 0
        expected = 0
        for number, (offset, data, where) in enumerate(places):
            if offset < expected or offset + len(data) > EXTENDED_CONFIG_SIZE:
                raise UnsupportedFormatError(
                    f"expected the rows of one config file of at most {EXTENDED_CONFIG_SIZE} bytes in order,"
                    f" found address 0x{offset:x} after 0x{expected:x}",
                    path=self._notes.path,
                    offset=where,
                    advice="dump each config file into a file of its own, or take lspci -D -xxxx",
                )
            if offset > expected:
                self._lack(key, expected, offset)
            known.put(offset, data, where)
            expected = offset + len(data)
            if number in self._repeats:
                end = places[number + 1][0] if number + 1 < len(places) else size
                for again in range(expected, min(end, EXTENDED_CONFIG_SIZE), _ROW_BYTES):
                    known.put(again, data, where)
                    expected = again + len(data)
        if not places:
            return None
        if expected not in CONFIG_SIZES or (size and size != expected):
            wanted = ", ".join(str(number) for number in CONFIG_SIZES[:-1]) + f" or {CONFIG_SIZES[-1]}"
            message = f"expected a config file of {wanted} bytes for {bdf.text(key)}, found {expected}"
            self._notes.truncated = True
            self._notes.problem("truncated", message)
            self._notes.problem(LACKS_FUNCTIONS, f"{bdf.text(key)} is shown in part")
        return known

    def _base(self) -> int:
        """The base of the addresses: od counts in octal, and its second row is at 20."""
        addresses = {address for address, _, _ in self._rows} | ({self._size} if self._size else set())
        octal = not any(set(address) - set(b"01234567") for address in addresses)
        second = self._rows[1][0].lstrip(b"0") if len(self._rows) > 1 else b""
        # Seven digits: od prints octal addresses so, and hexdump -C eight; od -A x six.
        return 8 if octal and all(len(address) == 7 for address in addresses) and second != b"10" else 16

    def _lack(self, key: int, start: int, end: int) -> None:
        self._notes.missing_dwords += -(-(end - start) // 4)
        self._notes.problem(
            "damaged", f"rows of {bdf.text(key)} are missing: {end - start} bytes from 0x{start:x} on"
        )
