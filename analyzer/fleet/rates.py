"""Rates with their exact intervals."""

from __future__ import annotations

import functools

from analyzer.fleet.answers import CONFIDENCE, Rate


@functools.lru_cache(maxsize=65536)
def rate(events: int, trials: int) -> Rate:
    """Return ``events / trials`` with its exact binomial interval, if scipy is installed."""
    if not trials:
        return Rate(events, trials, None, None, None)
    try:
        from scipy.stats import binomtest  # type: ignore[import-untyped]  # scipy ships no types
    except ImportError:
        return Rate(events, trials, events / trials, None, None)
    bounds = binomtest(events, trials).proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return Rate(events, trials, events / trials, float(bounds.low), float(bounds.high))
