"""Programs that the lab runs: those that end by themselves, and those that must not outlive this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from analyzer.errors import AritraceError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


class MissingPartsError(UsageError):
    """Programs or Debian packages that the lab needs are missing; the message names all of them."""


class LabRunError(AritraceError):
    """The virtual machine did not do what the scenario says (hung, died, a step failed, a fault missed)."""

    kind = "lab"


def output_of(
    command: Sequence[str],
    *,
    seconds: float = 120,
    folder: str | Path | None = None,
    given: bytes = b"",
    output: int = subprocess.PIPE,
    may_fail: bool = False,
    failure: type[AritraceError] = MissingPartsError,
    advice: str = "",
) -> str:
    """Run a program to its end and return what it prints.

    Args:
        command: program and arguments.
        seconds: it is killed after this time.
        folder: its working directory.
        given: its standard input.
        output: file descriptor that gets its standard output instead.
        may_fail: return the output whatever its exit status.
        failure: what is raised if it fails.
        advice: for that error.

    Raises:
        AritraceError: it cannot be started, takes too long or fails; with the last line that it printed.
    """
    try:
        done = subprocess.run(  # noqa: S603 fixed programs and parts of the lab, no shell
            command,
            cwd=folder,
            input=given,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise failure(f"cannot run {command[0]}: {error}", advice=advice) from error
    printed = (done.stdout or b"").decode(errors="replace")
    if done.returncode and not may_fail:
        said = done.stderr.decode(errors="replace").strip() or printed.strip() or "no message"
        raise failure(f"{' '.join(command)} failed: {said.splitlines()[-1]}", advice=advice)
    return printed


@asynccontextmanager
async def running(
    command: Sequence[str], *, folder: Path, errors: Path, inherit: tuple[int, ...] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in a process group of its own for as long as the block lasts.

    However the block is left (its end, an error, SIGINT, SIGTERM), the whole group is killed and waited for.
    Where ``setpriv`` exists, the kernel kills the program too if this process is killed.

    Args:
        command: program and arguments.
        folder: its working directory.
        errors: file for what it prints.
        inherit: file descriptors that it gets, under the same numbers.

    Raises:
        LabRunError: it cannot be started.
    """
    guard = shutil.which("setpriv")
    words = [guard, "--pdeathsig", "KILL", "--", *command] if guard else list(command)
    with errors.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherit,
            )
        except OSError as error:
            raise LabRunError(f"cannot start {command[0]}: {error.strerror}") from error
    try:
        yield process
    finally:
        # The group, not only its leader: the program may have started others.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
