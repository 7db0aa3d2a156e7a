"""memory_region_ops_* and vfio_pci_* lines beside pci_cfg_*: one access each, with its width."""

from __future__ import annotations

import io
import re
from pathlib import Path

import polars as pl
import pytest

from analyzer.capture import Notes, accesses
from analyzer.errors import EmptyInputError
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.readers.qemu import log as qemu_log
from analyzer.readers.unwrap import ByteStream, open_stream

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
COLUMNS = ("op", "bus", "devfn", "offset", "width", "value", "absent")


def read(text: str | bytes, ecam_base: int | None = None) -> tuple[pl.DataFrame, Notes]:
    notes = Notes("x")
    data = text.encode() if isinstance(text, str) else text
    with ByteStream("x", io.BytesIO(data)) as stream:
        frames = list(qemu_log.read(stream, notes, Options(ecam_base=ecam_base)))
    table = pl.concat([accesses.empty(), *frames])
    assert table.schema == accesses.READER_SCHEMA
    return table, notes


def rows(text: str, **options) -> list[tuple]:
    return read(text, **options)[0].select(COLUMNS).rows()


def region(op: str, address: int, value: int, size: int, name: str, cpu: int = 0) -> str:
    touched = f"memory_region_ops_{op} cpu {cpu} mr 0x55 addr 0x{address:x} value 0x{value:x}"
    return f"{touched} size {size} name '{name}'\n"


def port(op: str, address: int, value: int, size: int = 4, cpu: int = 0) -> str:
    return region(op, address, value, size, "pci-conf-idx" if address == 0xCF8 else "pci-conf-data", cpu)


def ecam(op: str, address: int, value: int, size: int = 4) -> str:
    return region(op, address, value, size, "pcie-mmcfg-mmio")


def cfg(op: str, bdf: str, offset: int, value: int, name: str = "igb") -> str:
    return f"pci_cfg_{op} {name} {bdf} @0x{offset:x} {'->' if op == 'read' else '<-'} 0x{value:x}\n"


VFIO_READ = "vfio_pci_read_config  (0000:81:00.1, @0x{:x}, len=0x{:x}) 0x{:x}\n"
VFIO_WRITE = "vfio_pci_write_config  (0000:81:00.1, @0x{:x}, 0x{:x}, len=0x{:x})\n"


# Real logs


def slow_accesses(text: str) -> list[tuple]:
    """Go through a log line by line: every line of a region is one access, pci_cfg_* says it again."""
    found, latch, base = [], 0, None
    touched = re.compile(r"ops_(read|write) cpu \d mr \S+ addr 0x(\w+) value 0x(\w+) size (\d) name '(\S+)'$")
    for line in text.splitlines():
        if match := touched.search(line):
            op, region_name = match[1], match[5]
            address, size = int(match[2], 16), int(match[4])
            value = int(match[3], 16) & (1 << 8 * size) - 1
            if region_name == "pci-conf-idx" and op == "write":
                latch = value
            elif region_name == "pci-conf-data":
                register = latch & 0xFC | address & 3
                if latch & 0xFFFFFC == 0x60 and op == "write" and value & 1:
                    base = value & ~1
                found.append((op, latch >> 16 & 0xFF, latch >> 8 & 0xFF, register, size, value))
            elif region_name == "pcie-mmcfg-mmio":
                inside = address if address < 1 << 28 else address - base
                found.append((op, inside >> 20, inside >> 12 & 0xFF, inside & 0xFFF, size, value))
    return found


@pytest.mark.parametrize(
    ("name", "count", "named", "absent", "unclear"),
    [
        ("qemu-log-memory-regions.log.zst", 746, 437, 309, 0),
        ("qemu-log-ecam-alias.log.zst", 392, 355, 36, 1),
    ],
)
def test_real_logs(name, count, named, absent, unclear):
    with open_stream(str(FORMATS / name)) as stream:
        text = stream.peek(1 << 24)
    table, notes = read(text)
    assert table.select(COLUMNS[:-1]).rows() == slow_accesses(text.decode())
    assert text.count(b"pci_cfg_") == named
    assert (table.height, notes.dropped) == (count, 0)
    assert table["absent"].sum() == absent
    assert table.filter(pl.col("status") == "unknown").height == unclear
    # What nobody answered read as all ones, or was written to nobody.
    silent = table.filter((pl.col("absent") | (pl.col("status") == "unknown")) & (pl.col("op") == "read"))
    ones = pl.col("width").replace_strict({1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF}, return_dtype=pl.UInt32)
    assert silent.filter(pl.col("value") != ones).height == 0
    assert (
        silent.height + table.filter(pl.col("absent") & (pl.col("op") == "write")).height == absent + unclear
    )
    assert table["where"].is_sorted()
    assert all("memory_region_ops_read (" in p.message for p in notes.problems)


@pytest.mark.parametrize("block", [200, 1000, 4096])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    with open_stream(str(FORMATS / "qemu-log-memory-regions.log.zst")) as stream:
        text = stream.peek(1 << 24)
    text = text[text.index(b"pci-conf-idx") - 200 :][:100_000].split(b"\n", 1)[1]
    text = text[: text.rindex(b"\n") + 1]
    whole = read(text)
    monkeypatch.setattr(qemu_log, "_BLOCK", block)
    parts = read(text)
    assert parts[0].equals(whole[0])
    assert parts[1] == whole[1]


# By hand


def test_one_access_is_one_row():
    text = (
        port("write", 0xCF8, 0x8000_1800) + cfg("read", "00:03.0", 0, 0x81B36) + port("read", 0xCFC, 0x81B36)
    )
    text += (
        port("write", 0xCF8, 0x8000_1804) + port("write", 0xCFE, 0x10, 2) + cfg("write", "00:03.0", 6, 0x10)
    )
    assert rows(text) == [
        ("read", 0, 0x18, 0, 4, 0x81B36, False),
        ("write", 0, 0x18, 6, 2, 0x10, False),
    ]


def test_absent_functions_and_registers_beyond_conventional_space():
    text = cfg("read", "00:00.0", 0, 0x81B36) + ecam("read", 0, 0x81B36)
    text += (
        ecam("read", 5 << 20, 0xFFFF_FFFF)
        + ecam("read", 0x100, 0xFFFF_FFFF)
        + ecam("write", 5 << 20 | 4, 7, 2)
    )
    table, _ = read(text)
    assert table.select("bus", "offset", "width", "status", "absent").rows() == [
        (0, 0, 4, "ok", False),
        (5, 0, 4, "unsupported", True),
        (0, 0x100, 4, "unknown", False),
        (5, 4, 2, "unsupported", True),
    ]


def test_without_pci_cfg_lines_all_ones_stay_data():
    assert rows(ecam("read", 5 << 20, 0xFFFF_FFFF)) == [("read", 5, 0, 0, 4, 0xFFFF_FFFF, False)]


def test_an_absent_function_that_newer_qemu_names():
    text = cfg("read", "05:00.0", 0, 0xFFFF_FFFF, "empty") + ecam("read", 5 << 20, 0xFFFF_FFFF)
    assert rows(text) == [("read", 5, 0, 0, 4, 0xFFFF_FFFF, True)]


def test_lines_of_another_access_do_not_give_their_width():
    text = (
        cfg("read", "00:03.0", 0, 5)
        + ecam("read", 4, 5)
        + cfg("write", "00:03.0", 4, 6)
        + ecam("write", 4, 6, 2)
    )
    table, _ = read(text)
    assert table["width"].to_list() == [0, 4, 0, 2]
    # Another value, another direction.
    assert [row[4] for row in rows(cfg("read", "00:00.0", 4, 5) + ecam("read", 4, 6))] == [0, 4]
    assert [row[4] for row in rows(cfg("read", "00:00.0", 4, 5) + ecam("write", 4, 5))] == [0, 4]


def test_vfio_gives_the_width():
    text = VFIO_READ.format(0, 4, 0x10C98086) + cfg("read", "01:00.0", 0, 0x10C98086)
    text += cfg("write", "01:00.0", 4, 6) + VFIO_WRITE.format(4, 6, 2)
    text += VFIO_READ.format(8, 1, 1) + cfg("read", "01:00.0", 8, 1) + ecam("read", 1 << 20 | 8, 1, 2)
    table, notes = read(text)
    # Where the guest's access is there too, it is the one that counts: QEMU may split it.
    assert table["width"].to_list() == [4, 2, 2]
    assert notes.problems == []


def test_vfio_without_the_guest_s_address_is_named():
    _, notes = read(VFIO_READ.format(0, 4, 5) + cfg("read", "01:00.0", 4, 5) + VFIO_WRITE.format(4, 6, 2))
    assert notes.foreign_lines == 2
    assert "vfio_pci_read_config (1), vfio_pci_write_config (1)" in notes.problems[0].message


@pytest.mark.parametrize("ecam_base", [None, 0xB000_0000])
def test_a_log_that_starts_behind_the_firmware(ecam_base):
    # The window is told by the user, or by a pci_cfg_* line beside an access to it.
    text = ecam("read", 0xB010_0000, 0xFFFF_FFFF)
    text += cfg("read", "02:00.0", 4, 7) + ecam("read", 0xB020_0004, 7)
    assert rows(text, ecam_base=ecam_base) == [
        ("read", 1, 0, 0, 4, 0xFFFF_FFFF, True),
        ("read", 2, 0, 4, 4, 7, False),
    ]


def test_what_cannot_be_decoded_is_told():
    table, notes = read(port("read", 0xCFC, 5) + ecam("read", 0xB010_0000, 6))
    assert (table.height, notes.dropped) == (0, 2)
    assert [p.kind for p in notes.problems] == ["dropped", "dropped"]
    assert "0xcf8" in notes.problems[0].message
    assert "--ecam-base" in notes.problems[1].message


def test_latches_are_per_cpu():
    text = port("write", 0xCF8, 0x8001_0000, cpu=0) + port("write", 0xCF8, 0x8002_0000, cpu=1)
    text += port("read", 0xCFC, 1, cpu=0) + port("read", 0xCFC, 2, cpu=1)
    assert [row[1] for row in rows(text)] == [1, 2]


def test_torn_lines_are_damage():
    line = ecam("read", 4, 5)
    _, notes = read(line.replace("size 4", "siz") + cfg("read", "01:00.0", 4, 5))
    assert (notes.dropped, [p.kind for p in notes.problems]) == (1, ["damaged"])


@pytest.mark.parametrize(
    ("prefix", "time"),
    [
        ("", None),
        ("30522@1795338594.778864:", 1_795_338_594_778_864_000),
        ("2025-07-24T14:12:21.1234Z ", 1_753_366_341_123_400_000),
        ("2025-07-24T14:12:21Z ", 1_753_366_341_000_000_000),
        ("Nov  5 12:00:01 host qemu[77]: 5@1795338594.000001:", 1_795_338_594_000_001_000),
    ],
)
def test_times(prefix, time):
    table, notes = read(prefix + ecam("read", 4, 5))
    assert table["time_ns"].to_list() == [time]
    assert notes.clock == (None if time is None else "realtime")


# QEMU before 7.0, whose pci_cfg_* lines do not say the bus


def before_7_0(log: str, *, named: bool) -> str:
    """A log as an older QEMU would have written it."""
    log = re.sub(r"(pci_cfg_\w+ \S+) \w\w:(\w\w)\.(\d) ", lambda m: f"{m[1]} {int(m[2], 16):02}:{m[3]} ", log)
    return log if named else re.sub(r" name 'pci-conf-(?:idx|data)'", "", log)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("block", [5000, 4 << 20])
def test_the_bus_of_old_lines_is_that_of_the_region(named, block, monkeypatch):
    monkeypatch.setattr(qemu_log, "_BLOCK", block)
    with open_stream(str(FORMATS / "qemu-log-memory-regions.log.zst")) as stream:
        new = stream.read(200_000).decode()
    new = new[: new.rindex("\n") + 1]
    table, notes = read(before_7_0(new, named=named))
    expected, its_notes = read(new)
    columns = [*COLUMNS, "time_ns", "status"]
    assert table.select(columns).rows() == expected.select(columns).rows()
    assert table.height > 200
    assert (notes.dropped, notes.problems) == (0, its_notes.problems)


def test_an_old_line_without_its_region_is_left_out():
    latch = port("write", 0xCF8, 0x80010000)
    read_it = "pci_cfg_read nvme 00:0 @0x0 -> 0x101b36\n" + port("read", 0xCFC, 0x101B36)
    table, notes = read(latch + read_it + "pci_cfg_read nvme 00:0 @0x4 -> 0x7\n")
    assert table.select(COLUMNS).rows() == [("read", 1, 0, 0, 4, 0x101B36, False)]
    assert [(problem.kind, notes.dropped) for problem in notes.problems] == [("no-bus", 1)]
    assert "-trace 'memory_region_ops_*'" in notes.problems[0].message
    # The region's line is of another register.
    _, notes = read(latch + read_it.replace("@0x0", "@0x4"))
    assert [problem.kind for problem in notes.problems] == ["no-bus"]


def test_a_port_that_is_not_the_address_register():
    unnamed = "memory_region_ops_write cpu 0 mr 0x55 addr 0xcf8 value 0x80 size 1\n"
    table, notes = read(cfg("read", "00:00.0", 0, 5) + unnamed + cfg("read", "00:00.0", 4, 5))
    assert (table["offset"].to_list(), notes.dropped) == ([0, 4], 0)


# What a refusal says


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "pci_cfg_read nvme 03 gave 0x1\n" * 3,
            "3 lines with pci_cfg_* events are in no known form; the first: 'pci_cfg_read nvme 03 gave 0x1'",
        ),
        (
            VFIO_READ.format(0, 2, 0x8086) * 3 + VFIO_WRITE.format(4, 7, 2),
            (
                "3 vfio_pci_read_config and 1 vfio_pci_write_config of host device 0000:81:00.1: the host's"
                " side of an assigned device, in which no bridge shows"
            ),
        ),
        (
            "1@1700000000.000001:pcie_cap_slot_write_config x\n" * 2,
            "trace events of other kinds are not used: pcie_cap_slot_write_config (2)",
        ),
    ],
)
def test_a_log_without_accesses_is_refused_with_what_is_in_it(text, said, tmp_path):
    path = tmp_path / "qemu.log"
    path.write_text("1@1700000000.000001:dma_map_wait x\n" + text)
    with pytest.raises(EmptyInputError) as caught:
        open_capture(str(path))
    assert caught.value.message == f"expected config accesses, found none in this QEMU log; {said}"
    assert "-trace 'pci_cfg_*'" in caught.value.advice
