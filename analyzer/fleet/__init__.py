"""Very many captures in one report: list them once, analyse them in batches, aggregate the tables.

    >>> import analyzer.fleet
    >>> analyzer.fleet.run(["traces"], "out")  # doctest: +SKIP
    >>> analyzer.fleet.report("out").kexecs.lost  # doctest: +SKIP

A run starts processes by spawning; a script that calls :func:`run` therefore needs the guard
``if __name__ == "__main__":``, as always with :mod:`multiprocessing`. docs/fleet.md describes it all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyzer.fleet.job import Limits
    from analyzer.fleet.reporting import report
    from analyzer.fleet.running import run

_HOMES = {
    "Limits": "analyzer.fleet.job",
    "report": "analyzer.fleet.reporting",
    "run": "analyzer.fleet.running",
}

__all__ = ["Limits", "report", "run"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'analyzer.fleet' has no attribute {name!r}")
