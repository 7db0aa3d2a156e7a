"""Builds TLP captures for the reader's tests, and reads them in the slow and in the fast way."""

from __future__ import annotations

import functools
import io
import struct
from typing import TYPE_CHECKING

import polars as pl
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from analyzer.capture import Notes, accesses
from analyzer.options import Options
from analyzer.readers.tlp import layers, pcap
from analyzer.readers.tlp.layers import AgilentRecord, LinkFrame, Tlp, completion, config_read
from analyzer.readers.unwrap import ByteStream
from schemas import tlp as layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scapy.packet import Packet

#: A link type that users may give any meaning.
BARE = 147
#: What a test compares of an access: time, BDF as a number, offset, width, operation, value, status, absent.
COLUMNS = ("function", "offset", "width", "op", "value", "status", "absent")

# The words of capture-formats.md 8; "derived": no public capture of config TLPs exists.
READ_ARI = "04000001 0000050f 03000100"
ANSWER_ARI = "4a000001 03000004 00000500 0e008114"
UNSUPPORTED = "0a000000 03002004 00000500"
RETRY = "0a000000 03004004 00000500"
ABORT = "0a000000 03008004 00000500"
WRITE_ARI_FORWARDING = "45000001 00000703 05080090 20000000"
WRITTEN = "0a000000 05080004 00000700"
READ_BYTE = "04000001 00000901 03100100"


def tlp(text: str) -> bytes:
    return bytes.fromhex(text)


def records(packets: Iterable[bytes], *, order: str = "<", cut: int = 0) -> bytes:
    """The records of a pcap file, one a microsecond (or nanosecond) from second 1000 on."""
    data = b""
    for number, packet in enumerate(packets):
        kept = packet[: len(packet) - cut]
        data += struct.pack(order + "IIII", 1000, number, len(kept), len(packet)) + kept
    return data


def pcap_header(link_type: int = BARE, *, order: str = "<", nano: bool = False) -> bytes:
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)


def bare(*tlps: str | bytes | Packet, cut: int = 0) -> bytes:
    """A pcap file of bare TLPs."""
    return pcap_header() + records([_bytes(part) for part in tlps], cut=cut)


def _bytes(part: str | bytes | Packet) -> bytes:
    return tlp(part) if isinstance(part, str) else bytes(part)


def nettlp(content: str | bytes | Packet, port: int = 0x3005) -> Packet:
    """One TLP in an Ethernet frame of NetTLP."""
    inner = Raw(tlp(content)) if isinstance(content, str) else Raw(bytes(content))
    return Ether() / IP() / UDP(sport=port, dport=port) / layers.NetTlp() / inner


def ethernet(packets: Iterable[Packet | bytes]) -> bytes:
    """A pcap file of Ethernet frames."""
    return pcap_header(1) + records([bytes(packet) for packet in packets])


def bulk(data: bytes, raw: int | None = BARE) -> tuple[list[tuple], Notes]:
    """Read a file as the product does; rows of ``COLUMNS``."""
    table, notes = frame(data, raw)
    function = pl.col("bus").cast(pl.UInt32) * 256 + pl.col("devfn")
    texts = (pl.col(name).cast(pl.String) for name in ("op", "status"))
    rows = table.with_columns(function.alias("function"), *texts).select(COLUMNS).rows()
    return rows, notes


def frame(data: bytes, raw: int | None = BARE) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("x")
    options = Options(linktype_raw_tlp=raw)
    frames = list(pcap.read(ByteStream("x", io.BytesIO(data)), notes, options))
    table = pl.concat(frames) if frames else accesses.empty()
    assert table.schema == accesses.READER_SCHEMA
    return table, notes


def problems(notes: Notes) -> list[str]:
    """Kinds of the problems, with the numbers in them."""
    found = []
    for problem in notes.problems:
        number = next((word for word in problem.message.split() if word.isdigit()), "")
        found.append(f"{problem.kind} {number}".strip())
    return found


_WORDS = {0: "ok", 1: "unsupported", 2: "retry", 4: "abort"}


def slow(tlps: Iterable[bytes]) -> list[tuple]:
    """What a capture of bare TLPs must give, TLP by TLP through scapy's layers and a dictionary."""
    rows: list[tuple[int, int, tuple]] = []
    asked: dict[tuple[int, int], tuple[int, Packet, bool]] = {}
    writes: dict[int, str] = {}
    for position, data in enumerate(tlps):
        packet = layers.Tlp(data)
        if layers.ConfigRequest in packet:
            request = packet[layers.ConfigRequest]
            asked[_key(packet, request)] = (position, packet, False)
            if packet.fmt_type in layout.CONFIG_WRITES:
                writes[position] = "unknown"
                value = packet[layers.Dword].value
                for run, row in enumerate(_rows(request, "write", value, "?")):
                    rows.append((position, run, row))
        elif layers.Completion in packet:
            answer = packet[layers.Completion]
            found = asked.get(_key(packet, answer))
            if found is None or found[2]:
                continue
            at, question, _ = found
            asked[_key(packet, answer)] = (at, question, True)
            status = _WORDS[answer.status]
            if question.fmt_type in layout.CONFIG_WRITES:
                writes[at] = status
                continue
            request = question[layers.ConfigRequest]
            value = packet[layers.Dword].value if status == "ok" else 0xFFFFFFFF
            if status == "retry" and request.register == 0 and request.first_be & 3 == 3:
                value = 0xFFFF0001
            for run, row in enumerate(_rows(request, "read", value, status)):
                rows.append((position, run, row))
    rows.sort(key=lambda item: item[:2])
    return [_settle(row, writes.get(position, "")) for position, _, row in rows]


def _key(packet: Packet, part: Packet) -> tuple[int, int]:
    return part.requester_id, packet.t9 << 9 | packet.t8 << 8 | part.tag


def _rows(request: Packet, op: str, value: int, status: str) -> Iterable[tuple]:
    function, lane = request.bus << 8 | request.devfn, 0
    while lane < 4:
        width = 0
        while lane + width < 4 and request.first_be >> (lane + width) & 1:
            width += 1
        # Three bytes are an aligned pair and one.
        for size in {0: (), 3: (2, 1) if lane % 2 == 0 else (1, 2)}.get(width, (width,)):
            part = value >> 8 * lane & ((1 << 8 * size) - 1)
            yield (function, request.register * 4 + lane, size, op, part, status, status == "unsupported")
            lane += size
        lane += 1


def _settle(row: tuple, write_status: str) -> tuple:
    if row[3] == "read":
        return row
    return (*row[:5], write_status, write_status == "unsupported")


def tlps_of(table: pl.DataFrame) -> list[bytes]:
    """Each access of a table as config request and completion, as on the links of its machine."""
    found = []
    columns = table.select("bus", "devfn", "offset", "width", "op", "value", "status").iter_rows()
    for number, row in enumerate(columns):
        tag = bytes([number % 256])
        request, answer = _pair(*row)
        found += [request[:6] + tag + request[7:], answer[:10] + tag + answer[11:]]
    return found


@functools.cache
def _pair(
    bus: int, devfn: int, offset: int, width: int, op: str, value: int, status: str
) -> tuple[bytes, bytes]:
    """Request and completion of one access, with tag 0."""
    function, type1 = bus << 8 | devfn, bus > 0
    if op == "read":
        request = layers.config_read(function, offset, width, type1=type1)
    else:
        request = layers.config_write(function, offset, width, value, type1=type1)
    data = value if (op, status) == ("read", "ok") else None
    code = {word: code for code, word in _WORDS.items()}[status]
    return bytes(request), bytes(layers.completion(request, data, status=code))


def nettlp_capture(table: pl.DataFrame) -> bytes:
    """A capture of NetTLP with the accesses of a table, in their order and at their times."""
    times = table["time_ns"].to_list()
    data = pcap_header(1, nano=True)
    heads: dict[int, bytes] = {}
    for number, content in enumerate(tlps_of(table)):
        size = len(content)
        if size not in heads:  # the same for all TLPs of one size, and slow to build
            heads[size] = bytes(nettlp(bytes(size)))[:-size]
        packet = heads[size] + content
        second, rest = divmod(times[number // 2], 1_000_000_000)
        data += struct.pack("<IIII", second, rest, len(packet), len(packet)) + packet
    return data


# -- any config request -------------------------------------------------------------------------------------

REQUESTS = st.tuples(
    st.sampled_from(["read", "write"]),
    st.integers(0, 0xFFFF),
    st.integers(0, 1023),
    st.integers(1, 15),
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([0, 8, 0x100]),
    st.integers(0, 2) | st.integers(0, 1023),
    st.booleans(),
)


def build(request: tuple) -> Packet:
    """The config request that ``REQUESTS`` drew."""
    op, function, register, enables, value, requester, tag, type1 = request
    keys = {"requester": requester, "tag": tag, "type1": type1}
    if op == "read":
        packet = layers.config_read(function, register * 4, 4, **keys)
    else:
        packet = layers.config_write(function, register * 4, 4, value, **keys)
    packet.first_be = enables
    return packet


# -- pcapng ----------------------------------------------------------------------------------------------


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    size = 12 + len(body) + -len(body) % 4
    return (
        struct.pack(order + "II", kind, size) + body + bytes(-len(body) % 4) + struct.pack(order + "I", size)
    )


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = BARE, options: bytes = b"", snap: int = 0, order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def enhanced(
    data: str | bytes, number: int = 0, ticks: int = 5, order: str = "<", rest: bytes = b""
) -> bytes:
    octets = tlp(data) if isinstance(data, str) else data
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(octets), len(octets))
    return block(6, head + octets + bytes(-len(octets) % 4) + rest, order)


def analyser(*parts, flags: int = 0, metadata: int = 0, **fields) -> bytes:
    """Records of link type 158 in a pcapng file as pad2pcapng writes it."""
    hardware = option(15, b"AGT_MODULE_ONEPORT_PCIEXPRESS_X8")
    data = section() + interface(158, option(2, b"101/1") + option(9, b"\x09") + hardware)
    for number, part in enumerate(parts):
        content = (
            part if isinstance(part, bytes) else LinkFrame(sequence=number, tlp=Tlp(tlp(part)), **fields)
        )
        record = AgilentRecord(record=number, flags=flags, metadata=metadata) / content
        data += enhanced(bytes(record), ticks=1000 + number)
    return data


def small(form: str) -> tuple[bytes, list[int]]:
    """Ten accesses, and the bytes at which a record begins."""
    contents = []
    for number in range(10):
        request = config_read(0x0300, number * 4, 4, tag=number)
        contents += [request, completion(request, number)]
    if form == "pcap":
        data, parts = pcap_header(1), [records([bytes(nettlp(part))]) for part in contents]
    elif form == "pcapng":
        data, parts = section() + interface(), [enhanced(bytes(part)) for part in contents]
    else:
        whole = analyser(*(bytes(LinkFrame(sequence=n, tlp=part)) for n, part in enumerate(contents)))
        size = len(enhanced(bytes(AgilentRecord() / LinkFrame(tlp=contents[0]))))
        data = whole[: whole.index(struct.pack("<II", 6, size))]
        parts = []
        position = len(data)
        while position < len(whole):
            length = int.from_bytes(whole[position + 4 : position + 8], "little")
            parts.append(whole[position : position + length])
            position += length
    edges = []
    for part in parts:
        edges.append(len(data))
        data += part
    return data, edges
