"""How the rates of a fleet read: every one with its interval and what it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from analyzer.plurals import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.fleet.answers import FleetReport, Rate


class FleetHeadline(NamedTuple):
    """The verdict over a fleet in one line; ``sign`` is its state as reports mark it."""

    word: Literal["LOST", "STRANDED", "clean", "UNDETERMINED", "NO KEXEC"]
    sign: Literal["bad", "good", "unknown", "none"]
    text: str


def headline(report: FleetReport) -> FleetHeadline:
    """Say the rate of loss per kexec, with its interval; never clean where something has no answer."""
    loss = report.tally.loss
    if loss.events:
        return FleetHeadline(
            "LOST", "bad", f"ARI Forwarding at {of(loss)} decided kexecs: {with_interval(loss)}"
        )
    decided = count(loss.trials, "decided kexec")
    if report.losses and report.devices_stranded:
        devices = count(report.devices_stranded, "preserved device")
        return FleetHeadline("STRANDED", "bad", f"{devices}; no ARI Forwarding lost at {decided}")
    if report.losses:
        lost = count(report.losses, "kexec")
        return FleetHeadline("LOST", "bad", f"something else at {lost}; no ARI Forwarding lost at {decided}")
    if report.untimed is not None and report.untimed.losses:
        lost = count(report.untimed.losses, "kexec")
        return FleetHeadline(
            "UNDETERMINED", "unknown", f"no loss in this period is known, but {lost} with a loss have no time"
        )
    if not loss.trials:
        return _nothing_decided(report)
    text = f"no ARI Forwarding lost at {decided}, {with_interval(loss)}"
    if report.unsure:
        return FleetHeadline("UNDETERMINED", "unknown", f"{text}, but not everything has an answer")
    return FleetHeadline("clean", "good", text)


def _nothing_decided(report: FleetReport) -> FleetHeadline:
    if report.unsure:
        return FleetHeadline("UNDETERMINED", "unknown", "no kexec here has a decided verdict")
    if not report.kexecs:
        return FleetHeadline("NO KEXEC", "none", "none of these captures holds one")
    return FleetHeadline("clean", "good", f"no ARI Forwarding to lose at {count(report.kexecs, 'kexec')}")


def unfinished(report: FleetReport) -> str:
    """What part of a run the numbers are of."""
    return (
        f"{report.batches_done:,} of {count(report.batches, 'batch', 'batches')} are done; all numbers are of"
        " these. Repeat the 'analyze fleet run' command to finish."
    )


def scope(report: FleetReport) -> Iterator[str]:
    """What of the runs the numbers are over, and what of them is in no number; nothing where that is all."""
    if report.since or report.until:
        first = f" from {report.since}" if report.since else ""
        last = f" to {report.until}" if report.until else ""
        yield f"Of the kexecs and captures{first}{last} (UTC days, both included)."
    missing = report.untimed
    if missing is not None and (missing.kexecs or missing.captures):
        parts = []
        if missing.kexecs:
            lost, doubtful = missing.losses, missing.doubts
            parts.append(
                f"{count(missing.kexecs, 'kexec')} ({lost:,} with a loss that counts, {doubtful:,} in doubt)"
            )
        if missing.captures:
            unsure = f"{missing.unanswered:,} without a sure answer"
            parts.append(f"{count(missing.captures, 'capture')} without a kexec ({unsure})")
        yield f"Not in any number, because their time is not known: {' and '.join(parts)}."
    if report.captures.repeated:
        more = count(report.captures.repeated, "capture")
        yield f"{more} more in several of these runs: each counts once."
    if report.captures.replaced:
        yield (
            f"{count(report.captures.replaced, 'earlier capture')} not counted: changed since, or part of a"
            " longer history now."
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
