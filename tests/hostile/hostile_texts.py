"""Texts that would act on a terminal, a browser or a spreadsheet, and captures full of them."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from analyzer import analyze
from analyzer.capture import Boundary, Event, LogLine, PreservedDump, Problem
from analyzer.converting.native import write_capture
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[2] / "traces"
HOSTILE = (
    "=cmd|'calc'!A0 +1+1 @SUM(1) <script>alert(1)<img src=x onerror=alert(2)>&lt;]]>--><!--"
    "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\u200b\ufeff\u2028 %s %n {{7*7}} ${x} [red]x[/red]"
    " \"'`;rm -rf ~ \0 \x7f \x85 \U000e0041 \r\n\tPolicy: clean"
)
PLAIN = "node-7"
#: The name is no UTF-8, begins a formula, and holds markup, controls and a quote.
HOSTILE_NAME = os.fsdecode(b"=1+1<b>\xe2\x80\xae\x1b[2J\xff'\"\n x.bin")
#: What is on the screen may look like something else than what is in the file.
MISLEADING = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def write(path: Path, text: str) -> None:
    """Write a capture with a loss, and with this text wherever a capture has text."""
    source = str(TRACES / "lost-explicit-write.bin")
    capture = open_capture(source)
    notes = capture.notes
    at = analyze([source]).captures[0].kexecs[0].at_access
    one_line = text.replace("\r\n", " ")
    notes.host, notes.tool, notes.releases, notes.source_format = text, text, [text], text
    notes.boundaries = [Boundary(at, "live-update", text)]
    notes.log = [
        LogLine(f"[    0.000000] Linux version {one_line} (x) #1", 0),
        LogLine(f"[    0.000000] Command line: {one_line}", 0),
        LogLine(f"[    1.000000] pci 0000:02:00.0: {one_line}", 9),
        LogLine(f"[    0.000000] Linux version {one_line} (x) #1", at),
    ]
    notes.preserved = [PreservedDump(dump.data, text, dump.kexec) for dump in notes.preserved]
    notes.events = [
        Event("aer", at - 1, (0, 2, 0), text),
        Event(text[:100], at - 1, (0, 2, 0), text),
        Event("link", at - 1, (0, 9, 0), text),
    ]
    notes.problems = [Problem(text[:200], text, 5, text)]
    write_capture(capture, path)


def assert_quiet(text: str) -> None:
    """No control characters but line ends, and nothing that misleads the eye."""
    strange = {char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Co") and char != "\n"}
    assert strange == set()
    assert not MISLEADING.search(text)
