"""Kernel logs with pci=earlydump: the real one, its prefixes, several kernels in one console, damage."""

from __future__ import annotations

import polars as pl
import pytest
import snapshot_samples as samples
from polars.testing import assert_frame_equal

from analyzer.capture import Boundary
from analyzer.readers import open_capture
from analyzer.readers.snapshot import earlydump

VERSION = "Linux version 6.12.95 (x) #1 SMP"


def read(text):
    return samples.read(earlydump, text.encode() if isinstance(text, str) else text)


def dump(bus=1, fill=0x11, *, rows=16, time_s=1.0, prefix="[{:12.6f}] "):
    """The lines that one function's dump is."""
    lines = [f"pci 0000:{bus:02x}:00.0: config space:"]
    lines += [f"{row * 16:08x}: " + bytes([fill] * 16).hex(" ") for row in range(rows)]
    return "".join(prefix.format(time_s + n / 1000) + line + "\n" for n, line in enumerate(lines))


def kernel(*parts, start=0.0):
    return f"[{start:12.6f}] {VERSION}\n" + "".join(parts)


def test_the_real_log():
    data = samples.content(samples.EARLYDUMP)
    table, notes = read(data)
    assert samples.functions(table) == [
        (0, 0x00), (0, 0x18), (0, 0x20), (0, 0x21), (0, 0xF8), (0, 0xFA), (0, 0xFB),
        (1, 0), (2, 0), (2, 8), (3, 0), (4, 0), (5, 0), (5, 1), (6, 0), (7, 8),
    ]  # fmt: skip
    assert table.group_by("bus", "devfn").len()["len"].unique().to_list() == [64]
    assert samples.kinds(notes) == ["short"]
    assert len(notes.log) == len(data.splitlines())
    assert notes.log[0].text.startswith("[    0.000000] Linux version 6.12.95")
    assert notes.boundaries == []
    for value, offset, where in table.select("value", "offset", "where")[::53].rows():
        row = data[where : data.index(b"\r\n", where)].decode().split("] ")[1]
        assert int(row[:8], 16) == offset & ~0xF
        assert bytes.fromhex(row[10:])[offset & 0xF :][:4] == value.to_bytes(4, "little")


def test_it_shows_the_machine_that_lspci_shows_later():
    table, _ = read(samples.content(samples.EARLYDUMP))
    later = open_capture(str(samples.FORMATS / samples.LSPCI)).accesses
    same = table.join(later, on=["bus", "devfn", "offset"], suffix="_later")
    assert same.height == table.height
    changed = same.filter(pl.col("value") != pl.col("value_later"))["offset"].unique().sort().to_list()
    # Command, status, windows, MSI: what the kernel programs afterwards. Never an identity or a capability.
    assert 0x00 not in changed
    assert 0x08 not in changed
    assert 0x04 in changed


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[{:12.6f}] ",
        "<6>[{:12.6f}] ",
        "[{:12.6f}][    T1] ",
        "Nov 22 09:06:17 host kernel: ",
        "Nov 22 09:06:17 host kernel: [{:12.6f}] ",
        "2026-11-22T09:06:17.123456+00:00 host kernel: ",
        "[Sun Nov 22 09:06:17 2026] ",
        "kern  :info  : [{:12.6f}] ",
    ],
)
def test_prefixes(prefix):
    table, notes = read(dump(prefix=prefix))
    assert table.height == 64
    assert table["value"].unique().to_list() == [0x11111111]
    assert notes.dropped == 0


@pytest.mark.parametrize("name", ["pci", "pci-epf"])
def test_domains_and_line_ends(name):
    text = dump().replace("pci 0000:", f"{name} 10000:").replace("\n", "\r\n")
    table, _ = read(text)
    assert table["domain"].unique().to_list() == [0x10000]


def test_other_messages_between_the_rows():
    lines = dump().splitlines(keepends=True)
    noise = ["[    1.005] clocksource: tsc\n", "[    1.006] 00000010: ff ff not a row\n", "garbage: ff\n"]
    table, notes = read("".join(line + noise[n % 3] for n, line in enumerate(lines)))
    assert (table.height, notes.dropped) == (64, 0)


def test_another_hex_dump_is_not_taken_for_rows():
    foreign = "".join(f"[ 2.0] {n * 16:08x}: {bytes([0xEE] * 16).hex(' ')}\n" for n in range(16))
    table, _ = read(foreign + dump() + foreign)
    assert table["value"].unique().to_list() == [0x11111111]


def test_rows_of_two_callers_are_kept_apart():
    one, two = (
        dump(bus, bus, prefix=f"[{{:12.6f}}][   T{bus}] ").splitlines(keepends=True) for bus in (1, 2)
    )
    mixed = "".join(a + b for a, b in zip(one, two, strict=True))
    table, _ = read(mixed)
    assert table.select("bus", "value").unique(maintain_order=True).rows() == [
        (1, 0x01010101),
        (2, 0x02020202),
    ]


def test_missing_rows_are_not_read_and_told():
    lines = dump().splitlines(keepends=True)
    del lines[3:5]
    table, notes = read("".join(lines) + dump(2))
    assert table.filter(pl.col("bus") == 1)["offset"].to_list() == [
        *range(0, 0x20, 4),
        *range(0x40, 0x100, 4),
    ]
    assert (notes.dropped, notes.missing_dwords) == (0, 8)
    assert "missing in 1 dump; the first is 0000:01:00.0 at line 1" in notes.problems[0].message


def test_a_log_that_ends_within_a_dump():
    table, notes = read(dump(rows=3))
    assert table.height == 12
    assert (notes.dropped, notes.missing_dwords) == (0, 52)
    assert samples.kinds(notes) == ["damaged", "lacks-functions", "short"]


def test_a_second_kernel_by_kexec_begins_with_a_boundary():
    end = "[    9.000000] kexec_core: Starting new kernel\n"
    table, notes = read(kernel(dump(1), dump(2), end) + kernel(dump(1, 0x22)))
    assert table["bus"].unique(maintain_order=True).to_list() == [1, 2]
    assert table.height == 192
    assert notes.boundaries == [Boundary(128, "kexec", "6.12.95")]


def test_a_second_kernel_through_firmware():
    end = "[    9.000000] reboot: Restarting system\nSeaBIOS (version 1.16.2)\n"
    _, notes = read(kernel(dump(1), end) + kernel(dump(1, 0x22)))
    assert [mark.kind for mark in notes.boundaries] == ["boot"]


def test_a_second_kernel_of_unknown_origin_is_told():
    text = kernel(dump(1)) + f"[    0.000000] {VERSION} other\n" + dump(1, 0x22, time_s=3)
    _, notes = read(text)
    assert notes.boundaries == []
    assert any("--kexec-at access:64" in problem.message for problem in notes.problems)


def test_a_log_printed_again_is_read_once():
    log = kernel(dump(1), dump(2))
    table, notes = read(log + "# dmesg\n" + log)
    assert table.height == 128
    assert notes.boundaries == []


def test_a_rescan_is_read_again():
    table, notes = read(kernel(dump(1), dump(1, 0x33, time_s=60)))
    assert table.height == 128
    assert "repeated" not in samples.kinds(notes)


def test_the_limit_of_a_log(monkeypatch):
    monkeypatch.setattr(earlydump, "MAX_LINES", 30)
    table, notes = read(dump(1) + dump(2))
    assert (table["bus"].unique().to_list(), notes.truncated, len(notes.log)) == ([1, 2], True, 30)
    assert "too-large" in samples.kinds(notes)


@pytest.mark.parametrize("block", [1, 50, 4096])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    data = samples.content(samples.EARLYDUMP)[:25_000]
    whole = read(data)
    monkeypatch.setattr(earlydump, "_BLOCK", block)
    table, notes = read(data)
    assert_frame_equal(table, whole[0])
    assert notes == whole[1]


@pytest.mark.parametrize("block", [1 << 20, 1 << 22])  # the larger one lets the longest lines through
@pytest.mark.parametrize(("start", "piece"), [
    ("", "config space:\n"), ("", "00000000: 11\n"), ("", "pci 0000:00:00.0: config space:\n"), ("", " "),
    # Lines that are searched: for a device, for a row.
    ("pci 0000:00:00.0: config space:", " "), ("", "pci 0000:00:00.0: config space:"), ("00000000: 11", " "),
    ("", "00000000: 11 "), (": ", "00 "), (": ", "0"),
])  # fmt: skip
def test_no_text_is_slow(start, piece, block, monkeypatch):
    """A line, or as many lines, of 3 MB; work that grows with the square of that takes more than an hour."""
    monkeypatch.setattr(earlydump, "_BLOCK", block)
    read("pci 0000:00:00.0: config space:\n" + start + piece * (3_000_000 // len(piece)) + "x\n")


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (kernel(dump(1), dump(2)), False),
        (kernel(dump(1), dump(2, rows=9)), True),
        (kernel(dump(1), dump(2, rows=9))[:-20], True),
        (kernel(dump(1), dump(2, rows=0)), True),
        (kernel(dump(1, rows=9), dump(2)), False),  # its rows are lost, what comes after it is there
        (kernel(dump(1), dump(2, rows=9), "[    3.000000] a line\n" * 2), False),
    ],
)
def test_a_log_that_ends_within_a_dump_may_lack_others(text, lacking):
    _, notes = read(text)
    assert notes.may_lack_functions is lacking
