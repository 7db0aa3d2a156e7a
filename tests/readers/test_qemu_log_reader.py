"""Text of QEMU's log backend: dialects, both schemas, foreign and damaged lines."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.capture import Notes, accesses
from analyzer.errors import UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers.qemu import log as qemu_log
from analyzer.readers.qemu.log_lines import parse
from analyzer.readers.text_blocks import MAX_LINE
from analyzer.readers.unwrap import ByteStream, open_stream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
GOOD = b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36\n"

#: The grammar as one expression, for an independent reading of the same lines.
REFERENCE = re.compile(
    r"(?:(?P<tid>\d+)@(?P<s>\d+)\.(?P<us>\d{6}):"
    r"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<frac>\d{1,6}))?Z )?"
    r"pci_cfg_(?P<op>read|write) (?P<dev>.+?)"
    r" (?P<bus>[0-9a-f]{2}):(?P<slot>[0-9a-f]{2})\.(?P<fn>[0-7])"
    r" @0x(?P<off>[0-9a-f]+) (?:->|<-) 0x(?P<val>[0-9a-f]+)"
)


def read(data: bytes, *, block: int | None = None, monkeypatch=None) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("x")
    if block is not None:
        monkeypatch.setattr(qemu_log, "_BLOCK", block)
    frames = list(qemu_log.read(ByteStream("x", io.BytesIO(data)), notes, Options()))
    return pl.concat(frames) if frames else accesses.empty(), notes


def reference_rows(text: str) -> list[tuple]:
    rows, at = [], 0
    for line in text.splitlines(keepends=True):
        if found := REFERENCE.fullmatch(line.rstrip("\n")):
            time = None
            if found["tid"]:
                time = int(found["s"]) * 10**9 + int(found["us"]) * 1000
            elif found["iso"]:
                seconds = int(datetime.fromisoformat(found["iso"]).replace(tzinfo=UTC).timestamp())
                time = seconds * 10**9 + int((found["frac"] or "").ljust(9, "0"))
            bus, slot, offset, value = (int(found[name], 16) for name in ("bus", "slot", "off", "val"))
            devfn = slot << 3 | int(found["fn"])
            rows.append((time, bus, devfn, offset, found["op"], value, found["dev"] == "empty", at))
        at += len(line)
    return rows


def rows_of(frame: pl.DataFrame) -> list[tuple]:
    return frame.select(
        "time_ns", "bus", "devfn", "offset", pl.col("op").cast(pl.String), "value", "absent", "where"
    ).rows()


@pytest.mark.parametrize(
    ("name", "accesses_in_it", "foreign"),
    [
        ("qemu-log-dialect-b.log", 120, 2),
        ("qemu-log-dialect-c.log.zst", 27_586, 0),
        ("qemu-log-dialect-c-same-run.log.zst", 28_364, 0),
        ("qemu-log-dialect-d.log", 120, 0),
    ],
)
def test_samples_equal_an_independent_reading(name, accesses_in_it, foreign):
    with open_stream(str(FORMATS / name)) as stream:
        text = stream.peek(1 << 24)
        frame, notes = read(text)
    assert rows_of(frame) == reference_rows(text.decode())
    assert frame.schema == accesses.READER_SCHEMA
    assert (frame.height, notes.foreign_lines) == (accesses_in_it, foreign)
    assert (notes.truncated, notes.dropped) == (False, 0)
    assert notes.clock == (None if "dialect-b" in name else "realtime")


READ_7 = "pci_cfg_read igb 01:00.0 @0x4 -> 0x7"
ROW_7 = (1, 0, 4, "read", 7, False)


@pytest.mark.parametrize(
    ("line", "time_ns", "row"),
    [
        ("pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36", None, (3, 0, 0, "read", 0x101B36, False)),
        (
            "31@1595480025.712490:pci_cfg_write igb ff:1f.7 @0xfff <- 0xffffffff",
            1595480025712490000,
            (255, 255, 4095, "write", 0xFFFFFFFF, False),
        ),
        ("pci_cfg_read igb 01:02.0 @0x170 -> 0x1", None, (1, 0x10, 0x170, "read", 1, False)),
        ("pci_cfg_read empty fe:1f.3 @0x0 -> 0xffffffff", None, (254, 0xFB, 0, "read", 0xFFFFFFFF, True)),
        ("pci_cfg_read empty-slot fe:1f.3 @0x0 -> 0x0", None, (254, 0xFB, 0, "read", 0, False)),
        ("pci_cfg_read a name with spaces 00:01.0 @0x0 -> 0x0", None, (0, 8, 0, "read", 0, False)),
        ("1@0.000001:" + READ_7, 1000, ROW_7),
        ("2025-07-24T14:12:21.123456Z " + READ_7, 1753366341123456000, ROW_7),
        ("2025-07-24T14:12:21.5Z " + READ_7, 1753366341500000000, ROW_7),
        ("2024-02-29T00:00:00Z " + READ_7, 1709164800000000000, ROW_7),
        ("Nov  5 12:00:01 host qemu[77]: " + READ_7, None, ROW_7),
        ("Nov  5 12:00:01 host qemu[77]: 31@1.000002:" + READ_7, 1000002000, ROW_7),
        ("qemu[77]: 1970-01-01T00:00:01Z " + READ_7, 1000000000, ROW_7),
        ("2025-13-24T14:12:21Z " + READ_7, None, ROW_7),
        ("2025-07-24T14:12:21.1234567Z " + READ_7, 1753366341123456700, ROW_7),
        ("2025-07-24T14:12:21.123456789Z " + READ_7, 1753366341123456789, ROW_7),  # docker logs -t
        ("2025-07-24T14:12:21.1234567890Z " + READ_7, None, ROW_7),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_line(line, time_ns, row, end):
    frame, notes = read(b"a line before\n" + (line + end).encode())
    assert rows_of(frame) == [(time_ns, *row, 14)]
    status = "unsupported" if "empty " in line else "ok"
    assert frame.select("domain", "width", "status", "cpu").row(0) == (0, 0, status, None)
    assert (notes.foreign_lines, notes.dropped, notes.truncated) == (1, 0, False)


@pytest.mark.parametrize(
    ("address", "devfn"), [("18:0", 0x12 << 3), ("02:0", 0x10), ("31:7", 0xFF), ("09:1", 0x49)]
)
def test_schema_before_7_0_is_decimal_and_says_no_bus(address, devfn):
    lines = parse(f"1@2.000003:pci_cfg_write virtio-vga {address} @0x18 <- 0xe0800000\n".encode(), 100)
    assert (len(lines.events), len(lines.no_bus)) == (0, 1)
    found = lines.no_bus
    assert (found.devfn[0], found.offset[0], found.value[0]) == (devfn, 0x18, 0xE0800000)
    assert (found.time_ns[0], found.op[0], found.where[0]) == (2000003000, accesses.WRITE, 100)


@pytest.mark.parametrize("address", ["32:0", "1a:0", "2:0", "02:8", "002:0"])
def test_no_address_of_either_schema(address):
    lines = parse(f"pci_cfg_read virtio-vga {address} @0x18 -> 0x0\n".encode())
    assert (len(lines.events), len(lines.no_bus), len(lines.damaged)) == (0, 0, 1)


@pytest.mark.parametrize(
    "line",
    [
        b"pci_cfg_read ",
        b"pci_cfg_read pci_cfg_write 03:00.0 @0x0 -> 0x0",
        b"1@9223372036.000000:" + GOOD[:-1],
    ],
)
def test_a_line_that_begins_an_access_and_does_not_end_as_one_is_damaged(line):
    lines = parse(b"another line\n" + line + b"\n", 100)
    assert (len(lines.events), lines.damaged.tolist(), lines.foreign["where"].to_list()) == (0, [113], [100])


def test_only_lines_without_bus_are_refused():
    data = (FORMATS / "qemu-log-dialect-a-old-schema.log").read_bytes()
    with pytest.raises(UnsupportedFormatError, match=r"found 20 lines .* not say the bus number") as caught:
        read(data)
    assert "QEMU 7.0" in caught.value.advice


def test_lines_without_bus_in_a_mixed_file_are_left_out_and_taint_it():
    frame, notes = read(GOOD + b"pci_cfg_read nvme 00:0 @0x0 -> 0x101b36\n" * 2 + GOOD)
    assert frame.height == 2
    assert notes.dropped == 2
    assert [(p.kind, p.offset_bytes) for p in notes.problems] == [("no-bus", len(GOOD))]


@pytest.mark.parametrize(
    "line",
    [
        b"pci_cfg_read nvme 03:00.0 @0x1000 -> 0x0",  # beyond config space
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x100000000",  # beyond 32 bits
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x123456789abcdef01",
        b"pci_cfg_read nvme 03:20.0 @0x0 -> 0x0",  # slot beyond 5 bits
        b"pci_cfg_read nvme 03:00.8 @0x0 -> 0x0",
        b"pci_cfg_read nvme 103:00.0 @0x0 -> 0x0",
        b"pci_cfg_read nvme 03:00.0 @0x0 <- 0x0",  # arrow against the event
        b"pci_cfg_write nvme 03:00.0 @0x0 -> 0x0",
        b"pci_cfg_read 03:00.0 @0x0 -> 0x0",  # no device
        b"pci_cfg_read nvme 03:00.0 @0x -> 0x0",
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x",
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0X0",
        b"pci_cfg_read nvme 03:00.0 @0x0 ->",
        b"pci_cfg_read nvme 03:00",
        b"pci_cfg_rexd nvme 03:00.0 @0x0 -> 0x0",  # the name itself
        b"1795328033.832856:pci_cfg_read nvme 03:00.0 @0x0 -> 0x0",  # start of the line lost
        b"5695@1795328033.83285:pci_cfg_read nvme 03:00.0 @0x0 -> 0x0",
        b"x5695@1795328033.832856:pci_cfg_read nvme 03:00.0 @0x0 -> 0x0",
        b"xpci_cfg_read nvme 03:00.0 @0x0 -> 0x0",
        # Two writers in one line.
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x10pci_cfg_write mch 00:00.0 @0x0 <- 0x8086",
        b"5695@1795328033.8328565695@1795328033.832857:pci_cfg_read mch 00:00.0 @0x0 -> 0x8086",
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x80warning: x",
        b"pci_cfg_read nv\xff\xfe\0me 03:00.0 @0x0 -> \0",
        b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x1=",  # soft line break of a mail
    ],
)
def test_a_damaged_line_is_left_out_and_taints_the_capture(line):
    frame, notes = read(GOOD + line + b"\n" + GOOD)
    assert frame["where"].to_list() == [0, len(GOOD) + len(line) + 1]
    assert (notes.foreign_lines, notes.dropped) == (0, 1)  # once, as damaged
    assert [(p.kind, p.offset_bytes) for p in notes.problems] == [("damaged", len(GOOD))]


def test_lines_of_others_are_counted_and_other_events_named():
    data = (
        b"qemu: warning: nothing\n\n\r\n" + GOOD
        + b"1@1.000001:memory_region_ops_read cpu 0 mr 0x5 addr 0xb0000000 value 0x0 size 4\n" * 3
        + b"vfio_pci_read_config  (0000:81:00.1, @0x0, len=0x4) 0x15218086\n"
        + b"2025-07-24T14:12:21.1Z sriov_register_vfs igb 01:0: creating 2 vf devs\n"
        + b"[R +0.046] outl 0xcf8 0x80000000\n"
        + b"\xff\xfe\0\x80\n"
        + b"options: -trace pci_cfg_*\n"
    )  # fmt: skip
    frame, notes = read(data)
    assert frame.height == 1
    assert (notes.foreign_lines, notes.dropped) == (9, 0)
    assert [p.kind for p in notes.problems] == ["foreign"]
    message = notes.problems[0].message
    for part in ("memory_region_ops_read (3)", "vfio_pci_read_config (1)", "sriov_register_vfs (1)"):
        assert part in message


@pytest.mark.parametrize("keep", range(1, len(GOOD)))
def test_a_last_line_without_end_is_never_trusted(keep):
    frame, notes = read(GOOD + GOOD[:keep])
    assert frame.height == 1
    assert notes.truncated
    assert [(p.kind, p.offset_bytes) for p in notes.problems] == [("truncated", len(GOOD))]


@pytest.mark.parametrize("block", [1, 7, 43, 44, 100, 65_536])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    data = (GOOD + b"foreign\n" + b"1@1.000002:" + GOOD) * (1700 if block > 60_000 else 30)
    whole, notes = read(data)
    parts, part_notes = read(data, block=block, monkeypatch=monkeypatch)
    assert parts.equals(whole)
    assert part_notes == notes


@pytest.mark.parametrize("block", [1000, MAX_LINE, 10 * MAX_LINE])
@pytest.mark.parametrize("filler", [b"x", b"\0", b" pci_cfg_read "])
def test_overlong_lines_are_skipped(block, filler, monkeypatch):
    long_line = filler * (3 * MAX_LINE // len(filler)) + b"\n"
    frame, notes = read(GOOD + long_line + GOOD, block=block, monkeypatch=monkeypatch)
    assert frame["where"].to_list() == [0, len(GOOD) + len(long_line)]
    assert notes.foreign_lines == 1
    assert [(p.kind, p.offset_bytes) for p in notes.problems] == [("foreign", len(GOOD))]


def test_an_overlong_last_line_without_end(monkeypatch):
    frame, notes = read(GOOD + b"x" * 3 * MAX_LINE, block=1000, monkeypatch=monkeypatch)
    assert frame.height == 1
    assert notes.truncated


ACCESS = st.tuples(
    st.sampled_from(["A", "B", "D"]),
    st.integers(0, 4_000_000_000),
    st.integers(0, 999_999),
    st.booleans(),
    st.sampled_from(["empty", "igb", "pcie-root-port", "x", "VFIO user </tmp/a>"]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 4095),
    st.integers(0, 0xFFFFFFFF),
)


@settings(max_examples=200)
@given(st.lists(ACCESS, min_size=1, max_size=20))
def test_any_access_in_any_dialect_survives(rows):
    text, expected = "", []
    for dialect, seconds, micros, write, device, bus, devfn, offset, value in rows:
        if dialect == "A":
            head, time = f"77@{seconds}.{micros:06d}:", seconds * 10**9 + micros * 1000
        elif dialect == "D":
            fraction = f".{micros:06d}".rstrip("0").rstrip(".")
            head = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z "
            time = seconds * 10**9 + micros * 1000
        else:
            head, time = "", None
        op, arrow = ("write", "<-") if write else ("read", "->")
        start = len(text)
        text += f"{head}pci_cfg_{op} {device} {bus:02x}:{devfn >> 3:02x}.{devfn & 7:x}"
        text += f" @0x{offset:x} {arrow} 0x{value:x}\n"
        expected.append((time, bus, devfn, offset, op, value, device == "empty", start))
    frame, notes = read(text.encode())
    assert rows_of(frame) == expected
    assert notes.problems == []


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 120))
def test_any_bytes_do_no_harm(noise, cut, at):
    base = b"1@1.000002:" + GOOD + GOOD
    data = b"\n" + base[:at] + noise + base[at + cut :] + b"\n"  # in front: no magic of a compression
    frame, _ = read(data + GOOD)
    assert frame["where"][-1] == len(data)
