"""What stands around lines is removed, and each line keeps its length and its place."""

from __future__ import annotations

import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.readers.line_cleaning import (
    DUMP,
    FTRACE,
    KERNEL_LOG,
    QEMU,
    LineCleaner,
    clean,
    is_doubled,
    undouble,
)

EVENT = "pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36"
FTRACE_LINE = (
    "          setpci-812   [001]     1.184886: wr: (pci_conf1_write+0x0/0x110) seg=0 bus=0 reg=4 val=0x7"
)
ROW = "00: 86 80 48 a0 07 04 10 00 01 00 04 06 00 00 01 00"


@pytest.mark.parametrize(
    ("around", "line", "cleaned"),
    [
        (QEMU, EVENT, EVENT),
        (QEMU, f"4242@1700000000.000001:{EVENT}", f"4242@1700000000.000001:{EVENT}"),
        (QEMU, f"2026-09-22T07:14:04.5Z {EVENT}", f"2026-09-22T07:14:04.5Z {EVENT}"),
        (QEMU, f"2026-09-22T07:14:04.5+02:00 host a[1]: {EVENT}", f"2026-09-22T05:14:04.5Z {EVENT}"),
        (QEMU, f"2026-12-31T23:14:04-02:30 host a: {EVENT}", f"2027-01-01T01:44:04Z {EVENT}"),
        (QEMU, f"2026-09-22 07:14:04.125+0000: {EVENT}", f"2026-09-22T07:14:04.125Z {EVENT}"),
        (QEMU, f"2026-02-31T07:14:04+02:00 host a: {EVENT}", EVENT),  # no day of the calendar
        (QEMU, f"1700000000.000001 h a: {EVENT}", f"0@1700000000.000001:{EVENT}"),
        (QEMU, f"1700000000.000001:{EVENT}", f"1700000000.000001:{EVENT}"),  # what is left of QEMU's own time
        (QEMU, f"a/b c.log:17:{EVENT}", EVENT),
        (QEMU, "qemu-system-x86_64: warning: host", "qemu-system-x86_64: warning: host"),
        (FTRACE, FTRACE_LINE, FTRACE_LINE),
        (FTRACE, f"> {FTRACE_LINE}", FTRACE_LINE),
        (FTRACE, f"Nov  5 12:00:01 host trace-cmd[1234]: {FTRACE_LINE}", FTRACE_LINE),
        (FTRACE, f"/srv/a.txt:{FTRACE_LINE}", FTRACE_LINE),
        (FTRACE, f"17:{FTRACE_LINE}", FTRACE_LINE),
        (FTRACE, f"second:{FTRACE_LINE}", f"second:{FTRACE_LINE}"),  # the name of an instance
        (DUMP, f"> > {ROW}", ROW),
        (DUMP, f"[   12.345678] {ROW}", ROW),
        (DUMP, f"dump.txt:17:{ROW}", ROW),
        (DUMP, "\t\t00: 11 22", "\t\t00: 11 22"),  # a remark: no line of a device is indented
        (DUMP, "\tDevCtl: SERR/x-", "\tDevCtl: SERR/x-"),
        (KERNEL_LOG, f"> [   12.345678] {ROW}", f"[   12.345678] {ROW}"),
        (KERNEL_LOG, "\x1b[2JLinux version 7.3", "\x1b[2JLinux version 7.3"),  # a console starts a line there
    ],
)
def test_a_line(around, line, cleaned):
    assert clean(line.encode(), around) == cleaned.encode().ljust(len(line))


LINES = st.lists(
    st.sampled_from(
        ["", "> ", EVENT, ROW, "    ", "00:03.0 Device\n", "\x1b[1m", "\xa0", "\r", "\ufeff", "x=3D", "=\n"]
    ),
    max_size=12,
).map("".join)


@given(st.lists(LINES, max_size=8).map("\n".join), st.sampled_from([QEMU, FTRACE, DUMP, KERNEL_LOG]))
def test_every_line_keeps_its_place(text, around):
    data = text.encode()
    cleaned = clean(data, around)
    assert len(cleaned) == len(data)
    newlines = {place for place, byte in enumerate(data) if byte == 10}
    assert {place for place, byte in enumerate(cleaned) if byte == 10} <= newlines
    assert len(undouble(cleaned)) == len(data)
    if b"=" not in data:
        assert cleaned.count(b"\n") == data.count(b"\n")


def test_what_needs_no_cleaning_is_not_copied():
    data = f"4242@1700000000.000001:{EVENT}\n".encode() * 100_000
    assert LineCleaner(QEMU).clean(data) is data


@pytest.mark.parametrize(
    "line", [FTRACE_LINE, "\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0"]
)
def test_quoted_printable(line):
    sent = quopri.encodestring(f"{line}\n{line}\n".encode())
    assert b"=3D" in sent
    lines = clean(sent, FTRACE if "setpci" in line else DUMP).split(b"\n")
    assert [one.rstrip() for one in lines if one.strip()] == [line.encode()] * 2


@pytest.mark.parametrize(
    "piece",
    [
        b"> ", b">", b"=3D", b"=\n", b"=3D=\n", b"2026-09-22T07:14:04.123Z ", b"a/b:", b"17:", b" ", b"\t",
        b"\r", b"\n", b"\x1b[", b"\x1b]", b"\xa0", b"[ 1.000000] ", b"Nov  5 12:00:01 a b: ", b"\xef\xbb\xbf",
        b"x ",
        b"00:00.0 ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", [QEMU, FTRACE, DUMP, KERNEL_LOG])
def test_no_text_makes_cleaning_slow(piece, around):
    """Half a MiB of one piece, in one line or many; work that grows with the square of that takes hours."""
    text = piece * ((1 << 19) // len(piece))
    assert len(undouble(clean(text, around))) == len(text)


def test_an_equals_sign_that_quotes_nothing_leaves_the_text_alone():
    assert clean(b"reg=3D len=2\n", FTRACE) == b"reg=3D len=2\n"


@pytest.mark.parametrize(
    ("text", "doubled"),
    [
        (b"a\n\nb\n\nc\n\n", True),
        (b"a\r\n\r\nb\r\n \r\nc\r\n\r\n\r\n\r\nd\r\n\r\n", True),
        (b"a\nb\nc\n\nd\ne\nf\n\n", False),
        (b"a\n\nb\n", False),
    ],
)
def test_doubled_lines(text, doubled):
    assert is_doubled(text) is doubled
