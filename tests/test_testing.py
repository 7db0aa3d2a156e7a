"""Captures written by hand: analyzer.testing, from lines of text and from calls."""

from __future__ import annotations

import doctest

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from stories import BELOW_PORT, port, tell

from analyzer import analyze_capture, bdf, open_capture, testing
from analyzer.capture import Boundary, LogLine, accesses
from analyzer.converting.native import write_capture
from analyzer.errors import UsageError
from analyzer.options import Options
from analyzer.testing import TraceBuilder, table

TEXT = """
# nothing but a comment

@9000000 r 00:03.0 68.w 0020  # ARI Forwarding is on
log Linux version 7.3.4 #1 SMP
boundary kexec 7.3.4
w 0001:01:00.0 118.? 20
r ff:1f.7 fff.b gone
boundary boot
r 00:00.0 0.l error
"""


def by_calls() -> TraceBuilder:
    trace = TraceBuilder()
    trace.read("00:03.0", 0x68, 2, 0x20, time_ns=9_000_000)
    trace.log("Linux version 7.3.4 #1 SMP")
    trace.boundary("kexec", "7.3.4")
    trace.write("0001:01:00.0", 0x118, 0, 0x20)
    trace.read("ff:1f.7", 0xFFF, 1, "gone")
    trace.boundary("boot")
    trace.read("00:00.0", 0, 4, "error")
    return trace


def test_text_and_calls_give_the_same() -> None:
    one, other = TraceBuilder(TEXT).capture(), by_calls().capture()
    assert_frame_equal(one.accesses, other.accesses)
    assert one.notes == other.notes
    assert one.notes.boundaries == [Boundary(1, "kexec", "7.3.4"), Boundary(3, "boot")]
    assert one.notes.log == [LogLine("Linux version 7.3.4 #1 SMP", 1)]


def test_the_table_holds_what_was_written() -> None:
    frame = table(TEXT)
    assert dict(frame.schema) == accesses.SCHEMA
    columns = (
        "seq",
        "time_ns",
        "domain",
        "bus",
        "devfn",
        "offset",
        "width",
        "op",
        "value",
        "status",
        "absent",
    )
    assert frame.select(columns).rows() == [
        (0, 9_000_000, 0, 0, 0x18, 0x68, 2, "read", 0x20, "ok", False),
        (1, None, 1, 1, 0, 0x118, 0, "write", 0x20, "ok", False),
        (2, None, 0, 0xFF, 0xFF, 0xFFF, 1, "read", 0xFF, "unsupported", True),
        (3, None, 0, 0, 0, 0, 4, "read", 0xFFFFFFFF, "abort", False),
    ]
    assert frame["where"].to_list() == [0, 16, 32, 48]


def test_nothing_is_an_empty_table() -> None:
    assert dict(table("").schema) == accesses.SCHEMA
    assert TraceBuilder().capture().recorded == 0


def test_the_processor_is_that_of_the_call() -> None:
    trace = TraceBuilder()
    trace.write("00:03.0", 0x68, 2, 0, cpu=3)
    assert trace.table()["cpu"].to_list() == [3]


def test_what_was_taken_stays_when_more_is_added() -> None:
    trace = TraceBuilder("boundary kexec\nr 00:03.0 68.w 0020", path="mine")
    capture = trace.capture()
    trace.lines("log more\nboundary plain\nw 00:03.0 68.w 0")
    assert (capture.path, capture.accesses.height, len(capture.notes.boundaries)) == ("mine", 1, 1)
    assert capture.notes.log == []
    assert trace.table().height == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x 00:03.0 8.w 0", "line 1: expected r, w, boundary or log with its words, found 'x 00:03.0 8.w 0'"),
        ("\nr 00:03.0 68.w", "line 2: expected r, w, boundary or log with its words, found 'r 00:03.0 68.w'"),
        ("@5", "line 1: expected r, w, boundary or log with its words, found '@5'"),
        ("boundary", "line 1: expected r, w, boundary or log with its words, found 'boundary'"),
        (
            "boundary soon",
            "line 1: expected one of boot, kexec, live-update, plain, crash as boundary, found 'soon'",
        ),
        ("@now r 00:03.0 68.w 0", "line 1: expected a number as time in ns, found 'now'"),
        ("@9223372036854775808 r 00:03.0 68.w 0",
         "line 1: expected a time in ns of 0 to 0x7fffffffffffffff, found 0x8000000000000000"),
        ("r 00:03.8 68.w 0020", "line 1: expected a function address [dddd:]bb:dd.f, found '00:03.8'"),
        ("r 00:03.0 68.x 0020", "line 1: expected a register such as 68.w (b, w, l or ?), found '68.x'"),
        ("r 00:03.0 68 0020", "line 1: expected a register such as 68.w (b, w, l or ?), found '68'"),
        ("r 00:03.0 zz.w 0020", "line 1: expected a number as offset, found 'zz'"),
        ("r 00:03.0 1000.w 0020", "line 1: expected an offset of 0 to 0xfff, found 0x1000"),
        ("r 00:03.0 68.w on", "line 1: expected a number as value, found 'on'"),
        ("r 00:03.0 68.w 10000", "line 1: expected a value of 0 to 0xffff, found 0x10000"),
        ("r 00:03.0 68.w -1", "line 1: expected a value of 0 to 0xffff, found -0x1"),
        ("w 00:03.0 68.w gone", "line 1: expected a value that a write can have, found 'gone'"),
    ],
)  # fmt: skip
def test_a_line_that_no_recorder_writes_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        table(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("width", "cpu", "message"),
    [
        (3, None, "expected a width of 1, 2 or 4 bytes (0: not recorded), found 3"),
        (2, -1, "expected a CPU number of 0 to 0xffff, found -0x1"),
    ],
)
def test_a_call_is_checked_like_a_line(width: int, cpu: int | None, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        TraceBuilder().read("00:03.0", 0x68, width, 0, cpu=cpu)
    assert str(refused.value) == message


def test_a_boundary_at_the_end_is_written_and_read(tmp_path) -> None:
    trace = by_calls()
    trace.boundary("crash")
    capture = trace.capture()
    write_capture(capture, tmp_path / "built.bin")
    again = open_capture(str(tmp_path / "built.bin"))
    assert again.notes.boundaries == [
        Boundary(1, "kexec", "7.3.4"),
        Boundary(3, "boot"),
        Boundary(4, "crash"),
    ]
    assert_frame_equal(again.accesses.drop("where"), capture.accesses.drop("where"))
    assert analyze_capture(capture, Options()).accesses == 4


def test_a_kexec_written_by_calls_is_judged_like_the_recorded_one() -> None:
    """Each access of a simulated kexec, written again by calls, gives the same results."""
    story = tell(
        port(),
        preserve=BELOW_PORT,
        blackout=lambda machine: machine.clear("0000:00:01.0", "CAP_EXP+28.w", 0x20),
    )
    assert story.verdict("0000:00:01.0").startswith("lost")
    recorded = story.recording.capture()
    trace = TraceBuilder(path=recorded.path)
    for row in recorded.accesses.with_columns(pl.col("op").cast(pl.String)).iter_rows(named=True):
        function = bdf.text(bdf.key(row["domain"], row["bus"], row["devfn"]))
        add = trace.read if row["op"] == "read" else trace.write
        add(function, row["offset"], row["width"], row["value"], time_ns=row["time_ns"])
    (kexec,) = analyze_capture(trace.capture(), Options(preserved=",".join(BELOW_PORT))).kexecs
    assert (kexec.devices, kexec.policies, kexec.observed) == (
        story.kexec.devices,
        story.kexec.policies,
        story.kexec.observed,
    )
    assert [(bridge.verdict, bridge.cause, bridge.stranded) for bridge in kexec.bridges] == [
        (bridge.verdict, bridge.cause, bridge.stranded) for bridge in story.kexec.bridges
    ]


def test_the_example_of_the_module_runs() -> None:
    assert doctest.testmod(testing) == (0, 4)
