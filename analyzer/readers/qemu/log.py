"""Read the text of QEMU's ``log`` trace backend (grammar: :mod:`analyzer.readers.qemu.log_lines`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.readers.qemu.text import QemuText
from analyzer.readers.text_blocks import TextBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 4 << 20


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a QEMU log in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is the host's wall clock, or null; ``where`` is the start of the line. ``width`` is known
    where ``memory_region_ops_*`` or ``vfio_pci_*`` was traced beside ``pci_cfg_*``.

    Raises:
        UnsupportedFormatError: there are accesses, and none of them says its bus.
    """
    lines = QemuText(notes, options)
    blocks = TextBlocks(stream, notes)
    for text, base in blocks.read(_BLOCK):
        events = lines.take(text, base)
        if len(events):
            yield events.frame()
    if lines.first_long is not None:
        blocks.add_long(lines.long, lines.first_long)
    blocks.close()
    events = lines.close("line")
    if len(events):
        yield events.frame()
