"""Machines that cannot be: an answer in bounded time and memory, held to it by the operating system.

``ARITRACE_LONG=1`` runs the sizes of docs/reliability.md; without it they are a sixteenth of that.
"""

from __future__ import annotations

import json
import os
import struct

import hostile_captures as hostile
import limited
import polars as pl
import pytest
import zstandard
from hostile_captures import BRIDGE, ari, express, space

from analyzer.capture import Boundary
from schemas.native import CHUNK_MAGIC

LONG = os.environ.get("ARITRACE_LONG") == "1"
SHARE = 1 if LONG else 16
MEMORY, SECONDS = (8 << 30, 600) if LONG else (limited.MEMORY, limited.SECONDS)
FEW = (0x18, 0x34, 0x40, 0x64, 0x68, 0x100, 0x104)
ROOT_PORT, UPSTREAM, DOWNSTREAM = 4, 5, 6


def looping_lists():
    """Capability lists that lead back, and extended ones that fill the space and never end."""
    endless = {place: 0x0B | 1 << 16 | (place + 4) << 20 for place in range(0x100, 0xFFC, 4)}
    return {
        (0, 0, 0x08): space(
            header=BRIDGE,
            buses=(0, 1, 1),
            caps={**express(ROOT_PORT, 0x40, 0x50), 0x50: 0x01 | 0x40 << 8},
            extended={0x100: 0x0D | 1 << 16 | 0x104 << 20, 0x104: 0x0D | 1 << 16 | 0x100 << 20},
        ),
        (0, 0, 0x10): space(header=BRIDGE, buses=(0, 2, 2), caps=express(ROOT_PORT), extended=endless),
        (0, 1, 0): space(
            caps={0x40: 0x10 | 0x40 << 8 | 2 << 16}, extended={0x100: 0x0E | 1 << 16 | 0x100 << 20}
        ),
        (0, 2, 0): space(caps=express(0), extended=ari(0)),
        (0, 2, 1): space(first_cap=0xFF, caps={0xFC: 0xFFFFFFFF}),
    }  # fmt: skip


def port_above(functions):
    return {(0, 0, 8): space(header=BRIDGE, buses=(0, 1, 1), caps=express(ROOT_PORT)), **functions}


def next_function_ring():
    """The next-function fields of 256 functions are a ring."""
    return port_above(
        {(0, 1, n): space(caps=express(0), extended=ari((n + 1) % 256)) for n in range(256)}
    )  # fmt: skip


def next_function_back():
    """Next-function fields that lead to themselves and backwards."""
    return port_above(
        {(0, 1, n): space(caps=express(0), extended=ari(to)) for n, to in ((0, 5), (1, 1), (5, 3), (3, 0))}
    )  # fmt: skip


def bus_ring():
    """Each bridge's secondary bus is the next one's, all around; each claims 7 buses of its neighbours."""
    return {
        (0, bus, 0): space(
            header=BRIDGE, buses=(bus, (bus + 1) % 256, (bus + 7) % 256), caps=express(ROOT_PORT + bus % 3)
        )
        for bus in range(256)
    }


def own_bus():
    """Bridges whose secondary bus is their own, and whose subordinate is the last."""
    return {
        (0, bus, 0): space(header=BRIDGE, buses=(bus, bus, 255), caps=express(ROOT_PORT))
        for bus in range(256)
    }


def everything_claimed():
    """32 root ports that all claim every bus, and 32 bridges below that claim it back."""
    functions = {}
    for slot in range(0, 256, 8):
        functions[0, 0, slot] = space(header=BRIDGE, buses=(0, 1, 255), caps=express(ROOT_PORT))
        functions[0, 1, slot] = space(header=BRIDGE, buses=(0, 0, 255), caps=express(DOWNSTREAM))
        functions[0, 2, slot] = space(caps=express(0), extended=ari(8))
    return functions


def full_domain(bridges: bool):
    """65,536 functions, as endpoints, or as bridges to the next bus."""
    one = space(caps=express(0), extended=ari(1))
    functions = {}
    for bus in range(256 // SHARE):
        bridge = space(header=BRIDGE, buses=(bus, (bus + 1) % 256, 255), caps=express(DOWNSTREAM))
        for devfn in range(256):
            functions[0, bus, devfn] = bridge if bridges else one
    return functions


def many_domains():
    """100,000 domains with a root port and a function each."""
    port, one = space(header=BRIDGE, buses=(0, 1, 1), caps=express(ROOT_PORT)), space(caps=express(0))
    domains = range(100_000 // SHARE)
    return {(domain, bus, 0): one if bus else port for bus in (0, 1) for domain in domains}


@pytest.mark.parametrize(
    ("functions", "registers"),
    [
        (looping_lists, range(0, 4096, 4)),
        (next_function_ring, None),
        (next_function_back, None),
        (bus_ring, None),
        (own_bus, None),
        (everything_claimed, None),
        (lambda: full_domain(False), FEW),
        (lambda: full_domain(True), FEW),
        (many_domains, FEW),
    ],
    ids=[
        "looping lists",
        "next-function ring",
        "next function back",
        "bus ring",
        "own bus",
        "all buses claimed",
        "full domain of endpoints",
        "full domain of bridges",
        "many domains",
    ],
)
def test_a_machine_that_cannot_be(functions, registers, tmp_path):
    path, report = tmp_path / "a.bin", tmp_path / "report.json"
    path.write_bytes(hostile.twice(functions(), registers))
    ended = limited.analyze(path, "--format", "json", "-o", report, memory=MEMORY, seconds=SECONDS)
    assert ended.status in (0, 1, 3)
    (capture,) = json.loads(report.read_text())["captures"]
    assert len(capture["kexecs"]) == 1


OTHER_QUESTIONS = {"all buses claimed": everything_claimed}
if LONG:
    OTHER_QUESTIONS |= {"next-function ring": next_function_ring, "looping lists": looping_lists}


@pytest.mark.parametrize("name", OTHER_QUESTIONS)
def test_other_questions_about_a_machine_that_cannot_be(name, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(hostile.twice(OTHER_QUESTIONS[name]()))
    for command in (
        ["atrisk", path, "--format", "json", "-o", tmp_path / "atrisk.json"],
        ["explain", path, "0000:01:00.0", "--format", "json", "-o", tmp_path / "explain.json"],
        ["tables", path, "-o", tmp_path / "tables"],
    ):
        ended = limited.analyze(*command, memory=MEMORY, seconds=SECONDS)
        assert ended.status in (0, 1, 3), ended.err
    assert json.loads((tmp_path / "atrisk.json").read_text())["verdict"] != "safe"
    assert pl.read_parquet(tmp_path / "tables/functions").height > 0


def scanning():
    functions = {(0, 0, n): space(header=BRIDGE, buses=(0, n, n)) for n in range(250)}
    return hostile.scan(functions, [0x18, 0x34])


def polling():
    return hostile.poll(1000)


@pytest.mark.parametrize(
    ("accesses", "behind"),
    [(scanning, False), (polling, False), (polling, True)],
    ids=["scans", "equal reads", "equal reads, then the boundaries"],
)
def test_a_million_kexecs(accesses, behind, tmp_path):
    """As many boots as accesses, also where equal reads of a capture of that length are left out."""
    block = accesses()
    times = max(1_000_000 // SHARE, (3 << 17 if accesses is polling else 0)) // block.height
    marks = [Boundary(number, "kexec") for number in range(1, times * block.height)]
    path, report = tmp_path / "a.bin", tmp_path / "report.json"
    path.write_bytes(hostile.with_marks(block, times, marks, behind=behind))
    ended = limited.analyze(path, "--format", "json", "-o", report, memory=MEMORY, seconds=SECONDS)
    assert ended.status == 3
    (capture,) = json.loads(report.read_text())["captures"]
    assert capture["verdict"] == "unreadable"
    assert f"at most 10000 boots in a capture, found {len(marks) + 1}" in capture["errors"][0]["message"]


def bomb(layers: int) -> bytes:
    """4 GiB of zeros, compressed once or twice."""
    compressor = zstandard.ZstdCompressor(level=3)
    part = compressor.compress(bytes(1 << 26))
    data = part * 64
    return data if layers == 1 else compressor.compress(data)


def chunk_bomb() -> bytes:
    """A native file whose chunks decompress to 16 MiB each."""
    whole = bytearray(hostile.native([hostile.scan({(0, 0, 0): space()})]))
    return bytes(whole[: whole.index(CHUNK_MAGIC)]) + chunk_of(zstandard.compress(bytes(16 << 20))) * 2000


def chunk_of(packed: bytes) -> bytes:
    import zlib

    count = (16 << 20) // 24
    head = struct.pack(
        "<4sHBBIIIIQI", CHUNK_MAGIC, 1, 1, 0, count, len(packed), count * 24, zlib.crc32(packed), 0, 0
    )
    return head + struct.pack("<I", zlib.crc32(head)) + packed + bytes(-len(packed) % 8)


@pytest.mark.parametrize(
    "make", [lambda: bomb(1), lambda: bomb(2), chunk_bomb], ids=["once", "twice", "chunks"]
)
def test_decompression_bombs(make, tmp_path):
    path = tmp_path / "bomb.zst"
    path.write_bytes(make())
    ended = limited.analyze(path, memory=2 << 30)
    assert ended.status == 3


def test_links_in_circles_and_deep_folders(tmp_path):
    folder = tmp_path / "captures"
    deep = folder
    for _ in range(100):
        deep = deep / "d"
    deep.mkdir(parents=True)
    for number in range(100):
        (folder / f"round{number}").symlink_to(folder)
    (folder / "x").symlink_to(folder / "y")
    (folder / "y").symlink_to(folder / "x")
    (folder / "self").symlink_to("self")
    (deep / "a.bin").write_bytes(hostile.twice(next_function_back()))
    ended = limited.analyze(folder, "--format", "json")
    assert len(json.loads(ended.out)["captures"]) == 1


@pytest.mark.parametrize("length", [100_000_000 // SHARE])
@pytest.mark.parametrize(
    "piece", [b"x", b"\0", b"pci_cfg_read ", b"[    0.000000] ", b"00: ", b"\xff\xfe", b"\r"]
)
def test_a_huge_line(piece, length, tmp_path):
    path = tmp_path / "huge"
    first = b"pci_cfg_read e1000e 00:02.0 @0x0 -> 0x10d38086\n"
    path.write_bytes(first + piece * (length // len(piece)))
    assert limited.analyze(path, memory=2 << 30).status in (0, 3)
    path.write_bytes(piece * (length // len(piece)))
    assert limited.analyze(path, memory=2 << 30).status == 3
