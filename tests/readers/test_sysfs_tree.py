"""Directories copied from /sys/bus/pci/devices: recognised, read, and never left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import snapshot_samples as samples
from polars.testing import assert_frame_equal
from unprivileged import unprivileged

from analyzer.errors import EmptyInputError, UnreadableInputError
from analyzer.readers import open_capture
from analyzer.readers.snapshot.sysfs import is_tree
from analyzer.readers.sources import expand

CONFIG = bytes.fromhex("361b0c00 07051000 00000406 00000100") + bytes(range(240))


def put(folder: Path, *names: str, data: bytes = CONFIG) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config").write_bytes(data)
        (folder / name / "vendor").write_text("0x1b36\n")
    return folder


def test_a_tree_and_its_archive_are_equal(tmp_path):
    for name, data in samples.config_files().items():
        put(tmp_path, name.removesuffix("/config"), data=data)
    capture = open_capture(str(tmp_path))
    archive = open_capture(str(samples.FORMATS / samples.SYSFS))
    assert capture.format == archive.format == "sysfs-config"
    assert_frame_equal(samples.registers(capture.accesses), samples.registers(archive.accesses))
    assert capture.accesses["seq"].to_list() == list(range(capture.accesses.height))
    assert capture.accesses["where"].max() == 4092
    assert capture.notes.problems == []


def test_the_hash_is_of_names_and_content(tmp_path):
    hashes = set()
    for folder, name, data in (("a", "0000:01:00.0", CONFIG), ("b", "0000:01:00.0", CONFIG[::-1]),
                               ("c", "0000:02:00.0", CONFIG), ("d", "0000:01:00.0", CONFIG)):  # fmt: skip
        hashes.add(open_capture(str(put(tmp_path / folder, name, data=data))).files[0].sha256)
    assert len(hashes) == 3


def test_devices_below_their_bridges(tmp_path):
    put(tmp_path / "pci0000:00", "0000:00:03.0", "0000:00:03.0/0000:01:00.0", "0000:00:04.0")
    put(tmp_path / "pci0000:40", "0000:40:00.0")
    assert is_tree(str(tmp_path))
    table = open_capture(str(tmp_path)).accesses
    assert samples.functions(table) == [(0, 0x18), (1, 0), (0, 0x20), (0x40, 0)]


@pytest.mark.skipif(not Path("/sys/bus/pci/devices").is_dir(), reason="no PCI here")
def test_sysfs_itself():
    names = list(Path("/sys/bus/pci/devices").iterdir())
    assert is_tree("/sys/bus/pci/devices") == bool(names)
    if names:
        assert len(samples.functions(open_capture("/sys/bus/pci/devices").accesses)) == len(names)


def test_directories_that_are_no_trees(tmp_path):
    (tmp_path / "0000:03:00.0").mkdir()
    (tmp_path / "traces").mkdir()
    assert not is_tree(str(tmp_path))
    assert not is_tree(str(tmp_path / "missing"))
    assert not is_tree("a\0b")
    with pytest.raises(UnreadableInputError, match="found a directory"):
        open_capture(str(tmp_path))


def test_links_out_of_the_tree_are_not_followed(tmp_path):
    secret = put(tmp_path / "elsewhere", "0000:09:00.0")
    tree = put(tmp_path / "tree", "0000:01:00.0")
    (tree / "0000:02:00.0").symlink_to(secret / "0000:09:00.0")
    (tree / "0000:03:00.0").mkdir()
    (tree / "0000:03:00.0" / "config").symlink_to(secret / "0000:09:00.0" / "config")
    (tree / "0000:04:00.0").symlink_to("/sys/devices/pci0000:00/0000:00:00.0")
    capture = open_capture(str(tree))
    assert samples.functions(capture.accesses) == [(1, 0)]
    (problem,) = capture.notes.problems
    assert "0000:02:00.0, 0000:03:00.0, 0000:04:00.0" in problem.message


def test_links_within_the_tree_are(tmp_path):
    put(tmp_path / "pci0000:00", "0000:00:03.0")
    (tmp_path / "0000:00:03.0").symlink_to("pci0000:00/0000:00:03.0")
    assert samples.functions(open_capture(str(tmp_path)).accesses) == [(0, 0x18)]


def test_only_links_to_nowhere(tmp_path):
    (tmp_path / "0000:02:00.0").symlink_to("../../../devices/pci0000:00/0000:02:00.0")
    with pytest.raises(EmptyInputError) as caught:
        open_capture(str(tmp_path))
    assert "tar -chf" in caught.value.advice


def test_pipes_and_loops_do_not_hang(tmp_path):
    put(tmp_path, "0000:01:00.0")
    (tmp_path / "0000:02:00.0").mkdir()
    os.mkfifo(tmp_path / "0000:02:00.0" / "config")
    (tmp_path / "0000:03:00.0").symlink_to(".")
    (tmp_path / "pci0000:00").symlink_to(".")
    assert samples.functions(open_capture(str(tmp_path)).accesses) == [(1, 0)]


def test_a_tree_is_one_capture_of_a_walk(tmp_path):
    put(tmp_path / "runs" / "before", "0000:01:00.0", "0000:02:00.0")
    put(tmp_path / "runs" / "after", "0000:01:00.0")
    (tmp_path / "runs" / "x.log").write_text("pci_cfg_read mch 00:00.0 @0x0 -> 0x8086\n")
    found = expand([str(tmp_path / "runs")])
    assert [Path(path).name for path in found.paths] == ["after", "before", "x.log"]
    assert expand([str(tmp_path / "runs" / "before")]).paths == [str(tmp_path / "runs" / "before")]
    assert expand([f"{tmp_path}/runs/b*"]).paths == [str(tmp_path / "runs" / "before")]


def test_files_of_a_tree_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = put(tmp_path / "tree", "0000:01:00.0", "0000:02:00.0")
    (tree / "0000:02:00.0" / "config").chmod(0)
    (tree / "0000:03:00.0").mkdir()
    (tree / "0000:03:00.0" / "config").touch()  # a function that gives nothing
    with unprivileged(tmp_path):
        capture = open_capture("tree")
    assert set(capture.accesses["bus"]) == {1}
    (problem,) = [problem for problem in capture.notes.problems if problem.kind == "unreadable"]
    assert problem.message == (
        "these files cannot be read: 0000:02:00.0/config, 0000:03:00.0/config (it is empty)"
    )


def test_a_tree_of_which_nothing_may_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = put(tmp_path / "tree", "0000:01:00.0")
    (tree / "0000:01:00.0" / "config").chmod(0)
    with unprivileged(tmp_path), pytest.raises(EmptyInputError, match="found none that can be read"):
        open_capture("tree")


def test_a_link_to_itself_in_a_tree_is_no_function(tmp_path):
    tree = put(tmp_path / "tree", "0000:01:00.0")
    (tree / "0000:02:00.0").mkdir()
    (tree / "0000:02:00.0" / "config").symlink_to("config")
    (tree / "0000:03:00.0").symlink_to("0000:03:00.0")
    capture = open_capture(str(tree))
    assert set(capture.accesses["bus"]) == {1}
    assert [problem.kind for problem in capture.notes.problems].count("foreign") == 1
