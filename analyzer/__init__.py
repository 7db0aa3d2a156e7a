"""aritrace as a library: the verbs of the command line, on plain objects and polars frames.

    >>> import analyzer
    >>> result = analyzer.analyze(["traces/lost-explicit-write.bin"])
    >>> [bridge.verdict for bridge in result.captures[0].kexecs[0].bridges if bridge.cause]
    ['lost']

============================  ======================================================================
``analyze CAPTURE...``        :func:`analyze`; :func:`analyze_capture` for one that is in memory
``analyze explain``           :func:`explain`
``analyze atrisk``            :func:`atrisk`
``analyze snapshot``          :func:`snapshot`
``analyze convert``           :func:`convert`
``analyze stat``              :func:`stat`
``analyze rule``              :func:`rule`, :data:`RULES`
``analyze corpus``            module :mod:`analyzer.corpus`
``analyze fleet``             module :mod:`analyzer.fleet`
``--format csv|parquet``      module :mod:`analyzer.frames`: results as polars tables
============================  ======================================================================

:class:`Options` are the options of the command line. What goes wrong is an :class:`AritraceError`. Everything
that :data:`__all__` names is kept stable; docs/library.md shows it at work. Names are loaded when first used,
so that importing the package (and showing the program's help) stays cheap.
"""

from __future__ import annotations

from importlib import import_module

# What type checkers read as typing.TYPE_CHECKING; importing typing is most of what the package would cost.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from analyzer import corpus, fleet, frames
    from analyzer.analysis import analyze, analyze_capture
    from analyzer.at_risk import AtRisk
    from analyzer.at_risk import at_risk as atrisk
    from analyzer.capture import Capture
    from analyzer.capture_statistics import CaptureStatistics, stat
    from analyzer.converting.conversion import convert
    from analyzer.errors import AritraceError
    from analyzer.explanations.explain import explain
    from analyzer.explanations.explanation import Explanation
    from analyzer.options import Options
    from analyzer.readers import open_capture
    from analyzer.results import Analysis
    from analyzer.snapshots import Snapshot
    from analyzer.snapshots import take as snapshot
    from analyzer.verdicts.rules import RULES, Rule, rule

#: Name -> module, and the name in it (empty: the module itself).
_HOMES = {
    "Analysis": ("analyzer.results", "Analysis"),
    "AritraceError": ("analyzer.errors", "AritraceError"),
    "AtRisk": ("analyzer.at_risk", "AtRisk"),
    "Capture": ("analyzer.capture", "Capture"),
    "CaptureStatistics": ("analyzer.capture_statistics", "CaptureStatistics"),
    "Explanation": ("analyzer.explanations.explanation", "Explanation"),
    "Options": ("analyzer.options", "Options"),
    "RULES": ("analyzer.verdicts.rules", "RULES"),
    "Rule": ("analyzer.verdicts.rules", "Rule"),
    "Snapshot": ("analyzer.snapshots", "Snapshot"),
    "analyze": ("analyzer.analysis", "analyze"),
    "analyze_capture": ("analyzer.analysis", "analyze_capture"),
    "atrisk": ("analyzer.at_risk", "at_risk"),
    "convert": ("analyzer.converting.conversion", "convert"),
    "corpus": ("analyzer.corpus", ""),
    "explain": ("analyzer.explanations.explain", "explain"),
    "fleet": ("analyzer.fleet", ""),
    "frames": ("analyzer.frames", ""),
    "open_capture": ("analyzer.readers", "open_capture"),
    "rule": ("analyzer.verdicts.rules", "rule"),
    "snapshot": ("analyzer.snapshots", "take"),
    "stat": ("analyzer.capture_statistics", "stat"),
}

__all__ = [
    "RULES",
    "Analysis",
    "AritraceError",
    "AtRisk",
    "Capture",
    "CaptureStatistics",
    "Explanation",
    "Options",
    "Rule",
    "Snapshot",
    "analyze",
    "analyze_capture",
    "atrisk",
    "convert",
    "corpus",
    "explain",
    "fleet",
    "frames",
    "open_capture",
    "rule",
    "snapshot",
    "stat",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analyzer' has no attribute {name!r}")
    home, inside = _HOMES[name]
    module = import_module(home)
    return getattr(module, inside) if inside else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
