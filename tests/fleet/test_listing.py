"""What sources list: what holds no capture, or may not be listed, gets an entry that says why."""

from __future__ import annotations

import os

import pytest
from unprivileged import unprivileged

from analyzer.directories import LeftOut
from analyzer.errors import UsageError
from analyzer.fleet import listing


def listed(*sources: str) -> list[tuple[str, str | None]]:
    """Name and reason of each entry."""
    return [(entry.name, entry.problem) for entry in listing.entries(sources, "out", LeftOut())]


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
    monkeypatch.setattr(listing, "_LIST_LIMIT", 10)
    (folder / "list").write_text("one.bin\ntwo.bin\n")
    with pytest.raises(UsageError, match="at most 10 bytes"):
        listed("@list")
