"""Progress of long work on standard error, only on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from analyzer.escaping import inert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: Called with the number of captures done, how many there are in all, and the path now worked on.
    Progress = Callable[[int, int, str], None]

#: A bar for a single small capture would only flicker.
_FEWEST = 3


@contextmanager
def reporting(captures: int, *, quiet: bool = False) -> Iterator[Progress | None]:
    """Give a function that shows progress, or None where standard error is not a terminal.

    Args:
        captures: how many captures there are to work on.
        quiet: show nothing.
    """
    if quiet or captures < _FEWEST or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("analysing", total=captures)

        def show(done: int, total: int, path: str) -> None:
            name = inert(path)[-40:]
            bar.update(task, completed=done, total=total, description=name)

        yield show
