"""A field that is added to a class of the results is everywhere, without another line in the program."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
LOST = ROOT / "traces" / "lost-explicit-write.bin"
#: Classes, and the field that each gets: its declaration and its value.
ADDED = {
    "BridgeVerdict": ('speed: list[int] | None = field(default_factory=lambda: [16, 4])', [16, 4]),
    "DeviceVerdict": ('driver: str | None = "vfio-pci"', "vfio-pci"),
    "Finding": ("rank: int = 7", 7),
    "KexecResult": ("signed: bool | None = True", True),
    "CaptureResult": ('boot_of_shell: Boot = Boot(9, "kernel", None, None, 0, 0, None, None)', None),
    "Evidence": ('colour: Literal["red"] = "red"', "red"),
}  # fmt: skip
SCRIPT = """
import sys
from pathlib import Path
from analyzer import analyze, results
from analyzer.cli.application import run
from analyzer.results import frames

capture, out = sys.argv[1], Path(sys.argv[2])
for form in ("json", "csv", "parquet"):
    assert run([capture, "--format", form, "-o", str(out / form)]) == 1
for name in ("bridges", "devices", "findings", "kexecs", "captures"):
    getattr(frames, name)(analyze([capture])).write_parquet(out / f"{name}.parquet")
assert run(["fleet", "run", capture, "-o", str(out / "fleet"), "-j", "1"]) == 0
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a copy of the program writes whose results have more fields."""
    folder = tmp_path_factory.mktemp("added")
    for package in ("analyzer", "schemas"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "analyzer" / "results" / "__init__.py"
    text = source.read_text("utf-8")
    for name, (declaration, _) in ADDED.items():
        text, found = re.subn(
            rf"(?s)(\nclass {name}:\n.*?)\n\n\n", rf"\1\n    {declaration}\n\n\n", text, count=1
        )
        assert found == 1
    source.write_text(text, "utf-8")
    # One program file is touched, and that file alone.
    (folder / "run.py").write_text(f"if __name__ == '__main__':\n{re.sub('(?m)^', '    ', SCRIPT)}", "utf-8")
    done = subprocess.run(
        [sys.executable, folder / "run.py", LOST, folder],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def value(of: str) -> object:
    return ADDED[of][1]


def test_json(out: Path) -> None:
    (capture,) = json.loads((out / "json").read_text())["captures"]
    (kexec,) = capture["kexecs"]
    assert capture["boot_of_shell"]["index"] == 9
    assert kexec["signed"] is True
    assert kexec["findings"][0]["rank"] == value("Finding")
    assert kexec["bridges"][0]["speed"] == value("BridgeVerdict")
    assert kexec["devices"][0]["driver"] == value("DeviceVerdict")


def test_csv(out: Path) -> None:
    rows = list(csv.DictReader((out / "csv").read_text().splitlines()))
    assert list(rows[0])[-3:] == ["rank", "driver", "speed"]
    assert {row["driver"] for row in rows if row["row"] == "device"} == {"vfio-pci"}
    assert {row["speed"] for row in rows if row["row"] == "bridge"} == {"[16, 4]"}
    assert {row["rank"] for row in rows if row["code"]} == {"7"}


def test_parquet_of_findings(out: Path) -> None:
    table = pl.read_parquet(out / "parquet")
    assert (table.schema["rank"], table.schema["speed"]) == (pl.Int64, pl.List(pl.Int64))
    lost = table.filter(verdict="lost", row="bridge").row(0, named=True)
    assert (lost["speed"], lost["driver"], lost["rank"]) == ([16, 4], None, 7)
    assert {proof["colour"] for proof in lost["evidence"]} == {"red"}


@pytest.mark.parametrize(
    ("table", "column", "of"),
    [
        ("bridges", "speed", "BridgeVerdict"),
        ("devices", "driver", "DeviceVerdict"),
        ("kexecs", "signed", "KexecResult"),
    ],
)
def test_frames_and_the_tables_of_a_fleet(out: Path, table: str, column: str, of: str) -> None:
    frame = pl.read_parquet(out / f"{table}.parquet")
    fleet = pl.read_parquet(out / "fleet" / table, hive_partitioning=True)
    assert frame.schema[column] == fleet.schema[column]
    assert frame.height == fleet.height > 0
    assert all(found == value(of) for found in (*frame[column].to_list(), *fleet[column].to_list()))


def test_objects_in_frames_and_the_tables_of_a_fleet(out: Path) -> None:
    for captures in (
        pl.read_parquet(out / "captures.parquet"),
        pl.read_parquet(out / "fleet" / "captures", hive_partitioning=True),
    ):
        assert captures["boot_of_shell"].struct.field("index").to_list() == [9]
    assert set(pl.read_parquet(out / "findings.parquet")["rank"]) == {7}
    kexecs = pl.read_parquet(out / "fleet" / "kexecs", hive_partitioning=True)
    assert {finding["rank"] for finding in kexecs["findings"].explode()} == {7}
    bridges = pl.read_parquet(out / "fleet" / "bridges", hive_partitioning=True)
    assert {proof["colour"] for proof in bridges["evidence"].explode().drop_nulls()} == {"red"}


def test_a_type_that_no_column_holds_is_refused() -> None:
    from dataclasses import make_dataclass

    from analyzer.results.columns import columns

    with pytest.raises(TypeError, match="a type that a column can hold, found"):
        columns(make_dataclass("Odd", [("x", set[int])]))
