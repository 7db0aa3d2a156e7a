"""The replay as tables against an earlier commit (``--against``): a fleet, one capture, memory, code.

Both versions are run by the Python that runs this, in turns. The captures are of as many
different machines.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

import earlier
import stages
from measuring import ANALYZE, ROOT, Run, Table, megabytes, run_command, times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from measuring import Plan

TITLE = "The replay as tables"
ACCESSES = 20_000
COUNTS, QUICK_COUNTS = (200, 1_000), (2, 4)
#: Captures that are asked how many of their questions are distinct.
_ASKED = 100
_PACKAGES = ("observed", "preservation", "replay", "verdicts")


@dataclass(frozen=True)
class _Figures:
    """What is measured of one version."""

    fleet: float
    worker_bytes: int
    one: float
    lines: int


def measure(plan: Plan) -> list[Table]:
    """Measure this version, and that of ``--against`` if there is one."""
    sys.path.append(str(ROOT / "tests"))  # the simulator
    import many_machines

    counts = QUICK_COUNTS if plan.quick else COUNTS
    captures = plan.folder / "machines"
    captures.mkdir()
    many_machines.write(captures, counts[1], ACCESSES)
    some = plan.folder / "some"
    some.mkdir()
    paths = sorted(captures.iterdir())
    for path in paths[: counts[0]]:
        (some / path.name).hardlink_to(path)
    versions = {"now": (ROOT, [ANALYZE])}
    if plan.against is not None:
        (program,) = earlier.commands(plan)
        versions = {plan.against: (earlier.tree(plan), program), **versions}
    runs: dict[str, list[_Figures]] = {name: [] for name in versions}
    for _ in range(1 if plan.quick else 3):
        for name, version in versions.items():
            runs[name].append(_figures(*version, (some, captures), counts, plan.folder / "out"))
    found = {name: _median(several) for name, several in runs.items()}
    tables = [_table(found, plan), _questions(paths[:_ASKED])]
    if plan.profile:
        tables.append(_stages(paths[:_ASKED]))
    return tables


def _figures(
    tree: Path, program: list[str], folders: tuple[Path, Path], counts: tuple[int, int], out: Path
) -> _Figures:
    def run(*arguments: str) -> Run:
        return run_command([*program, *arguments], {0, 1, 3})

    few, many = (
        run("fleet", "run", "--quiet", "--jobs", "2", str(folder), "-o", f"{out}-{number}")
        for number, folder in enumerate(folders)
    )
    for number in range(2):
        subprocess.run(["rm", "-r", f"{out}-{number}"], check=True)
    alone = [run(str(min(folders[0].iterdir()))).seconds for _ in range(5)]
    rate = (counts[1] - counts[0]) / max(many.seconds - few.seconds, 1e-9)
    return _Figures(rate, many.peak_bytes, statistics.median(alone), sum(_lines(tree)))


def _lines(tree: Path) -> Iterator[int]:
    """Lines of each module from ``observed`` to ``verdicts`` that hold code: no comment, no documentation."""
    for package in _PACKAGES:
        for path in (tree / "analyzer" / package).rglob("*.py"):
            tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
            code: set[int] = set()
            begins = True
            for kind, _, (first, _), (last, _), _ in tokens:
                if kind in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
                    begins = True
                elif kind not in (tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER):
                    if not (kind == tokenize.STRING and begins):  # else documentation
                        code.update(range(first, last + 1))
                    begins = False
            yield len(code)


def _median(several: list[_Figures]) -> _Figures:
    def of(name: str) -> float:
        return statistics.median(getattr(one, name) for one in several)

    return _Figures(of("fleet"), int(of("worker_bytes")), of("one"), int(of("lines")))


def _table(found: dict[str, _Figures], plan: Plan) -> Table:
    now = found["now"]
    before = next((one for name, one in found.items() if name != "now"), None)

    def row(what: str, name: str, form: str, asked: str, *, more_is_better: bool) -> tuple[str, ...]:
        def shown(one: _Figures | None) -> str:
            if one is None:
                return ""
            value = getattr(one, name)
            return megabytes(value) if form == "MB" else format(value, form)

        ratio = ""
        if before is not None:
            quotient = getattr(now, name) / getattr(before, name)
            ratio = times(quotient if more_is_better else 1 / quotient)
        return what, shown(before), shown(now), ratio, asked

    few, many = QUICK_COUNTS if plan.quick else COUNTS
    rows = [
        row(
            "captures/s of `fleet run --jobs 2`, once warm",
            "fleet",
            ",.0f",
            "≥ 500, and 2 times",
            more_is_better=True,
        ),
        row("its largest process, MB", "worker_bytes", "MB", "≤ 400", more_is_better=False),
        row("`analyze CAPTURE`, seconds", "one", ".3f", "≤ 0.5, and at most 0.06 more", more_is_better=False),
        row("lines of code from `observed` to `verdicts`", "lines", ",.0f", "not more", more_is_better=False),
    ]
    caption = (
        f"{many:,} captures of {ACCESSES:,} accesses, each of another machine"
        f" (warm: what came on top of {few}); median of 3 turns"
    )
    return Table(caption, ("", plan.against or "", "now", "better by", "asked for"), rows)


def _stages(paths: list[Path]) -> Table:
    """Which stages the analysis of so many captures spends its time in, as a worker of a fleet does it."""
    from analyzer.fleet.analysis import analyze_many, open_one
    from analyzer.options import Options

    def work() -> None:
        analyze_many([open_one(str(path), Options()) for path in paths], Options())

    return stages.where_the_time_goes(f"{len(paths)} captures opened and analysed together", work)


def _questions(paths: list[Path]) -> Table:
    """How many of the questions of so many captures to each rule are distinct."""
    from analyzer.analysis import analyze_batch
    from analyzer.distinct_questions import ASKED
    from analyzer.readers import open_capture

    ASKED.clear()
    analyze_batch([open_capture(str(path)) for path in paths])
    rows = [
        (f"`{rule}`", f"{distinct:,}", f"{every:,}", f"{distinct / every:.0%}")
        for rule, (distinct, every) in sorted(ASKED.items())
    ]
    caption = f"Questions to the rules, of {len(paths)} captures of as many different machines"
    return Table(caption, ("rule", "distinct", "asked", "share"), rows)
