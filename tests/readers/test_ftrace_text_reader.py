"""Text that people paste: trace-cmd report, tracefs, perf script; the same accesses as the binary."""

from __future__ import annotations

import io
import random
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from analyzer.capture import Notes, accesses
from analyzer.errors import AritraceError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.readers.tallies import MOST_LISTED
from analyzer.readers.trace import ftrace_text
from analyzer.readers.unwrap import ByteStream, open_stream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
COLUMNS = ("op", "domain", "bus", "devfn", "offset", "width", "value")
FIELDS = (
    "(pci_conf1_read+0x90/0xa0 <- raw_pci_read+0x58/0x60) dom=0 bus=2 devfn=72 reg=144 len=2 val=0x20 ret=0"
)
ROW = ("read", 0, 2, 72, 144, 2, 0x20)


def read(text: str | bytes, **options) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("x")
    data = text.encode() if isinstance(text, str) else text
    with ByteStream("x", io.BytesIO(data)) as stream:
        frames = list(ftrace_text.read(stream, notes, Options(**options)))
    table = pl.concat([accesses.empty(), *frames])
    assert table.schema == accesses.READER_SCHEMA
    return table, notes


def line(event: str, said: str, pid: int = 1, time: str = "1.183587") -> str:
    return f"            init-{pid}     [000]     {time}: {event}: {said}\n"


# What the real programs print


@pytest.mark.parametrize(
    ("name", "count", "dropped", "printed"),
    [
        ("ftrace-trace-cmd-report.txt", 74, 0, 2),
        ("ftrace-trace_pipe.txt", 148, 0, 4),
        ("ftrace-tracefs-tgid.txt", 19, 0, 1),
        ("ftrace-tracefs-overrun.txt.zst", 752, 4048, 0),
        ("ftrace-perf-script.txt", 18, 0, 0),
        ("ftrace-kvm-host.txt.zst", 746, 0, 0),
        ("tracefs-trace-rescan.txt.zst", 13_199, 0, 0),
        ("ftrace-arm64-ecam.txt.zst", 270, 0, 0),
    ],
)
def test_real_texts(name, count, dropped, printed):
    capture = open_capture(str(FORMATS / name))
    table = capture.accesses
    assert (capture.format, table.height, capture.notes.dropped) == ("ftrace-text", count, dropped)
    assert table.filter(pl.col("width") == 0).height == printed  # what QEMU would have printed
    assert table["where"].is_sorted()
    assert table.select("time_ns", "cpu").null_count().row(0) == (0, 0)
    assert not capture.notes.truncated


def test_the_guest_s_own_probes_on_arm_see_what_its_hypervisor_saw():
    """Every access from the start of the recording on, in the same order, with the same values."""
    columns = ["op", "domain", "bus", "devfn", "offset", "value"]
    guest = open_capture(str(FORMATS / "ftrace-arm64-ecam.txt.zst")).accesses.select(columns)
    host = open_capture(str(FORMATS.parent / "arm64-recorded-in-the-guest.bin")).accesses.select(columns)
    assert host.slice(13_410, guest.height).rows() == guest.rows()
    assert guest.row(-1) == ("write", 0, 2, 0, 0xB8, 0)


@pytest.mark.parametrize(
    ("text", "binary"),
    [
        ("ftrace-trace-cmd-report.txt", "trace-dat-v7-cpus.dat"),
        ("ftrace-kvm-host.txt.zst", "trace-dat-kvm-host.dat"),
    ],
)
def test_the_report_of_a_recording_is_the_recording(text, binary):
    printed, recorded = (open_capture(str(FORMATS / name)).accesses for name in (text, binary))
    assert_frame_equal(printed.drop("where", "time_ns"), recorded.drop("where", "time_ns"))
    rounded = (recorded["time_ns"] + 500) // 1000 * 1000
    assert printed["time_ns"].to_list() == rounded.to_list()


# Every dialect


@pytest.mark.parametrize(
    ("text", "cpu", "time"),
    [
        ("            init-1     [000]     1.183587: cfg_read:             " + FIELDS, 0, 1_183_587_000),
        ("            init-1     [012]     1.183587123: cfg_read:  " + FIELDS, 12, 1_183_587_123),
        (" second:      kworker/u4:1-17    [001]     1.183587: cfg_read: " + FIELDS, 1, 1_183_587_000),
        ("     <...>-17    [001] d..1.     1.183587: cfg_read: " + FIELDS, 1, 1_183_587_000),
        ("     a b-c-17    ( 1234) [001] d..1.     1.183587: cfg_read: " + FIELDS, 1, 1_183_587_000),
        ("     a-17    (-------) [001] ....     1.183587: cfg_read: " + FIELDS, 1, 1_183_587_000),
        ("lspci  1201 [003]   123.456789:    pcicfg:cfg_read: " + FIELDS, 3, 123_456_789_000),
        ("          setpci-259   [002]137087462555: cfg_read: " + FIELDS, 2, None),
        ("            init-1     [000]     1.183587: cfg_read: " + FIELDS + "\r", 0, 1_183_587_000),
        # perf script: as wide as the longest event recorded; with the process, the period, the modifiers.
        ("lspci  1201 [003]   123.456789:" + 50 * " " + "pcicfg:cfg_read: " + FIELDS, 3, 123_456_789_000),
        ("CPU 0/KVM  1200/1201  [003]   123.456789: p:cfg_read: " + FIELDS, 3, 123_456_789_000),
        ("lspci  1201 [003]   123.456789:          1 pcicfg:cfg_read: " + FIELDS, 3, 123_456_789_000),
        ("lspci  1201 [003]   123.456789: pcicfg:cfg_read:H: " + FIELDS, 3, 123_456_789_000),
        ("lspci  1201 [003]   123.456789:    250000 pcicfg:cfg_read:ukH: " + FIELDS, 3, 123_456_789_000),
        # trace-cmd report --ts-diff.
        ("    init-1     [000]     1.183587: (+1299)  cfg_read:      " + FIELDS, 0, 1_183_587_000),
        ("    init-1     [000]     1.183587:          cfg_read:      " + FIELDS, 0, 1_183_587_000),
    ],
)
def test_dialects(text, cpu, time):
    table, notes = read("cpus=4\n# a comment\n\n" + text + "\n")
    assert table.select(COLUMNS).rows() == [ROW]
    assert table.select("cpu", "time_ns", "where").row(0) == (cpu, time, len("cpus=4\n# a comment\n\n"))
    assert (notes.problems, notes.foreign_lines) == ([], 0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "(f) seg=0x1 bus=0x2 devfn=0x48 pos=0x90 size=0x4 value=0xffffffff",
            (1, 2, 72, 144, 4, 0xFFFF_FFFF),
        ),
        ("(f) bus=2 devfn=72 where=144 val=-1", (0, 2, 72, 144, 0, 0xFFFF_FFFF)),
        (
            "(f) val=18446744073709551615 len=1 offset=144 devfn=72 bus=2 domain=65536",
            (65536, 2, 72, 144, 1, 255),
        ),
    ],
)
def test_names_and_numbers(said, expected):
    assert read(line("rd", said))[0].select(COLUMNS[1:]).rows() == [expected]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["rw=1 port=0xcf8 size=4 count=1 val=0x80001810", "rw=0 port=0xcfc size=4 count=1 val=0x11"], 0x11),
        # Numbers are decimal where libtraceevent takes a field as a plain integer.
        (["rw=1 port=3320 size=4 count=1 val=2147489808", "rw=0 port=3324 size=4 count=1 val=17"], 17),
    ],
)
def test_kvm_ports_field_by_field(lines, expected):
    other = line("kvm_pio", "rw=1 port=0x70 size=1 count=1 val=0x8f")
    table, notes = read(other + "".join(line("kvm_pio", said) for said in lines))
    assert table.select(COLUMNS).rows() == [("read", 0, 0, 0x18, 0x10, 4, expected)]
    assert notes.problems == []


def test_kvm_memory_field_by_field():
    at = 0xB000_0000 + (0x18 << 12 | 0x10)
    said = [
        f"type={kind} len=4 gpa={at:#x} val={value}" for kind, value in ((0, "0x0"), (1, "0x11"), (2, "0x7"))
    ]
    table, notes = read("".join(line("kvm_mmio", text) for text in said), ecam_base=0xB000_0000)
    assert table.select(COLUMNS).rows() == [
        ("read", 0, 0, 0x18, 0x10, 4, 0x11),
        ("write", 0, 0, 0x18, 0x10, 4, 7),
    ]
    assert notes.problems == []


def test_probes_field_by_field():
    entry = "__probe_ip=ffffffffa33cef30 " + FIELDS.partition(") ")[2].replace(" ret=0", "")
    returned = "__probe_func=ffffffffa33cef30 __probe_ret_ip=ffffffffa33cef40 " + FIELDS.partition(") ")[2]
    assert read(line("cfg", returned))[0].select(COLUMNS).rows() == [ROW]
    table, notes = read(line("rd", returned) + line("rd_entry", entry))
    assert (table.height, [p.kind for p in notes.problems]) == (1, ["foreign"])


def test_an_event_is_learned_from_a_later_line_if_its_first_is_cut():
    table, notes = read(line("cfg_read", "(pci_conf") + line("cfg_read", FIELDS))
    assert table.select(COLUMNS).rows() == [ROW]
    assert [(p.kind, notes.dropped) for p in notes.problems] == [("damaged", 1)]


def test_direction():
    entry = FIELDS.replace("<-", "").replace("ret=0", "")
    events = [("cfg_write", entry), ("pci_write_dword", entry), ("cfg", FIELDS), ("mmcfg_rd", FIELDS)]
    lines = "".join(line(name, said, pid) for pid, (name, said) in enumerate(events))
    assert read(lines)[0]["op"].to_list() == ["write", "write", "read", "read"]
    with pytest.raises(UnsupportedFormatError, match="'cfg' has the fields") as caught:
        read(line("cfg_write", entry) + line("cfg", entry))
    assert caught.value.offset == len(line("cfg_write", entry))
    assert read(line("cfg", entry), field_map={"write": "cfg"})[0]["op"].to_list() == ["write"]


def test_an_accessor_s_error_and_a_repeated_probe():
    failed = line("cfg_read", FIELDS.replace("ret=0", "ret=-22"))
    nested = line("conf1_read", FIELDS) + line("cfg_read", FIELDS)
    table, notes = read(failed + nested.replace("bus=2", "bus=3"))
    assert table.select("bus", "status").rows() == [(2, "abort"), (3, "ok")]
    assert [p.kind for p in notes.problems] == ["duplicate"]


def test_reads_at_the_entry_are_left_out_where_returns_were_recorded():
    entry = FIELDS.replace(" <- raw_pci_read+0x58/0x60", "").replace("val=0x20", "val=0x7")
    table, notes = read(line("rd_entry", entry) + line("rd", FIELDS))
    assert table["value"].to_list() == [0x20]
    assert "1 read is not used" in notes.problems[0].message
    assert read(line("rd_entry", entry))[0]["value"].to_list() == [7]


def test_lost_events():
    text = line("cfg_read", FIELDS) + "CPU:1 [LOST 12 EVENTS]\n" + line("cfg_read", FIELDS)
    text += "CPU:0 [1012 EVENTS DROPPED]\n" + line("cfg_read", FIELDS) + "CPU:2 [EVENTS DROPPED]\n"
    _, notes = read(text)
    assert notes.dropped == 12 + 1012 + 1
    assert [p.offset_bytes for p in notes.problems] == [
        text.index("CPU:1"),
        text.index("CPU:0"),
        text.index("CPU:2"),
    ]
    header = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/10   #P:4\n"
    assert read(header + line("cfg_read", FIELDS))[1].dropped == 8


def test_evidence():
    text = line("cfg_read", FIELDS) + line("pci_hp_event", "0000:00:03.0 slot:3, event:LINK_DOWN")
    text += line(
        "aer_event",
        "0000:02:00.0 PCIe Bus Error: severity=Fatal, Surprise Down Error, TLP Header=Not available",
    )
    _, notes = read(text)
    assert [(e.kind, e.seq, e.bdf) for e in notes.events] == [
        ("hotplug", 1, (0, 0, 0x18)),
        ("aer", 1, (0, 2, 0)),
    ]
    assert "(Link Down)" in notes.events[0].text


def test_damaged_and_foreign_lines():
    cut = line("cfg_read", FIELDS[: FIELDS.index("devfn")])
    text = (
        line("cfg_read", FIELDS)
        + cut
        + "something else\n"
        + line("sched_switch", "prev_comm=x")
        + "last line"
    )
    table, notes = read(text)
    assert table.height == 1
    assert (notes.dropped, notes.foreign_lines, notes.truncated) == (1, 1, True)
    assert [p.kind for p in notes.problems] == ["truncated", "damaged", "foreign"]
    assert notes.problems[-1].message == "events of other kinds are not used: sched_switch (1)"
    assert notes.problems[1].offset_bytes == len(line("cfg_read", FIELDS))


@pytest.mark.parametrize("number", ["0xffffffffffffffffff", "99999999999999999999999", "zz", ""])
def test_numbers_that_are_none(number):
    _, notes = read(line("cfg_read", FIELDS) + line("cfg_read", FIELDS.replace("val=0x20", f"val={number}")))
    assert (notes.dropped, [p.kind for p in notes.problems]) == (1, ["damaged"])


def test_kvm():
    text = line("kvm_pio", "pio_write at 0xcf8 size 4 count 1 val 0x80001810 ")
    text += line("kvm_pio", "pio_read at 0xcfc size 4 count 1 val 0x11 ")
    text += line("kvm_pio", "pio_read at 0xcfc size 4 count 2 val 0x11 (...)")
    text += line("kvm:kvm_mmio", "mmio unsatisfied-read len 4 gpa 0xb0000010 val 0x0")
    text += line("kvm_mmio", "mmio read len 4 gpa 0xb0000010 val 0x22")
    table, notes = read(text, ecam_base=0xB000_0000)
    assert table.select(COLUMNS).rows() == [("read", 0, 0, 24, 16, 4, 17), ("read", 0, 0, 0, 16, 4, 34)]
    assert (notes.dropped, [p.kind for p in notes.problems]) == (1, ["unsupported"])


@pytest.mark.parametrize("block", [200, 1000, 5000])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    data = (FORMATS / "ftrace-trace-cmd-report.txt").read_bytes()
    whole = read(data)
    monkeypatch.setattr(ftrace_text, "_BLOCK", block)
    parts = read(data)
    assert_frame_equal(parts[0], whole[0])
    assert parts[1] == whole[1]


def test_250_single_damaged_bytes_give_an_answer_or_a_reason():
    with open_stream(str(FORMATS / "ftrace-kvm-host.txt.zst")) as stream:
        host = stream.peek(1 << 24)[:60_000].rsplit(b"\n", 1)[0] + b"\n"
    for data in ((FORMATS / "ftrace-trace-cmd-report.txt").read_bytes(), host):
        generator = random.Random(5)  # noqa: S311 - repeatable, nothing secret
        for _ in range(125):
            damaged = bytearray(data)
            damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
            try:
                read(bytes(damaged))
            except AritraceError:
                continue


def test_of_very_many_marks_of_lost_events_the_first_are_listed():
    lost = "CPU:0 [LOST 2 EVENTS]\n"
    count = MOST_LISTED + 5
    _, notes = read((lost + line("cfg_read", FIELDS)) * count)
    told = [problem.message for problem in notes.problems if problem.kind == "dropped"]
    assert len(told) == MOST_LISTED + 1
    assert told[-1] == "5 more marks of lost events, not listed"
    assert notes.dropped == 2 * count
