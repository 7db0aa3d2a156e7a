"""From a path to the table of a capture, for every format with a reader."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import random
import sys
from pathlib import Path

import polars as pl
import pytest
import zstandard
from polars.testing import assert_frame_equal
from unprivileged import unprivileged

from analyzer import readers
from analyzer.capture import Notes, SourceFile, accesses
from analyzer.errors import (
    AritraceError,
    DamagedInputError,
    EmptyInputError,
    LimitExceededError,
    UnreadableInputError,
    UnsupportedFormatError,
)
from analyzer.readers import open_capture, read_batches

FORMATS = Path(__file__).parents[2] / "traces" / "formats"
LOG = FORMATS / "qemu-log-dialect-d.log"


def content(name: str) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress((FORMATS / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "form", "rows", "timed"),
    [
        ("qemu-log-dialect-b.log", "qemu-log", 120, False),
        ("qemu-log-dialect-c.log.zst", "qemu-log", 27_586, True),
        ("qemu-log-dialect-d.log", "qemu-log", 120, True),
        ("qemu-simpletrace-v4.simple.zst", "qemu-simpletrace", 28_364, True),
    ],
)
def test_samples(name, form, rows, timed):
    path = str(FORMATS / name)
    capture = open_capture(path)
    table = capture.accesses
    assert (capture.path, capture.format) == (path, form)
    assert capture.files == [SourceFile(path, form, hashlib.sha256(Path(path).read_bytes()).hexdigest())]
    assert table.schema == accesses.SCHEMA
    assert table["seq"].to_list() == list(range(rows))
    assert table.select(pl.col("capture", "file", "domain", "width").max()).row(0) == (0, 0, 0, 0)
    assert table["time_ns"].null_count() == (0 if timed else rows)
    assert table["where"].is_sorted()
    assert not capture.notes.truncated


def test_log_and_binary_of_the_same_run_are_equal():
    log = open_capture(str(FORMATS / "qemu-log-dialect-c-same-run.log.zst")).accesses
    binary = open_capture(str(FORMATS / "qemu-simpletrace-v4.simple.zst")).accesses
    assert_frame_equal(log.drop("time_ns", "where"), binary.drop("time_ns", "where"))
    # Two clocks, and each event was stamped twice: intervals agree within what the host may do in between.
    drift = (log["time_ns"] - log["time_ns"][0]) - (binary["time_ns"] - binary["time_ns"][0])
    assert drift.abs().median() < 1_000_000


@pytest.mark.parametrize("name", ["qemu-simpletrace-v4.simple.zst", "qemu-log-dialect-c.log.zst"])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, lambda data: gzip.compress(zstandard.compress(data))]
)
def test_compression_changes_nothing(name, pack, tmp_path):
    (tmp_path / "x").write_bytes(pack(content(name)))
    assert_frame_equal(open_capture(str(tmp_path / "x")).accesses, open_capture(str(FORMATS / name)).accesses)


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.read_bytes())))
    capture = open_capture("-")
    assert capture.accesses.height == 120
    assert capture.files[0] == SourceFile("-", "qemu-log", hashlib.sha256(LOG.read_bytes()).hexdigest())


def test_batches_number_the_accesses_through(monkeypatch):
    monkeypatch.setattr("analyzer.readers.qemu.log._BLOCK", 1000)
    notes = Notes(str(LOG))
    frames = list(read_batches(str(LOG), notes=notes))
    assert len(frames) > 5
    assert_frame_equal(pl.concat(frames), open_capture(str(LOG)).accesses)
    assert notes.clock == "realtime"


def test_a_capture_cut_short_says_so(tmp_path):
    whole = open_capture(str(FORMATS / "qemu-log-dialect-c.log.zst")).accesses
    raw = (FORMATS / "qemu-log-dialect-c.log.zst").read_bytes()
    (tmp_path / "x").write_bytes(raw[: len(raw) // 2])
    capture = open_capture(str(tmp_path / "x"))
    assert 0 < capture.accesses.height < whole.height
    assert_frame_equal(capture.accesses, whole.head(capture.accesses.height))
    assert capture.notes.truncated
    assert [p.kind for p in capture.notes.problems] == ["truncated", "truncated"]
    assert "zstd data ends early" in capture.notes.problems[1].message


@pytest.mark.parametrize(
    ("data", "error", "message", "advice"),
    [
        (b"", EmptyInputError, "found nothing", "recording"),
        (b"5695@1795328033.832856:sriov_register_vfs igb 01:0: creating 2 vf devs\n", EmptyInputError,
         "no.* in this QEMU log", "-trace 'pci_cfg_*'"),
        (bytes.fromhex("ffffffffffffffff b429a40acb77b1f2 0400000000000000"), EmptyInputError,
         "no.* in this QEMU simpletrace", "-trace 'pci_cfg_*'"),
        (b"PERFILE2" + bytes(100), UnsupportedFormatError, "perf.data", "trace-cmd"),
        (b"\x17\x08\x44tracing7\0", DamagedInputError, "ends early", "copy the file again"),
        (b"\0" * 100, UnsupportedFormatError, "found 100 bytes", "pci_cfg_*"),
        (b"pci_cfg_write virtio-vga 02:0 @0x18 <- 0xe0800000\n", UnsupportedFormatError,
         "do not say the bus number", "QEMU 7.0"),
    ],
)  # fmt: skip
def test_refusals_say_what_to_do(data, error, message, advice, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(error, match=message) as caught:
        open_capture(str(path))
    assert advice in caught.value.advice
    assert caught.value.path == str(path)


def test_missing_file(tmp_path):
    with pytest.raises(UnreadableInputError):
        open_capture(str(tmp_path / "missing"))


def test_too_many_accesses(monkeypatch):
    monkeypatch.setattr(readers, "MAX_ACCESSES", 100)
    with pytest.raises(LimitExceededError, match="at most 100 accesses"):
        open_capture(str(LOG))


@pytest.mark.parametrize("name", ["qemu-simpletrace-v4.simple.zst", "qemu-log-dialect-d.log"])
def test_single_damaged_bytes_on_disk_give_an_answer_or_a_reason(name, tmp_path):
    raw = (FORMATS / name).read_bytes()
    generator = random.Random(3)  # noqa: S311 - repeatable, nothing secret
    for _ in range(40):
        data = bytearray(raw)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path = tmp_path / "x"
        path.write_bytes(data)
        try:
            found = open_capture(str(path)).path
        except AritraceError as error:
            found = error.path
        assert found == str(path)


def test_a_file_in_a_folder_that_is_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"x")
    folder.chmod(0)
    with unprivileged(tmp_path), pytest.raises(UnreadableInputError, match="no permission"):
        open_capture("closed/a.bin")
    folder.chmod(0o755)
