"""The command line: arguments in, library calls, exit status out. ``main`` is the ``analyze`` script."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the program; imported late, so that ``analyzer.cli.exit_status`` alone costs nothing."""
    from analyzer.cli.application import main as run_program

    run_program()
