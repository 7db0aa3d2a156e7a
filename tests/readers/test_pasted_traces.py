"""Text of ftrace as people have it: quoted, in syslog, of grep or a mail; and kernel logs that are quoted."""

from __future__ import annotations

import quopri
from pathlib import Path

import pytest

from analyzer.readers import open_capture

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
REPORT = (FORMATS / "ftrace-trace-cmd-report.txt").read_text()
PERF = (FORMATS / "ftrace-perf-script.txt").read_text()
READ = "rd_conf1: (pci_read+0x25/0x40 <- pci_conf1_read) seg=0 bus=0 devfn=0"
PRINTED = (
    f"[   47.501553] {READ} reg=0 len=2 val=0x8086 rc=0\n[   47.501556] {READ} reg=14 len=1 val=0x0 rc=0\n"
)
COLUMNS = ["time_ns", "bus", "devfn", "offset", "width", "op", "value", "status", "absent"]
WAYS = {
    "quoted": lambda text: quoted(text, "> "),
    "quoted, no blank": lambda text: quoted(text, ">"),
    "quoted twice": lambda text: quoted(text, "> > "),
    "docker": lambda text: quoted(text, "2026-09-22T07:14:04.123456789Z "),
    "cri": lambda text: quoted(text, "2026-09-22T07:14:04.123456789Z stdout F "),
    "syslog": lambda text: quoted(text, "Nov  5 12:00:01 host17 trace[1234]: "),
    "mark": lambda text: "\ufeff" + text,
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "cr cr lf": lambda text: text.replace("\n", "\r\r\n"),
    "doubled": lambda text: text.replace("\n", "\n\n"),
    "trailing": lambda text: text.replace("\n", " \t\n"),
}
#: These have no sense in front of a kernel's log, whose own prefixes look like them.
TRACES = {
    "printk": lambda text: quoted(text, "[   12.345678] "),
    "grep -H": lambda text: quoted(text, "/srv/a.txt:"),
    "grep -n": lambda text: quoted(text, "17:"),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "coloured": lambda text: quoted(text, "\x1b[32m"),
}


def quoted(text: str, prefix: str) -> str:
    return "".join(f"{prefix}{line}\n" for line in text.splitlines())


def read(tmp_path, text: str):
    path = tmp_path / "trace.txt"
    path.write_bytes(text.encode())
    capture = open_capture(str(path))
    notes = capture.notes
    return capture.accesses.select(COLUMNS).rows(), capture.format, notes.dropped, notes.truncated


@pytest.mark.parametrize("text", [REPORT, PERF], ids=["report", "perf"])
@pytest.mark.parametrize("way", [*WAYS, *TRACES])
def test_text_of_ftrace(way, text, tmp_path):
    found = read(tmp_path, text)
    assert found[1] == "ftrace-text"
    assert read(tmp_path, {**WAYS, **TRACES}[way](text)) == found


@pytest.mark.parametrize("way", WAYS)
def test_events_in_a_kernel_log(way, tmp_path):
    rows, form, dropped, truncated = read(tmp_path, PRINTED)
    assert ([row[0] for row in rows], form) == ([47_501_553_000, 47_501_556_000], "printed-events")
    assert read(tmp_path, WAYS[way](PRINTED)) == (rows, form, dropped, truncated)
