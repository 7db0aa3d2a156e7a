"""Read the binary trace files of QEMU's ``simple`` backend (layout: :mod:`schemas.simpletrace`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzer.capture.accesses import WRITE
from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers.qemu.events import CfgEvents, EventTally
from analyzer.readers.qemu.simpletrace_walk import Walk
from schemas import simpletrace as layout
from schemas.bulk import dtype_of, gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from analyzer.capture import Notes
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

_BLOCK = 4 << 20
_LARGEST_TIME = np.iinfo(np.int64).max


def read(stream: ByteStream, notes: Notes, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the config accesses of a simpletrace file in frames of ``accesses.READER_SCHEMA``.

    ``time_ns`` is CLOCK_MONOTONIC of the host; ``where`` is the byte of the record's type word.

    Raises:
        DamagedInputError: the file ends within its header.
        UnsupportedFormatError: a file version other than 4, or accesses of which none says its bus.
    """
    del options  # the format says everything itself
    order = _read_header(stream)
    notes.clock = "monotonic"  # QEMU's get_clock()
    tally = EventTally()
    walk = Walk(order, notes, tally)
    pending, base, last = b"", layout.HEADER_SIZE, False
    while not last:
        data = pending + stream.read(_BLOCK)
        last = not stream.peek(1)
        used = walk.advance(data, base, last=last)
        if len(walk.found):
            events = _decode(data, np.frombuffer(walk.found, np.int64), walk.ops, order, tally, base)
            tally.accesses += len(events)
            if len(events):
                yield events.frame()
        pending = data[used:]
        base += used
    walk.finish(len(pending), base)
    tally.close(notes, "record")


def _read_header(stream: ByteStream) -> Literal["little", "big"]:
    head = stream.read(layout.HEADER_SIZE)
    order: Literal["little", "big"] = "big" if head.startswith(layout.MAGIC["big"]) else "little"
    if len(head) < layout.HEADER_SIZE:
        raise DamagedInputError(
            f"expected a file header of {layout.HEADER_SIZE} bytes, found {len(head)} bytes in all",
            path=stream.path,
            offset=0,
            advice="record again: nothing but the start of the header was written",
        )
    version = layout.LAYOUTS[order].header.parse(head).version
    if version != layout.VERSION:
        raise UnsupportedFormatError(
            f"expected simpletrace version {layout.VERSION}, found {version}"
            + (", which does not name its events" if version in (0, 2, 3) else ""),
            path=stream.path,
            offset=16,
            advice="record with QEMU 7.0 or newer",
        )
    return order


def _decode(
    data: bytes,
    places: NDArray[np.int64],
    ops: dict[int, int],
    order: Literal["little", "big"],
    tally: EventTally,
    base: int,
) -> CfgEvents:
    """Return the events of the ``pci_cfg_*`` records at ``places``; count those that cannot be used."""
    layouts = layout.LAYOUTS[order]
    head_type, arguments_type = dtype_of(layouts.cfg_head), dtype_of(layouts.cfg_arguments)
    old_size = dtype_of(layouts.old_cfg_arguments).itemsize
    head = gather(data, head_type, places)
    name_length = head["name_len"].astype(np.int64)
    size = head["length"].astype(np.int64) - layout.EVENT_HEADER_SIZE - 4 - name_length
    old = size == old_size
    if old.any():
        tally.no_bus.add(int(old.sum()), base + int(places[old][0]))
    good = size == arguments_type.itemsize
    at = places + np.where(good, head_type.itemsize + name_length, 0)
    arguments = gather(data, arguments_type, at)
    # A field of 64 bits that holds more than its 8, 5, 3, 12 or 32 bits is damage, not an access.
    for field, bits in layout.CFG_BITS.items():
        good &= arguments[field] < 1 << bits
    bad = ~(good | old)
    if bad.any():
        tally.damaged.add(int(bad.sum()), base + int(places[bad][0]))
    if not good.all():
        arguments, head, places = arguments[good], head[good], places[good]
    name = gather(data, np.dtype(f"S{len(layout.ABSENT_NAME)}"), places + head_type.itemsize)
    time = head["timestamp_ns"]
    writes = [event for event, op in ops.items() if op == WRITE]
    return CfgEvents.bare(
        where=places + base,
        time_ns=time.astype(np.int64),
        timed=time <= _LARGEST_TIME,
        op=np.isin(head["event_id"], np.array(writes, np.uint64)).astype(np.uint8),
        bus=arguments["bus"].astype(np.uint8),
        devfn=(arguments["slot"] << np.uint64(3) | arguments["func"]).astype(np.uint8),
        offset=arguments["offs"].astype(np.uint16),
        value=arguments["val"].astype(np.uint32),
        absent=(head["name_len"] == len(layout.ABSENT_NAME)) & (name == layout.ABSENT_NAME),
    )
