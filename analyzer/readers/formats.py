"""The formats of captures by name: what people call each, which module reads it, and how to record it.

:mod:`analyzer.readers.sniff` says which of them an input is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from analyzer.errors import UsageError


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


RECORD_QEMU = "record config accesses with QEMU's options -msg timestamp=on -trace 'pci_cfg_*' -D cfg.log"

NATIVE = Format("native", "aritrace capture", "native.container", "record the accesses again")
QEMU_LOG = Format("qemu-log", "QEMU log", "qemu.log", RECORD_QEMU)
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
HEX_DUMP = Format(
    "config-hex-dump",
    "hex dump of one config file",
    "snapshot.hex_dump",
    "take it with hexdump -C, xxd or od -A x -t x1 -v of /sys/bus/pci/devices/DDDD:BB:DD.F/config, as root",
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
    "print it without -l: its columns cannot be separated reliably",
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
SNAPSHOTS: Final = frozenset({LSPCI.name, LSPCI_TEXT.name, SYSFS_CONFIG.name, HEX_DUMP.name, EARLYDUMP.name})
#: The formats that have a reader, in the order in which ``--input-format`` lists them.
READ: Final = (
    NATIVE, QEMU_LOG, SIMPLETRACE, TRACE_DAT, FTRACE_TEXT, PRINTED_EVENTS, PCAP, PCAPNG, LSPCI, LSPCI_TEXT,
    SYSFS_CONFIG, HEX_DUMP, EARLYDUMP, DMESG,
)  # fmt: skip


def named(name: str) -> Format:
    """Return the format with a reader that has this name.

    Raises:
        UsageError: there is none.
    """
    for form in READ:
        if form.name == name:
            return form
    names = ", ".join(form.name for form in READ)
    raise UsageError(f"--input-format: expected one of {names}; found {name!r}")
