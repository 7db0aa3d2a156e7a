"""The verdict on every bridge at one kexec (interface: bridge verdicts)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import register_state
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers import missing_bytes
from analyzer.replay import bus_numbers
from analyzer.results import LOSSES, BridgeVerdict, rules
from analyzer.verdicts import causes, devices, error_observations, error_status
from analyzer.verdicts.error_status import KexecWindow
from analyzer.verdicts.state_at_kexec import StateAtKexec
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcie_capability import PORT_TYPES
from schemas.registers import BUS_NUMBERS

if TYPE_CHECKING:
    from analyzer.observed.decisions import Decision
    from analyzer.observed.topology import Topology
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.world import Node, World
    from analyzer.results import BridgeVerdictName, Evidence, Window
    from analyzer.verdicts.causes import Attribution
    from analyzer.verdicts.error_status import FunctionErrors
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.handovers import Handover
    from analyzer.verdicts.reset_evidence import LogMessage

_CAUSED = frozenset({*LOSSES, "healed"}) - {"hidden"}
_WRITING = frozenset({"set", "clear", "restore"})


@dataclass(frozen=True)
class KexecContext:
    """Everything that the verdict on a bridge looks at, once per kexec.

    Attributes:
        handover: the two boots and what they decided.
        world: the hardware.
        prediction: replay under the policy that verdicts are given under.
        as_observed: that policy is the one that ran, so that what the kernel was seen to decide counts.
        preserved: keys of the preserved set (outgoing numbering).
        stranded: keys of the devices called stranded.
        messages: messages and events about functions, from logs and captures.
        whole: no access between the capture's first and its last is known to be missing.
    """

    handover: Handover
    world: World
    prediction: Prediction
    as_observed: bool
    preserved: frozenset[int]
    stranded: frozenset[int]
    builder: EvidenceBuilder
    messages: tuple[LogMessage, ...] = ()
    whole: bool = True

    @property
    def outgoing(self) -> Topology:
        """The outgoing boot."""
        return self.handover.outgoing

    @property
    def incoming(self) -> Topology:
        """The incoming boot."""
        return self.handover.incoming

    @property
    def error_window(self) -> KexecWindow:
        """What the windows of errors at this kexec are measured by."""
        return KexecWindow(self.builder, self.outgoing.boot.end, self.incoming.is_snapshot, self.whole)


@dataclass(frozen=True)
class _Facts:
    node: Node
    ari: StateAtKexec
    decision: Decision | None
    decided: bool | None


def verdicts(context: KexecContext) -> list[BridgeVerdict]:
    """One verdict per bridge that either boot enumerated, sorted by BDF."""
    found = [_verdict(context, _facts(context, node)) for node in context.world.nodes() if node.is_bridge]
    return sorted(found, key=lambda bridge: bdf.parse(bridge.bdf))


def _facts(context: KexecContext, node: Node) -> _Facts:
    handover, nothing = context.handover, OutgoingState()
    before = context.outgoing.functions.get(node.outgoing) if node.outgoing is not None else None
    after = context.incoming.functions.get(node.incoming) if node.incoming is not None else None
    taken = handover.decided_after.get(node.incoming, []) if node.incoming is not None else []
    decision = taken[0] if taken else None
    predicted = context.prediction.decisions.get(node.path)
    decided = None if predicted is None else predicted.enabled
    if context.as_observed and decision is not None and decision.enabled is not None:
        decided = decision.enabled
    held = nothing if node.outgoing is None else handover.outgoing_states.get(node.outgoing, nothing)
    first = register_state.first_after(after, ARI_FORWARDING)
    ari = StateAtKexec(ARI_FORWARDING, before, after, held, first)
    if context.as_observed and context.incoming.is_snapshot:
        decided = ari.is_on_after  # what the kernel left is what it uses
    return _Facts(node, ari, decision, decided)


def _verdict(context: KexecContext, facts: _Facts) -> BridgeVerdict:
    node = facts.node
    name = _name(context, facts)
    errors = _errors_on_path(context, facts) if name in _CAUSED else []
    cause = _cause(context, facts, name, errors) if name in _CAUSED else None
    beside = None if cause is None else error_observations.path_errors(errors, context.error_window)
    numbers = node.outgoing_numbers or node.numbers
    renumbered = name == "renumbered" and node.incoming_numbers is not None
    keys = devices.below(node, context.stranded)
    confidence = cause.confidence if cause is not None else None
    if name == "kept":
        sure = facts.ari.outgoing.enabled is not None and not context.incoming.is_snapshot
        confidence = "high" if sure else "low"  # in a snapshot the bit may have been lost and healed before
    return BridgeVerdict(
        bdf=bdf.text(node.name),
        vendor_device=node.vendor_device,
        secondary=None if numbers is None else numbers.secondary,
        subordinate=None if numbers is None else numbers.subordinate,
        new_secondary=node.incoming_numbers.secondary if renumbered and node.incoming_numbers else None,
        port_type=(
            PORT_TYPES.get(node.pcie_type, "pci") if node.pcie_type is not None else _conventional(node)
        ),
        preserved=node.name in context.preserved,
        ari_before=facts.ari.outgoing.enabled,
        ari_after=facts.ari.is_on_after,
        ari_decided=facts.decided,
        verdict=name,
        cause=None if cause is None else cause.cause,
        cause_bdf=None if cause is None else cause.cause_bdf,
        confidence=confidence,
        window=_window(context, facts, name, cause),
        evidence=_evidence(context, facts, cause),
        stranded=[bdf.text(key) for key in sorted(keys)],
        missing_access=_missing_access(context, facts) if name == "undetermined" else None,
        cause_note=None if cause is None else cause.note,
        path_errors=None if beside is None else beside[0],
        path_errors_note=None if beside is None else beside[1],
    )


def _conventional(node: Node) -> str | None:
    return "pci" if node.is_pcie is False else None


def _name(context: KexecContext, facts: _Facts) -> BridgeVerdictName:
    node = facts.node
    if context.prediction.panicked:
        return "hidden"
    if not node.present:
        return "hidden" if node.unroutable else "gone"
    discovered = node.path in context.prediction.certain or node.path in context.prediction.possible
    if not discovered:
        return "hidden"
    if node.numbers_silent:
        return "gone"
    numbers = context.prediction.numbers.get(node.path)
    came_back_invalid = node.outgoing_numbers is not None or node.outgoing is None
    if numbers == "refuse" and came_back_invalid:
        return "unconfigured"
    if numbers == "assign" and _has_new_numbers(context, node):
        return "renumbered"
    if numbers == "unknown":
        return "undetermined"
    if _moved(node):
        return "renumbered"
    if _not_applicable(context, node):
        return "not-applicable"
    return _ari_name(facts)


def _renumbered_by_option(context: KexecContext, node: Node) -> bool:
    """Whether the bridge kept usable numbers, and got new ones because the kernel numbers every bridge."""
    place = context.prediction.keys.get(node.path)
    assigned = context.prediction.renumbers and context.prediction.numbers.get(node.path) == "assign"
    return assigned and place is not None and not bus_numbers.node_unusable(node, place >> 8 & 0xFF)


def _has_new_numbers(context: KexecContext, node: Node) -> bool:
    """Whether bus numbers were assigned to it that it lost, or that are not those it had."""
    before, after = node.outgoing_numbers, node.incoming_numbers
    if before is None or not _renumbered_by_option(context, node):
        return before is not None
    new = after.secondary if context.as_observed and after is not None else node.assigned
    return new != before.secondary


def _moved(node: Node) -> bool:
    """Whether the bridge has another secondary bus than before: whatever is below has other requester IDs.

    Numbers that came back usable but other than they were, as the first read shows them.
    """
    before, after = node.outgoing_numbers, node.numbers
    return before is not None and after is not None and 0 != after.secondary != before.secondary


def _not_applicable(context: KexecContext, node: Node) -> bool:
    """No ARI support, or nothing to need it: no function 0 below in either boot, nothing preserved."""
    if node.ari_supported is False:
        return True
    has_function_0 = 0 in node.children
    return not has_function_0 and not devices.below(node, context.preserved)


def _ari_name(facts: _Facts) -> BridgeVerdictName:
    """The before / after / decided table of the interface."""
    before, after, decided = facts.ari.outgoing.enabled, facts.ari.is_on_after, facts.decided
    rule = None if facts.decision is None else facts.decision.rule
    answered = facts.decision is not None and facts.decision.read is not None and not facts.decision.read_dead
    if before and decided is False and rule == "inherit" and answered:
        return "lost"  # off when the kernel took it over, whatever it read before (incoming-write)
    if after and decided is False:
        return "cleared" if rule in ("clear", "restore") else "ignored"
    if after is None or decided is None or before is None:
        if before is None and after and decided:
            return "kept"
        return "off" if before is False and not decided and not after else "undetermined"
    if before:
        if decided:
            return "kept" if after else "healed"
        return "lost"
    return "gained" if decided else "off"


def _missing_access(context: KexecContext, facts: _Facts) -> str:
    place = bdf.text(facts.node.name)
    if context.prediction.numbers.get(facts.node.path) == "unknown":
        return f"the incoming kernel's visit of {place} and of the bridges beside it (0x18.l in both passes)"
    if context.outgoing.logged is not None and context.incoming.logged is not None:
        return f"ARI Forwarding of {place} before and after the kexec, which no kernel log shows"
    for topology, function, bit, when in (
        (context.outgoing, facts.ari.before, facts.ari.outgoing.enabled, "before"),
        (context.incoming, facts.ari.after, facts.ari.is_on_after, "after"),
    ):
        if topology.logged is not None and function is not None and bit is None:
            return f"ARI Forwarding of {place} {when} the kexec, which no kernel log shows"
        if topology.boot.scan is None and function is not None:
            wanted = [
                *missing_bytes.of_support(function),
                *missing_bytes.of_state(function, ARI_FORWARDING, known=bit is not None),
            ]
            if wanted:
                return f"{missing_bytes.in_words(dict.fromkeys(wanted))} of {place} {when} the kexec"
    if facts.ari.outgoing.enabled is None:
        register = ARI_FORWARDING.register.setpci
        return f"the outgoing kernel's ARI decision on {place} ({register} written or read during its scan)"
    if facts.ari.first is None:
        return f"a read of {ARI_FORWARDING.register.setpci} of {place} by the incoming kernel"
    return f"the incoming kernel's ARI decision on {place}"


def _cause_context(context: KexecContext, facts: _Facts) -> causes.CauseContext:
    node = facts.node
    before = facts.ari.before
    since = facts.ari.outgoing.row
    if since is None:
        since = (
            context.outgoing.boot.scan
            if context.outgoing.boot.scan is not None
            else context.outgoing.boot.first - 1
        )
    return causes.CauseContext(
        outgoing=before,
        incoming=facts.ari.after,
        ancestors=[] if node.outgoing is None else context.outgoing.ancestors(node.outgoing),
        since=since,
        decision=facts.decision.row if facts.decision is not None else context.incoming.boot.last + 1,
        outgoing_state=facts.ari.outgoing,
        messages=context.messages,
        logged=context.incoming.logged is not None,
        scanned=context.incoming.boot.scan is not None,
    )


def _errors_on_path(context: KexecContext, facts: _Facts) -> list[FunctionErrors]:
    """Error status of a bridge and of the bridges above it, nearest first.

    What the outgoing kernel itself read counts from the last access on that shows ARI Forwarding on.
    """
    window = context.error_window
    since = register_state.last_held(facts.ari.before, ARI_FORWARDING, facts.ari.outgoing)
    found = []
    node: Node | None = facts.node
    while node is not None:
        before = None if node.outgoing is None else context.outgoing.functions.get(node.outgoing)
        after = None if node.incoming is None else context.incoming.functions.get(node.incoming)
        found.append(error_status.of_function(node.name, before, after, window, since or -1))
        node = context.world.parent(node)
    return found


def _cause(
    context: KexecContext, facts: _Facts, name: BridgeVerdictName, errors: list[FunctionErrors]
) -> Attribution:
    if name == "renumbered" and _renumbered_by_option(context, facts.node):
        return causes.Attribution("incoming-write", "high", note=rules.BY_ASSIGN_BUSSES)
    return causes.attribute(
        replace(_cause_context(context, facts), link_errors=error_status.link_errors(errors[1:])),
        context.builder,
        gone=name == "gone",
        needs_state=name in ("lost", "healed"),
    )


def _window(
    context: KexecContext, facts: _Facts, name: BridgeVerdictName, cause: Attribution | None
) -> Window | None:
    if name not in ("lost", "healed", "unconfigured", "renumbered") or not facts.ari.outgoing.enabled:
        return None
    if facts.ari.is_on_after and name in ("unconfigured", "renumbered"):
        return None  # only the bus numbers were lost
    return facts.ari.window(cause, context.outgoing.boot.end, context.builder)


def _evidence(context: KexecContext, facts: _Facts, cause: Attribution | None) -> list[Evidence]:
    """What proves the verdict, in capture order; of a bridge without ARI support its bit says nothing."""
    proof = [] if facts.node.ari_supported is False else _of_ari(context, facts)
    if cause is not None:
        proof.extend(cause.evidence)
    after = facts.ari.after
    if facts.node.numbers_silent and after is not None:
        dead = next(sample for sample in after.bus_number_samples() if sample.dead)
        note = "bus numbers read all ones: it stopped answering while it was set up"
        proof.append(context.builder.access(dead.row, BUS_NUMBERS, note, after))
    unique = {(item.access, item.note): item for item in proof}
    return sorted(unique.values(), key=lambda item: (item.access is None, item.access or 0))


def _of_ari(context: KexecContext, facts: _Facts) -> list[Evidence]:
    """What the outgoing kernel had, first read, decision."""
    proof = facts.ari.evidence(context.builder)
    after, decision = facts.ari.after, facts.decision
    if after is not None and after.pcie is not None and decision is not None and decision.rule in _WRITING:
        note = f"incoming kernel: {ARI_FORWARDING.name} {'set' if decision.enabled else 'clear'}"
        proof.append(context.builder.access(decision.row, ARI_FORWARDING.register, note, after))
    return proof
