"""Small fleets made of the corpus, and the program run on them as its own process."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

TRACES = Path(__file__).parents[1] / "traces"
CLEAN, LOST, RESET, SELECTIVE, STOCK = (
    TRACES / f"{name}.bin"
    for name in (
        "clean-inherit",
        "lost-explicit-write",
        "hidden-after-secondary-bus-reset",
        "lost-selective-in-blackout",
        "healed-by-stock-kernel",
    )
)
_PROGRAM = [sys.executable, "-c", "from analyzer.cli import main; main()"]


class Fleet:
    """A directory of captures, one for the results, and the program between them."""

    def __init__(self, folder: Path) -> None:
        self.captures = folder / "captures"
        self.captures.mkdir()
        self.out = folder / "out"
        # A driver and its worker that are both killed leave a temporary directory behind.
        self.environment = dict(os.environ) | {"TMPDIR": str(folder)}

    def add(self, name: str | bytes, capture: Path | bytes) -> Path:
        """Put a capture, or bytes, under a name."""
        target = Path(os.fsdecode(os.fsencode(self.captures) + b"/" + os.fsencode(name)))
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(capture, bytes):
            target.write_bytes(capture)
        else:
            shutil.copyfile(capture, target)
        return target

    def at_start(self, code: str) -> dict[str, str]:
        """Return the variables with which every Python runs this code when it starts, workers included."""
        folder = self.captures.with_name("at-start")
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths)}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start ``analyze fleet`` and do not wait."""
        return subprocess.Popen(
            [*_PROGRAM, "fleet", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env=self.environment,
            start_new_session=True,
        )

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Run ``analyze fleet`` in this process; exit status, standard output and standard error."""
        from analyzer.cli.application import run

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(["fleet", *map(str, arguments)])
        return status, out.getvalue(), err.getvalue()

    def run(self, *arguments: object, out: Path | None = None) -> None:
        """Run ``analyze fleet run`` over the captures, which must succeed."""
        status, said, err = self("run", self.captures, "-o", out or self.out, "-j", 2, *arguments)
        assert (status, said) == (0, ""), err

    def rows(self, table: str, out: Path | None = None) -> list[dict]:
        """All rows of a table, by capture and kexec, as DuckDB reads them."""
        import duckdb

        files = f"{out or self.out}/{table}/**/*.parquet"
        relation = duckdb.sql(f"SELECT * FROM read_parquet('{files}', hive_partitioning = true)")  # noqa: S608
        rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
        return sorted(rows, key=lambda row: (row["capture"], row.get("kexec", 0), row.get("bdf", "")))

    def outcomes(self, out: Path | None = None) -> dict[str, str]:
        """Outcome of each capture by its name."""
        return {Path(row["path"]).name: row["outcome"] for row in self.rows("captures", out)}


def tree(directory: Path) -> dict[str, bytes]:
    """Every result file with its content; locks are no results."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }
