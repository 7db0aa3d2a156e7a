"""Nothing that is read can become code: the ways to do that are not in the program at all.

Ruff's rules S301, S307 and S506 look for calls by their usual name; this looks at every import and call.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("analyzer", "schemas") for path in (ROOT / package).rglob("*.py"))

#: Modules that make objects or code of bytes.
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "code",
    "codeop",
    "yaml",
}
#: Built-in functions that run text.
CALLS = {"eval", "exec", "compile", "__import__"}
#: Methods that do the same: construct's compiler (all of this name but re's), unpickling, text for a shell.
COMPILERS = {"compile"}
METHODS = {"np.load", "numpy.load", "joblib.load", "os.system", "os.popen"}


def names_in(tree: ast.AST) -> set[str]:
    """Whatever is imported or called in this module that the lists above forbid."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in MODULES:
            found.add(node.module)
        elif isinstance(node, ast.Call):
            found |= _called(node)
    return found


def _called(node: ast.Call) -> set[str]:
    found = set()
    function = node.func
    if isinstance(function, ast.Name) and function.id in CALLS:
        found.add(function.id)
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else "?"
        name = f"{owner}.{function.attr}"
        if name in METHODS or (function.attr in COMPILERS and owner != "re"):
            found.add(name)
    for keyword in node.keywords:
        on = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        if keyword.arg in ("shell", "allow_pickle") and not on:
            found.add(str(keyword.arg))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_makes_code_of_input(path):
    assert names_in(ast.parse(path.read_text("utf-8"))) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import pickle", {"pickle"}),
        ("from yaml import safe_load", {"yaml"}),
        ("eval(text)", {"eval"}),
        ("np.load(path, allow_pickle=True)", {"np.load", "allow_pickle"}),
        ("subprocess.run(text, shell=True)", {"shell"}),
        ("LAYOUT.compile()", {"LAYOUT.compile"}),
        ("re.compile(text)", set()),
        ("json.load(file)", set()),
    ],
)
def test_the_search_finds_them(text, found):
    assert names_in(ast.parse(text)) == found
