"""Plain kernel logs as pieces of --join: the reads that they prove, and what they say that they lack."""

from __future__ import annotations

import pytest
from small_dumps import FIRST, PORT
from small_logs import BEGIN, FIRMWARE, KEXEC, log

from analyzer.capture import Boundary
from analyzer.errors import EmptyInputError, UnsupportedFormatError
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.readers.snapshot import scan_log

JOIN = Options(join=True)
BUS_0 = 0


@pytest.fixture
def read(tmp_path):
    def opened(text, options=JOIN):
        path = tmp_path / "dmesg"
        path.write_text(text)
        return open_capture(str(path), options)

    return opened


def reads(capture):
    table = capture.accesses.select("bus", "devfn", "offset", "width", "value")
    return [row for row in table.rows() if row[:2] == (0, 0x18)]


def test_the_reads_of_a_bridge(read):
    assert reads(read(log())) == [
        (0, 0x18, 0x00, 4, 0xA0488086),
        (0, 0x18, 0x09, 1, 0x00),
        (0, 0x18, 0x0A, 1, 0x04),
        (0, 0x18, 0x0B, 1, 0x06),
        (0, 0x18, 0x0E, 1, 0x01),
        (0, 0x18, 0x18, 1, 0x00),
        (0, 0x18, 0x19, 1, 0x01),
        (0, 0x18, 0x1A, 1, 0x01),
    ]


@pytest.mark.parametrize("timed", [True, False])
def test_functions_and_what_the_log_says_of_the_scan(read, timed):
    capture = read(log(timed=timed))
    (scan,) = capture.notes.scans
    assert capture.accesses.select("bus", "devfn").unique(maintain_order=True).rows() == [
        (0, 0x18),
        (1, 0),
        (1, 8),
    ]
    assert (scan.first, scan.end) == (0, capture.accesses.height)
    assert scan.roots == {BUS_0}
    assert scan.port_types == {0x18: 4, 0x100: 0, 0x108: 0}
    assert scan.missing == ()
    assert not scan.after_firmware
    assert not capture.notes.whole
    assert [problem.kind for problem in capture.notes.problems] == ["enumeration-only"]


@pytest.mark.parametrize(
    ("port", "numbers"),
    [
        (("PCI bridge to [bus 01-04]",), [(0, 1, 4)]),
        (
            ("PCI bridge to [bus 00]", "bridge configuration invalid ([bus 00-00]), reconfiguring"),
            [(0, 0, 0)],
        ),
        (
            (
                "PCI bridge to [bus 00]",
                "bridge configuration invalid ([bus 00-00]), reconfiguring",
                "PCI bridge to [bus 02]",
            ),
            [(0, 0, 0), (0, 2, 2)],
        ),
        # Only the primary number can be wrong here, and no message shows that one.
        (("bridge configuration invalid ([bus 02-04]), reconfiguring",), []),
    ],
)
def test_bus_numbers(read, port, numbers):
    found = [row[4] for row in reads(read(log(port=port))) if 0x18 <= row[2] <= 0x1A]
    assert found == [number for triple in numbers for number in triple]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            log(begin=False),
            ["the beginning of the scan (no 'PCI host bridge to bus' line before 0000:00:03.0"],
        ),
        (log(end=False), ["the end of the scan (no 'pci_bus 0000:00: resource' line after it)"]),
        (log(end=False)[:-20], ["the end of the scan"]),
        (
            log(before=("** 12 printk messages dropped **",)),
            ["messages that were lost (line 3 counts them)"],
        ),
        (
            log().replace("pci 0000:01:01.0: [1af4:1001] type 00", "pci 0000:01:01.0: [1af4:10"),
            ["the '[vvvv:dddd] type' line of 0000:01:01.0, which line 8 names"],
        ),
        (
            "".join(line for line in log().splitlines(True) if "01:01.0: [" not in line),
            ["the '[vvvv:dddd] type' line of 0000:01:01.0, which line 8 names"],
        ),
        (
            log().replace("00:03.0: [", "40:03.0: [").replace(BEGIN, "PCI host bridge to bus 0000:40"),
            ["", "", ""],
        ),
    ],
)
def test_what_is_missing(read, text, said):
    (scan,) = read(text).notes.scans
    assert [one[: len(part)] for one, part in zip(scan.missing, said, strict=True)] == said


def test_functions_found_after_the_scan_are_not_of_it(read):
    later = "pci 0000:01:01.0: [1af4:1001] type 00 class 0x020000 PCIe Endpoint"
    capture = read(log(PORT, FIRST, more=(later,)))
    (scan,) = capture.notes.scans
    assert scan.later == {0x108: 10}
    assert 8 not in capture.accesses["devfn"].to_list()


def test_a_dump_of_the_log_in_the_console_changes_nothing(read):
    once, twice = read(log()), read(log() + log())
    assert twice.accesses.equals(once.accesses)
    assert [scan.missing for scan in twice.notes.scans] == [()]


def test_an_unknown_header_type_is_no_function(read):
    broken = "pci 0000:01:01.0: [1af4:1001] type 7f class 0xffffff"
    text = log(PORT, FIRST, port=("PCI bridge to [bus 01]",)).replace(
        "pci 0000:00:03.0: PCI bridge to [bus 01]\n", f"{broken}\n", 1
    )
    capture = read(text)
    assert capture.notes.scans[0].unknown_headers == {0x108: 5}
    assert 8 not in capture.accesses["devfn"].to_list()


@pytest.mark.parametrize(
    ("between", "boundary"),
    [(KEXEC, "kexec"), ("reboot: Restarting system", "boot"), (FIRMWARE, "boot"), (None, "boot")],
)
def test_several_kernels(read, between, boundary):
    second = log(PORT, FIRST, release="6.12.2")
    capture = read(log() + (f"{between}\n" if between else "") + second)
    first, then = capture.notes.scans
    assert (first.first, first.end, then.first) == (0, 18, 18)
    assert first.lines[1] == then.lines[0]
    assert capture.notes.boundaries == [Boundary(18, boundary, "6.12.2")]
    assert ("no-boundary" in [one.kind for one in capture.notes.problems]) == (between is None)


def test_firmware_first(read):
    assert read(f"{FIRMWARE}\n{log()}").notes.scans[0].after_firmware


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        (
            log(),
            Options(),
            "expected config accesses, found a kernel log of 11 lines, of which 3 list a function",
        ),
        ("[    1.000000] something\n", JOIN, "found a kernel log of 1 line, of which 0 list a function"),
    ],
)
def test_refused_with_counts(read, text, options, found):
    with pytest.raises(UnsupportedFormatError) as refused:
        read(text, options)
    assert found in str(refused.value)
    assert refused.value.advice


def test_nothing_but_unknown_headers(read):
    with pytest.raises(EmptyInputError):
        read("[    1.000000] pci 0000:01:01.0: [1af4:1001] type 7f class 0xffffff\n")


def test_lines_that_are_too_long_are_counted(read, monkeypatch):
    monkeypatch.setattr(scan_log, "_BLOCK", 4096)
    capture = read(f"{'x' * 100_000}\n{log()}")
    assert [(one.kind, one.message, one.offset_bytes) for one in capture.notes.problems][:1] == [
        ("foreign", "1 line of more than 65,536 bytes is left out", 0)
    ]
    assert capture.accesses.height == read(log()).accesses.height
