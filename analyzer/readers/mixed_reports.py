"""Name what a text holds besides what it is read for: reports of sos or nvidia-bug-report, a pasted session.

One format is read from a file. What else is recognised near its beginning is named with its lines, so that it
can be cut out and given as a capture, or with an option, of its own.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from analyzer.readers.formats import DMESG, EARLYDUMP, LSPCI, LSPCI_TEXT, QEMU_LOG, SNAPSHOTS
from analyzer.readers.line_cleaning import DUMP, KERNEL_LOG, LineCleaner, is_doubled, undouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture import Notes
    from analyzer.readers.formats import Format
    from analyzer.readers.unwrap import ByteStream

#: Bytes that are looked at.
_NEAR: Final = 4 << 20
_MOST_NAMED: Final = 6

_BYTES: Final = rb"[0-9a-fA-F]{2}(?: [0-9a-fA-F]{2}){15}"
_SYSLOG: Final = b" kernel: "
_EVENT: Final = b"pci_cfg_"
_KINDS: Final = (
    rb"(?P<device>(?:[0-9a-fA-F]{4,6}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7] [^\n]{4})"
    rb"|(?P<row>00: " + _BYTES + rb"[ \t\r]*$)"
    rb"|(?P<text>[ \t]+(?:Control: I/O|Status: Cap|Capabilities: |Flags: |Kernel driver in use: ))"
    rb"|(?P<end>[ \t\r]*$)"
    rb"|(?P<log>(?:<\d{1,3}>)?\[ {0,5}\d{1,6}\.\d{6}\]"
)


@cache
def _line(*, syslog: bool, events: bool) -> re.Pattern[bytes]:
    """The lines that tell something; two kinds are sought only where a part of them is in the text."""
    log = rb"|\S[^\n]{10,80}" + _SYSLOG + rb"(?!\d))" if syslog else b")"
    event = rb"|(?P<event>[^\n]{0,200}?pci_cfg_(?:read|write) [^\n]{1,200}? @0x)" if events else b""
    return re.compile(rb"^(?:" + _KINDS + log + event + b")", re.MULTILINE)


class ReportPart(NamedTuple):
    """Lines of one format.

    Attributes:
        form: the format; a kernel log is a plain one, whatever is dumped into it.
        first, last: its first and last recognised line, from 1.
    """

    form: Format
    first: int
    last: int


def parts(text: bytes) -> list[ReportPart]:
    """Return what is recognised in a text, in its order; neighbours of one format are one part."""
    dumped = LineCleaner(DUMP).clean(text)
    doubled = is_doubled(dumped)
    if doubled:
        text, dumped = undouble(text), undouble(dumped)
    listed = list(_parts(LineCleaner(KERNEL_LOG).clean(text)))
    if not any(part.form in (LSPCI, LSPCI_TEXT) for part in listed):  # each of their lines may be logged
        without = list(_parts(dumped))
        listed = without if any(part.form in (LSPCI, LSPCI_TEXT) for part in without) else listed
    if doubled:
        listed = [ReportPart(form, 2 * first - 1, 2 * last - 1) for form, first, last in listed]
    found: list[ReportPart] = []
    for form, first, last in listed:
        if found and found[-1].form == form:
            found[-1] = ReportPart(form, found[-1].first, last)
        else:
            found.append(ReportPart(form, first, last))
    return found


def _parts(text: bytes) -> Iterator[ReportPart]:
    """The devices of lspci and the lines of other formats, one by one."""
    line, place = 1, 0
    device: ReportPart | None = None
    for match in _line(syslog=_SYSLOG in text, events=_EVENT in text).finditer(text):
        line += text.count(b"\n", place, match.start())
        place = match.start()
        kind = match.lastgroup
        if kind in ("row", "text") and device is not None:
            form = LSPCI if kind == "row" or device.form == LSPCI else LSPCI_TEXT
            device = ReportPart(form, device.first, line)
            continue
        if device is not None and device.last > device.first:
            yield ReportPart(device.form, device.first, line - 1)
        device = ReportPart(LSPCI_TEXT, line, line) if kind == "device" else None
        if kind in ("log", "event"):
            yield ReportPart(DMESG if kind == "log" else QEMU_LOG, line, line)
    if device is not None and device.last > device.first:
        yield ReportPart(device.form, device.first, line + text.count(b"\n", place))


def name_others(stream: ByteStream, form: Format, notes: Notes) -> None:
    """Write into the notes what a snapshot of lspci or a kernel log holds besides; consumes nothing."""
    if form.name not in SNAPSHOTS:
        return
    found = parts(stream.peek(_NEAR))
    own = DMESG if form == EARLYDUMP else form
    others = [part for part in found if part.form != own]
    if not others:
        return
    mine = [part for part in found if part.form == own]
    named = ", ".join(f"{one.form.title} ({_lines(one)})" for one in others[:_MOST_NAMED])
    more = f", and {len(others) - _MOST_NAMED} more parts" if len(others) > _MOST_NAMED else ""
    where = f" ({', '.join(map(_lines, mine[:_MOST_NAMED]))})" if mine else ""
    notes.problem(
        "foreign",
        f"this file is read as {form.title}{where}; also recognised, and not used: {named}{more}; cut that"
        f" out (sed -n {others[0].first},{others[0].last}p) and give it as a capture, or with --dmesg",
    )


def _lines(section: ReportPart) -> str:
    if section.first == section.last:
        return f"line {section.first}"
    return f"lines {section.first} to {section.last}"
