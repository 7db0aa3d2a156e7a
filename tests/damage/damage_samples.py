"""One small sample of every format that is read, taken from the real captures, and where its records end."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import printed_consoles
import small_logs
import zstandard
from simulator import Kernel, Recording, one_port
from work_done import counted

from analyzer.capture import Boundary, Event, FunctionUse, LogLine, PlacedUse, PreservedDump, Problem
from analyzer.converting.native import NativeWriter
from analyzer.errors import AritraceError
from analyzer.options import Options
from analyzer.readers import open_capture
from schemas.native import CHUNK_MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from analyzer.capture import Capture

TRACES = Path(__file__).parents[2] / "traces"
#: What a damaged sample may cost: the samples have up to 42 KB, and 10,000 to 40,000 calls are usual.
MOST_CALLS, MOST_MEMORY = 500_000, 256 << 20


def content(name: str) -> bytes:
    """A file under ``traces/``, decompressed."""
    data = (TRACES / name).read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if name.endswith(".zst") else data


@dataclass(frozen=True)
class Sample:
    """A capture and how damage to it is judged.

    Attributes:
        data: its bytes.
        edges: places where a record, line, page or section ends, ascending.
        name: what the file is called (a config file of sysfs says in its name whose it is).
        complete: whether a cut there leaves a file that nobody can tell from a whole one.
        in_order: rows come in the order of the file, so that what a cut leaves is the beginning of the whole.
        partial: how many of the last rows a cut may leave unlike those of the whole, because bytes of their
            register, or the line or packet that settles them, are behind it.
        shifts: how far from an edge it is cut, too; by default one of a few, chosen at random.
        checked: a checksum covers every record, so that no damage can go unseen.
        unseen: of a thousand damaged bytes how many may hide a row without a word: of text, a byte of a word
            makes another line, which another version of its producer may print. What it showed is unknown
            then, and no answer takes it for known (tests/test_lspci_text_deletions.py).
        join: it is read as a piece of a history.
        corruptions: how many single bytes are damaged.
        cuts: at how many edges it is cut at most, and at how many random bytes.
    """

    data: bytes
    edges: list[int]
    name: str = "capture"
    complete: Callable[[bytes, int], bool] = lambda data, cut: False  # noqa: ARG005 the common case
    in_order: bool = True
    partial: int = 0
    shifts: tuple[int, ...] = ()
    checked: bool = False
    unseen: int = 10
    join: bool = False
    corruptions: int = 1000
    cuts: int = 200


def line_ends(data: bytes) -> list[int]:
    return [match.end() for match in re.finditer(b"\n", data)]


def at_a_line(data: bytes, cut: int) -> bool:
    """Behind a line, with or without its end; the rest of a text is not announced."""
    return data[:cut].endswith(b"\n") or data[cut : cut + 1] in (b"\n", b"\r", b"")


def behind_a_dump(data: bytes, cut: int) -> bool:
    """Behind the 16 rows of a function; that a kernel's log goes on is not announced."""
    return len(re.findall(rb"\] [0-9a-f]{8}: ", data[:cut])) % 16 == 0


def _text(name: str, first: int, size: int, **more: object) -> Sample:
    data = content(f"formats/{name}")
    begin = data.find(b"\n", first) + 1 if first else 0
    data = data[begin : data.rfind(b"\n", 0, begin + size) + 1]
    return Sample(data, line_ends(data), **{"complete": at_a_line, **more})


def _earlydump() -> Sample:
    """The dumps of five functions, each to its end, amid other messages."""
    found = _text(
        "earlydump-console.txt.zst",
        12_000,
        10_000,
        partial=3,
        complete=behind_a_dump,
        shifts=(-2, -1, 1, 30),
    )
    end = max(edge for edge in found.edges if behind_a_dump(found.data, edge))
    return replace(found, data=found.data[:end], edges=[edge for edge in found.edges if edge <= end])


def _native() -> Sample:
    """A simulated kexec in small uncompressed chunks, with a chunk of every other type."""
    recording = Recording(one_port())
    recording.boot(Kernel())
    recording.kexec()
    recording.boot(Kernel(policy="inherit"))
    table = recording.capture().accesses.drop("capture", "file", "seq").head(160)
    stream = io.BytesIO()
    with NativeWriter(stream, host="host", tool="test", releases=["7.3.4"], clock="boot", level=0) as writer:
        writer.preserved(PreservedDump(b"\1\2\3", "pci", 0))
        writer.log(LogLine("[    0.000000] Linux version 7.3.4 (x)"), LogLine("a line", 5, 77))
        writer.event(Event("aer", 6, (0, 1, 2), "corrected", 9))
        writer.problem(Problem("foreign", "old.log", 12, "a line of another program"))
        writer.uses(
            PlacedUse(0x0100, 5, FunctionUse("vfio-pci", 17, "vfio3", vm="web1", source="sysfs, /proc"))
        )
        for first in range(0, 160, 40):
            writer.boundary(Boundary(first, "kexec", f"7.3.{first}"))
            writer.accesses(table.slice(first, 40))
    data = stream.getvalue()
    chunks = [match.start() for match in re.finditer(re.escape(CHUNK_MAGIC), data)]
    records = [chunk + 40 + 24 * n for chunk in chunks if data[chunk + 4] == 1 for n in range(41)]
    return Sample(data, sorted({*chunks, *records, len(data)}), checked=True)


def _simpletrace() -> Sample:
    """The real header, the mappings of the config events, and the first accesses."""
    data = content("formats/qemu-simpletrace-v4.simple.zst")
    parts, at = [data[:24]], 24
    while len(parts) < 260:
        mapping = data[at] == 0
        number = at + 16 if mapping else at + 24
        size = int.from_bytes(data[number : number + 4], "little") + (20 if mapping else 8)
        if not mapping or b"pci_cfg" in data[at : at + size]:
            parts.append(data[at : at + size])
        at += size
    edges = [sum(map(len, parts[:number])) for number in range(1, len(parts) + 1)]
    return Sample(b"".join(parts), edges, complete=lambda _, cut: cut in edges)


def _trace_dat(name: str, used: int = 1 << 30) -> Sample:
    """``used``: where what is read of the file ends; behind it are the names of its sections."""
    data = content(f"formats/{name}")
    edges = {*range(0, len(data), 4096), *(m.start() for m in re.finditer(rb"\n\n|\(\xb5/\xfd", data))}
    return Sample(data, sorted(edges), in_order=False, complete=lambda _, cut: cut >= used)


def _pcap() -> Sample:
    data = content("formats/nettlp-tcpdump.pcap.zst")
    edges = [24]
    while len(edges) < 220:
        edges.append(edges[-1] + 16 + int.from_bytes(data[edges[-1] + 8 : edges[-1] + 12], "little"))
    return Sample(data[: edges[-1]], edges, complete=lambda _, cut: cut in edges, partial=4)


def _pcapng() -> Sample:
    """The same packets as scapy writes them as pcapng."""
    import tempfile

    from scapy.utils import PcapNgWriter, RawPcapReader

    with tempfile.NamedTemporaryFile() as file:
        with PcapNgWriter(file.name) as writer:
            writer.linktype = 1
            writer.write_header(None)
            for packet, _ in RawPcapReader(io.BytesIO(_pcap().data)):
                writer.write_packet(packet, sec=1, usec=2)
        data = Path(file.name).read_bytes()
    edges = [0]
    while edges[-1] < len(data):
        edges.append(edges[-1] + int.from_bytes(data[edges[-1] + 4 : edges[-1] + 8], "little"))
    return Sample(data, edges[1:], complete=lambda _, cut: cut in edges, partial=4)


def _tar() -> Sample:
    end = 4 * 4608 - 512  # a file of 4096 bytes, one of 256, ...
    data = content("formats/sysfs-config.tar.zst")[:end] + bytes(1024)
    return Sample(
        data, list(range(512, end, 256)), name="config.tar", complete=lambda _, cut: cut > end, partial=3
    )


def _tar_with_links() -> Sample:
    """Derived: a folder of a device as sysfs has it: its config file, then what it is used as."""
    config = content("formats/sysfs-config.tar.zst")[512 : 512 + 4096]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, link, data in (
            ("config", tarfile.REGTYPE, "", config),
            ("uevent", tarfile.REGTYPE, "", b"DRIVER=ixgbe\nPCI_CLASS=20000\n"),
            ("driver", tarfile.SYMTYPE, "../" * 40 + "bus/pci/drivers/ixgbe", b""),
            ("iommu_group", tarfile.SYMTYPE, "../../../kernel/iommu_groups/17", b""),
            ("net/eth0", tarfile.DIRTYPE, "", b""),
        ):
            member = tarfile.TarInfo(f"devices/0000:00:00.0/{name}")
            member.type, member.linkname, member.size = kind, link, len(data)
            archive.addfile(member, io.BytesIO(data))
    data = stream.getvalue()[: archive.offset + 1024]
    last = archive.offset - 512
    return Sample(
        data,
        list(range(512, last, 256)),
        name="x.tar",
        complete=lambda _, cut: cut > last,
        partial=3,
        corruptions=100,
        cuts=40,
    )


def _console() -> Sample:
    """The accesses of a real recording of two kernels, as tp_printk prints them on a console (derived)."""
    first, second = (
        printed_consoles.printed(TRACES / f"formats/trace-dat-kprobes-kernel{number}.dat")[:40]
        for number in (1, 2)
    )
    data = printed_consoles.console(first, second).encode()
    return Sample(data, line_ends(data), complete=at_a_line, corruptions=100, cuts=40)


def _scan_log() -> Sample:
    """A derived log of the scans of two kernels."""
    text = small_logs.log() + small_logs.log(before=(small_logs.KEXEC,), release="7.3.4")
    data = text.encode()
    shown = data.rindex(b"pci_bus 0000:00: resource")  # its line says that the scan is over
    return Sample(
        data,
        line_ends(data),
        complete=lambda data, cut: cut > shown or at_a_line(data, cut),
        in_order=False,
        join=True,
        corruptions=100,
        cuts=40,
    )


def _config() -> Sample:
    data = content("formats/sysfs-config.tar.zst")[512 : 512 + 4096]
    sizes = (64, 256, 4096)
    return Sample(data, list(range(4, 4097, 4)), "0000:00:00.0", complete=lambda _, cut: cut in sizes)


def _around(found: Sample, prefix: bytes) -> Sample:
    """The same with a prefix in front of every line."""
    data = b"".join(prefix + line + b"\n" for line in found.data.split(b"\n")[:-1])
    return replace(found, data=data, edges=line_ends(data))


def _lspci_text() -> Sample:
    """The functions of a real dump without its hex."""
    lines = content("formats/lspci-xxxx-vvv.txt.zst").splitlines(keepends=True)
    data = b"".join(line for line in lines if not re.match(rb"[0-9a-f]{2,3}: ", line))
    data = data[: data.find(b"\n\n", 20_000) + 2]
    # Lines of a register that goes on may be missing; so may the functions after an empty line.
    return Sample(data, line_ends(data), complete=at_a_line, in_order=False, unseen=100)


def _hex_dump() -> Sample:
    """What ``hexdump -Cv`` prints of a config file of 256 bytes (derived: as the program was seen to)."""
    config = content("formats/sysfs-config.tar.zst")[512 : 512 + 256]
    rows = (
        f"{at:08x}  {config[at : at + 8].hex(' ')}  {config[at + 8 : at + 16].hex(' ')}  |................|\n"
        for at in range(0, 256, 16)
    )
    data = ("".join(rows) + "00000100\n").encode()
    return Sample(data, line_ends(data), "0000:00:00.0.txt", complete=whole_config_file)


def whole_config_file(data: bytes, cut: int) -> bool:
    """Behind 64 bytes, which is all that the kernel shows without privileges, or behind the last row."""
    return len(re.findall(rb"(?m)^[0-9a-f]{8}  [^|\n]{49}", data[:cut])) in (4, 16)


#: A sample of each format; the name says how the format is called in reports.
MAKERS: dict[str, Callable[[], Sample]] = {
    "native": _native,
    "qemu-simpletrace": _simpletrace,
    "qemu-log b": lambda: _text("qemu-log-dialect-b.log", 0, 20_000),
    "qemu-log c": lambda: _text("qemu-log-dialect-c.log.zst", 500_000, 20_000),
    "qemu-log d": lambda: _text("qemu-log-dialect-d.log", 0, 20_000),
    "qemu-log regions": lambda: _text("qemu-log-memory-regions.log.zst", 60_000, 20_000, partial=20),
    "trace-dat v7": lambda: _trace_dat("trace-dat-v7-cpus.dat", used=20_848),
    "trace-dat v7 uncompressed": lambda: _trace_dat("trace-dat-v7-uncompressed.dat.zst"),
    "trace-dat v6": lambda: _trace_dat("trace-dat-v6.dat.zst"),
    "ftrace-text": lambda: _text("tracefs-trace-rescan.txt.zst", 0, 20_000, in_order=False),
    "ftrace-text perf": lambda: _text("ftrace-perf-script.txt", 0, 20_000, in_order=False),
    "pcap": _pcap,
    "pcapng": _pcapng,
    "lspci-dump": lambda: _text("lspci-xxx.txt", 0, 20_000, shifts=(-1, 1, 2, 20)),
    "lspci-dump vvv": lambda: _text("lspci-xxxx-vvv.txt.zst", 0, 30_000),
    "lspci-dump quoted": lambda: _around(_text("lspci-xxx.txt", 0, 10_000, shifts=(-1, 1, 2, 20)), b"> "),
    "lspci-text": _lspci_text,
    "config-hex-dump": _hex_dump,
    "qemu-log docker": lambda: _around(
        _text("qemu-log-dialect-b.log", 0, 20_000), b"2026-09-22T07:14:04.123456789Z "
    ),
    "earlydump": _earlydump,
    "sysfs-config archive": _tar,
    "sysfs-config archive with links": _tar_with_links,
    "sysfs-config file": _config,
    "printed-events": _console,
    "dmesg": _scan_log,
}


@cache
def sample(name: str) -> Sample:
    return MAKERS[name]()


def outcome(
    folder: Path, data: bytes, name: str = "capture", *, join: bool = False
) -> Capture | AritraceError:
    """What the readers make of a file with these bytes: a capture, or the reason why there is none."""
    path = folder / name
    path.write_bytes(data)
    try:
        return open_capture(str(path), Options(join=join))
    except AritraceError as error:
        found = error
    assert found.path == str(path)
    assert found.message
    return found


def judged(
    folder: Path, data: bytes, name: str = "capture", *, join: bool = False
) -> Capture | AritraceError:
    """The outcome, with work and memory that follow the size of the file and not the numbers in it."""
    with counted() as work:
        found = outcome(folder, data, name, join=join)
    assert work.calls < MOST_CALLS
    assert work.memory < MOST_MEMORY
    return found


def registers(capture: Capture) -> pl.DataFrame:
    """The accesses without what damage elsewhere moves."""
    return capture.accesses.drop("seq", "where")


def tells_more(found: Capture, whole: Capture) -> bool:
    """Whether a damaged capture says that something is missing or wrong, beyond what the whole one says."""
    new, old = found.notes, whole.notes
    told = {(problem.kind, problem.message) for problem in old.problems}
    return (
        (new.truncated and not old.truncated)
        or new.dropped > old.dropped
        or new.foreign_lines > old.foreign_lines
        or any((problem.kind, problem.message) not in told for problem in new.problems)
        or any(scan.missing != other.missing for scan, other in zip(new.scans, old.scans, strict=False))
    )
