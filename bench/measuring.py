"""What the sections of the benchmark share: the plan of a run, clocks, children with their memory, tables."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).parent.parent
TRACES = ROOT / "traces"
#: The program of the environment that runs the benchmark, as a user starts it.
ANALYZE = str(Path(sys.executable).parent / "analyze")
_LAUNCHER = Path(__file__).parent / "one_command.py"
MISSING = "not installed"


@dataclass(frozen=True)
class Plan:
    """What a run was asked for.

    Attributes:
        folder: where inputs are made.
        quick: small inputs, each measured once: shows that everything works, its figures say nothing.
        long: also what takes many minutes and tens of gigabytes.
        profile: also measure where the time goes.
        against: an earlier commit that is measured beside this version.
    """

    folder: Path
    quick: bool = False
    long: bool = False
    profile: bool = False
    against: str | None = None

    @property
    def runs(self) -> int:
        """How often each contender runs; the median counts."""
        return 1 if self.quick else 5

    def size(self, usual: int, quick: int) -> int:
        """Return the size of an input."""
        return quick if self.quick else usual


@dataclass(frozen=True)
class Table:
    """A caption, a head and rows of text (markdown)."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table with its caption as paragraphs of markdown."""
        lines = ["| " + " | ".join(row) + " |" for row in (self.head, *self.rows)]
        lines.insert(1, "|" + "---|" * len(self.head))
        return "\n".join([f"{self.caption}:", "", *lines])


@dataclass(frozen=True)
class Contender:
    """Somebody who does the work.

    Attributes:
        name: as the table shows it (markdown).
        job: does it once; returns how many things (accesses, records, ...) it got through. None: the program
            is not installed.
        target: things a second that were asked for.
        sample: gets through a part of the input only, once.
    """

    name: str
    job: Callable[[], int] | None
    target: float | None = None
    sample: bool = False


@dataclass
class _Score:
    seconds: list[float] = field(default_factory=list)
    count: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        return self.count / self.median


def compare(plan: Plan, caption: str, things: str, contenders: Sequence[Contender]) -> Table:
    """Let contenders work on the same input, in turns, and make a table of them; the first one is ours.

    Raises:
        RuntimeError: two that got through everything counted differently, so they did not do the same work.
    """
    scores = {contender.name: _Score() for contender in contenders}
    for turn in range(plan.runs):
        for contender in contenders:
            if contender.job is None or (contender.sample and turn):
                continue
            score = scores[contender.name]
            start = time.perf_counter()
            score.count = contender.job()
            score.seconds.append(time.perf_counter() - start)
    whole = {c.name: scores[c.name].count for c in contenders if c.job is not None and not c.sample}
    if len(set(whole.values())) > 1:
        raise RuntimeError(f"expected the same number of {things} from all, found {whole}")
    first = scores[contenders[0].name]
    rows = [_row(contender, scores[contender.name], first) for contender in contenders]
    head = ("", things, "seconds", f"{things}/s", "the first is faster by", "asked for")
    return Table(f"{caption}; median of {plan.runs}", head, rows)


def _row(contender: Contender, score: _Score, first: _Score) -> list[str]:
    target = asked(contender.target)
    if contender.job is None:
        return [contender.name, MISSING, "", "", "", target]
    ratio = "" if score is first or not first.seconds else times(first.rate / score.rate)
    return [contender.name, f"{score.count:,}", f"{score.median:.3f}", rate(score.rate), ratio, target]


@dataclass(frozen=True)
class Run:
    """One command from start to end: wall time, and the largest resident memory of any of its processes."""

    seconds: float
    peak_bytes: int


def run_command(command: Sequence[str], expected: Iterable[int] = (0,)) -> Run:
    """Run a command alone, without output.

    A small process in between starts it, because Linux counts what the parent holds to a child's peak memory.

    Raises:
        RuntimeError: it ended with another status than ``expected``.
    """
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), *command]
    told = json.loads(subprocess.run(launcher, check=True, capture_output=True, text=True).stdout)
    if told["status"] not in expected:
        raise RuntimeError(f"{command}: expected status {expected}, found {told['status']}:\n{told['said']}")
    return Run(told["seconds"], told["peak_bytes"])


def median_run(plan: Plan, command: Sequence[str], expected: Iterable[int] = (0,)) -> Run:
    """Run a command several times, once more to warm up; take the median of each figure."""
    runs = [run_command(command, expected) for _ in range(plan.runs + 1)][1:]
    return Run(statistics.median(r.seconds for r in runs), int(statistics.median(r.peak_bytes for r in runs)))


def rate(value: float) -> str:
    """Return a rate with three significant digits."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}" if value < 1e3 * unit else f"{value / unit:,.0f}{name}"
    return f"{value:.3g}"


def asked(target: float | None) -> str:
    """Return a rate that was asked for."""
    return "" if target is None else f"≥ {rate(target)}"


def times(ratio: float) -> str:
    """Return a ratio."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"


def megabytes(size: int) -> str:
    """Return a size in MB of 10^6 bytes."""
    return f"{size / 1e6:,.1f}" if size < 1e8 else f"{size / 1e6:,.0f}"
