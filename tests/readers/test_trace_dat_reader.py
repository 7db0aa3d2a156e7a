"""trace.dat: real recordings of both versions; derived ones of every word size, byte order, compression."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from trace_dat_builder import Pages, TraceFile, probes, slow_records
from trace_dat_samples import COLUMNS, GOOD, one_cpu, read, record, rows

from analyzer.capture import Notes
from analyzer.errors import DamagedInputError, UnsupportedFormatError
from analyzer.readers import open_capture
from analyzer.readers.trace import dat
from analyzer.readers.trace.dat_pages import PageDecoder, Trouble, page_blocks
from analyzer.readers.trace.dat_parts import parse_format, parse_header_page
from analyzer.readers.trace.dat_sections import open_file
from analyzer.readers.trace.whole_content import WholeContent
from analyzer.readers.unwrap import open_stream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
REAL = sorted(path.name for path in FORMATS.glob("trace-dat-*"))
# Real recordings


@pytest.mark.parametrize(
    ("name", "count", "clock", "first"),
    [
        ("kprobes-kernel1.dat", 12_867, "local", ("read", 0, 0, 248, 14, 1, 0x80)),
        ("kprobes-kernel2.dat", 12_090, "local", ("read", 0, 0, 248, 14, 1, 0x80)),
        ("v7-cpus.dat", 74, "local", ("write", 0, 0, 26, 62, 2, 0)),
        ("v7-buffers.dat", 74, "monotonic", ("write", 0, 0, 27, 62, 2, 0)),
        ("v7-uncompressed.dat.zst", 74, "monotonic", None),
        ("v6.dat.zst", 74, "local", None),
        ("v6-buffers.dat.zst", 74, "local", ("write", 0, 0, 27, 62, 2, 0)),
        ("tai.dat", 74, "tai", None),
        ("tsc.dat", 74, None, None),
        ("date.dat", 74, "realtime", None),
        ("overrun.dat", 752, "monotonic", None),
        ("dropped.dat", 1104, "monotonic", None),
    ],
)
def test_real_recordings(name, count, clock, first):
    capture = open_capture(str(FORMATS / f"trace-dat-{name}"))
    table = capture.accesses
    assert (capture.format, table.height, capture.notes.clock) == ("trace-dat", count, clock)
    assert capture.notes.tool == "trace-cmd 3.1.6"
    assert capture.notes.releases == ["7.3.4" if "kernel" in name else "6.1.0-56-amd64"]
    assert first is None or rows(table)[0] == first
    assert (table["time_ns"].null_count() == table.height) == (clock is None)
    assert table["cpu"].null_count() == 0
    if clock is not None:
        # What each CPU recorded is in the order of its clock.
        assert table.group_by("cpu").agg(pl.col("time_ns").is_sorted())["time_ns"].to_list().count(False) == 0


@pytest.mark.parametrize(
    ("name", "dropped", "problems"),
    [
        ("overrun.dat", 4048, ["dropped"] * 4),
        ("dropped.dat", 3696, ["dropped"] * 4),
        ("kprobes-kernel1.dat", 0, []),
        ("v7-cpus.dat", 0, []),
        ("v7-buffers.dat", 0, ["duplicate", "foreign"]),
        ("v6-buffers.dat.zst", 0, ["duplicate", "clock"]),
    ],
)
def test_what_real_recordings_lost(name, dropped, problems):
    notes = open_capture(str(FORMATS / f"trace-dat-{name}")).notes
    assert (notes.dropped, [p.kind for p in notes.problems]) == (dropped, problems)
    if name == "overrun.dat":
        assert {p.offset_bytes for p in notes.problems} == {73_728, 77_824, 81_920, 86_016}
        assert "lost 1,012 events of CPU" in notes.problems[0].message


@pytest.mark.parametrize("name", REAL)
def test_both_decodes_of_real_pages_are_equal(name):
    notes = Notes("x")
    with open_stream(str(FORMATS / name)) as stream, WholeContent(stream) as content:
        file = open_file(content, notes)
        for buffer in file.buffers:
            decoder = PageDecoder(file.layouts.order, file.header, buffer.page_size)
            for cpu in buffer.cpus:
                for block in page_blocks(content, file, buffer, cpu, Trouble(), 100_000):
                    found = decoder.decode(block, Trouble())
                    raw = block.data.tobytes()
                    fast = [
                        (time, raw[at : at + size])
                        for time, at, size in zip(
                            found.time.tolist(), found.payload.tolist(), found.size.tolist(), strict=True
                        )
                    ]
                    assert fast == slow_records(raw, file.layouts.order, 8, buffer.page_size)
    assert notes.problems == []


def test_fields_of_a_real_recording_equal_a_slow_reading():
    path = FORMATS / "trace-dat-kprobes-kernel1.dat"
    with open_stream(str(path)) as stream, WholeContent(stream) as content:
        file = open_file(content, Notes("x"))
        formats = {event.id: event for event in file.formats if event.name.startswith("cfg_")}
        (buffer,) = file.buffers
        expected = []
        for block in page_blocks(content, file, buffer, buffer.cpus[0], Trouble(), 1 << 20):
            for time, payload in slow_records(block.data.tobytes(), "little", 8, 4096):
                event = formats[int.from_bytes(payload[:2], "little")]
                value = {
                    name: int.from_bytes(payload[f.offset : f.offset + f.size], "little")
                    for name, f in event.fields.items()
                }
                op = event.name.removeprefix("cfg_")
                fields = [value[name] for name in ("dom", "bus", "devfn", "reg", "len", "val")]
                expected.append((time, op, *fields))
    table = open_capture(str(path)).accesses
    assert rows(table, "time_ns", *COLUMNS) == expected


def test_a_kvm_host_saw_what_the_guest_s_qemu_logged():
    host = open_capture(str(FORMATS / "trace-dat-kvm-host.dat")).accesses
    log = open_capture(str(FORMATS / "qemu-log-same-run-as-kvm-host.log.zst")).accesses
    # This QEMU does not log accesses to absent functions, which read as all ones.
    some = (pl.col("op") == "write") | ~pl.col("value").is_in([0xFF, 0xFFFF, 0xFFFF_FFFF])
    answered, logged = host.filter(some), log.filter(some)
    columns = ("op", "bus", "devfn", "offset", "value")
    assert rows(answered, *columns) == rows(logged, *columns)
    assert (host.height, answered.height) == (746, 433)
    assert set(host["width"].unique()) == {1, 2, 4}


# Every shape of file, derived


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("long_size", [4, 8])
@pytest.mark.parametrize(("version", "compression"), [(6, "none"), (7, "none"), (7, "zlib"), (7, "zstd")])
@pytest.mark.parametrize("page_size", [4096, 65536])
def test_every_shape(order, long_size, version, compression, page_size):
    pages = [Pages(order, long_size, page_size) for _ in range(2)]
    probe = probes(long_size)
    for number in range(90):
        cpu = pages[number % 2]
        name = "cfg_write" if number % 3 == 0 else "cfg_read"
        values = GOOD | {"bus": number, "devfn": 255 - number, "val": number * 0x01020304 & 0xFFFF}
        payload = probe[name].payload(order, pid=number + 1, **values)
        cpu.page(10_000 + number, [cpu.record(payload)])
    file = TraceFile(order, long_size, version, compression, page_size).buffer(*pages)
    table, notes = read(file.build())
    assert notes.problems == []
    assert (notes.host, notes.releases, notes.tool, notes.clock) == (
        "host9", ["6.12.1"], "trace-cmd 3.3.1", "monotonic",
    )  # fmt: skip
    assert rows(table, "time_ns", "cpu", *COLUMNS) == [
        (10_000 + n, n % 2, "read" if n % 3 else "write", 0, n, 255 - n, 0x90, 2, n * 0x01020304 & 0xFFFF)
        for n in range(90)
    ]
    if compression == "none":
        data = file.build()
        at = table["where"][5]
        number = 365 if table["op"][5] == "read" else 364
        assert data[at : at + 2] == number.to_bytes(2, order)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("time", [0, 1 << 40, 1_790_000_000_000_000_000])
def test_times_of_every_kind_of_record(order, time):
    page = Pages(order)
    parts = [
        record("cfg_read", pages=page, delta=5, **GOOD),  # + 5
        page.extend(1 << 30),
        record("cfg_read", pages=page, delta=0, **GOOD),  # + 5 + 2^30
        page.discarded(24, delta=7),
        record("cfg_read", pages=page, delta=1, **GOOD),  # + 13 + 2^30
        page.stamp(time + (1 << 31)),
        record("cfg_read", pages=page, delta=2, **GOOD),  # + 2 + 2^31
        page.record(probes()["cfg_read"].payload(order, **GOOD), 3, long=True),
        page.padding(),
        b"\xff" * 64,
    ]
    table, notes = read(TraceFile(order).buffer(page.page(time, parts)).build())
    big = 1 << 30
    assert table["time_ns"].to_list() == [time + t for t in (5, 5 + big, 13 + big, 2 + 2 * big, 5 + 2 * big)]
    assert notes.problems == []


def test_an_absolute_time_stamp_that_carried_into_the_top_bits():
    page, before, after = Pages(), (2 << 59) - 5, (2 << 59) + 3
    parts = [page.record(probes()["cfg_read"].payload("little", **GOOD)), page.stamp(after)]
    parts.append(record("cfg_read", delta=0, **GOOD))
    table, _ = read(TraceFile().buffer(page.page(before, parts)).build())
    assert table["time_ns"].to_list() == [before, after]


def test_the_long_size_of_the_head_is_not_the_kernel_s():
    # A 32-bit kernel's recording, converted on a 64-bit machine: the head says 8, header_page 4.
    file = TraceFile(long_size=4)
    data = file.buffer(
        Pages("little", 4).page(1, [record("cfg_read", pages=Pages("little", 4), **GOOD)])
    ).build()
    assert data[len(b"\x17\x08\x44tracing7\0") + 1] == 8
    assert rows(read(data)[0]) == [("read", 0, 2, 0x48, 0x90, 2, 0x20)]


# Several CPUs and buffers


def test_cpus_are_merged_by_time_and_keep_their_own_order():
    first, second = Pages(), Pages()
    for page in range(40):
        first.page(
            page * 1000, [record("cfg_read", delta=20, **GOOD | {"bus": 1, "reg": 4 * i}) for i in range(40)]
        )
        second.page(page * 1000 + 10, [record("cfg_read", delta=20, **GOOD | {"bus": 2, "reg": 4 * i})
                                       for i in range(40)])  # fmt: skip
    table, _ = read(TraceFile().buffer(first, second).build())
    assert table["time_ns"].is_sorted()
    assert table["bus"].to_list() == [1, 2] * 1600
    # Equal times: the order within a CPU holds.
    same = Pages().page(5, [record("cfg_read", delta=0, **GOOD | {"reg": 4 * i}) for i in range(50)])
    table, _ = read(TraceFile().buffer(same, same).build())
    assert table["offset"].to_list() == [4 * i for i in range(50)] * 2


@pytest.mark.parametrize("cpus", [1, 3, 64])
@pytest.mark.parametrize("block", [4096, 20_000, 1 << 20])
def test_blocks_of_any_size_give_the_same(cpus, block, monkeypatch):
    pages = [Pages() for _ in range(cpus)]
    for number in range(300):
        cpu = pages[number * 7 % cpus]
        cpu.page(number * 50, [record("cfg_write", pid=1, **GOOD | {"devfn": number % 256})])
    data = TraceFile(compression="zstd").buffer(*pages).build()
    monkeypatch.setattr(dat, "_LEAST", block)
    monkeypatch.setattr(dat, "_MOST", block)
    assert read(data)[0]["devfn"].to_list() == [n % 256 for n in range(300)]


def test_an_event_that_two_buffers_recorded_counts_once():
    one = Pages().page(100, [record("cfg_write", delta=10, **GOOD | {"reg": 4 * i}) for i in range(5)])
    two = Pages().page(101, [record("cfg_write", delta=10, **GOOD | {"reg": 4 * i}) for i in range(5)])
    table, notes = read(TraceFile().buffer(one).buffer(two, name="second").build())
    assert table["offset"].to_list() == [0, 4, 8, 12, 16]
    assert [p.kind for p in notes.problems] == ["duplicate"]


def test_nested_probes_count_once_and_polling_counts_every_time():
    pair = [record("conf1_read", **GOOD), record("cfg_read", **GOOD)]
    page = Pages().page(1, [*pair * 3, record("cfg_read", **GOOD), record("cfg_write", **GOOD), *pair])
    table, notes = read(TraceFile().buffer(page).build())
    assert table["op"].to_list() == ["read"] * 3 + ["write", "read"]
    assert "5 records are of accesses" in notes.problems[0].message


def test_buffers_with_different_clocks_have_no_common_time():
    file = TraceFile().buffer(Pages().page(5, [record("cfg_write", **GOOD)]))
    file.buffer(Pages().page(9, [record("cfg_read", **GOOD)]), name="b", clock="tai")
    table, notes = read(file.build())
    assert (table["time_ns"].to_list(), notes.clock) == ([None, None], None)
    assert [p.kind for p in notes.problems] == ["clock"]


def test_other_events_are_named():
    _, notes = read(one_cpu(*[record("sched_switch")] * 3, record("cfg_read", **GOOD)).build())
    assert [p.message for p in notes.problems] == [
        "events of other kinds are not used: sched:sched_switch (3)"
    ]


# Files that are refused, and what is said


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"\x17\x08\x44tracing5\0\0\x08\0\x10\0\0", UnsupportedFormatError, "found version '5'"),
        (b"\x17\x08\x44tracing7\0\x02\x08\0\x10\0\0", DamagedInputError, "byte order 0 or 1, found 2"),
        (
            b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0lz4\0" + b"1\0" + bytes(8),
            UnsupportedFormatError,
            "found 'lz4'",
        ),
        (
            b"\x17\x08\x44tracing7\0\0\x08\0\x10\0\0none\0\0" + bytes(8),
            DamagedInputError,
            "section HEADER_INFO",
        ),
        (b"\x17\x08\x44tracing6\0\0\x08\0\x10\0\0header_pig\0\0", DamagedInputError, "header_page"),
    ],
)
def test_refusals(data, error, message):
    with pytest.raises(error, match=message) as caught:
        read(data)
    assert caught.value.advice


def test_a_latency_trace_is_refused():
    data = TraceFile(version=6).buffer(Pages()).build().replace(b"flyrecord\0", b"latency  \0")
    with pytest.raises(UnsupportedFormatError, match="latency tracer"):
        read(data)


@pytest.mark.parametrize("page_size", [0, 4095, 2 << 20])
def test_page_sizes_that_no_kernel_has(page_size):
    data = bytearray(one_cpu(record("cfg_read", **GOOD)).build())
    at = data.index(b"\0mono\0\0\x10\0\0") + 6
    data[at : at + 4] = page_size.to_bytes(4, "little")
    with pytest.raises(DamagedInputError, match=r"no buffer|found none"):
        read(bytes(data))


def test_large_contents_go_to_a_temporary_file(monkeypatch):
    data = one_cpu(record("cfg_read", **GOOD), compression="zstd").build()
    expected = rows(read(data)[0])
    monkeypatch.setattr("analyzer.readers.trace.whole_content.IN_MEMORY", 1000)
    assert rows(read(data)[0]) == expected


# Format texts


def test_format_texts():
    text = probes()["pci_hp_event"].text()
    event = parse_format("pci", text)
    assert (event.name, event.id) == ("pci_hp_event", 500)
    assert event.fields["port_name"].is_string
    assert (event.fields["event"].offset, event.fields["event"].signed) == (16, True)
    arrays = "name: x\nID: 7\nformat:\n\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
    assert parse_format("a", arrays).fields["comm"].size == 16
    assert parse_format("a", "name: x\nformat:\n") is None
    assert parse_format("a", "name: x\nID: 70000\n") is None


STAMP = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"


@pytest.mark.parametrize(
    ("commit", "start", "expected"), [(None, 0, None), (16, 24, None), (4, 16, None), (4, 12, (4, 12, 4096))]
)
def test_header_page(commit, start, expected):
    text = "" if commit is None else f"\tfield: local_t commit;\toffset:8;\tsize:{commit};\tsigned:1;\n"
    text = STAMP + text + f"\tfield: char data;\toffset:{start};\tsize:{4096 - start};\tsigned:1;\n"
    found = parse_header_page(text)
    assert (found and (found.commit_size, found.data_offset, found.page_size)) == expected
