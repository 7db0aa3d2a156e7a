"""Read the text of QEMU's ``log`` trace backend (grammar: :mod:`analyzer.readers.qemu.log_lines`).

:class:`QemuText` also reads what the ``ftrace`` backend printed into a kernel's trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from analyzer.capture.accesses import WRITE
from analyzer.readers import line_cleaning
from analyzer.readers.qemu import side_lines
from analyzer.readers.qemu.events import CfgEvents, EventTally
from analyzer.readers.qemu.log_lines import parse
from analyzer.readers.qemu.widths import WidthPairing
from analyzer.readers.text_blocks import TextBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.qemu.log_lines import Lines
    from analyzer.readers.unwrap import ByteStream

#: The tail of an access whose name was damaged or written over by another line.
_ACCESS_REMAINS = r"@0x[0-9a-fA-F]+ (?:->|<-) "
#: The device of the host that VFIO accessed.
_DEVICE = r"vfio_pci_(?:read|write)_config +\(([0-9a-fA-F:.]{1,20}),"
#: Other trace events about config space.
_OTHER_EVENT = r"(?:^|[ :])((?:memory_region_ops|vfio|vfu|sriov|msix?|pcie?|shpc)_[a-z0-9_]+) "


class QemuText:
    """Takes text apart block by block.

    Args:
        notes: gets the number of lines that are not accesses, and a problem for damaged ones.
        options: ``ecam_base`` helps where the log does not say it.
    """

    def __init__(self, notes: Notes, options: Options) -> None:
        self._notes = notes
        self._tally = EventTally()
        self._pairing = WidthPairing(options.ecam_base)
        self.long = 0
        self.first_long: int | None = None

    def take(self, text: bytes, base: int) -> CfgEvents:
        """Return the accesses of whole lines, of which some wait for the next call.

        Args:
            text: lines, the last one with its newline too.
            base: place of ``text`` in the uncompressed stream.
        """
        lines = parse(text, base)
        side = self._account(lines)
        if len(lines.long):
            self.first_long = int(lines.long[0]) if self.first_long is None else self.first_long
            self.long += len(lines.long)
        return self._counted(self._pairing.take(lines.events, lines.no_bus, side))

    @property
    def waiting_from(self) -> int | None:
        """Place of the first line that waits for the next call, None if none does."""
        return self._pairing.waiting_from

    def close(self, record: str) -> CfgEvents:
        """Return the accesses that waited, and write the account into the notes.

        Args:
            record: what the format calls an entry.

        Raises:
            UnsupportedFormatError: there are accesses, and none of them says its bus.
        """
        none = parse(b"").events
        rest = self._counted(self._pairing.take(none, none, side_lines.none(), last=True))
        self._pairing.close(self._notes)
        self._tally.no_bus = self._pairing.no_bus
        for op, number in self._pairing.vfio_alone.items():
            if number:
                self._notes.foreign_lines += number
                self._tally.others["vfio_pci_write_config" if op == WRITE else "vfio_pci_read_config"] += (
                    number
                )
        self._tally.close(self._notes, record)
        return rest

    def _counted(self, events: CfgEvents) -> CfgEvents:
        self._tally.accesses += len(events)
        if events.timed.any():
            self._notes.clock = "realtime"
        return events

    def _account(self, lines: Lines) -> side_lines.SideLines:
        """Count the lines that are not usable accesses; return those that belong to one.

        Each is counted once: as damaged, or as foreign.
        """
        damaged = lines.damaged
        side = side_lines.none()
        text, where = lines.foreign["text"], lines.foreign["where"].to_numpy()
        if len(where):
            side, mine = side_lines.parse(text, where)
            torn = _without(where[mine], side.where)
            remains = text.str.contains(_ACCESS_REMAINS).to_numpy() & ~mine
            damaged = np.concatenate([damaged, where[remains], torn])
            others = text.filter(pl.Series(~remains & ~mine))
            kinds = others.str.extract(_OTHER_EVENT).drop_nulls().value_counts()
            self._tally.others.update(dict(kinds.iter_rows()))
            self._notes.foreign_lines += len(others)
            if mine.any():
                devices = text.filter(pl.Series(mine)).str.extract(_DEVICE).drop_nulls().value_counts()
                self._tally.assigned.update(dict(devices.iter_rows()))
        if len(damaged):
            self._tally.damaged.add(len(damaged), int(damaged.min()))
        if lines.example and not self._tally.example:
            self._tally.example = lines.example
        return side


def _without(places: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    return places if not len(known) else places[~np.isin(places, known)]


_BLOCK = 4 << 20


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a QEMU log in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is the host's wall clock, or null; ``where`` is the start of the line. ``width`` is known
    where ``memory_region_ops_*`` or ``vfio_pci_*`` was traced along with ``pci_cfg_*``.

    Raises:
        UnsupportedFormatError: there are accesses, and none of them says its bus.
    """
    lines = QemuText(notes, options)
    blocks = TextBlocks(stream, notes, line_cleaning.QEMU)
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
