"""Damaged TLP captures: an answer or a clear reason, whatever is wrong with them."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tlp_captures import BARE, READ_ARI, bulk, enhanced, pcap_header, records, small

from analyzer.errors import AritraceError, UnsupportedFormatError

FORMS = ["pcap", "pcapng", "analyser"]


@pytest.mark.parametrize("form", FORMS)
def test_cut_anywhere_gives_what_was_before_the_cut(form):
    data, edges = small(form)
    cuts = [
        place + more for place in [*edges, len(data)] for more in (-9, -4, -1, 0, 1, 4, 8, 15, 16, 17, 28)
    ]
    for cut in sorted({cut for cut in cuts if edges[0] <= cut < len(data)}):
        rows, notes = bulk(data[:cut])
        whole = sum(edge <= cut for edge in [*edges[1:], len(data)])
        assert [row[4] for row in rows] == list(range(whole // 2))
        if cut in edges:
            assert not notes.truncated
        else:
            assert (notes.truncated, notes.problems[0].kind) == (True, "truncated")
            assert notes.problems[0].offset_bytes == max(edge for edge in edges if edge < cut)


@pytest.mark.parametrize("form", FORMS)
def test_single_damaged_bytes_give_an_answer_or_a_reason(form):
    data, edges = small(form)
    generator = random.Random(11)  # noqa: S311 - repeatable, nothing secret
    expected = [(0x0300, number * 4, 4, "read", number, "ok", False) for number in range(10)]
    for _ in range(340):
        place = generator.randrange(len(data))
        damaged = bytearray(data)
        damaged[place] ^= 1 << generator.randrange(8)
        try:
            rows, notes = bulk(bytes(damaged))
        except AritraceError:
            continue
        if place < edges[0]:
            continue
        if len(rows) < 10:
            assert notes.dropped or notes.truncated or notes.problems
        if form == "analyser":
            # Behind an LCRC nothing wrong gets through.
            assert all(row in expected for row in rows)


@settings(max_examples=100)
@given(st.sampled_from(FORMS), st.binary(max_size=300))
def test_any_bytes_behind_the_header_do_no_harm(form, noise):
    data, edges = small(form)
    with contextlib.suppress(AritraceError):
        bulk(data[: edges[0]] + noise)


@settings(max_examples=100)
@given(st.sampled_from([1, 113, 158, 276, BARE]), st.lists(st.binary(max_size=80), max_size=8))
@example(BARE, [bytes.fromhex("04010001 0000000f 00080000")])  # a config read with TH set: flit mode
def test_any_packets_do_no_harm(link_type, packets):
    try:
        rows, notes = bulk(pcap_header(link_type) + records(packets))
    except UnsupportedFormatError as error:
        if "found configuration requests of flit mode only" not in error.message:
            raise
        return
    assert len(rows) <= 2 * len(packets)
    assert notes.dropped <= len(packets)


def test_scapy_says_nothing_on_the_terminal(capfd):
    data, edges = small("pcapng")
    bulk(data[: edges[5] + 7])
    bulk(data + enhanced(READ_ARI, 9))
    assert capfd.readouterr() == ("", "")
