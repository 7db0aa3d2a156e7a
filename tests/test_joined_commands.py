"""``--join`` and ``--seed`` of ``convert``, ``explain`` and ``atrisk``: as in the main job."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import fake_hosts
import polars as pl
import pytest
from small_dumps import END, FIRST, OFF, PORT, dump
from small_logs import log

from analyzer.analysis import analyze
from analyzer.cli.application import run
from analyzer.options import Options

BEFORE, AFTER = dump(size=4096, rows=END), dump(PORT, FIRST, size=4096, rows=OFF)
#: What says where a result comes from, and what depends on the file alone.
ORIGIN = {"path", "files", "format", "file", "offset_bytes", "accesses", "dropped", "missing_dwords"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("before.txt", BEFORE), ("after.txt", AFTER), ("after.log", log(FIRST))):
        (tmp_path / name).write_text(text)
    return tmp_path


def without_origin(value):
    if isinstance(value, dict):
        return {key: without_origin(item) for key, item in value.items() if key not in ORIGIN}
    return [without_origin(item) for item in value] if isinstance(value, list | tuple) else value


def answer(*paths: str, **options) -> object:
    (result,) = analyze(paths, Options(join=len(paths) > 1, **options)).captures
    return without_origin(dataclasses.asdict(result))


def test_converted_pieces_give_the_same_answer(folder):
    (folder / "after.dmesg").write_text("[    0.000000] Linux version 6.12.1\n")
    assert run(["convert", "--join", "before.txt", "after.txt", "-o", "host.bin"]) == 0
    expected = answer("before.txt", "after.txt")
    assert answer("host.bin") == expected
    assert expected["verdict"] == "findings"


def test_pieces_as_one_table(folder):
    assert run(["convert", "--join", "before.txt", "after.txt", "-o", "host.parquet"]) == 0
    table = pl.read_parquet(folder / "host.parquet")
    assert table["seq"].to_list() == list(range(5120))
    assert table["file"].n_unique() == 2


def test_a_converted_seed_gives_the_same_answer():
    assert run(["convert", "after.txt", "--seed", "before.txt", "-o", "host.bin"]) == 0
    assert answer("host.bin") == answer("after.txt", seed="before.txt")
    assert run(["convert", "--join", "before.txt", "after.txt", "--seed", "before.txt", "-o", "all.bin"]) == 0
    assert answer("all.bin") == answer("before.txt", "after.txt", seed="before.txt")


def test_pieces_that_one_file_cannot_hold_are_refused(folder, capsys):
    """A log stands for a scan that a capture has no record of."""
    assert run(["convert", "--join", "before.txt", "after.log", "-o", "host.bin"]) == 3
    err = capsys.readouterr().err
    assert "before.txt + after.log: as one file this history would give another answer than its pieces" in err
    assert not (folder / "host.bin").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["convert", "--join", "before.txt", "-o", "a.bin"], 2, "--join needs at least two pieces, found 1"),
        (["convert", "--join", "before.txt", "gone.txt", "-o", "a.bin"], 3, "piece 2 of 2"),
        (["convert", "--join", "before.txt", "no*pe", "-o", "a.bin"], 3, "no file matches this pattern"),
        (["convert", "before.txt", "after.txt", "-o", "a.bin"], 2, "2 captures cannot become one file"),
        (["convert", "before.txt", "--seed", "gone", "-o", "a.bin"], 3, "--seed gone"),
        (["convert", "before.txt", "--seed", "after.txt", "-o", "after.txt", "--to", "bin"], 2, "overwrite"),
        (
            ["explain", "before.txt", "after.txt", PORT],
            2,
            "found 2; --join takes them as pieces of one history",
        ),
        (["explain", "--join", "before.txt", PORT], 2, "--join needs at least two pieces, found 1"),
        (["explain", "--join", "before.txt", "gone.txt", PORT], 3, "piece 2 of 2"),
        (["explain", "--join", "before.txt", "after.txt"], 2, "expected a function address"),
    ],
)
def test_what_is_not_pieces_is_refused(arguments, status, complaint, folder, capsys):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(arguments) == status
    assert complaint in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_explained_pieces_are_those_of_the_converted_file(capsys):
    assert run(["convert", "-q", "--join", "before.txt", "after.txt", "-o", "host.bin"]) == 0
    told = []
    for named in (["--join", "before.txt", "after.txt"], ["host.bin"]):
        capsys.readouterr()
        assert run(["explain", *named, PORT, "--format", "json"]) == 0
        told.append(without_origin(json.loads(capsys.readouterr().out)))
    assert told[0] == told[1]
    assert told[0]["kexecs"][0]["bridge"]["verdict"] == "lost"


def test_an_explanation_of_a_seeded_capture(capsys):
    assert run(["explain", "after.txt", PORT, "--seed", "before.txt", "-vv"]) == 0
    out = capsys.readouterr().out
    assert "ARIFwd+" in out
    assert "ARIFwd-" in out
    assert Path("before.txt").read_text() == BEFORE


def test_atrisk_of_a_recording_that_begins_after_the_scan(capsys):
    """The recording alone shows no running kernel; with a snapshot of its beginning the last write counts."""
    Path("host.txt").write_text(fake_hosts.lspci(fake_hosts.functions(fake_hosts.BEFORE)))
    Path("now.log").write_text("4242@1700000000.000002:pci_cfg_write port 02:00.0 @0xb8 <- 0x0\n")
    assert run(["atrisk", "host.txt"]) == 0
    assert run(["atrisk", "now.log"]) == 2
    assert run(["atrisk", "now.log", "--seed", "host.txt"]) == 1
    at_risk, already_lost = re.findall(r"^[A-Z ]+(?=: )", capsys.readouterr().out, re.MULTILINE)
    assert (at_risk, already_lost) == ("AT RISK", "ALREADY LOST")
    assert run(["atrisk", "now.log", "--seed", "host.txt", "-o", "host.txt"]) == 2
