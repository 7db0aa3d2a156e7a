"""The edit engine on invented sources: an edit lands in its one place, or the build stops and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.lab.build.edits import Edit, EditError, NewFile, apply_edits, edited
from analyzer.lab.build.kernel_edits import KERNEL_CHANGES
from analyzer.lab.build.qemu_edits import QEMU_CHANGES

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.lab.build.edits import Place

SOURCE = """\
int kettle(struct tea *t)
{
\tif (cold(t)  ||
\t    empty(t))
\t\treturn 0;
\tboil(t);\treturn 1;
}
"""


@pytest.mark.parametrize(
    ("place", "expected_start"),
    [
        ("before", "\tX;if (cold(t)  ||\n\t    empty(t))\n"),
        ("after", "\tif (cold(t)  ||\n\t    empty(t))X;\n"),
        ("instead", "\tX;\n\t\treturn 0;"),
    ],
)
def test_white_space_does_not_matter_to_an_anchor(place: Place, expected_start: str) -> None:
    result = edited(SOURCE, Edit("k.c", "if (cold(t) || empty(t))", place, "X;"), where="k.c")
    body = result.split("{\n", 1)[1]
    assert body.startswith(expected_start)


@pytest.mark.parametrize(("anchor", "times"), [("pour(t);", 0), ("return", 2), ("boil (t)", 0), ("(t)", 3)])
def test_an_anchor_must_occur_exactly_once(anchor: str, times: int) -> None:
    with pytest.raises(EditError, match=f"found it {times} times") as failure:
        edited(SOURCE, Edit("k.c", anchor, "after", "X"), where="tree/k.c")
    assert failure.value.path == "tree/k.c"


def test_text_is_taken_literally() -> None:
    assert edited("a.b", Edit("f", "a.b", "instead", r"\1\n"), where="f") == r"\1\n"
    with pytest.raises(EditError):
        edited("axb", Edit("f", "a.b", "instead", ""), where="f")


def tree(root: Path) -> Path:
    (root / "src").mkdir()
    (root / "src" / "kettle.c").write_text(SOURCE)
    return root


def test_edits_of_one_file_follow_each_other_and_other_bytes_stay(tmp_path: Path) -> None:
    file = tree(tmp_path) / "src" / "kettle.c"
    file.write_bytes(file.read_bytes() + b"/* caf\xe9 */\n")
    apply_edits(
        tmp_path,
        [
            Edit("src/kettle.c", "boil(t);", "after", " whistle(t);"),
            Edit("src/kettle.c", "whistle(t);", "after", " pour(t);"),
            NewFile("src/cup.h", "struct cup;\n"),
        ],
    )
    assert b"boil(t); whistle(t); pour(t);\treturn 1;" in file.read_bytes()
    assert file.read_bytes().endswith(b"/* caf\xe9 */\n")
    assert (tmp_path / "src" / "cup.h").read_text() == "struct cup;\n"


@pytest.mark.parametrize(
    "bad",
    [
        Edit("src/kettle.c", "no such text", "after", "X"),
        Edit("src/pot.c", "boil(t);", "after", "X"),
        NewFile("src/kettle.c", "X"),
    ],
)
def test_nothing_is_changed_if_one_edit_does_not_fit(tmp_path: Path, bad: Edit | NewFile) -> None:
    tree(tmp_path)
    good = Edit("src/kettle.c", "boil(t);", "instead", "stew(t);")
    with pytest.raises(EditError):
        apply_edits(tmp_path, [good, NewFile("src/cup.h", ""), bad])
    assert (tmp_path / "src" / "kettle.c").read_text() == SOURCE
    assert not (tmp_path / "src" / "cup.h").exists()


@pytest.mark.parametrize("changes", [QEMU_CHANGES, KERNEL_CHANGES])
def test_what_the_lab_puts_in_says_whose_it_is(changes: tuple[Edit | NewFile, ...]) -> None:
    assert all(
        "SPDX-License-Identifier: GPL-2.0-or-later" in c.text for c in changes if isinstance(c, NewFile)
    )
    assert any(isinstance(c, NewFile) for c in changes)
