"""Code, tests and files that the documents cite exist under the names that they have there."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
RULES = (ROOT / "docs" / "replay.md").read_text("utf-8")
CITED = sorted(set(re.findall(r"`([^`\n]+)`", RULES)))
#: Packages of the program that rules cite code of, as ``package.module.name``.
PACKAGES = ("kernel_logs", "observed", "replay", "series", "verdicts")
CODE = [name for name in CITED if re.fullmatch(rf"(?:{'|'.join(PACKAGES)})\.[\w.]+", name)]
TEST = [name for name in CITED if re.fullmatch(r"(?:\w+/)*test_\w+\.py(?:::\w+)?", name)]
#: What the column of code may hold instead of a name.
NO_CODE = {"same", "\N{EN DASH}"}


def exists(name: str) -> bool:
    """Whether ``analyzer.NAME`` is a module, or a name in one."""
    parts = name.split(".")
    module = "analyzer"
    while parts and find_spec(f"{module}.{parts[0]}") is not None:
        module = f"{module}.{parts.pop(0)}"
        if not hasattr(import_module(module), "__path__"):
            break
    found: object = import_module(module)
    for part in parts:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return module != "analyzer"


def code_cells() -> list[str]:
    """The cells of every column ``code``."""
    cells, column = [], None
    for line in RULES.splitlines():
        row = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not row:
            column = None
        elif column is None:
            column = row.index("code") if "code" in row else len(row)
        elif column < len(row) and not line.startswith("|--"):
            cells.append(row[column])
    return cells


@pytest.mark.parametrize("name", CODE)
def test_cited_code_exists(name: str) -> None:
    assert exists(name)


@pytest.mark.parametrize("name", ["replay", "replay.ari.no_such_rule", "replay.no_such_module", "no_such"])
def test_a_name_that_does_not_exist_is_found(name: str) -> None:
    """The control: only what exists passes."""
    assert exists(name) == (name == "replay")


def test_every_cell_of_code_is_checked() -> None:
    cells = code_cells()
    assert len(cells) > 40
    names = {name for cell in cells if cell not in NO_CODE for name in re.findall(r"`([^`]+)`|(\w+)", cell)}
    assert {first or second for first, second in names} - set(CODE) == set()


@pytest.mark.parametrize("name", TEST)
def test_cited_tests_exist(name: str) -> None:
    file, _, function = name.partition("::")
    path = TESTS / file
    assert path.is_file()
    assert not function or re.search(rf"^ *def {function}\(", path.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_cited_files_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    named = re.findall(r"(?<![\w/.*-])((?:analyzer|bench|schemas|tests)/[\w/.-]+\.(?:py|toml|md|j2))", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []
