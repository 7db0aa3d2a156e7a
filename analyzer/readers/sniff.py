"""Detect what an input is from its content, never by the extension of its name.

Formats that have no reader are named all the same, with what to do instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from analyzer.errors import UnsupportedFormatError
from analyzer.readers.tar_members import MAGIC as TAR_MAGIC
from analyzer.readers.tar_members import MAGIC_AT as TAR_MAGIC_AT
from schemas.native import MAGIC as NATIVE_MAGIC
from schemas.simpletrace import MAGIC as SIMPLETRACE_MAGIC

#: How much of an input ``identify`` wants to see: a text may begin with lines of other programs.
HEAD: Final = 1 << 20


@dataclass(frozen=True)
class Format:
    """A format by the name that reports use.

    Attributes:
        name: stable name, as in ``SourceFile.format``.
        title: what people call it.
        reader: module in ``analyzer.readers`` that reads it, or None if none does.
        advice: without a reader, what to do instead; with one, how to record config accesses in this format.
    """

    name: str
    title: str
    reader: str | None
    advice: str


_RECORD_QEMU = "record config accesses with QEMU's options -msg timestamp=on -trace 'pci_cfg_*' -D cfg.log"

NATIVE = Format("native", "aritrace capture", "native.container", "record the accesses again")
QEMU_LOG = Format("qemu-log", "QEMU log", "qemu.log", _RECORD_QEMU)
SIMPLETRACE = Format(
    "qemu-simpletrace",
    "QEMU simpletrace file",
    "qemu.simpletrace",
    "record with QEMU's option -trace 'pci_cfg_*',file=cfg.simple",
)
HEADERLESS = Format(
    "qemu-simpletrace-headerless",
    "QEMU simpletrace file without its header",
    None,
    "use the file that QEMU wrote: without the header neither byte order nor version are known",
)
TRACE_DAT = Format(
    "trace-dat",
    "trace-cmd trace.dat",
    "trace.dat",
    "record kprobes on the kernel's accessors, or kvm:kvm_pio and kvm:kvm_mmio of a guest"
    " (docs/capturing.md); for events with other field names see --map",
)
_RECORD_TLPS = (
    "record both directions of the link, whole packets (NetTLP: tcpdump -s 0), from before the kexec to"
    " after the second enumeration; for bare TLPs name the link type with --linktype-raw-tlp"
)
PCAP = Format("pcap", "pcap packet capture", "tlp.pcap", _RECORD_TLPS)
PCAPNG = Format("pcapng", "pcapng packet capture", "tlp.pcap", _RECORD_TLPS)
PERF_DATA = Format("perf-data", "perf.data", None, "record the same events with trace-cmd or QEMU")
AGILENT_PAD = Format(
    "agilent-pad", "Agilent/Keysight protocol analyzer file", None, "convert it with pad2pcapng"
)
CTF = Format("ctf", "Common Trace Format (LTTng)", None, "record with QEMU's log or simple trace backend")
LSPCI = Format(
    "lspci-dump", "lspci hex dump", "snapshot.lspci_dump", "take the snapshot with lspci -D -xxxx, as root"
)
LSPCI_TEXT = Format(
    "lspci-text",
    "text of lspci without hex dump",
    "snapshot.lspci_text",
    "run lspci -D -vvv or lspci -D -xxxx as root",
)
EARLYDUMP = Format(
    "earlydump",
    "kernel log with pci=earlydump",
    "snapshot.earlydump",
    "start the kernel with pci=earlydump, and keep its log from the first line on",
)
SYSFS_CONFIG = Format(
    "sysfs-config",
    "copy of config files of sysfs",
    "snapshot.sysfs",
    "pack them with (cd /sys/bus/pci/devices && tar -chf config.tar */config), as root",
)
FTRACE_TEXT = Format(
    "ftrace-text",
    "text of ftrace, trace-cmd report or perf script",
    "trace.ftrace_text",
    "record kprobes on the kernel's accessors (docs/capturing.md); keep the trace.dat that trace-cmd record"
    " wrote: it says more than its text",
)
PRINTED_EVENTS = Format(
    "printed-events",
    "kernel log with trace events",
    "trace.console",
    "start both kernels with tp_printk and probes on the kernel's accessors (docs/capturing.md), and keep the"
    " console's output from the outgoing kernel's first line on",
)
FTRACE_LATENCY = Format(
    "ftrace-latency-text",
    "text of trace-cmd report -l",
    None,
    "print it without -l: the columns of that form cannot be told apart for certain",
)
LEECHCORE = Format("leechcore", "LeechCore/pcileech TLP text", None, "not supported yet")
PCIESHARK = Format("pcieshark-csv", "pcieshark CSV", None, "not supported yet")
DMESG = Format(
    "dmesg",
    "kernel log",
    "snapshot.scan_log",
    "it holds no config accesses; give it with --dmesg together with a capture, or as a piece of --join",
)

#: Formats of which each function is shown as it was at one moment, by the name in ``SourceFile.format``.
SNAPSHOTS: Final = frozenset({LSPCI.name, LSPCI_TEXT.name, SYSFS_CONFIG.name, EARLYDUMP.name})

_BINARY: tuple[tuple[re.Pattern[bytes], Format], ...] = tuple(
    (re.compile(pattern, re.DOTALL), form)
    for pattern, form in (
        (re.escape(NATIVE_MAGIC), NATIVE),
        (re.escape(SIMPLETRACE_MAGIC["little"]), SIMPLETRACE),
        (re.escape(SIMPLETRACE_MAGIC["big"]), SIMPLETRACE),
        # A mapping record: type 0, a small event id, a length of at most 255, a name of that kind.
        (rb"\0{8}.{4}\0{4}[\x03-\xff]\0{3}[a-z_][a-z0-9_]{2}", HEADERLESS),
        (rb"\0{12}.{4}\0{3}[\x03-\xff][a-z_][a-z0-9_]{2}", HEADERLESS),
        (rb"\x17\x08\x44tracing", TRACE_DAT),  # trace-cmd.dat(5)
        # pcap-savefile(5): microseconds and nanoseconds, both byte orders.
        (rb"\xd4\xc3\xb2\xa1|\xa1\xb2\xc3\xd4|\x4d\x3c\xb2\xa1|\xa1\xb2\x3c\x4d", PCAP),
        (rb"\x0a\x0d\x0d\x0a", PCAPNG),
        (rb"PERFILE2|2ELIFREP", PERF_DATA),
        (rb"..AGT_MODULE_", AGILENT_PAD),
        # CTF 1.8: magic of metadata packets and of streams, both byte orders, and the bare metadata text.
        (rb"\x57\x1d\xd1\x75|\x75\xd1\x1d\x57|\xc1\x1f\xfc\xc1|\xc1\xfc\x1f\xc1|/\* CTF 1", CTF),
    )
)

# Repeats are bounded, so that no text makes a search slow.
_PCI_CFG = rb"pci_cfg_(?:read|write) [^\n]{1,200}? @0x[0-9a-f]{1,8} (?:->|<-) 0x[0-9a-f]"
_FTRACE_LINE = (
    rb"^ {0,40}(?:[^\s:]{1,32}: {1,40})?[^\n]{1,16}[- ] {0,8}(?:\d{1,8}/)?\d{1,8} {1,8}"
    rb"(?:\([ \d-]{1,12}\) {1,4})?\[\d{3,5}\] {0,2}[^\n:]{0,20}?\d{1,20}(?:\.\d{6,9})?:"
    rb" {1,80}(?:\(\+[\d.]{1,20}\) {1,20})?\w"
)
#: An event that tp_printk, or the dump of an oops, put into the kernel's log.
_PRINTED_EVENT = (
    rb"(?:\]|\bkernel:)(?: {1,20}[^\n]{1,16}-\d{1,8} {1,8}\d{1,4}[A-Za-z.#][\w.#]{2,8} {1,8}\d{1,15}us.?:)?"
    rb" \w{1,64}: \([^)\n]{1,200}\) [^\n]{0,200}?\b(?:bus|devfn)="
)
_DEVICE_LINE = rb"^(?:[0-9a-f]{4,6}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] "
_TEXT: tuple[tuple[tuple[re.Pattern[bytes], ...], Format], ...] = tuple(
    (tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns), form)
    for patterns, form in (
        # What QEMU's ftrace backend printed stands in lines of ftrace.
        ((rb"(?:print|tracing_mark_write): ", _FTRACE_LINE), FTRACE_TEXT),
        (
            (rb"^ {0,20}\S[^\n]{0,15}-\d{1,8} {1,8}\d{1,4}[A-Za-z.#][\w.#]{3,8} {1,8}\d{1,12}\.\d{6,9}: ",),
            FTRACE_LATENCY,
        ),
        ((_PCI_CFG,), QEMU_LOG),
        # LeechCore device_fpga.c; pcieshark's header line.
        ((rb"^[RT]X: [A-Za-z0-9]{2,8}: {1,8}Len: [0-9a-f]{3} ",), LEECHCORE),
        ((rb"^timestamp_ns,direction,type,requester_id,completer_id,tag,",), PCIESHARK),
        # ftrace "comm-pid [cpu] flags sec.usec: event:"; perf script "comm pid [cpu] sec.usec: group:event:".
        ((rb"^# tracer: ",), FTRACE_TEXT),
        ((_FTRACE_LINE,), FTRACE_TEXT),
        # QEMU without pci_cfg_* in sight: lines of dialects A, C and D, or of the other config space events.
        ((rb"^\d{1,10}@\d{1,12}\.\d{6}:[a-z]\w{2,80} ",), QEMU_LOG),
        ((rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z [a-z]\w{0,40}_\w{1,40} ",), QEMU_LOG),
        (
            (rb"(?:^|[ :])(?:memory_region_ops_(?:read|write) cpu|vfio_pci_(?:read|write)_config ) ",),
            QEMU_LOG,
        ),
        ((_PRINTED_EVENT,), PRINTED_EVENTS),
        ((_DEVICE_LINE, rb"^[0-9a-f]{2,8}: [0-9a-f]{2}(?: [0-9a-f]{2}){0,15}\s*$"), LSPCI),
        ((rb"pci(?:-\w{1,20})? [0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: config space:",), EARLYDUMP),
        ((rb"^(?:<\d{1,3}>)?\[ {0,5}\d{1,6}\.\d{6}\]|\bkernel: |Linux version \d",), DMESG),
        ((rb"\bpci [0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: \[[0-9a-f]{4}:[0-9a-f]{4}\] type ",), DMESG),
        ((_DEVICE_LINE,), LSPCI_TEXT),
    )
)

#: Lengths of a sysfs ``config`` file: unprivileged, conventional PCI, PCI Express.
_CONFIG_SIZES = (64, 256, 4096)
_BDF_IN_NAME = re.compile(
    r"(?:^|[^0-9a-f])(?:[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|bus/pci/[0-9a-f]{2}/[0-9a-f]{2}\.[0-7])"
    r"(?:$|[^0-9a-f])",
    re.IGNORECASE,
)

#: Name of such a file in the header of a tar archive.
_CONFIG_IN_TAR = re.compile(
    rb"(?:\A|[/\0])(?:[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]/config|[0-9a-f]{2}/[0-9a-f]{2}\.[0-7])\0",
    re.IGNORECASE,
)

#: Not captures, but what people hand over by mistake or wrapped otherwise, with what to do.
_WRAPPERS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"BZh", 0, "bzip2 data", "pipe it in: bzcat FILE | analyze -"),
    (b"\x04\x22\x4d\x18", 0, "lz4 data", "pipe it in: lz4 -dc FILE | analyze -"),
    (b"PK\x03\x04", 0, "a zip archive", "unpack it first"),
    (b"\xff\xfe", 0, "UTF-16 text", "pipe it in: iconv -f UTF-16 -t UTF-8 FILE | analyze -"),
    (b"\xfe\xff", 0, "UTF-16 text", "pipe it in: iconv -f UTF-16 -t UTF-8 FILE | analyze -"),
)
#: Bytes of an unknown binary input that are shown: enough for its magic.
_MAGIC = 4
#: Bytes that texts are made of, of whatever encoding: all but the control characters.
_TEXT_BYTES = bytes({9, 10, 12, 13, 27, *range(0x20, 0x7F), *range(0x80, 0x100)})


def identify(head: bytes, name: str) -> Format:
    """Detect the format of an input.

    Args:
        head: its first bytes, uncompressed: ``HEAD`` of them, or all if there are fewer.
        name: its path, which a config space file needs to say whose it is.

    Raises:
        UnsupportedFormatError: it is none of the known formats.
    """
    for pattern, form in _BINARY:
        if pattern.match(head):
            return form
    if head.startswith(TAR_MAGIC, TAR_MAGIC_AT):  # before text, which an archive may hold
        return _archive(head, name)
    for patterns, form in _TEXT:
        if all(pattern.search(head) for pattern in patterns):
            return form
    if len(head) in _CONFIG_SIZES and _BDF_IN_NAME.search(name):
        return SYSFS_CONFIG
    refuse_wrapper(head, name, "a capture")
    raise UnsupportedFormatError(
        "expected an aritrace .bin, a QEMU log with pci_cfg_* lines, a QEMU simpletrace, a trace-cmd"
        " trace.dat or its text, a pcap of TLPs, or a snapshot (lspci -xxxx, config files of sysfs,"
        " pci=earlydump), found"
        f" {_describe(head)}",
        path=name,
        offset=0,
        advice=_RECORD_QEMU,
    )


def wrapper(head: bytes) -> tuple[str, str] | None:
    """What an input is wrapped in that is not looked into, and what to do; None if it is not known to be."""
    found = (row[2:] for row in _WRAPPERS if head.startswith(row[0], row[1]))
    return next(found, None)


def refuse_wrapper(head: bytes, name: str, expected: str) -> None:
    """Refuse what is wrapped in a way that is not read here, with what to do.

    Raises:
        UnsupportedFormatError: it is.
    """
    wrapped = wrapper(head)
    if wrapped is not None:
        found, advice = wrapped
        raise UnsupportedFormatError(
            f"expected {expected}, found {found}", path=name, offset=0, advice=advice
        )


def _archive(head: bytes, name: str) -> Format:
    if _CONFIG_IN_TAR.search(head):
        return SYSFS_CONFIG
    raise UnsupportedFormatError(
        "expected a capture, found a tar archive without config files of sysfs in sight",
        path=name,
        offset=0,
        advice=f"unpack it first; for a snapshot {SYSFS_CONFIG.advice}",
    )


def _describe(head: bytes) -> str:
    """What an unknown input is, without a word of it: a link may lead to somebody's secret."""
    size = f"{len(head)}{'+' if len(head) >= HEAD else ''} bytes"
    if head.translate(None, _TEXT_BYTES):
        return f"{size} of binary data that begins with 0x{head[:_MAGIC].hex()}"
    return f"{size} of text without any line of these"
