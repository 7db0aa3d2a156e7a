"""Processes of Python that import nothing from the current directory.

:mod:`multiprocessing` starts its processes as ``python -c TEXT``, which puts the current directory first on
``sys.path`` until the parent's path has arrived. A ``socket.py`` in an unpacked archive would be run. With
PYTHONSAFEPATH the interpreter leaves the directory out (Python 3.11; docs.python.org, "Command line and
environment").
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from analyzer.errors import AritraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE: Final = "PYTHONSAFEPATH"
#: The environment is the whole process's: one block at a time changes it.
_changing = threading.Lock()


@contextmanager
def safe_path() -> Iterator[None]:
    """Start interpreters in this block: none of them has the current directory on its path.

    Raises:
        AritraceError: this interpreter ignores its environment (``-E``), and so would those that it starts.
    """
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        raise AritraceError(
            "this Python ignores its environment (-E): processes that it starts would import modules from"
            " the current directory",
            advice="start it with -I, or with -E and -P",
        )
    with _changing:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before
