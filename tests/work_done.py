"""How much work is done, counted and not timed: the same on every machine, idle or busy."""

from __future__ import annotations

import contextlib
import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass
class Work:
    """What a block did.

    Attributes:
        calls: calls of Python and C functions in this thread, and returns from them.
        memory: bytes by which the process grew beyond the most that it ever had.
    """

    calls: int = 0
    memory: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Work]:
    """Count the work of a block; known when it has ended."""
    work = Work()

    def note(*_: object) -> None:
        work.calls += 1

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.setprofile(note)
    try:
        yield work
    finally:
        sys.setprofile(None)
    work.memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * _RSS_UNIT
