"""Config accesses out of a NetTLP capture, beside tshark and scapy.

tshark dissects Ethernet, IP and UDP and has no dissector for TLPs; with the payload of every packet it prints
what a program would still have to decode. scapy dissects down to the TLP, with the layers of this package.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from measuring import Contender, Plan, Table, compare, megabytes
from native import decode
from profiles import where_the_time_goes

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "TLPs in a pcap"
PACKETS, FEW = 400_000, 8_192
SAMPLE, SMALL_SAMPLE = 4_000, 500


def measure(plan: Plan) -> list[Table]:
    """Measure one file."""
    path = plan.folder / "tlp.pcap"
    packets = plan.size(PACKETS, FEW)
    _write(path, packets)
    fields = ("-T", "fields", "-e", "frame.time_epoch", "-e", "udp.payload")
    found = shutil.which("tshark") is not None
    contenders = [
        Contender("decode", partial(_ours, path)),
        Contender("`tshark -r`, one line a packet", partial(tshark, path) if found else None),
        Contender("`tshark -T fields -e udp.payload`", partial(tshark, path, *fields) if found else None),
        Contender(
            "scapy, full dissection (a sample)",
            partial(dissect, path, plan.size(SAMPLE, SMALL_SAMPLE)),
            sample=True,
        ),
    ]
    caption = f"NetTLP, {megabytes(path.stat().st_size)} MB, each access a request and its completion"
    tables = [compare(plan, caption, "packets", contenders)]
    if plan.profile:
        tables.append(where_the_time_goes("decoding", partial(decode, path)))
    path.unlink()
    return tables


def tshark(path: Path, *options: str) -> int:
    """Let tshark read the capture and print a line for each packet."""
    command = ["tshark", "-n", "-r", str(path), *options]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return output.count(b"\n")


def dissect(path: Path, packets: int) -> int:
    """Read the first packets with scapy's full dissection."""
    from scapy.utils import PcapReader

    from analyzer.readers.tlp import layers  # noqa: F401 binds its layers to UDP

    with PcapReader(str(path)) as reader:
        for _ in range(packets):
            reader.read_packet()
    return packets


def _ours(path: Path) -> int:
    return 2 * decode(path)


def _write(path: Path, packets: int) -> None:
    """Write a NetTLP capture of reads and writes of 32 functions."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import RawPcapWriter

    from analyzer.readers.tlp import layers

    templates = []
    for number in range(256):
        function = 0x0300 | number % 32
        if number % 8:
            request = layers.config_read(function, number * 4 % 4096, 4, tag=number)
            answer = layers.completion(request, number * 0x01010101)
        else:
            request = layers.config_write(function, number * 4 % 4096, 2, number, tag=number)
            answer = layers.completion(request)
        for tlp in (request, answer):
            head = Ether() / IP() / UDP(dport=0x3000 + number, sport=0x3000 + number)
            templates.append(bytes(head / layers.NetTlp() / tlp))
    with RawPcapWriter(str(path), linktype=1) as writer:
        writer.write_header(templates[0])
        for number in range(packets):
            data = templates[number % len(templates)]
            writer.write_packet(data, sec=number // 10_000, usec=number % 10_000)
