"""Small files that would cost much: each is refused within the limits, whatever it grows to."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct

import limited
import pytest
import zstandard

CAPTURE = limited.ROOT / "traces" / "lost-explicit-write.bin"
SKIPPABLE = struct.pack("<II", 0x184D2A50, 0)
VERSION = b"[    0.000000] Linux version 7.3.4 (x@y) #1\n"
ZSTD = zstandard.ZstdCompressor()


def archive(names, content=bytes(64)):
    """A tar archive of files with the same content, made without tarfile, which takes a minute for these."""
    blocks = []
    for name in names:
        header = bytearray(512)
        header[: len(name)] = name.encode("ascii")
        header[124:135] = b"%011o" % len(content)
        header[148:156] = b" " * 8
        header[156:157] = b"0"
        header[257:265] = b"ustar\00000"
        header[148:156] = b"%06o\0 " % sum(header)
        blocks += [bytes(header), content + bytes(-len(content) % 512)]
    return b"".join(blocks) + bytes(1024)


def functions(number):
    return (f"{n >> 16:04x}:{n >> 8 & 255:02x}:{n >> 3 & 31:02x}.{n & 7}/config" for n in range(number))


CAPTURES = {
    "functions": (
        lambda: lzma.compress(archive(functions(70_000), b"\x86\x80\x37\x12" * 16), preset=0),
        "at most 65536 functions in a snapshot",
    ),
    "members": (
        lambda: lzma.compress(archive(["0000:00:00.0/config", *map(str, range(300_000))]), preset=0),
        "at most 262144 members in an archive",
    ),
    "skippable frames of zstd": (lambda: SKIPPABLE * 3_000_000, "found 0 bytes in 100001 of them"),
    "frames of zstd": (lambda: ZSTD.compress(b"a") * 1_000_000, "found 100001 bytes in 100001 of them"),
    "members of gzip": (lambda: gzip.compress(b"a") * 1_000_000, "found 100001 bytes in 100001 of them"),
    "streams of xz": (lambda: lzma.compress(b"") * 1_000_000, "found 0 bytes in 100001 of them"),
}
LOGS = {
    "empty lines, compressed": (
        lambda: ZSTD.compress(VERSION + bytes([10]) * (250 << 20)),
        "compressed bytes that became",
    ),
    "short lines, compressed": (
        lambda: ZSTD.compress(VERSION + b"a\n" * (125 << 20)),
        "compressed bytes that became",
    ),
    "short lines": (lambda: VERSION + b"a\n" * 2_500_000, "at most 2000000 messages in a log"),
    "carriage returns": (
        lambda: VERSION + (b"a\r" * 8000 + b"\n") * 300,
        "at most 2000000 messages in a log",
    ),
    "other text": (lambda: b"a\n" * (100 << 20), "none of them a kernel message"),
    "one line": (lambda: b"a" * (250 << 20), "none of them a kernel message"),
}
LISTS = {
    "zeros": (lambda: bytes(1 << 30), "in line 1, found more than 4096 bytes"),
    "empty lines, compressed": (lambda: ZSTD.compress(b"\n" * (300 << 20)), "at most 20000000 lines"),
    "short lines, compressed": (lambda: ZSTD.compress(b"a\n" * (100 << 20)), "at most 20000000 lines"),
}


@pytest.mark.parametrize("case", CAPTURES)
def test_captures(case, tmp_path):
    make, message = CAPTURES[case]
    (tmp_path / "x").write_bytes(make())
    ended = limited.analyze(tmp_path / "x", memory=2 << 30)
    assert ended.status == 3
    assert message in ended.err


@pytest.mark.parametrize("case", LOGS)
def test_kernel_logs(case, tmp_path):
    make, message = LOGS[case]
    (tmp_path / "log").write_bytes(make())
    shutil.copy(CAPTURE, tmp_path / "a.bin")
    ended = limited.analyze(tmp_path / "a.bin", "--dmesg", tmp_path / "log", memory=2 << 30)
    assert ended.status == 3
    assert message in ended.err


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_sources(case, tmp_path):
    make, message = LISTS[case]
    (tmp_path / "list").write_bytes(make())
    ended = limited.analyze("fleet", "run", f"@{tmp_path}/list", "-o", tmp_path / "out", memory=2 << 30)
    assert ended.status == 2
    assert message in ended.err


def test_a_list_that_is_a_device(tmp_path):
    ended = limited.analyze("fleet", "run", "@/dev/zero", "-o", tmp_path / "out", memory=1 << 30)
    assert ended.status == 2
    assert "expected a list of sources, found a device or socket" in ended.err


def test_a_manifest_that_grows(tmp_path):
    (tmp_path / "m").write_bytes(ZSTD.compress(b"pieces\n" + b"a\n" * (100 << 20)))
    ended = limited.analyze(
        "fleet", "run", "--manifest", tmp_path / "m", "-o", tmp_path / "out", memory=2 << 30
    )
    assert ended.status == 2
    assert "compressed bytes that became" in ended.err
