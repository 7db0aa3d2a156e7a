"""``analyze fleet``: what a run did, and what the whole fleet shows, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.plurals import count
from analyzer.report import problems
from analyzer.report.fleet_wording import headline, interval, of, scope, share, unfinished, with_interval
from analyzer.report.page import Span
from analyzer.report.policy_table import MEANINGS
from analyzer.report.registers_section import add_registers
from analyzer.report.wording import NO_CAUSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.fleet.answers import AriCounts, FleetReport, Group, PolicyCount
    from analyzer.fleet.running import RunSummary
    from analyzer.report.page import Page

#: Rows of a list that the text shows; ``--format json`` has all.
_MOST = 10
_MOST_PERIODS = 31
_HEADS: Final = ("lost", "healed", "of", "undetermined", "hosts", "rate", "95 % interval")
_RIGHT: Final = frozenset({1, 2, 3, 4, 5, 6, 7})


def print_run(summary: RunSummary) -> None:
    """Print to standard error what a run has done, and how to go on."""
    done = ", ".join(f"{number:,} {outcome}" for outcome, number in summary.outcomes.items()) or "none done"
    problems.complain(f"{count(summary.captures, 'capture')}: {done}", "note")
    if summary.pieces:
        problems.complain(f"{count(summary.pieces, 'capture')} joined from several files", "note")
    if summary.added is not None:
        problems.complain(
            f"{count(summary.added, 'capture')} added: new or changed since the last run", "note"
        )
    if summary.replaced:
        words = "not counted any more: changed since, or part of a later one"
        problems.complain(f"{count(summary.replaced, 'earlier capture')} {words}", "note")
    if summary.complete:
        problems.complain(f"to see the results: analyze fleet report {summary.directory}", "note")
    else:
        problems.complain(
            (
                f"{summary.batches_done:,} of {count(summary.batches, 'batch', 'batches')} are done; other"
                " shards, or the same command again, finish the run"
            ),
            "note",
        )


def fill(page: Page, report: FleetReport, *, everything: bool = False) -> Page:
    """Write the answers to ``page``; with ``everything`` no list is shortened."""
    most = None if everything else _MOST
    _headline(page, report)
    _captures(page, report)
    _kexecs(page, report)
    _groups(page, "By release of the incoming kernel", report.by_release, most)
    _groups(page, "By series of the Live Update patches", report.by_series, most)
    note = "preserved bridges at kexecs; not independent: one reset affects all bridges below it"
    _groups(page, "By vendor:device of the bridge", report.by_vendor_device, most, note)
    _groups(page, "By port type", report.by_port_type, most, note)
    _causes(page, report, most)
    _policies(page, "What each kernel policy would have stranded", report.policies)
    if report.beside.plain:
        _policies(page, "The same if the plain kexecs had been live updates", report.policies_plain)
    add_registers(page, report, most)
    _hosts(page, report, most)
    _bridges(page, report, most)
    _trend(page, report, None if everything else _MOST_PERIODS)
    return page


def _headline(page: Page, report: FleetReport) -> None:
    if not report.complete:
        page.prose(f"NOT FINISHED: {unfinished(report)}", style="warn")
        page.blank()
    for sentence in scope(report):
        page.prose(sentence, style="dim")
    verdict = headline(report)
    sign = verdict.sign
    style = "warn" if sign == "unknown" else "dim" if sign == "none" else sign
    page.line(Span(f"{verdict.word}: ", style), verdict.text)
    hardware, hosts = report.tally.hardware_loss, report.hosts
    page.table(
        [
            ("lost by the hardware, healed or not", of(hardware), with_interval(hardware)),
            ("hosts with a loss", of(hosts.loss), with_interval(hosts.loss)),
            ("hosts with a loss, healed or not", of(hosts.hardware_loss), with_interval(hosts.hardware_loss)),
        ],
        indent=2,
        right=frozenset({1}),
    )
    page.line(f"  {count(report.devices_stranded, 'preserved device')} stranded")
    if report.registers is not None and report.registers.lost:
        kexecs = f"{report.registers.lost:,} of {count(report.registers.kexecs, 'kexec')}"
        page.line(f"  other registers lost at {kexecs}: see 'Which registers survived'")
    if hosts.nameless:
        page.prose(
            (
                f"{count(hosts.nameless, 'decided kexec')} without a known host, in no rate over hosts"
                " (--host-from-path names hosts by the captures' paths)"
            ),
            indent=2,
            style="dim",
        )


def _captures(page: Page, report: FleetReport) -> None:
    captures = report.captures
    page.blank()
    page.line(Span("Captures", "strong"), f"  {captures.done:,} of {captures.listed:,} listed")
    outcomes = ", ".join(f"{number:,} {name}" for name, number in captures.outcomes.items())
    verdicts = ", ".join(f"{number:,} {name}" for name, number in captures.verdicts.items())
    page.table(
        [("outcomes", outcomes or "none"), ("verdicts", verdicts or "none")], indent=2, right=frozenset()
    )


def _kexecs(page: Page, report: FleetReport) -> None:
    beside, tally = report.beside, report.tally
    page.blank()
    page.line(Span("Kexecs", "strong"), f"  {report.kexecs:,}")
    page.table(
        [
            (
                "decided",
                f"{tally.loss.trials:,}",
                f"{tally.lost:,} lost, {tally.healed:,} healed, {tally.kept:,} kept",
            ),
            ("undetermined", f"{tally.undetermined:,}", "the deciding accesses are not in the captures"),
            ("nothing to lose", f"{beside.nothing:,}", "no preserved bridge had ARI Forwarding on"),
            ("plain", f"{beside.plain:,}", "handed nothing over"),
            ("crash", f"{beside.crash:,}", "into a crash kernel"),
        ],
        indent=2,
        right=frozenset({1}),
    )
    page.line(Span("  Rates are of the decided ones; the others are in none.", "dim"))


def _groups(page: Page, title: str, groups: Sequence[Group], most: int | None, note: str = "") -> None:
    if not groups:
        return
    _title(page, title, note)
    shown = groups[:most]
    page.table(
        [_heads(), *((_name(group.value), *_cells(group.tally)) for group in shown)], indent=2, right=_RIGHT
    )
    _more(page, len(groups) - len(shown))


def _causes(page: Page, report: FleetReport, most: int | None) -> None:
    if not report.causes:
        return
    _title(page, "By cause", "kexecs that show it, of the decided ones; a kexec can show several")
    shown = report.causes[:most]
    heads = tuple(Span(head, "dim") for head in ("", "kexecs", "bridges", "hosts", "rate", "95 % interval"))
    rows = [
        (
            cause.cause or NO_CAUSE,
            f"{cause.rate.events:,}",
            f"{cause.bridges:,}",
            f"{cause.hosts:,}",
            share(cause.rate),
            interval(cause.rate),
        )
        for cause in shown
    ]
    page.table([heads, *rows], indent=2, right=frozenset({1, 2, 3, 4, 5}))
    _more(page, len(report.causes) - len(shown))


def _policies(page: Page, title: str, policies: Sequence[PolicyCount]) -> None:
    _title(page, title, f"of {count(policies[0].rate.trials, 'kexec')}" if policies else "")
    unknown = any(policy.undetermined for policy in policies)
    names = ("", "devices", *(["unknown"] if unknown else []), "kexecs", "rate", "95 % interval", "")
    heads = tuple(Span(head, "dim") for head in names)
    rows: list[tuple[str | Span, ...]] = [
        (
            policy.policy,
            f"{policy.devices:,}",
            *([f"{policy.undetermined:,}"] if unknown else []),
            f"{policy.rate.events:,}",
            share(policy.rate),
            interval(policy.rate),
            Span(MEANINGS[policy.policy].partition(" (")[0], "dim"),
        )
        for policy in policies
    ]
    page.table([heads, *rows], indent=2, right=frozenset(range(1, len(names) - 1)))


def _hosts(page: Page, report: FleetReport, most: int | None) -> None:
    if not report.hosts_worst:
        return
    _title(page, "Worst hosts", f"{report.hosts_with_loss:,} with a loss, healed or not")
    shown = report.hosts_worst[:most]
    heads = tuple(
        Span(head, "dim") for head in ("", "stranded", "lost", "healed", "of", "rate", "95 % interval")
    )
    rows = []
    for host in shown:
        tally = host.tally
        counts = (host.devices_stranded, tally.lost, tally.healed, tally.loss.trials)
        rows.append(
            (host.host, *(f"{number:,}" for number in counts), share(tally.loss), interval(tally.loss))
        )
    page.table([heads, *rows], indent=2, right=frozenset({1, 2, 3, 4, 5, 6}))
    _more(page, report.hosts_with_loss - len(shown))


def _bridges(page: Page, report: FleetReport, most: int | None) -> None:
    if not report.bridges_worst:
        return
    _title(page, "Worst bridges", f"{report.bridges_with_loss:,} with a loss, healed or not")
    shown = report.bridges_worst[:most]
    heads = tuple(
        Span(head, "dim") for head in ("host", "bridge", "vendor:device", "lost", "healed", "stranded")
    )
    rows = [
        (
            _name(one.host),
            one.bdf,
            _name(one.vendor_device),
            *(f"{n:,}" for n in (one.lost, one.healed, one.devices_stranded)),
        )
        for one in shown
    ]
    page.table([heads, *rows], indent=2, right=frozenset({3, 4, 5}))
    _more(page, report.bridges_with_loss - len(shown))


def _trend(page: Page, report: FleetReport, most: int | None) -> None:
    if not report.trend:
        return
    note = "UTC; unknown: the capture holds no wall-clock time"
    _title(page, f"By {report.trend_by}", note)
    shown = report.trend if most is None else report.trend[-most:]
    if len(shown) < len(report.trend):
        page.line(Span(f"  {len(report.trend) - len(shown):,} earlier (-v shows them)", "dim"))
    page.table(
        [_heads(), *((_name(group.value), *_cells(group.tally)) for group in shown)], indent=2, right=_RIGHT
    )


def _title(page: Page, title: str, note: str) -> None:
    page.blank()
    page.line(Span(title, "strong"), Span(f"  {note}" if note else "", "dim"))


def _heads() -> tuple[str | Span, ...]:
    return ("", *(Span(head, "dim") for head in _HEADS))


def _cells(tally: AriCounts) -> tuple[str | Span, ...]:
    numbers = (tally.healed, tally.loss.trials, tally.undetermined, tally.hosts)
    lost = Span(f"{tally.lost:,}", "bad" if tally.lost else "")
    return (lost, *(f"{number:,}" for number in numbers), share(tally.loss), interval(tally.loss))


def _name(value: str | None) -> str | Span:
    return Span("unknown", "dim") if value is None else value


def _more(page: Page, left: int) -> None:
    if left > 0:
        page.line(Span(f"  and {left:,} more (-v shows up to 1,000, the tables have all)", "dim"))
