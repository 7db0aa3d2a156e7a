"""The files that the pages name: captures of the corpus under those names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import fake_hosts
import preserved_dumps
import zstandard
from printed_consoles import console, printed
from readers.tlp_captures import bare, tlps_of

from analyzer import log
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "traces"
FORMATS = TRACES / "formats"
#: What ``traces/`` is for these tests: all of it takes half a minute.
CORPUS = ("clean-inherit", "healed-by-stock-kernel", "lost-explicit-write")
LOST = TRACES / "lost-explicit-write.bin"
#: Sysfs, /proc and the kernel log of a host before and after a kexec.
HOSTS = {"--before": "outgoing", "--after": "incoming"}
BANNER = "<5>[    0.000000] Linux version 6.12.95 (x@y) #1 SMP\n"


def sample(name: str) -> bytes:
    """A file of traces/formats, unpacked."""
    data = (FORMATS / name).read_bytes()
    return zstandard.ZstdDecompressor().stream_reader(data).read() if name.endswith(".zst") else data


def kernel(number: int) -> bytes:
    """The log of one of two kernels on a console, from its first line on."""
    text = sample("console-hidden-after-secondary-bus-reset.txt.zst")
    starts = [place for place in range(len(text)) if text.startswith(b"Linux version 7.3.4", place)]
    return text[starts[number - 1] : [*starts, len(text)][number]]


def lspci(boot: int) -> bytes:
    return fake_hosts.lspci(fake_hosts.functions(boot)).encode()


def kprobes(number: int) -> Path:
    return FORMATS / f"trace-dat-kprobes-kernel{number}.dat"


def hex_dump() -> bytes:
    """``od -A x -t x1`` of one config file."""
    data = fake_hosts.functions(1)["0000:03:00.0"]
    return "".join(f"{at:06x} {data[at : at + 16].hex(' ')}\n" for at in range(0, len(data), 16)).encode()


#: Name in the pages -> its content. Of several histories, pieces of one have the same comment.
FILES: dict[str, Callable[[], bytes]] = {
    # A Live Update at which 02:00.0 loses ARI Forwarding: as .bin, as QEMU's log, its kernel log.
    "host17.bin": LOST.read_bytes,
    "cfg.bin": LOST.read_bytes,
    "host17.log": lambda: sample("qemu-log-dialect-c.log.zst"),
    "cfg.log": lambda: sample("qemu-log-dialect-c.log.zst"),
    "vm.log": lambda: sample("qemu-log-dialect-c.log.zst"),
    "host17.dmesg": lambda: "\n".join(line.text for line in log(str(LOST))).encode(),
    "console.txt": lambda: "\n".join(line.text for line in log(str(LOST))).encode(),
    # A kexec at which a bus reset hides a switch: dumps and logs from before and after it.
    "before.txt": lambda: lspci(fake_hosts.BEFORE),
    "after.txt": lambda: lspci(fake_hosts.AFTER),
    "now.log": lambda: b"4242@1700000000.000002:pci_cfg_write port 02:00.0 @0xb8 <- 0x0\n",
    "dmesg.txt": lambda: kernel(2),
    "dmesg-before.txt": lambda: kernel(1),
    "dmesg-after.txt": lambda: kernel(2),
    "dump.txt": hex_dump,
    # A recording on the host that the kexec cut, and the incoming kernel's log with pci=earlydump.
    "k1.bin": lambda: sample("recorder-cut-by-kexec.bin.zst"),
    "k2-dmesg.txt": lambda: sample("earlydump-behind-kexec.txt.zst"),
    "host17.flb": lambda: preserved_dumps.h8([(0, 0x0300, 1)]),
    # trace-cmd in two kernels, and on the host of a guest.
    "k1.dat": kprobes(1).read_bytes,
    "k2.dat": kprobes(2).read_bytes,
    "host.dat": (FORMATS / "trace-dat-kvm-host.dat").read_bytes,
    "pasted.txt": (FORMATS / "ftrace-trace-cmd-report.txt").read_bytes,
    # TLPs: NetTLP, and accesses of that first kernel as bare ones.
    "bus.pcap": lambda: sample("nettlp-tcpdump.pcap.zst"),
    "bare.pcap": lambda: bare(*tlps_of(open_capture(str(kprobes(1))).accesses.head(2000))),
    # Many captures.
    "captures/host17.bin": LOST.read_bytes,
    "captures/host18.bin": (TRACES / "clean-inherit.bin").read_bytes,
    "srv/captures/2026-03-31/node17/before.txt": lambda: lspci(fake_hosts.BEFORE),
    "srv/captures/2026-03-31/node17/after.txt": lambda: lspci(fake_hosts.AFTER),
    "srv/captures/host18/lost.bin": LOST.read_bytes,
    "mnt/old/clean.bin": (TRACES / "clean-inherit.bin").read_bytes,
    "more.txt": lambda: b"captures/host18.bin\n",
}
#: Files of one page that are something else there.
OF_PAGE: dict[tuple[str, str], Callable[[], bytes]] = {
    ("README.md", "before.txt"): lambda: sample("lspci-xxxx-vvv.txt.zst"),
    ("README.md", "incoming-dmesg.txt"): lambda: sample("earlydump-console.txt.zst"),
    ("docs/capturing.md", "console.txt"): lambda: console(printed(kprobes(1)), printed(kprobes(2))).encode(),
}


def write(folder: Path, page: str, words: set[str]) -> None:
    """Write what the commands of a page name, and the hosts whose sysfs they read."""
    for name in CORPUS:
        for path in TRACES.glob(f"{name}.*"):
            (folder / "traces").mkdir(exist_ok=True)
            shutil.copy(path, folder / "traces")
    chosen = FILES | {name: make for (of, name), make in OF_PAGE.items() if of == page}
    for name, make in chosen.items():
        if any(name in word or name.partition("/")[0] in word for word in words):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(make())
    if any("collect" in word or "/sys/" in word for word in words):
        for number, name in enumerate(HOSTS.values()):
            spaces = fake_hosts.functions(number + 1)
            fake_hosts.host(folder / name, spaces, boot=number, kmsg=BANNER)
        shutil.copytree(folder / "outgoing" / "sys", folder / "sys", symlinks=True)
