"""lspci's hex dump: the real one amid -vvv, every form of it, damage, and lspci's own opinion."""

from __future__ import annotations

import subprocess

import polars as pl
import pytest
import snapshot_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from analyzer.readers import open_capture, text_blocks
from analyzer.readers.snapshot import lspci_dump
from analyzer.readers.snapshot.lspci_dump import UNKNOWN_REMARK

DEVICE = "0000:03:00.0 Non-Volatile memory controller\n"
ROW = "00: 36 1b 10 00 07 04 10 00 02 02 08 01 00 00 00 00\n"


def read(text):
    return samples.read(lspci_dump, text.encode() if isinstance(text, str) else text)


def bytes_of(table, devfn=0):
    rows = table.filter(pl.col("devfn") == devfn).select("offset", "width", "value").rows()
    return {offset + n: value >> 8 * n & 0xFF for offset, width, value in rows for n in range(width)}


def test_the_real_dump_holds_what_sysfs_does():
    table, notes = read(samples.content(samples.LSPCI))
    assert samples.functions(table) == samples.FUNCTIONS
    assert (notes.problems, notes.truncated, notes.dropped) == ([], False, 0)
    for name, data in samples.config_files().items():
        bus, devfn = int(name[5:7], 16), int(name[8:10], 16) << 3 | int(name[11])
        own = table.filter((pl.col("bus") == bus) & (pl.col("devfn") == devfn))
        assert own["value"].to_numpy().tobytes() == data
        assert own["offset"].to_list() == list(range(0, len(data), 4))
    assert table.select(pl.col("op", "status").cast(pl.String).unique()).row(0) == ("read", "ok")
    assert table["time_ns"].null_count() == table.height


def test_a_row_is_found_at_its_place():
    data = samples.content(samples.LSPCI)
    table, _ = read(data)
    for bus, offset, value, where in table.select("bus", "offset", "value", "where")[::97].rows():
        line = data[where : data.index(b"\n", where)].decode()
        row = int(line.split(":")[0], 16)
        assert row == offset & ~0xF, bus
        assert bytes.fromhex(line.split(": ")[1])[offset - row :][:4] == value.to_bytes(4, "little")


def test_short_dumps_say_what_they_lack():
    _, notes = read(samples.content(samples.LSPCI_SHORT))
    (problem,) = notes.problems
    assert problem.kind == "short"
    assert "lspci -D -xxxx as root" in problem.message


@pytest.mark.parametrize(
    ("text", "domain", "bus", "devfn"),
    [
        ("03:00.1 x\n", 0, 3, 1),
        ("0000:10:1f.7 x\n", 0, 0x10, 0xFF),
        ("10000:e1:00.0 x\n", 0x10000, 0xE1, 0),
        ("123456:03:02.0 x\n", 0x123456, 3, 0x10),
        ("ABCD:FF:0A.0 x\n", 0xABCD, 0xFF, 0x50),
    ],
)
def test_device_lines(text, domain, bus, devfn):
    table, _ = read(text + ROW)
    assert table.select("domain", "bus", "devfn").row(0) == (domain, bus, devfn)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [1, 3, 4, 16, 32])
def test_rows_of_any_length(end, width):
    data = bytes(range(64))
    rows = [f"{n:x}".rjust(2, "0") + ": " + data[n : n + width].hex(" ") for n in range(0, 64, width)]
    table, _ = read(end.join([DEVICE.strip(), "\tLatency: 0", *rows, "", ""]))
    assert bytes_of(table) == dict(enumerate(data))


@pytest.mark.parametrize(
    "remark",
    [
        "\tRegion 0: Memory at fe800000 (64-bit, non-prefetchable) [size=16K]",
        "lspci: Unable to load libkmod resources: error -2",
        "\t\t00: 11 22",
        "00:00 11 22",
        "00:11 22",
        "pcilib: sysfs_read_vpd: read failed: No such device",
    ],
)
def test_remarks_change_nothing(remark):
    table, notes = read(f"{remark}\n{DEVICE}{remark}\n{ROW}{remark}\n10: 01 02 03 04\n\n")
    assert_frame_equal(
        samples.registers(table), samples.registers(read(DEVICE + ROW + "10: 01 02 03 04\n")[0])
    )
    assert "damaged" not in samples.kinds(notes)


def test_an_empty_line_ends_the_device():
    table, _ = read(DEVICE + ROW + "\n10: 01 02 03 04\n")
    assert table.height == 4


def test_what_the_dump_does_not_know_is_not_read():
    text = DEVICE + f"{UNKNOWN_REMARK} 4-5 8\n{UNKNOWN_REMARK} c-fff\n" + ROW
    table, _ = read(text)
    assert bytes_of(table) == {0: 0x36, 1: 0x1B, 2: 0x10, 3: 0, 6: 0x10, 7: 0, 9: 2, 10: 8, 11: 1}


@pytest.mark.parametrize(
    ("ranges", "unknown"),
    [("10-1e", range(0x10, 0x1F)), ("1f", [0x1F]), ("12-13 1a", [0x12, 0x13, 0x1A]), ("20-2f", [])],
)
def test_ranges_of_unknown_bytes_are_hex_and_include_their_last(ranges, unknown):
    table, _ = read(f"{DEVICE}{UNKNOWN_REMARK} {ranges}\n{ROW}10:{' 11' * 16}\n")
    assert sorted(set(range(32)) - bytes_of(table).keys()) == list(unknown)


def test_a_remark_of_unknown_bytes_before_the_first_device_is_of_none():
    table, _ = read(f"{UNKNOWN_REMARK} 0-fff\n{DEVICE}{ROW}")
    assert table.height == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10: 01 02 0g 04", "something else than bytes"),
        ("10: 01 02 3 04", "something else than bytes"),
        ("ff8: 01 02 03 04 05 06 07 08 09", "beyond the 4096 bytes"),
        ("10000: 01", "beyond the 4096 bytes"),
        ("0000:03:20.0 x", "address does not exist"),
        ("0000:03:00.8 x", "address does not exist"),
    ],
)
def test_damage_is_told_and_taints_the_snapshot(line, message):
    table, notes = read(f"{DEVICE}{ROW}{line}\n")
    assert table.height == 4
    assert (notes.dropped, notes.missing_dwords) == (0, 4)
    (problem,) = [problem for problem in notes.problems if problem.kind == "damaged"]
    assert message in problem.message
    assert problem.offset_bytes == len(DEVICE + ROW)


def test_rows_behind_a_damaged_device_line_are_nobodys():
    table, _ = read(DEVICE + ROW + "0000:03:20.0 x\n" + ROW)
    assert samples.functions(table) == [(3, 0)]


def test_a_function_shown_twice():
    table, notes = read((DEVICE + ROW + "\n") * 2)
    assert table.height == 8
    (problem,) = [problem for problem in notes.problems if problem.kind == "repeated"]
    assert "--join" in problem.message
    assert problem.offset_bytes == len(DEVICE + ROW + "\n" + DEVICE)


def test_a_register_shown_twice_has_its_last_value():
    table, notes = read(DEVICE + ROW + "00: 11 22 33 44\n")
    assert bytes_of(table)[0] == 0x11
    assert "damaged" in samples.kinds(notes)


def test_devices_without_bytes_are_counted():
    _, notes = read(DEVICE + "\n" + DEVICE.replace("00.0", "01.0") + ROW)
    assert any("1 function is named without" in problem.message for problem in notes.problems)


def test_a_last_row_without_its_end_counts_if_it_is_whole():
    assert read(DEVICE + ROW.strip())[0].height == 4
    table, notes = read(DEVICE + ROW + "10: 01 02 03 0")
    assert (table.height, notes.truncated) == (4, True)


def rows(size, header_type="00"):
    first = f"00: 36 1b 10 00 07 04 10 00 02 02 08 01 00 00 {header_type} 00\n"
    return first + "".join(f"{at:02x}: {'00 ' * 15}00\n" for at in range(16, size, 16))


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (DEVICE + rows(256) + "\n", False),
        (DEVICE + rows(256), False),  # the empty line may be lost with the end of a mail
        (DEVICE + rows(64) + "\n" + DEVICE.replace("3", "4") + rows(64), False),
        (DEVICE + rows(128, "02"), False),  # a CardBus bridge
        (DEVICE + rows(128), True),
        (DEVICE + rows(80), True),
        (DEVICE + rows(256)[:-3], True),
        (DEVICE + rows(256) + "\n" + DEVICE.replace("3", "4") + rows(64), True),
        (DEVICE + rows(80) + "\n", False),  # rows are missing, the next device would be there
    ],
)
def test_a_dump_that_ends_within_a_device_may_lack_others(text, lacking):
    _, notes = read(text)
    assert notes.may_lack_functions is lacking
    assert any("ends within a device" in problem.message for problem in notes.problems) is lacking


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 16])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    data = samples.content(samples.LSPCI)[:20_000]
    whole = read(data)
    monkeypatch.setattr(lspci_dump, "_BLOCK", block)
    table, notes = read(data)
    assert_frame_equal(table, whole[0])
    assert notes == whole[1]


def test_very_long_lines_are_skipped(monkeypatch):
    monkeypatch.setattr(text_blocks, "MAX_LINE", 1000)
    monkeypatch.setattr(lspci_dump, "_BLOCK", 700)
    table, _ = read(DEVICE + "\t" + "x" * 10_000 + "\n" + ROW)
    assert table.height == 4


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("piece", ["00: ", "00:00.0 ", "\n", "00: 00", "\t", " ", UNKNOWN_REMARK, "0" * 9])
def test_no_text_is_slow(piece, end, monkeypatch):
    """A line, or as many lines, of 3 MB; work that grows with the square of that takes more than an hour."""
    text = DEVICE + piece * (3_000_000 // len(piece)) + end
    if end:  # the whole line is looked at
        monkeypatch.setattr(lspci_dump, "_BLOCK", len(text))
    read(text)


@settings(max_examples=50)
@given(st.binary(max_size=400))
def test_no_bytes_are_too_strange(data):
    read(DEVICE.encode() + data + b"\n" + ROW.encode())


@pytest.mark.system
def test_lspci_reads_the_same_bytes(tmp_path):
    """What ``lspci -F`` makes of a dump, it prints again: both prints must read alike."""
    (tmp_path / "dump").write_bytes(samples.content(samples.LSPCI))
    again = subprocess.run(
        ["lspci", "-D", "-xxxx", "-vvv", "-F", str(tmp_path / "dump")], check=True, capture_output=True
    )
    (tmp_path / "again").write_bytes(again.stdout)
    first, second = (open_capture(str(tmp_path / name)) for name in ("dump", "again"))
    assert second.format == "lspci-dump"
    assert_frame_equal(samples.registers(first.accesses), samples.registers(second.accesses))
