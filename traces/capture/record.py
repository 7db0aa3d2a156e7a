#!/usr/bin/env python3
"""Record the PCI configuration accesses of a host around a kexec, with nothing but Python 3.8 and root.

    record.py record -o k1.bin        snapshot, then every access until SIGINT or the end of the machine
    record.py snapshot -o before.bin  config space of every function, now
    record.py arm [--instance NAME]   only define and enable the probes (persistent ring buffer, trace-cmd)
    record.py disarm                  remove them
    record.py convert TRACE -o k2.bin text of a trace file (boot-time probes, persistent buffer) as .bin
    record.py bootconfig              the same probes for the next kernel, from before its PCI enumeration

The files are the native container of aritrace (docs/format.md); docs/capturing.md says when to use what.
Probes need CONFIG_KPROBE_EVENTS and, to see what reads return, Linux 6.9 or 6.6-stable; with --writes-only,
Linux 5.0. On machines other than x86: config space in memory (ECAM) and CONFIG_DEBUG_INFO_BTF.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import select
import signal
import socket
import struct
import sys
import time
import zlib
from pathlib import Path

GROUP, CLOCK, DEVICES = "pcicfg", "boot", "/sys/bus/pci/devices"
#: x86: every access of kernel and user space ends in these (seg, bus, devfn, reg, len, value).
FUNCTIONS = {"conf1": "pci_conf1", "mmcfg": "pci_mmcfg"}
PLACE = "seg=$arg1:u32 bus=$arg2:u32 devfn=$arg3:u32 reg=$arg4:u32 len=$arg5:u32"
#: Elsewhere: the functions for ECAM, whose first argument is the kernel's structure of the bus.
ECAM = {"ecam": "pci_generic_config"}
ECAM_PLACE = "seg=bus->domain_nr:u32 bus=bus->number:u8 devfn=devfn:u32 reg=where:u32 len=size:u32"
TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
LINUX = "Linux " + os.uname().release
READS = "; reads need Linux 6.9 or 6.6-stable on x86, --writes-only records without them"
TAKEN = ": another record.py is running, or has left its probes; 'record.py disarm' removes them"
READ, WRITE = 0, 1
# docs/format.md: chunk types, flags of accesses and records, clocks.
ACCESSES, LOG, SNAPSHOTS, PROBLEMS, TRAILER = 1, 4, 6, 7, 8
STATUS_OK, STATUS_ABORT, TIME_NULL, CPU_NULL, TIME_KNOWN = 0, 3 << 1, 1 << 5, 1 << 6, 1
CLOCKS = {"mono": 1, "boot": 3, "tai": 4, "local": 5}
CHUNK_ACCESSES, SNAPSHOT_BYTES = 4096, 1 << 20


def probes(machine=None, writes_only=False):
    """Return name and definition of each probe event, as tracefs takes them; a machine is a ``uname -m``."""
    x86 = re.fullmatch(r"x86_64|i.86", machine or os.uname().machine)
    functions, place, value = (FUNCTIONS, PLACE, "$arg6") if x86 else (ECAM, ECAM_PLACE, "val")
    found = {f"wr_{name}": f"{start}_write {place} val={value}:x32" for name, start in functions.items()}
    for name, start in () if writes_only else functions.items():
        found[f"rd_{name}"] = f"{start}_read%return {place} val=+0({value}):x32 rc=$retval:s32"
    return found


class Container:
    """A native capture file, written a chunk at a time: what was written survives the machine."""

    def __init__(self, path, clock=None, release=""):
        self.path = path
        self.accesses = self.number = 0
        # Never over an older recording.
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        texts = [socket.gethostname(), "aritrace traces/capture/record.py", "", *filter(None, [release])]
        body = b"".join(struct.pack("<H", len(text.encode())) + text.encode() for text in texts)
        size = (24 + len(body) + 4 + 7) // 8 * 8
        fields = 1, size, 1, CLOCKS.get(clock, 0), len(texts) - 3, time.time_ns()
        head = struct.pack("<8sHHHBBq", b"\x89ARI\r\n\x1a\n", *fields)
        head = (head + body).ljust(size - 4, b"\0")
        self._write(head + struct.pack("<I", zlib.crc32(head)))

    def _write(self, data):
        while data:
            data = data[os.write(self.file, data) :]

    def chunk(self, kind, count, payload):
        """Append one chunk; its accesses, if any, are counted by the caller."""
        head = struct.pack(
            "<4sHBBIIIIQI", b"\xabCHK", kind, 0, 0, count, len(payload), len(payload), zlib.crc32(payload),
            self.accesses, self.number,
        )  # fmt: skip
        self._write(head + struct.pack("<I", zlib.crc32(head)) + payload + bytes(-len(payload) % 8))
        self.number += 1

    def add_accesses(self, rows):
        """Append accesses as ``parse_line`` gives them."""
        for start in range(0, len(rows), CHUNK_ACCESSES):
            part = rows[start : start + CHUNK_ACCESSES]
            self.chunk(ACCESSES, len(part), b"".join(struct.pack("<qIIHHBBBB", *row) for row in part))
            self.accesses += len(part)

    def add_lost(self, count, where):
        """Say that accesses were lost: their numbers stay free, so that even a file without its end tells."""
        self.accesses += count
        self.add_problem(b"dropped", f"the ring buffer lost {count} events on {where}".encode())

    def add_problem(self, kind, text):
        """Say what is wrong with the recording."""
        self.chunk(PROBLEMS, 1, struct.pack("<QIHBB", 0, len(text), 0, len(kind), 0) + kind + text)

    def add_log(self, lines):
        """Append kernel log lines."""
        texts = [line.encode("utf-8", "replace")[:4096] for line in lines]
        if texts:
            records = b"".join(struct.pack("<qQIB3x", 0, 0, len(text), 0) for text in texts)
            self.chunk(LOG, len(texts), records + b"".join(texts))

    def add_snapshots(self, functions):
        """Append config spaces given as (domain, bus, devfn, bytes, time in ns)."""
        batch, size = [], 0
        for function in functions:
            if size + len(function[3]) + 24 > SNAPSHOT_BYTES:
                self._snapshots(batch)
                batch, size = [], 0
            batch.append(function)
            size += len(function[3]) + 24
        if batch:
            self._snapshots(batch)

    def _snapshots(self, batch):
        records = b"".join(
            struct.pack("<qIHBBB7x", when, domain, len(data), bus, devfn, TIME_KNOWN)
            for domain, bus, devfn, data, when in batch
        )
        self.chunk(SNAPSHOTS, len(batch), records + b"".join(function[3] for function in batch))
        self.accesses += sum(len(function[3]) // 4 for function in batch)

    def close(self):
        """Write the trailer, which says that the file is complete."""
        self.chunk(TRAILER, 1, struct.pack("<QQI4x", self.accesses, 0, 0))
        os.fdatasync(self.file)
        os.close(self.file)

    def discard(self):
        """Remove the file: nothing was recorded."""
        os.close(self.file)
        os.unlink(self.path)  # noqa: PTH108 a name may be a str


LINE = re.compile(r"\[(\d{3,5})\]\s(?:\S*\s+)?(\d+)\.(\d{6,9}):\s+(?:\w+:)?(\w+):\s(.*)")
LOST = re.compile(r"CPU:(\d+) \[LOST (\d+) EVENTS\]")
FIELD = re.compile(r"(\w+)=(-?(?:0x)?[0-9a-fA-F]+)\b")
#: Field of the recipe -> names that others give it.
NAMES = {"seg": "seg dom domain", "bus": "bus", "devfn": "devfn", "reg": "reg pos where", "len": "len size",
         "val": "val value", "rc": "rc ret"}  # fmt: skip
NAMES = {name: field for field, names in NAMES.items() for name in names.split()}


def parse_line(line):
    """One line of tracefs or trace-cmd report as the fields of an access record; None if it is none."""
    match = LINE.search(line)
    if match is None:
        return None
    cpu, seconds, fraction, event, text = match.groups()
    fields = {NAMES[name]: int(value, 0) for name, value in FIELD.findall(text) if name in NAMES}
    event = event.lower()
    if not {"bus", "devfn", "reg", "len", "val"} <= set(fields) or not re.search("rd|read|wr", event):
        return None
    width, reg, bus, devfn = fields["len"], fields["reg"], fields["bus"], fields["devfn"]
    if width not in (1, 2, 4) or not 0 <= reg <= 4096 - width or not (0 <= bus < 256 and 0 <= devfn < 256):
        return None
    flags = WRITE if "wr" in event else READ
    flags |= STATUS_ABORT if fields.get("rc", 0) else STATUS_OK
    when = int(seconds) * 10**9 + int(fraction.ljust(9, "0"))
    value = fields["val"] & (1 << 8 * width) - 1
    return when, fields.get("seg", 0) & 0xFFFFFFFF, value, reg, int(cpu) & 0xFFFF, bus, devfn, width, flags


def take_lines(lines, container):
    """Put the accesses of trace text into the container, in order, with what was lost between them."""
    rows, others = [], 0
    for line in lines:
        lost, row = LOST.search(line), parse_line(line)
        if lost is not None:
            container.add_accesses(rows)
            container.add_lost(int(lost[2]), "CPU " + lost[1])
            rows = []
        elif row is None:
            others += 1
        else:
            rows.append(row)
    container.add_accesses(rows)
    return others


def config_spaces(devices=DEVICES):
    """Yield domain, bus, devfn, config space and boot time in ns of every function."""
    for path in sorted(Path(devices).iterdir()):
        match = re.fullmatch(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", path.name)
        if match is None:
            continue
        try:
            data = (path / "config").read_bytes()[:4096]
        except OSError as error:
            say(f"{path.name}: {error.strerror}")
            continue
        domain, bus, slot, function = (int(part, 16) for part in match.groups())
        data = data[: len(data) // 4 * 4]
        if data:
            yield domain, bus, slot << 3 | function, data, time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(text):
    """Tell the user."""
    sys.stderr.write("record.py: " + text + "\n")


def refuse(text):
    """End with a message."""
    raise SystemExit("record.py: " + text)


class Tracing:
    """The kernel's tracing files, of one instance: its own, or one that the kernel was started with."""

    def __init__(self, root, instance):
        places = [Path(place) for place in ([root] if root else TRACEFS)]
        self.root = next((place for place in places if (place / "dynamic_events").exists()), None)
        if self.root is None and not any((place / "trace").exists() for place in places):
            refuse("no tracefs here; mount -t tracefs tracefs /sys/kernel/tracing, as root")
        if self.root is None or not (self.root / "kprobe_events").exists():
            refuse(f"{LINUX} has no kprobe events (CONFIG_KPROBE_EVENTS, Linux 5.0); 'snapshot' needs none")
        self.instance = self.root / "instances" / instance

    def arm(self, size_kb, writes_only=False):
        """Define the probes, make the instance, switch the events on; nothing is left behind if it fails."""
        defined = []
        try:
            for name, definition in probes(writes_only=writes_only).items():
                self._define(f"p:{GROUP}/{name} {definition}")
                defined.append(name)
            if not self.instance.exists():
                self.instance.mkdir()
                (self.instance / "buffer_size_kb").write_text(str(size_kb))
                (self.instance / "trace_clock").write_text(CLOCK)
            (self.instance / "events" / GROUP / "enable").write_text("1")
            (self.instance / "tracing_on").write_text("1")
        except OSError as error:
            if defined:
                self.disarm(defined)
            if len(defined) == len(probes(writes_only=writes_only)):
                raise  # the instance was refused
            advice = TAKEN if error.errno == errno.EEXIST else READS if name.startswith("rd") else ""
            refuse(f"{LINUX} refuses the probe {name}: {error.strerror}{advice}; see {self.root}/error_log")

    def disarm(self, names=None):
        """Switch the events off and remove the probes and the instance (a persistent one stays)."""
        for each in [self.root, *(self.root / "instances").iterdir()]:
            if (each / "events" / GROUP / "enable").exists():
                (each / "events" / GROUP / "enable").write_text("0")
        for name in names or probes():
            with contextlib.suppress(OSError):  # it was not there
                self._define(f"-:{GROUP}/{name}")
        with contextlib.suppress(OSError):
            self.instance.rmdir()

    def _define(self, text):
        # Not open("a"): that seeks to the end, which these files refuse.
        number = os.open(str(self.root / "dynamic_events"), os.O_WRONLY | os.O_APPEND)
        with os.fdopen(number, "wb", buffering=0) as file:
            file.write(text.encode() + b"\n")


def follow(tracing, container, seconds, messages="/dev/kmsg"):
    """Write what the pipe of the instance delivers until a signal comes or the time is over."""
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(1))
    pipe = os.open(str(tracing.instance / "trace_pipe"), os.O_RDONLY | os.O_NONBLOCK)
    log = os.open(messages, os.O_RDONLY | os.O_NONBLOCK)
    end = time.monotonic() + seconds if seconds else None
    rest = b""
    while True:
        ending = stopped or (end is not None and time.monotonic() > end)
        ready = select.select([pipe, log], [], [], 0.0 if ending else 0.5)[0]
        data = _drain(pipe) if pipe in ready else b""
        whole, _, rest = (rest + data).rpartition(b"\n")
        if whole:
            take_lines(whole.decode("ascii", "replace").split("\n"), container)
        if log in ready:
            container.add_log(kernel_messages(log))
        if data:
            os.fdatasync(container.file)
        elif ending:
            os.close(pipe)  # or the instance could not be removed
            os.close(log)
            return


def _drain(pipe):
    data = b""
    with contextlib.suppress(BlockingIOError):
        while len(data) < 1 << 20 and (more := os.read(pipe, 1 << 16)):
            data += more
    return data


def kernel_messages(log):
    """Yield what is new in /dev/kmsg, a line each as dmesg prints it."""
    while True:
        try:
            record = os.read(log, 8192).decode("utf-8", "replace")
        except BlockingIOError:
            return
        except BrokenPipeError:  # messages were overwritten before they were read
            continue
        head, _, text = record.partition(";")
        micros = int(head.split(",")[2])
        yield "[{:5}.{:06}] {}".format(micros // 10**6, micros % 10**6, text.split("\n")[0])


def bootconfig(writes_only=False):
    """Return the probes as bootconfig for ``bootconfig -a FILE INITRD`` (CONFIG_BOOTTIME_TRACING)."""
    lines = ["# Add 'bootconfig' to the command line of the next kernel."]
    for name, definition in probes(writes_only=writes_only).items():
        event = "ftrace.event.kprobes." + name
        lines += [f'{event}.probes = "{definition}"', event + ".enable"]
    lines += ["ftrace.buffer_size = 16MB", f"ftrace.trace_clock = {CLOCK}", ""]
    return "\n".join(lines)


def arguments(given=None):
    """Parse the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add, default = parser.add_argument, " (default %(default)s)"
    add("job", choices=["record", "snapshot", "arm", "disarm", "convert", "bootconfig"])
    add("trace", nargs="?", help="text to convert; - is standard input")
    add("-o", "--output", help="file to write; must not exist")
    add("--tracefs", help="where tracefs is mounted")
    add("--instance", default="aritrace", help="tracing instance" + default)
    add("--buffer-kb", type=int, default=8192, help="ring buffer for each CPU" + default)
    add("--seconds", type=float, help="stop after so long")
    add("--no-snapshot", action="store_true", help="record accesses only")
    add("--writes-only", action="store_true", help="no reads: for kernels before Linux 6.9")
    add("--clock", default=CLOCK, help="clock of a text to convert" + default)
    options = parser.parse_args(given)
    if options.output is None and options.job in ("record", "snapshot", "convert"):
        parser.error("-o FILE is missing")
    if options.job == "convert" and options.trace is None:
        parser.error("name the text to convert")
    return options


def main(given=None):
    """Do the job."""
    options = arguments(given)
    try:
        if options.job == "bootconfig":
            sys.stdout.write(bootconfig(options.writes_only))
        elif options.job == "convert":
            with sys.stdin if options.trace == "-" else Path(options.trace).open(errors="replace") as text:
                container = Container(options.output, options.clock)
                others = take_lines(text, container)
            container.close()
            say(f"{container.accesses} accesses, {others} other lines")
        elif options.job == "snapshot":
            record(options)
        elif options.job == "record":
            record(options, Tracing(options.tracefs, options.instance))
        elif options.job == "arm":
            Tracing(options.tracefs, options.instance).arm(options.buffer_kb, options.writes_only)
        else:
            Tracing(options.tracefs, options.instance).disarm()
    except OSError as error:
        why = "it exists, and is never overwritten" if error.errno == errno.EEXIST else error.strerror
        refuse(f"{error.filename or options.output}: {why}")


def record(options, tracing=None):
    """Take a snapshot, and record until a signal comes; a refusal leaves no file and no probe behind."""
    container = Container(options.output, CLOCK, os.uname().release)
    try:
        if not options.no_snapshot:
            container.add_snapshots(config_spaces())  # before the probes, which would see these reads
        if tracing and options.writes_only:
            container.add_problem(b"unsupported", b"reads were not recorded (record.py --writes-only)")
        if tracing:
            tracing.arm(options.buffer_kb, options.writes_only)
    except BaseException:
        container.discard()
        raise
    with contextlib.ExitStack() as after:
        if tracing:
            after.callback(tracing.disarm)
            follow(tracing, container, options.seconds)
    container.close()
    say(f"{container.accesses} accesses in {options.output}")


if __name__ == "__main__":
    main()
