"""Intervals of rates, from scipy."""

from __future__ import annotations

import functools

from analyzer.errors import UsageError
from analyzer.fleet.answers import CONFIDENCE, AriCounts, Rate


@functools.lru_cache(maxsize=65536)
def rate(events: int, trials: int) -> Rate:
    """Return ``events / trials`` with its exact binomial interval.

    Raises:
        UsageError: scipy is not installed.
    """
    if not trials:
        return Rate(events, trials, None, None, None)
    try:
        from scipy.stats import binomtest  # type: ignore[import-untyped]  # scipy ships no types
    except ImportError as error:
        raise UsageError("rates need the package scipy", advice="pip install 'aritrace[fleet]'") from error
    bounds = binomtest(events, trials).proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return Rate(events, trials, events / trials, float(bounds.low), float(bounds.high))


def tally(lost: int, healed: int, kept: int, undetermined: int, hosts: int) -> AriCounts:
    """Return the counts with their rates."""
    decided = lost + healed + kept
    return AriCounts(
        lost, healed, kept, undetermined, hosts, rate(lost, decided), rate(lost + healed, decided)
    )
