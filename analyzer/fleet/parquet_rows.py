"""The rows of a Parquet file that somebody else made, read in a process of its own.

A few KiB of Parquet can become any number of bytes, and no reader says how many before it has them.
The kernel bounds the memory, time and output of that process.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

#: What the process may use: bytes of memory and of output, seconds of processor time.
MEMORY_LIMIT: Final = 1 << 30
_OUTPUT_LIMIT: Final = 1 << 30
_SECONDS: Final = 600
_SLICE: Final = 50_000
_START: Final = "import sys; from analyzer.fleet.parquet_rows import main; main(*map(int, sys.argv[1:]))"


def rows(content: bytes, path: str, most: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: column -> text, number, truth value, list of texts, or None.

    Args:
        content: of the file.
        path: its name, for errors.
        most: rows that it may have.

    Raises:
        UsageError: it cannot be read within the limits, has other columns, or too many rows.
    """
    environment = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "POLARS_MAX_THREADS": "1",
    }
    with tempfile.TemporaryFile() as output:
        child = subprocess.run(  # noqa: S603 this interpreter, with numbers as arguments
            [sys.executable, "-P", "-c", _START, str(most), str(MEMORY_LIMIT)],
            input=content,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
        if child.returncode:
            raise UsageError(
                f"this Parquet file cannot be read with {MEMORY_LIMIT >> 20} MiB of memory", path=path
            )
        output.seek(0)
        for line in output:
            found = json.loads(line)
            if isinstance(found, str):
                raise UsageError(found, path=path)
            yield found


def main(most: int, memory: int) -> None:
    """Write the rows of standard input to standard output, a line of JSON each; a text is an error."""
    import polars as pl

    _bound(memory)
    content = sys.stdin.buffer.read()
    try:
        for row in _rows(pl.scan_parquet(io.BytesIO(content), glob=False), most):
            sys.stdout.write(json.dumps(row, default=str) + "\n")
    except UsageError as error:
        sys.stdout.write(json.dumps(error.message) + "\n")
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        sys.stdout.write(json.dumps(f"this Parquet file cannot be read: {reason}") + "\n")


def _bound(memory: int) -> None:
    import resource

    from analyzer.fleet.worker import bound_memory

    bound_memory(memory)
    for kind, limit in ((resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_FSIZE, _OUTPUT_LIMIT)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _rows(scan: pl.LazyFrame, most: int) -> Iterator[dict[str, Any]]:
    import polars as pl

    wrong = next((name for name, dtype in scan.collect_schema().items() if not _simple(dtype)), None)
    if wrong is not None:
        raise UsageError(
            "expected texts, numbers, truth values, times or lists of texts in each column, found"
            f" {scan.collect_schema()[wrong]} in {wrong!r}"
        )
    height = int(scan.select(pl.len()).collect().item())
    if height > most:
        raise UsageError(f"expected at most {most} rows, found {height}")
    for start in range(0, height, _SLICE):
        yield from scan.slice(start, _SLICE).collect().iter_rows(named=True)


def _simple(dtype: pl.DataType) -> bool:
    import polars as pl

    if isinstance(dtype, pl.List):
        return dtype.inner == pl.String
    return dtype in (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Null) or dtype.is_integer()
