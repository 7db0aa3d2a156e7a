"""Writes trace.dat files of any byte order, word size, version and compression through the Construct layouts.

Everything made here is derived: no 32-bit or big-endian recording was at hand. And a slow reader of
ring-buffer pages that shares nothing with the fast one but the names of constants.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import zstandard

from schemas import trace_dat as layout
from schemas.trace_dat import LAYOUTS, Option, Section

COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)
U32 = "dom", "bus", "devfn", "reg", "len", "val"


@dataclass
class Event:
    """One event: its fields as (type, name, size), placed one behind the other from byte 8 on."""

    system: str
    name: str
    id: int
    fields: list[tuple[str, str, int]]
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        at = 8
        for _, name, size in self.fields:
            self.offsets[name] = at, size
            at += size

    def text(self) -> str:
        lines = "".join(
            f"\tfield:{kind} {name};\toffset:{self.offsets[name][0]};\tsize:{size};"
            f"\tsigned:{int(kind.startswith('s') or kind == 'int')};\n"
            for kind, name, size in self.fields
        )
        return f'name: {self.name}\nID: {self.id}\nformat:\n{COMMON}{lines}\nprint fmt: "x"\n'

    def payload(self, order: str, *, pid: int = 1, tail: bytes = b"", **values: int) -> bytes:
        end = max((at + size for at, size in self.offsets.values()), default=8)
        data = bytearray(end)
        data[0:2] = self.id.to_bytes(2, order)
        data[4:8] = pid.to_bytes(4, order, signed=True)
        for name, value in values.items():
            at, size = self.offsets[name]
            data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, order)
        return bytes(data) + tail


def probes(long_size: int = 8) -> dict[str, Event]:
    """The probes that our recordings have, and the other events that the reader knows."""
    ip = [("unsigned long", "__probe_ip", long_size)]
    returned = [("unsigned long", name, long_size) for name in ("__probe_func", "__probe_ret_ip")]
    config = [("u32", name, 4) for name in U32]

    def text(name):
        return "__data_loc char[]", name, 4

    def unsigned(*names):
        return [("unsigned int", name, 4) for name in names]

    odd = [("u8", "segment", 1), ("u8", "b", 1), ("u16", "df", 2), ("u16", "r", 2), ("u64", "v", 8)]
    mmio = [("u32", "type", 4), ("u32", "len", 4), ("u64", "gpa", 8), ("u64", "val", 8)]
    aer = [text("dev_name"), ("u32", "status", 4), ("u8", "severity", 1)]
    events = (
        Event("ftrace", "print", 5, [("unsigned long", "ip", long_size), ("char", "buf", 0)]),
        Event("pcicfg", "cfg_read", 365, [*returned, *config, ("s32", "ret", 4)]),
        Event("pcicfg", "cfg_write", 364, [*ip, *config]),
        Event("pcicfg", "entry_read", 366, [*ip, *config]),
        Event("pcicfg", "neutral", 367, [*ip, *config]),
        Event("odd", "access_rd", 368, odd),
        Event("pcicfg", "conf1_read", 369, [*returned, *config]),
        Event("kvm", "kvm_pio", 400, unsigned("rw", "port", "size", "count", "val")),
        Event("kvm", "kvm_mmio", 401, mmio),
        Event("pci", "pci_hp_event", 500, [text("port_name"), text("slot"), ("int", "event", 4)]),
        Event("pci", "pcie_link_event", 501, [text("port_name"), *unsigned("type", "width", "link_status")]),
        Event("ras", "aer_event", 502, aer),
        Event("sched", "sched_switch", 300, [("int", "prev_pid", 4), ("u64", "next", 8)]),
    )
    return {event.name: event for event in events}


def header_page(long_size: int, page_size: int) -> str:
    start = 8 + long_size
    return (
        f"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        f"\tfield: local_t commit;\toffset:8;\tsize:{long_size};\tsigned:1;\n"
        f"\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:0;\n"
        f"\tfield: char data;\toffset:{start};\tsize:{page_size - start};\tsigned:0;\n"
    )


class Pages:
    """Encodes the ring-buffer pages of one CPU."""

    def __init__(self, order: str = "little", long_size: int = 8, page_size: int = 4096):
        self.order, self.long_size, self.page_size = order, long_size, page_size
        self.data = b""
        self.edges: list[int] = []  # end of each record, in bytes from the start

    def word(self, kind: int, delta: int) -> bytes:
        little = self.order == "little"
        value = delta << 5 | kind if little else kind << 27 | delta
        return value.to_bytes(4, self.order)

    def record(self, payload: bytes, delta: int = 0, *, long: bool = False) -> bytes:
        size = -(-len(payload) // 4)
        if long or not 1 <= size <= 28:
            length = (len(payload) + 4).to_bytes(4, self.order)
            return self.word(0, delta) + length + payload.ljust(size * 4, b"\0")
        return self.word(size, delta) + payload.ljust(size * 4, b"\0")

    def extend(self, delta: int, kind: int = layout.TYPE_TIME_EXTEND) -> bytes:
        low, high = delta & (1 << 27) - 1, delta >> 27
        return self.word(kind, low) + high.to_bytes(4, self.order)

    def stamp(self, time: int) -> bytes:
        return self.extend(time & (1 << 59) - 1, layout.TYPE_TIME_STAMP)

    def discarded(self, size: int, delta: int = 1) -> bytes:
        return self.word(layout.TYPE_PADDING, delta) + size.to_bytes(4, self.order) + bytes(size - 4)

    def padding(self) -> bytes:
        return self.word(layout.TYPE_PADDING, 0)

    def page(
        self, time: int, parts: list[bytes], *, missed: int | None = None, commit: int | None = None
    ) -> Pages:
        body = b"".join(parts)
        flags = len(body) if commit is None else commit
        start = len(self.data) + 8 + self.long_size
        for part in parts:
            start += len(part)
            self.edges.append(start)
        if missed is not None:
            flags |= layout.MISSED_EVENTS
            if missed > 0:
                flags |= layout.MISSED_STORED
                body += missed.to_bytes(self.long_size, self.order)
        if missed is not None and self.long_size == 8:
            flags |= 0xFFFF_FFFF << 32  # as the kernel's signed addition makes it
        head = time.to_bytes(8, self.order) + (flags & (1 << 8 * self.long_size) - 1).to_bytes(
            self.long_size, self.order
        )
        page = (head + body).ljust(self.page_size, b"\0")
        assert len(page) == self.page_size
        self.data += page
        return self


class TraceFile:
    """Encodes a whole file."""

    def __init__(
        self,
        order: str = "little",
        long_size: int = 8,
        version: int = 7,
        compression: str = "none",
        page_size: int = 4096,
        events: list[Event] | None = None,
        clock: str = "mono",
    ):
        self.lay = LAYOUTS[order]
        self.order, self.long_size, self.version = order, long_size, version
        self.compression, self.page_size, self.clock = compression, page_size, clock
        self.events = list(probes(long_size).values()) if events is None else events
        self.options: list[tuple[int, bytes]] = [
            (Option.TRACECLOCK, f"local global [{clock}] x86-tsc\n\0".encode()),
            (Option.UNAME, b"Linux host9 6.12.1 x86_64\0"),
            (Option.VERSION, b"3.3.1 x\0"),
        ]
        self.buffers: list[tuple[str, list[bytes]]] = []
        self.clocks: dict[str, str] = {}
        self.edges: dict[str, int] = {}
        self.threads = b"1 init\n"

    def buffer(self, *cpus: Pages | bytes, name: str = "", clock: str = "") -> TraceFile:
        self.clocks[name] = clock or self.clock
        self.buffers.append((name, [cpu.data if isinstance(cpu, Pages) else cpu for cpu in cpus]))
        return self

    def number(self, value: int, size: int) -> bytes:
        return value.to_bytes(size, self.order)

    def sized(self, data: bytes, size: int = 8) -> bytes:
        return self.number(len(data), size) + data

    def bodies(self) -> dict[int, bytes]:
        # The long size in the file head may lie (a converter writes its own); this text does not.
        page = header_page(self.long_size, self.page_size).encode()
        ftrace = [event.text().encode() for event in self.events if event.system == "ftrace"]
        systems = sorted({event.system for event in self.events} - {"ftrace"})
        others = self.number(len(systems), 4)
        for system in systems:
            texts = [event.text().encode() for event in self.events if event.system == system]
            others += system.encode() + b"\0" + self.number(len(texts), 4) + b"".join(map(self.sized, texts))
        return {
            Section.HEADER_INFO: layout.HEADER_PAGE_NAME + self.sized(page) + layout.HEADER_EVENT_NAME
            + self.sized(b"# compressed entry header\n"),
            Section.FTRACE_EVENTS: self.number(len(ftrace), 4) + b"".join(map(self.sized, ftrace)),
            Section.EVENT_FORMATS: others,
            Section.KALLSYMS: self.sized(b"", 4),
            Section.PRINTK: self.sized(b"", 4),
            Section.CMDLINES: self.sized(self.threads, 8),
        }  # fmt: skip

    def head(self, long_size: int = 8) -> bytes:
        return self.lay.head.build(
            {
                "version": str(self.version).encode(),
                "endian": int(self.order == "big"),
                "long_size": long_size,
                "page_size": min(self.page_size, 65536),
            }
        )

    def build(self) -> bytes:
        return self.build_6() if self.version == 6 else self.build_7()

    def pack(self, data: bytes) -> bytes:
        packed = zlib.compress(data) if self.compression == "zlib" else zstandard.compress(data)
        return self.lay.compressed.build({"compressed_size": len(packed), "size": len(data)}) + packed

    def section(self, kind: int, data: bytes, *, packed: bool = False) -> bytes:
        flags = layout.SECTION_COMPRESSED if packed else 0
        data = self.pack(data) if packed else data
        return self.lay.section.build({"id": kind, "flags": flags, "string_id": 0, "size": len(data)}) + data

    def option(self, kind: int, data: bytes) -> bytes:
        return self.lay.option.build({"id": kind, "size": len(data)}) + data

    def build_7(self) -> bytes:
        packed = self.compression != "none"
        names = {"compression": self.compression.encode(), "compression_version": b"1.0", "options_offset": 0}
        data = self.head() + self.lay.head7.build(names)
        options_at = len(data) - 8
        places = {}
        for kind, body in self.bodies().items():
            places[kind] = len(data)
            data += self.section(kind, body, packed=packed)
            self.edges[f"section {kind}"] = len(data)
        options = [(kind, self.number(place, 8)) for kind, place in places.items()] + self.options
        data = data[:options_at] + self.number(len(data), 8) + data[options_at + 8 :]
        for name, cpus in self.buffers:
            body = b"".join(self.option(kind, content) for kind, content in options)
            start = len(data)
            after = start + self.lay.section.sizeof() + len(body) + 6 + 8
            made, buffer_option = self.buffer_section(after, name, cpus)
            following = after + len(made)
            data += self.section(Section.OPTIONS, body + self.option(Option.DONE, self.number(following, 8)))
            assert len(data) == after
            self.edges[f"options {name}"] = len(data)
            data += made
            self.edges[f"buffer {name}"] = len(data)
            options = [(Option.BUFFER, buffer_option)]
        body = b"".join(self.option(kind, content) for kind, content in options)
        data += self.section(Section.OPTIONS, body + self.option(Option.DONE, self.number(0, 8)))
        return data

    def buffer_section(self, place: int, name: str, cpus: list[bytes]) -> tuple[bytes, bytes]:
        head = self.lay.section.sizeof()
        body, places = b"", []
        for cpu, pages in enumerate(cpus):
            body += bytes(-(place + head + len(body)) % self.page_size)
            at = place + head + len(body)
            if self.compression == "none":
                body += pages
                places.append({"cpu": cpu, "offset": at, "size": len(pages)})
            elif pages:
                step = 2 * self.page_size
                chunks = [self.pack(pages[i : i + step]) for i in range(0, len(pages), step)]
                made = self.number(len(chunks), 4) + b"".join(chunks)
                body += made
                places.append({"cpu": cpu, "offset": at, "size": len(made) - 4})
            else:
                places.append({"cpu": cpu, "offset": at, "size": 0})
        flags = 0 if self.compression == "none" else layout.SECTION_COMPRESSED
        section = self.lay.section.build(
            {"id": Section.BUFFER, "flags": flags, "string_id": 0, "size": len(body)}
        )
        option = self.lay.buffer.build(
            {
                "offset": place,
                "name": name.encode(),
                "clock": self.clocks[name].encode(),
                "page_size": self.page_size,
                "cpus": places,
            }
        )
        return section + body, option

    def build_6(self) -> bytes:
        bodies = self.bodies()
        data = self.head(4) + b"".join(bodies.values())
        cpus = max(len(cpus) for _, cpus in self.buffers)
        data += self.number(cpus, 4) + layout.OPTIONS_MARK
        options = [self.option(kind, content) for kind, content in self.options]
        extra = self.buffers[1:]
        size = 8 + 1  # of an option of a buffer: its place and its name
        clock = self.sized(f"local [{self.clock}]\n".encode())
        rest = sum(size + len(name) + 6 for name, _ in extra)
        table = 10 + 16 * cpus
        place = len(data) + len(b"".join(options)) + rest + 2 + table + len(clock)
        tables, regions = [], b""
        at = place + table * len(extra)
        for name, pages_of in self.buffers:
            made = layout.FLYRECORD_MARK
            for pages in [*pages_of, *[b""] * (cpus - len(pages_of))]:
                regions += bytes(-(at + len(regions)) % self.page_size)
                made += self.number(at + len(regions), 8) + self.number(len(pages), 8)
                regions += pages
            tables.append((name, made))
        for number, (name, _) in enumerate(extra):
            where = self.number(place + number * table, 8)
            options.append(self.option(Option.BUFFER, where + name.encode() + b"\0"))
        data += b"".join(options) + self.number(0, 2) + tables[0][1] + clock
        assert len(data) == place
        return data + b"".join(made for _, made in tables[1:]) + regions


def slow_records(pages: bytes, order: str, long_size: int, page_size: int) -> list[tuple[int, bytes]]:
    """Time and payload of each record, one at a time (kernel/trace/ring_buffer.c, rb_event_length)."""
    found = []
    lay = LAYOUTS[order]
    for start in range(0, len(pages), page_size):
        page = pages[start : start + page_size]
        head = lay.page[long_size].parse(page)
        time, at = head.timestamp, 8 + long_size
        end = at + (head.commit & layout.COMMIT_SIZE)
        while at < end:
            word = int.from_bytes(page[at : at + 4], order)
            kind, delta = (word & 31, word >> 5) if order == "little" else (word >> 27, word & (1 << 27) - 1)
            extra = int.from_bytes(page[at + 4 : at + 8], order)
            if kind == layout.TYPE_PADDING:
                if not delta:
                    break
                time, at = time + delta, at + 4 + extra
            elif kind == layout.TYPE_TIME_EXTEND:
                time, at = time + delta + (extra << 27), at + 8
            elif kind == layout.TYPE_TIME_STAMP:
                top = time >> 59 << 59
                absolute = delta | extra << 27 | top
                time, at = absolute + (1 << 59 if top and absolute < time else 0), at + 8
            else:
                time += delta
                size, begin = (extra - 4, at + 8) if kind == 0 else (kind * 4, at + 4)
                found.append((time, page[begin : begin + size]))
                at = begin + -(-size // 4) * 4
    return found
