"""What fuzzing starts from: small pieces of the real captures under ``traces/``, uncompressed."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import lspci_texts
import small_logs
import zstandard
from fuzz_tables import bytes_of
from simulator import Kernel, Recording, lab_topology, one_port

from analyzer.capture import Boundary, Event, FunctionUse, LogLine, PlacedUse, PreservedDump, Problem
from analyzer.converting.minimal import minimise
from analyzer.converting.native import NativeWriter
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Machine

TRACES = Path(__file__).parents[2] / "traces"
FORMATS = TRACES / "formats"

PIECE = 3000

_ROW = re.compile(rb"[0-9a-f]{2,3}: [0-9a-f]{2} ")


def content(path: Path) -> bytes:
    data = path.read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.suffix == ".zst" else data


def text(*patterns: str) -> list[bytes]:
    """The beginning, a piece of the middle and the end of each text sample, cut at line ends."""
    pieces = []
    for path in sorted(path for pattern in patterns for path in FORMATS.glob(pattern)):
        data = content(path)
        pieces.append(data[: data.rfind(b"\n", 0, PIECE) + 1])
        if len(data) > 3 * PIECE:
            for start in (len(data) // 2, len(data) - PIECE):
                begin = data.find(b"\n", start) + 1
                pieces.append(data[begin : data.rfind(b"\n", 0, begin + PIECE) + 1])
    return pieces


def logs() -> list[bytes]:
    """Real consoles, and derived logs of a small machine's kernels, which a piece of a history must be."""
    found = [small_logs.log(), small_logs.log(small_logs.PORT, small_logs.FIRST, begin=False)]
    found.append(small_logs.log() + small_logs.log(before=(small_logs.KEXEC,), release="7.3.4"))
    return [*text("console*"), *(one.encode() for one in found)]


def printed_events() -> bytes:
    """A console with the probes of two kernels, of which the second dumps its trace buffer."""
    probe = (
        "rd_conf1: (pci_read+0x25/0x40 <- pci_conf1_read) seg=0 bus=0 devfn={} reg=0 len=2 val=0x8086 rc=0"
    )
    first = [f"[    0.3{number:05d}] " + probe.format(number * 8) for number in range(8)]
    dumped = [
        f"[    1.000000]  init-1     0d..1. {number}us : " + probe.format(number) for number in range(8)
    ]
    start = "[    0.000000] Linux version 6.12.95 (x@y) #1 SMP"
    lost = ["** 12 printk messages dropped **", "[    1.000000] CPU:1 [LOST 7 EVENTS]"]
    lines = [start, *first, "[    9.000000] kexec_core: Starting new kernel", start, *lost, *dumped]
    return "".join(f"{line}\r\n" for line in lines).encode()


def pasted() -> list[bytes]:
    """Logs and dumps with what mail programs and log collectors put around their lines."""
    prefixes = (
        b"> ",
        b"    ",
        b"2026-09-22T07:14:04.123456789Z stderr F ",
        b"[   12.345678] ",
        b"vm.log:17:",
    )
    pieces = [*text("qemu-log*b*"), *text("lspci-xxx.txt"), *text("ftrace-perf*")]
    return [
        b"".join(prefix + line for line in piece[:20_000].splitlines(keepends=True))
        for piece in pieces
        for prefix in prefixes
    ]


def hex_dump() -> bytes:
    """``hexdump -C`` of a config file."""
    row = "86 80 48 a0 07 04 10 00  01 00 04 06 00 00 01 00  |..H.............|"
    return f"00000000  {row}\n*\n00000030  {row}\n00000040\n".encode()


def lspci_text() -> list[bytes]:
    """What lspci prints between its rows of bytes: of a real machine, and hand-made."""
    lines = content(FORMATS / "lspci-xxxx-vvv.txt.zst").splitlines(keepends=True)
    real = b"".join(line for line in lines if not _ROW.match(line))
    pieces = [real[start : real.find(b"\n\n", start + 6000) + 2] for start in (0, len(real) // 2)]
    return [*pieces, *(one.encode() for one in (lspci_texts.CHAIN, lspci_texts.VIRTUAL, lspci_texts.SILENT))]


def native() -> list[bytes]:
    """Real kexecs in their minimal form, stored raw, and a file with a chunk of every type."""
    files = [stored(minimise(open_capture(str(TRACES / f"{name}.bin"))).capture) for name in (
        "lost-explicit-write", "hidden-after-port-reset-in-blackout")]  # fmt: skip
    recording = Recording(one_port())
    recording.firmware()
    small = recording.capture()
    stream = io.BytesIO()
    with NativeWriter(stream, host="h", tool="t", releases=["6.1"], clock="boot", level=0) as writer:
        writer.preserved(PreservedDump(b"\1\2\3", "pci", 0))
        writer.log(LogLine("[    0.000000] Linux version 6.1 x"), LogLine("line", 5, 77))
        writer.event(Event("aer", 6, (0, 1, 2), "corrected", 9))
        writer.problem(Problem("foreign", "old.log", 12, "m"))
        use = FunctionUse("ixgbe", 17, "vfio3", ["eth0"], ["nvme3n1"], "web1", "sysfs, /proc")
        writer.uses(PlacedUse(0x0300, 0, use), PlacedUse(0x0308, 5, FunctionUse("nvme", source="kernel log")))
        for part in range(3):
            writer.boundary(Boundary(part * 40, "kexec", f"6.{part}"))
            writer.accesses(small.accesses.slice(part * 40, 40))
    recorder = content(FORMATS / "recorder-cut-by-kexec.bin.zst")
    return [*files, stream.getvalue(), recorder[:100_000]]


def stored(capture: object) -> bytes:
    """A capture as an uncompressed native file."""
    from analyzer.converting.native import write_capture

    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        write_capture(capture, file.name, level=0)
        return Path(file.name).read_bytes()


def simpletrace() -> list[bytes]:
    """The file header, the mappings of the config events, and the first accesses."""
    data = content(FORMATS / "qemu-simpletrace-v4.simple.zst")
    parts, at = [data[:24]], 24
    while len(parts) < 200:
        length = int.from_bytes(data[at + 16 : at + 20], "little")
        mapping = data[at] == 0
        record = data[at : at + 20 + length] if mapping else data[at : at + 8 + int.from_bytes(
            data[at + 24 : at + 28], "little")]  # fmt: skip
        if not mapping or b"pci_cfg" in record:
            parts.append(record)
        at += len(record)
    return [b"".join(parts), b"".join(parts[:20])]


def trace_dat() -> list[bytes]:
    names = ("date.dat", "tai.dat", "v7-cpus.dat", "kvm-host.dat", "v6.dat.zst", "v6-buffers.dat.zst")
    names = (*names, "v7-uncompressed.dat.zst", "v7-buffers.dat")
    return [content(FORMATS / f"trace-dat-{name}") for name in names]


def pcap() -> list[bytes]:
    """The real container, little, and the same packets as pcapng."""
    from scapy.utils import PcapNgWriter, RawPcapReader

    data = content(FORMATS / "nettlp-tcpdump.pcap.zst")
    little = data[:6000]
    packets = [packet for packet, _ in RawPcapReader(io.BytesIO(little))][:40]
    with tempfile.NamedTemporaryFile() as file:
        with PcapNgWriter(file.name) as writer:
            writer.linktype = 1
            writer.write_header(None)
            for packet in packets:
                writer.write_packet(packet, sec=1, usec=2)
        blocks = Path(file.name).read_bytes()
    bare = b"".join([
        data[:20], (150).to_bytes(4, "little"),
        *(bytes(8) + len(packet[48:]).to_bytes(4, "little") * 2 + packet[48:] for packet in packets),
    ])  # fmt: skip
    return [little, blocks, bare]


def sysfs() -> list[bytes]:
    data = content(FORMATS / "sysfs-config.tar.zst")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [archive.extractfile(member).read() for member in archive][:4]
    return [data[:20_480], *members, *(member[:256] for member in members)]


def wrapped() -> list[bytes]:
    plain = content(FORMATS / "qemu-log-dialect-b.log")
    packed = zstandard.compress(plain)
    return [gzip.compress(plain), packed, lzma.compress(plain), gzip.compress(packed), packed + packed, plain]


def tables() -> list[bytes]:
    """Access tables: real kexecs around their boundary, and simulated ones."""
    names = ("lost-explicit-write", "hidden-after-secondary-bus-reset", "healed-by-stock-kernel")
    seeds = [bytes_of(minimise(open_capture(str(TRACES / f"{name}.bin"))).capture, 700) for name in names]
    return [*seeds, simulated(), simulated(lab_topology, "stock")]


def simulated(machine: Callable[[], Machine] = one_port, policy: str = "inherit") -> bytes:
    """The table of a simulated kexec, in its minimal form."""
    recording = Recording(machine())
    recording.boot(Kernel())
    recording.kexec()
    boundary = recording.capture().accesses.height
    recording.boot(Kernel(policy=policy))
    capture = recording.capture()
    capture.notes.boundaries.append(Boundary(boundary, "live-update"))
    return bytes_of(minimise(capture).capture, 2000)


def dumps() -> list[bytes]:
    import preserved_dumps

    entries = preserved_dumps.ENTRIES
    return [
        preserved_dumps.array(entries),
        preserved_dumps.h7(entries),
        preserved_dumps.h8(entries),
        preserved_dumps.h8(entries * 3, per_block=2),
        preserved_dumps.h8(entries, page=16384),
    ]


def options() -> list[bytes]:
    return [
        b"0000:03:00.0,1:0000:03:01.0\n0:02:00.0 # note\0pci=noari console=ttyS0 pci=pcie_scan_all,noats",
        b'03:00.0\0"pci=noari" quiet -- init',
    ]
