"""The scapy layers: every byte of the worked examples, both ways, and what they say of a packet."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapReader, PcapWriter
from tlp_captures import (
    ABORT,
    ANSWER_ARI,
    READ_ARI,
    READ_BYTE,
    RETRY,
    UNSUPPORTED,
    WRITE_ARI_FORWARDING,
    WRITTEN,
    nettlp,
    tlp,
)

from analyzer.readers.tlp.layers import (
    AgilentRecord,
    Completion,
    ConfigRequest,
    Dword,
    Ecrc,
    LinkFrame,
    NetTlp,
    Tlp,
    TlpPrefix,
    completion,
    config_read,
    config_write,
    dissect,
    tlp_size,
)
from schemas import tlp as layout
from schemas import tlp_containers as containers

ARI = config_read(0x0300, 0x100, 4, tag=5)
FORWARDING = config_write(0x0508, 0x90, 2, 0x20, tag=7, type1=True)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (ARI, READ_ARI),
        (completion(ARI, 0x1481000E), ANSWER_ARI),
        (completion(ARI, status=layout.UNSUPPORTED_REQUEST), UNSUPPORTED),
        (completion(ARI, status=layout.REQUEST_RETRY), RETRY),
        (completion(ARI, status=layout.COMPLETER_ABORT), ABORT),
        (FORWARDING, WRITE_ARI_FORWARDING),
        (completion(FORWARDING), WRITTEN),
        (config_read(0x0310, 0x100, 1, tag=9), READ_BYTE),
        (config_read(0, 0x102, 2, tag=0x3FF), "04880001 0000ff0c 00000100"),
        (config_write(0, 0x3, 1, 0xAB, requester=0x0108), "44000001 01080008 00000000 000000ab"),
        (completion(config_read(0x0300, 0x6, 2), 0x1234), "4a000001 03000004 00000000 00003412"),
    ],
)
def test_worked_examples(packet, text):
    assert bytes(packet) == tlp(text)
    again = Tlp(tlp(text))
    assert bytes(again) == tlp(text)
    assert [layer.__name__ for layer in again.layers()] == [layer.__name__ for layer in packet.layers()]
    assert tlp_size(tlp(text)) == len(tlp(text))


def test_fields_of_a_request_and_of_a_completion():
    request, answer = Tlp(tlp(WRITE_ARI_FORWARDING)), Tlp(tlp(ANSWER_ARI))
    assert (request.fmt_type, request.length, request[ConfigRequest].register) == (layout.CFG_WR1, 1, 0x24)
    assert (request[ConfigRequest].bus, request[ConfigRequest].devfn) == (5, 8)
    assert (request[ConfigRequest].first_be, request[Dword].value) == (3, 0x20)
    assert (answer[Completion].completer_id, answer[Completion].byte_count) == (0x0300, 4)
    assert answer[Dword].value == 0x1481000E


def test_prefixes_ecrc_and_long_data():
    request = config_write(0x0300, 0, 4, 7)
    request.td = 1
    whole = bytes(TlpPrefix(contents=1) / TlpPrefix() / request / Ecrc(ecrc=0x01020304))
    assert tlp_size(whole) == len(whole) == 8 + 12 + 4 + 4
    packet = TlpPrefix(whole)
    assert (packet[Dword].value, packet[Ecrc].ecrc) == (7, 0x01020304)
    # A completion of a memory read is shown, its data as bytes.
    memory = Tlp(tlp("4a000002 03000008 00000500 0102030405060708"))
    assert memory[Completion].byte_count == 8
    assert memory[Raw].load == bytes(range(1, 9))
    assert tlp_size(tlp("60000000")) == 16 + 4096


def test_a_frame_computes_its_lcrc():
    frame = LinkFrame(sequence=0, tlp=config_read(0x0100, 0, 4))
    # As a ROCKPro64 sent it (published by the ECP5-PCIe project).
    assert bytes(frame).hex() == "fb000004000001" + "0000000f01000000" + "4fa62afffd"
    again = LinkFrame(bytes(frame))
    assert (again.tlp[ConfigRequest].bus, again.lcrc, again.end) == (1, 0xFF2AA64F, containers.END)
    assert bytes(again) == bytes(frame)
    assert bytes(LinkFrame(tlp=ARI, lcrc=1, end=containers.EDB))[-5:] == b"\x01\0\0\0\xfe"


def test_a_frame_with_a_prefixed_tlp():
    frame = LinkFrame(sequence=0xABC, tlp=TlpPrefix() / ARI)
    data = bytes(frame)
    assert int.from_bytes(data[-5:-1], "little") == zlib.crc32(data[1:-5])
    assert LinkFrame(data).tlp[ConfigRequest].tag == 5


def test_dissection_by_link_type():
    assert dissect(bytes(nettlp(READ_ARI)), containers.ETHERNET)[ConfigRequest].tag == 5
    record = bytes(AgilentRecord(record=3, timestamp_ns=4) / LinkFrame(tlp=Tlp(tlp(READ_ARI))))
    assert len(record) == 20 + 1 + 2 + 12 + 4 + 1
    packet = dissect(record, containers.AGILENT)
    assert (packet.record, packet[LinkFrame].tlp[ConfigRequest].tag) == (3, 5)
    assert dissect(tlp(READ_ARI), 147, 147)[ConfigRequest].tag == 5
    assert isinstance(dissect(b"\x90\0\0\0" + tlp(READ_ARI), 147, 147), TlpPrefix)
    assert isinstance(dissect(tlp(READ_ARI), 147), Raw)


def test_scapy_finds_the_layers_in_a_file(tmp_path):
    path = str(tmp_path / "x.pcap")
    with PcapWriter(path) as writer:
        writer.write([nettlp(READ_ARI), nettlp(ANSWER_ARI, port=0x4003), nettlp(READ_ARI, port=14198)])
    with PcapReader(path) as reader:
        packets = list(reader)
    assert [Tlp in packet for packet in packets] == [True, True, True]
    assert (
        packets[0]
        .summary()
        .endswith("NetTlp / Tlp / CfgRd0 03:00.0 register 0x100 bytes 1111 by 00:00.0 tag 0x05")
    )
    assert packets[1].summary().endswith("CplD SC by 03:00.0 for 00:00.0 tag 0x05 / 0x1481000e")


def test_a_port_for_requests_by_default():
    packet = Ether() / IP() / UDP() / NetTlp() / ARI
    assert (packet[UDP].sport, packet[UDP].dport) == (0x3000, 0x3000)


@settings(max_examples=60)
@given(st.binary(max_size=80), st.sampled_from([containers.ETHERNET, containers.AGILENT, 147]))
def test_any_bytes_are_shown(data, link_type):
    packet = dissect(data, link_type, 147)
    assert packet.summary()
    assert packet.show(dump=True)
