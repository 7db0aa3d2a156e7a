"""The bytes of single records of a capture, by their place in the uncompressed stream (``where``).

A hex dump of the file finds them only where nothing in it is compressed; this decompresses first.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.capture import Notes
from analyzer.readers import formats, sniff
from analyzer.readers.unwrap import open_stream
from schemas.native import ACCESS, ChunkType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

#: Most bytes of a record that are given: longer lines and packets are cut.
MOST: Final = 512
_TEXT: Final = frozenset(
    form.name
    for form in (
        formats.QEMU_LOG,
        formats.LSPCI,
        formats.LSPCI_TEXT,
        formats.EARLYDUMP,
        formats.HEX_DUMP,
        formats.FTRACE_TEXT,
        formats.PRINTED_EVENTS,
        formats.DMESG,
    )
)
_DWORD: Final = 4
_BLOCK: Final = 1 << 20
#: Of a simpletrace record: where its length stands, and what that does not count (docs/tracing of QEMU).
_LENGTH_AT, _TYPE_WORD = 24, 8
#: Of a trace.dat: its version text, and the six bytes before the name of the compression (version 7).
_VERSION_AT, _BEFORE_COMPRESSION = 10, 6
_FIRST_COMPRESSED: Final = 7
#: Bytes of an event's payload that show its fields, in a trace.dat.
_PAYLOAD: Final = 64


def is_text(form: str) -> bool:
    """Whether the records of a format are lines of text."""
    return form in _TEXT


def records_at(
    path: str, places: Iterable[int], options: Options | None = None
) -> tuple[str, dict[int, bytes]]:
    """Return the records of a capture file that begin at some places.

    Args:
        path: the file; it is read once more, up to the last place.
        places: byte offsets in the uncompressed stream, as ``where`` has them.
        options: may name the format.

    Returns:
        name of the format, and place -> bytes (at most ``MOST``; of text the line, without its end). Places
        that the format does not let find are not in it (a trace.dat with compressed sections).

    Raises:
        AritraceError: the file cannot be read.
    """
    wanted = sorted(set(places))
    with open_stream(path) as stream:
        form = sniff.identify(stream, options).name
        if form == formats.NATIVE.name:
            found = dict(_native(stream, path, wanted))
        elif form in (formats.PCAP.name, formats.PCAPNG.name):
            found = dict(_packets(stream, wanted))
        elif form == formats.TRACE_DAT.name and _has_compressed_sections(stream.peek(_VERSION_AT + 64)):
            found = {}
        else:
            found = dict(_plain(stream, form, wanted))
    return form, found


def _native(stream: ByteStream, path: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    from analyzer.readers.native.container import chunks

    for chunk in chunks(stream, Notes(path)):
        size = ACCESS.sizeof() if chunk.head.type == ChunkType.ACCESSES else _DWORD
        if chunk.head.type not in (ChunkType.ACCESSES, ChunkType.SNAPSHOTS):
            continue
        first = bisect.bisect_left(wanted, chunk.offset)
        for place in wanted[first : bisect.bisect_left(wanted, chunk.offset + len(chunk.payload))]:
            at = place - chunk.offset
            yield place, chunk.payload[at : at + size]
        if wanted and chunk.offset > wanted[-1]:
            return


def _packets(stream: ByteStream, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    from analyzer.readers.tlp.packet_files import PacketFile

    places = np.array(wanted, np.int64)
    for packets in PacketFile(stream).batches():
        for row in np.flatnonzero(np.isin(packets.where, places)).tolist():
            data = packets.data[packets.start[row] : packets.end[row]]
            yield int(packets.where[row]), data[:MOST].tobytes()
        if not len(places) or packets.where[-1] >= places[-1]:
            return


def _has_compressed_sections(head: bytes) -> bool:
    """Whether a trace.dat names a compression; then places in it are none of the file."""
    version, _, rest = head[_VERSION_AT:].partition(b"\0")
    if not version.isdigit() or int(version) < _FIRST_COMPRESSED:
        return False
    return rest[_BEFORE_COMPRESSION:].partition(b"\0")[0] != b"none"


def _plain(stream: ByteStream, form: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    position = 0
    for place in wanted:
        while position < place:
            step = len(stream.read(min(place - position, _BLOCK)))
            if not step:
                return
            position += step
        data = stream.peek(MOST)
        if form in _TEXT:
            yield place, data.partition(b"\n")[0].rstrip(b"\r")
        elif form == formats.SIMPLETRACE.name:
            yield place, data[: _simpletrace_size(data)]
        else:
            yield place, data[: _DWORD if form == formats.SYSFS_CONFIG.name else _PAYLOAD]


def _simpletrace_size(data: bytes) -> int:
    sizes = (int.from_bytes(data[_LENGTH_AT : _LENGTH_AT + 4], order) for order in ("little", "big"))
    return min(_TYPE_WORD + min(sizes), MOST)
