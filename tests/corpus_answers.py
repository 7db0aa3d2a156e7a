"""Answers about captures of the corpus, each worked out once in a process: for tests that only read them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.analysis import analyze_capture
from analyzer.readers import open_capture

if TYPE_CHECKING:
    from analyzer.capture import Capture
    from analyzer.results import CaptureResult

TRACES = Path(__file__).parents[1] / "traces"


def without_log(name: str) -> Capture:
    """A capture of the corpus whose kernel log was not kept."""
    capture = open_capture(str(TRACES / f"{name}.bin"))
    capture.notes.log.clear()
    return capture


@functools.cache
def answer(name: str, *, log: bool = True) -> CaptureResult:
    """The answer about a capture, without any option, with or without its kernel log."""
    return analyze_capture(open_capture(str(TRACES / f"{name}.bin")) if log else without_log(name))
