"""Writing native files and Parquet: what goes in comes out, the same bytes each time, whole or not at all."""

import io
import json
import stat
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture import Boundary, Capture, Event, LogLine, Notes, PreservedDump, Problem, accesses
from analyzer.converting.native import CHUNK_ROWS, NativeWriter, write_capture
from analyzer.converting.native_records import access_records
from analyzer.converting.parquet import write_parquet
from analyzer.errors import LimitExceededError, UsageError
from analyzer.options import Options
from analyzer.readers.native import container as reader
from schemas.native import CHUNK_HEADER, FILE_HEADER

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
COLUMNS = {
    "time_ns": st.none() | I64,
    "domain": st.integers(0, 0xFFFFFFFF),
    "bus": st.integers(0, 0xFF),
    "devfn": st.integers(0, 0xFF),
    "offset": st.integers(0, 4095),
    "width": st.sampled_from([0, 1, 2, 4]),
    "op": st.sampled_from(["read", "write"]),
    "value": st.integers(0, 0xFFFFFFFF),
    "status": st.sampled_from(["ok", "unsupported", "retry", "abort", "unknown"]),
    "absent": st.booleans(),
    "cpu": st.none() | st.integers(0, 0xFFFF),
}
TABLES = st.lists(st.fixed_dictionaries(COLUMNS), max_size=20).map(
    lambda rows: pl.DataFrame(
        [row | {"where": 0} for row in rows], schema=accesses.READER_SCHEMA, orient="row", strict=False
    )
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLACE = st.integers(0, 25)
NOTES = st.builds(
    Notes,
    path=st.just("test.bin"),
    host=st.none() | TEXT.filter(bool),
    tool=st.none() | TEXT.filter(bool),
    truncated=st.booleans(),
    dropped=st.integers(0, 1 << 40),
    problems=st.lists(st.builds(Problem, TEXT, TEXT, st.none() | st.integers(0, 1 << 62), TEXT), max_size=3),
    boundaries=st.lists(
        st.builds(
            Boundary,
            PLACE,
            st.sampled_from(["boot", "kexec", "live-update", "plain", "crash"]),
            st.none() | TEXT.filter(bool),
        ),
        max_size=4,
    ),
    log=st.lists(st.builds(LogLine, TEXT, st.none() | PLACE, st.none() | I64), max_size=4),
    preserved=st.lists(
        st.builds(PreservedDump, st.binary(max_size=40), TEXT, st.none() | st.integers(0, 9)), max_size=3
    ),
    events=st.lists(
        st.builds(
            Event,
            TEXT,
            PLACE,
            st.none() | st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 255), st.integers(0, 255)),
            TEXT,
            st.none() | I64,
        ),
        max_size=3,
    ),
    clock=st.sampled_from([None, "monotonic", "realtime", "boot", "tai", "local"]),
    created_ns=st.none() | I64,
    releases=st.lists(TEXT, max_size=3),
    source_format=st.none() | TEXT.filter(bool),
)


def capture(table: pl.DataFrame, notes: Notes, step: int = 1) -> Capture:
    keyed = table.with_columns(
        pl.lit(0, pl.UInt32).alias("capture"),
        pl.lit(0, pl.UInt16).alias("file"),
        (pl.int_range(pl.len(), dtype=pl.UInt64) * step).alias("seq"),
    )
    return Capture(notes.path, [], "native", keyed.select(*accesses.SCHEMA), notes)


def read(data: bytes) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("test.bin")
    return pl.concat([accesses.empty(), *reader.read(io.BytesIO(data), notes, Options())]), notes


def repeated(rows: int) -> pl.DataFrame:
    """Accesses in which only the value tells them apart."""
    row = dict.fromkeys(accesses.READER_SCHEMA, 0) | {"op": "read", "status": "ok", "absent": False}
    one = pl.DataFrame([row], schema=accesses.READER_SCHEMA)
    return pl.concat([one] * rows).with_columns(value=pl.int_range(pl.len(), dtype=pl.UInt32))


@given(table=TABLES, level=st.sampled_from([0, 3]))
def test_any_access_table_comes_back(table: pl.DataFrame, level: int) -> None:
    stream = io.BytesIO()
    with NativeWriter(stream, level=level) as writer:
        writer.accesses(table)
    found, notes = read(stream.getvalue())
    assert found.drop("where").equals(table.drop("where"))
    assert not notes.problems


@settings(max_examples=60)
@given(table=TABLES, notes=NOTES)
def test_any_capture_comes_back_and_is_written_again_byte_by_byte(
    tmp_path_factory: pytest.TempPathFactory, table: pl.DataFrame, notes: Notes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    write_capture(capture(table, notes), path, level=1)
    data = path.read_bytes()
    found, again = read(data)
    assert found.drop("where").equals(table.drop("where"))
    for name in ("host", "tool", "truncated", "dropped", "problems", "preserved", "clock", "releases"):
        assert getattr(again, name) == getattr(notes, name), name
    assert again.created_ns == notes.created_ns
    end = table.height
    ordered = sorted(notes.boundaries, key=lambda mark: mark.seq)
    assert again.boundaries == [Boundary(min(m.seq, end), m.kind, m.release) for m in ordered]
    assert [(line.text, line.time_ns) for line in again.log] == [
        (line.text, line.time_ns) for line in notes.log
    ]
    assert [line.seq for line in again.log] == [None if n.seq is None else min(n.seq, end) for n in notes.log]
    assert again.events == [Event(e.kind, min(e.seq, end), e.bdf, e.text, e.time_ns) for e in notes.events]
    write_capture(capture(found, again), path, level=1)
    assert path.read_bytes() == data


def test_positions_follow_rows_where_a_capture_keeps_only_some_accesses(tmp_path: Path) -> None:
    notes = Notes("a", boundaries=[Boundary(30, "kexec"), Boundary(31, "boot")])
    write_capture(capture(repeated(5), notes, step=10), tmp_path / "a.bin")
    assert [mark.seq for mark in read((tmp_path / "a.bin").read_bytes())[1].boundaries] == [3, 4]


def test_a_converted_file_names_its_source_format(tmp_path: Path) -> None:
    source = capture(repeated(1), Notes("a"))
    source.format = "qemu-log"
    write_capture(source, tmp_path / "a.bin")
    assert read((tmp_path / "a.bin").read_bytes())[1].source_format == "qemu-log"


def test_large_tables_are_written_in_chunks_of_bounded_size() -> None:
    stream = io.BytesIO()
    rows = 2 * CHUNK_ROWS + 1
    with NativeWriter(stream) as writer:
        writer.accesses(repeated(rows))
    data = stream.getvalue()
    at, counts = FILE_HEADER.parse(data).header_size, []
    while at < len(data):
        header = CHUNK_HEADER.parse(data[at:])
        counts.append((header.type, header.count, header.first_access))
        at += CHUNK_HEADER.sizeof() + header.stored_length + -header.stored_length % 8
    assert counts == [(1, CHUNK_ROWS, 0), (1, CHUNK_ROWS, CHUNK_ROWS), (1, 1, rows - 1), (8, 1, rows)]
    assert read(data)[0]["value"].to_list() == list(range(rows))


def test_long_logs_are_written_in_several_chunks() -> None:
    stream = io.BytesIO()
    lines = [LogLine(f"{number} " + "x" * 1000, number) for number in range(1000)]
    with NativeWriter(stream, level=0) as writer:
        writer.log(*lines)
    assert [line.text for line in read(stream.getvalue())[1].log] == [line.text for line in lines]
    assert (
        CHUNK_HEADER.parse(stream.getvalue()[FILE_HEADER.parse(stream.getvalue()).header_size :]).count < 300
    )


class Recorder(io.RawIOBase):
    """A file of a machine that may die after any write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.writes.append(bytes(data))
        return len(data)


def test_each_chunk_is_one_write_so_that_every_state_on_disk_is_readable() -> None:
    recorder = Recorder()
    writer = NativeWriter(recorder)
    writer.accesses(repeated(3))
    writer.boundary(Boundary(3, "kexec"))
    heights = []
    for count in range(1, len(recorder.writes) + 1):
        found, notes = read(b"".join(recorder.writes[:count]))
        assert notes.truncated
        assert [problem.kind for problem in notes.problems] == ["truncated"]
        heights.append((found.height, len(notes.boundaries)))
    assert heights == [(0, 0), (3, 0), (3, 1)]


def test_leaving_by_an_exception_writes_no_trailer() -> None:
    recorder = Recorder()

    def record() -> None:
        with NativeWriter(recorder) as writer:
            writer.accesses(repeated(3))
            raise RuntimeError("the machine dies")

    with pytest.raises(RuntimeError, match="dies"):
        record()
    assert len(recorder.writes) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NativeWriter(io.BytesIO(), host="x" * 70000), "65535 bytes of host name"),
        (lambda: NativeWriter(io.BytesIO(), host="x" * 65000, tool="x" * 65000), "bytes of file header"),
        (lambda: NativeWriter(io.BytesIO(), releases=["6"] * 256), "255 kernel releases"),
        (lambda: NativeWriter(io.BytesIO()).event(Event("k" * 256, 0, None, "")), "255 bytes of event kind"),
        (lambda: NativeWriter(io.BytesIO()).preserved(PreservedDump(bytes(1 << 24))), "preserved record"),
        (lambda: NativeWriter(io.BytesIO()).log(LogLine("", 1 << 64)), "access of log"),
        (lambda: NativeWriter(io.BytesIO()).event(Event("aer", 0, (0, 256, 0), "")), "bus of events"),
    ],
)
def test_what_does_not_fit_is_refused(call: object, message: str) -> None:
    with pytest.raises(LimitExceededError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda writer: writer.boundary(Boundary(0, "reboot")), "found 'reboot'"),
        (lambda writer: writer.snapshot(0, 0, 0, b"123"), "whole dwords, found 3"),
        (lambda writer: writer.snapshot(0, 0, 0, bytes(4100)), "found 4100"),
        (lambda writer: writer.accesses(repeated(1).with_columns(width=pl.lit(3, pl.UInt8))), "widths"),
        (lambda writer: writer.accesses(repeated(1).with_columns(offset=pl.lit(4096, pl.UInt16))), "offsets"),
        (lambda writer: (writer.close(), writer.close()), "trailer is written"),
    ],
)
def test_wrong_calls_are_refused(call: object, message: str) -> None:
    writer = NativeWriter(io.BytesIO())
    with pytest.raises(ValueError, match=message):
        call(writer)


def test_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="found 'sundial'"):
        NativeWriter(io.BytesIO(), clock="sundial")


def test_access_records_of_an_empty_table() -> None:
    assert len(access_records(accesses.empty())) == 0


# Files appear whole or not at all


BROKEN = capture(repeated(1), Notes("a", boundaries=[Boundary(0, "no such kind")]))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="no such kind"):
        write_capture(BROKEN, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_capture(capture(repeated(1), Notes("a")), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read((tmp_path / "target").read_bytes())[0].height == 1


def test_what_is_no_regular_file_is_not_replaced() -> None:
    write_capture(capture(repeated(1), Notes("a")), "/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("write", [write_capture, write_parquet])
@pytest.mark.parametrize("place", ["missing/a.bin", "."])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, write: object, place: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write(capture(repeated(1), Notes("a")), tmp_path / place)
    assert list(tmp_path.iterdir()) == []


# Parquet


def test_parquet_holds_the_table_and_the_notes(tmp_path: Path) -> None:
    notes = Notes(
        "a",
        host="h",
        boundaries=[Boundary(1, "kexec", "6.1")],
        preserved=[PreservedDump(b"\1\2", "pci")],
        events=[Event("aer", 1, (0, 1, 2), "text")],
    )
    source = capture(repeated(3), notes)
    write_parquet(source, tmp_path / "a.parquet")
    found = pl.read_parquet(tmp_path / "a.parquet")
    assert found.schema == accesses.SCHEMA
    assert found.equals(source.accesses)
    about = json.loads(pl.read_parquet_metadata(tmp_path / "a.parquet")["aritrace"])
    assert (about["schema"], about["format"]) == (1, "native")
    assert about["notes"]["boundaries"] == [{"seq": 1, "kind": "kexec", "release": "6.1"}]
    assert about["notes"]["preserved"] == [{"data": "0102", "name": "pci", "kexec": None}]
    assert about["notes"]["events"][0]["bdf"] == [0, 1, 2]


def test_parquet_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet(capture(repeated(100), Notes("a")), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
