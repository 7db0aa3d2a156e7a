"""One kexec: two boots, the preserved set, the policies, and the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import boots, decisions, virtual_functions
from analyzer.observed.register_state import is_on
from analyzer.observed.registers import missing_bytes
from analyzer.replay import bus_numbers, enumeration, series_recognition, world
from analyzer.replay.profile import Profile
from analyzer.results import (
    LIVE_UPDATE_POLICIES,
    POLICIES,
    KexecResult,
    Observed,
    PolicyOutcome,
    policy_that_ran,
)
from analyzer.verdicts import bridges, devices, divergences, secondary
from schemas.config_header import HEADER_TYPE
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.observed.index import AccessIndex
    from analyzer.observed.register_state import OutgoingState
    from analyzer.observed.topology import Topology
    from analyzer.options import Options
    from analyzer.preservation.preserved import PreservedSet
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.profile import Handover as FlbHandover
    from analyzer.replay.world import World
    from analyzer.results import KexecKind, ObservedPolicy, PolicyName
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.reset_evidence import LogMessage


@dataclass(frozen=True)
class Handover:
    """The two boots of one kexec and what they decided, before any verdict.

    Attributes:
        number: 0-based number of the kexec in the capture.
        decided_before, decided_after: ARI decisions by bridge key.
        outgoing_states: ARI Forwarding as the outgoing kernel last used it, by bridge key.
        observed_policy: the policy that the incoming kernel followed.
        accesses: numbers of the first and the last access of the two boots.
    """

    number: int
    outgoing: Topology
    incoming: Topology
    decided_before: dict[int, list[decisions.Decision]]
    decided_after: dict[int, list[decisions.Decision]]
    outgoing_states: dict[int, OutgoingState]
    observed_policy: ObservedPolicy
    accesses: tuple[int, int]

    def covers(self, access: int | None) -> bool:
        """Whether an access number lies in one of the two boots."""
        return access is not None and self.accesses[0] <= access <= self.accesses[1]


@dataclass(frozen=True)
class KernelSettings:
    """What is known of the kernels besides the accesses: log, command line, options.

    ``complete``: the input is not known to lack functions.
    """

    kind: KexecKind
    noari: bool | None
    scan_all: bool
    logged_series: tuple[str, ...]
    messages: tuple[LogMessage, ...]
    options: Options
    complete: bool = True


@dataclass(frozen=True)
class KexecAnalysis:
    """The result of one kexec and the replay that it rests on.

    Attributes:
        ran: the policy that the prediction is compared with the observation under.
    """

    handover: Handover
    world: World
    profiles: dict[PolicyName, Profile]
    predictions: dict[PolicyName, Prediction]
    ran: PolicyName
    result: KexecResult


def handover(index: AccessIndex, number: int, outgoing: Topology, incoming: Topology) -> Handover:
    """Recognise what both kernels decided."""
    before = decisions.of_boot(index, outgoing)
    after = decisions.of_boot(index, incoming)
    outgoing_states = bridges.outgoing_states(outgoing, before)
    return Handover(
        number,
        outgoing,
        incoming,
        before,
        after,
        outgoing_states,
        decisions.observed_policy(
            after, incoming, {key: outgoing_state.enabled for key, outgoing_state in outgoing_states.items()}
        ),
        (int(index.seq[outgoing.boot.first]), int(index.seq[incoming.boot.last])),
    )


def analyze_kexec(
    index: AccessIndex,
    kexec: Handover,
    preserved: PreservedSet,
    what_if: frozenset[int],
    settings: KernelSettings,
    builder: EvidenceBuilder,
) -> KexecAnalysis:
    """Replay every policy and give the verdicts under the chosen one.

    Args:
        index: the capture.
        kexec: the two boots.
        preserved: the set that verdicts go by.
        what_if: the set that the policies are compared on: the same, or the assumed one where a plain kexec
            handed nothing over.
        settings: what is known besides the accesses.
        builder: makes evidence.
    """
    hardware = world.build(index, kexec.outgoing, kexec.incoming, kexec.decided_after)
    bus_numbers.mark_unreachable(hardware)
    ran = policy_that_ran(kexec.observed_policy)
    policy = ran if settings.options.policy == "observed" else settings.options.policy
    version = _series(hardware, kexec, preserved, settings)

    def profile(name: PolicyName, keys: frozenset[int]) -> Profile:
        # A what-if is asked of the default command line where the real one is unknown; the kernel that ran is
        # not: what depends on its command line is then unknown too.
        noari = settings.noari if name == ran else bool(settings.noari)
        handed = series_recognition.handover(version, preserved.handed_over)
        return _profile(name, kexec, keys, settings, version, handed, noari=noari)

    profiles = {name: profile(name, preserved.keys if name == policy else what_if) for name in POLICIES}
    walks: enumeration.Walks = {}
    predictions = {
        name: enumeration.predict(hardware, profiles[name], renumbered_as_observed=name == ran, walks=walks)
        for name in POLICIES
    }
    compared = divergences.compare(
        hardware,
        predictions[ran],
        kexec.incoming,
        settings.messages,
        complete=settings.complete,
    )
    as_observed = policy == ran
    # What the kernel that ran did says nothing of another policy.
    counts = compared if as_observed else divergences.Comparison()
    virtual = virtual_functions.bridges_above(kexec.outgoing, preserved.keys)
    judged = devices.verdicts(hardware, predictions[policy], preserved.keys, counts, virtual)
    stranded = frozenset(bdf.parse(device.bdf) for device in judged if device.verdict == "stranded")
    context = bridges.KexecContext(
        kexec.outgoing,
        kexec.incoming,
        kexec.decided_before,
        kexec.decided_after,
        hardware,
        predictions[policy],
        as_observed,
        preserved.keys,
        stranded,
        builder,
        settings.messages,
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
        series=version,
        noari=settings.noari,
        preserved_source=preserved.source,
        bridges=bridges.verdicts(context, kexec.outgoing_states),
        devices=judged,
        policies={name: _outcome(hardware, predictions[name], what_if) for name in POLICIES},
        observed=Observed([bdf.text(key) for key in sorted(kexec.incoming.enumerated)]),
        divergences=compared.divergences,
        not_in_input=[*_not_in_input(kexec, preserved), *_never_listed(kexec, hardware, preserved)],
        secondary=secondary.findings(kexec.outgoing, kexec.incoming, preserved.keys, builder),
        warnings=[*preserved.warnings, *_noted_in_log(kexec.incoming)],
    )
    return KexecAnalysis(kexec, hardware, profiles, predictions, ran, result)


def _not_in_input(kexec: Handover, preserved: PreservedSet) -> list[str]:
    """What snapshots of the two kernels do not show at all, and what could be a loss."""
    found: list[str] = []
    for topology, when in ((kexec.outgoing, "before"), (kexec.incoming, "after")):
        if topology.boot.scan is not None:
            continue
        found.extend(_not_in_log(topology, when))
        for bus, below in topology.orphans.items():
            if preserved.source == "assumed" or preserved.keys & set(below):
                names = ", ".join(bdf.text(key) for key in below[:4])
                found.append(f"the bridge above bus {bus & 0xFF:02x} {when} the kexec ({names} below it)")
        for key, function in sorted(topology.functions.items()):
            if not function.silent:
                found.extend(
                    f"{name} of {bdf.text(key)} {when} the kexec"
                    for name in missing_bytes.of_header_type(function)
                )
        for key, by, bridge in _named_by_chains(topology):
            listed = key in topology.functions or key in kexec.outgoing.functions
            if not listed and (preserved.source == "assumed" or preserved.keys & {key, by, bridge}):
                named = f"{bdf.text(key)} {when} the kexec, which {bdf.text(by)} names as the next function"
                first = topology.functions.get(key & ~0xFF)
                if (
                    key & 0xFF <= 7
                    and first is not None
                    and first.multifunction is None
                    and first.header_type is not None
                ):
                    named = (
                        f"{HEADER_TYPE:02x} of {bdf.text(first.function)} (is it multi-function?), or {named}"
                    )
                found.append(named)
    return found


def _not_in_log(topology: Topology, when: str) -> Iterator[str]:
    """What a kernel log that stands for a scan does not show of it."""
    logged = topology.logged
    if logged is None:
        return
    for missing in logged.missing:
        yield f"in {logged.path} ({when} the kexec): {missing}"
    if when == "before" and logged.later:
        names = ", ".join(bdf.text(key) for key in sorted(logged.later)[:4])
        yield (
            f"whether functions that {logged.path} lists after its scan only are virtual, or were there at"
            f" the kexec ({len(logged.later)}: {names})"
        )


def _noted_in_log(incoming: Topology) -> Iterator[str]:
    """Functions of which a log says that the incoming kernel's scan passed over them."""
    logged = incoming.logged
    if logged is None:
        return
    for key, line in sorted(logged.unknown_headers.items()):
        yield (
            f"{bdf.text(key)} answered with an unknown header type, and the incoming kernel ignored it"
            f" ({logged.path}, line {line})"
        )
    for key, line in sorted(logged.later.items()):
        yield f"{bdf.text(key)} was found after the incoming kernel's scan only ({logged.path}, line {line})"


def _named_by_chains(topology: Topology) -> Iterator[tuple[int, int, int]]:
    """Functions that a Next Function Number names and a scan can reach, who names them, the bridge above."""
    for key, function in sorted(topology.functions.items()):
        above = topology.parent(key)
        if above is None or not function.has_ari or not function.next_function:
            continue
        first = topology.functions.get(key & ~0xFF)
        if function.next_function > 7:
            reachable = is_on(above, ARI_FORWARDING) is not False
        else:  # a device that is not multi-function may name a function 1 all the same (QEMU)
            reachable = first is not None and first.multifunction is not False
        if reachable:
            yield function.bus << 8 | function.next_function, key, above.function


def _never_listed(kexec: Handover, hardware: World, preserved: PreservedSet) -> list[str]:
    """Bridges that are on now, and of which the input shows neither that they were nor what was below."""
    if kexec.outgoing.boot.scan is not None:
        return []
    found = []
    for node in hardware.nodes():
        outgoing_state = None if node.outgoing is None else kexec.outgoing_states.get(node.outgoing)
        unknown = (
            node.is_bridge and node.hardware and (outgoing_state is None or outgoing_state.enabled is None)
        )
        affected = preserved.source == "assumed" or node.name in preserved.keys
        if unknown and affected and all(child.outgoing is None for child in node.children.values()):
            found.append(f"the outgoing kernel's enumeration below {bdf.text(node.name)}")
    return found


def _series(hardware: World, kexec: Handover, preserved: PreservedSet, settings: KernelSettings) -> str:
    """Version of the patches: given, logged, shown by the handed-over data, or recognised."""
    fitting = series_recognition.candidates(
        settings.options.series, settings.logged_series, preserved.handed_over
    )

    def predict(version: str) -> Prediction:
        return enumeration.predict(
            hardware,
            _profile(
                "inherit",
                kexec,
                preserved.keys,
                settings,
                version,
                "matched",
                noari=settings.noari,
            ),
        )

    return series_recognition.recognise(
        fitting, hardware, predict, followed=kexec.observed_policy in LIVE_UPDATE_POLICIES
    )


def _profile(
    name: PolicyName,
    kexec: Handover,
    preserved: frozenset[int],
    settings: KernelSettings,
    version: str,
    handed: FlbHandover,
    *,
    noari: bool | None,
) -> Profile:
    return Profile(
        policy=name,
        series=version,
        preserved=preserved,
        noari=noari,
        scan_all=settings.scan_all,
        saved={key: outgoing_state.enabled for key, outgoing_state in kexec.outgoing_states.items()},
        handover=handed,
    )


def _outcome(hardware: World, prediction: Prediction, preserved: frozenset[int]) -> PolicyOutcome:
    certain = [node for node in prediction.order if node.path in prediction.certain]
    return PolicyOutcome(
        discovered=[bdf.text(key) for key in sorted(prediction.keys[node.path] for node in certain)],
        stranded=[bdf.text(key) for key in devices.stranded(hardware, prediction, preserved)],
        assumed=[bdf.text(key) for key in sorted(node.name for node in certain if node.assumed)],
    )
