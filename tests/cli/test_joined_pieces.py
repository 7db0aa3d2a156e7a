"""``--join``: every piece that is named is meant, and one that cannot be read is a row."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from analyzer.analysis import analyze
from analyzer.cli.application import run
from analyzer.errors import UsageError
from analyzer.options import Options

TRACES = Path(__file__).parents[2] / "traces"
KERNEL = b"[    0.000000] Linux version 7.3.4\n"
JUNK = b"nothing that anybody recorded\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(TRACES / "clean-inherit.bin", "a.bin")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((f"b.{suffix}", KERNEL) for suffix in ("dmesg", "flb", "preserved", "toml", "txt")),
        *((f"a.{suffix}", KERNEL) for suffix in ("dmesg", "flb", "preserved", "toml")),
        ("b.bin", JUNK),
        ("b.bin", b""),
        ("b.bin", None),
        ("b*.bin", None),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_piece_that_cannot_be_read_is_the_answer(name, content, first, capsys):
    if content is not None:
        Path(name).write_bytes(content)
    pieces = [name, "a.bin"] if first else ["a.bin", name]
    status = run(["--join", *pieces, "--format", "json"])
    (capture,) = json.loads(capsys.readouterr().out)["captures"]
    assert (status, capture["verdict"], capture["path"]) == (3, "unreadable", " + ".join(pieces))
    (problem,) = capture["errors"]
    assert problem["file"] == name
    assert problem["message"].startswith(name)
    assert f": piece {1 if first else 2} of 2: " in problem["message"]


@pytest.mark.parametrize("form", ["text", "csv", "junit", "sarif"])
def test_every_format_names_the_piece(form, capsys):
    Path("b.bin").write_bytes(JUNK)
    assert run(["--join", "a.bin", "b.bin", "--format", form]) == 3
    assert "b.bin at byte 0x0: piece 2 of 2: expected an aritrace .bin" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["a.bin"], "1: a.bin"),
        (["missing.bin"], "1: missing.bin"),
        (["."], "1: ./a.bin"),
        (["*.bin"], "1: a.bin"),
    ],
)
def test_one_piece_is_wrong_usage(arguments, found, capsys):
    assert run(["--join", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"--join needs at least two pieces, found {found}; name them in order" in said.err


def test_one_piece_is_wrong_usage_in_the_library():
    with pytest.raises(UsageError, match="at least two pieces, found 1"):
        analyze(["a.bin"], Options(join=True))


def test_a_damaged_capture_of_a_directory_is_a_row_in_every_format(folder, capsys):
    (folder / "runs").mkdir()
    shutil.move("a.bin", "runs/a.bin")
    (folder / "runs" / "b.bin").write_bytes(JUNK)
    (folder / "runs" / "notes.txt").write_bytes(JUNK)
    assert run(["runs", "--format", "csv"]) == 3
    said = capsys.readouterr()
    rows = [row for row in csv.DictReader(io.StringIO(said.out)) if row["row"] == "capture"]
    assert {row["path"]: row["verdict"] for row in rows} == {
        "runs/a.bin": "clean",
        "runs/b.bin": "unreadable",
    }
    assert "note: 1 file is not analysed as a capture: runs/notes.txt\n" in said.err
    for form in ("text", "json", "jsonl", "junit", "sarif"):
        assert run(["runs", "--format", form]) == 3
        said = capsys.readouterr()
        assert "runs/b.bin" in said.out
        assert "notes.txt" not in said.out
