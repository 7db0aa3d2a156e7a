"""No room on the disk: said in words, with the file, and nothing is lost: the same command goes on later."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fleet_runs import CLEAN, LOST, SELECTIVE, Fleet, tree
from limited_files import files_up_to

from analyzer.cli.application import run
from analyzer.errors import UsageError
from analyzer.fleet import stores, workers

ROOT = Path(__file__).parents[2]
#: The program with files that may not grow beyond a number of bytes, its workers included.
LIMITED = """
import resource, sys
if __name__ == "__main__":
    size = int(sys.argv.pop(1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    from analyzer.cli import main
    sys.exit(main())
"""


def limited(folder: Path, size: int, *arguments: object) -> tuple[int, str]:
    (folder / "analyze").write_text(LIMITED, "ascii")
    done = subprocess.run(
        # -B: a compiled module that is cut short is not noticed.
        [sys.executable, "-B", folder / "analyze", str(size), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.returncode, done.stderr


OPTIONS = ("-j", 1, "--batch-size", 1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A fleet, and its run with room enough."""
    fleet = Fleet(tmp_path_factory.mktemp("whole"))
    for number, capture in enumerate((CLEAN, LOST, SELECTIVE, CLEAN)):
        fleet.add(f"{number}.bin", capture)
    fleet.run(*OPTIONS)
    return fleet


@pytest.mark.parametrize("size", [0, 100, 1000, 2000, 3000, 4000, 6000, 9000])
def test_a_run_says_that_there_is_no_room_and_goes_on_later(size, whole, tmp_path):
    out = tmp_path / "out"
    status, err = limited(tmp_path, size, "fleet", "run", whole.captures, "-o", out, *OPTIONS)
    assert status == 2, err
    assert "files may not grow so large here (File too large)" in err
    assert f"analyze: error: {out}/" in err
    assert "internal error" not in err
    assert "Traceback" not in err
    done = set(out.glob("batches/*"))
    before = {path: path.read_bytes() for path in done}
    whole.run(*OPTIONS, out=out)
    assert tree(out) == tree(whole.out)
    assert {path: path.read_bytes() for path in done} == before


@pytest.mark.parametrize("size", [0, 500, 3000, 8000])
@pytest.mark.parametrize("form", ["parquet", "json", "csv"])
def test_a_report_says_it_too(form, size, tmp_path, capsys):
    with files_up_to(size):
        status = run([str(LOST), "--format", form, "-o", str(tmp_path / "new"), "-q"])
    err = capsys.readouterr().err
    if size == 8000 and (tmp_path / "new").exists():
        assert status == 1
        return
    assert status == 2, err
    assert f"{tmp_path}/new: cannot write: files may not grow so large here (File too large)" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "words",
    [
        [str(LOST), "--format", "parquet", "-o"],
        [str(LOST), "--format", "json", "-o"],
        [str(LOST), "-q", "--html"],
        ["convert", str(LOST), "--to", "parquet", "-o"],
        ["convert", str(LOST), "--to", "bin", "-o"],
    ],
)
def test_a_full_device(words, capsys):
    assert run([*words, "/dev/full"]) == 2
    said = capsys.readouterr().err
    assert "/dev/full: cannot write: the disk is full (No space left on device)" in said
    assert "internal error" not in said


def full(*_words: object, **_options: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_for_the_scratch_folder_of_a_worker(fleet, monkeypatch):
    fleet.add("a.bin", CLEAN)
    monkeypatch.setattr(workers.tempfile, "mkdtemp", full)
    status, _, err = fleet("run", fleet.captures, "-o", fleet.out)
    assert status == 2
    assert "cannot make a temporary directory: the disk is full" in err
    assert "TMPDIR" in err


def test_no_room_for_a_fetched_object_stops_the_run(tmp_path):
    class Full(Path):
        _flavour = getattr(Path(), "_flavour", None)

        def open(self, *_words, **_options):
            return Path("/dev/full").open("wb", buffering=0)

    with pytest.raises(
        UsageError, match="cannot store an object while it is read: the disk is full"
    ) as caught:
        stores._keep([b"content"], Full(tmp_path / "capture"), 100)
    assert caught.value.path == str(tmp_path / "capture")
