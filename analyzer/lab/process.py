"""A child process that never outlives us, whatever ends us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from analyzer.lab.failure import LabRunError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


@asynccontextmanager
async def running(
    command: Sequence[str], *, folder: Path, errors: Path, inherit: tuple[int, ...] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in a process group of its own for as long as the block lasts.

    However the block is left (its end, an error, Ctrl-C, SIGTERM), the whole group is killed and waited for.
    Where ``setpriv`` exists, the kernel kills the program too if we are killed without a chance to.

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
        # The group too, not only the leader: whatever it started is ours as well.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
