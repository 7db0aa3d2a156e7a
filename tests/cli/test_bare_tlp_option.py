"""``--linktype-raw-tlp``: every command that reads captures takes it, and hands it on."""

from __future__ import annotations

import json
import struct

import pytest

from analyzer.cli.application import run

#: A config read of 03:00.0 and its completion as bare TLPs of link type 147.
TLPS = ("040000010000050f03000100", "4a00000103000004000005000e008114")


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "bus.pcap"
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 147)
    for number, text in enumerate(TLPS):
        packet = bytes.fromhex(text)
        data += struct.pack("<IIII", 1000, number, len(packet), len(packet)) + packet
    path.write_bytes(data)
    return str(path)


def test_the_main_job(program):
    program("x.bin", "--linktype-raw-tlp", "147")
    assert program.options.linktype_raw_tlp == 147


def test_stat(capture, capsys):
    assert run(["stat", capture, "--format", "json"]) == 3
    assert "--linktype-raw-tlp 147" in capsys.readouterr().err
    assert run(["stat", capture, "--format", "json", "--linktype-raw-tlp", "147"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["accesses"] == 1


def test_convert(capture, tmp_path, capsys):
    output = str(tmp_path / "bus.parquet")
    assert run(["convert", capture, "-o", output]) == 3
    assert run(["convert", capture, "-o", output, "--linktype-raw-tlp", "147"]) == 0
    assert "1 access" in capsys.readouterr().err


def test_explain(capture, capsys):
    assert run(["explain", capture, "03:00.0", "--linktype-raw-tlp", "147"]) == 0
    assert "0000:03:00.0" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["x", "70000", "-1"])
def test_values_that_are_no_link_type(capture, value, capsys):
    assert run([capture, "--linktype-raw-tlp", value]) == 2
    assert "Traceback" not in capsys.readouterr().err
