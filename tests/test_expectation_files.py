"""Expectation files of a corpus that do not fit: what differs is named, what is no TOML is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analyzer.errors import DamagedInputError, UnreadableInputError
from analyzer.questions import corpus

TRACES = Path(__file__).parent.parent / "traces"
NAME = "inherit-wide-lost"


@pytest.fixture
def case(tmp_path):
    for ending in ("bin", "toml"):
        shutil.copy(TRACES / f"{NAME}.{ending}", tmp_path)
    return tmp_path / f"{NAME}.toml"


def test_a_value_that_differs_is_shown_with_both(case):
    case.write_text(case.read_text().replace("heal = 13", "heal = 12"))
    (result,) = corpus.check(str(case.parent))
    assert not result.ok
    assert [line for line in result.difference() if "heal" in line] == ["-heal = 12", "+heal = 13"]


@pytest.mark.parametrize("content", [b"expect = [", b'title = "\xff"'], ids=["half", "not UTF-8"])
def test_a_file_that_is_no_toml_is_refused(case, content):
    case.write_bytes(content)
    with pytest.raises(DamagedInputError, match="expected TOML"):
        corpus.check(str(case.parent))


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(UnreadableInputError, match="expected a directory"):
        corpus.check(str(tmp_path / "nowhere"))
