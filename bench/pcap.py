"""Config accesses out of a NetTLP capture: this reader, tshark, and scapy's own layers, on one file.

    python bench/pcap.py [PACKETS]

Builds a capture of config requests with completions (default 400,000 packets), then reads it with
``analyze``'s reader, with ``tshark`` (which dissects Ethernet, IP and UDP and has no TLP dissector), with
tshark printing every packet's payload, and the first packets of it with scapy's full dissection. Prints a
markdown table of packets per second, median of several runs.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3
SCAPY_PACKETS = 4_000


def build(path: Path, packets: int) -> None:
    """Write a NetTLP capture of reads and writes of 32 functions."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import RawPcapWriter

    from analyzer.explanations import tlp_layers

    templates = []
    for number in range(256):
        function = 0x0300 | number % 32
        if number % 8:
            request = tlp_layers.config_read(function, number * 4 % 4096, 4, tag=number)
            answer = tlp_layers.completion(request, number * 0x01010101)
        else:
            request = tlp_layers.config_write(function, number * 4 % 4096, 2, number, tag=number)
            answer = tlp_layers.completion(request)
        for tlp in (request, answer):
            head = Ether() / IP() / UDP(dport=0x3000 + number, sport=0x3000 + number)
            templates.append(bytes(head / tlp_layers.NetTlp() / tlp))
    with RawPcapWriter(str(path), linktype=1) as writer:
        writer.write_header(templates[0])
        for number in range(packets):
            writer.write_packet(
                templates[number % len(templates)], sec=number // 10_000, usec=number % 10_000
            )


def rate(job: Callable[[], object], packets: int, runs: int = RUNS) -> float:
    """Packets per second, median of several runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return packets / statistics.median(times)


def ours(path: Path) -> int:
    """Read the capture; return the number of accesses."""
    from analyzer.readers import open_capture

    return open_capture(str(path)).accesses.height


def dissect(path: Path) -> None:
    """Read the first packets with scapy's full dissection."""
    from scapy.utils import PcapReader

    with PcapReader(str(path)) as reader:
        for _ in range(SCAPY_PACKETS):
            reader.read_packet()


def tshark(path: Path, *options: str) -> None:
    """Let tshark read the capture."""
    command = ["tshark", "-n", "-r", str(path), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Make the capture, time the readers, print the table."""
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cfg.pcap"
        build(path, packets)
        found = ours(path)  # and warm up
        rows = [("`analyze` (reader alone)", rate(lambda: ours(path), packets))]
        if shutil.which("tshark"):
            fields = ("-T", "fields", "-e", "frame.time_epoch", "-e", "udp.payload")
            rows.append(("`tshark -r`, one line a packet", rate(lambda: tshark(path), packets)))
            rows.append(("`tshark -T fields -e udp.payload`", rate(lambda: tshark(path, *fields), packets)))
        rows.append(("scapy, full dissection", rate(lambda: dissect(path), SCAPY_PACKETS, 1)))
    print(f"{packets:,} packets of NetTLP, {found:,} config accesses, median of {RUNS} runs")
    print()
    print("| reader | packets/s | ours is faster by |")
    print("|---|---|---|")
    for name, speed in rows:
        print(f"| {name} | {speed:,.0f} | {rows[0][1] / speed:.1f} |")


if __name__ == "__main__":
    main()
