"""The same records as Debian's ``trace-cmd report``, and files that ``trace-cmd convert`` wrote."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import zstandard

from analyzer.readers import open_capture

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
LINE = re.compile(
    r"\[(\d+)\] *(\d+)\.(\d+): \w*?(read|write|wr): +\(.*?\) dom=(\d+) bus=(\d+) devfn=(\d+) reg=(\d+)"
    r" len=(\d+) val=(\w+)(?: ret=(-?\d+))?$"
)
KERNELS = ["trace-dat-kprobes-kernel1.dat", "trace-dat-kprobes-kernel2.dat"]

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("trace-cmd") is None, reason="needs trace-cmd"),
]


def report(path: Path) -> list[tuple]:
    """What trace-cmd prints: CPU, time in us, direction, fields."""
    text = subprocess.run(
        ["trace-cmd", "report", "-N", str(path)], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for line in text.splitlines():
        if match := LINE.search(line):
            cpu, seconds, micros, name, *fields, value, ret = match.groups()
            assert ret in (None, "0")
            op = "read" if name == "read" else "write"
            time = int(seconds) * 1_000_000 + int(micros)
            found.append((int(cpu), time, op, *map(int, fields), int(value, 0)))
    return found


def ours(path: Path) -> list[tuple]:
    table = open_capture(str(path)).accesses.filter(pl.col("width") > 0)
    time = (pl.col("time_ns") + 500) // 1000  # trace-cmd rounds to microseconds
    return table.select("cpu", time, "op", "domain", "bus", "devfn", "offset", "width", "value").rows()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (KERNELS[0], 12_867),
        (KERNELS[1], 12_090),
        ("trace-dat-v7-cpus.dat", 72),
        ("trace-dat-v7-uncompressed.dat.zst", 72),
        ("trace-dat-v6.dat.zst", 72),
        ("trace-dat-overrun.dat", 752),
        ("trace-dat-dropped.dat", 1104),
        ("trace-dat-tai.dat", 72),
        ("trace-dat-date.dat", 72),
    ],
)
def test_the_same_records_as_trace_cmd_report(name, count, tmp_path):
    path = FORMATS / name
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        path = tmp_path / path.stem
        path.write_bytes(data)
    expected = report(path)
    assert len(expected) == count
    assert ours(path) == expected


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(
    "options",
    [["--file-version", "6", "--compression", "none"], ["--compression", "none"], ["--compression", "zstd"]],
)
def test_converted_files_say_the_same(name, options, tmp_path):
    target = tmp_path / "converted.dat"
    command = ["trace-cmd", "convert", *options, "-i", str(FORMATS / name), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    assert ours(target) == ours(FORMATS / name) == report(target)


def test_a_split_file_says_the_same(tmp_path):
    target = tmp_path / "part.dat"
    source = FORMATS / KERNELS[0]
    command = ["trace-cmd", "split", "-i", str(source), "-o", str(target), "2.0", "3.0"]
    subprocess.run(command, check=True, capture_output=True)
    found = ours(next(tmp_path.glob("part.dat*")))
    assert found == [row for row in ours(source) if found[0][1] <= row[1] <= found[-1][1]]
    assert len(found) > 100


@pytest.mark.parametrize("form", [[], ["-R"], ["--ts-diff"], ["-t", "--ts-diff"], ["-R", "-N", "--ts-diff"]])
@pytest.mark.parametrize("name", [KERNELS[0], "trace-dat-v7-cpus.dat", "trace-dat-kvm-host.dat"])
def test_the_text_of_a_recording_in_every_form(name, form, tmp_path):
    text = tmp_path / "report.txt"
    command = ["trace-cmd", "report", *form, str(FORMATS / name)]
    text.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    printed, recorded = (open_capture(str(path)).accesses for path in (text, FORMATS / name))
    columns = ("cpu", "op", "domain", "bus", "devfn", "offset", "width", "value", "status")
    assert printed.select(columns).rows() == recorded.select(columns).rows()
