"""Names and log lines that would act on a terminal, a browser or a spreadsheet are inert in every format."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET  # of our own output
from collections import Counter
from pathlib import Path

import limited
import pytest

from analyzer.capture import Boundary, LogLine, Problem
from analyzer.readers import open_capture
from analyzer.writers.native import write_capture

TRACES = Path(__file__).parents[2] / "traces"
HOSTILE = (
    "=cmd|'calc'!A0 +1+1 @SUM(1) <script>alert(1)<img src=x onerror=alert(2)>&lt;]]>--><!--"
    "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\u200b\ufeff\u2028 %s %n {{7*7}} ${x} [red]x[/red]"
    " \"'`;rm -rf ~ \r\n\tPolicy: clean"
)
PLAIN = "node-7"
#: What is on the screen may look like something else than what is in the file.
MISLEADING = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A lost capture twice: as it is, and with hostile strings wherever a capture has text."""
    folder = tmp_path_factory.mktemp("strings")
    for name, text in (("plain.bin", PLAIN), ("=1+1<b>\u202e\x1b[2J x.bin", HOSTILE)):
        capture = open_capture(str(TRACES / "lost-explicit-write.bin"))
        notes = capture.notes
        at = analysis_boundary()
        one_line = text.replace("\r\n", " ")
        notes.host, notes.tool, notes.releases, notes.source_format = text, text, [text], text
        notes.boundaries = [Boundary(at, "live-update", text)]
        notes.log = [
            LogLine(f"[    0.000000] Linux version {one_line} (x) #1", 0),
            LogLine(f"[    0.000000] Command line: {one_line}", 0),
            LogLine(f"[    1.000000] pci 0000:02:00.0: {one_line}", 9),
            LogLine(f"[    0.000000] Linux version {one_line} (x) #1", at),
        ]
        notes.problems = [Problem(text[:200], text, 5, text)]
        write_capture(capture, folder / name)
    return folder


def analysis_boundary() -> int:
    from analyzer import analyze

    return analyze([str(TRACES / "lost-explicit-write.bin")]).captures[0].kexecs[0].at_access


def report(folder, which, *arguments):
    """The report on the plain or the hostile capture, as bytes."""
    (path,) = [path for path in folder.glob("*.bin") if (path.name == "plain.bin") == (which == "plain")]
    output = folder / "report"
    ended = limited.analyze(path, *arguments, "-o", output)
    assert ended.status == 1, ended.err
    assert_quiet(ended.out)
    assert_quiet(ended.err)
    return output.read_bytes()


def assert_quiet(text: str) -> None:
    """No control characters but line ends, and nothing that misleads the eye."""
    strange = {char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Co") and char != "\n"}
    assert strange == set()
    assert not MISLEADING.search(text)


@pytest.mark.parametrize("arguments", [["--format", "text"], ["-v"], ["-vv"]])
def test_text(folder, arguments):
    text = report(folder, "hostile", *arguments).decode("utf-8")
    assert_quiet(text)
    assert "calc" in text  # else it proves nothing
    assert "\n\tPolicy: clean" not in text


@pytest.mark.parametrize("form", ["json", "jsonl", "sarif"])
def test_json(folder, form):
    text = report(folder, "hostile", "--format", form).decode("ascii")
    assert_quiet(text)
    for line in text.splitlines() if form == "jsonl" else [text]:
        json.loads(line)


def test_csv(folder):
    text = report(folder, "hostile", "--format", "csv").decode("utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert_quiet(cell)
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or re.fullmatch(r"-?\d+(\.\d+)?", cell), cell


def test_junit(folder):
    raw = report(folder, "hostile", "--format", "junit")
    plain = report(folder, "plain", "--format", "junit")
    assert_quiet(raw.decode("utf-8"))
    tags = [Counter(element.tag for element in ET.fromstring(data).iter()) for data in (raw, plain)]  # noqa: S314 as above
    assert tags[0] == tags[1]


class Elements(html.parser.HTMLParser):
    """Counts elements, and the attributes that could run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] += 1
        for name, value in attrs:
            self.found["handler"] += name.startswith("on")
            self.found["address"] += name in ("href", "src") and not (value or "").startswith(("#", "data:"))


def test_html(folder):
    pages = []
    for which in ("hostile", "plain"):
        report(folder, which, "--html", folder / "page.html")
        pages.append((folder / "page.html").read_text("utf-8"))
    assert_quiet(pages[0])
    assert "calc" in pages[0]
    hostile, plain = (Elements(page).found for page in pages)
    for dangerous in ("script", "img", "b", "iframe", "object", "handler", "address"):
        assert hostile[dangerous] == plain[dangerous], dangerous


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "0000:02:00.0"],
        ["explain", "0000:02:00.0", "--format", "json"],
        ["stat"],
        ["stat", "--format", "json"],
        ["atrisk"],
        ["snapshot", "--boot", "0"],
    ],
)
def test_other_commands(folder, command):
    (path,) = [path for path in folder.glob("*.bin") if path.name != "plain.bin"]
    ended = limited.analyze(command[0], path, *command[1:])
    assert ended.status in (0, 1, 3), ended.err
    assert_quiet(ended.out.replace("\t", " "))  # lspci's own format has tabs
    assert_quiet(ended.err)
