"""The set-up that README and CONTRIBUTING.md describe: a complete lock, installed without a resolver."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = "requirements-dev.lock"
#: What hosts and the image install: the part of it without tests.
RUNTIME = "requirements.lock"
LOWEST = ".ci/lowest-versions.txt"
#: A requirement: ``name==version``, at most a marker, and one hash or more.
PINNED = re.compile(
    r"[a-z0-9][a-z0-9-]*==[\w.+!]+(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+", re.ASCII
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(name: str) -> list[str]:
    """The requirements of a file for pip, each with its continuation lines."""
    lines = "".join(line for line in text(name).splitlines(keepends=True) if not line.startswith("#"))
    return [one for one in re.split(r"(?<!\\)\n", lines) if one]


def pinned(name: str) -> dict[str, Version]:
    """Version of each distribution that a lock has for this Python and system."""
    found = {}
    for line in requirements(name):
        one = Requirement(line.partition("\\")[0])
        if one.marker is None or one.marker.evaluate():
            assert one.name not in found
            (pin,) = one.specifier
            found[one.name] = Version(pin.version)
    return found


def wanted(*, tests: bool) -> list[Requirement]:
    """What pyproject.toml and .ci/build-requirements.in ask for, with or without what tests need."""
    project = tomllib.loads(text("pyproject.toml"))
    groups = project["dependency-groups"].values() if tests else ()
    lines = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in groups for line in group),
        *requirements(".ci/build-requirements.in"),
    ]
    return [Requirement(line) for line in lines]


def reached(lock: dict[str, Version], asked: list[Requirement]) -> tuple[set[tuple[str, str]], list[str]]:
    """Each distribution (and extra) that the requirements lead to; and those that the lock does not meet."""
    missing, seen = [], set()
    left = [(one, "") for one in asked]
    while left:
        one, extra = left.pop()
        if one.marker is not None and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        if name not in lock or not one.specifier.contains(lock[name], prereleases=True):
            missing.append(str(one))
            continue
        for new in {"", *one.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, new))
            left += [(Requirement(line), new) for line in distribution(name).requires or ()]
    return seen, missing


def parts(command: str) -> list[str]:
    """The commands of a line, without the folder that they are in."""
    return command.replace(".venv/bin/", "").split(" && ")


def commands(name: str) -> list[str]:
    return [line for line in text(name).splitlines() if line.startswith("python3 -m venv ")]


@pytest.mark.parametrize("name", [LOCK, RUNTIME, LOWEST])
def test_every_requirement_is_one_version_with_hashes(name):
    assert [one for one in requirements(name) if not PINNED.fullmatch(one)] == []


def test_the_lock_is_complete():
    """Every requirement of every locked distribution, with the extras that lead to it, is met by the lock."""
    seen, missing = reached(pinned(LOCK), wanted(tests=True))
    assert missing == []
    assert ("coverage", "toml") in seen  # reached through an extra, which pip's resolver of 2023 takes apart


def test_the_lock_of_hosts_is_the_part_without_tests():
    """It is complete, holds nothing else, and each of its versions and hashes is that of the whole lock."""
    lock = pinned(RUNTIME)
    seen, missing = reached(lock, wanted(tests=False))
    assert missing == []
    assert {name for name, _ in seen} == set(lock)
    assert [name for name, version in lock.items() if pinned(LOCK)[name] != version] == []
    hashes = {name: set(re.findall("sha256:[0-9a-f]{64}", text(name))) for name in (LOCK, RUNTIME)}
    assert hashes[RUNTIME] <= hashes[LOCK]


def test_what_is_installed_is_the_lock():
    lock = pinned(LOCK)
    assert {name: Version(distribution(name).version) for name in lock} == lock


def test_the_lock_is_installed_the_same_way_everywhere():
    judge, set_up = (parts(command) for command in commands("README.md"))
    assert judge == ["python3 -m venv .venv", "pip install -q .", "analyze traces/*.bin"]
    assert set_up == [
        "python3 -m venv .venv",
        f"pip install -q --no-deps --require-hashes -r {LOCK}",
        "pip install -q --no-deps --no-build-isolation .",
        "pytest -q -n auto",
    ]
    run = text(".ci/run").splitlines()
    assert [line for line in run if LOCK in line] == [set_up[1]]
    assert {set_up[2], set_up[3]} <= set(run)
    develop = commands("CONTRIBUTING.md")
    assert [parts(command)[:2] for command in develop] == [set_up[:2]]


def test_no_later_release_can_change_what_the_check_installs():
    """It takes no dependencies, or is held to the pins by a constraint; and it builds with what is there."""
    run = text(".ci/run").replace("\\\n", "")
    installs = re.findall(r"^ *(pip .*\b(?:install|wheel) .*)$", run, re.MULTILINE)
    assert len(installs) == 5
    for command in installs:
        assert ("--no-deps" in command) != ('--constraint "$work/pins"' in command), command
        assert re.search("--no-build-isolation|--require-hashes|--only-binary :all:", command), command


def test_each_lock_is_renewed_by_the_command_that_made_it():
    made = {name: text(name).splitlines()[1].removeprefix("#    ") for name in (LOCK, RUNTIME)}
    renewed = re.findall(r"^\.venv/bin/(uv pip compile .*)$", text("CONTRIBUTING.md"), re.MULTILINE)
    assert renewed == [
        made[LOCK].replace("compile ", "compile -q --upgrade "),
        made[RUNTIME].replace("compile ", "compile -q "),
    ]


def test_each_package_that_the_program_needs_has_a_bound_from_above():
    """The README's first command uses no lock."""
    needed = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    assert [line for line in needed if "<" not in line] == []
