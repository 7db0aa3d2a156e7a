"""Which files of a directory are rows: the same in the main job and in a fleet run."""

import os
from pathlib import Path

import pytest
from unprivileged import unprivileged

from analyzer.fleet import listing
from analyzer.readers.sources import LeftOut, expand, walk

QEMU = b"pci_cfg_read mch 00:00.0 @0x0 -> 0x8086\n"
KERNEL = b"[    0.000000] Linux version 7.3.4\n"
EARLYDUMP = b"[    0.1] pci 0000:00:00.0: config space:\n"
LSPCI = b"00:00.0 Host bridge: Intel Corporation\n"
JUNK = b"nothing that anybody recorded\n"


def rows(files):
    """Names of the rows, and of what is left out; by both ways to list a directory, which must agree."""
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)
    left_out = LeftOut()
    entries = sorted(entry.name for entry in listing.entries(["."], "out", {}, left_out))
    sources = expand(["."])
    assert sorted(source.path for source in sources.found) == entries
    assert sources.left_out == left_out
    return [name[2:] for name in entries], sorted(name[2:] for name in left_out.names)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "name",
    [
        *("a.bin", "a.BIN", "a.dat", "trace.dat.cpu0", "a.simple", "a.pcap", "a.pcapng", "a.pcap1", "a.cap"),
        *("a.tar", "a.log", "a.bin.gz", "a.log.zst", "a.pcap.xz", "a.log.bz2", "0000:03:00.0.config"),
    ],
)  # fmt: skip
def test_a_name_of_a_capture_is_a_row_whatever_it_holds(name):
    assert rows({"good.bin": QEMU, name: JUNK}) == (sorted(["good.bin", name]), [])


@pytest.mark.parametrize(
    ("name", "content", "is_row"),
    [
        ("guest", QEMU, True),
        ("before.txt", LSPCI, True),  # lspci without the bytes, or a dump whose rows are damaged
        ("boot.txt", EARLYDUMP, True),
        ("perf.data", b"PERFILE2", True),  # recognised, but not read: the report says what to do
        ("empty.txt", b"", True),
        ("before.txt", b"\xff\xfe0\x000\x00", True),  # UTF-16: what it holds is not looked into
        ("more.zip", b"PK\x03\x04", True),
        ("cut.gz", b"\x1f\x8b\x08\0", True),
        ("console.log", KERNEL, False),
        ("dmesg.txt", KERNEL, False),
        ("notes.txt", JUNK, False),
        ("table.parquet", b"PAR1", False),
        ("zeros", bytes(9000), False),
    ],
)
def test_other_files_are_rows_by_their_content(name, content, is_row):
    expected = (sorted(["good.bin", name]), []) if is_row else (["good.bin"], [name])
    assert rows({"good.bin": QEMU, name: content}) == expected


def test_a_text_that_begins_with_other_lines_is_read_on():
    assert rows({"guest.txt": JUNK * 4000 + QEMU}) == (["guest.txt"], [])


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["a.bin", "a.dmesg", "a.flb", "a.preserved"], ["a.bin"]),
        (["a.log.zst", "b.cap", "a.log.dmesg", "a.dmesg", "a.log.zst.flb"], ["a.log.zst", "b.cap"]),
        (["a.bin", "b.dmesg", "c.flb", "d.preserved"], ["a.bin", "b.dmesg", "c.flb", "d.preserved"]),
        (["a.bin", "sub/a.dmesg"], ["a.bin", "sub/a.dmesg"]),
        (["a.toml", "a.dmesg"], ["a.dmesg"]),  # a .toml is not a capture, so the log has none
        (["a.bin", "a.toml", "b.toml", ".c.bin", ".sub/d.bin"], ["a.bin"]),
        (["before/0000:00:00.0/config", "before.dmesg"], ["before"]),
    ],
)
def test_sidecars_toml_and_hidden_files(files, found):
    content = {name: KERNEL if name.endswith("dmesg") else bytes(64) for name in files}
    assert rows(content) == (found, [])


def test_a_sidecar_of_what_is_not_a_capture_is_a_row():
    assert rows({"good.bin": QEMU, "notes.txt": JUNK, "notes.dmesg": KERNEL}) == (
        ["good.bin", "notes.dmesg"],
        ["notes.txt"],
    )


def test_what_only_has_the_name_of_a_capture_is_a_row_that_says_so():
    os.mkfifo("pipe.bin")
    Path("link.log").symlink_to("nowhere")
    os.mkfifo("pipe")
    left_out = LeftOut()
    found = {source.path: source.error.message for source in walk(".", left_out)}
    assert found == {
        "./link.log": "this file cannot be opened: No such file or directory",
        "./pipe.bin": "found a named pipe in a directory, expected a file",
    }
    assert left_out.names == ["./pipe"]
    assert rows({}) == (["link.log", "pipe.bin"], ["pipe"])


def test_a_file_that_may_not_be_read_is_a_row(folder):
    (folder / "secret").write_bytes(JUNK)
    (folder / "secret").chmod(0)
    with unprivileged(folder):
        assert rows({}) == (["secret"], [])


def test_the_output_of_a_run_is_not_walked(folder):
    (folder / "out").mkdir()
    (folder / "out" / "a.bin").touch()
    (folder / "b.bin").touch()
    names = [entry.name for entry in listing.entries(["."], "out", {}, LeftOut())]
    assert names == ["./b.bin"]
