"""One kexec: two boots, the preserved set, the policies, and the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

from analyzer import bdf, series
from analyzer.observed import boots, virtual_functions
from analyzer.replay import bus_numbers, series_recognition
from analyzer.replay.enumeration import Prediction, ScanningKernel
from analyzer.replay.profile import Profile
from analyzer.results import (
    LIVE_UPDATE_POLICIES,
    POLICIES,
    KexecResult,
    Observed,
    PolicyOutcome,
    policy_that_ran,
)
from analyzer.verdicts import (
    bridges,
    devices,
    divergences,
    error_observations,
    not_in_input,
    reset_signature,
    secondary,
)
from schemas.registers import SRIOV_CTRL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from analyzer.observed.index import AccessIndex
    from analyzer.observed.topology import Topology
    from analyzer.options import Options
    from analyzer.preservation.preserved import PreservedSet
    from analyzer.replay.enumeration import FoundRows, Replay
    from analyzer.replay.node_table import NodeTable
    from analyzer.replay.profile import Handover as FlbHandover
    from analyzer.replay.world import World
    from analyzer.results import KexecKind, PolicyName, Preservation
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.handovers import Handover
    from analyzer.verdicts.reset_evidence import LogMessage
    from analyzer.verdicts.state_watch import StateWatch


@dataclass(frozen=True)
class KernelSettings:
    """What is known of the kernels besides the accesses: log, command line, options.

    ``complete``: the input is not known to lack functions; ``whole``: nor accesses between its first and its
    last. ``data_not_taken``, ``panicked``: the incoming kernel's log says that it took nothing of what was
    handed over, or panicked over it.
    """

    kind: KexecKind
    noari: bool | None
    scan_all: bool
    logged_series: tuple[str, ...]
    messages: tuple[LogMessage, ...]
    options: Options
    complete: bool = True
    assign_busses: bool = False
    isolated_functions: bool = False
    data_not_taken: bool = False
    panicked: bool = False
    whole: bool = True


@dataclass(frozen=True)
class KexecQuestion:
    """One kexec before its replay: the hardware, and a kernel for each policy.

    Attributes:
        what_if: the set that the policies are compared on: the preserved one, or the assumed one where a
            plain kexec handed nothing over.
        ran: the policy that the incoming kernel followed.
        policy: the policy that verdicts are given under.
        version: version of the patches.
        preservation: how it is known what was handed over (:mod:`analyzer.verdicts.loss_weight`).
        not_handed_over: bridges of which the input shows that they were not.
    """

    index: AccessIndex
    handover: Handover
    preserved: PreservedSet
    what_if: frozenset[int]
    settings: KernelSettings
    machine: NodeTable
    profiles: dict[PolicyName, Profile]
    ran: PolicyName
    policy: PolicyName
    version: str
    preservation: Preservation
    not_handed_over: frozenset[int]

    @property
    def kernels(self) -> list[ScanningKernel]:
        """The kernels of the policies, in the order of :data:`POLICIES`."""
        return [ScanningKernel(self.machine, self.profiles[name], name == self.ran) for name in POLICIES]


@dataclass(frozen=True)
class KexecAnalysis:
    """The result of one kexec and the replay that it rests on.

    Attributes:
        ran: the policy that the prediction is compared with the observation under.
        watch: the watched registers of both kernels.
    """

    handover: Handover
    machine: NodeTable
    profiles: dict[PolicyName, Profile]
    predictions: Predictions
    ran: PolicyName
    watch: StateWatch
    result: KexecResult

    @property
    def world(self) -> World:
        """The hardware."""
        return self.machine.world


class Predictions(Mapping["PolicyName", Prediction]):
    """What a kernel of each policy must find, put together function by function when asked for.

    Args:
        replay: of many kexecs.
        first: the first of this one's kernels.
    """

    def __init__(self, replay: Replay, first: int) -> None:
        self._replay, self._first = replay, first

    def found(self, name: PolicyName) -> FoundRows:
        """What one finds, as rows."""
        return self._replay.found(self._first + POLICIES.index(name))

    def __getitem__(self, name: PolicyName) -> Prediction:
        return self._replay.prediction(self._first + POLICIES.index(name))

    def __iter__(self) -> Iterator[PolicyName]:
        return iter(POLICIES)

    def __len__(self) -> int:
        return len(POLICIES)


def question(
    index: AccessIndex,
    kexec: Handover,
    machine: NodeTable,
    preserved: PreservedSet,
    what_if: frozenset[int],
    settings: KernelSettings,
    preservation: Preservation,
    not_handed_over: frozenset[int],
) -> KexecQuestion:
    """Put together what is replayed.

    Args:
        index: the capture.
        kexec: the two boots.
        machine: the hardware as they show it.
        preserved: the set that verdicts go by.
        what_if: see :class:`KexecQuestion`, also for those after ``settings``.
        settings: what is known besides the accesses.
        preservation: how the set is known.
        not_handed_over: bridges outside of it for certain.
    """
    if settings.assign_busses or not bus_numbers.all_usable(machine):
        bus_numbers.mark_unreachable(machine, _reserved(machine, kexec), renumbers=settings.assign_busses)
    ran = policy_that_ran(kexec.observed_policy)
    policy = ran if settings.options.policy == "observed" else settings.options.policy
    inheriting = _inheriting(kexec, preserved, settings)
    fitting = series_recognition.candidates(
        settings.options.series, settings.logged_series, preserved.handed_over
    )
    followed = kexec.observed_policy in LIVE_UPDATE_POLICIES
    version = series_recognition.recognise(fitting, machine, inheriting, followed=followed)
    handed: FlbHandover = "panic" if settings.panicked else "unmatched"
    if not (settings.panicked or settings.data_not_taken):
        handed = series_recognition.handover(version, preserved.handed_over)
    profiles = {
        name: replace(
            inheriting,
            policy=name,
            series=version,
            handover=handed,
            preserved=preserved.keys if name == policy else what_if,
            # A what-if is asked of the default command line where the real one is unknown; the kernel that
            # ran is not: what depends on its command line is then unknown too.
            noari=settings.noari if name == ran else bool(settings.noari),
        )
        for name in POLICIES
    }
    return KexecQuestion(
        index, kexec, preserved, what_if, settings, machine, profiles, ran, policy, version,
        preservation, not_handed_over,
    )  # fmt: skip


def conclude(
    asked: KexecQuestion, predictions: Predictions, watch: StateWatch, builder: EvidenceBuilder
) -> KexecAnalysis:
    """Give the verdicts on a kexec under the chosen policy.

    Args:
        asked: the kexec.
        predictions: what a kernel of each policy must find.
        watch: its watched registers.
        builder: makes evidence.
    """
    kexec, machine, settings, preserved = asked.handover, asked.machine, asked.settings, asked.preserved
    index, ran, policy = asked.index, asked.ran, asked.policy
    compared = divergences.Comparison()
    if not _as_predicted(predictions.found(ran), kexec.incoming):
        compared = divergences.compare(
            machine.world,
            predictions[ran],
            kexec.incoming,
            settings.messages,
            complete=settings.complete,
        )
    as_observed = policy == ran
    # What the kernel that ran did says nothing of another policy.
    counts = compared if as_observed else divergences.Comparison()
    virtual = virtual_functions.bridges_above(kexec.outgoing, preserved.keys)
    judged = devices.verdicts(
        machine, predictions.found(policy), lambda: predictions[policy], preserved.keys, counts, virtual
    )
    stranded = frozenset(bdf.parse(device.bdf) for device in judged if device.verdict == "stranded")
    context = bridges.KexecContext(
        kexec,
        machine.world,
        predictions[policy],
        as_observed,
        preserved.keys,
        stranded,
        builder,
        settings.messages,
        settings.whole,
    )
    result = KexecResult(
        index=kexec.number,
        kind=settings.kind,
        outgoing_boot=kexec.outgoing.boot.index,
        incoming_boot=kexec.incoming.boot.index,
        at_access=int(index.seq[kexec.incoming.boot.first]),
        blackout_ns=boots.blackout(index, kexec.outgoing.boot, kexec.incoming.boot),
        observed_policy=kexec.observed_policy,
        policy=policy,
        series=asked.version,
        noari=settings.noari,
        preserved_source=preserved.source,
        bridges=bridges.verdicts(context),
        devices=judged,
        policies={name: _outcome(machine, predictions.found(name), asked.what_if) for name in POLICIES},
        observed=Observed([bdf.text(key) for key in sorted(kexec.incoming.enumerated)]),
        divergences=compared.divergences,
        not_in_input=[
            *not_in_input.of_snapshots(kexec, preserved),
            *not_in_input.never_listed(kexec, machine, preserved),
        ],
        secondary=[
            *secondary.findings(
                kexec.outgoing,
                kexec.incoming,
                preserved.keys,
                builder,
                settled=watch.settled("STATE003", "STATE011"),
                with_sriov=kexec.outgoing.functions.accessing(SRIOV_CTRL)
                & kexec.incoming.functions.accessing(SRIOV_CTRL),
            ),
            *error_observations.findings(
                machine,
                kexec.outgoing.functions,
                kexec.incoming.functions,
                context.error_window,
            ),
        ],
        warnings=[*preserved.warnings, *not_in_input.noted_in_log(kexec.incoming)],
    )
    result.bridges = [reset_signature.noted(one, machine, watch) for one in result.bridges]
    result.state_counts = watch.counts
    for one in watch.verdicts:
        (result.state_undetermined if one.verdict == "undetermined" else result.state).append(one)
    result.not_in_input += not_in_input.of_set(preserved, result.devices, result.bridges, result.state)
    return KexecAnalysis(kexec, machine, asked.profiles, predictions, ran, watch, result)


def _reserved(machine: NodeTable, kexec: Handover) -> Callable[[int], int]:
    """How many buses a function reserves for virtual ones: as the incoming kernel read it, else the other."""
    incoming, outgoing = (machine.columns[name].tolist() for name in ("incoming", "outgoing"))

    def reserved(row: int) -> int:
        function = kexec.incoming.functions.get(incoming[row]) or kexec.outgoing.functions.get(outgoing[row])
        return 0 if function is None else virtual_functions.buses_reserved(function)

    return reserved


def _as_predicted(found: FoundRows, incoming: Topology) -> bool:
    """Whether the incoming kernel found exactly what it must, and no function fell silent since."""
    keys = set(found.addresses.tolist())
    return bool(found.certain.all()) and keys == incoming.enumerated and not incoming.silent


def _inheriting(kexec: Handover, preserved: PreservedSet, settings: KernelSettings) -> Profile:
    """An incoming kernel that inherits, and takes what was handed over; its version is still to be found."""
    return Profile(
        policy="inherit",
        series=series.newest().name,
        preserved=preserved.keys,
        noari=settings.noari,
        scan_all=settings.scan_all,
        saved={key: held.enabled for key, held in kexec.outgoing_states.items()},
        assign_busses=settings.assign_busses,
        isolated_functions=settings.isolated_functions,
        handed_over=preserved.handed_over is not None,
    )


def _outcome(machine: NodeTable, found: FoundRows, preserved: frozenset[int]) -> PolicyOutcome:
    certain = found.certain.tolist()
    rows = list(compress(found.rows.tolist(), certain))
    names, assumed = machine.names.tolist(), machine.columns["assumed"].tolist()
    perhaps = machine.columns["outgoing"][found.rows[~found.certain]].tolist()
    return PolicyOutcome(
        discovered=_texts(compress(found.addresses.tolist(), certain)),
        stranded=_texts(devices.stranded(machine, found, preserved)),
        assumed=_texts(names[row] for row in rows if assumed[row]),
        undetermined=_texts(preserved.intersection(perhaps)),
    )


def _texts(keys: Iterable[int]) -> list[str]:
    return [bdf.text(key) for key in sorted(keys)]
