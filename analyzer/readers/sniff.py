"""Detect what an input is from its content, never by the extension of its name.

Formats that have no reader are named all the same, with what to do instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from analyzer.errors import UnsupportedFormatError
from analyzer.readers import line_cleaning, tar_members
from analyzer.readers.config_names import CONFIG_SIZES, is_named
from analyzer.readers.formats import (
    AGILENT_PAD,
    CTF,
    DMESG,
    EARLYDUMP,
    FTRACE_LATENCY,
    FTRACE_TEXT,
    HEADERLESS,
    HEX_DUMP,
    LEECHCORE,
    LSPCI,
    LSPCI_TEXT,
    NATIVE,
    PCAP,
    PCAPNG,
    PCIESHARK,
    PERF_DATA,
    PRINTED_EVENTS,
    QEMU_LOG,
    RECORD_QEMU,
    SIMPLETRACE,
    SYSFS_CONFIG,
    TRACE_DAT,
    Format,
    named,
)  # fmt: skip
from schemas.native import MAGIC as NATIVE_MAGIC
from schemas.simpletrace import MAGIC as SIMPLETRACE_MAGIC

if TYPE_CHECKING:
    from analyzer.options import Options
    from analyzer.readers.unwrap import ByteStream

#: How much of an input is looked at first.
HEAD: Final = 1 << 20
#: How far a text is searched whose first ``HEAD`` bytes leave it open: other output may come first.
REACH: Final = 32 << 20
#: Searched at once beyond ``HEAD``, and how much of it a second time: no line that shows a format is longer.
_STEP, _OVERLAP = 1 << 20, 4 << 10


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
_PCI_CFG = rb"pci_cfg_(?:read|write) [^\n]{1,200}? @0x[0-9a-fA-F]{1,8} (?:->|<-) 0x[0-9a-fA-F]"
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
_DEVICE_LINE = rb"^(?:[0-9a-fA-F]{4,6}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7] "
_BYTE = rb"[0-9a-fA-F]{2}"
#: The line of a device with the first of those that lspci -v prints below it.
_DEVICE_WITH_LINES = (
    _DEVICE_LINE + rb"[^\n]{1,1000}\n(?:[ \t\r]{0,8}\n)?[ \t]{1,16}"
    rb"(?:DeviceName|Subsystem|Physical Slot|Flags|Control|Status|Latency|Region \d|Memory at|Capabilities"
    rb"|!!!)[: ]"
)
#: The first row of what hexdump -C, xxd and od -t x1 print, within the first lines.
_HEX_DUMP = (
    rb"\A(?:[^\n]{0,400}\n){0,4}?[ \t]{0,8}(?:"
    rb"0{6,8} {1,2}" + _BYTE + rb"(?: {1,2}" + _BYTE + rb"){15}(?=[\s>|])"
    rb"|0{8}: (?:" + _BYTE + rb" ?){15}" + _BYTE + rb"(?=\s))"
)


def _compiled(
    *rows: tuple[tuple[bytes, ...], Format],
) -> tuple[tuple[tuple[re.Pattern[bytes], ...], Format], ...]:
    return tuple(
        (tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns), form) for patterns, form in rows
    )


#: Parts of lines that are found fast; a text without any of them is none of the formats below.
_TRACED, _MARKED, _EVENT = rb"\[\d{3,5}\]", rb"print: |tracing_mark_write: ", rb"devfn=|bus="
_REGION, _DEVICE, _DUMPED = (
    rb"memory_region_ops_|vfio_pci_",
    rb":[0-9a-fA-F]{2}\.[0-7][ \t]",
    rb"config space:",
)
#: What must be in a text before it is worth removing what stands around its lines.
_AROUND: Final = (
    (line_cleaning.QEMU, (re.compile(rb"pci_cfg|" + _REGION),)),
    (line_cleaning.FTRACE, (re.compile(_TRACED + rb"|# tracer: "),)),
    (
        line_cleaning.DUMP,
        (
            re.compile(rb"\.[0-7][ \t\xa0\xc2\x1b]|000000"),
            re.compile(
                rb"Control|Flags|Subsystem|Capabilities|"
                + _BYTE
                + rb"(?:[ \t\xa0\xc2]{1,2}"
                + _BYTE
                + rb"){7}"
            ),
        ),
    ),
)
#: Texts that nothing else looks like, the first that fits: lines of accesses before dumps before kernel logs.
_SURE: Final = _compiled(
    # What QEMU's ftrace backend printed stands in lines of ftrace.
    ((_MARKED, _TRACED, _FTRACE_LINE), FTRACE_TEXT),
    (
        (
            rb"-\d{1,8} {1,8}\d{1,4}[A-Za-z.#][\w.#]{3,8} ",
            rb"^ {0,20}\S[^\n]{0,15}-\d{1,8} {1,8}\d{1,4}[A-Za-z.#][\w.#]{3,8} {1,8}\d{1,12}\.\d{6,9}: ",
        ),
        FTRACE_LATENCY,
    ),
    ((_PCI_CFG,), QEMU_LOG),
    # LeechCore device_fpga.c; pcieshark's header line.
    ((rb"Len: [0-9a-f]{3} ", rb"^[RT]X: [A-Za-z0-9]{2,8}: {1,8}Len: [0-9a-f]{3} "), LEECHCORE),
    ((rb"timestamp_ns,", rb"^timestamp_ns,direction,type,requester_id,completer_id,tag,"), PCIESHARK),
    # ftrace "comm-pid [cpu] flags sec.usec: event:"; perf script "comm pid [cpu] sec.usec: group:event:".
    ((rb"# tracer: ", rb"^# tracer: "), FTRACE_TEXT),
    ((_TRACED, _FTRACE_LINE), FTRACE_TEXT),
    (
        (
            _REGION,
            rb"(?:^|[ :])(?:memory_region_ops_(?:read|write) cpu|vfio_pci_(?:read|write)_config ) ",
        ),
        QEMU_LOG,
    ),
    ((_EVENT, _PRINTED_EVENT), PRINTED_EVENTS),
    (
        (_DEVICE, _DEVICE_LINE, rb"^[0-9a-fA-F]{2,8}:[ \t]" + _BYTE + rb"(?: " + _BYTE + rb"){0,15}\s*$"),
        LSPCI,
    ),
    ((_DUMPED, rb"[\w-]{1,40} [0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]:? config space:"), EARLYDUMP),
    ((_DEVICE, _DEVICE_WITH_LINES), LSPCI_TEXT),
    ((_HEX_DUMP,), HEX_DUMP),
)
#: Texts that may yet turn out to be one of those, further on.
_LIKELY: Final = _compiled(
    # QEMU without pci_cfg_* in sight: lines of dialects A, C and D, and what libvirt writes first.
    ((rb"^\d{1,10}@\d{1,12}\.\d{6}:[a-z]\w{2,80} ",), QEMU_LOG),
    ((rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z [a-z]\w{0,40}_\w{1,40} ",), QEMU_LOG),
    ((rb"^[\d:.+ -]{20,40}: starting up libvirt version: ",), QEMU_LOG),
    ((rb"^(?:<\d{1,3}>)?\[ {0,5}\d{1,6}\.\d{6}\]|\bkernel: (?!\d)|Linux version \d",), DMESG),
    ((rb"\bpci [0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]: \[[0-9a-f]{4}:[0-9a-f]{4}\] type ",), DMESG),
    ((_DEVICE_LINE,), LSPCI_TEXT),
)

#: Name of such a file in the header of a tar archive.
_CONFIG_IN_TAR = re.compile(
    rb"(?:\A|[/\0])(?:[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]/config|[0-9a-f]{2}/[0-9a-f]{2}\.[0-7])\0",
    re.IGNORECASE,
)

#: Not captures, but what people hand over by mistake or wrapped otherwise, with what to do.
_WRAPPERS: tuple[tuple[bytes, int, str, str], ...] = (
    (b"\x04\x22\x4d\x18", 0, "lz4 data", "pipe it in: lz4 -dc FILE | analyze -"),
    (b"PK\x03\x04", 0, "a zip archive", "unpack it first"),
    (b"\xff\xfe", 0, "UTF-16 text", "pipe it in: iconv -f UTF-16 -t UTF-8 FILE | analyze -"),
    (b"\xfe\xff", 0, "UTF-16 text", "pipe it in: iconv -f UTF-16 -t UTF-8 FILE | analyze -"),
)
#: Bytes of an unknown binary input that are shown: enough for its magic.
_MAGIC = 4
#: Bytes that texts are made of, of whatever encoding: all but the control characters.
_TEXT_BYTES = bytes({9, 10, 12, 13, 27, *range(0x20, 0x7F), *range(0x80, 0x100)})


def glance(head: bytes, name: str) -> Format | None:
    """The format of an input that some of its first bytes show for certain, else None."""
    if tar_members.starts(head):
        return SYSFS_CONFIG if _CONFIG_IN_TAR.search(head) else None
    form, sure = _recognised(head, name, None)
    return form if sure else None


def identify(stream: ByteStream, options: Options | None = None) -> Format:
    """Detect the format of an input; a text whose beginning leaves it open is searched up to ``REACH`` bytes.

    Args:
        stream: nothing of it is consumed.
        options: ``input_format`` names the format, ``bdf`` the function of a config file.

    Raises:
        UnsupportedFormatError: it is none of the known formats.
        UsageError: no format has the name that is given.
    """
    if options is not None and options.input_format is not None:
        return named(options.input_format)
    head = stream.peek(HEAD)
    form, sure = _recognised(head, stream.path, options)
    if not sure and len(head) == HEAD:
        form = _further(stream) or form
    if form is None:
        seen = stream.peek(REACH)
        raise _unknown(seen, stream.path, whole=len(seen) < REACH)
    return form


def _recognised(head: bytes, name: str, options: Options | None) -> tuple[Format | None, bool]:
    """The format of an input, None if it is not known, and whether no look further on can change it."""
    for pattern, form in _BINARY:
        if pattern.match(head):
            return form, True
    if tar_members.starts(head):  # before text, which an archive may hold
        return _archive(head, name), True
    found = _sure(head)
    if found is not None:
        return found, True
    if len(head) in CONFIG_SIZES and (is_named(name) or _has_bdf(options)):
        return SYSFS_CONFIG, True
    refuse_wrapper(head, name, "a capture")
    return _first(_LIKELY, head) or _cleaned(_LIKELY, head), False


def _has_bdf(options: Options | None) -> bool:
    return options is not None and options.bdf is not None


_Rows = tuple[tuple[tuple[re.Pattern[bytes], ...], Format], ...]


def _first(rows: _Rows, text: bytes) -> Format | None:
    fitting = (form for patterns, form in rows if all(pattern.search(text) for pattern in patterns))
    return next(fitting, None)


def _sure(text: bytes) -> Format | None:
    """The format that a text is for certain, as it is or without what stands around its lines."""
    form = _first(_SURE, text)
    if form == QEMU_LOG and all(re.search(part, text) for part in (_MARKED, _TRACED)):
        # What QEMU printed into ftrace looks like its log where the lines of ftrace are quoted.
        return _first(_SURE, line_cleaning.clean(text, line_cleaning.FTRACE))
    return form or _cleaned(_SURE, text)


def _cleaned(rows: _Rows, text: bytes) -> Format | None:
    """The format of a text without what stands around its lines, None if it is unknown or nothing does."""
    for around, needles in _AROUND:
        if all(needle.search(text) for needle in needles):
            cleaned = line_cleaning.clean(text, around)
            if cleaned is not text and (form := _first(rows, cleaned)) is not None:
                return form
    return None


def _further(stream: ByteStream) -> Format | None:
    """The first sure sign of a format beyond ``HEAD``."""
    data = stream.peek(REACH)
    for start in range(HEAD, len(data), _STEP):
        part = data[data.find(b"\n", start - _OVERLAP) + 1 : start + _STEP]
        form = _sure(part)
        if form is not None:
            return form
    return None


def _unknown(seen: bytes, name: str, *, whole: bool) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "expected an aritrace .bin, a QEMU log with pci_cfg_* lines, a QEMU simpletrace, a trace-cmd"
        " trace.dat or its text, a pcap of TLPs, or a snapshot (lspci -xxxx, config files of sysfs,"
        f" pci=earlydump), found {_describe(seen, whole=whole)}",
        path=name,
        offset=0,
        advice=RECORD_QEMU
        + ("" if whole else "; if it is one further on, name its format with --input-format"),
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
    if _CONFIG_IN_TAR.search(head) or len(head) >= HEAD:  # the reader finds those further on
        return SYSFS_CONFIG
    raise UnsupportedFormatError(
        "expected a capture, found a tar archive without config files of sysfs in sight",
        path=name,
        offset=0,
        advice=f"unpack it first; for a snapshot {SYSFS_CONFIG.advice}",
    )


def _describe(seen: bytes, *, whole: bool) -> str:
    """What an unknown input is, without a word of it: a link may lead to somebody's secret."""
    size = f"{len(seen)} bytes" if whole else f"in its first {len(seen) >> 20} MiB {len(seen)} bytes"
    if seen.translate(None, _TEXT_BYTES):
        return f"{size} of binary data that begins with 0x{seen[:_MAGIC].hex()}"
    return f"{size} of text without any line of these"
