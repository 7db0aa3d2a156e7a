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
``analyze collect``           :func:`collect`
``analyze convert``           :func:`convert`
``analyze stat``              :func:`stat`
``analyze tables``            :func:`tables`: every stage of an analysis as a polars table
``analyze rule``              :func:`rule`, :data:`RULES`
``analyze dump``, ``log``     :func:`dump`, :func:`log`
``analyze corpus``            module :mod:`analyzer.questions.corpus`
``analyze fleet``             module :mod:`analyzer.fleet`
``--format csv|parquet``      module :mod:`analyzer.results.frames`: results as polars tables
============================  ======================================================================

:class:`Options` are the options of the command line. Every expected error is an :class:`AritraceError`.
Everything that :data:`__all__` names is kept stable; docs/library.md shows how to use it. Names are loaded
when first used, so that importing the package (and showing the program's help) stays cheap.
"""

from __future__ import annotations

from importlib import import_module

# What type checkers read as typing.TYPE_CHECKING; importing typing is most of what the package would cost.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from analyzer import fleet
    from analyzer.analysis import analyze, analyze_capture
    from analyzer.capture import Capture
    from analyzer.converting.collection import collect
    from analyzer.converting.conversion import convert
    from analyzer.errors import AritraceError
    from analyzer.options import Options
    from analyzer.questions import corpus
    from analyzer.questions.atrisk import AtRisk, atrisk
    from analyzer.questions.dump import dump
    from analyzer.questions.dump import kept_log as log
    from analyzer.questions.explain.explanation import Explanation
    from analyzer.questions.explain.function import explain
    from analyzer.questions.snapshot import Snapshot
    from analyzer.questions.snapshot import take as snapshot
    from analyzer.questions.statistics import CaptureStatistics, stat
    from analyzer.questions.tables.stages import tables
    from analyzer.readers import open_capture
    from analyzer.results import Analysis, frames
    from analyzer.results.rules import RULES, Rule, rule

#: Name -> module, and the name in it (empty: the module itself).
_HOMES = {
    "Analysis": ("analyzer.results", "Analysis"),
    "AritraceError": ("analyzer.errors", "AritraceError"),
    "AtRisk": ("analyzer.questions.atrisk", "AtRisk"),
    "Capture": ("analyzer.capture", "Capture"),
    "CaptureStatistics": ("analyzer.questions.statistics", "CaptureStatistics"),
    "Explanation": ("analyzer.questions.explain.explanation", "Explanation"),
    "Options": ("analyzer.options", "Options"),
    "RULES": ("analyzer.results.rules", "RULES"),
    "Rule": ("analyzer.results.rules", "Rule"),
    "Snapshot": ("analyzer.questions.snapshot", "Snapshot"),
    "analyze": ("analyzer.analysis", "analyze"),
    "analyze_capture": ("analyzer.analysis", "analyze_capture"),
    "atrisk": ("analyzer.questions.atrisk", "atrisk"),
    "collect": ("analyzer.converting.collection", "collect"),
    "convert": ("analyzer.converting.conversion", "convert"),
    "corpus": ("analyzer.questions.corpus", ""),
    "dump": ("analyzer.questions.dump", "dump"),
    "explain": ("analyzer.questions.explain.function", "explain"),
    "fleet": ("analyzer.fleet", ""),
    "frames": ("analyzer.results.frames", ""),
    "log": ("analyzer.questions.dump", "kept_log"),
    "open_capture": ("analyzer.readers", "open_capture"),
    "rule": ("analyzer.results.rules", "rule"),
    "snapshot": ("analyzer.questions.snapshot", "take"),
    "stat": ("analyzer.questions.statistics", "stat"),
    "tables": ("analyzer.questions.tables.stages", "tables"),
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
    "collect",
    "convert",
    "corpus",
    "dump",
    "explain",
    "fleet",
    "frames",
    "log",
    "open_capture",
    "rule",
    "snapshot",
    "stat",
    "tables",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analyzer' has no attribute {name!r}")
    home, inside = _HOMES[name]
    module = import_module(home)
    return getattr(module, inside) if inside else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
