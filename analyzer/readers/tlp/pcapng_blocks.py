"""scapy's pcapng reader, made to say where it is and what it leaves out.

Source: draft-ietf-opsawg-pcapng. Imported only to read a pcapng file, because scapy takes long to import.
"""

from __future__ import annotations

from typing import Any, cast

from scapy.utils import RawPcapNgReader

#: No recorder has so many; each takes memory.
_MOST_INTERFACES = 1 << 12
#: What simple packets of an interface without snapshot length may have.
_NO_LIMIT = 1 << 18
#: Blocks of secrets and of process names: not needed, and scapy acts on them.
_UNUSED_BLOCKS = (10, 0x80000001)
#: Option if_tsoffset: seconds to add to each time.
_TIME_OFFSET = 14
#: Block with statistics of an interface, and its options isb_ifdrop and isb_osdrop: packets lost so far.
_STATISTICS, _STATISTICS_HEAD, _DROP_COUNTS = 5, 12, (5, 7)


class WatchingReader(RawPcapNgReader):
    """A reader that keeps account; iterate over it for packets.

    The ``tsresol`` of a packet is a pair: ticks per second, and seconds to add.

    Attributes:
        block: byte at which the last block began.
        interface: number of the last packet's interface.
        orphans: packets of interfaces that the file does not describe.
        first_orphan: byte of the first of them.
    """

    f: Any

    def __init__(self, *arguments: Any) -> None:
        self.block = 0
        self.interface = 0
        self.orphans = 0
        self.first_orphan: int | None = None
        self._dropped = 0
        self._drops: dict[int, int] = {}  # by interface of this section
        super().__init__(*arguments)
        for kind in _UNUSED_BLOCKS:
            self.blocktypes.pop(kind, None)
        self.blocktypes[_STATISTICS] = self._read_statistics

    @property
    def dropped(self) -> int:
        """Packets that the recorder says it lost."""
        return self._dropped + sum(self._drops.values())

    def _read_block(self, *arguments: Any, **named: Any) -> Any:
        self.block = self.f.offset
        return super()._read_block(*arguments, **named)

    def _read_block_shb(self) -> None:
        self.interfaces = []  # each section numbers its interfaces from 0; scapy would go on counting
        self._dropped = self.dropped
        self._drops = {}
        super()._read_block_shb()

    def _read_block_idb(self, block: bytes, _: Any) -> None:
        if len(self.interfaces) >= _MOST_INTERFACES:
            raise EOFError
        super()._read_block_idb(block, _)
        link_type, snap_length, options = self.interfaces[-1]
        added = cast("bytes", self._read_options(block[8:]).get(_TIME_OFFSET, b""))
        options["tsresol"] = (options["tsresol"], self._number(added, signed=True))
        # A snapshot length of 0 means no limit, but scapy would cut simple packets to nothing.
        self.interfaces[-1] = (link_type, snap_length or _NO_LIMIT, options)

    def _read_statistics(self, block: bytes, _: Any) -> None:
        interface = self._number(block[:4])
        if interface < len(self.interfaces):  # so that there is no count without an interface
            options = self._read_options(block[_STATISTICS_HEAD:])
            counts = (cast("bytes", options.get(code, b"")) for code in _DROP_COUNTS)
            self._drops[interface] = sum(map(self._number, counts))

    def _number(self, octets: bytes, *, signed: bool = False) -> int:
        return int.from_bytes(octets[:8], "big" if self.endian == ">" else "little", signed=signed)

    def _check_interface_id(self, intid: int) -> bool:
        self.interface = intid
        if intid < len(self.interfaces):
            return True
        if self.first_orphan is None:
            self.first_orphan = self.block
        self.orphans += 1
        return False
