"""One run in more than forty ways of writing its QEMU log, and random mixtures of them: always one reading.

Derived: the accesses of a capture of the corpus, written as QEMU's log, and what other programs make of that.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analyzer import analysis
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from collections.abc import Callable

CAPTURE = Path(__file__).parents[2] / "traces" / "inherit-wide-lost.bin"
#: What an access is. A QEMU log says no width.
COLUMNS = ["time_ns", "domain", "bus", "devfn", "offset", "op", "value", "status", "absent"]
US = 1000
ARROW = {"read": "->", "write": "<-"}


@cache
def events() -> list[tuple[int, str]]:
    """Time (ns) and event of every access."""
    table = open_capture(str(CAPTURE)).accesses
    columns = table.select("time_ns", "bus", "devfn", "offset", pl.col("op").cast(pl.String), "value")
    return [
        (
            time,
            f"pci_cfg_{op} dev {bus:02x}:{devfn >> 3:02x}.{devfn & 7} @0x{offset:x} {ARROW[op]} 0x{value:x}",
        )
        for time, bus, devfn, offset, op, value in columns.iter_rows()
    ]


def qemu(time: int, event: str) -> str:
    return f"4242@{time // 10**9}.{time // US % 10**6:06}:{event}"


def iso(time: int, digits: int, zone: timezone = UTC, sep: str = "T") -> str:
    """A time of day with so many digits of its second."""
    second = datetime.fromtimestamp(time // 10**9, zone).strftime(f"%Y-%m-%d{sep}%H:%M:%S")
    return second + ("." + f"{time % 10**9:09}"[:digits] if digits else "")


def before(prefix: str) -> Callable[[int, str], str]:
    """A prefix in front of the lines that QEMU writes."""
    return lambda time, event: prefix + qemu(time, event)


KYIV = timezone(timedelta(hours=2))
#: Ways to write a line, each with the smallest unit of time (ns) that is left; 0 where no time is.
LINES: dict[str, tuple[Callable[[int, str], str], int]] = {
    "plain": (qemu, US),
    "no time": (lambda _, event: event, 0),
    "qemu's date": (lambda time, event: f"{iso(time, 6)}Z {event}", US),
    "quoted": (before("> "), US),
    "quoted twice": (before("> > "), US),
    "quoted thrice, no blanks": (before(">>>"), US),
    "quoted, no blank": (before(">"), US),
    "quoted and indented": (before("    > "), US),
    "indented": (before("    "), US),
    "indented by a tab": (before("\t"), US),
    "grep -H": (before("/var/log/libvirt/qemu/vm 1.log:"), US),
    "grep -n": (before("17:"), US),
    "grep -Hn": (before("vm.log:17:"), US),
    "grep -A": (before("17-"), US),
    "grep -h --color": (
        lambda time, event: qemu(time, event).replace("pci_cfg", "\x1b[01;31m\x1b[Kpci_cfg\x1b[m\x1b[K"),
        US,
    ),
    "colours": (lambda time, event: f"\x1b[32m{qemu(time, event)}\x1b[0m", US),
    "docker logs -t": (lambda time, event: f"{iso(time, 9)}Z {event}", 1),
    "docker logs -t, own time": (lambda time, event: f"{iso(time, 9)}Z {qemu(time, event)}", US),
    "cri": (lambda time, event: f"{iso(time, 9)}Z stderr F {event}", 1),
    "cri, another zone": (lambda time, event: f"{iso(time, 9, KYIV)}+02:00 stdout F {event}", 1),
    "cri, own time": (lambda time, event: f"{iso(time, 9)}Z stdout F {qemu(time, event)}", US),
    "libvirt": (lambda time, event: f"{iso(time, 3, sep=' ')}+0000: {event}", 10**6),
    "libvirt, own time": (lambda time, event: f"{iso(time, 3, sep=' ')}+0000: {qemu(time, event)}", US),
    "syslog": (before("Nov  5 12:00:01 host17 qemu-system-x86_64[77]: "), US),
    "syslog, no own time": (lambda _, event: f"Nov  5 12:00:01 host17 qemu[77]: {event}", 0),
    "syslog with priority": (before("<14>Nov 15 12:00:01 host17 qemu-kvm: "), US),
    "rsyslog's file": (lambda time, event: f"{iso(time, 6, KYIV)}+02:00 host17 qemu[77]: {event}", US),
    "journalctl -o short-iso-precise": (
        lambda time, event: f"{iso(time, 6, KYIV)}+0200 host17 qemu[77]: {event}",
        US,
    ),
    "journalctl -o short-iso": (lambda time, event: f"{iso(time, 0)}+0000 host17 qemu[77]: {event}", 10**9),
    "journalctl -o short-unix": (
        lambda time, event: f"{time // 10**9}.{time // US % 10**6:06} host17 qemu[77]: {event}",
        US,
    ),
    "journalctl -o short-full": (
        lambda time, event: f"Tue {iso(time, 0, sep=' ')} UTC host17 qemu[77]: {event}",
        10**9,
    ),
    "printk": (before("[   12.345678] "), US),
    "quoted docker logs": (lambda time, event: f"> {iso(time, 9)}Z {event}", 1),
    "quoted grep of libvirt": (lambda time, event: f">> vm.log:{iso(time, 3, sep=' ')}+0000: {event}", 10**6),
    "upper-case hex": (lambda time, event: qemu(time, upper(event)), US),
    "trailing blank": (lambda time, event: qemu(time, event) + " ", US),
    "trailing tabs": (lambda time, event: qemu(time, event) + "\t\t", US),
    "no-break spaces": (lambda time, event: qemu(time, event).replace(" ", "\xa0"), US),
    "no-break spaces, quoted": (lambda time, event: "> " + qemu(time, event).replace(" ", "\xa0"), US),
}
ENDS = {"lf": "\n", "crlf": "\r\n", "cr cr lf": "\r\r\n", "doubled": "\n\n", "doubled crlf": "\r\n\r\n"}
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "gzip in bzip2": lambda data: bz2.compress(gzip.compress(data)),
}


def upper(event: str) -> str:
    """The numbers of an event in upper case."""
    words = event.split(" ")
    return " ".join(
        word if "_" in word or word == "dev" else word.upper().replace("X", "x") for word in words
    )


def written(line: str = "plain", end: str = "lf", begin: str = "") -> bytes:
    make = LINES[line][0]
    return (begin + "".join(make(*event) + ENDS[end] for event in events())).encode()


def ways() -> list[tuple[str, bytes, int]]:
    """Name, file, and the unit of its times."""
    found = [(line, written(line), unit) for line, (_, unit) in LINES.items()]
    found += [(end, written(end=end), US) for end in ENDS]
    found += [(f"quoted, {end}", written("quoted", end), US) for end in ENDS if end != "lf"]
    found += [
        ("byte-order mark", written(begin="\ufeff"), US),
        ("byte-order mark, quoted, crlf", written("quoted", "crlf", "\ufeff"), US),
        ("after libvirt's header", written(begin=HEADER), US),
        ("no-break spaces of latin-1", written("no-break spaces").replace(b"\xc2\xa0", b" "), US),
        ("after 2 MiB of other output", written(begin="IN: \n0x7c00: jmp 0x7c3e\n\n" * 80_000), US),
    ]
    found += [(name, pack(written()), US) for name, pack in PACK.items()]
    return found


HEADER = """\
2026-09-22 07:14:04.125+0000: starting up libvirt version: 11.3.0, package: 3, kernel: 6.12.0
LC_ALL=C \\
-name guest=vm \\
-trace pci_cfg_*
char device redirected to /dev/pts/3 (label charserial0)
"""
WAYS = [pytest.param(name, id=name) for name in (
    *LINES, *ENDS, *(f"quoted, {end}" for end in ENDS if end != "lf"), "byte-order mark",
    "byte-order mark, quoted, crlf", "after libvirt's header", "no-break spaces of latin-1",
    "after 2 MiB of other output", *PACK,
)]  # fmt: skip


@cache
def files() -> dict[str, tuple[bytes, int]]:
    return {name: (data, unit) for name, data, unit in ways()}


def reading(path: Path) -> tuple[pl.DataFrame, tuple[int, int, bool, list[str]]]:
    """The accesses of a file, and what it lost."""
    capture = open_capture(str(path))
    notes = capture.notes
    return capture.accesses.select(COLUMNS), (
        notes.dropped,
        notes.missing_dwords,
        notes.truncated,
        [problem.kind for problem in notes.problems if problem.kind != "foreign"],
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[pl.DataFrame, str]:
    path = tmp_path_factory.mktemp("plain") / "cfg.log"
    path.write_bytes(written())
    frame, losses = reading(path)
    assert frame.height == len(events()) == 6146
    assert losses == (0, 0, False, [])
    return frame, verdict(path)


def verdict(path: Path) -> str:
    [result] = analysis.analyze([str(path)]).captures
    bridges = sorted(f"{one.bdf} {one.verdict}" for kexec in result.kexecs for one in kexec.bridges)
    return f"{result.verdict} {bridges}"


def test_there_are_forty_ways():
    assert len(WAYS) == len(files()) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_reads_as_the_plain_log(way, plain, tmp_path):
    data, unit = files()[way]
    path = tmp_path / "cfg.log"
    path.write_bytes(data)
    frame, losses = reading(path)
    times = pl.lit(None, pl.Int64) if not unit else pl.col("time_ns") // unit * unit
    assert frame.equals(plain[0].with_columns(time_ns=times))
    assert losses == (0, 0, False, [])
    assert verdict(path) == plain[1]


#: Lines of which nothing but the event is compared.
ANY_LINE = st.tuples(st.sampled_from(sorted(LINES)), st.sampled_from(sorted(ENDS)))


@given(st.lists(ANY_LINE, min_size=1, max_size=40), st.booleans())
def test_a_mixture_of_ways_loses_no_access(tmp_path_factory, lines, mark):
    path = tmp_path_factory.mktemp("mixture") / "cfg.log"
    first = events()[: len(lines)]
    text = "".join(
        LINES[line][0](*event) + ENDS[end] for (line, end), event in zip(lines, first, strict=True)
    )
    path.write_bytes(b"\xef\xbb\xbf" * mark + text.encode())
    frame, losses = reading(path)
    units = [LINES[line][1] for line, _ in lines]
    times = [None if not unit else time // unit * unit for unit, (time, _) in zip(units, first, strict=True)]
    assert frame["time_ns"].to_list() == times
    assert losses == (0, 0, False, [])


@pytest.mark.parametrize(
    "line",
    [
        "> pci_cfg_read dev 00:03.0 @0x0 -> 0x",
        "vm.log:17:4242@1700000000.000001:pci_cfg_read dev 00:03.0 @0x0",
        "2026-09-22T07:14:04.123456789Z stderr F pci_cfg_read dev 00:03.8 @0x0 -> 0x0",
        "x > pci_cfg_rexd dev 00:03.0 @0x0 -> 0x0",
    ],
)
def test_what_looks_like_an_access_and_cannot_be_read_is_counted(line, tmp_path):
    path = tmp_path / "cfg.log"
    path.write_text("\n".join([line, *(qemu(*event) for event in events()[:3]), ""]))
    frame, losses = reading(path)
    assert frame.height == 3
    assert losses == (1, 0, False, ["damaged"])
