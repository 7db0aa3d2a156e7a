"""aritrace as a library: the verbs of the command line, on polars frames and plain objects.

    >>> import analyzer
    >>> result = analyzer.analyze(["traces/lost-explicit-write.bin"])
    >>> [bridge.verdict for bridge in result.captures[0].kexecs[0].bridges if bridge.cause]
    ['lost']

Names are loaded when first used, so that importing the package (and showing the program's help) stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyzer.analysis import analyze, analyze_capture
    from analyzer.capture import Capture
    from analyzer.errors import AritraceError
    from analyzer.explanations.explain import explain
    from analyzer.options import Options
    from analyzer.readers import open_capture
    from analyzer.results import Analysis

_HOMES = {
    "Analysis": "analyzer.results",
    "AritraceError": "analyzer.errors",
    "Capture": "analyzer.capture",
    "Options": "analyzer.options",
    "analyze": "analyzer.analysis",
    "analyze_capture": "analyzer.analysis",
    "explain": "analyzer.explanations.explain",
    "open_capture": "analyzer.readers",
}

__all__ = [
    "Analysis",
    "AritraceError",
    "Capture",
    "Options",
    "analyze",
    "analyze_capture",
    "explain",
    "open_capture",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'analyzer' has no attribute {name!r}")
