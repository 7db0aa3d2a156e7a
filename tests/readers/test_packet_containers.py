"""Packets out of pcap and pcapng files: byte orders, clocks, interfaces, sections, what is left out."""

from __future__ import annotations

import struct

import pytest
from polars.testing import assert_frame_equal
from scapy.utils import PcapNgWriter, PcapWriter, RawPcapWriter
from tlp_captures import (
    ANSWER_ARI,
    BARE,
    READ_ARI,
    UNSUPPORTED,
    bare,
    block,
    bulk,
    enhanced,
    frame,
    interface,
    nettlp,
    option,
    pcap_header,
    problems,
    records,
    section,
    tlp,
)

from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers.tlp import packet_files, pcapng_blocks
from analyzer.readers.tlp.layers import completion, config_read

ROW = (0x0300, 0x100, 4, "read", 0x1481000E, "ok", False)


def written(path, packets, writer=PcapWriter, **options) -> bytes:
    """A file as scapy's writers write it."""
    with writer(str(path / "x"), **options) as target:
        for number, packet in enumerate(packets):
            packet.time = 1000 + number / 1000
            target.write(packet)
    return (path / "x").read_bytes()


class TestPcap:
    @pytest.mark.parametrize("endianness", ["<", ">"])
    @pytest.mark.parametrize("nano", [False, True])
    def test_byte_orders_and_clocks(self, endianness, nano, tmp_path):
        data = written(tmp_path, [nettlp(READ_ARI), nettlp(ANSWER_ARI)], endianness=endianness, nano=nano)
        table, notes = frame(data)
        assert table["time_ns"].to_list() == [1_000_001_000_000]
        assert table["where"].to_list() == [24 + 16 + len(nettlp(READ_ARI))]
        assert bulk(data)[0] == [ROW]
        assert (notes.clock, notes.problems) == ("realtime", [])

    def test_a_frame_check_sequence_length_above_the_link_type(self):
        data = pcap_header(1 | 0x24000000) + records([bytes(nettlp(READ_ARI)), bytes(nettlp(ANSWER_ARI))])
        assert bulk(data)[0] == [ROW]

    def test_other_versions_are_refused(self):
        data = bytearray(bare(READ_ARI))
        with pytest.raises(DamagedInputError, match="magic of a pcap file, found d5c3b2a1"):
            bulk(b"\xd5" + data[1:])
        data[4] = 3
        with pytest.raises(UnsupportedFormatError, match="version 2, found 3"):
            bulk(bytes(data))

    @pytest.mark.parametrize("size", [4, 23])
    def test_cut_in_the_header(self, size):
        with pytest.raises(DamagedInputError, match=f"found {size} bytes"):
            bulk(bare(READ_ARI)[:size])

    @pytest.mark.parametrize("field", [4, 8])
    def test_a_record_that_cannot_be_one_ends_the_chain(self, field):
        whole = bare(READ_ARI, ANSWER_ARI, READ_ARI, ANSWER_ARI)
        third = 24 + 2 * 16 + 12 + 16
        data = bytearray(whole)
        data[third + field : third + field + 4] = b"\xff\xff\xff\x7f"
        rows, notes = bulk(bytes(data))
        assert rows == [ROW]
        assert (problems(notes), notes.truncated) == (["damaged"], True)
        assert notes.problems[0].offset_bytes == third


class TestPcapNg:
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_byte_orders(self, order):
        packets = enhanced(READ_ARI, order=order) + enhanced(ANSWER_ARI, ticks=7, order=order)
        data = section(order) + interface(order=order) + packets
        assert bulk(data)[0] == [ROW]
        table, _ = frame(data)
        assert table["time_ns"].to_list() == [7000]
        assert data[table["where"][0] :] == enhanced(ANSWER_ARI, ticks=7, order=order)

    def test_scapys_writer(self, tmp_path):
        data = written(tmp_path, [nettlp(READ_ARI), nettlp(ANSWER_ARI)], PcapNgWriter)
        table, notes = frame(data)
        assert (bulk(data)[0], table["time_ns"].to_list()) == ([ROW], [1_000_001_000_000])
        assert notes.problems == []

    @pytest.mark.parametrize(
        ("options", "time"),
        [
            (b"", 7_000_000_000),
            (option(9, b"\x09"), 7_000_000),
            (option(9, b"\x03"), 7_000_000_000_000),
            (option(9, b"\x94"), 7_000_000 * 1_000_000_000 >> 20),
            (option(9, b"\x0c"), 7_000),
            (option(9, b"\x7f"), 0),
            (option(14, struct.pack("<q", 1000)), 1_007_000_000_000),
            (option(9, b"\x00"), 7_000_000_000_000_000),
        ],
    )
    def test_clocks(self, options, time):
        data = (
            section()
            + interface(options=options)
            + enhanced(READ_ARI)
            + enhanced(ANSWER_ARI, ticks=7_000_000)
        )
        assert frame(data)[0]["time_ns"].to_list() == [time]

    def test_a_time_that_no_clock_shows_is_unknown(self):
        packets = enhanced(READ_ARI) + enhanced(ANSWER_ARI, ticks=(1 << 64) - 1)
        assert frame(section() + interface() + packets)[0]["time_ns"].to_list() == [None]

    def test_simple_and_old_packet_blocks(self):
        simple = block(3, struct.pack("<I", 12) + tlp(READ_ARI))
        old = block(2, struct.pack("<HHIIII", 0, 0, 0, 9, 16, 16) + tlp(ANSWER_ARI))
        table, _ = frame(section() + interface() + simple + old)
        assert table["time_ns"].to_list() == [9000]

    def test_interfaces_with_different_link_types(self):
        data = section() + interface(BARE) + interface(1)
        data += enhanced(bytes(nettlp(READ_ARI)), 1) + enhanced(bytes(nettlp(ANSWER_ARI)), 1)
        data += enhanced(READ_ARI, 0) + enhanced(UNSUPPORTED, 0)
        assert [row[5] for row in bulk(data)[0]] == ["ok", "unsupported"]

    def test_each_section_has_its_own_interfaces_and_byte_order(self):
        one = (
            section() + interface(1) + enhanced(bytes(nettlp(READ_ARI))) + enhanced(bytes(nettlp(ANSWER_ARI)))
        )
        two = section(">") + interface(BARE, order=">") + enhanced(READ_ARI, order=">")
        rows, notes = bulk(one + two + enhanced(ANSWER_ARI, order=">"))
        assert (rows, notes.problems) == ([ROW, ROW], [])

    def test_each_interface_is_a_link_of_its_own(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0400, 0, 4, tag=1)
        tlps = [(one, 0), (two, 1), (completion(one, 1), 0), (completion(two, 2), 1)]
        data = section() + interface() + interface()
        data += b"".join(enhanced(bytes(part), number) for part, number in tlps)
        rows, notes = bulk(data)
        assert [(row[0], row[4]) for row in rows] == [(0x0300, 1), (0x0400, 2)]
        assert notes.problems == []

    def test_an_interface_for_each_direction(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0400, 0, 4, tag=2)
        tlps = [(one, 0), (two, 0), (completion(two, 2), 1), (completion(one, 1), 1)]
        data = section() + interface() + interface()
        data += b"".join(enhanced(bytes(part), number) for part, number in tlps)
        rows, notes = bulk(data)
        assert [(row[0], row[4]) for row in rows] == [(0x0400, 2), (0x0300, 1)]
        assert notes.problems == []

    @pytest.mark.parametrize("size", [1, 2, 1 << 12])
    def test_a_read_seen_on_three_links_counts_once(self, size, monkeypatch):
        monkeypatch.setattr(packet_files, "_STEP", size)
        monkeypatch.setattr(packet_files, "_PACKETS", size)
        upper, lower = config_read(0x0500, 0, 4, tag=1, type1=True), config_read(0x0500, 0, 4, tag=1)
        other = config_read(0x0100, 0, 4, tag=2)
        answer = completion(lower, 9)
        parts = [(upper, 0), (upper, 1), (lower, 2), (answer, 2), (answer, 1), (answer, 0)]
        for number in (0, 1, 2):
            parts += [(other, number), (completion(other, 1), number)]
        data = section() + interface() * 3 + b"".join(enhanced(bytes(part), at) for part, at in parts)
        table, notes = frame(data)
        assert table["value"].to_list()[0] == 9
        assert table["value"].to_list().count(9) == 1
        if size > 2:
            # What the requester saw: the completion on the link nearest to it.
            assert bytes(data[table["where"][0] :]).startswith(enhanced(bytes(answer), 0))
            assert (problems(notes)[0], notes.dropped) == ("repeated 2", 0)

    def test_packets_of_unknown_interfaces_taint_the_capture(self):
        data = section() + interface() + enhanced(READ_ARI) + enhanced(ANSWER_ARI)
        rows, notes = bulk(data + enhanced(READ_ARI, 3))
        assert (len(rows), problems(notes), notes.dropped) == (1, ["damaged 1"], 1)
        assert notes.problems[0].offset_bytes == len(data)

    def test_packets_that_the_recorder_lost_taint_the_capture(self):
        counts = (
            option(4, struct.pack("<Q", 9))
            + option(5, struct.pack("<Q", 2))
            + option(7, struct.pack("<Q", 1))
        )
        statistics = block(5, struct.pack("<III", 0, 0, 0) + counts)
        data = section() + interface() + enhanced(READ_ARI) + statistics + enhanced(ANSWER_ARI) + statistics
        rows, notes = bulk(data)
        assert (len(rows), problems(notes), notes.dropped) == (1, ["dropped 3"], 3)

    def test_blocks_of_other_kinds_are_passed_over(self):
        others = (
            block(10, struct.pack("<II", 0x544C534B, 4) + b"abcd")
            + block(4, bytes(8))
            + block(0xBAD, bytes(99))
        )
        data = section() + interface() + others + enhanced(READ_ARI, rest=option(1, b"a note")) + others
        assert bulk(data + enhanced(ANSWER_ARI))[0] == [ROW]

    def test_a_block_that_is_too_large_ends_the_file(self):
        data = section() + interface() + enhanced(READ_ARI) + enhanced(ANSWER_ARI)
        rows, notes = bulk(data + struct.pack("<II", 6, 0x7FFFFFF0) + bytes(100))
        assert (rows, problems(notes), notes.truncated) == ([ROW], ["damaged"], True)
        assert notes.problems[0].offset_bytes == len(data)

    def test_interfaces_without_end_end_the_file(self, monkeypatch):
        monkeypatch.setattr(pcapng_blocks, "_MOST_INTERFACES", 3)
        data = section() + interface() * 3 + enhanced(READ_ARI) + enhanced(ANSWER_ARI)
        rows, notes = bulk(data + interface() + enhanced(READ_ARI))
        assert (rows, notes.problems[0].offset_bytes) == ([ROW], len(data))

    @pytest.mark.parametrize("size", [4, 11, 20, 27])
    def test_cut_in_the_section_header(self, size):
        with pytest.raises(DamagedInputError, match="section header"):
            bulk(section()[:size])


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_batches_change_nothing(size, monkeypatch):
    packets = []
    for number in range(40):
        request = config_read(0x0300, number * 4, 4, tag=number % 7)
        packets += [bytes(request), bytes(completion(request, number))]
    # Out of order: each completion behind the next request.
    packets[1:-1] = [packets[n + 1 if n % 2 else n - 1] for n in range(1, len(packets) - 1)]
    expected = frame(pcap_header() + records(packets))
    monkeypatch.setattr(packet_files, "_STEP", size)
    monkeypatch.setattr(packet_files, "_PACKETS", size)
    monkeypatch.setattr(packet_files, "_BLOCK", 5)
    table, notes = frame(pcap_header() + records(packets))
    assert_frame_equal(table, expected[0])
    assert notes.problems == expected[1].problems == []


def test_raw_writer_for_user_link_types(tmp_path):
    path = tmp_path / "bare.pcap"
    with RawPcapWriter(str(path), linktype=BARE) as writer:
        writer.write_header(None)
        for part in (READ_ARI, ANSWER_ARI):
            writer.write_packet(tlp(part), sec=1, usec=1)
    assert bulk(path.read_bytes())[0] == [ROW]
