"""An earlier commit's own benchmark, section by section, and its seconds as a column of this one's tables.

It runs from a clone, with the packages of the environment that runs this: the same Python, polars and numpy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import ROOT, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measuring import Plan

_SECONDS = "seconds"
#: Sections that measure the earlier commit themselves: on the same captures, which are of many machines.
MEASURED_THERE = frozenset({"fleet", "reach"})


@dataclass(frozen=True)
class Earlier:
    """A commit that can be measured.

    Attributes:
        commit: as given.
        tree: its clone.
        python: runs with that tree, and has its ``analyze`` beside it.
    """

    commit: str
    tree: Path
    python: Path

    def seconds(self, section: str, plan: Plan) -> list[Table]:
        """Measure one section; no table if the commit has no such section.

        Raises:
            CalledProcessError: its benchmark failed.
        """
        if not (self.tree / "bench" / f"{section}.py").exists():
            return []
        options = [f"--{name}" for name in ("quick", "long") if getattr(plan, name)]
        command = [str(self.python), "bench/run.py", *options, "--folder", str(plan.folder), section]
        environment = os.environ | {"PYTHONPATH": str(self.tree)}
        done = subprocess.run(
            command, cwd=self.tree, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return tables_of(done.stdout)


def check_out(commit: str, folder: Path) -> Earlier:
    """Clone the repository at a commit, and make a Python that runs it.

    Args:
        commit: to be measured.
        folder: where the clone and the Python are made.

    Raises:
        CalledProcessError: there is no such commit.
    """
    tree = folder / "tree"
    subprocess.run(["git", "-C", str(ROOT), "clone", "-q", "-n", str(ROOT), str(tree)], check=True)
    subprocess.run(["git", "-C", str(tree), "checkout", "-q", commit], check=True)
    here, there = Path(sys.prefix), folder / "environment"
    (there / "bin").mkdir(parents=True)
    (there / "lib").symlink_to(here / "lib")
    (there / "pyvenv.cfg").write_bytes((here / "pyvenv.cfg").read_bytes())
    python, analyze = there / "bin" / "python", there / "bin" / "analyze"
    python.symlink_to(Path(sys.executable).resolve())
    analyze.write_text(
        f"#!{python}\nimport sys\n\nsys.path[0] = {str(tree)!r}\n\n"
        'from analyzer.cli import main\n\nif __name__ == "__main__":  # not in a worker\n    main()\n'
    )
    analyze.chmod(0o755)
    return Earlier(commit, tree, python)


def commands(plan: Plan) -> list[list[str]]:
    """How to start the earlier commit's ``analyze``, if one is measured."""
    if plan.against is None:
        return []
    analyze = plan.folder / "earlier" / "environment" / "bin" / "analyze"
    return [["env", f"PYTHONPATH={tree(plan)}", str(analyze)]]


def tree(plan: Plan) -> Path:
    """The earlier commit's clone."""
    return plan.folder / "earlier" / "tree"


def heads(plan: Plan) -> list[str]:
    """Head of the column of an earlier commit, if one is measured."""
    return [] if plan.against is None else [f"at {plan.against}"]


def tables_of(markdown: str) -> list[Table]:
    """The tables of a benchmark's output that have a column of seconds."""
    found: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [Table("", rows[0], rows[2:]) for rows in found if rows and _SECONDS in rows[0]]


def beside(tables: list[Table], earlier: list[Table], commit: str) -> list[Table]:
    """Add the seconds of an earlier commit to each row that its benchmark has, too.

    Args:
        tables: this version's.
        earlier: those of :func:`tables_of`: in the same order. A row is the same where everything before its
            seconds is.
        commit: head of the column.
    """
    made, left = [], iter(earlier)
    for table in tables:
        if _SECONDS not in table.head:
            made.append(table)
            continue
        then = next(left, Table("", (_SECONDS,), ()))
        known = {tuple(_key(then, row)): _cell(then, row) for row in then.rows}
        place = list(table.head).index(_SECONDS) + 1
        head = [*table.head[:place], f"at {commit}", *table.head[place:]]
        rows = [[*row[:place], known.get(tuple(_key(table, row)), ""), *row[place:]] for row in table.rows]
        made.append(Table(table.caption, head, rows))
    return made


def _key(table: Table, row: Sequence[str]) -> list[str]:
    return [str(cell) for cell in row[: list(table.head).index(_SECONDS)]]


def _cell(table: Table, row: Sequence[str]) -> str:
    return row[list(table.head).index(_SECONDS)]
