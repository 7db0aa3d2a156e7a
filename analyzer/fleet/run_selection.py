"""Which rows of one or more runs a report counts: each capture once, and those of a period.

A capture is in two runs if both have it under the same path with the same content (SHA-256 of all its files)
and, where both know it, for the same host. The same path with another content is another capture: it was
written anew, or is on another machine. Equal contents under two names are two captures, as within one run.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from analyzer.capture.joining import path_of
from analyzer.errors import UsageError
from analyzer.fleet.answers import Untimed
from analyzer.fleet.places import absolute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from analyzer.fleet.answers import ReportedRun
    from analyzer.fleet.job import Job

    Frames = Mapping[str, pl.LazyFrame]

_FIRST_DAY, _LAST_DAY = dt.date(1970, 1, 1), dt.date(2261, 12, 31)
_ANSWERED: Final = ("ok", "truncated")
#: What rows of one report must have in common: they mean something else with another.
_ALIKE: Final = ("policy", "series", "assume_preserved")


@dataclass(frozen=True)
class Period:
    """UTC days from ``since`` to ``until``, both included; None: without a bound."""

    since: dt.date | None
    until: dt.date | None

    @property
    def bounds_ns(self) -> tuple[int | None, int | None]:
        """First moment that is in it, and first moment that is not any more, in ns since 1970."""
        after = None if self.until is None else self.until + dt.timedelta(days=1)
        return _moment(self.since), _moment(after)

    def holds(self, time_ns: pl.Expr) -> pl.Expr:
        """Whether times are in it; an unknown time is not."""
        first, end = self.bounds_ns
        known = time_ns.is_not_null()
        known = known if first is None else known & (time_ns >= first)
        return known if end is None else known & (time_ns < end)


def period(since: dt.date | None, until: dt.date | None) -> Period | None:
    """Return a period, None if it has no bound.

    Raises:
        UsageError: it ends before it begins, or 64 bits of ns do not reach that far.
    """
    if since is not None and until is not None and until < since:
        raise UsageError(
            f"--until {until} is before --since {since}", advice="both days belong to the period"
        )
    for day in (since, until):
        if day is not None and not _FIRST_DAY <= day <= _LAST_DAY:
            raise UsageError(f"expected a day from {_FIRST_DAY} to {_LAST_DAY}, found {day}")
    return None if since is None and until is None else Period(since, until)


def days(since: str | None, until: str | None) -> Period | None:
    """The same from the texts of a report."""
    return period(*(None if day is None else dt.date.fromisoformat(day) for day in (since, until)))


def refuse_unlike(jobs: Sequence[Job]) -> None:
    """Refuse runs that cannot be in one report.

    Raises:
        UsageError: a directory is named twice, or the runs have been asked different things.
    """
    real = [os.path.realpath(job.directory) for job in jobs]
    for at, job in enumerate(jobs):
        if real[at] in real[:at]:
            raise UsageError("this directory is named twice", path=job.directory, advice="name each run once")
        for name in _ALIKE:
            first, other = getattr(jobs[0].request, name), getattr(job.request, name)
            if first != other:
                raise UsageError(
                    f"expected runs with the same options, found --{name.replace('_', '-')} {other!r} here"
                    f" and {first!r} in {jobs[0].directory}",
                    path=job.directory,
                    advice="report on each of them",
                )


def numbered(frames: Frames, replaced: Sequence[int], first: int) -> dict[str, pl.LazyFrame]:
    """The tables of a run without its replaced captures, and with captures numbered from ``first``."""
    chosen = dict(frames)
    if replaced:
        chosen = {
            name: frame.filter(~pl.col("capture").is_in(pl.Series(replaced, dtype=pl.Int64).implode()))
            for name, frame in chosen.items()
        }
    if first:
        chosen = {name: frame.with_columns(pl.col("capture") + first) for name, frame in chosen.items()}
    return chosen


def without_repeated(
    frames: Frames, runs: Iterable[ReportedRun], places: Sequence[str]
) -> tuple[dict[str, pl.LazyFrame], int]:
    """The tables with each capture once, and how many rows that leaves out.

    Of several equal rows the first run's counts, one that names the host before one that does not. An input
    without an answer counts only if no other run has an answer under its path, and no later run has it too.

    Args:
        frames: of all runs, numbered.
        runs: in order.
        places: working directory of each, for relative paths.
    """
    number, capture = [], 0
    for at, run in enumerate(runs):
        capture += run.captures
        number.append((at, capture))
    run_of = pl.lit(0)
    for (at, _), (_, begin) in zip(number[1:], number, strict=False):
        run_of = pl.when(pl.col("capture") >= begin).then(at).otherwise(run_of)
    rows = frames["captures"].select(
        "capture",
        "host",
        pieces=pl.col("pieces").fill_null(pl.concat_list("path")),
        run=run_of,
        answered=pl.col("outcome").is_in(_ANSWERED),
        content=pl.col("files").list.eval(pl.element().struct.field("sha256")).list.join(" "),
    )
    listed = rows.collect()
    found = listed.with_columns(path=_absolute(listed, places)).drop("pieces")
    answered = found.filter("answered").sort(pl.col("host").is_null(), "capture")
    named = answered.filter(pl.col("host").is_not_null()).unique(["path", "content", "host"], keep="first")
    # Those of unknown host: only where no run knows one.
    nameless = answered.filter(pl.col("host").is_null()).join(named, on=["path", "content"], how="anti")
    kept = [named, nameless.unique(["path", "content"], keep="first")]
    others = found.filter(~pl.col("answered")).join(answered, on="path", how="anti")
    last = others.group_by("path").agg(run=pl.col("run").max())
    kept.append(others.join(last, on=["path", "run"]).select(found.columns))
    # Within one run equal files under one path do not exist: nothing of it is left out there.
    numbers = pl.concat(kept)["capture"].unique()
    if numbers.len() == found.height:
        return dict(frames), 0
    keep = numbers.sort().implode()
    chosen = {name: frame.filter(pl.col("capture").is_in(keep)) for name, frame in frames.items()}
    return chosen, found.height - numbers.len()


def untimed(frames: Frames) -> Untimed:
    """Count what has no time."""
    kexecs = frames["kexecs"].filter(pl.col("time_ns").is_null())
    inputs = frames["captures"].filter((pl.col("kexec_count") == 0) & pl.col("time_ns").is_null())
    unanswered = ~pl.col("outcome").is_in(_ANSWERED) | (pl.col("weight") == "doubt").fill_null(value=False)
    of_kexecs = kexecs.select(pl.len(), pl.col("loss").sum(), pl.col("doubt").sum()).collect().row(0)
    of_inputs = inputs.select(pl.len(), unanswered.sum().alias("unanswered")).collect().row(0)
    return Untimed(*of_kexecs, *of_inputs)


def inside(frames: Frames, within: Period) -> dict[str, pl.LazyFrame]:
    """The tables of a period: kexecs by their time; captures with one of these, others by their own."""
    kexecs = frames["kexecs"].filter(within.holds(pl.col("time_ns")))
    of_kexecs = kexecs.select("capture").unique()
    captures = frames["captures"]
    chosen = pl.concat(
        [
            captures.filter(pl.col("kexec_count") > 0).join(of_kexecs, on="capture", how="semi"),
            captures.filter((pl.col("kexec_count") == 0) & within.holds(pl.col("time_ns"))),
        ]
    )
    return {**frames, "kexecs": kexecs, "captures": chosen}


def _absolute(rows: pl.DataFrame, places: Sequence[str]) -> pl.Series:
    """The path of each row, with its pieces as they are from the root."""
    named = rows.select("pieces", "run").iter_rows()
    return pl.Series(
        [path_of([absolute(piece, places[run]) for piece in pieces]) for pieces, run in named],
        dtype=pl.String,
    )


def _moment(day: dt.date | None) -> int | None:
    return None if day is None else (day - dt.date(1970, 1, 1)).days * 86_400_000_000_000
