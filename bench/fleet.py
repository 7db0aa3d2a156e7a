"""Very many captures: captures a second with one process and with more, and the memory of a long run.

The captures whose speed is measured are of as many different machines. For memory one capture is copied under
names of its own: equal files are different captures to the program.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import earlier
import long_captures
from machine import cores
from measuring import ANALYZE, ROOT, Table, megabytes, run_command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from measuring import Plan, Run

TITLE = "Fleet"
ACCESSES, SMALL = 20_000, 2_000
COUNTS, QUICK_COUNTS = (200, 1_000), (3, 6)
SMALL_COUNTS, QUICK_SMALL_COUNTS = (1_000, 10_000), (4, 8)
MOST = 100_000
_TARGET = 500


def measure(plan: Plan) -> list[Table]:
    """Measure the fleet command, if this version has it."""
    if not exists():
        return [Table("Not measured", ("", ""), [("`analyze fleet run`", "not in this version")])]
    counts = QUICK_COUNTS if plan.quick else COUNTS
    small = [*(QUICK_SMALL_COUNTS if plan.quick else SMALL_COUNTS), *((MOST,) if plan.long else ())]
    return [_speed(plan, counts), _memory(plan, small)]


def _processes() -> list[int]:
    """Return 1, 2, 4, ... as far as there are cores."""
    return [1 << power for power in range(cores().bit_length())]


def exists() -> bool:
    """Return whether ``analyze`` has the sub-command."""
    return (
        subprocess.run([ANALYZE, "fleet", "run", "--help"], check=False, capture_output=True).returncode == 0
    )


def _speed(plan: Plan, counts: tuple[int, ...]) -> Table:
    sys.path.append(str(ROOT / "tests"))  # the simulator
    import many_machines

    rows: list[list[str]] = []
    captures = plan.folder / "captures"
    before: dict[int, float] = {}
    for count in counts:
        if captures.exists():
            shutil.rmtree(captures)
        captures.mkdir()
        many_machines.write(captures, count, ACCESSES)
        if not rows:
            alone, then = (
                [run_command([*program, "--quiet", str(captures)], {0, 1, 3}) for program in programs]
                for programs in ([[ANALYZE]], earlier.commands(plan))
            )
            rows.append(["`analyze DIR`, no fleet", *_figures(count, *alone, then), "", ""])
        for jobs in _processes():
            run = _run(plan, captures, jobs, [ANALYZE])
            then = [_run(plan, captures, jobs, program) for program in earlier.commands(plan)]
            warm = ""
            if jobs in before:
                more = run.seconds - before[jobs]
                warm = f"{(count - counts[0]) / more:,.0f}" if more > 0 else "too few to tell"
            before.setdefault(jobs, run.seconds)
            target = f"≥ {_TARGET} once warm" if count == counts[-1] and jobs == 2 else ""
            rows.append([f"`--jobs {jobs}`", *_figures(count, run, then), warm, target])
    shutil.rmtree(captures)
    head = (
        "",
        "captures",
        "seconds",
        *earlier.heads(plan),
        "captures/s",
        "largest process MB",
        "captures/s once warm",
        "asked for",
    )
    about = f"Native captures of {ACCESSES:,} accesses, each of another machine"
    return Table(f"{about}; warm: what came on top of {counts[0]}", head, rows)


def _figures(count: int, run: Run, then: Sequence[Run]) -> list[str]:
    each = f"{count / run.seconds:,.0f}"
    seconds = [f"{one.seconds:.2f}" for one in (run, *then)]
    return [f"{count:,}", *seconds, each, megabytes(run.peak_bytes)]


def _memory(plan: Plan, counts: list[int]) -> Table:
    rows = []
    captures = plan.folder / "captures"
    for count in counts:
        _copies(captures, plan.folder / "one.bin", SMALL, count)
        run = _run(plan, captures, 2, [ANALYZE])
        then = [_run(plan, captures, 2, program) for program in earlier.commands(plan)]
        rows.append([*_figures(count, run, then), "no growth"])
    shutil.rmtree(captures)
    head = ("captures", "seconds", *earlier.heads(plan), "captures/s", "largest process MB", "asked for")
    return Table(f"Small captures, {SMALL:,} accesses each, two processes", head, rows)


def _run(plan: Plan, captures: Path, jobs: int, program: list[str]) -> Run:
    output = plan.folder / "tables"
    arguments = ["fleet", "run", "--quiet", "--jobs", str(jobs), str(captures), "-o", str(output)]
    run = run_command([*program, *arguments])
    shutil.rmtree(output)
    return run


def _copies(folder: Path, one: Path, accesses: int, count: int) -> None:
    """Make the folder hold exactly so many copies, a thousand in each of its folders."""
    long_captures.native(one, accesses)
    if folder.exists():
        shutil.rmtree(folder)
    for number in range(count):
        part = folder / f"{number // 1000:03}"
        if number % 1000 == 0:
            part.mkdir(parents=True)
        shutil.copyfile(one, part / f"{number:06}.bin")
    one.unlink()
