"""TLPs into accesses: bytes written out by hand, every rule of matching, and a second, slow decoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlp_captures import (
    ABORT,
    ANSWER_ARI,
    READ_ARI,
    READ_BYTE,
    REQUESTS,
    RETRY,
    UNSUPPORTED,
    WRITE_ARI_FORWARDING,
    WRITTEN,
    bare,
    build,
    bulk,
    problems,
    slow,
    tlp,
)

from analyzer.errors import UnsupportedFormatError
from analyzer.readers.tlp import layers
from analyzer.readers.tlp.layers import Dword, Ecrc, TlpPrefix, completion, config_read, config_write
from schemas import tlp as layout
from schemas.bulk import dtype_of

ONES = 0xFFFFFFFF
ARI_VALUE = 0x1481000E


@pytest.mark.parametrize(
    ("tlps", "row"),
    [
        ((READ_ARI, ANSWER_ARI), (0x0300, 0x100, 4, "read", ARI_VALUE, "ok", False)),
        ((READ_ARI, UNSUPPORTED), (0x0300, 0x100, 4, "read", ONES, "unsupported", True)),
        ((READ_ARI, RETRY), (0x0300, 0x100, 4, "read", ONES, "retry", False)),
        ((READ_ARI, ABORT), (0x0300, 0x100, 4, "read", ONES, "abort", False)),
        ((WRITE_ARI_FORWARDING, WRITTEN), (0x0508, 0x90, 2, "write", 0x20, "ok", False)),
        ((READ_BYTE, "4a000001 03100004 00000900 0e008114"), (0x0310, 0x100, 1, "read", 0x0E, "ok", False)),
        # A CfgRd0 as a ROCKPro64 sent it over a link (published by the ECP5-PCIe project), and its refusal.
        (
            ("04000001 0000000f 01000000", "0a000000 01002004 00000000"),
            (0x0100, 0, 4, "read", ONES, "unsupported", True),
        ),
    ],
)
def test_bytes_by_hand(tlps, row):
    rows, notes = bulk(bare(*tlps))
    assert rows == [row]
    assert slow([tlp(text) for text in tlps]) == [row]
    assert notes.problems == []


@pytest.mark.parametrize(
    ("offset", "width", "value"),
    [(0, 4, 0xFFFF0001), (0, 2, 0x0001), (2, 2, 0xFFFF), (4, 4, ONES), (0, 1, 0xFF)],
)
def test_a_retry_shows_as_vendor_1_only_where_the_vendor_is_read(offset, width, value):
    request = config_read(0x0300, offset, width, tag=3)
    rows, _ = bulk(bare(request, completion(request, status=layout.REQUEST_RETRY)))
    assert rows == [(0x0300, offset, width, "read", value, "retry", False)]


@pytest.mark.parametrize(
    ("enables", "expected"),
    [
        (0b0001, [(0, 1, 0x44)]),
        (0b0010, [(1, 1, 0x33)]),
        (0b0100, [(2, 1, 0x22)]),
        (0b1000, [(3, 1, 0x11)]),
        (0b0011, [(0, 2, 0x3344)]),
        (0b0110, [(1, 2, 0x2233)]),
        (0b1100, [(2, 2, 0x1122)]),
        (0b0111, [(0, 2, 0x3344), (2, 1, 0x22)]),
        (0b1110, [(1, 1, 0x33), (2, 2, 0x1122)]),
        (0b1111, [(0, 4, 0x11223344)]),
        (0b0101, [(0, 1, 0x44), (2, 1, 0x22)]),
        (0b1001, [(0, 1, 0x44), (3, 1, 0x11)]),
        (0b1010, [(1, 1, 0x33), (3, 1, 0x11)]),
        (0b1011, [(0, 2, 0x3344), (3, 1, 0x11)]),
        (0b1101, [(0, 1, 0x44), (2, 2, 0x1122)]),
    ],
)
@pytest.mark.parametrize("op", ["read", "write"])
def test_byte_enables(op, enables, expected):
    if op == "read":
        request = config_read(0x0300, 0x40, 4, tag=1)
        answer = completion(request, 0x11223344)
    else:
        request = config_write(0x0300, 0x40, 4, 0x11223344, tag=1)
        answer = completion(request)
    request.first_be = enables
    rows, notes = bulk(bare(request, answer))
    assert [(row[1] - 0x40, row[2], row[4]) for row in rows] == expected
    assert {row[3] for row in rows} == {op}
    assert notes.problems == []


def test_no_byte_enabled_is_no_access():
    request = config_read(0x0300, 0x40, 4)
    request.first_be = 0
    rows, notes = bulk(bare(request, completion(request, 0)))
    assert (rows, problems(notes), notes.dropped) == ([], ["no-bytes 1"], 0)


@pytest.mark.parametrize("tag", [0, 0x1F, 0x20, 0xFF, 0x100, 0x200, 0x3FF])
def test_tags_of_5_8_and_10_bits(tag):
    request = config_read(0x0300, 0, 4, tag=tag)
    # The same tag without its upper bits, and the same tag of another requester, are other transactions.
    other = config_read(0x0400, 0, 4, tag=tag ^ 0x200)
    third = config_read(0x0500, 0, 4, tag=tag, requester=0x0008)
    tlps = [request, other, third, completion(third, 3), completion(request, 1), completion(other, 2)]
    rows, notes = bulk(bare(*tlps))
    assert [(row[0], row[4]) for row in rows] == [(0x0500, 3), (0x0300, 1), (0x0400, 2)]
    assert notes.problems == []


class TestForms:
    def test_prefixes_and_ecrc(self):
        request, answer = (
            config_read(0x0300, 0x100, 4, tag=5),
            completion(config_read(0x0300, 0x100, 4, tag=5), 7),
        )
        for part in (request, answer):
            part[layers.Tlp].td = 1
        tlps = (
            TlpPrefix() / TlpPrefix() / request / Ecrc(),
            TlpPrefix(fmt_type=0x8E) / answer / Ecrc(ecrc=1),
        )
        rows, notes = bulk(bare(*tlps))
        assert [row[4] for row in rows] == [7]
        assert notes.problems == []

    def test_nothing_but_prefixes(self):
        rows, notes = bulk(bare("90000000" * 12))
        assert (rows, problems(notes), notes.dropped) == ([], ["damaged 1"], 1)

    def test_poisoned_data_is_no_value(self):
        request = config_read(0x0300, 0, 4)
        answer = completion(request, 9)
        answer.ep = 1
        rows, notes = bulk(bare(request, answer))
        assert (rows, problems(notes), notes.dropped) == ([], ["poisoned 1"], 1)

    @pytest.mark.parametrize(
        ("status", "word"), [(layout.UNSUPPORTED_REQUEST, "unsupported"), (0, "unknown")]
    )
    def test_a_poisoned_write(self, status, word):
        request = config_write(0x0300, 4, 2, 6)
        request.ep = 1
        rows, notes = bulk(bare(request, completion(request, status=status)))
        assert [row[5] for row in rows] == [word]
        assert problems(notes) == ["poisoned 1"]

    @pytest.mark.parametrize(
        "change",
        [{"length": 2}, {"length": 0}, {"tc": 1}, {"at": 1}, {"last_be": 1}],
    )
    def test_requests_that_break_the_rules(self, change):
        request = config_read(0x0300, 0, 4)
        good = config_read(0x0300, 4, 4, tag=9)
        for name, value in change.items():
            setattr(request[layers.ConfigRequest] if name == "last_be" else request, name, value)
        rows, notes = bulk(bare(good, completion(good, 1), request))
        assert (len(rows), problems(notes), notes.dropped) == (1, ["damaged 1"], 1)

    def test_a_reserved_completion_status(self):
        request = config_read(0x0300, 0, 4)
        rows, notes = bulk(bare(request, completion(request, status=3)))
        assert (rows, problems(notes)) == ([], ["damaged 1", "lost-completion 1", "dropped 1"])

    def test_flit_mode_is_refused(self):
        # CfgRd0 with OHC-A3: byte 1 is TC and OHC, the enables follow the header.
        flit = "04010001 00000005 03000100 0000000f"
        with pytest.raises(UnsupportedFormatError, match="flit mode") as caught:
            bulk(bare(flit))
        assert caught.value.offset == 24
        good = config_read(0x0300, 4, 4, tag=9)
        rows, notes = bulk(bare(good, completion(good, 1), flit))
        assert (len(rows), problems(notes), notes.dropped) == (1, ["unsupported 1"], 1)

    def test_trusted_config_requests_and_other_kinds_are_named(self):
        good = config_read(0x0300, 4, 4, tag=9)
        others = ["1b000001 0000010f 03000000", "60000001 000000ff 00000000 fe000000 00000000", "ff" * 12]
        rows, notes = bulk(bare(good, completion(good, 1), *others))
        assert len(rows) == 1
        assert [p.kind for p in notes.problems] == ["unsupported", "foreign"]
        assert notes.problems[1].message.endswith("not used: TCfgRd (1), MWr (1), type 0xff (1)")

    @pytest.mark.parametrize("size", [1, 4, 11])
    def test_shorter_than_a_header(self, size):
        rows, notes = bulk(bare(tlp(READ_ARI)[:size]))
        assert (rows, problems(notes), notes.dropped) == ([], ["damaged 1"], 1)

    @pytest.mark.parametrize("cut", [1, 4])
    def test_cut_by_the_recorder_behind_the_header(self, cut):
        write = config_write(0x0300, 4, 4, 6)
        rows, notes = bulk(bare(write, cut=cut))
        assert (rows, notes.dropped) == ([], 1)
        assert "tcpdump -s 0" in notes.problems[0].message

    def test_nothing_in_a_packet(self):
        rows, notes = bulk(bare(b""))
        assert (rows, problems(notes)) == ([], ["foreign"])


def test_the_bulk_layouts_are_those_of_construct():
    for part, text in ((layout.CONFIG_REQUEST, READ_ARI), (layout.COMPLETION, ANSWER_ARI)):
        parsed = part.parse(tlp(text))
        row = dtype_of(part)
        item = np.frombuffer(tlp(text)[: row.itemsize], row)[0]
        assert {name: int(item[name]) for name in row.names} == {name: parsed[name] for name in row.names}


@settings(max_examples=60)
@given(REQUESTS, st.sampled_from(["ok", "unsupported", "retry", "abort"]), st.integers(0, ONES))
def test_any_request_and_completion_survive(request_, status, value):
    packet = build(request_)
    code = {"ok": 0, "unsupported": 1, "retry": 2, "abort": 4}[status]
    data = value if status == "ok" and request_[0] == "read" else None
    answer = completion(packet, None, status=code)
    if data is not None:
        answer.fmt_type, answer.length = layout.CPL_D, 1
        answer = answer / Dword(value=data)
    tlps = [bytes(packet), bytes(answer)]
    rows, notes = bulk(bare(*tlps))
    assert rows == slow(tlps)
    assert rows
    assert notes.problems == []
