"""``--input-format`` and ``--bdf`` on every command that reads captures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_dumps import dump

from analyzer.cli.application import run as analyze
from analyzer.cli.option_values import INPUT_FORMATS
from analyzer.readers import formats

EVENT = "4242@1700000000.000001:pci_cfg_read nvme 03:00.0 @0x0 -> 0x101b36\n"
#: No line of it shows a format within what is searched, and nothing is read but the last one.
FAR = "x\n" * (17 << 20) + EVENT


def test_the_choices_are_the_formats_that_have_a_reader():
    assert tuple(form.name for form in formats.READ) == INPUT_FORMATS
    every = {form for form in vars(formats).values() if isinstance(form, formats.Format)}
    assert {form.name for form in every if form.reader is not None} == set(INPUT_FORMATS)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("dump.txt").write_text(dump(size=4096))

    def answer(*arguments: str):
        status = analyze(arguments)
        said = capsys.readouterr()
        return status, said.out + said.err

    return answer


COMMANDS = {
    "main": ["dump.txt"],
    "atrisk": ["atrisk", "dump.txt"],
    "explain": ["explain", "dump.txt", "00:03.0"],
    "snapshot": ["snapshot", "dump.txt"],
    "stat": ["stat", "dump.txt"],
    "convert": ["convert", "dump.txt", "-o", "out.bin"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_format(command, run):
    plain = run(*COMMANDS[command])
    Path("out.bin").unlink(missing_ok=True)
    assert run(*COMMANDS[command], "--input-format", "lspci-dump") == plain
    Path("out.bin").unlink(missing_ok=True)
    code, output = run(*COMMANDS[command], "--input-format", "qemu-log")
    assert code == 3
    assert "found none in this QEMU log" in " ".join(output.split())


def test_a_format_that_does_not_exist_is_wrong_usage(run):
    code, output = run("stat", "dump.txt", "--input-format", "lspci")
    assert code == 2
    assert "lspci-dump" in output


@pytest.mark.slow
def test_a_log_that_begins_beyond_what_is_searched(run):
    Path("far.log").write_text(FAR)
    code, output = run("stat", "far.log", "--format", "json")
    assert "--input-format" in output
    code, output = run("stat", "far.log", "--format", "json", "--input-format", "qemu-log")
    assert (code, json.loads(output)[0]["accesses"]) == (0, 1)


def test_a_config_file_of_any_name(run):
    Path("blob").write_bytes(bytes.fromhex("868048a0070410000100040600000100") + bytes(240))
    code, output = run("stat", "blob", "--bdf", "0000:00:1c.0")
    assert code == 0
    assert "sysfs-config" in output
    code, output = run("stat", "blob", "--bdf", "00:1c")
    assert code == 2
    assert "expected a function address" in " ".join(output.split())
