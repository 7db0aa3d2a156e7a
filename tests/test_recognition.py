"""What a kernel log is: lines that only a kernel writes, in the forms in which people keep them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import zstandard

from analyzer.errors import UnsupportedFormatError
from analyzer.kernel_logs import log_facts
from analyzer.kernel_logs.log_facts import is_kernel_line, refuse_other_text
from analyzer.readers.small_files import kernel_log_bytes

FORMATS = Path(__file__).parents[1] / "traces" / "formats"
KERNEL_LINES = [
    "[    0.000000] Linux version 7.3.4 (x@y) #1",
    "[   12.345678][    T1] anything at all",
    "<6>[    1.000000] anything",
    "<6>anything",
    "6,123,456789,-;anything",
    "Jan  5 12:00:00 host kernel: anything",
    "2026-01-05T12:00:00.123456+00:00 host kernel: anything",
    "2026-01-05T12:00:00,123456+00:00 Linux version 6.1.0 (x@y) #1",
    "Jan 05 12:00:00 host kernel[0]: anything",
    "\x1b[0m[    0.000000] anything",
    "Booting the kernel.\r[    0.000000] anything",
    # dmesg -t
    "Linux version 6.1.0 (x@y) #1",
    "Command line: quiet",
    "pci 0000:00:00.0: [8086:1237] type 00 class 0x060000",
    "pcieport 0000:00:1c.0: pciehp: Slot(0): Link Down",
    "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
    "ACPI: RSDP 0x00000000000F5A10 000014 (v00 BOCHS )",
    "reboot: Restarting system",
    "Kernel panic - not syncing: sysrq triggered crash",
]
OTHER_LINES = [
    "",
    "root:x:0:0:root:/root:/bin/bash",
    "daemon:*:1:1:System Services:/var/root:/usr/bin/false",
    "127.0.0.1 localhost",
    "2026-01-05T12:00:00Z nginx started",
    "Jan  5 12:00:00 host sshd[12]: Accepted publickey for root",
    "<34>Oct 11 22:14:15 host su: failed",
    "<?xml version='1.0'?>",
    "[    12.345] (II) Module glx: vendor",
    "0000:03:00.0 Ethernet controller: Example",
    "03:00.0",
    "SeaBIOS (version 1.16.2)",
    "-- Boot 0123456789abcdef0123456789abcdef --",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    '{"kernel": "6.1", "error": 3}',
]


@pytest.mark.parametrize("line", KERNEL_LINES)
def test_kernel_lines(line: str) -> None:
    assert is_kernel_line(line.encode())
    refuse_other_text(b"firmware text\n" * 50 + line.encode(), "log")


@pytest.mark.parametrize("line", OTHER_LINES)
def test_other_lines(line: str) -> None:
    assert not is_kernel_line(line.encode())
    with pytest.raises(UnsupportedFormatError, match="none of them a kernel message") as caught:
        refuse_other_text(line.encode() * 2, "log")
    assert not line or line not in str(caught.value)
    assert caught.value.path == "log"
    assert caught.value.advice == "save it with dmesg, journalctl -k, or from the serial console"


@pytest.mark.parametrize(("before", "accepted"), [(2, True), (3, False)])
def test_how_far_a_message_is_looked_for(
    before: int, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_facts, "_MOST_LINES", 3)
    data = b"text\n\n" * before + b"<6>a message\n"  # empty lines do not count
    if accepted:
        refuse_other_text(data, "log")
        return
    with pytest.raises(UnsupportedFormatError, match="text of 7 lines, none of them"):
        refuse_other_text(data, "log")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"one\ntwo\n", "text of 2 lines"),
        (b"one\ntwo", "text of 2 lines"),
        (b"\x7fELF\0\1", "binary data of 1 line"),
        (b"\xff\xfe[\0", "UTF-16 text"),
        (b"\x04\x22\x4d\x18", "lz4 data"),
    ],
)
def test_what_was_found_is_said(data: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormatError, match=f"found {found}"):
        kernel_log_bytes(str(path))


@pytest.mark.parametrize("name", sorted(path.name for path in FORMATS.glob("*console*")))
def test_real_consoles(name: str) -> None:
    data = zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())
    refuse_other_text(data, name)
    # Without their times, as dmesg -t prints them, they are recognised just as well.
    bare = re.sub(rb"(?m)^\[ *\d+\.\d{6}\] ", b"", data).split(b"\n")
    assert sum(map(is_kernel_line, bare)) > 50
