"""Plain kernel logs as pieces of --join: the reads that they prove, and what they say that they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from small_dumps import FIRST, PORT
from small_logs import BEGIN, FIRMWARE, KEXEC, log

from analyzer.capture import Boundary
from analyzer.errors import EmptyInputError, LimitExceededError, UnsupportedFormatError
from analyzer.kernel_logs import kernel_log
from analyzer.options import Options
from analyzer.readers import open_capture
from analyzer.readers.snapshot import scan_log

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal, Protocol

    from analyzer.capture import Capture

    class Reader(Protocol):
        """Reads a text as a piece of ``--join``."""

        def __call__(self, text: str, options: Options = ...) -> Capture: ...


JOIN = Options(join=True)
BUS_0 = 0
ONLY_ENUMERATION = (
    "this kernel log shows {} functions that a kernel enumerated, and bus numbers; whether ARI Forwarding was"
    " on is not in it"
)


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def opened(text: str, options: Options = JOIN) -> Capture:
        path = tmp_path / "dmesg"
        path.write_text(text)
        return open_capture(str(path), options)

    return opened


def reads(capture: Capture) -> list[tuple[int, ...]]:
    table = capture.accesses.select("bus", "devfn", "offset", "width", "value")
    return [row for row in table.rows() if row[:2] == (0, 0x18)]


def test_the_reads_of_a_bridge(read: Reader) -> None:
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
def test_functions_and_what_the_log_says_of_the_scan(read: Reader, timed: bool) -> None:
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
        (("bridge configuration invalid ([bus 05-03]), reconfiguring",), [(0, 5, 3)]),
        # Only the primary number can be wrong here, and no message shows that one.
        (("bridge configuration invalid ([bus 02-04]), reconfiguring",), []),
        (("bridge configuration invalid ([bus 02-02]), reconfiguring",), []),
    ],
)
def test_bus_numbers(read: Reader, port: tuple[str, ...], numbers: list[tuple[int, int, int]]) -> None:
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
def test_what_is_missing(read: Reader, text: str, said: list[str]) -> None:
    (scan,) = read(text).notes.scans
    assert [one[: len(part)] for one, part in zip(scan.missing, said, strict=True)] == said


def test_functions_found_after_the_scan_are_not_of_it(read: Reader) -> None:
    later = "pci 0000:01:01.0: [1af4:1001] type 00 class 0x020000 PCIe Endpoint"
    capture = read(log(PORT, FIRST, more=(later,)))
    (scan,) = capture.notes.scans
    assert scan.later == {0x108: 10}
    assert 8 not in capture.accesses["devfn"].to_list()


def test_a_dump_of_the_log_in_the_console_changes_nothing(read: Reader) -> None:
    once, twice = read(log()), read(log() + log())
    assert twice.accesses.equals(once.accesses)
    assert [scan.missing for scan in twice.notes.scans] == [()]


def test_an_unknown_header_type_is_no_function(read: Reader) -> None:
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
def test_several_kernels(read: Reader, between: str | None, boundary: Literal["kexec", "boot"]) -> None:
    second = log(PORT, FIRST, release="6.12.2")
    capture = read(log() + (f"{between}\n" if between else "") + second)
    first, then = capture.notes.scans
    assert (first.first, first.end, then.first) == (0, 18, 18)
    assert first.lines[1] == then.lines[0]
    assert capture.notes.boundaries == [Boundary(18, boundary, "6.12.2")]
    assert ("no-boundary" in [one.kind for one in capture.notes.problems]) == (between is None)


def test_firmware_first(read: Reader) -> None:
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
def test_refused_with_counts(read: Reader, text: str, options: Options, found: str) -> None:
    with pytest.raises(UnsupportedFormatError) as refused:
        read(text, options)
    assert found in str(refused.value)
    assert refused.value.advice


def test_nothing_but_unknown_headers(read: Reader) -> None:
    with pytest.raises(EmptyInputError):
        read("[    1.000000] pci 0000:01:01.0: [1af4:1001] type 7f class 0xffffff\n")


def test_lines_that_are_too_long_are_counted(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_log, "_BLOCK", 4096)
    capture = read(f"{'x' * 100_000}\n{log()}")
    assert [(one.kind, one.message, one.offset_bytes) for one in capture.notes.problems][:1] == [
        ("foreign", "1 line of more than 65,536 bytes is left out", 0)
    ]
    assert capture.accesses.height == read(log()).accesses.height


KINDS = (
    "Linux version 6.12.1 (x@y) #1",
    "PCI host bridge to bus 10000:e0",
    "pci 10000:e0:1f.7: [8086:a048] type 01 class 0x060400 PCIe Root Port",
    "pci 10000:e0:1f.7: PCI bridge to [bus e1-e2]",
    "pci 10000:e1:00.0: [104c:8231] type 01 class 0x060400 conventional PCI bridge",
    "pci 10000:e1:00.1: [1af4:1001] type 7f class 0xffffff conventional PCI endpoint",
    "pci 10000:e1:00.2: [1af4:1001] type 00 class 0x010203",
)


def test_a_log_with_several_kinds_of_functions(read: Reader) -> None:
    capture = read("\n".join(KINDS))
    table = capture.accesses.select("domain", "bus", "devfn", "offset", "width", "op", "value", "where")
    root, bridge, endpoint = (len("\n".join(KINDS[:n])) + 1 for n in (2, 4, 6))
    assert table.rows() == [
        (0x10000, 0xE0, 0xFF, 0x00, 4, "read", 0xA0488086, root),
        (0x10000, 0xE0, 0xFF, 0x09, 1, "read", 0x00, root),
        (0x10000, 0xE0, 0xFF, 0x0A, 1, "read", 0x04, root),
        (0x10000, 0xE0, 0xFF, 0x0B, 1, "read", 0x06, root),
        (0x10000, 0xE0, 0xFF, 0x0E, 1, "read", 0x01, root),
        (0x10000, 0xE0, 0xFF, 0x18, 1, "read", 0xE0, root),
        (0x10000, 0xE0, 0xFF, 0x19, 1, "read", 0xE1, root),
        (0x10000, 0xE0, 0xFF, 0x1A, 1, "read", 0xE2, root),
        (0x10000, 0xE1, 0x00, 0x00, 4, "read", 0x8231104C, bridge),
        (0x10000, 0xE1, 0x00, 0x09, 1, "read", 0x00, bridge),
        (0x10000, 0xE1, 0x00, 0x0A, 1, "read", 0x04, bridge),
        (0x10000, 0xE1, 0x00, 0x0B, 1, "read", 0x06, bridge),
        (0x10000, 0xE1, 0x00, 0x0E, 1, "read", 0x01, bridge),
        (0x10000, 0xE1, 0x02, 0x00, 4, "read", 0x10011AF4, endpoint),
        (0x10000, 0xE1, 0x02, 0x09, 1, "read", 0x03, endpoint),
        (0x10000, 0xE1, 0x02, 0x0A, 1, "read", 0x02, endpoint),
        (0x10000, 0xE1, 0x02, 0x0B, 1, "read", 0x01, endpoint),
        (0x10000, 0xE1, 0x02, 0x0E, 1, "read", 0x00, endpoint),
    ]
    (scan,) = capture.notes.scans
    root, bridge, ignored = 0x10000E0FF, 0x10000E100, 0x10000E101
    assert scan.path == capture.notes.path
    assert scan.roots == {0x10000E0}
    assert (scan.first, scan.end, scan.lines) == (0, 18, (0, 7))
    assert scan.port_types == {root: 4}
    assert scan.conventional == {bridge, ignored}
    assert (scan.unknown_headers, scan.ignored) == ({ignored: 6}, {ignored: 0x7F})
    assert [one.message for one in capture.notes.problems] == [ONLY_ENUMERATION.format(4)]


def test_three_kernels(read: Reader) -> None:
    """Each has its own lines, functions and accesses."""
    crash = log(FIRST, release="6.12.3").replace("root=/dev/vda", "root=/dev/vda elfcorehdr=8M")
    capture = read(log(PORT) + log(PORT, FIRST, release="6.12.2") + crash)
    scans = capture.notes.scans
    assert [(one.first, one.end, one.lines) for one in scans] == [
        (0, 8, (0, 7)),
        (8, 21, (7, 16)),
        (21, 26, (16, 23)),
    ]
    assert [one.port_types for one in scans] == [{0x18: 4}, {0x18: 4, 0x100: 0}, {0x100: 0}]
    assert capture.notes.boundaries == [Boundary(8, "boot", "6.12.2"), Boundary(21, "crash", "6.12.3")]
    assert [one.message for one in capture.notes.problems] == [
        ONLY_ENUMERATION.format(4),
        (
            "the log does not say how the kernel of its line 8 was started, and a reboot is assumed; if by"
            " kexec, make two files of it"
        ),
    ]


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (8, "the '[vvvv:dddd] type' line of 0000:00:00.7, which line 9 names"),
        (9, "and 1 more"),
        (20, "and 12 more"),
    ],
)
def test_eight_reasons_of_doubt_are_named(read: Reader, count: int, last: str) -> None:
    names = [f"pci 0000:00:{n >> 3:02x}.{n & 7}: PME# supported" for n in range(count)]
    listed = "pci 0000:00:1f.0: [8086:2918] type 00 class 0x060100"
    (scan,) = read("\n".join([BEGIN, *names, listed, "pci_bus 0000:00: resource 4 [io]"])).notes.scans
    assert len(scan.missing) == min(count, 9)
    assert scan.missing[-1] == last


def test_the_text_of_the_log_is_kept(read: Reader) -> None:
    capture = read(f"{log()}\r\n  two  blanks  \r\nR\xe9sum\xe9 MAX\r\n")
    lines = log().splitlines()
    assert [line.text for line in capture.notes.log] == [*lines, "", "  two  blanks  ", "R\xe9sum\xe9 MAX"]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "dmesg"
    path.write_bytes(b"\xe9\xff\xc3\n" + log().encode())
    notes = open_capture(str(path), JOIN).notes
    assert notes.log[0].text == "\ufffd\ufffd\ufffd"
    assert notes.scans[0].lines == (0, 12)


def test_no_more_than_so_many_lines_are_read(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_log, "MAX_LINES", 5)
    notes = read(log()).notes
    assert (len(notes.log), notes.truncated) == (5, True)


def test_no_more_than_so_many_functions_are_read(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_log, "MAX_FUNCTIONS", 3)
    assert len(read(log()).notes.scans[0].port_types) == 3
    monkeypatch.setattr(scan_log, "MAX_FUNCTIONS", 2)
    with pytest.raises(LimitExceededError) as refused:
        read(log())
    assert refused.value.message == "expected at most 2 functions in a scan, found 3"
    assert str(refused.value.path).endswith("dmesg")


def test_too_many_kernels_are_refused_with_the_file(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "MAX_RUNS", 1)
    with pytest.raises(LimitExceededError, match="at most 1 kernels") as refused:
        read(log() + log(release="6.12.2"))
    assert str(refused.value.path).endswith("dmesg")


@pytest.mark.parametrize(
    ("options", "lines", "advice"),
    [
        (
            Options(),
            log(),
            (
                "give it with --dmesg together with a capture, or, as what a kernel enumerated, with --join:"
                " analyze --join BEFORE PATH"
            ),
        ),
        (
            JOIN,
            "[    1.000000] something\n",
            (
                "take it with dmesg > FILE, as root, soon after boot (on a console, quiet and loglevel= hide"
                " these lines)"
            ),
        ),
    ],
)
def test_what_a_refused_log_could_be_used_for(
    read: Reader, options: Options, lines: str, advice: str
) -> None:
    with pytest.raises(UnsupportedFormatError) as refused:
        read(lines, options)
    path = str(refused.value.path)
    assert path.endswith("dmesg")
    assert str(refused.value.advice).replace(path, "PATH") == advice
