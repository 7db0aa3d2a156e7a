"""The edited source tree of a part: whole, or not at all."""

import pytest

from analyzer.lab.build.cache import prepare_tree
from analyzer.lab.build.edits import Edit, EditError


def unpack(folder):
    folder.mkdir()
    (folder / "a.c").write_text("int a;\n")


def test_it_is_fetched_and_edited(tmp_path):
    prepare_tree(tmp_path / "work", "1:2-3", unpack, [Edit("a.c", "int a;", "after", " int b;")])
    assert (tmp_path / "work" / "version").read_text() == "1:2-3"
    assert (tmp_path / "work" / "source" / "a.c").read_text() == "int a; int b;\n"


def test_nothing_is_there_if_an_edit_fails(tmp_path):
    with pytest.raises(EditError):
        prepare_tree(tmp_path / "work", "1", unpack, [Edit("a.c", "int c;", "after", " int b;")])
    assert not (tmp_path / "work").exists()
