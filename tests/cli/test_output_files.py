"""Files that the program writes: whole or not at all, never over an input, and nothing beside them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unprivileged import unprivileged

from analyzer.cli.application import run

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "traces" / "lost-explicit-write.bin"
OLD = b"what was here before"
PROGRAM = [sys.executable, "-c", "from analyzer.cli import main; main()"]

#: Ways to write a file, the last word being its name.
WAYS = {
    "text": ["a.bin", "-o"],
    "json": ["a.bin", "--format", "json", "-o"],
    "csv": ["a.bin", "--format", "csv", "-o"],
    "junit": ["a.bin", "--format", "junit", "-o"],
    "sarif": ["a.bin", "--format", "sarif", "-o"],
    "parquet": ["a.bin", "--format", "parquet", "-o"],
    "html": ["a.bin", "-q", "--html"],
    "convert": ["convert", "a.bin", "--to", "bin", "-o"],
    "convert to parquet": ["convert", "a.bin", "--to", "parquet", "-o"],
    "explain": ["explain", "a.bin", "0000:02:00.0", "-o"],
    "stat": ["stat", "a.bin", "-o"],
    "atrisk": ["atrisk", "a.bin", "-o"],
    "snapshot": ["snapshot", "a.bin", "--boot", "0", "-o"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "a.bin")
    Path("out").mkdir()
    return tmp_path


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def beside() -> list[str]:
    return sorted(path.name for path in Path("out").iterdir())


def said(capsys) -> str:
    text = "".join(capsys.readouterr())
    assert "Traceback" not in text
    return text


@pytest.mark.usefixtures("folder")
def test_a_file_is_written_and_nothing_beside_it(way):
    assert run([*way, "out/new"]) in (0, 1)
    assert beside() == ["new"]
    assert Path("out/new").stat().st_size > 100
    assert Path("a.bin").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize(
    "link", ["the name", "another spelling", "symbolic link", "link in a folder", "hard link"]
)
@pytest.mark.usefixtures("folder")
def test_an_output_over_an_input_is_refused(way, link, capsys):
    target = Path("out/link")
    if link == "the name":
        target = Path("a.bin")
    elif link == "another spelling":
        target = Path("out/../a.bin")
    elif link == "symbolic link":
        target.symlink_to("../a.bin")
    elif link == "link in a folder":
        Path("through").symlink_to(".")
        target = Path("through/a.bin")
    else:
        target.hardlink_to("a.bin")
    assert run([*way, str(target)]) == 2
    assert "overwrite" in said(capsys)
    assert Path("a.bin").read_bytes() == CAPTURE.read_bytes()


@pytest.mark.parametrize("option", ["--dmesg", "--flb", "--preserved"])
@pytest.mark.usefixtures("folder")
def test_other_inputs_are_not_written_over_either(option, capsys):
    Path("beside").write_bytes(OLD)
    value = "@beside" if option == "--preserved" else "beside"
    assert run(["a.bin", option, value, "-o", "beside"]) == 2
    assert "overwrite" in said(capsys)
    assert Path("beside").read_bytes() == OLD


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_what_was_there(way, existing, folder):
    if existing:
        Path("out/new").write_bytes(OLD)
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64));"
    done = subprocess.run(
        [sys.executable, "-c", f"{limit} {PROGRAM[2]}", *way, "out/new"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert b"cannot write" in done.stderr
    assert b"Traceback" not in done.stderr
    assert beside() == ["new"] * existing
    if existing:
        assert Path("out/new").read_bytes() == OLD


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.usefixtures("folder")
def test_a_device_that_is_full(capsys):
    assert run(["a.bin", "-o", "/dev/full"]) == 2
    assert "No space left on device" in said(capsys)
    assert Path("/dev/full").is_char_device()


def test_a_folder_that_may_not_be_written(way, folder, capsys):
    Path("out/new").write_bytes(OLD)
    Path("out").chmod(0o555)
    # An interpreter in root's home cannot be read below: what is imported late is imported now.
    run([*way, "early"])
    run([*way, "/dev/null/early"])
    said(capsys)
    with unprivileged(folder):
        assert run([*way, "out/new"]) == 2
    assert "Permission denied" in said(capsys)
    Path("out").chmod(0o755)
    assert beside() == ["new"]
    assert Path("out/new").read_bytes() == OLD


@pytest.mark.parametrize("target", ["no-such-folder/new", "a.bin/new", "out"])
@pytest.mark.usefixtures("folder")
def test_places_where_no_file_can_be(way, target, capsys):
    if "convert" in way and target == "out":
        return  # a folder is where several captures go
    if "convert" in way and target == "no-such-folder/new":
        return  # it makes the folder
    assert run([*way, target]) == 2
    said(capsys)
    assert beside() == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_no_half_file(number, status, folder):
    """At any moment: the file is as it was, or whole."""
    command = [*PROGRAM, "convert", "a.bin", "--to", "bin", "-o", "out/new"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    whole = folder / "whole"
    subprocess.run([*command[:-1], str(whole)], cwd=folder, env=environment, check=True, capture_output=True)
    ended = set()
    for wait in (0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.1):
        Path("out/new").write_bytes(OLD)
        program = subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-1)
        time.sleep(wait)
        program.send_signal(number)
        _, err = program.communicate(timeout=60)
        assert b"Traceback" not in err or program.returncode == -number  # before the program had begun
        assert beside() == ["new"]
        assert Path("out/new").read_bytes() in (OLD, whole.read_bytes())
        ended.add(program.returncode)
    assert ended <= {status, 0, -number, 1}
    assert status in ended or 0 in ended


def test_a_reader_that_left(folder):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PROGRAM, "a.bin", "--format", "json"], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_files_are_closed_before_the_next_is_opened(folder):
    for number in range(100):
        Path(f"out/{number}.bin").hardlink_to("a.bin")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24));"
    done = subprocess.run(
        [sys.executable, "-c", f"{limit} {PROGRAM[2]}", "stat", "out", "--format", "json", "-o", "report"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
