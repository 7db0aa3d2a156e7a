"""Every command in the pages runs, or the page says what it needs; what a page shows is what is printed."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import duckdb
import page_files
import pytest
import typer
from page_commands import NEEDS, PAGES, ROOT, PageCommand, commands, text_of

from analyzer import bdf
from analyzer.cli.application import build, run
from analyzer.cli.lab_command import _chosen
from analyzer.questions import snapshot

#: What stands for a name that the reader knows. FILE after an option of OUTPUTS is a file to write.
PLACEHOLDERS = {
    "CAPTURE": "traces/lost-explicit-write.bin",
    "CAPTURE...": "traces/lost-explicit-write.bin",
    "FILE": "traces/lost-explicit-write.bin",
    "PATH": "traces/lost-explicit-write.bin",
    "@FILE": "@preserved.txt",
    "DIR": "captures",
    "DIR...": "captures",
    "DUMP": "before.txt",
    "BEFORE": "before.txt",
    "AFTER": "after.txt",
    "BDF": "02:00.0",
    "FORMAT": "json",
    "N": "1",
    "DATE": "2026-03-31",
}
OUTPUTS = ("-o", "--html", "--perfetto")
#: What must have run before the first command of a page.
FIRST = {"docs/reports.md": "fleet run captures -o out"}
#: Lines that other tests run, in shells that are not everywhere.
ELSEWHERE = {
    'eval "$(analyze --show-completion zsh)"': "tests/cli/test_shell_completion.py",
    "analyze --show-completion fish | source": "tests/cli/test_shell_completion.py",
}
#: Commands whose captures show a loss (exit status 1), or lack what would exclude one (3).
LOSS = {
    "analyze atrisk --seed before.txt now.log",
    "analyze --input-format qemu-log vm.log",
    "analyze --join before.bin after.bin",
    "analyze --join before.txt after.txt",
    "analyze --join before.txt dmesg.txt",
    "analyze --join before.txt incoming-dmesg.txt",
    "analyze --join dmesg-before.txt dmesg-after.txt",
    "analyze --join k1.bin k2-dmesg.txt",
    "analyze --join k1.dat k2.dat",
    "analyze CAPTURE",
    "analyze CAPTURE --format json",
    "analyze CAPTURE --perfetto FILE",
    "analyze CAPTURE -v",
    "analyze CAPTURE -vv",
    "analyze CAPTURE... --format FORMAT",
    "analyze DIR",
    "analyze FILE",
    "analyze PATH --html FILE",
    "analyze atrisk dump.txt",
    "analyze bus.pcap --linktype-raw-tlp 147",
    "analyze captures/ --html all.html -o all.txt",
    "analyze cfg.bin",
    "analyze cfg.log",
    "analyze console.txt",
    "analyze fleet report /srv/fleet --since 2026-03-01",
    "analyze fleet report out",
    "analyze fleet report out --html fleet.html",
    "analyze fleet report out --trend week --html fleet.html -o fleet.txt",
    "analyze host17.log --dmesg host17.dmesg --html loss.html",
    "analyze loss.bin",
    "iconv -f UTF-16 -t UTF-8 FILE | analyze -",
}
DOUBT = {
    "analyze atrisk /sys/bus/pci/devices",
    "analyze atrisk /sys/bus/pci/devices --preserved @FILE",
    "analyze atrisk after.txt",
    "analyze atrisk dump.txt --bdf 0000:03:00.0",
    "analyze bare.pcap --linktype-raw-tlp 147",
    "analyze k1.bin --flb host17.flb --flb-name pci",
}
#: An address with or without a domain, and no time of day, offset or version.
BDF = re.compile(r"(?<![\w:.-])(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7](?![\w:-]|\.\d)")
#: The functions of the machine that the pages speak of.
MACHINE = {bdf.text(space.function) for space in snapshot.take(str(page_files.LOST), 1).functions}
#: These download, build or boot something.
LAB = (["lab", "run"], ["lab", "build"])
EVERY = [command for page in PAGES for command in commands(page)]


def own(call: list[str]) -> bool:
    return Path(call[0]).name == "analyze"


def status_of(command: PageCommand) -> int:
    """The exit status that the command has with the files of these tests."""
    return 1 if command.text in LOSS else 3 if command.text in DOUBT else 0


@functools.cache
def parser() -> tuple[Any, dict]:
    """The program with commands that do nothing but leave the values of their options in the second."""
    values: dict = {}
    program = build.__wrapped__()  # one that nothing else uses (tests/conftest.py)
    every = [program]
    for one in every:
        every += getattr(one, "commands", {}).values()
        one.callback = lambda **given: values.update(given)
    return program, values


def parsed(call: list[str]) -> tuple[str | None, dict]:
    """What is wrong with a call of the program (None: nothing), and what its options are; nothing runs."""
    program, values = parser()
    values.clear()
    words = [re.sub(r"\$\w+", "1", PLACEHOLDERS.get(word, word)) for word in call[1:] if word != "..."]
    try:
        program.main(args=words, prog_name="analyze", standalone_mode=False)
    except typer.TyperException as error:
        return error.format_message(), {}
    return None, dict(values)


def is_run(command: PageCommand) -> bool:
    """Whether it is one call of the program, which needs nothing and names what it is to read."""
    if (
        command.needs is not None
        or command.is_synopsis
        or len(command.calls) != 1
        or not own(command.calls[0])
    ):
        return False
    (call,) = command.calls
    if call[1:3] in LAB:
        return False
    wrong, values = parsed(call)
    nothing_named = wrong is not None or values.get("captures", "?") in (None, [])
    return command.block or not (nothing_named or "..." in call)


RUN = [one for one in EVERY if is_run(one) and one.text not in ELSEWHERE]
LINES = [
    one
    for one in EVERY
    if one.needs is None and one.text not in ELSEWHERE
    if "$(analyze " in one.text or (len(one.calls) > 1 and any(map(own, one.calls)))
]


def test_commands_are_found_with_what_they_need() -> None:
    found = {(one.text, one.needs) for one in EVERY}
    assert found >= {
        ("analyze --join before.txt after.txt", None),
        ("lspci -D -xxxx > before.txt", "root"),
        ("trace-cmd record -C boot -e 'pcicfg:*' -o k1.dat", "root"),
        ("analyze fleet report out", None),
        ("export AWS_REGION=eu-central-1", "network"),
        ("analyze lab run ./my.toml --expect", "QEMU, network"),
        ("analyze explain --join before.txt after.txt 02:00.0", None),
        ("analyze convert --join before.txt after.txt -o host.bin", None),
    }
    assert len(RUN) > 60


@pytest.mark.parametrize("command", [one for one in EVERY if one.block], ids=str)
def test_a_line_of_a_block_runs_or_says_what_it_needs(command: PageCommand) -> None:
    if command.needs is None:
        assert command in RUN or command in LINES or command.text in ELSEWHERE
    else:
        assert set(command.needs.split(", ")) <= NEEDS.keys()


def test_what_commands_need_is_described() -> None:
    page = text_of("CONTRIBUTING.md")
    for word, meaning in NEEDS.items():
        assert f"| `needs: {word}` | {meaning} |" in page


@pytest.mark.parametrize("command", [one for one in EVERY if any(map(own, one.calls))], ids=str)
def test_commands_options_and_scenarios_exist(command: PageCommand) -> None:
    for call in filter(own, command.calls):
        wrong, _ = parsed(call)
        assert wrong is None or (not command.block and wrong.startswith("Missing "))
        if call[1:3] in LAB:
            assert "QEMU" in (command.needs or "")
        if call[1:3] == ["lab", "run"]:
            names = [word for word in call[3:4] if word != "SCENARIO..." and not word.startswith("./")]
            _chosen(names, None, expected=True)


def loaded(path: str):
    spec = spec_from_file_location(f"page_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", [one for one in EVERY if "record.py" in one.text], ids=str)
def test_arguments_of_the_recorder_exist(command: PageCommand) -> None:
    for call in command.calls:
        (at,) = [at for at, word in enumerate(call) if word.endswith("record.py")] or [None]
        if at is not None and call[0] != "install":
            loaded("traces/capture/record.py").arguments(call[at + 1 :])


@pytest.mark.parametrize("command", [one for one in EVERY if "bench/run.py" in one.text], ids=str)
def test_arguments_of_the_benchmark_exist(command: PageCommand, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    (call,) = command.calls
    monkeypatch.setattr(
        sys, "argv", [word for word in call[1:] if not word.startswith(("[", "...", "SECTION"))]
    )
    bench = loaded("bench/run.py")
    monkeypatch.setattr(bench, "ANALYZE", sys.executable)
    bench._arguments()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a folder with what a page names the current one."""
    monkeypatch.chdir(tmp_path)

    def written(page: str, found: list[PageCommand]) -> Path:
        words = {word for one in found for call in one.calls for word in call}
        page_files.write(tmp_path, page, words | {PLACEHOLDERS.get(word, "") for word in words})
        (tmp_path / "preserved.txt").write_text("03:00.0\n")
        return tmp_path

    return written


def arguments(call: list[str], folder: Path) -> list[str]:
    """Those of a call, with names of what is there; absolute paths are below the folder."""
    words: list[str] = []
    for word in call[1:]:
        if word == "FILE" and words[-1:] and words[-1] in OUTPUTS:
            words.append("new-file")
        else:
            words.append(f"{folder}{word}" if word.startswith("/") else PLACEHOLDERS.get(word, word))
    if words[0] == "collect":
        words += ["--root", page_files.HOSTS["--after" if "--after" in words else "--before"]]
    if "-o" in words:
        output = Path(words[words.index("-o") + 1])
        output.parent.mkdir(parents=True, exist_ok=True)
        if "--add" not in words and (words[:2] == ["fleet", "run"] or words[0] == "tables"):
            shutil.rmtree(output, ignore_errors=True)
    return words


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({one.page for one in RUN}))
def test_commands_of_a_page_run(page: str, files, capsys: pytest.CaptureFixture[str]) -> None:
    mine = [one for one in RUN if one.page == page]
    folder = files(page, mine)
    if page in FIRST:
        assert run(FIRST[page].split()) == 0
    wrong = []
    for command in mine:
        capsys.readouterr()
        (call,) = command.calls
        status = run(arguments(call, folder))
        said = capsys.readouterr()
        words = shlex.split(command.text)
        if ">" in words:
            Path(words[-1]).write_text(said.out)
        if status != status_of(command) or said.out.startswith("UNREADABLE"):
            wrong.append(f"{command}: exit status {status}: {said.out[:300]}{said.err[-300:]}")
    assert wrong == []


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("command", LINES, ids=str)
def test_lines_with_other_programs_run(command: PageCommand, files, tmp_path: Path) -> None:
    """``FILE`` is in UTF-16: that is what the one line with a file of that name is for."""
    files(command.page, [command])
    text = page_files.sample("qemu-log-dialect-c.log.zst").decode()
    Path("FILE").write_text(text, encoding="utf-16")
    program = tmp_path / "bin" / "analyze"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from analyzer.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command.text],
        env={"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status_of(command), done.stderr


def test_the_readme_shows_what_the_program_prints(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    ((command, shown),) = re.findall(
        r"```\n\$ analyze ([^\n]+)\n(.*?)\n\.\.\.\n```", text_of("README.md"), re.DOTALL
    )
    assert run(command.split()) == 1
    assert capsys.readouterr().out.startswith(f"{shown}\n")


@pytest.mark.slow
def test_queries_of_outputs_run(files) -> None:
    """Those of fleet.md and tables.md are in tests/fleet/test_report.py and tests/test_stage_tables.py."""
    files("docs/outputs.md", [])
    assert run(["traces/lost-explicit-write.bin", "--format", "parquet", "-o", "findings.parquet"]) == 1
    (block,) = re.findall(r"```sql\n(.*?)```", text_of("docs/outputs.md"), re.DOTALL)
    found, accesses = (duckdb.sql(query).fetchall() for query in block.strip().split(";")[:2])
    path = "traces/lost-explicit-write.bin"
    assert found[0][:4] == (path, "0000:02:00.0", "lost", "explicit-write")
    assert [row[1] for row in found] == ["0000:02:00.0", "0000:03:01.0", "0000:03:01.1", "0000:03:02.0"]
    assert [row[2] for row in accesses] == [3599, 15003, 15004, 16881]


@pytest.mark.parametrize("page", PAGES)
def test_functions_of_a_page_are_in_a_capture_of_its_machine(page: str) -> None:
    """Prose and examples speak of the machine of lost-explicit-write.bin, so that they can be tried."""
    named = {name if name.count(":") == 2 else f"0000:{name}" for name in BDF.findall(text_of(page))}
    assert named <= MACHINE
