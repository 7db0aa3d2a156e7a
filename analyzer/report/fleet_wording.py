"""How the rates of a fleet read: every one with its interval and what it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from analyzer.report.wording import count

if TYPE_CHECKING:
    from analyzer.fleet.answers import FleetReport, Rate


class FleetHeadline(NamedTuple):
    """The verdict over a fleet in one line; ``sign`` is its state as reports mark it."""

    word: Literal["LOST", "clean", "UNDETERMINED"]
    sign: Literal["bad", "good", "unknown"]
    text: str


def headline(report: FleetReport) -> FleetHeadline:
    """Say the rate of loss per kexec, with its interval."""
    loss = report.tally.loss
    if not loss.trials:
        return FleetHeadline("UNDETERMINED", "unknown", "no kexec here has a decided verdict")
    if loss.events:
        return FleetHeadline(
            "LOST", "bad", f"ARI Forwarding at {of(loss)} decided kexecs: {with_interval(loss)}"
        )
    decided = count(loss.trials, "decided kexec")
    return FleetHeadline("clean", "good", f"no ARI Forwarding lost at {decided}, {with_interval(loss)}")


def unfinished(report: FleetReport) -> str:
    """What part of a run the numbers are of."""
    return (
        f"{report.batches_done:,} of {count(report.batches, 'batch', 'batches')} are done; all numbers are of"
        " these. Repeat the 'analyze fleet run' command to finish."
    )


def share(rate: Rate) -> str:
    """The rate in percent, ``-`` without a trial."""
    return "-" if rate.rate is None else f"{percent(rate.rate)} %"


def interval(rate: Rate) -> str:
    """Its 95 % interval in percent, ``-`` without a trial or without scipy."""
    if rate.low is None or rate.high is None:
        return "-"
    return f"{percent(rate.low)} to {percent(rate.high)} %"


def with_interval(rate: Rate) -> str:
    """Rate and interval in one phrase."""
    if rate.rate is None:
        return "no trial"
    return share(rate) if rate.low is None else f"{share(rate)} (95 %: {interval(rate)})"


def without_intervals(report: FleetReport) -> bool:
    """Whether there are rates and no intervals, for lack of scipy."""
    return report.tally.loss.rate is not None and report.tally.loss.low is None


def of(rate: Rate) -> str:
    """Events of trials."""
    return f"{rate.events:,} of {rate.trials:,}"


def percent(part: float) -> str:
    """A part in percent with the digits that matter: small rates are the interesting ones."""
    number = 100 * part
    if number >= 1 or not number:
        return f"{number:.1f}"
    return f"{number:.2g}" if number >= 0.001 else "<0.001"
