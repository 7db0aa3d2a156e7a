"""Bounds that keep the program's modules readable; ruff has those of functions (complexity, parameters)."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path.relative_to(ROOT) for package in ("analyzer", "schemas") for path in (ROOT / package).rglob("*.py")
)
#: Names that say nothing of what is inside.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_at_most_400_lines_and_a_name_that_says_something(module):
    assert len((ROOT / module).read_text("utf-8").splitlines()) <= 400
    assert module.stem not in EMPTY_NAMES


def test_no_class_name_stands_twice():
    names = Counter(
        node.name
        for module in MODULES
        for node in ast.walk(ast.parse((ROOT / module).read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
