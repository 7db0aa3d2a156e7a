"""Names and log lines that would act on a terminal, a browser or a spreadsheet are inert in every format."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import xml.etree.ElementTree as ET  # of our own output
from collections import Counter
from pathlib import Path

import fake_hosts
import limited
import pytest
import tomlkit
from hostile_texts import HOSTILE, HOSTILE_NAME, assert_quiet

from analyzer.cli.application import run


@pytest.fixture
def report(pair, tmp_path):
    """Makes the report on the plain or the hostile capture, as bytes."""

    def make(which, *arguments):
        output = tmp_path / "report"
        ended = limited.analyze(pair[which], *arguments, "-o", output)
        assert ended.status == 1, ended.err
        assert_quiet(ended.out)
        assert_quiet(ended.err)
        return output.read_bytes()

    return make


@pytest.mark.parametrize("arguments", [["--format", "text"], ["-v"], ["-vv"]])
def test_text(report, arguments):
    text = report("hostile", *arguments).decode("utf-8")
    assert_quiet(text)
    assert "calc" in text  # else it proves nothing
    assert "\n\tPolicy: clean" not in text


@pytest.mark.parametrize("form", ["json", "jsonl", "sarif"])
def test_json(report, form):
    text = report("hostile", "--format", form).decode("ascii")
    assert_quiet(text)
    for line in text.splitlines() if form == "jsonl" else [text]:
        json.loads(line)


def test_csv(report):
    text = report("hostile", "--format", "csv").decode("utf-8")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        assert_quiet(cell)
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or re.fullmatch(r"-?\d+(\.\d+)?", cell), cell


def test_junit(report):
    raw = report("hostile", "--format", "junit")
    plain = report("plain", "--format", "junit")
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


def test_html(report, tmp_path):
    pages = []
    for which in ("hostile", "plain"):
        report(which, "--html", tmp_path / "page.html")
        pages.append((tmp_path / "page.html").read_text("utf-8"))
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
        ["dump"],
        ["dump", "--format", "jsonl", "--bytes", "--limit", "20"],
        ["log", "-v"],
    ],
)
def test_other_commands(pair, command):
    ended = limited.analyze(command[0], pair["hostile"], *command[1:])
    assert ended.status in (0, 1, 3), ended.err
    assert_quiet(ended.out.replace("\t", " "))  # lspci's own format has tabs
    assert_quiet(ended.err)


@pytest.fixture
def here(capsys):
    """Runs the program in this process, which is quicker; status, and what it says on both streams."""

    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert_quiet(said.out)
        assert_quiet(said.err)
        return status, said.out + said.err

    return call


@pytest.mark.parametrize(
    "command",
    [
        ["atrisk", "--format", "json"],
        ["explain", "0000:02:00.0", "-vv"],
        ["tables", "-t", "captures"],
        ["tables", "-t", "bridges", "--format", "csv"],
        ["tables", "-t", "evidence", "--format", "jsonl"],
    ],
)
def test_further_commands(pair, here, command):
    status, _ = here(command[0], pair["hostile"], *command[1:])
    assert status in (0, 1, 3)


def test_a_host_that_is_collected(tmp_path, here):
    """Names of drivers, interfaces, virtual machines and the host, its log and its command line."""
    text = HOSTILE.replace("\0", "").replace("/", "_")
    spaces = fake_hosts.functions(fake_hosts.BEFORE)
    root = fake_hosts.host(tmp_path / HOSTILE_NAME, spaces, kmsg=f"6,3,0,-;{text}\n6,4,1,-;pci {text}\n")
    for name in ("proc/sys/kernel/hostname", "proc/cmdline", "proc/version"):
        Path(root, name).write_text(text)
    fake_hosts.give(root, "0000:03:01.0", text[:200], group=17)
    Path(root, "sys/devices/pci0000:00/0000:03:01.0/net", text[:200]).mkdir(parents=True)
    Path(root, "sys/devices/pci0000:00/0000:03:01.0/driver").unlink()
    Path(root, "sys/devices/pci0000:00/0000:03:01.0/driver").symlink_to(f"../vfio-{text[:100]}")
    fake_hosts.process(root, 900, ["qemu", "-name", text], ["/dev/vfio/17"])
    output = tmp_path / "x.bin"
    here("collect", "-o", output, "--after", "--root", root)
    for command in (["atrisk", output], ["explain", output, "0000:03:01.0"], ["log", output]):
        status, said = here(*command)
        assert status in (0, 1, 3), said
        assert "calc" in said  # else it proves nothing


def test_files_that_are_refused_with_what_is_wrong(tmp_path, here):
    """A manifest, a scenario, a case of a corpus, a job: the message shows what it quotes harmlessly."""
    (tmp_path / "m").write_text(json.dumps({"pieces": "a", HOSTILE: "x"}))
    (tmp_path / "x.toml").write_text(tomlkit.dumps({"parts": HOSTILE}))
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    corpus.mkdir()
    run.mkdir()
    (corpus / "a.bin").write_bytes(b"")
    (corpus / "a.toml").write_text(tomlkit.dumps({"options": {HOSTILE: 1}}))
    (run / "job.json").write_text(json.dumps({"schema": HOSTILE}))
    for command in (
        ["fleet", "run", "--manifest", tmp_path / "m", "-o", tmp_path / "out"],
        ["fleet", "report", run],
        ["corpus", "check", corpus],
        ["lab", "run", tmp_path / "x.toml"],
    ):
        status, said = here(*command)
        assert status in (2, 3), said
        assert "calc" in said


def test_a_corpus(pair, tmp_path, here):
    """Its titles and what it expects, in the differences that are shown."""
    (tmp_path / "a.bin").write_bytes(pair["hostile"].read_bytes())
    case = {"title": HOSTILE, "what": HOSTILE, "expect": {"verdict": HOSTILE}}
    (tmp_path / "a.toml").write_text(tomlkit.dumps(case))
    for command in (["check", tmp_path], ["update", tmp_path]):
        status, said = here("corpus", *command)
        assert status in (0, 1), said
        assert "calc" in said
