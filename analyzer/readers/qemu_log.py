"""Read the text of QEMU's ``log`` trace backend (grammar: :mod:`analyzer.readers.qemu_log_lines`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer.readers.qemu_events import Tally
from analyzer.readers.qemu_log_lines import MAX_LINE, Lines, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import Notes
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 4 << 20
#: The tail of an access whose name was damaged or written over by another line.
_ACCESS_REMAINS = r"@0x[0-9a-f]+ (?:->|<-) "
#: Other trace events that tell of config space.
_OTHER_EVENT = r"(?:^|[ :])((?:memory_region_ops|vfio|vfu|sriov|msix?|pcie?|shpc)_[a-z0-9_]+) "


def read(stream: ByteStream, notes: Notes) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a QEMU log in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is the host's wall clock, or null; ``where`` is the start of the line. A last line without a
    newline is left out even if it looks whole, because its value may be cut.

    Raises:
        UnsupportedFormatError: there are accesses, and none of them says its bus.
    """
    tally = Tally()
    first_long: int | None = None
    long_lines = 0
    carry, base, skipping = b"", 0, False
    while block := stream.read(_BLOCK):
        if skipping:
            rest = block.find(b"\n") + 1
            skipping = rest == 0
            base += rest or len(block)
            block = block[rest:] if rest else b""
        text = carry + block
        whole = text.rfind(b"\n") + 1
        if whole:
            lines = parse(text[:whole], base)
            _account(lines, tally, notes)
            if len(lines.long):
                first_long = int(lines.long[0]) if first_long is None else first_long
                long_lines += len(lines.long)
            if len(lines.events):
                if lines.events.timed.any():
                    notes.clock = "realtime"
                yield lines.events.frame()
        carry = text[whole:]
        base += whole
        if len(carry) > MAX_LINE:
            first_long = base if first_long is None else first_long
            long_lines += 1
            base += len(carry)
            carry, skipping = b"", True
    if carry or skipping:
        notes.truncated = True
        notes.problem("truncated", "the last line has no end and is left out", base)
    if long_lines:
        notes.foreign_lines += long_lines
        notes.problem("foreign", f"{long_lines} lines of more than {MAX_LINE} bytes are skipped", first_long)
    tally.close(notes, "line")


def _account(lines: Lines, tally: Tally, notes: Notes) -> None:
    """Count the lines that are no usable access."""
    tally.accesses += len(lines.events)
    if len(lines.no_bus):
        tally.no_bus.add(len(lines.no_bus), int(lines.no_bus.where[0]))
    damaged = lines.damaged
    if len(lines.foreign):
        # latin-1: any bytes make a text, and everything looked for is ASCII.
        text = pl.Series([lines.foreign_text.decode("latin-1")]).str.split("\n").list.explode()
        text = text.head(len(lines.foreign))
        remains = text.str.contains(_ACCESS_REMAINS)
        damaged = np.concatenate([damaged, lines.foreign[remains.to_numpy()]])
        kinds = text.filter(~remains).str.extract(_OTHER_EVENT).drop_nulls().value_counts()
        tally.others.update(dict(kinds.iter_rows()))
    if len(damaged):
        tally.damaged.add(len(damaged), int(damaged.min()))
    notes.foreign_lines += len(lines.foreign) + len(lines.damaged)
