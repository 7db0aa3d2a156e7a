"""What lies between a container and a TLP: NetTLP, bus analysers, bare TLPs; files of real recorders."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from tlp_captures import (
    ANSWER_ARI,
    BARE,
    READ_ARI,
    UNSUPPORTED,
    WRITE_ARI_FORWARDING,
    WRITTEN,
    analyser,
    bare,
    bulk,
    enhanced,
    ethernet,
    frame,
    interface,
    nettlp,
    pcap_header,
    problems,
    records,
    section,
    small,
    tlp,
)

from analyzer.errors import AritraceError, UnsupportedFormatError, UsageError
from analyzer.readers import open_capture
from analyzer.readers.tlp.layers import AgilentRecord, LinkFrame, NetTlp, Tlp

SAMPLE = Path(__file__).parents[2] / "traces" / "formats" / "nettlp-tcpdump.pcap.zst"
ROW = (0x0300, 0x100, 4, "read", 0x1481000E, "ok", False)


class TestNetwork:
    @pytest.mark.parametrize(
        "head",
        [
            Ether() / IP(),
            Ether() / Dot1Q(vlan=5) / IP(),
            Ether() / Dot1AD(vlan=5) / Dot1Q(vlan=6) / IP(),
            Ether() / IP(options=[IPOption(b"\x94\x04\x00\x00"), IPOption(b"\x00")]),
        ],
    )
    @pytest.mark.parametrize("port", [0x3000, 0x30FF, 0x4000, 0x400F, 14198])
    def test_headers_and_ports(self, head, port):
        packets = [head / UDP(dport=port) / NetTlp() / Raw(tlp(part)) for part in (READ_ARI, ANSWER_ARI)]
        rows, notes = bulk(ethernet(packets))
        assert (rows, notes.problems) == ([ROW], [])

    @pytest.mark.parametrize(
        ("link_type", "head"), [(113, CookedLinux(proto=0x800)), (276, CookedLinuxV2(proto=0x800))]
    )
    def test_captures_of_any_interface(self, link_type, head):
        packets = [bytes(head / nettlp(part)[IP]) for part in (READ_ARI, ANSWER_ARI)]
        assert bulk(pcap_header(link_type) + records(packets))[0] == [ROW]

    def test_padding_behind_a_short_packet(self):
        padded = [bytes(nettlp(part)).ljust(64, b"\x5a") for part in (WRITE_ARI_FORWARDING, WRITTEN)]
        assert [row[4] for row in bulk(ethernet(padded))[0]] == [0x20]
        # Padding is not taken for the data that the packet lacks.
        rows, notes = bulk(ethernet([bytes(nettlp(tlp(WRITE_ARI_FORWARDING)[:12])).ljust(64, b"\x5a")]))
        assert (rows, problems(notes), notes.dropped) == ([], ["damaged 1"], 1)

    def test_packets_that_are_no_nettlp_are_named(self):
        others = [
            Ether() / ARP(),
            Ether() / IP() / TCP(dport=0x3005),
            Ether() / IP() / ICMP(),
            Ether() / IP() / UDP(dport=0x3100) / Raw(bytes(18)),
            Ether() / IP() / UDP(dport=0x4001) / Raw(bytes.fromhex("3c0000000000")),
        ]
        rows, notes = bulk(ethernet([nettlp(READ_ARI), *others, nettlp(ANSWER_ARI)]))
        assert (rows, notes.dropped) == ([ROW], 0)
        assert [p.message for p in notes.problems] == [
            "packets without a TLP are not used: not UDP of NetTLP (4), NetTLP's configuration protocol (1)"
        ]

    def test_fragments(self):
        one = Ether() / IP(flags="MF") / nettlp(READ_ARI)[UDP]
        two = Ether() / IP(frag=3, proto=17) / Raw(bytes(30))
        _, notes = bulk(ethernet([one, two]))
        assert (problems(notes)[0], notes.dropped) == ("unsupported 1", 1)

    def test_a_packet_recorded_twice_counts_once(self):
        packets = []
        for number, part in enumerate((READ_ARI, ANSWER_ARI, READ_ARI, ANSWER_ARI)):
            packet = nettlp(part)
            packet[NetTlp].sequence = number + 1
            packets += [packet, packet]
        rows, notes = bulk(ethernet(packets))
        assert (rows, problems(notes), notes.dropped) == ([ROW, ROW], ["repeated 4"], 0)

    @given(st.integers(0, 70), st.sampled_from([READ_ARI, ANSWER_ARI]))
    @settings(max_examples=60)
    def test_any_cut_of_a_packet_says_so_or_leaves_it_out(self, size, part):
        whole = bytes(nettlp(part))
        data = pcap_header(1) + struct.pack("<IIII", 1, 1, min(size, len(whole)), len(whole)) + whole[:size]
        rows, notes = bulk(data)
        assert rows == []
        assert notes.problems


class TestAnalyser:
    def test_records(self):
        table, notes = frame(analyser(READ_ARI, ANSWER_ARI, flags=1 << 28))
        assert table["value"].to_list() == [0x1481000E]
        assert table["time_ns"].to_list() == [1001]
        assert (notes.problems, notes.clock) == ([], None)

    def test_a_frame_as_a_rockpro64_sent_it(self):
        sent = bytes.fromhex("fb 0000 04000001 0000000f 01000000 4fa62aff fd")
        answer = bytes(LinkFrame(sequence=0, tlp=Tlp(tlp("0a000000 01002004 00000000"))))
        rows, notes = bulk(analyser(sent, answer))
        assert (rows, notes.problems) == ([(0x0100, 0, 4, "read", 0xFFFFFFFF, "unsupported", True)], [])

    def test_metadata_behind_the_frame(self):
        parts = [bytes(LinkFrame(sequence=n, tlp=Tlp(tlp(p)))) for n, p in enumerate((READ_ARI, ANSWER_ARI))]
        data = analyser(*(part.ljust(24, b"\0") + b"\xfb" * 9 for part in parts), metadata=24)
        assert bulk(data)[0] == [ROW]

    @pytest.mark.parametrize(("end", "kind"), [(0xFE, "nullified 1"), (0xF7, "damaged 1")])
    def test_frames_that_do_not_end_well(self, end, kind):
        rows, notes = bulk(analyser(READ_ARI, end=end))
        assert (rows, problems(notes), notes.dropped) == ([], [kind], int(end != 0xFE))

    def test_a_wrong_lcrc_is_left_out_and_its_repetition_taken(self):
        good = [bytes(LinkFrame(sequence=n, tlp=Tlp(tlp(p)))) for n, p in enumerate((READ_ARI, ANSWER_ARI))]
        wrong = bytearray(good[1])
        wrong[15] ^= 1
        rows, notes = bulk(analyser(good[0], bytes(wrong), good[1]))
        assert (rows, problems(notes), notes.dropped) == ([ROW], ["damaged 1"], 0)
        assert "LCRC" in notes.problems[0].message

    def test_repetitions_of_the_link_count_once(self):
        good = [bytes(LinkFrame(sequence=n, tlp=Tlp(tlp(p)))) for n, p in enumerate((READ_ARI, ANSWER_ARI))]
        rows, notes = bulk(analyser(good[0], good[0], good[1], good[1]))
        assert (rows, problems(notes), notes.dropped) == ([ROW], ["repeated 2"], 0)

    def test_what_else_is_on_a_link_is_named(self):
        others = (b"\x5c\x00\x00\x00\x05\x12\x34\xfd", b"\xbc\x1c\x1c\x1c", b"\x00", b"")
        _, notes = bulk(analyser(READ_ARI, ANSWER_ARI, *others))
        message = notes.problems[0].message
        assert message.startswith("packets without a TLP are not used: DLLPs (1), ordered sets (1), ")
        assert message.endswith("records without a frame (1), other symbols (1)")

    @pytest.mark.parametrize("size", [1, 10, 17])
    def test_a_frame_cut_short(self, size):
        part = bytes(LinkFrame(sequence=1, tlp=Tlp(tlp(READ_ARI))))
        rows, notes = bulk(analyser(part[:size]))
        assert rows == []
        assert notes.problems

    def test_a_record_cut_by_the_recorder_behind_its_header(self):
        parts = [
            bytes(AgilentRecord() / LinkFrame(sequence=n, tlp=Tlp(tlp(p))))
            for n, p in enumerate((READ_ARI, UNSUPPORTED))
        ]
        data = pcap_header(158) + records(parts, cut=3)
        assert [row[5] for row in bulk(data)[0]] == ["unsupported"]


class TestLinkTypes:
    def test_bare_tlps_only_if_the_user_says_so(self):
        data = bare(READ_ARI, ANSWER_ARI)
        assert bulk(data, BARE)[0] == [ROW]
        with pytest.raises(UnsupportedFormatError, match="found link type 147") as caught:
            bulk(data, None)
        assert caught.value.advice.endswith("--linktype-raw-tlp 147")

    def test_the_user_may_mean_any_link_type(self):
        for link_type in (1, 125, 158):
            data = pcap_header(link_type) + records([tlp(READ_ARI), tlp(ANSWER_ARI)])
            assert bulk(data, link_type)[0] == [ROW]

    def test_other_link_types_beside_are_named(self):
        data = section() + interface(BARE) + interface(105) + enhanced(READ_ARI) + enhanced(b"abc", 1)
        rows, notes = bulk(data + enhanced(ANSWER_ARI))
        assert rows == [ROW]
        assert "of link type 105 (1)" in notes.problems[0].message

    @pytest.mark.parametrize("link_type", [-1, 65536])
    def test_no_link_type(self, link_type):
        with pytest.raises(UsageError, match="--linktype-raw-tlp"):
            bulk(bare(READ_ARI), link_type)

    def test_a_capture_without_config_requests(self, tmp_path):
        (tmp_path / "x").write_bytes(ethernet([Ether() / ARP()]))
        with pytest.raises(AritraceError, match="expected config accesses, found none") as caught:
            open_capture(str(tmp_path / "x"))
        assert "tcpdump -s 0" in caught.value.advice


def test_a_file_of_tcpdump():
    capture = open_capture(str(SAMPLE))
    table = capture.accesses
    assert (capture.format, table.height, capture.notes.problems) == ("pcap", 2993, [])
    assert table["where"].is_sorted()
    assert table["time_ns"].is_sorted()
    assert table["status"].value_counts().sort("status").rows() == [("ok", 2591), ("unsupported", 402)]
    first = table.row(0, named=True)
    assert (first["bus"], first["devfn"], first["op"]) == (0, 0, "read")


def send(contents, port) -> None:
    """Send TLPs over the loopback interface as NetTLP does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number, content in enumerate(contents):
                head = bytes(NetTlp(sequence=number + 1, timestamp=number * 250))
                sender.sendto(head + content, ("127.0.0.1", port))
                time.sleep(0.002)


def recorded(path: Path) -> int:
    """Accesses in a file that is still being written; before the first packet there is no capture."""
    with contextlib.suppress(AritraceError):
        return open_capture(str(path)).accesses.height
    return 0


@pytest.mark.system
@pytest.mark.parametrize(
    ("port", "command", "form"),
    [
        (0x3005, ("tcpdump", "-i", "lo", "-U", "-w", "-"), "pcap"),
        (0x3006, ("tcpdump", "-i", "any", "-U", "-w", "-"), "pcap"),
        (0x3007, ("tcpdump", "-i", "lo", "--nano", "-U", "-w", "-"), "pcap"),
        (0x3008, ("dumpcap", "-q", "-i", "lo", "-w", "-", "-f"), "pcapng"),
    ],
)
def test_what_a_recorder_of_today_writes(port, command, form, tmp_path):
    """Each has a port of its own, one of NetTLP's: they may run at the same time."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = tmp_path / "bus"
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    began = time.time_ns()
    with path.open("wb") as output:
        command = [*rights, *command, f"udp port {port}"]
        recorder = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE)
        try:
            # A header is written when the recorder listens, packets when the kernel hands on a block of them.
            while path.stat().st_size == 0 and recorder.poll() is None:
                time.sleep(0.05)
            if recorder.poll() is not None:
                pytest.skip(f"not permitted to record: {recorder.stderr.read().decode()}")
            data, edges = small("pcapng")
            tlps = [data[edge + 28 : edge + 28 + 16] for edge in edges]
            send([part if part[0] == 0x4A else part[:12] for part in tlps], port)
            while recorded(path) < 10:
                time.sleep(0.05)
            recorder.terminate()
            recorder.communicate()
        finally:
            recorder.kill()
    capture = open_capture(str(path))
    assert capture.format == form
    assert capture.accesses["value"].to_list() == list(range(10))
    assert capture.accesses["time_ns"].is_between(began, time.time_ns()).all()
    assert capture.notes.problems == []


@pytest.mark.system
def test_tshark_counts_the_same_packets():
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    fields = ["-T", "fields", "-e", "frame.number", "-e", "udp.payload"]
    said = subprocess.run(
        ["tshark", "-n", "-r", str(SAMPLE), *fields], capture_output=True, text=True, check=True
    )
    tlps = [bytes.fromhex(line.split("\t")[1])[6:] for line in said.stdout.splitlines()]
    found = open_capture(str(SAMPLE)).accesses
    reads = pl.Series([int.from_bytes(part[12:16], "little") for part in tlps if part[0] == 0x4A])
    dwords = found.filter((pl.col("op") == "read") & (pl.col("status") == "ok"))
    whole = dwords["width"] == 4
    assert len(reads) == dwords.height
    assert reads.filter(whole).to_list() == dwords["value"].filter(whole).to_list()
    assert sum(part[0] in (0x44, 0x45) for part in tlps) == found.filter(pl.col("op") == "write").height
