import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import analyzer
from analyzer.cli.application import build

ROOT = Path(__file__).parents[1]


def test_the_session_in_the_documentation(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testfile(str(ROOT / "docs" / "library.md"), module_relative=False)
    assert result.attempted > 30
    assert result.failed == 0


def test_importing_the_package_loads_nothing_else():
    code = "import sys, importlib; old = set(sys.modules); import analyzer; print(*set(sys.modules) - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"analyzer", "__future__"}


@pytest.mark.parametrize("name", analyzer.__all__)
def test_every_name_is_there_and_stays_the_same(name):
    first = getattr(analyzer, name)
    # Loading a module must not put it in the place of a verb.
    assert getattr(analyzer, name) is first
    assert name in dir(analyzer)


def test_names_are_listed_in_order():
    assert sorted(analyzer.__all__, key=lambda name: (not name.isupper(), name)) == analyzer.__all__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = analyzer.nonsense


def test_every_command_has_its_verb():
    # The lab is a program more than a library: it boots machines.
    assert set(build().commands) - {"lab"} <= set(analyzer.__all__)


@pytest.mark.parametrize("package", ["analyzer", "schemas"])
def test_the_packages_are_typed(package):
    assert (
        Path(sys.modules[package].__file__ if package in sys.modules else "").parent / "py.typed"
    ).exists()
