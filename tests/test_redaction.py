"""--redact: what must be gone is gone from every byte of the file, and the verdict is the same."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from analyzer.analysis import analyze
from analyzer.capture import Event, LogLine, Problem
from analyzer.converting import redaction
from analyzer.converting.conversion import convert
from analyzer.converting.native import write_capture
from analyzer.converting.redaction import redact
from analyzer.errors import AritraceError
from analyzer.questions.atrisk import atrisk
from analyzer.readers import open_capture

TRACES = Path(__file__).parents[1] / "traces"
FORMATS = TRACES / "formats"
CAPTURES = sorted(TRACES.glob("*.bin"))
SECRET = 0x5EC2E700


def dump(*functions):
    """lspci text of functions given as (address, {offset: bytes})."""
    text = ""
    for address, registers in functions:
        data = bytearray(0x200)
        for offset, value in registers.items():
            data[offset : offset + len(value)] = value
        rows = "".join(f"{at:02x}: {data[at : at + 16].hex(' ')}\n" for at in range(0, len(data), 16))
        text += f"{address} x\n{rows}\n"
    return text


HEADER = {0x00: bytes.fromhex("86801015 0600 1000"), 0x34: b"\x40"}
SERIAL = bytes.fromhex("0300 0100 efbeadde 78563412")
VPD = bytes.fromhex("0300 0480 4d414331")
PCIE = bytes.fromhex("1050 0200")


def open_text(tmp_path, text):
    (tmp_path / "dump").write_text(text)
    return open_capture(str(tmp_path / "dump"))


def register(capture, bus, offset):
    rows = capture.accesses.filter((pl.col("bus") == bus) & (pl.col("offset") == offset))
    return rows["value"].to_list()


def test_serial_numbers_and_product_data_read_0(tmp_path):
    capture = open_text(
        tmp_path,
        dump(
            ("0000:01:00.0", HEADER | {0x40: PCIE, 0x50: VPD, 0x100: bytes.fromhex("0e00 0114") + bytes(4),
                                       0x140: SERIAL}),
            ("0000:02:00.0", HEADER | {0x40: bytes.fromhex("0500 0000"), 0x54: b"more"}),
        ),
    )  # fmt: skip
    result = redact(capture)
    assert register(result.capture, 1, 0x140) == [0x00010003]
    assert register(result.capture, 1, 0x144) == register(result.capture, 1, 0x148) == [0]
    assert register(result.capture, 1, 0x50) == [0x00000003]
    assert register(result.capture, 1, 0x54) == [0]
    assert register(result.capture, 2, 0x54) == [0]
    assert result.values == 5


def test_a_serial_number_is_found_without_its_list(tmp_path):
    capture = open_text(tmp_path, dump(("0000:01:00.0", {0x00: HEADER[0x00], 0x150: SERIAL})))
    assert register(redact(capture).capture, 1, 0x154) == [0]


@pytest.mark.parametrize(
    ("offset", "width", "before", "after"),
    [
        (0x142, 4, 0xBEEF0001, 0x0001),
        (0x14A, 4, 0x00001234, 0),
        (0x147, 1, 0xDE, 0),
        (0x14C, 2, 0xAAAA, 0),
        (0x13E, 4, 0x0003BEEF, 0x00030000),
    ],
)
def test_accesses_that_touch_a_serial_number_in_part(offset, width, before, after, tmp_path):
    listed = {0x40: PCIE, 0x100: bytes.fromhex("0e00 0114") + bytes(4), 0x140: SERIAL}
    capture = open_text(tmp_path, dump(("0000:01:00.0", HEADER | listed)))
    extra = capture.accesses.tail(1).with_columns(
        pl.lit(offset, pl.UInt16).alias("offset"),
        pl.lit(width, pl.UInt8).alias("width"),
        pl.lit(before, pl.UInt32).alias("value"),
        (pl.col("seq") + 1).alias("seq"),
    )
    capture.accesses = pl.concat([capture.accesses, extra])
    assert redact(capture).capture.accesses["value"][-1] == after


def named(capture):
    capture.notes.host = "hv17.fleet.example"
    capture.notes.tool = "recorder 1.0 on hv17"
    capture.notes.problems.append(Problem("damaged", "/home/alice/x.log", 7, "see /home/alice/x.log of hv17"))
    capture.notes.events.append(Event("link", 5, None, "hv17: link of 52:54:00:12:34:56 down"))
    capture.notes.log += [
        LogLine("Nov 22 09:06:17 hv17 systemd[1]: Hostname set to <hv17.fleet.example>."),
        LogLine("Nov 22 09:06:18 hv17 kernel: DMI: Example Corp X1/Board, BIOS S/N 4711"),
        LogLine("Nov 22 09:06:18 hv17 kernel: igb 0000:99:00.0: added PHC, mac 52:54:00:12:34:56"),
    ]
    return capture


@pytest.mark.parametrize("path", CAPTURES[::3], ids=lambda path: path.stem)
def test_names_are_in_no_byte_of_the_file(path, tmp_path):
    capture = named(open_capture(str(path)))
    result = redact(capture)
    # Stored raw, so that a search through the bytes sees everything.
    write_capture(result.capture, tmp_path / "x.bin", level=0)
    data = (tmp_path / "x.bin").read_bytes()
    for secret in (b"hv17", b"fleet", b"alice", b"52:54", b"4711", b"systemd", b"root=", path.name.encode()):
        assert secret not in data
    assert result.log_lines >= 3
    again = open_capture(str(tmp_path / "x.bin"))
    assert again.notes.host is None
    assert again.accesses["value"].equals(result.capture.accesses["value"])


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_the_verdict_is_the_same(path, tmp_path):
    convert(str(path), str(tmp_path / "x.bin"), minimal=path in CAPTURES[::3], redact=True)
    (before,), (after,) = (analyze([str(name)]).captures for name in (path, tmp_path / "x.bin"))
    assert after.verdict == before.verdict
    for one, two in zip(before.kexecs, after.kexecs, strict=True):
        devices = [  # a smaller file has its own access numbers
            [replace(device, bus_master_access=None) for device in kexec.devices] for kexec in (one, two)
        ]
        assert devices[0] == devices[1]
        assert (one.kind, one.policies, one.series) == (two.kind, two.policies, two.series)
        assert [(b.bdf, b.verdict, b.cause, b.confidence) for b in one.bridges] == [
            (b.bdf, b.verdict, b.cause, b.confidence) for b in two.bridges
        ]
    numbers = re.compile(r"\d+\.\d+\.\d+(-rc\d+)?")
    assert [boot.release for boot in after.boots] == [
        None if boot.release is None else numbers.match(boot.release)[0] for boot in before.boots
    ]


def test_parquet_holds_no_names_either(tmp_path):
    source = tmp_path / "hv17.log.zst"
    source.write_bytes((FORMATS / "qemu-log-dialect-c.log.zst").read_bytes())
    convert(str(source), str(tmp_path / "x.parquet"), redact=True)
    about = pl.read_parquet_metadata(tmp_path / "x.parquet")["aritrace"]
    assert "hv17" not in about
    assert str(tmp_path) not in about


def test_a_real_snapshot(tmp_path):
    """Which functions depend on which bridge stays, and nothing is added."""
    source, target = FORMATS / "lspci-xxxx-vvv.txt.zst", tmp_path / "x.bin"
    convert(str(source), str(target), redact=True)
    one, two = (open_capture(str(name)).accesses for name in (source, target))
    before, after = (frame["value"].to_numpy() for frame in (one, two))
    assert not (after & ~before).any()
    assert (after == before)[(one["offset"] < 0x34).to_numpy()].all()
    risks = [atrisk(str(name)) for name in (source, target)]
    assert risks[0].ports == risks[1].ports != []
    assert (risks[0].functions, risks[0].unknown) == (risks[1].functions, risks[1].unknown)


def test_nothing_is_written_if_the_verdict_would_change(monkeypatch, tmp_path):
    def without_log(self, notes, name, *, keep_times=False):  # noqa: ARG001 the signature is given
        import dataclasses

        return dataclasses.replace(notes, log=[], preserved=[], path=name)

    monkeypatch.setattr(redaction.Scrubber, "notes", without_log)
    with pytest.raises(AritraceError, match="does not give the same verdict"):
        convert(str(TRACES / "clean-inherit.bin"), str(tmp_path / "x.bin"), redact=True)
    assert list(tmp_path.iterdir()) == []
