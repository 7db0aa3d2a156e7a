"""Rates with their intervals as drawings: places in percent, so that a drawing fits any width."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.plurals import count
from analyzer.report.fleet_wording import of, percent, with_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from analyzer.fleet.answers import Group, Rate

#: Height of the trend in pixels: of the rates, and of the counts below.
PLOT, COUNTS = 170, 56
#: Share of the width that is kept free at both ends, so that no sign is cut.
_MARGIN = 3.0
_LABELS: Final = 4


@dataclass(frozen=True)
class Scale:
    """An axis of rates from 0 to ``top``; an interval that leaves it ends in an arrow."""

    top: float

    @classmethod
    def of(cls, rates: Iterable[Rate], whole: Rate) -> Scale:
        """Fit all rates and the interval of the whole fleet: one of few trials must not flatten others."""
        known = [one.rate for one in rates if one.rate is not None]
        least = max([1.25 * rate for rate in known] + [whole.high or 0.0], default=0.0)
        if not least:
            return cls(1.0)
        unit = 10.0 ** math.floor(math.log10(least))
        return cls(
            min(
                1.0, next(step * unit for step in (1, 1.5, 2, 3, 4, 6, 8, 10) if step * unit >= least * 0.999)
            )
        )

    @property
    def text(self) -> str:
        """The end of the axis."""
        return f"{percent(self.top).removesuffix('.0')} %"

    def place(self, part: float) -> float:
        """Where a rate is, in percent of the axis."""
        return round(100 * min(part / self.top, 1.0), 2)


@dataclass(frozen=True)
class RateBar:
    """A rate in a row of a table; places in percent of the width.

    Attributes:
        low, high: None without an interval.
        beyond: the interval goes on.
    """

    low: float | None
    at: float
    high: float | None
    beyond: bool
    whole: float | None


def bar(rate: Rate, scale: Scale, whole: Rate | None) -> RateBar | None:
    """Return the drawing of a rate, with a line where the whole fleet's is; None without a trial."""
    if rate.rate is None:
        return None
    return RateBar(
        None if rate.low is None else scale.place(rate.low),
        scale.place(rate.rate),
        None if rate.high is None else scale.place(rate.high),
        (rate.high or 0) > scale.top,
        None if whole is None or whole.rate is None else scale.place(whole.rate),
    )


@dataclass(frozen=True)
class Point:
    """One period: place in percent of the width, heights in pixels from the top of its part.

    Attributes:
        at, low, high: None without a decided kexec.
        decided, lost: tops of the columns below.
        gap: periods without any kexec lie before it.
    """

    x: float
    at: float | None
    low: float | None
    high: float | None
    beyond: bool
    decided: float
    lost: float
    gap: bool
    title: str


@dataclass(frozen=True)
class Trend:
    """The rates over time as a drawing; ``unknown`` are the kexecs without a wall-clock time."""

    points: list[Point]
    links: list[tuple[Point, Point]]
    unknown: Point | None
    labels: list[tuple[float, str, str]]
    width: float
    ticks: list[tuple[float, str]]
    most: int
    whole: float | None
    left_out: int
    summary: str


def trend(groups: Sequence[Group], whole: Rate, periods: Sequence[bool], most: int) -> Trend:
    """Draw the latest periods.

    Args:
        groups: in the order of time; the unknown one last.
        whole: the rate of the fleet.
        periods: for each known group whether it follows directly on the one before.
        most: periods that are drawn.
    """
    known = [group for group in groups if group.value is not None]
    left_out = max(len(known) - most, 0)
    drawn, follows = known[left_out:], list(periods[left_out:])
    unknown = next((group for group in groups if group.value is None), None)
    shown = [*drawn, *([unknown] if unknown else [])]
    scale = Scale.of((group.tally.loss for group in shown), whole)
    highest = max((group.tally.loss.trials for group in shown), default=0)
    step = (100 - 2 * _MARGIN) / max(len(drawn), 1)
    xs = [round(_MARGIN + step * (number + 0.5), 2) for number in range(len(drawn))]
    points = [
        _point(group, x, scale, highest, gap=number > 0 and not follows[number])
        for number, (group, x) in enumerate(zip(drawn, xs, strict=True))
    ]
    return Trend(
        points=points,
        links=[
            (one, other)
            for one, other in itertools.pairwise(points)
            if one.at is not None and other.at is not None and not other.gap
        ],
        unknown=_point(unknown, 50.0, scale, highest, gap=False) if unknown else None,
        labels=_labels(drawn, xs),
        width=round(min(step * 0.7, 6.0), 2),
        ticks=[
            (round(PLOT * (1 - part), 1), f"{percent(scale.top * part).removesuffix('.0')} %")
            for part in (0.0, 0.5, 1.0)
        ],
        most=highest,
        whole=None if whole.rate is None else _height(whole.rate, scale),
        left_out=left_out,
        summary=_summary(drawn, unknown),
    )


def _point(group: Group, x: float, scale: Scale, highest: int, *, gap: bool) -> Point:
    tally, rate = group.tally, group.tally.loss
    name = "unknown time" if group.value is None else group.value
    decided = of(rate) if rate.trials else "no decided kexec"
    title = f"{name}: {decided} lost, {with_interval(rate)}; {count(tally.hosts, 'host')}"
    if tally.undetermined:
        title += f"; {tally.undetermined:,} undetermined"
    known = rate.rate is not None and rate.low is not None and rate.high is not None
    column = COUNTS / highest if highest else 0.0
    return Point(
        x,
        _height(rate.rate, scale) if rate.rate is not None else None,
        _height(rate.low, scale) if rate.low is not None else None,
        _height(rate.high, scale) if rate.high is not None else None,
        known and (rate.high or 0) > scale.top,
        round(column * rate.trials, 1),
        round(column * rate.events, 1),
        gap,
        title,
    )


def _height(part: float, scale: Scale) -> float:
    return round(PLOT * (1 - min(part / scale.top, 1.0)), 1)


def _labels(groups: Sequence[Group], xs: Sequence[float]) -> list[tuple[float, str, str]]:
    """Few names below the axis: the first and last always, at its ends they grow inwards."""
    if not groups:
        return []
    last = len(groups) - 1
    chosen = sorted({round(last * number / (_LABELS - 1)) for number in range(_LABELS)})
    anchors = {0: "start", last: "end"} if last else {}
    return [(xs[at], anchors.get(at, "middle"), groups[at].value or "") for at in chosen]


def _summary(drawn: Sequence[Group], unknown: Group | None) -> str:
    rates = [(group.tally.loss.rate, group.value) for group in drawn if group.tally.loss.rate is not None]
    if not rates:
        return "Loss per kexec over time: no period with a decided kexec"
    worst, when = max(rates, key=lambda pair: pair[0])
    words = f"Loss per kexec over {len(drawn)} periods, {drawn[0].value} to {drawn[-1].value}; highest "
    words += f"{percent(worst)} % in {when}"
    return words + ("; kexecs of unknown time are drawn apart, at the right" if unknown else "")
