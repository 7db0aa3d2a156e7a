"""What is built to be installed: the same bytes from the same sources, complete, and with valid metadata."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from shutil import copyfile, copytree, ignore_patterns

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
NAME = f"aritrace-{PROJECT['project']['version']}"
WHEEL, SDIST = f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"


def copied(folder: Path, *, age_s: int, mode: int) -> Path:
    """A checkout of these sources, with files of another age and mode."""
    folder.mkdir()
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"] + ["pyproject.toml"]:
        if (ROOT / name).is_dir():
            copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__", ".*cache"))
        else:
            copyfile(ROOT / name, folder / name)
    copyfile(ROOT / ".gitignore", folder / ".gitignore")
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode | (0o111 if path.stat().st_mode & 0o100 else 0))
            os.utime(path, (age_s, age_s))
    return folder


def build(source: Path, target: Path) -> dict[str, bytes]:
    """Content of each distribution by its file name."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target)],
        cwd=source,
        env=dict(os.environ) | {"SOURCE_DATE_EPOCH": "1700000000"},
        check=True,
        capture_output=True,
    )
    return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    build(copied(folder / "one", age_s=1_000_000_000, mode=0o644), folder / "dist")
    return folder


def test_the_same_sources_give_the_same_bytes(built):
    """In another folder, checked out later and under another umask; and the wheel also from the sdist."""
    first = {path.name: path.read_bytes() for path in (built / "dist").iterdir()}
    assert set(first) == {WHEEL, SDIST}
    again = build(copied(built / "two", age_s=1_600_000_000, mode=0o664), built / "again")
    assert [name for name in first if again[name] != first[name]] == []
    with tarfile.open(built / "dist" / SDIST) as sdist:
        sdist.extractall(built / "unpacked", filter="data")
    assert build(built / "unpacked" / NAME, built / "third")[WHEEL] == first[WHEEL]


def test_twine_accepts_the_metadata(built):
    done = subprocess.run(
        [sys.executable, "-m", "twine", "--no-color", "check", "--strict", WHEEL, SDIST],
        cwd=built / "dist",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.count("PASSED")) == (0, 2), done.stdout


def test_the_wheel_is_the_program_and_the_sdist_everything(built):
    with zipfile.ZipFile(built / "dist" / WHEEL) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {"analyzer", "schemas", f"{NAME}.data", f"{NAME}.dist-info"}
    with tarfile.open(built / "dist" / SDIST) as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    assert {"docs/examples/Containerfile", "requirements.lock", "tests/conftest.py", ".ci/run"} <= names
