"""Accesses one by one: selected, named, decoded, with the bytes of their records in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.converting.native import write_capture
from analyzer.errors import EmptyInputError, UsageError
from analyzer.options import Options
from analyzer.questions.dump import (
    MOST_RECORDS,
    DumpRemarks,
    Selection,
    dump,
    kept_log,
    with_records,
)
from analyzer.questions.explain.function import explain
from analyzer.questions.register_names import parse_register
from analyzer.readers import open_capture
from analyzer.report.dump_report import lines
from analyzer.testing import TraceBuilder

TRACES = Path(__file__).parents[1] / "traces"
FORMATS = TRACES / "formats"
LOST = str(TRACES / "lost-explicit-write.bin")
PORT = 0x200

#: A root port whose PCI Express capability is at 0x40, and an endpoint whose list is not followed.
STORY = """
r 00:03.0 00.l 8086a048
r 00:03.0 0e.b 01
r 00:03.0 34.b 40
r 00:03.0 40.w 0010
r 01:00.0 00.l 1af41001
@1700000000000000001 w 00:03.0 68.w 0020
r 00:03.0 3e.w 0002
r 01:00.0 68.w 0020
r 02:00.0 00.l gone
r 00:03.0 18.l error
"""


@pytest.fixture
def story(tmp_path):
    path = str(tmp_path / "x.bin")
    write_capture(TraceBuilder(STORY).capture(), path)
    return path


def shown(path, **selection):
    if isinstance(selection.get("register"), str):
        selection["register"] = parse_register(selection["register"])
    return [
        (one.access, one.op, one.bdf, one.register, one.value) for one in dump(path, Selection(**selection))
    ]


def test_registers_are_named_as_far_as_the_capture_shows_the_lists(story):
    assert shown(story, first=5) == [
        (5, "write", "0000:00:03.0", "CAP_EXP+28.w", "0x0020"),
        (6, "read", "0000:00:03.0", "BRIDGE_CONTROL", "0x0002"),
        (7, "read", "0000:01:00.0", "68.w", "0x0020"),
        (8, "read", "0000:02:00.0", "VENDOR_ID.l", "0xffffffff"),
        (9, "read", "0000:00:03.0", "PRIMARY_BUS.l", "0xffffffff"),
    ]


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ({}, list(range(10))),
        ({"first": 3, "last": 4}, [3, 4]),
        ({"function": 0x18}, [0, 1, 2, 3, 5, 6, 9]),
        ({"function": 0x18, "limit": 2}, [0, 1]),
        ({"register": "CAP_EXP+28.w"}, [5]),
        ({"register": "cap_exp"}, [3, 5]),
        ({"register": "DevCtl2"}, [5]),
        ({"register": "68.w"}, [5, 7]),
        ({"register": "69"}, [5, 7]),
        ({"register": "0x3e.b"}, [6]),
        ({"register": "BRIDGE_CONTROL"}, [6]),
        ({"register": "SECONDARY_BUS"}, [9]),
        ({"register": "VENDOR_ID"}, [0, 4, 8]),
        ({"register": "ECAP_ARI+04.w"}, []),
    ],
)
def test_what_is_selected(story, selection, numbers):
    assert [one[0] for one in shown(story, **selection)] == numbers


def test_functions_whose_register_cannot_be_placed_are_named(story):
    remarks = DumpRemarks()
    list(dump(story, Selection(register=parse_register("CAP_EXP+28.w")), remarks=remarks))
    assert (remarks.shown, remarks.seen, remarks.unplaced) == (1, 10, {0x100})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CAP_MSI+4", "expected a register such as"),
        ("12345", "expected a register such as"),
        ("", "expected a register such as"),
        ("Cap", "expected a register such as"),
        ("ID", "is the name of several registers"),
    ],
)
def test_registers_that_there_are_not(text, message):
    with pytest.raises(UsageError, match=message):
        parse_register(text)


def test_an_access_beyond_the_end(story):
    with pytest.raises(UsageError, match="holds accesses 0 to 9, not 10"):
        list(dump(story, Selection(first=10, last=10)))


def test_lines(story):
    text = "".join(lines(dump(story, Selection(first=5))))
    assert [" ".join(line.split()[2:]) for line in text.splitlines()] == [
        "2023-11-14 22:13:20.000000 write 0000:00:03.0 CAP_EXP+28.w = 0x0020 ARIFwd+",
        "read 0000:00:03.0 BRIDGE_CONTROL = 0x0002 SERR+",
        "read 0000:01:00.0 68.w = 0x0020",
        "read 0000:02:00.0 VENDOR_ID.l = 0xffffffff no function answered",
        "read 0000:00:03.0 PRIMARY_BUS.l = 0xffffffff failed: abort",
    ]


def test_names_are_those_of_the_explanation():
    """Every register that the timeline of a real port shows has the same name and place here."""
    timeline = [entry for entry in explain(LOST, "02:00.0", Options()).timeline if entry.register]
    found = {one.access: one for one in dump(LOST, Selection(function=PORT))}
    assert len(timeline) > 5
    for entry in timeline:
        one = found[entry.access]
        assert (one.register, one.offset_bytes, one.value) == (
            entry.register,
            entry.offset_bytes,
            entry.value,
        )


FTRACE_LINE = (
    "          setpci-126     (    126) [000] d..1.    13.887776: wr: (pci_conf1_write+0x0/0xf0) dom=0 bus=0"
    " devfn=24 reg=60 len=1 val=0x0"
)
#: Record of access 5 in each format: how it begins (or the whole line), and how long it is.
RECORDS = {
    "qemu-log-dialect-c.log.zst": (
        "5760@1795328047.501935:pci_cfg_write mch 00:00.0 @0x90 <- 0x33333330",
        None,
    ),
    "qemu-simpletrace-v4.simple.zst": ("01 00 00 00 00 00 00 00 0c 0a", 79),
    "nettlp-tcpdump.pcap.zst": ("00 00 00 00 00 00 00 00 00 00 00 00 08 00 45 00", 64),
    "lspci-xxxx-vvv.txt.zst": ("10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", None),
    "sysfs-config.tar.zst": ("00 00 00 00", 4),
    "recorder-cut-by-kexec.bin.zst": ("00 00 00 00", 4),
    "ftrace-tracefs-tgid.txt": (FTRACE_LINE, None),
}


@pytest.mark.parametrize("name", RECORDS)
def test_the_bytes_of_a_record(name):
    begins, size = RECORDS[name]
    (one,) = with_records(str(FORMATS / name), Selection(first=5, last=5))
    assert one.line == (size is None)
    if size is None:
        assert one.record == begins
    else:
        assert one.record.startswith(begins)
        assert len(one.record.split()) == size


@pytest.mark.parametrize("level", [0, 19])
def test_the_record_of_a_compressed_chunk_is_that_of_the_raw_one(tmp_path, level):
    capture = open_capture(LOST)
    path = tmp_path / "x.bin"
    write_capture(capture, path, level=level)
    (one,) = with_records(str(path), Selection(first=15004, last=15004))
    assert one.record == "90 f8 e0 1c 5a 49 ea 18 00 00 00 00 00 00 00 00 b8 00 00 00 02 00 00 41"
    if level == 0:
        place = one.offset_bytes
        assert path.read_bytes()[place : place + 24].hex(" ") == one.record


def test_bytes_that_cannot_be_found_are_counted():
    remarks = DumpRemarks()
    path = str(FORMATS / "trace-dat-kprobes-kernel1.dat")
    (one,) = with_records(path, Selection(first=5, last=5), remarks=remarks)
    assert (one.record, remarks.without_record) == (None, 1)


def test_bytes_of_too_many():
    with pytest.raises(UsageError, match=f"at most {MOST_RECORDS:,} accesses"):
        with_records(LOST, Selection())
    assert len(with_records(LOST, Selection(limit=MOST_RECORDS))) == MOST_RECORDS


def test_what_follows_the_last_access_is_not_read(story, monkeypatch):
    """A generator that is not exhausted, and a limit, stop the reader."""
    del story
    read = []

    def batches(path, options=None, *, notes=None):
        del path, options, notes
        table = TraceBuilder(STORY).table()
        for number in range(100):
            read.append(number)
            yield table.with_columns(seq=table["seq"] + 10 * number)

    monkeypatch.setattr("analyzer.questions.dump.read_batches", batches)
    assert len(list(dump("x", Selection(last=25)))) == 26
    assert read == [0, 1, 2]
    assert len(list(dump("x", Selection(limit=12)))) == 12
    assert read == [0, 1, 2, 0, 1]


def test_the_log_of_a_capture():
    log = kept_log(LOST)
    assert len(log) == 112
    assert [line.text for line in log] == [line.text for line in open_capture(LOST).notes.log]
    with pytest.raises(EmptyInputError, match="expected a kernel log in this capture, found none"):
        kept_log(str(FORMATS / "qemu-log-dialect-b.log"))
