"""QEMU's simple trace backend: two independent decodes, damage, limits."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture import Notes, accesses
from analyzer.errors import AritraceError, DamagedInputError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers.qemu import simpletrace
from analyzer.readers.unwrap import ByteStream, open_stream
from schemas import simpletrace as layout
from schemas.simpletrace import LAYOUTS

SAMPLE = Path(__file__).parents[2] / "traces" / "formats" / "qemu-simpletrace-v4.simple.zst"
ORDERS = ["little", "big"]
READ_ID, WRITE_ID, OTHER_ID = 0xC1A, 0xC1B, 7

#: One mapping, one event and one mark of dropped events, as bytes written out by hand.
BY_HAND = bytes.fromhex(
    "ffffffffffffffff b429a40acb77b1f2 0400000000000000"
    "0000000000000000 1b0c000000000000 0d000000" + b"pci_cfg_write".hex() + "0100000000000000"
    "1b0c000000000000 15cd5b0700000000 47000000 92100000 03000000" + b"igb".hex() + "0100000000000000"
    "0000000000000000 0000000000000000 7001000000000000 0100000000000000"
    "0100000000000000 feffffffffffffff 6300000000000000 20000000 92100000 0700000000000000"
)


ONLY_OTHER_EVENTS = "trace events of other kinds are not used: other_event (10)"


class Builder:
    """Writes a file through the Construct declarations."""

    def __init__(self, order="little", version=4, names=True):
        self.layouts = LAYOUTS[order]
        self.word = order
        header = {"event_id": layout.HEADER_EVENT_ID, "magic": layout.HEADER_MAGIC, "version": version}
        self.data = self.layouts.header.build(header)
        self.edges = [len(self.data)]
        if names:
            for event, name in (
                (OTHER_ID, b"other_event"),
                (READ_ID, b"pci_cfg_read"),
                (WRITE_ID, b"pci_cfg_write"),
            ):
                self.mapping(event, name)

    def _add(self, kind, body):
        self.data += self.layouts.record.build({"type": kind, "body": body})
        self.edges.append(len(self.data))
        return self

    def mapping(self, event, name):
        return self._add(0, {"event_id": event, "len": len(name), "name": name})

    def event(self, event, args, time=1000, length=None):
        length = 24 + len(args) if length is None else length
        return self._add(
            1, {"event_id": event, "timestamp_ns": time, "length": length, "pid": 4242, "args": args}
        )

    def cfg(self, event, name, *values, time=1000):
        args = len(name).to_bytes(4, self.word) + name
        return self.event(event, args + b"".join(v.to_bytes(8, self.word) for v in values), time)

    def dropped(self, number):
        return self.event(layout.DROPPED_EVENT_ID, number.to_bytes(8, self.word))


def bulk(data: bytes) -> tuple[list[tuple], Notes]:
    notes = Notes("x")
    frames = list(simpletrace.read(ByteStream("x", io.BytesIO(data)), notes, Options()))
    table = pl.concat(frames) if frames else accesses.empty()
    assert table.schema == accesses.READER_SCHEMA
    columns = ["time_ns", "bus", "devfn", "offset", pl.col("op").cast(pl.String), "value", "absent", "where"]
    return table.select(columns).rows(), notes


def interpreted(data: bytes) -> tuple[list[tuple], Notes]:
    """Read an undamaged file with nothing but the Construct declarations, a record at a time."""
    layouts = LAYOUTS["big" if data.startswith(layout.MAGIC["big"]) else "little"]
    stream, notes = io.BytesIO(data), Notes("x")
    layouts.header.parse_stream(stream)
    names, rows = {}, []
    while (where := stream.tell()) < len(data):
        record = layouts.record.parse_stream(stream)
        body = record.body
        if record.type == layout.TYPE_MAPPING:
            names[body.event_id] = body.name.decode()
        elif body.event_id == layout.DROPPED_EVENT_ID:
            notes.dropped += int.from_bytes(body.args, "little" if layouts is LAYOUTS["little"] else "big")
        elif names[body.event_id].startswith("pci_cfg_"):
            head = layouts.cfg_head.parse(data[where : where + 36])
            start = where + layouts.cfg_head.sizeof()
            device = data[start : start + head.name_len]
            args = layouts.cfg_arguments.parse(data[start + head.name_len : stream.tell()])
            op = names[body.event_id].removeprefix("pci_cfg_")
            devfn = args.slot << 3 | args.func
            rows.append(
                (body.timestamp_ns, args.bus, devfn, args.offs, op, args.val, device == b"empty", where)
            )
    return rows, notes


def small(order="little", records=40) -> Builder:
    build = Builder(order)
    for n in range(records):
        name = (b"igb", b"empty", b"pcie-root-port")[n % 3]
        op = WRITE_ID if n % 5 == 0 else READ_ID
        build.cfg(op, name, n % 7, n % 32, n % 8, n * 4 % 4096, n * 0x01010101 % (1 << 32), time=n)
        if n % 4 == 0:
            build.event(OTHER_ID, bytes(n % 40))
    return build


def test_both_decodes_of_a_real_file_are_equal():
    with open_stream(str(SAMPLE)) as stream:
        data = stream.peek(1 << 24)
    rows, notes = bulk(data)
    assert rows == interpreted(data)[0]
    assert len(rows) == 28_364
    assert (notes.problems, notes.truncated, notes.dropped, notes.clock) == ([], False, 0, "monotonic")


@pytest.mark.parametrize("decode", [bulk, interpreted])
def test_bytes_by_hand(decode):
    rows, notes = decode(BY_HAND)
    assert rows == [(123456789, 1, 0, 0x170, "write", 1, False, 57)]
    assert notes.dropped == 7


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("decode", [bulk, interpreted])
def test_both_byte_orders(decode, order):
    rows, _ = decode(small(order).data)
    assert len(rows) == 40
    assert rows[33] == (33, 33 % 7, 1 << 3 | 1, 132, "read", 33 * 0x01010101, False, rows[33][-1])
    assert [row[6] for row in rows[:4]] == [False, True, False, False]


def test_events_of_other_kinds_are_named():
    notes = bulk(small().data)[1]
    assert [(p.kind, p.message) for p in notes.problems] == [("foreign", ONLY_OTHER_EVENTS)]


@pytest.mark.parametrize("order", ORDERS)
def test_marks_of_dropped_events_say_the_place(order):
    build = Builder(order).cfg(READ_ID, b"igb", 1, 0, 0, 0, 0).dropped(7)
    place = build.edges[-2]
    notes = bulk(build.cfg(READ_ID, b"igb", 1, 0, 0, 0, 0).dropped(5).data)[1]
    assert notes.dropped == 12
    assert [p.kind for p in notes.problems] == ["dropped", "dropped"]
    assert notes.problems[0].offset_bytes == place
    assert "dropped 7 events" in notes.problems[0].message


def test_very_many_marks_are_not_listed_one_by_one():
    build = Builder().cfg(READ_ID, b"igb", 1, 0, 0, 0, 0)
    for _ in range(150):
        build.dropped(2)
    notes = bulk(build.data)[1]
    assert notes.dropped == 300
    assert len(notes.problems) == 101


def test_only_records_without_bus_are_refused():
    data = Builder().cfg(WRITE_ID, b"virtio-vga", 18, 0, 0x18, 0xE0800000).data
    with pytest.raises(UnsupportedFormatError, match=r"found 1 record of .* which do not say the bus number"):
        bulk(data)


def test_records_without_bus_in_a_mixed_file_are_left_out_and_taint_it():
    build = Builder().cfg(READ_ID, b"igb", 1, 0, 0, 0, 5).cfg(READ_ID, b"igb", 0, 0, 0, 0)
    rows, notes = bulk(build.data)
    assert (len(rows), notes.dropped, [p.kind for p in notes.problems]) == (1, 1, ["no-bus"])
    assert notes.problems[0].offset_bytes == build.edges[-2]


@pytest.mark.parametrize(
    "values",
    [
        (256, 0, 0, 0, 0),
        (0, 32, 0, 0, 0),
        (0, 0, 8, 0, 0),
        (0, 0, 0, 4096, 0),
        (0, 0, 0, 0, 1 << 32),
        (0, 0, 0),
        (0, 0, 0, 0, 0, 0),
        (),
    ],
)
def test_arguments_that_do_not_fit_are_left_out_and_taint_the_capture(values):
    good = (READ_ID, b"igb", 1, 0, 0, 0, 0)
    build = Builder().cfg(*good).cfg(READ_ID, b"igb", *values)
    place = build.edges[-2]
    rows, notes = bulk(build.cfg(*good).data)
    assert len(rows) == 2
    assert (notes.dropped, [(p.kind, p.offset_bytes) for p in notes.problems]) == (1, [("damaged", place)])


def test_time_beyond_63_bits_is_unknown():
    rows, _ = bulk(Builder().cfg(READ_ID, b"igb", 1, 0, 0, 0, 0, time=1 << 63).data)
    assert rows[0][0] is None


def test_events_without_a_name_may_be_accesses_and_taint_the_capture():
    data = Builder(names=False).mapping(WRITE_ID, b"pci_cfg_write").cfg(READ_ID, b"igb", 1, 0, 0, 0, 0).data
    notes = bulk(data)[1]
    assert notes.dropped == 1
    assert "gives no name" in notes.problems[0].message


def test_a_mapping_record_in_the_middle_and_at_the_end():
    build = Builder(names=False).mapping(READ_ID, b"pci_cfg_read").cfg(READ_ID, b"igb", 1, 0, 0, 0, 0)
    build.mapping(WRITE_ID, b"pci_cfg_write").cfg(WRITE_ID, b"igb", 1, 0, 0, 0, 0).mapping(9, b"abc")
    rows, notes = bulk(build.data)
    assert [row[4] for row in rows] == ["read", "write"]
    assert (notes.problems, notes.truncated) == ([], False)


@pytest.mark.parametrize(
    ("version", "reason"), [(0, "not name"), (2, "not name"), (3, "not name"), (5, "found 5")]
)
@pytest.mark.parametrize("order", ORDERS)
def test_other_versions_are_refused(order, version, reason):
    with pytest.raises(UnsupportedFormatError, match=reason) as caught:
        bulk(Builder(order, version=version).data)
    assert caught.value.offset == 16


@pytest.mark.parametrize("size", [16, 23])
def test_cut_in_the_header(size):
    with pytest.raises(DamagedInputError, match=f"found {size} bytes"):
        bulk(BY_HAND[:size])


@pytest.mark.parametrize("order", ORDERS)
def test_cut_anywhere_gives_what_was_before_the_cut(order):
    build = small(order)
    whole = bulk(build.data)[0]
    first_access = build.edges[3]
    cuts = {edge + shift for edge in build.edges[4:-1] for shift in (-1, 0, 1, 8, 20, 31)}
    for cut in sorted(cuts | set(range(first_access, len(build.data), 37))):
        rows, notes = bulk(build.data[:cut])
        assert rows == [row for row, end in zip(whole, _ends(build), strict=True) if end <= cut]
        assert notes.truncated == (cut not in build.edges)


def _ends(build: Builder) -> list[int]:
    """Return the end of each access record of ``small``: every fourth has another event behind it."""
    edges, ends = iter(build.edges[4:]), []
    for n in range(40):
        ends.append(next(edges))
        if n % 4 == 0:
            next(edges)
    return ends


@pytest.mark.parametrize("block", [1, 33, 100, 4096])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    data = small().data
    whole = bulk(data)
    monkeypatch.setattr(simpletrace, "_BLOCK", block)
    assert bulk(data) == whole


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("what", ["length", "type", "long", "zeros"])
def test_the_chain_of_records_is_found_again(order, what, monkeypatch):
    monkeypatch.setattr(simpletrace, "_BLOCK", 32_768)
    build = small(order, records=1000)
    whole = bulk(build.data)[0]
    damaged = bytearray(build.data)
    place = whole[500][-1]
    if what == "length":
        damaged[place + 24 : place + 28] = (23).to_bytes(4, order)
    elif what == "type":
        damaged[place : place + 8] = b"\xff" * 8
    elif what == "long":
        damaged[place + 24 : place + 28] = (1 << 31).to_bytes(4, order)
    else:
        damaged[place : place + 1000] = bytes(1000)
    rows, notes = bulk(bytes(damaged))
    lost = [row for row in whole if row not in rows]
    assert rows == [row for row in whole if row not in lost]
    assert 1 <= len(lost) <= (15 if what == "zeros" else 2)
    assert notes.dropped >= 1
    assert ("damaged", place) in [(p.kind, p.offset_bytes) for p in notes.problems]
    assert not notes.truncated


def test_damage_without_end_is_bounded(monkeypatch):
    monkeypatch.setattr(simpletrace, "_BLOCK", 65_536)
    # Every 20 bytes a mapping record that leads nowhere.
    trap = bytes(8) + (5).to_bytes(8, "little") + (400).to_bytes(4, "little")
    rows, notes = bulk(small().data + b"\xff" * 9 + trap * 100_000)
    assert len(rows) == 40
    assert [p.kind for p in notes.problems] == ["truncated", "foreign"]


def test_single_damaged_bytes_give_an_answer_or_a_reason():
    build = small()
    generator = random.Random(7)  # noqa: S311 - repeatable, nothing secret
    first_access = build.edges[3]
    for _ in range(300):
        place = generator.randrange(len(build.data))
        data = bytearray(build.data)
        data[place] ^= 1 << generator.randrange(8)
        try:
            rows, notes = bulk(bytes(data))
        except AritraceError:
            rows, notes = [], None
        if place >= first_access:
            assert len(rows) >= 30
        if notes is None:
            continue
        if len(rows) < 40:
            others = [p.message for p in notes.problems if p.kind == "foreign"]
            assert notes.dropped or notes.truncated or others != [ONLY_OTHER_EVENTS]


@settings(max_examples=100)
@given(
    st.sampled_from(ORDERS),
    st.lists(
        st.tuples(
            st.sampled_from([READ_ID, WRITE_ID]),
            st.binary(max_size=40),
            st.integers(0, 255),
            st.integers(0, 31),
            st.integers(0, 7),
            st.integers(0, 4095),
            st.integers(0, 0xFFFFFFFF),
        ),
        max_size=20,
    ),
)
def test_any_access_survives(order, rows):
    build = Builder(order)
    for row in rows:
        build.cfg(*row)
    found, notes = bulk(build.data)
    assert found == interpreted(build.data)[0]
    assert [row[5] for row in found] == [row[-1] for row in rows]
    assert notes.problems == []


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_behind_the_mappings_do_no_harm(noise):
    with contextlib.suppress(AritraceError):
        bulk(Builder().data + noise)


def test_a_mark_of_dropped_events_that_cannot_be_is_damage():
    good = Builder().cfg(READ_ID, b"igb", 0, 0, 0, 16, 1)
    table, notes = bulk(good.dropped(1 << 40).cfg(READ_ID, b"igb", 0, 0, 0, 20, 1).data)
    assert [row[3] for row in table] == [16, 20]
    assert [problem.kind for problem in notes.problems] == ["damaged"]


def test_events_of_more_kinds_than_are_counted(monkeypatch):
    monkeypatch.setattr(simpletrace, "_MOST_NAMES", 3)
    file = Builder(names=False).mapping(READ_ID, b"pci_cfg_read")
    for event in range(50, 56):
        file.event(event, b"")
    _, notes = bulk(file.cfg(READ_ID, b"igb", 0, 0, 0, 16, 1).data)
    assert "more kinds" in " ".join(problem.message for problem in notes.problems)
