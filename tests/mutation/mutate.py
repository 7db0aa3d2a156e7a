"""Mutation testing: ``python tests/mutation/mutate.py PACKAGE ... --account FILE [--at-most N]``.

The mutants are mutmut's (``pip install mutmut==3.8.1``), and ``[tool.mutmut]`` in ``pyproject.toml`` chooses
the sources and the tests. They are made in a temporary copy of the tree; the checkout stays as it is. The
tests are collected once. Then every mutant gets a process, forked from there, that runs those tests that call
the mutated function until one fails.

The account (JSON lines) begins with a digest of the sources. Each further line is a mutant; a run goes on
behind the last one. What it says of the product is in ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "mutants", "build", "dist", "venv")
CONTROL = "__mutmut_0"  # mutmut counts from 1: this name selects the original function
MUTANTS_PER_CONTROL = 200
PARAMETERS_FIRST = 12  # of a test with more parameters so many come early, the others behind all tests
KILLED, NEVER_ENDING, SURVIVED, NO_TESTS = "killed", "never ending", "survived", "no tests"


def copy_tree(folder: Path) -> str:
    """Copy the checkout; return a digest of all Python files in it."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def make_mutants() -> list[str]:
    """Let mutmut write ``mutants/`` in the current folder; modules are then imported from there."""
    from mutmut import __main__ as mutmut
    from mutmut.mutation.data import SourceFileMutationData

    Path("mutants").mkdir()
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.setup_source_paths()
    with redirect_stdout(io.StringIO()):  # it names every file
        mutmut.create_mutants(1)
    names: list[str] = []
    for path in sorted(mutmut.walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        names.extend(data.exit_code_by_key)
    return names


def function_of(name: str) -> str:
    """The function that a mutant changes, as mutmut names it."""
    return name.rpartition("__mutmut_")[0]


def with_controls(names: list[str]) -> Iterator[str]:
    """All mutants, and now and then one that changes nothing and must survive."""
    for number, name in enumerate(names):
        if number % MUTANTS_PER_CONTROL == 0:
            yield function_of(name) + CONTROL
        yield name


class Failures:
    """A pytest plugin that remembers whether a test failed."""

    seen = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seen = self.seen or report.failed


def run_each(items: list[pytest.Item], mutant: str) -> Iterator[tuple[str, float, bool]]:
    """Run tests silently with one mutant; of each its id, processor time, and whether one has failed."""
    from mutmut.mutation.trampoline import set_mutant_under_test

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    set_mutant_under_test(mutant)
    failures = Failures()
    items[0].config.pluginmanager.register(failures)
    for item, following in zip_longest(items, items[1:]):
        begin = time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item.nodeid, time.process_time() - begin, failures.seen


def measure(items: list[pytest.Item], answer: Connection) -> None:
    """Child: send the seconds by test and the tests by function, or the id of a test that fails anyway."""
    from mutmut.state import state

    seconds: dict[str, float] = {}
    tests: dict[str, list[str]] = defaultdict(list)
    for nodeid, took, failed in run_each(items, "stats"):
        if failed:
            answer.send(nodeid)
            os._exit(1)
        seconds[nodeid] = took
        for function in state()._stats:
            tests[function].append(nodeid)
        state()._stats.clear()
    answer.send((seconds, dict(tests)))
    os._exit(0)


def attack(items: list[pytest.Item], mutant: str, limit: int, answer: Connection) -> None:
    """Child: send the id of the first test that fails, or None."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    answer.send(next((nodeid for nodeid, _, failed in run_each(items, mutant) if failed), None))
    os._exit(0)


def fork(target: Callable[..., None], *args: object) -> tuple[multiprocessing.Process, Connection]:
    """Start a child; what it sends comes out of the connection."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.Process(target=target, args=(*args, theirs))
    child.start()
    theirs.close()
    return child, ours


def try_mutant(items: list[pytest.Item], mutant: str, limit: int) -> tuple[str, str | None]:
    """Status of one mutant, and the test that killed it. ``limit`` is in seconds of processor time."""
    child, ours = fork(attack, items, mutant, limit)
    if not ours.poll(20 * limit):  # it may also wait for something
        child.kill()
        child.join()
        return NEVER_ENDING, None
    try:
        killer = ours.recv()
    except EOFError:  # it died, and the tests with it
        child.join()
        return (NEVER_ENDING if child.exitcode == -signal.SIGXCPU else KILLED), None
    child.join()
    return (KILLED if killer else SURVIVED), killer


def in_order(nodeids: list[str], seconds: dict[str, float], kills: Counter[str]) -> list[str]:
    """What killed mutants of the function first, then what is quick; last, most of the many parameters."""
    groups: dict[str, list[str]] = defaultdict(list)
    for nodeid in nodeids:
        groups[nodeid.partition("[")[0]].append(nodeid)
    last = set(nodeids)
    for members in groups.values():
        step = max(1, len(members) / PARAMETERS_FIRST)
        last -= {members[int(number * step)] for number in range(min(len(members), PARAMETERS_FIRST))}
    return sorted(nodeids, key=lambda n: (-kills[n] / (seconds[n] + 0.05), n in last, seconds[n]))


class MutantLoop:
    """A pytest plugin that runs mutants where pytest would run the collected tests."""

    def __init__(self, names: list[str], account: Path, at_most: int | None) -> None:
        self.names, self.account, self.at_most = names, account, at_most

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # a file could not be collected: pytest says so itself
        child, ours = fork(measure, session.items)
        measured = ours.recv()
        child.join()
        if isinstance(measured, str):
            raise pytest.UsageError(f"{measured} fails without a mutant: mend that first")
        seconds, tests = measured
        gc.collect()
        gc.freeze()  # what was collected stays shared memory in the children
        self.run_mutants({item.nodeid: item for item in session.items}, seconds, tests)
        gc.unfreeze()
        return True

    def run_mutants(
        self, items: dict[str, pytest.Item], seconds: dict[str, float], tests: dict[str, list[str]]
    ) -> None:
        kills: dict[str, Counter[str]] = defaultdict(Counter)
        done = entries(self.account)
        for name, entry in done.items():
            kills[function_of(name)][entry["killer"]] += 1
        left = [name for name in with_controls(self.names) if name not in done]
        for name in left[: self.at_most]:
            function, begin = function_of(name), time.monotonic()
            chosen = in_order(tests.get(function, []), seconds, kills[function])
            status, killer = NO_TESTS, None
            if chosen:
                limit = int(8 + 3 * sum(seconds[nodeid] for nodeid in chosen))
                status, killer = try_mutant([items[nodeid] for nodeid in chosen], name, limit)
            if name.endswith(CONTROL) and status not in (SURVIVED, NO_TESTS):
                raise pytest.UsageError(
                    f"{name} changes nothing, and is {status} ({killer}): mend that first"
                )
            kills[function][killer] += 1
            took = round(time.monotonic() - begin, 2)
            line = {"name": name, "status": status, "killer": killer, "seconds": took}
            with self.account.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


def entries(account: Path) -> dict[str, dict]:
    """What the account says of each mutant."""
    lines = [json.loads(line) for line in account.read_text().splitlines()[1:]]
    return {line["name"]: line for line in lines}


def show(packages: list[str], names: list[str], account: Path) -> None:
    """Print a row for each package, and the names of what lives."""
    from rich.console import Console
    from rich.table import Table

    done = entries(account)
    status = {name: done[name]["status"] if name in done else "to do" for name in names}
    columns = [KILLED, NEVER_ENDING, SURVIVED, NO_TESTS, "to do"]
    table = Table("package", "mutants", *columns)
    table.columns[0].no_wrap = True
    for package in packages:
        mine = [status[name] for name in names if name.startswith(package.replace("/", ".") + ".")]
        table.add_row(package, str(len(mine)), *(str(mine.count(column)) for column in columns))
    console = Console()
    console.print(table)
    for name in names:
        if status[name] in (SURVIVED, NO_TESTS):
            console.print(f"{status[name]}: {name}", soft_wrap=True, highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run mutmut's mutants of some packages.")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="as analyzer/replay")
    parser.add_argument(
        "--account", type=Path, required=True, metavar="FILE", help="JSON lines; goes on there"
    )
    parser.add_argument("--at-most", type=int, metavar="N", help="stop after so many mutants")
    options = parser.parse_args()
    account, packages = options.account.resolve(), [package.strip("/") for package in options.packages]
    os.environ.setdefault("ARITRACE_ORACLE_CASES", "40")
    os.environ |= {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads do not survive a fork
    multiprocessing.set_start_method("fork")
    with tempfile.TemporaryDirectory(prefix="aritrace-mutants-") as folder:
        digest = json.dumps({"sources": copy_tree(Path(folder) / "tree")})
        account.parent.mkdir(parents=True, exist_ok=True)
        if account.exists() and account.read_text().partition("\n")[0] != digest:
            parser.error(f"{account} is of other sources than these: name a new file")
        os.chdir(Path(folder) / "tree")
        prefixes = tuple(package.replace("/", ".") + "." for package in packages)
        names = [name for name in make_mutants() if name.startswith(prefixes)]
        if not names:
            parser.error(f"no mutants of {packages}: only_mutate in pyproject.toml chooses the files")
        from mutmut.configuration import config

        chosen = [*config().pytest_add_cli_args, "-s", *config().pytest_add_cli_args_test_selection]
        os.chdir("mutants")
        os.environ["PYTHONPATH"] = str(Path.cwd())  # also for the programs that tests start
        if not account.exists():
            account.write_text(digest + "\n")
        result = pytest.main(chosen, plugins=[MutantLoop(names, account, options.at_most)])
        os.chdir(ROOT)
    show(packages, names, account)
    return int(result)


if __name__ == "__main__":
    sys.exit(main())
