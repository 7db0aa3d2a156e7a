"""Requests and completions: order, lost and reused tags, TLPs seen twice, any interleaving."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlp_captures import REQUESTS, bare, build, bulk, problems, slow

from analyzer.readers.tlp import layers, matching, packet_files
from analyzer.readers.tlp.layers import Dword, completion, config_read, config_write
from schemas import tlp as layout

ONES = 0xFFFFFFFF


def test_reads_stand_at_their_completion_and_writes_at_their_request():
    read, write = config_read(0x0300, 0, 4, tag=1), config_write(0x0300, 4, 2, 6, tag=2)
    rows, notes = bulk(bare(read, write, completion(write), completion(read, 7)))
    assert [row[3:6] for row in rows] == [("write", 6, "ok"), ("read", 7, "ok")]
    assert notes.problems == []


class TestLost:
    def test_a_tag_used_again_before_its_completion(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=1)
        rows, notes = bulk(bare(one, two, completion(two, 5)))
        assert [row[1] for row in rows] == [4]
        assert problems(notes) == ["lost-completion 1", "dropped 1"]
        assert "used again" in notes.problems[0].message
        assert (notes.dropped, notes.problems[0].offset_bytes) == (1, 24)

    def test_the_same_read_again_is_no_repetition(self):
        request = config_read(0x0300, 0, 4, tag=1)
        rows, notes = bulk(bare(request, request, completion(request, 5)))
        assert (len(rows), notes.dropped) == (1, 1)

    def test_a_write_without_completion_is_an_access_of_unknown_status(self):
        one, two = config_write(0x0300, 4, 2, 6, tag=1), config_read(0x0300, 4, 2, tag=2)
        rows, notes = bulk(bare(one, two, completion(two, 6)))
        assert [(row[3], row[5]) for row in rows] == [("write", "unknown"), ("read", "ok")]
        assert (problems(notes), notes.dropped) == (["lost-completion 1"], 0)

    def test_a_read_without_completion_has_no_value(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=2)
        rows, notes = bulk(bare(one, two, completion(two, 5)))
        assert [row[1] for row in rows] == [4]
        assert (problems(notes), notes.dropped) == (["lost-completion 1", "dropped 1"], 1)

    def test_only_one_direction_was_recorded(self):
        tlps = [config_read(0x0300, 4 * number, 4, tag=number % 3) for number in range(9)]
        rows, notes = bulk(bare(*tlps, config_write(0x0300, 4, 2, 6, tag=9)))
        assert [row[3] for row in rows] == ["write"]
        assert (problems(notes), notes.dropped) == (
            ["lost-completion 6", "lost-completion 4", "dropped 9"],
            9,
        )

    def test_the_capture_ends_in_front_of_the_completion(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=2)
        rows, notes = bulk(bare(one, completion(one, 1), two))
        assert (len(rows), notes.dropped) == (1, 0)
        assert "the capture ends before" in notes.problems[0].message

    def test_a_completion_from_before_the_capture(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=2)
        rows, notes = bulk(bare(completion(one, 1), two, completion(two, 5)))
        assert (len(rows), problems(notes), notes.dropped) == (1, ["stray-completion 1"], 0)

    @pytest.mark.parametrize("tag", [1, 2])
    def test_a_completion_whose_request_is_missing(self, tag):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=tag)
        rows, notes = bulk(bare(one, completion(one, 1), completion(two, 5)))
        assert (len(rows), problems(notes), notes.dropped) == (1, ["stray-completion 1"], 1)

    def test_completions_of_memory_reads_are_none_of_config_reads(self):
        one, two = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 4, 4, tag=1)
        memory = "00000001 0000010f fe000000"
        answer = "4a000001 03000004 00000100 78563412"
        rows, notes = bulk(bare(one, completion(one, 1), memory, answer, two, completion(two, 2)))
        assert [row[4] for row in rows] == [1, 2]
        assert [(p.kind, p.message) for p in notes.problems] == [
            ("foreign", "TLPs of other kinds are not used: MRd (1)")
        ]

    def test_a_memory_read_that_takes_the_tag_shows_that_the_config_read_is_lost(self):
        one = config_read(0x0300, 0, 4, tag=1)
        rows, notes = bulk(bare(one, "00000001 0000010f fe000000", "4a000001 03000004 00000100 78563412"))
        assert (rows, notes.dropped) == ([], 1)

    @pytest.mark.parametrize("op", ["read", "write"])
    def test_completions_with_and_without_data_do_not_mix(self, op):
        request = config_read(0x0300, 0, 4) if op == "read" else config_write(0x0300, 0, 4, 1)
        answer = completion(request, None if op == "read" else 1)
        rows, notes = bulk(bare(request, answer))
        assert len(rows) == (op == "write")
        assert (problems(notes), notes.dropped) == (["damaged 1"], 1)


class TestSeenTwice:
    ONE, TWO = config_read(0x0500, 0, 4, tag=1, type1=True), config_read(0x0500, 0, 4, tag=1)

    def test_a_forwarded_read_counts_once(self):
        answer = completion(self.TWO, 9)
        rows, notes = bulk(bare(self.ONE, self.TWO, answer, answer))
        assert [row[4] for row in rows] == [9]
        assert (problems(notes), notes.dropped) == (["repeated 2"], 0)

    def test_a_forwarded_write_counts_once(self):
        one = config_write(0x0500, 4, 2, 6, tag=1, type1=True)
        two = config_write(0x0500, 4, 2, 6, tag=1)
        rows, _ = bulk(bare(one, two, completion(two), completion(two)))
        assert [row[3:6] for row in rows] == [("write", 6, "ok")]

    def test_other_content_is_another_access(self):
        other = config_read(0x0500, 4, 4, tag=1)
        rows, notes = bulk(bare(self.ONE, other, completion(other, 9)))
        assert ([row[1] for row in rows], notes.dropped) == ([4], 1)

    def test_a_second_answer_that_differs_is_a_stray(self):
        rows, notes = bulk(bare(self.ONE, self.TWO, completion(self.TWO, 9), completion(self.TWO, 8)))
        assert [row[4] for row in rows] == [9]
        assert (problems(notes), notes.dropped) == (["stray-completion 1", "repeated 1"], 1)


def test_a_request_is_given_up_after_the_horizon(monkeypatch):
    monkeypatch.setattr(matching, "HORIZON", 10)
    monkeypatch.setattr(packet_files, "_STEP", 4)
    monkeypatch.setattr(packet_files, "_PACKETS", 4)
    lost, late = config_read(0x0300, 0, 4, tag=1), config_read(0x0300, 8, 4, tag=2)
    tlps = [lost, late, completion(late, 2)]
    for number in range(30):
        request = config_read(0x0300, 4, 4, tag=100 + number)
        tlps += [request, completion(request, number)]
    rows, notes = bulk(bare(*tlps, completion(lost, 7)))
    assert [row[4] for row in rows] == [2, *range(30)]
    assert problems(notes) == ["lost-completion 1", "dropped 1", "stray-completion 1"]


@settings(max_examples=60)
@given(st.data(), st.integers(1, 7))
def test_any_interleaving_is_matched_as_one_by_one(data, size):
    """Requests complete in any order, tags are reused, completions get lost; batches of any size."""
    tlps, under_way = [], []
    for _ in range(data.draw(st.integers(0, 25))):
        if under_way and data.draw(st.booleans()):
            packet = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            if data.draw(st.integers(0, 9)):
                value = data.draw(st.integers(0, ONES)) if packet.fmt_type in layout.CONFIG_READS else None
                answer = completion(packet, None)
                if value is not None:
                    answer.fmt_type, answer.length = layout.CPL_D, 1
                    answer = answer / Dword(value=value)
                tlps.append(bytes(answer))
        else:
            # No Type 1 request: its repetition as Type 0 would count once.
            packet = build((*data.draw(REQUESTS)[:-1], False))
            under_way.append(packet)
            tlps.append(bytes(packet))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packet_files, "_STEP", size)
        patch.setattr(packet_files, "_PACKETS", size)
        rows, _ = bulk(bare(*tlps))
    # A completion may come for an earlier request with the same tag: the dictionary pairs it the same way,
    # but only where a read gets data and a write none.
    if not mixed(tlps):
        assert rows == slow(tlps)


def mixed(tlps):
    """Whether a completion with data comes for a write, or one without for a read."""
    asked = {}
    for data in tlps:
        packet = layers.Tlp(data)
        if layers.ConfigRequest in packet:
            asked[key(packet, packet[layers.ConfigRequest])] = packet.fmt_type in layout.CONFIG_READS
        else:
            found = asked.get(key(packet, packet[layers.Completion]))
            if found is not None and found != (packet.fmt_type == layout.CPL_D):
                return True
    return False


def key(packet, part):
    return part.requester_id, packet.t9, packet.t8, part.tag
