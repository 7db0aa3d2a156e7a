"""The main job: captures in, verdicts out. Every step is a call into one package."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.capture import Capture, joining
from analyzer.distinct_questions import ASKED
from analyzer.errors import AritraceError
from analyzer.observed import junctions
from analyzer.options import Options
from analyzer.readers.small_files import of_option
from analyzer.results import Analysis, CaptureResult
from analyzer.verdicts import verdict
from analyzer.verdicts.captures import INDEXED_ROWS, REPLAYED_ROWS, Study, batches, studies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Study", "analyze", "analyze_batch", "analyze_capture", "open_pieces", "study"]


def analyze(
    paths: Sequence[str],
    options: Options | None = None,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    studied: Callable[[Capture, Study], None] | None = None,
) -> Analysis:
    """Analyse captures given by path (``-`` is standard input).

    Args:
        paths: one capture each; with ``options.join`` the consecutive pieces of one.
        options: see :class:`analyzer.options.Options`.
        progress: called before each capture: how many are done, of how many, and which comes.
        studied: called with each capture and its working, which is discarded afterwards: what a report needs
            beyond the results is to be taken here.

    Returns:
        a result per capture in the given order, and per guest where a recording is of several; one that
        cannot be read is a row with verdict ``unreadable``.

    Raises:
        UsageError: an option cannot be meant as written, or there is only one piece to join.
    """
    from analyzer.readers import each_machine

    chosen = options or Options()
    if chosen.join:
        joining.refuse_single(paths)
    groups = [list(paths)] if chosen.join and paths else [[path] for path in paths]
    ASKED.clear()
    waiting = _Waiting(chosen, studied)
    for done, group in enumerate(groups):
        if progress is not None:
            progress(done, len(groups), group[0])

        def opened(options: Options, group: Sequence[str] = group) -> None:
            waiting.add(open_pieces(group, options), options)

        try:
            if len(group) == 1:
                each_machine(group[0], chosen, opened)
            else:
                opened(chosen)
        except AritraceError as error:
            if error.kind == "usage":
                raise
            waiting.add(verdict.unreadable(joining.path_of(group), error), chosen)
    waiting.flush()
    return Analysis(chosen.policy, waiting.results, verdict.summarise(waiting.results))


class _Waiting:
    """Captures that are opened and wait for others to be analysed with, and the results so far, in order."""

    def __init__(self, options: Options, studied: Callable[[Capture, Study], None] | None) -> None:
        self.results: list[CaptureResult] = []
        self._options, self._studied = options, studied
        self._waiting: list[Capture | CaptureResult] = []
        self._rows = 0

    def add(self, one: Capture | CaptureResult, options: Options) -> None:
        """Add a capture, or the result of one that cannot be read; analyse what waits, if it is enough."""
        rows = one.accesses.height if isinstance(one, Capture) else 0
        if self._rows + rows > INDEXED_ROWS or options != self._options:
            self.flush()
        self._options = options
        self._waiting.append(one)
        self._rows += rows

    def flush(self) -> None:
        """Analyse what waits."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        captures = [one for one in waiting if isinstance(one, Capture)]
        found = iter(_studied(captures, self._options))
        for one in waiting:
            if isinstance(one, CaptureResult):
                self.results.append(one)
                continue
            made = next(found)
            if isinstance(made, AritraceError):
                self.results.append(verdict.unreadable(one.path, made))
                continue
            if self._studied is not None:
                self._studied(one, made)
            self.results.append(made.result)


def _studied(captures: Sequence[Capture], options: Options) -> list[Study | AritraceError]:
    """Analyse captures together; where one cannot be, each alone."""
    try:
        return list(studies(captures, options))
    except AritraceError as error:
        if error.kind == "usage":
            raise
        if len(captures) == 1:
            return [error]
    return [one for capture in captures for one in _studied([capture], options)]


def open_pieces(paths: Sequence[str], options: Options | None = None, *, thin: bool = True) -> Capture:
    """Open one capture, or several that are consecutive pieces of one, with the snapshot that seeds it.

    Args:
        paths: in order.
        options: see :class:`analyzer.options.Options`.
        thin: as of :func:`analyzer.readers.open_capture`.

    Raises:
        AritraceError: one of them cannot be read.
    """
    from analyzer.readers import open_capture

    chosen = options or Options()
    snapshot = None
    if chosen.seed is not None:
        by_content = replace(chosen, input_format=None, bdf=None)  # those are of the captures
        snapshot = of_option(
            chosen, "--seed", chosen.seed, lambda path: open_capture(path, by_content, thin=thin)
        )
    reading = replace(chosen, join=True) if len(paths) > 1 else chosen
    pieces: list[Capture] = []
    first = 0 if snapshot is None else snapshot.recorded
    for number, path in enumerate(paths, start=1):
        try:
            pieces.append(open_capture(path, reading, thin=thin, first=first))
        except AritraceError as error:
            raise joining.of_piece(error, number, paths) from None
        first += pieces[-1].recorded
    capture = pieces[0] if len(pieces) == 1 else junctions.join(pieces)
    return capture if snapshot is None else joining.seed(snapshot, capture)


def analyze_capture(capture: Capture, options: Options | None = None) -> CaptureResult:
    """Analyse one capture that is already in memory."""
    return study(capture, options).result


def analyze_batch(
    captures: Sequence[Capture],
    options: Options | None = None,
    *,
    studied: Callable[[Study], None] | None = None,
) -> list[CaptureResult]:
    """Analyse captures together: the same results as one by one, for less.

    Args:
        captures: open ones.
        options: see :class:`analyzer.options.Options`.
        studied: called with the working of each capture, in order, which is discarded afterwards.

    Raises:
        LimitExceededError: one of them has more than :data:`analyzer.observed.boots.MAX_BOOTS` boots.
    """
    chosen = options or Options()
    results = []
    for batch in batches(captures, REPLAYED_ROWS):
        for one in studies(batch, chosen):
            if studied is not None:
                studied(one)
            results.append(one.result)
    return results


def study(capture: Capture, options: Options | None = None) -> Study:
    """Analyse one capture and keep the working."""
    (only,) = studies([capture], options or Options())
    return only
