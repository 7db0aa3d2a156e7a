"""Cache of built parts: keys follow the recipe, and a part is there as a whole or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from analyzer.lab.build import built_parts
from analyzer.lab.build.cache import drop_others, finished, fresh_folder, locked, publish, recipe_key
from analyzer.lab.build.edits import Edit, NewFile
from analyzer.lab.build.kernel import KEY as KERNEL_KEY
from analyzer.lab.build.qemu import KEY as QEMU_KEY
from analyzer.lab.build.steps import BuildError

if TYPE_CHECKING:
    from pathlib import Path

CHANGES = (Edit("a.c", "x", "after", "y"), NewFile("b.c", "z"))


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ((Edit("a.c", "x", "before", "y"), CHANGES[1]), ("o",)),
        ((Edit("a.c", "x", "after", "yy"), CHANGES[1]), ("o",)),
        ((Edit("a.c", "xy", "after", ""), CHANGES[1]), ("o",)),
        ((CHANGES[0], NewFile("b.c", "zz")), ("o",)),
        ((CHANGES[0],), ("o",)),
        (CHANGES, ("p",)),
        (CHANGES, ("o", "p")),
        (CHANGES, ()),
    ],
)
def test_every_part_of_a_recipe_changes_its_key(
    changes: tuple[Edit | NewFile, ...], more: tuple[str, ...]
) -> None:
    key = recipe_key(CHANGES, "o")
    assert recipe_key(changes, *more) != key
    assert recipe_key(CHANGES, "o") == key
    assert len(key) == 12


def test_a_published_part_is_found_by_its_recipe_only(tmp_path: Path) -> None:
    with fresh_folder(tmp_path / "work") as folder:
        (folder / "bzImage").write_text("kernel")
    assert finished(tmp_path, "kernel", "0123") is None
    published = publish(tmp_path / "work", tmp_path, "kernel", "1:6.12/a", "0123")
    assert finished(tmp_path, "kernel", "0123") == published
    assert finished(tmp_path, "kernel", "4567") is None
    assert finished(tmp_path, "qemu", "0123") is None
    assert published.parent == tmp_path
    assert json.loads((published / "built.json").read_text())["version"] == "1:6.12/a"


def test_a_folder_that_was_not_filled_to_the_end_is_not_there(tmp_path: Path) -> None:
    def fill() -> None:
        with fresh_folder(tmp_path / "work") as folder:
            (folder / "half").touch()
            raise BuildError("stopped")

    with pytest.raises(BuildError, match="stopped"):
        fill()
    assert not (tmp_path / "work").exists()
    with fresh_folder(tmp_path / "work") as folder:
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_two_builds_do_not_share_a_cache(tmp_path: Path) -> None:
    cache = tmp_path / "lab"
    (cache / "work").mkdir(parents=True)  # what is being built already is not stopped by a full disk
    with locked(cache), pytest.raises(BuildError, match="another build is at work"), locked(cache):
        pass
    with locked(cache):
        pass


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot write the lab's cache"), locked(tmp_path / "file" / "lab"):
        pass


def test_parts_need_both_builds(tmp_path: Path) -> None:
    assert built_parts(tmp_path) is None
    for part, key in (("qemu", QEMU_KEY), ("kernel", KERNEL_KEY)):
        assert built_parts(tmp_path) is None
        (tmp_path / "new").mkdir()
        publish(tmp_path / "new", tmp_path, part, "1", key)
    parts = built_parts(tmp_path)
    assert parts is not None
    assert parts.kernel == tmp_path / f"kernel-1-{KERNEL_KEY}" / "bzImage"
    assert parts.qemu.name == "qemu-system-x86_64"


def test_an_unfinished_tree_of_another_part_stays(tmp_path: Path) -> None:
    for name in ("kernel-new", "kernel-old", "live-update-tree"):
        (tmp_path / name).mkdir()
    drop_others(tmp_path, keep=(tmp_path / "kernel-new",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kernel-new", "live-update-tree"]
