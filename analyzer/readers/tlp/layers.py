"""TLPs and what carries them as scapy layers: to show single packets and to build captures.

scapy takes about 0.3 ms for a packet, so captures are not read through here (:mod:`analyzer.readers.tlp.pcap`
is the bulk path; tests hold both to equal results). Field names and layouts as in :mod:`schemas.tlp`::

    request = config_read(0x0300, 0x100, 4, tag=5)
    Ether() / IP() / UDP(dport=0x3005) / NetTlp() / request
    Ether() / IP() / UDP(dport=0x3005) / NetTlp() / completion(request, 0x1481000E)

Importing this module costs half a second, and registers its layers with scapy.
"""

# ruff: noqa: D102, ARG002 - the methods of the layers are those that scapy calls, with its arguments

from __future__ import annotations

import struct
import zlib
from typing import Any

from scapy.config import conf
from scapy.fields import (
    BitEnumField,
    BitField,
    IntField,
    LEIntField,
    LELongField,
    PacketField,
    ShortField,
    XBitField,
    XByteEnumField,
    XByteField,
    XIntField,
    XLEIntField,
    XLEShortField,
    XShortField,
)
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw, bind_bottom_up, bind_layers

from schemas import tlp as layout
from schemas import tlp_containers as containers

_STATUS_WORDS = {
    layout.SUCCESSFUL: "SC",
    layout.UNSUPPORTED_REQUEST: "UR",
    layout.REQUEST_RETRY: "RRS",
    layout.COMPLETER_ABORT: "CA",
}


def _fields(*fields: Any) -> list[Any]:
    """The fields of a layer, in the order in which they are sent."""
    return list(fields)


def _is_prefix(data: bytes) -> bool:
    return bool(data) and data[0] & layout.PREFIX_MASK == layout.PREFIX


class _Carrier(Packet):
    """A layer with a TLP in it, which may begin with prefixes."""

    def guess_payload_class(self, payload: bytes) -> Any:
        return TlpPrefix if _is_prefix(payload) else Tlp


class TlpPrefix(_Carrier):
    """Four bytes in front of a TLP: Fmt 100b, local (type below 0x10) or end-end."""

    name = "TLP prefix"
    fields_desc = _fields(XByteField("fmt_type", 0x90), XBitField("contents", 0, 24))


class Tlp(Packet):
    """The first doubleword of a TLP in non-flit mode."""

    name = "TLP"
    fields_desc = _fields(
        XByteEnumField("fmt_type", layout.CFG_RD0, layout.NAMES),
        BitField("t9", 0, 1),
        BitField("tc", 0, 3),
        BitField("t8", 0, 1),
        BitField("attr2", 0, 1),
        BitField("ln", 0, 1),
        BitField("th", 0, 1),
        BitField("td", 0, 1),
        BitField("ep", 0, 1),
        BitField("attr", 0, 2),
        BitField("at", 0, 2),
        BitField("length", 1, 10),
    )

    def guess_payload_class(self, payload: bytes) -> Any:
        if self.fmt_type in (*layout.CONFIG_READS, *layout.CONFIG_WRITES):
            return ConfigRequest
        return Completion if self.fmt_type in (layout.CPL, layout.CPL_D) else Raw


def _after_header(layer: Packet) -> Any:
    """What follows a header or its data: one doubleword, the end-to-end CRC, or anything else."""
    tlp = layer.underlayer
    while tlp is not None and not isinstance(tlp, Tlp):
        tlp = tlp.underlayer
    if tlp is None:
        return Raw
    if tlp.fmt_type & layout.FMT_DATA and not isinstance(layer, Dword):
        return Dword if tlp.length == 1 else Raw
    return Ecrc if tlp.td else Raw


class ConfigRequest(Packet):
    """Second and third doubleword of a configuration request."""

    name = "configuration request"
    fields_desc = _fields(
        XShortField("requester_id", 0),
        XByteField("tag", 0),
        XBitField("last_be", 0, 4),
        XBitField("first_be", 0xF, 4),
        XByteField("bus", 0),
        XByteField("devfn", 0),
        BitField("reserved", 0, 4),
        XBitField("register", 0, 10),
        BitField("reserved2", 0, 2),
    )

    def guess_payload_class(self, payload: bytes) -> Any:
        return _after_header(self)

    def mysummary(self) -> Any:
        kind = layout.NAMES.get(self.underlayer.fmt_type, "?") if self.underlayer else "?"
        where = f"{self.bus:02x}:{self.devfn >> 3:02x}.{self.devfn & 7} register {self.register << 2:#05x}"
        said = f"{kind} {where} bytes {self.first_be:04b} by {_id(self.requester_id)} tag {self.tag:#04x}"
        return said, [Tlp]


class Completion(Packet):
    """Second and third doubleword of a completion."""

    name = "completion"
    fields_desc = _fields(
        XShortField("completer_id", 0),
        BitEnumField("status", 0, 3, _STATUS_WORDS),
        BitField("bcm", 0, 1),
        BitField("byte_count", 4, 12),
        XShortField("requester_id", 0),
        XByteField("tag", 0),
        BitField("reserved", 0, 1),
        XBitField("lower_address", 0, 7),
    )

    def guess_payload_class(self, payload: bytes) -> Any:
        return _after_header(self)

    def mysummary(self) -> Any:
        kind = layout.NAMES.get(self.underlayer.fmt_type, "?") if self.underlayer else "?"
        status = _STATUS_WORDS.get(self.status, f"status {self.status}")
        by = f"{kind} {status} by {_id(self.completer_id)}"
        return f"{by} for {_id(self.requester_id)} tag {self.tag:#04x}", [Tlp]


def _id(number: int) -> str:
    return f"{number >> 8:02x}:{number >> 3 & 31:02x}.{number & 7}"


class Dword(Packet):
    """The data of a configuration access, as a register holds it."""

    name = "data"
    fields_desc = _fields(XLEIntField("value", 0))

    def guess_payload_class(self, payload: bytes) -> Any:
        return _after_header(self)

    def mysummary(self) -> Any:
        return f"{self.value:#010x}", [ConfigRequest, Completion]


class Ecrc(Packet):
    """The end-to-end CRC after a TLP with TD; it is not computed."""

    name = "ECRC"
    fields_desc = _fields(XIntField("ecrc", 0))


class NetTlp(_Carrier):
    """What NetTLP puts in front of each TLP in a UDP packet."""

    name = "NetTLP"
    fields_desc = _fields(ShortField("sequence", 0), IntField("timestamp", 0))


class _TlpField(PacketField):
    """A TLP with its prefixes, as long as its first doubleword says."""

    def getfield(self, pkt: Any, s: bytes) -> Any:
        size = tlp_size(s)
        tlp: Packet = TlpPrefix(s[:size]) if _is_prefix(s) else Tlp(s[:size])
        return s[size:], tlp


class LinkFrame(Packet):
    """A TLP between STP and END on a link with 8b/10b coding; the LCRC is computed unless given."""

    name = "link frame"
    fields_desc = _fields(
        XByteField("start", containers.STP),
        BitField("reserved", 0, 4),
        BitField("sequence", 0, 12),
        _TlpField("tlp", Tlp(), Tlp),
        XLEIntField("lcrc", None),
        XByteEnumField("end", containers.END, {containers.END: "END", containers.EDB: "EDB"}),
    )

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        if self.lcrc is None:
            pkt = pkt[:-5] + struct.pack("<I", zlib.crc32(pkt[1:-5])) + pkt[-1:]
        return pkt + pay


class AgilentRecord(Packet):
    """A record of an Agilent/Keysight bus analyser, as pad2pcapng writes it (link type 158)."""

    name = "bus analyser record"
    fields_desc = _fields(
        LEIntField("record", 0),
        LELongField("timestamp_ns", 0),
        XLEShortField("lfsr", 0),
        XLEShortField("metadata", 0),
        XLEIntField("flags", 0),
    )

    def guess_payload_class(self, payload: bytes) -> Any:
        return LinkFrame if payload[:1] == bytes([containers.STP]) else Raw


def tlp_size(data: bytes) -> int:
    """Bytes of the TLP at the start of ``data`` as its header says: prefixes, header, data and ECRC."""
    size = 0
    while _is_prefix(data[size:]):
        size += layout.PREFIX_SIZE
    fmt_type, word = data[size : size + 1], int.from_bytes(data[size + 2 : size + 4], "big")
    if not fmt_type:
        return len(data)
    size += layout.LONG_HEADER_SIZE if fmt_type[0] & layout.FMT_LONG else layout.HEADER_SIZE
    if fmt_type[0] & layout.FMT_DATA:
        size += layout.DWORD * (word & layout.LENGTH or layout.MAX_LENGTH)
    return size + (layout.ECRC_SIZE if word & layout.TD else 0)


def config_read(
    function: int, offset: int, width: int, *, requester: int = 0, tag: int = 0, type1: bool = False
) -> Packet:
    """Build a request that reads ``width`` bytes (1 to 4, within one doubleword) at ``offset``.

    ``function`` and ``requester`` are bus << 8 | devfn; ``tag`` has up to 10 bits.
    """
    return _request(layout.CONFIG_READS[type1], function, offset, width, requester, tag)


def config_write(
    function: int,
    offset: int,
    width: int,
    value: int,
    *,
    requester: int = 0,
    tag: int = 0,
    type1: bool = False,
) -> Packet:
    """Build a request that writes ``value``; arguments as of :func:`config_read`."""
    request = _request(layout.CONFIG_WRITES[type1], function, offset, width, requester, tag)
    return request / Dword(value=value << 8 * (offset & 3))


def _request(fmt_type: int, function: int, offset: int, width: int, requester: int, tag: int) -> Packet:
    return Tlp(fmt_type=fmt_type, t9=tag >> 9 & 1, t8=tag >> 8 & 1) / ConfigRequest(
        requester_id=requester,
        tag=tag & 0xFF,
        first_be=((1 << width) - 1 << (offset & 3)) & layout.FIRST_BE,
        bus=function >> 8,
        devfn=function & 0xFF,
        register=offset >> 2,
    )


def completion(
    request: Packet,
    value: int | None = None,
    *,
    status: int = layout.SUCCESSFUL,
    completer: int | None = None,
) -> Packet:
    """Build the completion of a configuration request, by the function that it asks or by ``completer``.

    ``value`` is what the bytes read hold, from the first enabled byte on; None: a completion without data.
    """
    head, asked = request[Tlp], request[ConfigRequest]
    fmt_type = layout.CPL if value is None else layout.CPL_D
    tlp = Tlp(fmt_type=fmt_type, t9=head.t9, t8=head.t8, length=0 if value is None else 1) / Completion(
        completer_id=asked.bus << 8 | asked.devfn if completer is None else completer,
        status=status,
        requester_id=asked.requester_id,
        tag=asked.tag,
    )
    if value is None:
        return tlp
    first = (asked.first_be & -asked.first_be).bit_length() - 1 if asked.first_be else 0
    return tlp / Dword(value=value << 8 * first & 0xFFFFFFFF)


def dissect(data: bytes, link_type: int, raw_link_type: int | None = None) -> Packet:
    """Return a captured packet as layers, or as mere bytes where it is too short for them.

    Args:
        data: the packet.
        link_type: of the file or its interface.
        raw_link_type: the one whose packets are bare TLPs, or None.
    """
    layer: Any = conf.l2types.num2layer.get(link_type, Raw)
    if link_type == raw_link_type:
        layer = TlpPrefix if _is_prefix(data) else Tlp
    try:
        packet: Packet = layer(data)
    except struct.error:
        packet = Raw(data)
    return packet


def describe(data: bytes, link_type: int, raw_link_type: int | None = None) -> str:
    """Return the TLP in a captured packet in words: kind, address, requester, tag, data."""
    packet = dissect(data, link_type, raw_link_type)
    frame = packet.getlayer(LinkFrame)
    tlp = (packet if frame is None else frame.tlp).getlayer(Tlp)
    return str((packet if tlp is None else tlp).summary()).removeprefix("Tlp / ")


def _register() -> None:
    bind_layers(UDP, NetTlp, sport=containers.NETTLP_PORTS[0].start, dport=containers.NETTLP_PORTS[0].start)
    for ports in containers.NETTLP_PORTS:
        for port in ports:
            bind_bottom_up(UDP, NetTlp, dport=port)
    conf.l2types.register(containers.AGILENT, AgilentRecord)


_register()
