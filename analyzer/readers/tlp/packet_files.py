"""Packets of a pcap or pcapng file, in batches of arrays.

The containers are read by scapy, which knows byte orders, clock resolutions and several interfaces. What it
passes over in silence is watched here (for pcapng, in ``pcapng_blocks``): where each record lies, whether the
file ends where a record ends, sizes that no packet has, what the recorder itself lost.
"""

from __future__ import annotations

import itertools
import logging
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from analyzer.readers.unwrap import ByteStream

_BLOCK = 1 << 18
#: libpcap's MAXIMUM_SNAPLEN and wireshark's limit of a pcapng block: a larger one is damage.
_LARGEST_PACKET, _LARGEST_BLOCK = 1 << 18, 16 << 20
_PCAP_RECORD = 16
_NS = 1_000_000_000
_LARGEST_TIME = np.iinfo(np.int64).max


class PacketSource:
    """What scapy's readers need of a file, over a byte stream.

    Attributes:
        refused: a read was larger than any record.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.path = stream.path
        self.refused = False
        self._stream = stream
        self._buffer = b""
        self._position = 0
        self._base = stream.offset

    @property
    def offset(self) -> int:
        """Bytes that were read, counted in the uncompressed file."""
        return self._base + self._position

    @property
    def at_end(self) -> bool:
        """Whether the file has no more bytes."""
        return self._position == len(self._buffer) and not self._stream.peek(1)

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer only at the end.

        Raises:
            EOFError: no record is so large (scapy takes it for the end of the file).
        """
        position = self._position
        data = self._buffer[position : position + size]
        if len(data) == size:
            self._position = position + size
            return data
        if size > _LARGEST_BLOCK:
            self.refused = True
            raise EOFError
        self._base += position
        self._buffer = self._buffer[position:] + self._stream.read(max(_BLOCK, size))
        self._position = min(size, len(self._buffer))
        return self._buffer[: self._position]


@dataclass(frozen=True)
class Gathered:
    """Packets as scapy gave them (``pieces``), with an entry in each array for each of them.

    ``original`` is the length that the packet had before the recorder cut it.
    """

    pieces: list[bytes]
    where: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    timed: NDArray[np.bool_]
    link_type: NDArray[np.int64]
    interface: NDArray[np.int64]
    original: NDArray[np.int64]


def _columns(rows: Iterable[tuple[int, int, int, int]], count: int) -> NDArray[np.int64]:
    """Rows of four numbers as four arrays."""
    return np.fromiter(itertools.chain.from_iterable(rows), np.int64, 4 * count).reshape(count, 4).T.copy()


def _nothing() -> Gathered:
    none = np.empty(0, np.int64)
    return Gathered([], none, none, none.astype(bool), none, none, none)


class Pcap:
    """A pcap file.

    Attributes:
        link_type: of all its packets.
        place: byte after the last whole record.
        broken: the record there cannot be one.
    """

    orphans = 0
    first_orphan: int | None = None
    dropped = 0

    def __init__(self, source: PacketSource) -> None:
        from scapy.utils import RawPcapReader

        self._source = source
        self._reader = RawPcapReader(cast("Any", source))
        self._unit = 1 if self._reader.nano else 1000
        # Above the link type: the length of a frame check sequence (pcap-savefile(5)).
        self.link_type = int(self._reader.linktype) & 0xFFFF
        self.place = source.offset
        self.broken = False

    def gather(self, most: int) -> Gathered:
        """Return the next packets, fewer than ``most`` only at the end or in front of damage."""
        pairs = list(itertools.islice(self._reader, most))
        if not pairs:
            return _nothing()
        second, fraction, original, captured = _columns((meta for _, meta in pairs), len(pairs))
        ends = self.place + np.cumsum(_PCAP_RECORD + captured)
        wrong = (captured > _LARGEST_PACKET) | (fraction * self._unit >= _NS)
        count = len(pairs)
        if wrong.any():
            self.broken = True
            count = int(np.argmax(wrong))
        elif int(ends[-1]) > self._source.offset:
            count -= 1  # the file ends within the last one
        kept = slice(0, count)
        where = (ends - captured - _PCAP_RECORD)[kept]
        self.place = int(ends[count - 1]) if count else self.place
        return Gathered(
            [data for data, _ in pairs[kept]],
            where,
            (second * _NS + fraction * self._unit)[kept],
            np.ones(count, bool),
            np.full(count, self.link_type, np.int64),
            np.zeros(count, np.int64),
            np.maximum(original, captured)[kept],
        )


class PcapNg:
    """A pcapng file; its attributes are those of :class:`Pcap`.

    ``orphans`` counts packets of interfaces that the file does not describe, ``dropped`` those that the
    recorder says it lost.
    """

    def __init__(self, source: PacketSource) -> None:
        from scapy.error import Scapy_Exception

        from analyzer.readers.tlp.pcapng_blocks import WatchingReader

        self._source = source
        # What scapy raises on contents that contradict themselves.
        self._errors = (Scapy_Exception, EOFError, struct.error, ValueError, KeyError, IndexError, TypeError)
        self.broken = False
        try:
            self._reader = WatchingReader(source)
        except self._errors as error:
            raise DamagedInputError(
                f"expected the section header of a pcapng file, found one that makes no sense ({error})",
                path=source.path,
                offset=0,
                advice="fetch or record the file again",
            ) from error
        self.place = source.offset

    @property
    def orphans(self) -> int:
        """Packets of interfaces that the file does not describe."""
        return self._reader.orphans

    @property
    def first_orphan(self) -> int | None:
        """Byte of the first of them."""
        return self._reader.first_orphan

    @property
    def dropped(self) -> int:
        """Packets that the recorder lost, by its own count."""
        return self._reader.dropped

    def gather(self, most: int) -> Gathered:
        """Return the next packets, fewer than ``most`` only at the end or in front of damage."""
        reader = self._reader
        pieces: list[bytes] = []
        columns: list[tuple[int, int, int, int]] = []
        ticks: list[tuple[int | None, int, int]] = []
        try:
            packets: Iterator[tuple[bytes, Any]] = itertools.islice(reader, most)
            for data, meta in packets:
                pieces.append(data)
                columns.append((reader.block, meta.linktype, reader.interface, meta.wirelen))
                high = meta.tshigh
                ticks.append((None if high is None else high << 32 | meta.tslow, *meta.tsresol))
        except self._errors:
            self.broken = True
        self.place = self._source.offset if len(pieces) == most else reader.block
        if not pieces:
            return _nothing()
        where, link_type, interface, original = _columns(columns, len(columns))
        time_ns, timed = _times(ticks)
        return Gathered(pieces, where, time_ns, timed, link_type, interface, original)


def _times(ticks: list[tuple[int | None, int, int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Times in ns from ticks, ticks per second and seconds to add, and which of them are known."""
    times = [
        -1 if tick is None else tick * _NS // per_second + added * _NS for tick, per_second, added in ticks
    ]
    timed = np.array([0 <= time <= _LARGEST_TIME for time in times], bool)
    known = [time if good else 0 for time, good in zip(times, timed.tolist(), strict=True)]
    return np.array(known, np.int64), timed


#: Packets and bytes of a batch, whichever is reached first, and packets that scapy is asked for at a time.
_PACKETS, _BYTES, _STEP = 1 << 16, 16 << 20, 1 << 12
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAP_HEADER = 24
_PCAP_MAGICS = tuple(bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1"))
#: Zeros after the data, so that an item can be looked at before it is known to lie within its packet.
MARGIN = 64


@dataclass(frozen=True)
class Packets:
    """Consecutive packets of one file; all arrays but ``data`` have one entry per packet.

    ``data`` holds the packets one after the other and ``MARGIN`` zeros; packet *i* is
    ``data[start[i]:end[i]]``. ``number`` counts the packets of the file from 0, ``where`` is the byte of the
    packet's record in the uncompressed file, ``time_ns`` counts where ``timed``. ``cut`` packets were longer.
    """

    data: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    number: NDArray[np.int64]
    where: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    timed: NDArray[np.bool_]
    link_type: NDArray[np.int64]
    interface: NDArray[np.int64]
    cut: NDArray[np.bool_]


class PacketFile:
    """One pcap or pcapng file.

    Attributes:
        damage: once it was read: byte, kind (``truncated``, ``damaged``) and message of why it ends early.
        link_types: link types of the packets read so far, or of a pcap file's header.
    """

    def __init__(self, stream: ByteStream) -> None:
        """Read the header of the file.

        Raises:
            DamagedInputError: it is cut or makes no sense.
            UnsupportedFormatError: a version of pcap other than 2.
        """
        self.damage: tuple[int, str, str] | None = None
        self.link_types: set[int] = set()
        self._source = PacketSource(stream)
        self._number = 0
        head = stream.peek(_PCAP_HEADER)
        self._container: Pcap | PcapNg
        with _quiet():
            if head.startswith(_PCAPNG):
                self._container = PcapNg(self._source)
            else:
                _check_header(head, stream.path)
                self._container = Pcap(self._source)
                self.link_types.add(self._container.link_type)

    @property
    def lost(self) -> tuple[int, int | None]:
        """How many packets are of interfaces that the file does not describe, and the byte of the first."""
        return self._container.orphans, self._container.first_orphan

    @property
    def dropped(self) -> int:
        """How many packets the recorder says it lost."""
        return self._container.dropped

    def batches(self) -> Iterator[Packets]:
        """Yield all packets in order."""
        while self.damage is None:
            parts: list[Gathered] = []
            count = size = 0
            with _quiet():
                while count < _PACKETS and size < _BYTES and self.damage is None:
                    part = self._gather()
                    if not part.pieces:
                        break
                    parts.append(part)
                    count += len(part.pieces)
                    size += sum(map(len, part.pieces))
            if not count:
                return
            packets = _together(parts, self._number)
            self._number += count
            self.link_types.update(np.unique(packets.link_type).tolist())
            yield packets

    def _gather(self) -> Gathered:
        """Return the next packets, none at the end of the file, and note why it ends early."""
        part = self._container.gather(_STEP)
        place = self._container.place
        if len(part.pieces) < _STEP and (self._source.offset > place or self._source.refused):
            if self._source.at_end and not self._container.broken and not self._source.refused:
                left = self._source.offset - place
                message = counted("the last {} [byte is|bytes are] not a whole record", left)
                self.damage = (place, "truncated", message)
            else:
                message = "expected a record, found one that contradicts itself; the rest is left out"
                self.damage = (place, "damaged", message)
        return part


def _together(parts: list[Gathered], first: int) -> Packets:
    """Put packets one after the other; the first is number ``first`` of the file."""
    pieces = [piece for part in parts for piece in part.pieces]
    length = np.fromiter(map(len, pieces), np.int64, len(pieces))
    end = np.cumsum(length)
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("where", "time_ns", "timed", "link_type", "interface", "original")
    }
    original = columns.pop("original")
    return Packets(
        data=np.frombuffer(b"".join([*pieces, bytes(MARGIN)]), np.uint8),
        start=end - length,
        end=end,
        number=np.arange(first, first + len(length)),
        cut=length < original,
        **columns,
    )


def _check_header(head: bytes, path: str) -> None:
    if len(head) < _PCAP_HEADER:
        raise DamagedInputError(
            f"expected a pcap header of {_PCAP_HEADER} bytes, found {len(head)} bytes in all",
            path=path,
            offset=0,
            advice="record again: nothing but the start of the header was written",
        )
    if head[:4] not in _PCAP_MAGICS:
        raise DamagedInputError(
            f"expected the magic of a pcap file, found {head[:4].hex()}", path=path, offset=0
        )
    major = int.from_bytes(head[4:6], "big" if head[0] == 0xA1 else "little")
    if major != 2:
        raise UnsupportedFormatError(
            f"expected pcap version 2, found {major}",
            path=path,
            offset=4,
            advice="convert it with editcap -F pcap",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what scapy logs off the terminal: the same is found and said here."""
    logger = logging.getLogger("scapy.runtime")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
