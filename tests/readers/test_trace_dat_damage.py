"""Cut and damaged trace.dat: an answer or a clear error, with bounded work, and nothing is lost silently."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_dat_builder import Pages, TraceFile, probes, slow_records
from trace_dat_samples import GOOD, read, rows
from work_done import counted

from analyzer.capture import Notes
from analyzer.errors import AritraceError
from analyzer.readers.trace.dat_pages import Block, PageDecoder, Trouble
from analyzer.readers.trace.dat_parts import PageHeader

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
KINDS = [(6, "none"), (7, "none"), (7, "zstd")]
EVENTS = [probes()[name] for name in ("cfg_read", "cfg_write")]


def pages(count: int, cpu: int = 0, per_page: int = 10) -> Pages:
    made = Pages()
    for page in range(count):
        parts = []
        for number in range(page * per_page, (page + 1) * per_page):
            event = EVENTS[number % 7 == 0]
            values = GOOD | {"bus": cpu, "devfn": number // 8 % 256, "reg": number % 8 * 4, "val": number}
            parts.append(made.record(event.payload("little", pid=cpu + 1, **values), 5))
        made.page(1000 + page * 1000, parts)
    return made


def small(version: int, compression: str, cpus: int = 2, count: int = 5) -> TraceFile:
    file = TraceFile(version=version, compression=compression, events=EVENTS)
    return file.buffer(*(pages(count, cpu) for cpu in range(cpus)))


def outcome(data: bytes):
    """Rows and notes, or the error."""
    try:
        table, notes = read(data)
    except AritraceError as error:
        return None, error
    return rows(table), notes


@pytest.mark.parametrize(("version", "compression"), KINDS)
def test_cut_at_every_edge_of_sections_and_pages(version, compression):
    file = small(version, compression)
    data = file.build()
    whole = outcome(data)[0]
    step = 4096
    cuts = {edge + shift for edge in file.edges.values() for shift in (-17, -1, 0, 1, 15)}
    cuts |= {edge + shift for edge in range(0, len(data), step) for shift in (-1, 0, 1, 7, 16)}
    kept = []
    for cut in sorted(cut for cut in cuts if 0 <= cut < len(data)):
        found, notes = outcome(data[:cut])
        if found is None:
            assert "ends early" in str(notes) or "found none" in str(notes) or "found 0" in str(notes)
            continue
        assert notes.truncated
        # Each CPU is read up to the cut.
        for bus in (0, 1):
            mine = [row for row in found if row[2] == bus]
            assert mine == [row for row in whole if row[2] == bus][: len(mine)]
        kept.append(len(found))
    assert kept == sorted(kept)
    assert kept[-1] >= len(whole) - 20


@pytest.mark.parametrize("version", [6, 7])
def test_cut_at_200_edges_of_records(version):
    file = small(version, "none", cpus=1, count=20)
    cpu = pages(20)
    data = file.build()
    place = data.index(cpu.data)
    whole = outcome(data)[0]
    assert len(cpu.edges) == len(whole) == 200
    for number, edge in enumerate(cpu.edges):
        for shift in (-1, 0, 3):
            found, notes = outcome(data[: place + edge + shift])
            expected = whole[: number + (shift >= 0)]
            if not expected:
                continue
            assert (found, notes.truncated, notes.dropped) == (expected, True, 0)


def test_a_cut_within_compressed_pages_costs_the_chunk():
    file = small(7, "zstd", cpus=1, count=20)  # ten chunks of two pages
    data = file.build()
    whole = outcome(data)[0]
    end = file.edges["buffer "]
    found, notes = outcome(data[: end - 5])
    assert found == whole[:180]
    assert notes.truncated


def test_a_damaged_chunk_costs_its_pages():
    file = small(7, "zstd", cpus=1, count=20)
    data = bytearray(file.build())
    place = data.index(b"\x28\xb5\x2f\xfd", file.edges["options "] + 16)
    data[place : place + 4] = b"\0\0\0\0"
    found, notes = outcome(bytes(data))
    assert found == outcome(file.build())[0][20:]
    assert (notes.dropped, [p.kind for p in notes.problems]) == (1, ["damaged"])


def test_a_damaged_page_costs_what_is_behind_the_damage():
    cpu = pages(5)
    file = TraceFile(events=EVENTS).buffer(cpu)
    data = bytearray(file.build())
    whole = outcome(bytes(data))[0]
    place = data.index(cpu.data)
    commit, header = bytearray(data), bytearray(data)
    commit[place + 4096 + 8 : place + 4096 + 12] = b"\xff\xff\xff\x07"  # page 1 claims 128 MiB
    header[place + 2 * 4096 + cpu.edges[2] : place + 2 * 4096 + cpu.edges[2] + 4] = bytes(
        4
    )  # page 2, record 3
    found, notes = outcome(bytes(commit))
    assert (found, notes.dropped) == (whole[:10] + whole[20:], 1)
    assert notes.problems[0].offset_bytes == place + 4096
    found, notes = outcome(bytes(header))
    assert (found, notes.dropped) == (whole[:23] + whole[30:], 1)


def test_a_page_with_a_damaged_time_keeps_its_place():
    ordinary, damaged = pages(20, cpu=0), pages(20, cpu=1)
    whole = outcome(TraceFile(events=EVENTS).buffer(ordinary, damaged).build())[0]
    for page, wrong in ((7, 1 << 62), (9, 3), (0, 1 << 50), (19, 1)):
        data = bytearray(damaged.data)
        data[page * 4096 : page * 4096 + 8] = wrong.to_bytes(8, "little")
        found, notes = outcome(TraceFile(events=EVENTS).buffer(ordinary, bytes(data)).build())
        for bus in (0, 1):
            assert [row for row in found if row[2] == bus] == [row for row in whole if row[2] == bus]
        # Between the CPUs, too, everything but this page is where it was.
        others = [row for row in found if row[2] == 0 or not page * 10 <= row[6] < page * 10 + 10]
        assert others == [row for row in whole if row[2] == 0 or not page * 10 <= row[6] < page * 10 + 10]
        assert [p.kind for p in notes.problems] == ["damaged"]


def test_options_that_lead_back_to_themselves():
    file = small(7, "none")
    data = bytearray(file.build())
    first = int.from_bytes(data[len(file.head()) + len(b"none\0" + b"1.0\0") :][:8], "little")
    place = data.rindex(b"\0\0\x08\0\0\0" + bytes(8))
    data[place + 6 : place + 14] = first.to_bytes(8, "little")
    found, notes = outcome(bytes(data))
    assert found == outcome(file.build())[0]
    assert any("lead back" in p.message for p in notes.problems)


@pytest.mark.parametrize("seed", range(4))
def test_1000_single_damaged_bytes(seed):
    generator = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    files = [small(*kind).build() for kind in KINDS] + [(FORMATS / "trace-dat-v7-cpus.dat").read_bytes()]
    data = files[seed]
    whole = outcome(data)[0]
    for _ in range(250):
        damaged = bytearray(data)
        place = generator.randrange(len(data))
        damaged[place] ^= 1 << generator.randrange(8)
        with counted() as work:
            found, notes = outcome(bytes(damaged))
        assert work.calls < 200_000  # 1,500 to 44,000 are usual
        assert work.memory < 256 << 20
        if found is None or found == whole:
            continue
        if len(found) < len(whole):
            # Lost by damage that shows, or their event is one that is not used any more, and named.
            assert notes.dropped or notes.truncated or any("not used" in p.message for p in notes.problems)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x01\0\0\0\x04\0\0\0", b"\x1e", b"\x1d\0\0\0"])
def test_pages_full_of_anything_are_little_work(fill):
    """A call for each of a page's records, of which 1 MiB can have 262,144, would be too many."""
    page = 1 << 20
    body = (fill * page)[: page - 16]
    data = (5).to_bytes(8, "little") + (page - 16).to_bytes(8, "little") + body
    file = TraceFile(page_size=page, events=EVENTS).buffer(data * 4)
    with counted() as work:
        outcome(file.build())
    assert work.calls < 20_000


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_in_a_page_do_no_harm(noise):
    page = Pages()
    good = page.record(EVENTS[0].payload("little", **GOOD), 1)
    page.page(1, [good, noise])
    found, _ = outcome(TraceFile(events=EVENTS).buffer(page).build())
    assert found is not None
    assert found[0] == ("read", 0, 2, 0x48, 0x90, 2, 0x20)


@settings(max_examples=150)
@given(
    st.sampled_from(["little", "big"]),
    st.sampled_from([4, 8]),
    st.lists(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("data"), st.binary(min_size=1, max_size=200), st.integers(0, (1 << 27) - 1)
                ),
                st.tuples(st.just("extend"), st.integers(0, 1 << 50)),
                st.tuples(st.just("stamp"), st.integers(0, (1 << 60) - 1)),
                st.tuples(st.just("discarded"), st.integers(1, 20), st.integers(1, 1000)),
            ),
            max_size=12,
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 1 << 60),
)
def test_any_pages_decode_as_the_slow_reader_does(order, long_size, parts, time):
    made = Pages(order, long_size)
    for page in parts:
        encoded = []
        for kind, *values in page:
            if kind == "data":
                encoded.append(made.record(values[0], values[1]))
            elif kind == "discarded":
                encoded.append(made.discarded(values[0] * 4, values[1]))
            else:
                encoded.append(getattr(made, kind)(*values))
        made.page(time, encoded)
    decoder = PageDecoder(order, PageHeader(long_size, 8 + long_size, 4096), 4096)
    trouble = Trouble()
    found = decoder.decode(Block(np.frombuffer(made.data, np.uint8), 0), trouble)
    fast = [
        (t, made.data[at : at + size])
        for t, at, size in zip(found.time.tolist(), found.payload.tolist(), found.size.tolist(), strict=True)
    ]
    assert fast == [(t % (1 << 64), data) for t, data in slow_records(made.data, order, long_size, 4096)]
    notes = Notes("")
    trouble.close(notes)
    assert notes.problems == []
