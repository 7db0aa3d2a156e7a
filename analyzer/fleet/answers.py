"""What ``fleet report`` says, as plain objects; the field names are those of its JSON output.

A rate counts kexecs (or bridges at a kexec, or hosts). Its denominator holds those with a decided verdict
and ARI Forwarding to lose: ``lost``, ``healed`` and ``kept``. Those that are undetermined, plain, a crash
kernel's, or had no ARI Forwarding to lose are counted separately.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from analyzer.results import PolicyName

TrendBy = Literal["day", "week"]
REPORT_SCHEMA: Final = 1
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Rate:
    """``events`` of ``trials``; the bounds are the exact binomial (Clopper-Pearson) interval at 95 %.

    All three are None without a trial, the bounds also where scipy, which computes them, is not installed.
    """

    events: int
    trials: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AriCounts:
    """What became of ARI Forwarding over some kexecs, or over bridges at kexecs.

    Attributes:
        lost, healed, kept: decided; their sum is the denominator of both rates.
        undetermined: the deciding accesses are not in the captures.
        hosts: distinct hosts among the decided ones that name one.
        loss: rate of ``lost``: it stayed lost.
        hardware_loss: rate of ``lost`` and ``healed``: the hardware lost it, whatever the kernel did later.
    """

    lost: int
    healed: int
    kept: int
    undetermined: int
    hosts: int
    loss: Rate
    hardware_loss: Rate


@dataclass(frozen=True)
class Group:
    """The tally of one value of a dimension; None: the value is not in the captures."""

    value: str | None
    tally: AriCounts


@dataclass(frozen=True)
class OutsideRates:
    """Kexecs outside every rate: nothing to lose, or nothing handed over."""

    nothing: int
    plain: int
    crash: int


@dataclass(frozen=True)
class Hosts:
    """Rates over hosts instead of kexecs: the kexecs of one host are not independent.

    ``nameless`` counts decided kexecs whose host is not known; they are in no rate over hosts.
    """

    decided: int
    loss: Rate
    hardware_loss: Rate
    nameless: int


@dataclass(frozen=True)
class CauseCount:
    """One cause of lost or healed bridges; ``rate``: the decided kexecs with it, of all decided ones."""

    cause: str | None
    bridges: int
    hosts: int
    rate: Rate


@dataclass(frozen=True)
class PolicyCount:
    """What kernels with one policy would have stranded: devices, and kexecs with at least one.

    ``undetermined``: devices of which the captures do not show whether it would.
    """

    policy: PolicyName
    devices: int
    rate: Rate
    undetermined: int


@dataclass(frozen=True)
class HostCount:
    """One host's tally and its stranded devices over all its kexecs."""

    host: str
    devices_stranded: int
    tally: AriCounts


@dataclass(frozen=True)
class BridgeCount:
    """One bridge of one host that lost ARI Forwarding: at how many kexecs, and the devices stranded by it."""

    host: str | None
    bdf: str
    vendor_device: str | None
    lost: int
    healed: int
    devices_stranded: int


@dataclass(frozen=True)
class Captures:
    """The inputs: how many are listed, done, of each outcome and verdict, and doubtful.

    Attributes:
        replaced: further ones that a later addition to their run has again; they are in no other number.
        repeated: further ones that are in several runs and count in one of them.
    """

    listed: int
    done: int
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    doubtful: int = 0
    replaced: int = 0
    repeated: int = 0


@dataclass(frozen=True)
class ReportedRun:
    """One run that a report is over: its directory, what it lists, what of that is replaced."""

    directory: str
    complete: bool
    captures: int
    replaced: int


@dataclass(frozen=True)
class Untimed:
    """What no time is known of: it is in no period, and in no other number of a report over one.

    Attributes:
        kexecs: of these ``losses`` would set the exit status to 1, ``doubts`` to 3.
        captures: inputs without a kexec; of these ``unanswered`` gave no answer or a doubtful one.
    """

    kexecs: int
    losses: int
    doubts: int
    captures: int
    unanswered: int


@dataclass(frozen=True)
class SurvivalCounts:
    """What became of one watched state over some kexecs.

    Functions are counted once for each kexec; they are not independent: one reset affects all below a bridge.
    A kexec has one word for all of its functions, the first that is true: ``lost`` (one of them read another
    value than it had: lost, changed, healed), ``undetermined`` (of one it is not captured), ``cleared`` (the
    incoming kernel's own write changed it afterwards), ``kept``, ``nothing`` (there was nothing to lose: the
    register had its value after a reset before, or the outgoing kernel itself cleared it).

    Attributes:
        kept, lost, changed, healed, cleared, expected, undetermined: functions at kexecs, by verdict.
        kept_at_reset: of ``kept`` those that had the value after a reset before, too: no loss would show.
        kexecs_lost, kexecs_undetermined, kexecs_cleared, kexecs_kept, kexecs_nothing: kexecs, by their word.
        loss: rate of ``kexecs_lost``, of the decided ones: lost, cleared and kept.
    """

    kept: int
    kept_at_reset: int
    lost: int
    changed: int
    healed: int
    cleared: int
    expected: int
    undetermined: int
    kexecs_lost: int
    kexecs_undetermined: int
    kexecs_cleared: int
    kexecs_kept: int
    kexecs_nothing: int
    loss: Rate


@dataclass(frozen=True)
class SurvivalGroup:
    """The counts of one value of a dimension; None: the value is not in the captures."""

    value: str | None
    counts: SurvivalCounts


@dataclass(frozen=True)
class StateSurvival:
    """One watched state over all kexecs.

    Attributes:
        name, code: of the state, and of its findings.
        preserved: over preserved functions.
        others: over functions that were not handed over.
        by_release: of the incoming kernel; over preserved functions, as the other two.
    """

    name: str
    code: str
    preserved: SurvivalCounts
    others: SurvivalCounts
    by_release: list[SurvivalGroup] = field(default_factory=list)
    by_vendor_device: list[SurvivalGroup] = field(default_factory=list)
    by_port_type: list[SurvivalGroup] = field(default_factory=list)


@dataclass(frozen=True)
class RegisterSurvival:
    """Which watched registers survived how many kexecs.

    Attributes:
        kexecs: that show a watched register of a preserved function; the other numbers are of these, with the
            word of the worst of all states.
        others: further kexecs, which show no preserved function.
        without: kexecs of runs without the table ``state``: they are in no number here.
        states: most kexecs with a loss first, then in the order of docs/state.md.
    """

    kexecs: int
    lost: int
    undetermined: int
    cleared: int
    kept: int
    nothing: int
    others: int
    without: int
    states: list[StateSurvival] = field(default_factory=list)


@dataclass(frozen=True)
class FleetReport:
    """Everything that a directory of fleet results says.

    Attributes:
        complete: every batch of the run is done; else all numbers are of ``batches_done`` of ``batches``.
        losses, doubts: kexecs that set the exit status of the main job to 1, or to 3.
        by_release: of the incoming kernel.
        by_vendor_device, by_port_type: over preserved bridges at kexecs, which are not independent: one reset
            affects all bridges below it.
        policies: over decided kexecs; ``policies_plain``: over plain ones, as if they had been live updates.
        hosts_worst, bridges_worst: the worst first, at most as many as asked for; ``hosts_with_loss`` and
            ``bridges_with_loss`` say how many there are.
        trend: by UTC day or ISO week of the kexec; None: the capture holds no wall-clock time.
        runs: what the numbers are over; ``directory`` names all of their directories.
        since, until: first and last UTC day of the period that is reported on; None: without a bound.
        untimed: what is left out because its time is not known; None: there is no period.
        registers: other registers than that of ARI Forwarding.
    """

    directory: str
    complete: bool
    batches: int
    batches_done: int
    captures: Captures
    kexecs: int
    tally: AriCounts
    beside: OutsideRates
    losses: int
    doubts: int
    devices_stranded: int
    hosts: Hosts
    by_release: list[Group] = field(default_factory=list)
    by_series: list[Group] = field(default_factory=list)
    by_vendor_device: list[Group] = field(default_factory=list)
    by_port_type: list[Group] = field(default_factory=list)
    causes: list[CauseCount] = field(default_factory=list)
    policies: list[PolicyCount] = field(default_factory=list)
    policies_plain: list[PolicyCount] = field(default_factory=list)
    hosts_with_loss: int = 0
    hosts_worst: list[HostCount] = field(default_factory=list)
    bridges_with_loss: int = 0
    bridges_worst: list[BridgeCount] = field(default_factory=list)
    trend_by: TrendBy = "day"
    trend: list[Group] = field(default_factory=list)
    runs: list[ReportedRun] = field(default_factory=list)
    since: str | None = None
    until: str | None = None
    untimed: Untimed | None = None
    registers: RegisterSurvival | None = None

    @property
    def unsure(self) -> bool:
        """Whether something has no answer: without a loss that is the exit status 3."""
        captures, untimed = self.captures, self.untimed
        answered = sum(captures.outcomes.get(outcome, 0) for outcome in ("ok", "truncated"))
        doubt = self.doubts or captures.doubtful or answered < captures.done or not self.complete
        # A loss that may be in the period is no all-clear for it.
        outside = untimed is not None and (untimed.losses or untimed.doubts or untimed.unanswered)
        return bool(doubt or outside)
