"""Run one step of a build: bounded in time, at low priority, with its output in a log."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LAST_LINES = 15


class BuildError(UsageError):
    """A step of a lab build that failed; exit status 2, as for missing packages."""

    kind = "lab-build"


def run_step(
    what: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    seconds: float,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end and append its output to a log.

    Args:
        what: the step in words, for an error message ("configure QEMU").
        command: the program and its arguments.
        log: the file that gets standard output and standard error.
        seconds: the step and all its children are killed after this time.
        folder: where it runs.
        environment: variables added to this process's own.

    Raises:
        BuildError: the program cannot be started, fails or takes too long; holds the log's last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = ["nice", "-n", "10", *(os.fspath(word) for word in command)]
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(words[3:])}\n".encode(errors="surrogateescape"))
        output.flush()
        try:
            process = subprocess.Popen(  # noqa: S603 - words of our own, never through a shell
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
                start_new_session=True,  # so that a make and its compilers can be ended together
            )
        except OSError as error:
            raise BuildError(f"cannot {what}: {error.strerror or error}", path=words[3]) from error
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise BuildError(
                f"cannot {what}: not done after {seconds:.0f} s; the log ends with:\n{last_lines(log)}",
                path=str(log),
                advice="run the same command again: it resumes",
            ) from error
        finally:
            _end(process)
    if status != 0:
        raise BuildError(
            f"cannot {what}: {words[3]} ended with status {status}; the log ends with:\n{last_lines(log)}",
            path=str(log),
        )


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """Return the end of a log, indented, undecodable bytes and control characters shown as such."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 16384))
        lines = stream.read().decode(errors="backslashreplace").splitlines()[-count:]
    return "\n".join(
        "    " + "".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in lines
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the step's process group if it still runs: after an error, a timeout or an interrupt."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
