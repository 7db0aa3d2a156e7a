"""Mutation testing: ``python tests/mutation/mutate.py PACKAGE ... --account FILE``.

The mutants are mutmut's (``pip install mutmut==3.8.1``), and ``[tool.mutmut]`` in ``pyproject.toml`` chooses
the sources and the tests. They are made in a temporary copy of the tree; the checkout stays as it is. The
tests are collected once. Then every mutant gets a process, forked from there, that runs those tests that call
the mutated function until one fails. With ``--budget SECONDS`` it runs only the first of them, whose
processor time is within the budget; without a failure it is undecided, and a later run decides.

The account (JSON lines) begins with a digest of the product's sources. Each further line is a mutant. A run
goes on behind the last one; it tries a mutant that lives again if its function got other tests meanwhile, or
the budget is larger. What a test has killed stays killed while that test's file exists: take a new account
where tests became weaker. What it says of the product is in ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import io
import json
import math
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
from itertools import accumulate, zip_longest
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ROOT = Path(__file__).parents[2]
PRODUCT = ("analyzer", "schemas")
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "mutants", "build", "dist", "venv")
CONTROL = "__mutmut_0"  # mutmut counts from 1: this name selects the original function
MUTANTS_PER_CONTROL = 200
PARAMETERS_FIRST = 12  # of a slow test with more parameters so many come early, the others behind all tests
SLOW, DIRECT = 0.02, 0.005  # seconds
KILLED, NEVER_ENDING, SURVIVED, NO_TESTS = "killed", "never ending", "survived", "no tests"
UNDECIDED = "undecided"
#: Without pytest's excerpts, for which it compiles whole modules (10 times the time of the test), and without
#: hypothesis' search for the smallest example.
CHEAP_FAILURES = ("-s", "--tb=native", "--hypothesis-profile=mutants")


def copy_tree(folder: Path) -> str:
    """Copy the checkout; return a digest of the product's Python files."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    digest = hashlib.sha256()
    for path in sorted(path for package in PRODUCT for path in (folder / package).rglob("*.py")):
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


def module_of(function: str) -> str:
    """The module of a function, as mutmut names it."""
    return function.rpartition(".")[0]


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


class Attempt:
    """A mutant, and the process that runs tests with it.

    Args:
        items: the tests, in order.
        limit: of the processor time, in seconds.
        entry: what the account says of the mutant, so far.
    """

    def __init__(self, items: list[pytest.Item], limit: int, entry: dict) -> None:
        self.limit, self.entry, self.begin = limit, entry, time.monotonic()
        self.child, self.ours = fork(attack, items, entry["name"], limit)

    @property
    def waits(self) -> bool:
        """Whether it takes so long that it must wait for something that does not come."""
        return time.monotonic() - self.begin > 20 * self.limit

    def outcome(self) -> dict:
        """The entry with its status, and the test that killed the mutant."""
        self.entry["seconds"] = round(time.monotonic() - self.begin, 2)
        if not self.ours.poll():
            self.child.kill()
            self.child.join()
            return self.entry | {"status": NEVER_ENDING}
        try:
            killer = self.ours.recv()
        except EOFError:  # it died, and the tests with it
            self.child.join()
            ended = self.child.exitcode == -signal.SIGXCPU
            return self.entry | {"status": NEVER_ENDING if ended else KILLED}
        self.child.join()
        lives = UNDECIDED if self.entry["left_out"] else SURVIVED
        return self.entry | {"status": KILLED if killer else lives, "killer": killer}


def depths(tests: dict[str, list[str]]) -> dict[str, Counter[str]]:
    """How many functions of a module each test calls, by the module's name."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for function, nodeids in tests.items():
        found[module_of(function)].update(nodeids)
    return found


def in_order(
    nodeids: list[str], seconds: dict[str, float], kills: Counter[str], depth: Counter[str]
) -> list[str]:
    """What killed mutants of the function, then direct tests, then those that use most of its module.

    Most of a slow test with many parameters is behind all others.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for nodeid in nodeids:
        groups[nodeid.partition("[")[0]].append(nodeid)
    last = {nodeid for nodeid in nodeids if seconds[nodeid] > SLOW}
    for members in groups.values():
        step = max(1, len(members) / PARAMETERS_FIRST)
        last -= {members[int(number * step)] for number in range(min(len(members), PARAMETERS_FIRST))}

    def rank(nodeid: str) -> tuple[float, ...]:
        took = seconds[nodeid]
        return -kills[nodeid] / (took + 0.05), nodeid in last, took > DIRECT, -depth[nodeid], took

    return sorted(nodeids, key=rank)


def within(budget: float, nodeids: list[str], seconds: dict[str, float]) -> list[str]:
    """The first tests, whose processor time is within the budget: one at least."""
    used = accumulate(seconds[nodeid] for nodeid in nodeids)
    return nodeids[: max(1, sum(so_far <= budget for so_far in used))]


class MutantLoop:
    """A pytest plugin that runs mutants where pytest would run the collected tests."""

    def __init__(self, names: list[str], options: argparse.Namespace) -> None:
        self.names, self.options = names, options

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        from hypothesis import HealthCheck, Phase, settings  # not before pytest can rewrite it

        settings.register_profile(
            "mutants",
            phases=(Phase.explicit, Phase.generate),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # a file could not be collected: pytest says so itself
        child, ours = fork(measure, session.items)
        measured = ours.recv()
        child.join()
        if isinstance(measured, str):
            raise pytest.UsageError(f"{measured} fails without a mutant: mend that first")
        self.seconds, self.tests = measured
        self.depths = depths(self.tests)
        self.items = {item.nodeid: item for item in session.items}
        self.kills: dict[str, Counter[str]] = defaultdict(Counter)
        gc.collect()
        gc.freeze()  # what was collected stays shared memory in the children
        self.run_mutants()
        gc.unfreeze()
        return True

    def run_mutants(self) -> None:
        done = entries(self.options.account)
        for name, entry in done.items():
            self.kills[function_of(name)][entry["killer"]] += 1
        left = [name for name in with_controls(self.names) if not self.is_decided(done.get(name))]
        running: list[Attempt] = []
        for name in left[: self.options.at_most]:
            attempt = self.start(name)
            if attempt:
                running.append(attempt)
            while len(running) == self.options.at_once:
                self.reap(running)
        while running:
            self.reap(running)

    def is_decided(self, entry: dict | None) -> bool:
        """Whether another attempt could say nothing else."""
        if entry is None:
            return False
        if entry["status"] in (KILLED, NEVER_ENDING):
            return entry["killer"] is None or Path(entry["killer"].partition("::")[0]).exists()
        same_tests = entry["tests"] == len(self.tests.get(function_of(entry["name"]), []))
        return same_tests and (not entry["left_out"] or self.options.budget <= entry["budget"])

    def start(self, name: str) -> Attempt | None:
        function = function_of(name)
        tests, depth = self.tests.get(function, []), self.depths[module_of(function)]
        every = in_order(tests, self.seconds, self.kills[function], depth)
        chosen = within(self.options.budget, every, self.seconds)
        entry = {"name": name, "status": NO_TESTS, "killer": None, "seconds": 0, "tests": len(every)}
        entry |= {"left_out": len(every) - len(chosen), "budget": self.options.budget}
        if not chosen:
            self.note(entry)
            return None
        limit = int(8 + 3 * sum(self.seconds[nodeid] for nodeid in chosen))
        return Attempt([self.items[nodeid] for nodeid in chosen], limit, entry)

    def reap(self, running: list[Attempt]) -> None:
        """Note what has ended, or waits for nothing."""
        ready = wait([attempt.ours for attempt in running], timeout=1)
        for attempt in [attempt for attempt in running if attempt.ours in ready or attempt.waits]:
            running.remove(attempt)
            self.note(attempt.outcome())

    def note(self, entry: dict) -> None:
        name, status, killer = entry["name"], entry["status"], entry["killer"]
        if name.endswith(CONTROL) and status in (KILLED, NEVER_ENDING):
            raise pytest.UsageError(f"{name} changes nothing, and is {status} ({killer}): mend that first")
        self.kills[function_of(name)][killer] += 1
        with self.options.account.open("a") as stream:
            stream.write(json.dumps(entry) + "\n")


def entries(account: Path) -> dict[str, dict]:
    """What the account says last of each mutant."""
    lines = [json.loads(line) for line in account.read_text().splitlines()[1:]]
    return {line["name"]: line for line in lines}


def show(packages: list[str], names: list[str], account: Path) -> None:
    """Print a row for each package, and the names of what lives."""
    from rich.console import Console
    from rich.table import Table

    done = entries(account)
    status = {name: done[name]["status"] if name in done else "to do" for name in names}
    columns = [KILLED, NEVER_ENDING, SURVIVED, UNDECIDED, NO_TESTS, "to do"]
    table = Table("package", "mutants", *columns)
    table.columns[0].no_wrap = True
    for package in packages:
        mine = [status[name] for name in names if name.startswith(package.replace("/", ".") + ".")]
        table.add_row(package, str(len(mine)), *(str(mine.count(column)) for column in columns))
    console = Console()
    console.print(table)
    for name in names:
        if status[name] in (SURVIVED, UNDECIDED, NO_TESTS):
            console.print(f"{status[name]}: {name}", soft_wrap=True, highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run mutmut's mutants of some packages.")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="as analyzer/replay")
    parser.add_argument(
        "--account", type=Path, required=True, metavar="FILE", help="JSON lines; goes on there"
    )
    parser.add_argument("--at-most", type=int, metavar="N", help="stop after so many mutants")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--budget", type=float, default=math.inf, metavar="SECONDS", help="of tests for a mutant (all)"
    )
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="instead of those of [tool.mutmut]")
    options = parser.parse_args()
    options.account = account = options.account.resolve()
    packages = [package.strip("/") for package in options.packages]
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

        tests = options.tests or config().pytest_add_cli_args_test_selection
        chosen = [*config().pytest_add_cli_args, *CHEAP_FAILURES, *tests]
        os.chdir("mutants")
        os.environ["PYTHONPATH"] = str(Path.cwd())  # also for the programs that tests start
        if not account.exists():
            account.write_text(digest + "\n")
        result = pytest.main(chosen, plugins=[MutantLoop(names, options)])
        os.chdir(ROOT)
    show(packages, names, account)
    return int(result)


if __name__ == "__main__":
    sys.exit(main())
