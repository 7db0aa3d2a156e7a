"""Packets of a pcap or pcapng file, in batches of arrays (the containers: ``packet_containers``)."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers.tlp.packet_containers import Gathered, PacketSource, Pcap, PcapNg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from analyzer.readers.unwrap import ByteStream

#: Packets and bytes of a batch, whichever is reached first, and packets that scapy is asked for at a time.
_PACKETS, _BYTES, _STEP = 1 << 16, 16 << 20, 1 << 12
_PCAPNG = b"\x0a\x0d\x0d\x0a"
_PCAP_HEADER = 24
_PCAP_MAGICS = tuple(bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1"))
#: Zeros behind the data, so that an item can be looked at before it is known to lie within its packet.
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
                self.damage = (place, "truncated", f"the last {left} bytes are no whole record")
            else:
                message = "expected a record, found one that contradicts itself; the rest is left out"
                self.damage = (place, "damaged", message)
        return part


def _together(parts: list[Gathered], first: int) -> Packets:
    """Put packets behind each other; the first is number ``first`` of the file."""
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
