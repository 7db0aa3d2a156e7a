"""--map and --ecam-base: what a recording cannot say itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
KERNEL = str(FORMATS / "trace-dat-kprobes-kernel1.dat")
REPORT = FORMATS / "ftrace-trace-cmd-report.txt"


@pytest.mark.parametrize("command", [[], ["stat"], ["convert", "-o", "out.bin"], ["explain"]])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--map", "devfn", "expected FIELD=NAME, found 'devfn'"),
        ("--map", "foo=bar", "found 'foo'"),
        ("--ecam-base", "x", "expected a multiple of 0x100000, found 'x'"),
        ("--ecam-base", "0xb0000001", "expected a multiple of 0x100000"),
    ],
)
def test_wrong_hints_are_wrong_usage(program, command, option, value, message):
    function = ["00:00.0"] if command == ["explain"] else []
    status, _, err = program(*command, KERNEL, *function, option, value)
    assert status == 2
    assert message in err


def test_names_of_fields_reach_the_reader(program, tmp_path):
    text = REPORT.read_text().replace("bus=", "segment_bus=").replace(" wr: ", " cfg: ")
    text = "\n".join(line for line in text.splitlines() if "print:" not in line) + "\n"
    (tmp_path / "pasted.txt").write_text(text)
    status, _, err = program("stat", str(tmp_path / "pasted.txt"))
    assert (status, "no config accesses" in err or "found none" in err) == (3, True)
    names = "bus=segment_bus,write=cfg"
    status, out, _ = program("stat", "--format", "json", str(tmp_path / "pasted.txt"), "--map", names)
    assert status == 0
    assert json.loads(out)[0]["accesses"] == 72


def test_the_ecam_window_reaches_the_reader(program, tmp_path):
    (tmp_path / "host.txt").write_text(
        " qemu-111   [000]     8.835496: kvm_mmio:             mmio read len 4 gpa 0x4010000000 val 0x81b36\n"
    )
    assert program("stat", str(tmp_path / "host.txt"))[0] == 3
    status, out, _ = program(
        "stat", "--format", "json", str(tmp_path / "host.txt"), "--ecam-base", "0x4010000000"
    )
    assert (status, json.loads(out)[0]["accesses"]) == (0, 1)
