"""What sources list: what holds no capture, or may not be listed, gets an entry that says why."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import threading

import pytest
from unprivileged import unprivileged

from analyzer.errors import UsageError
from analyzer.fleet import job, listing, manifest
from analyzer.readers import opening
from analyzer.readers.sources import LeftOut


def listed(*sources: str) -> list[tuple[str, str | None]]:
    """Name and reason of each entry."""
    lists = listing.read_lists(sources)
    return [(entry.name, entry.problem) for entry in listing.entries(sources, "out", lists, LeftOut())]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_without_captures(folder):
    (folder / "empty").mkdir()
    (folder / "empty" / "case.toml").touch()
    os.mkfifo(folder / "empty" / "pipe")
    ((name, problem),) = listed("empty")
    assert name == "empty"
    assert str(problem).startswith("expected captures in this directory, found none; name a directory")


def test_a_directory_that_may_not_be_listed(folder):
    (folder / "some" / "locked").mkdir(parents=True)
    (folder / "some" / "a.bin").touch()
    (folder / "some" / "locked").chmod(0)
    with unprivileged(folder):
        found = dict(listed("some"))
    assert found["some/a.bin"] is None
    assert "cannot be listed: Permission denied" in str(found["some/locked"])


def test_a_pattern_walks_the_directories_that_it_matches(folder):
    for name in ("host-1/a.bin", "host-1/deep/b.bin", "host-2/c.bin", "other/d.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    names = ["host-1/a.bin", "host-1/deep/b.bin", "host-2/c.bin"]
    assert sorted(name for name, _ in listed("host-*")) == names


def test_what_a_pattern_matches_is_named(folder):
    for name in ("a.bin", "a.dmesg", "a.toml", "b.dmesg", "b.toml"):
        (folder / name).touch()
    assert sorted(name for name, _ in listed("[ab].*")) == ["a.bin", "b.dmesg", "b.toml"]


def test_a_name_that_no_file_can_have_is_kept_for_its_row():
    assert listed("a\0b") == [("a\0b", None)]


def test_a_list_without_an_end_is_refused(folder, monkeypatch):
    monkeypatch.setattr(listing, "LIST_LIMIT", 10)
    (folder / "list").write_text("one.bin\ntwo.bin\n")
    with pytest.raises(UsageError, match="at most 10 bytes"):
        listed("@list")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"root:x:0:0:secret:/root:/bin/sh\n\nbin:*:1:1:secret:/:/bin/sh\n",
            "found 2 lines, none of which names",
        ),
        (b"\n  \n", "found 0 lines, none of which names"),
        (b"one.bin\nsecret\0\n", "in line 2, found a zero byte"),
        (b"one.bin\n" + b"secret" * 700, "in line 2, found more than 4096 bytes"),
        (b"", "found nothing"),
        (gzip.compress(b"one.bin\nsecret\n" * 9, mtime=0)[:-9], "the gzip data ends early"),
    ],
)
def test_a_list_that_is_none_is_refused_and_not_quoted(content, message, folder):
    (folder / "list").write_bytes(content)
    (folder / "one.bin").touch()
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        listed("@list")
    assert "secret" not in str(caught.value)
    assert caught.value.path == "list"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "nothing was written"),
        (os.mkdir, "a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_a_list_that_would_never_end(make, message, folder, monkeypatch):
    monkeypatch.setattr(opening, "PIPE_PATIENCE_S", 0.05)
    make(folder / "list")
    with pytest.raises(UsageError, match=message):
        listed("@list")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_a_list_is_unpacked_as_captures_are(pack, folder):
    (folder / "one.bin").touch()
    (folder / "list").write_bytes(pack(b"one.bin\r\n\ngone.bin\n"))
    assert listed("@list") == [("one.bin", None), ("gone.bin", None)]


def test_a_list_from_a_pipe_is_read_once(folder):
    (folder / "one.bin").touch()
    os.mkfifo(folder / "list")
    writer = threading.Thread(target=(folder / "list").write_bytes, args=[b"one.bin\n"])
    writer.start()
    assert listed("@list") == [("one.bin", None)]
    writer.join()


@pytest.mark.parametrize("name", ["job.json", "manifest.parquet"])
def test_a_run_whose_files_are_pipes_does_not_hang(name, folder, monkeypatch):
    monkeypatch.setattr(opening, "PIPE_PATIENCE_S", 0.05)
    os.mkfifo(folder / name)
    with pytest.raises(UsageError, match="nothing was written"):
        job.read(".") if name == "job.json" else manifest.check(".", name)
