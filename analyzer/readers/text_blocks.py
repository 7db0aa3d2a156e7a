"""Cut a stream of text into blocks of whole lines, in bounded memory whatever the text is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer.plurals import counted
from analyzer.readers.line_cleaning import DUMP, KERNEL_LOG, LineCleaner, Surroundings, is_doubled, undouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture import Notes
    from analyzer.readers.unwrap import ByteStream

#: Longer lines are not looked at.
MAX_LINE = 64 * 1024


def line_table(text: bytes, base: int) -> pl.DataFrame:
    """Return whole lines as a table: ``text`` (without the newline) and ``where`` (start in the stream).

    Args:
        text: lines, the last one with its newline too.
        base: place of ``text`` in the uncompressed stream.
    """
    newlines = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    starts = base + np.concatenate(([0], newlines[:-1] + 1))[: len(newlines)]
    # latin-1: any bytes make a text, each byte a character, and everything looked for is ASCII.
    lines = pl.Series("text", [text.decode("latin-1")]).str.split("\n").list.explode()
    return pl.DataFrame([lines.head(len(starts)), pl.Series("where", starts, pl.Int64)])


def log_lines(
    stream: ByteStream,
    notes: Notes,
    block: int,
    most_lines: int,
    most_bytes: int,
    *,
    is_whole: Callable[[bytes], bool] = lambda _: True,
) -> Iterator[tuple[bytes, int]]:
    """Yield each line of a kernel log without its newline, and its place, up to limits that a note reports.

    Args:
        stream: the text.
        notes: of the reader.
        block: bytes to read at once.
        most_lines: lines that are read.
        most_bytes: bytes that are read, without newlines.
        is_whole: whether a last line without a newline is whole. By default every one is: a console ends
            anywhere.
    """
    blocks = TextBlocks(stream, notes, KERNEL_LOG, is_whole=is_whole)
    lines = size = 0
    for text, base in blocks.read(block):
        where = base
        for line in text.removesuffix(b"\n").split(b"\n"):
            size += len(line)
            if lines == most_lines or size > most_bytes:
                limits = f"{most_lines} lines or {most_bytes >> 20} MiB are the limit"
                notes.truncated = True
                notes.problem("too-large", f"the log is read up to its line {lines} only: {limits}", where)
                blocks.close()
                return
            lines += 1
            yield line, where
            where += len(line) + 1
    blocks.close()


class TextBlocks:
    """The lines of a stream.

    Args:
        stream: the text.
        notes: of the reader.
        around: what may stand around the lines, and is removed (:mod:`analyzer.readers.line_cleaning`).
        is_whole: whether a last line without a newline is whole. By default none is: it may be cut.

    Attributes:
        cut: the last line has no newline and is left out; known at the end.
        long: lines of more than ``MAX_LINE`` bytes that were left out, or that the user of the blocks adds.
        first_long: where the first of them begins.
    """

    def __init__(
        self,
        stream: ByteStream,
        notes: Notes,
        around: Surroundings,
        is_whole: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._stream = stream
        self._notes = notes
        self._cleaner = LineCleaner(around)
        self._is_whole = is_whole
        self._doubled: bool | None = None if around is DUMP else False  # elsewhere empty lines say nothing
        self.cut = False
        self.long = 0
        self.first_long: int | None = None

    def read(self, size: int) -> Iterator[tuple[bytes, int]]:
        """Yield whole lines, each with its newline, and the place of the first of them.

        Args:
            size: bytes to read at once.
        """
        carry, base, skipping = b"", 0, False
        while block := self._stream.read(size):
            if skipping:
                rest = block.find(b"\n") + 1
                skipping = rest == 0
                base += rest or len(block)
                block = block[rest:] if rest else b""
            text = carry + block
            whole = text.rfind(b"\n") + 1
            if whole:
                lines, whole = self._clean(text, whole)
                yield lines, base
            carry = text[whole:]
            base += whole
            if len(carry) > MAX_LINE:
                self.add_long(1, base)
                base += len(carry)
                carry, skipping = b"", True
        if carry.endswith(b"\n"):  # the first of two lines that belong together
            yield self._cleaner.clean(carry), base
        elif carry and self._is_whole(carry := self._cleaner.clean(carry)):
            yield carry, base
        elif carry or skipping:
            self.cut = True
            self._notes.truncated = True
            self._notes.problem("truncated", "the last line has no end and is left out", base)

    def _clean(self, text: bytes, whole: int) -> tuple[bytes, int]:
        """Return the whole lines of a text without what stands around them, and where they end."""
        lines = self._cleaner.clean(text[:whole])
        if self._doubled is None:
            self._doubled = is_doubled(lines)
        if self._doubled:
            # A line and the empty one after it stay together.
            if lines.count(b"\n") % 2:
                whole = lines.rfind(b"\n", 0, whole - 1) + 1
            lines = undouble(lines[:whole])
        return lines, whole

    def add_long(self, number: int, first: int) -> None:
        """Count lines that are too long to be looked at."""
        self.first_long = first if self.first_long is None else min(first, self.first_long)
        self.long += number

    def close(self) -> None:
        """Write the account into the notes."""
        if self.long:
            self._notes.foreign_lines += self.long
            self._notes.problem(
                "foreign",
                counted(f"{{}} [line|lines] of more than {MAX_LINE:,} bytes [is|are] left out", self.long),
                self.first_long,
            )
