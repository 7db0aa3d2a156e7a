"""The command line: arguments in, library calls, exit status out. ``main`` is the ``analyze`` script."""

from __future__ import annotations

# What type checkers read as typing.TYPE_CHECKING; importing typing is much of what one file costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["main"]

#: Objects between two runs of the garbage collector: more than the imports of one command make.
_GC_THRESHOLD = 200_000


def main() -> NoReturn:
    """Run the program; imported late, so that ``analyzer.cli.exit_status`` alone costs nothing."""
    from analyzer.cli import signals

    signals.let_go()
    _spare_the_collector()
    from analyzer.cli.application import main as run_program

    run_program()


def _spare_the_collector() -> None:
    """Keep the garbage collector away from what lives as long as the process: modules and their classes.

    With its defaults it visits them dozens of times while they are imported and once more at the end, which
    takes a quarter of the time of a short command (bench/run.py startup).
    """
    import atexit
    import gc

    gc.set_threshold(_GC_THRESHOLD, 20, 20)
    atexit.register(gc.freeze)
