"""Content decides the format: one case per row of the list of formats."""

from __future__ import annotations

import contextlib
import io

import pytest

from analyzer.errors import UnsupportedFormatError
from analyzer.readers import sniff
from analyzer.readers.sniff import HEAD
from analyzer.readers.unwrap import ByteStream

LE_HEADER = bytes.fromhex("ffffffffffffffff b429a40acb77b1f2 0400000000000000")
MAPPING = bytes.fromhex("0000000000000000 1b0c000000000000 0d000000") + b"pci_cfg_write"
LSPCI = b"03:00.0 Ethernet controller: Intel Corporation 82576\n00: 86 80 c9 10 07 04 10 00 01 00 00 02\n"
PCI_CFG = b"pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36\n"

BINARY = [
    (b"\x89ARI\r\n\x1a\n" + bytes(8), "native"),
    (LE_HEADER, "qemu-simpletrace"),
    (bytes.fromhex("ffffffffffffffff f2b177cb0aa429b4 0000000000000004"), "qemu-simpletrace"),
    (MAPPING, "qemu-simpletrace-headerless"),
    (
        bytes.fromhex("0000000000000000 0000000000000c1b 0000000d") + b"pci_cfg_write",
        "qemu-simpletrace-headerless",
    ),
    (b"\x17\x08\x44tracing6\0\0\x04", "trace-dat"),
    (b"\x17\x08\x44tracing7\0\0\x08", "trace-dat"),
    (b"\xd4\xc3\xb2\xa1" + bytes(20), "pcap"),
    (b"\xa1\xb2\xc3\xd4" + bytes(20), "pcap"),
    (b"\x4d\x3c\xb2\xa1" + bytes(20), "pcap"),
    (b"\xa1\xb2\x3c\x4d" + bytes(20), "pcap"),
    (b"\x0a\x0d\x0d\x0a" + bytes(24), "pcapng"),
    (b"PERFILE2" + bytes(96), "perf-data"),
    (b"\x00\x1fAGT_MODULE_ONEPORT_PCIEXPRESS", "agilent-pad"),
    (b"\x00\x20AGT_MODULE_TWOPORT_PCIEXPRESS", "agilent-pad"),
    (b"\x57\x1d\xd1\x75" + bytes(20), "ctf"),
    (b"\xc1\x1f\xfc\xc1" + bytes(20), "ctf"),
]
TEXT = [
    (b"31900@1595480025.712490:pci_cfg_write virtio-vga 02:0 @0x18 <- 0xe0800000\n", "qemu-log"),
    (PCI_CFG, "qemu-log"),
    (b"5695@1795328033.832856:" + PCI_CFG, "qemu-log"),
    (b"2025-07-24T14:12:21.123456Z " + PCI_CFG, "qemu-log"),
    (b"Nov  5 12:00:01 host qemu-system-x86_64[77]: " + PCI_CFG, "qemu-log"),
    (b"qemu: warning: host doesn't support it\n[R +0.046] outl 0xcf8 0x80000000\n" + PCI_CFG, "qemu-log"),
    (b"IN:\n0x7c00: jmp 0x7c3e\n" * 20_000 + PCI_CFG, "qemu-log"),
    (b"5695@1795328033.832856:memory_region_ops_read cpu 0 mr 0x55 addr 0xb0 value 0x0 size 4\n", "qemu-log"),
    (b"vfio_pci_read_config  (0000:81:00.1, @0x0, len=0x4) 0x15218086\n", "qemu-log"),
    (LSPCI, "lspci-dump"),
    (LSPCI.replace(b"\n", b"\r\n"), "lspci-dump"),
    (b"0000:" + LSPCI, "lspci-dump"),
    (b"\tNot captured, shown as 00: 10-3f\n# analyze snapshot\n10000:" + LSPCI, "lspci-dump"),
    (b"03:00.0 Ethernet controller: Intel Corporation 82576\n\tControl: I/O- Mem+\n", "lspci-text"),
    (b"[    0.0] x\n[    0.512345] Linux version 7.3\n03:00.0 x: y\n\tControl: I/O- Mem+\n", "lspci-text"),
    (b"".join(b"> " + line + b"\n" for line in LSPCI.split(b"\n")), "lspci-dump"),
    (b"[    3.4] pcieport 0000:00:1c.0: config space:\n[    3.4] 00000000: 86 80 10 a1\n", "earlydump"),
    (b"[    0.4] pci 0000:00:00.0 config space:\n[    0.4]   00: 86 80 c0 29\n", "earlydump"),
    (b"00000000  86 80 48 a0 07 04 10 00  01 00 04 06 00 00 01 00  |..H.............|\n", "config-hex-dump"),
    (b"00000000: 8680 48a0 0704 1000 0100 0406 0000 0100  ..H.............\n", "config-hex-dump"),
    (b"0000000 86 80 48 a0 07 04 10 00 01 00 04 06 00 00 01 00\n", "config-hex-dump"),
    (b"2026-09-22 07:14:04.125+0000: starting up libvirt version: 11.3.0, kernel: 6.12.0\n", "qemu-log"),
    (b"2026-09-22T07:14:04.1Z stderr F pci_cfg_read nvme 03:00.0 @0x0 -> 0x101B36\n", "qemu-log"),
    (b"[    0.512] x\n[    0.513070] pci 0000:00:01.0: config space:\n00000000: 86 80 c9 10\n", "earlydump"),
    (b"[    0.000000] Linux version 7.3.4\n[    0.000000] Command line: root=/dev/vda\n", "dmesg"),
    (b"SeaBIOS\r\n\x1bcLinux version 7.3.4 (x@y)\r\n" + LSPCI.split(b"\n")[0], "dmesg"),
    (b"# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/2\n", "ftrace-text"),
    (
        b"     kworker/0:1-12    [001] d..1.  1311.177459: wr: (pci_conf1_write+0x0/0xa0) seg=0x0\n",
        "ftrace-text",
    ),
    (
        b"cpus=2\n           lspci-1201  [000]    23.564483: wr:                   seg=0x0 bus=0x0\n",
        "ftrace-text",
    ),
    (b"lspci  1201 [000]   123.456789:    pcicfg:wr: (ffffffff81) seg=0x0\n", "ftrace-text"),
    (b" second:           setpci-121   [003]    40.264575: wr:  (ffff) dom=0\n", "ftrace-text"),
    (b"          setpci-259   [002]137087462555: wr:                   (ffff) dom=0\n", "ftrace-text"),
    (
        b"          setpci-127     (    127) [001] d..1.    13.875651: wr: (pci_conf1_write) dom=0\n",
        "ftrace-text",
    ),
    (b"sh-659 [001] .....   106.331538: tracing_mark_write: " + PCI_CFG, "ftrace-text"),
    (b"  setpci-116     1d..1.    10.741255: wr:                   (ffff) dom=0\n", "ftrace-latency-text"),
    (b"      sh-116     1.....    10.741255: print:  tracing_mark_write: " + PCI_CFG, "ftrace-latency-text"),
    (b"RX: CfgRd0: Len: 001 ReqID: 0000 BE_FL: f0 Tag: 00 Dev: 1:0.0 ExtRegNum: 0 RegNum: 00\n", "leechcore"),
    (b"timestamp_ns,direction,type,requester_id,completer_id,tag,length,addr,payload\n", "pcieshark-csv"),
]


def identify(data, name):
    """The format of an input with these bytes."""
    with ByteStream(name, io.BytesIO(data)) as stream:
        return sniff.identify(stream)


@pytest.mark.parametrize(("head", "expected"), BINARY + TEXT)
def test_identify(head, expected):
    assert identify(head, "capture").name == expected


def test_the_extension_says_nothing():
    assert identify(LE_HEADER, "cfg.log").name == "qemu-simpletrace"
    assert identify(PCI_CFG, "qemu.trace").name == "qemu-log"


@pytest.mark.parametrize("size", [64, 256, 4096])
@pytest.mark.parametrize(
    "name",
    [
        "/sys/bus/pci/devices/0000:03:00.0/config",
        "0000:03:00.0.config",
        "10000:e1:00.0",
        "/proc/bus/pci/03/00.0",
    ],
)
def test_config_space(size, name):
    data = bytes.fromhex("8680c910") + bytes(size - 4)
    assert identify(data, name).name == "sysfs-config"


@pytest.mark.parametrize(
    "name", [b"0000:00:00.0/config", b"./0000:00:00.0/config", b"host/10000:e1:00.0/config", b"00/1f.3"]
)
def test_config_spaces_in_an_archive(name):
    assert identify(name.ljust(257, b"\0") + b"ustar  \0", "x.tar").name == "sysfs-config"


@pytest.mark.parametrize(("size", "name"), [(255, "0000:03:00.0"), (256, "config"), (256, "03:00")])
def test_config_space_of_an_unknown_function(size, name):
    with pytest.raises(UnsupportedFormatError):
        identify(b"\x86\x80\xc9\x10" + bytes(size - 4), name)


@pytest.mark.parametrize(
    ("head", "found", "advice"),
    [
        (b"\xff\xfep\0c\0i\0", "UTF-16", "iconv"),
        (b"PK\x03\x04", "zip", "unpack"),
        (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
        (bytes(257) + b"ustar", "tar", "unpack"),
        (b"0000:03:00.0" + bytes(245) + b"ustar", "tar archive without config files", "tar -chf"),
        (b"a.log" + bytes(252) + b"ustar" + bytes(250) + PCI_CFG, "tar", "unpack"),
    ],
)
def test_what_people_hand_over_by_mistake(head, found, advice):
    with pytest.raises(UnsupportedFormatError, match=found) as caught:
        identify(head, "x")
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x1b[2J\\hello" + bytes(100), "found 110 bytes of binary data that begins with 0x1b5b324a"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "found 32 bytes of text without any line of these"),
        ("Müller\r\n".encode(), "found 9 bytes of text"),
    ],
)
def test_unknown_content_is_not_quoted(head, found):
    with pytest.raises(UnsupportedFormatError) as caught:
        identify(head, "x")
    assert found in str(caught.value)
    assert not any(word in str(caught.value) for word in ("hello", "root", "ller", "\x1b"))
    assert "pci_cfg_*" in caught.value.advice


def test_unknown_content_is_told_what_is_read():
    with pytest.raises(UnsupportedFormatError) as caught:
        identify(b"hello", "x")
    for word in (
        ".bin",
        "QEMU log",
        "simpletrace",
        "trace.dat",
        "its text",
        "pcap",
        "lspci",
        "sysfs",
        "earlydump",
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "piece",
    [
        b"pci_cfg_read ",
        b"a ",
        b"0",
        b"[000] ",
        b"-1 [000] 1.000000: ",
        b"00:00.0 ",
        b"00: 00 ",
        b"\n",
        b"1@1.000000:",
        b"\0",
        b"> ",
        b"=3D",
        b"=\n",
        b"2026-09-22T07:14:04.123456789Z ",
        b"a/b:",
        b"    ",
        b"0000000 00 ",
        b"\x1b[",
        b"\xc2\xa0",
    ],
)
def test_no_text_makes_the_search_slow(piece):
    """A line, or as many lines, of 4 MiB; work that grows with the square of that takes more than an hour."""
    size = 4 * HEAD
    with contextlib.suppress(UnsupportedFormatError):
        identify((piece * (size // len(piece) + 1))[:size], "x")
