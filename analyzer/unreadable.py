"""The row of an input that gave no accesses, so that one bad file never stops the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.capture import Problem
from analyzer.results import CaptureResult

if TYPE_CHECKING:
    from analyzer.errors import AritraceError


def row(path: str, error: AritraceError) -> CaptureResult:
    """Return the result of a capture that could not be judged: verdict ``unreadable`` and the reason.

    Where another file is at fault (a piece, a sidecar, what an option names), the message begins with it.
    """
    message = f"{error.message}; {error.advice}" if error.advice else error.message
    if error.path not in (None, path):
        message = f"{error.place}: {message}"
    return CaptureResult(
        path=path,
        files=[],
        format=None,
        host=None,
        accesses=0,
        truncated=False,
        dropped=0,
        verdict="unreadable",
        errors=[Problem(error.kind, error.path or path, error.offset, message)],
        weight="doubt",
    )
