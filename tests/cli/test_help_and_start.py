import re
import subprocess
import sys

import pytest

#: Packages that cost too much to import before it is clear that they are needed.
HEAVY = {"polars", "numpy", "scapy", "rich", "pydantic", "zstandard", "construct", "tomlkit"}


def loaded_after(code):
    script = f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_starting_the_program_imports_nothing_heavy():
    assert loaded_after("from analyzer.cli.application import build\nbuild()") & HEAVY == set()


def test_options_are_checked_without_pydantic():
    code = "from analyzer.cli.application import run\nassert run(['rule', '--format', 'json', 'ARI001']) == 0"
    assert loaded_after(code) & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["a.bin", "--help"], ["--format", "json", "-h"]])
def test_help_shows_the_main_job_and_the_sub_commands(program, arguments):
    status, out, err = program(*arguments)
    assert (status, err) == (0, "")
    for word in (
        "CAPTURE",
        "--policy",
        "--preserved",
        "--format",
        "--strict",
        "explain",
        "convert",
        "corpus",
    ):
        assert word in out
    assert "<bool>" not in out


def test_help_of_a_sub_command_is_its_own(program):
    status, out, _ = program("explain", "--help")
    assert status == 0
    assert "Usage: analyze explain [OPTIONS] [CAPTURE]... {BDF}" in out
    assert "--strict" not in out


def test_version(program):
    status, out, _ = program("--version")
    assert status == 0
    assert re.fullmatch(r"aritrace \S+\nreport faults at https://\S+\n", out)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Missing argument CAPTURE"),
        (["--nope", "a.bin"], "No such option: --nope"),
        (["--format", "xml", "a.bin"], "expected one of text, json, jsonl, csv, junit"),
        (["--policy", "STOCK", "a.bin"], "expected one of observed, stock"),
        (["--series", "v3", "a.bin"], "expected one of v4"),
        (["a.bin", "-o"], "requires an argument"),
        (["--select", "ARI9", "a.bin"], "no finding code that starts with 'ARI9'"),
        (["--ignore", "X", "a.bin"], "no finding code that starts with 'X'"),
        (["rule", "ARI999"], "no finding code 'ARI999'"),
        (["explain", "a.bin"], "Missing argument 'BDF'"),
        (["explain", "a.bin", "99:99.9"], "expected a function address"),
        (["convert", "a.bin"], "Missing option '--output'"),
        (["convert", "a.bin", "-o", "a.txt"], "ends in .bin or .parquet"),
        (["convert", "-o", "a.bin"], "name at least one capture"),
        (["stat"], "name at least one capture"),
        (["corpus", "chek"], "Did you mean 'check'?"),
        (["corpus"], "Missing command"),
        (["-", "-"], "standard input (-) can be read once only"),
    ],
)
def test_wrong_usage_is_one_message_and_status_2(program, arguments, complaint):
    status, out, err = program(*arguments)
    assert (status, out) == (2, "")
    assert complaint in err
    assert "Traceback" not in err
