"""File permissions hold in tests that root runs, too: some steps are taken as a user who owns nothing."""

from __future__ import annotations

import email.parser  # noqa: F401 for importlib.metadata, see below
import os
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged(folder: Path, *, owned: bool = False) -> Iterator[None]:
    """Let the operating system refuse what it refuses to users; within ``folder``, the working directory.

    Args:
        folder: opened to everybody (pytest makes its folders private to root).
        owned: give the folder itself to that user, who can then write in it.
    """
    if os.geteuid() != 0:
        yield
        return
    # An interpreter in root's home cannot be read any more below: what is imported late comes now.
    metadata.version("aritrace")
    folder.chmod(0o755)
    if owned:
        os.chown(folder, NOBODY, NOBODY)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)  # takes the capabilities that let root pass
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
