"""A whole kexec seen on the bus gives the same verdicts as the same kexec seen from its machine."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from polars.testing import assert_frame_equal
from simulator import Kernel, Recording, lab_topology
from tlp_captures import nettlp_capture

from analyzer.analysis import analyze_capture
from analyzer.converting.conversion import convert
from analyzer.options import Options
from analyzer.questions.explain import evidence_packets
from analyzer.questions.explain.function import explain
from analyzer.readers import open_capture
from analyzer.report.explain_report import fill
from analyzer.report.page import Page, plain

if TYPE_CHECKING:
    from analyzer.capture import Capture

PRESERVED = ("0000:03:00.0", "0000:03:01.0", "0000:03:02.0", "0000:05:01.0")
OPTIONS = Options(preserved=",".join(PRESERVED))


@functools.cache
def recorded(lost: bool) -> tuple[Capture, bytes]:
    """Live Update on the laboratory machine, as its recorder and as a bus analyser see it.

    In the blackout 02:00.0 may lose ARI Forwarding.
    """
    recording = Recording(lab_topology(), unanswered="unsupported")
    recording.firmware()
    recording.boot(Kernel())
    preserved = recording.preserve(*PRESERVED)
    recording.kexec()
    if lost:
        recording.blackout(lambda machine: machine.clear("0000:02:00.0", "CAP_EXP+28.w", 0x20))
    recording.boot(Kernel(policy="inherit", preserved=preserved))
    capture = recording.capture()
    return capture, nettlp_capture(capture.accesses)


@pytest.mark.parametrize(("lost", "verdict", "stranded"), [(True, "lost", 2), (False, "kept", 0)])
def test_verdicts_are_those_of_the_machine(lost, verdict, stranded, tmp_path):
    direct, data = recorded(lost)
    path = tmp_path / "bus.pcap"
    path.write_bytes(data)
    capture = open_capture(str(path))
    same = [name for name in direct.accesses.columns if name not in ("where", "cpu", "absent")]
    assert_frame_equal(capture.accesses.select(same), direct.accesses.select(same))
    unsupported = direct.accesses["status"] == "unsupported"
    assert capture.accesses["absent"].to_list() == unsupported.to_list()
    assert capture.notes.problems == []

    expected, found = analyze_capture(direct, OPTIONS), analyze_capture(capture, OPTIONS)
    assert [found.verdict, len(found.kexecs)] == [expected.verdict, 1]
    assert bridges(found) == bridges(expected)
    assert devices(found) == devices(expected)
    assert next(row[1] for row in bridges(found) if row[0] == "0000:02:00.0") == verdict
    assert [row[1] for row in devices(found)].count("stranded") == stranded
    assert found.kexecs[0].divergences == []


def bridges(result):
    return [(row.bdf, row.verdict, row.cause, row.stranded) for row in result.kexecs[0].bridges]


def devices(result):
    return [(row.bdf, row.verdict, row.reason) for row in result.kexecs[0].devices]


def test_the_evidence_is_where_the_packet_is(tmp_path):
    _, data = recorded(True)
    path = tmp_path / "bus.pcap"
    path.write_bytes(data)
    result = analyze_capture(open_capture(str(path)), OPTIONS)
    bridge = next(row for row in result.kexecs[0].bridges if row.bdf == "0000:02:00.0")
    reads = [row for row in bridge.evidence if row.op == "read"]
    assert reads
    for row in reads:
        packet = data[row.offset_bytes + 16 :]
        tlp = packet[14 + 20 + 8 + 6 :]
        assert tlp[0] == 0x4A
        words = (tlp[12:16], tlp[12:14], tlp[14:16])
        assert int(row.value, 16) in [int.from_bytes(word, "little") for word in words]


def test_explain_shows_the_packets_behind_the_evidence(tmp_path):
    path = tmp_path / "bus.pcap"
    path.write_bytes(recorded(True)[1])
    explanation = explain(str(path), "02:00.0", OPTIONS)
    packets = evidence_packets.of_explanation(explanation, OPTIONS)
    text = plain(fill(Page(), explanation, packets=packets)).split("Packets\n")[1]
    assert len(text.splitlines()) == len(packets) > 3
    assert "CfgWr1 02:00.0 register 0x" in text
    assert all(
        word in text for word in ("CplD SC by 02:00.0 for 00:00.0 tag", "/ 0x00000020", "/ 0x00000000")
    )


def test_packets_are_shown_of_tlp_captures_only():
    sample = Path(__file__).parents[2] / "traces" / "lost-explicit-write.bin"
    assert evidence_packets.describe(str(sample), [0, 100]) == {}
    assert evidence_packets.describe(str(sample), []) == {}


def test_a_converted_capture_says_the_same(tmp_path):
    path = tmp_path / "bus.pcap"
    path.write_bytes(recorded(True)[1])
    convert(str(path), str(tmp_path / "bus.bin"))
    one, two = open_capture(str(path)), open_capture(str(tmp_path / "bus.bin"))
    assert_frame_equal(one.accesses.drop("where"), two.accesses.drop("where"))
    assert bridges(analyze_capture(two, OPTIONS)) == bridges(analyze_capture(one, OPTIONS))
