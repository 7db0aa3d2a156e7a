"""``analyze explain``: the life of one bridge's ARI bit, or why one function is (not) discovered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer import analysis, bdf
from analyzer.errors import UsageError
from analyzer.observed import virtual_functions
from analyzer.options import Options
from analyzer.questions.explain import absence, function_facts, logged_headers, registers
from analyzer.questions.explain import timeline as explain_timeline
from analyzer.questions.explain.explanation import (
    BootUse,
    ChainStep,
    Explanation,
    KexecExplanation,
    PolicyDecision,
)
from analyzer.replay import citations, slots
from analyzer.results import POLICIES
from analyzer.results.rules import REASONS
from analyzer.verdicts import former_uses

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.analysis import Study
    from analyzer.capture import Capture
    from analyzer.observed.topology import Topology
    from analyzer.questions.explain.explanation import FunctionKind, StepOutcome, VirtualFunctionFacts
    from analyzer.replay.enumeration import Prediction
    from analyzer.replay.slots import Step
    from analyzer.replay.world import Node
    from analyzer.results import BridgeVerdict, DeviceVerdict, PolicyName
    from analyzer.verdicts.kexecs import KexecAnalysis


def explain(path: str | Sequence[str], function: str, options: Options | None = None) -> Explanation:
    """Explain one function of a capture.

    Args:
        path: the capture; a sequence: consecutive pieces of one, in order.
        function: its address, ``[dddd:]bb:dd.f``, as the outgoing kernel numbered it.
        options: as for the main job.

    Raises:
        UsageError: no such function in the capture; the message says which bridge would lead to it.
        AritraceError: the capture cannot be read.
    """
    chosen = options or Options()
    paths = [path] if isinstance(path, str) else path
    return explain_capture(analysis.open_pieces(paths, chosen), function, chosen)


def explain_capture(capture: Capture, function: str, options: Options | None = None) -> Explanation:
    """The same for a capture that is already in memory."""
    study = analysis.study(capture, options)
    key = bdf.parse(function)
    virtual = function_facts.virtual_function(study, key)
    # Firmware's numbers come last: the address is a kernel's.
    boots = sorted(study.topologies, key=lambda topology: topology.boot.kind == "firmware")
    known = [topology for topology in boots if key in topology.functions]
    if not known and virtual is None and not _is_in_input(study, key):
        missing = absence.of_function(study, key)
        raise UsageError(
            f"no kernel in {capture.path} found function {bdf.text(key)}: {missing.where}",
            advice="analyze --format json lists every function ('devices')",
            details=missing.facts,
        )
    physical = None if virtual is None or virtual.physical is None else bdf.parse(virtual.physical)
    place = key if physical is None else physical
    topology = _showing_the_place([boot for boot in boots if place in boot.functions] or boots, place)
    above = topology.parent(place)
    kind, kind_missing = _kind(study, key, known, virtual)
    ids = (topology.functions[key].vendor_device for topology in known)
    return Explanation(
        path=capture.path,
        bdf=bdf.text(key),
        vendor_device=next((name for name in ids if name is not None), None),
        kind=kind,
        port_type=_port_type(study, key) or function_facts.port_type(kind),
        bridge=None if above is None else bdf.text(above.function),
        path_from_root=[bdf.text(bridge.function) for bridge in reversed(topology.ancestors(place))],
        timeline=explain_timeline.of_function(study, key, physical),
        kexecs=[_at_kexec(kexec_analysis, key, virtual) for kexec_analysis in study.kexec_analyses],
        unknown=[*_unknown(study, key), *_unknown_places(boots, topology, place)],
        no_response=list(logged_headers.of_known(study, key, function_facts.reach(topology, key))),
        kind_missing=kind_missing,
        missing_bridge_bus=_missing_bridge_bus(topology, place),
        virtual_function=virtual,
        registers=registers.histories(study, key),
        uses=list(_uses(study, capture, key)),
    )


def _uses(study: Study, capture: Capture, key: int) -> Iterator[BootUse]:
    for topology in study.topologies:
        boot = topology.boot.index
        use = former_uses.of_boot(boot, study.index, study.logs, capture.notes.uses).get(key)
        if use is not None:
            yield BootUse(boot, use)


def _is_in_input(study: Study, key: int) -> bool:
    """Whether the input shows something of a function that no boot discovered."""
    return function_facts.answers(study, key) or function_facts.is_dumped(study, key)


def _showing_the_place(boots: list[Topology], key: int) -> Topology:
    """The first boot that shows what is above a function: a bridge, or that it is on a root bus."""
    shown = [boot for boot in boots if boot.parent(key) is not None]
    shown += [boot for boot in boots if boot.is_root(key >> 8)]
    return (shown or boots)[0]


def _missing_bridge_bus(topology: Topology, key: int) -> int | None:
    """The bus at which the way up from a function ends, if that is no root bus."""
    top = topology.root_bus(key >> 8)
    return None if topology.is_root(top) else top & 0xFF


def _unknown_places(boots: list[Topology], shown: Topology, key: int) -> list[str]:
    """Boots that have a function and not the bridge above it, where another boot shows that bridge."""
    return [
        f"boot {boot.boot.index}: {bdf.bridge_above(bus)} is not in the input"
        for boot in boots
        if boot is not shown and boot.boot.kind != "firmware" and key in boot.functions
        if (bus := _missing_bridge_bus(boot, key)) is not None
    ]


def _kind(
    study: Study, key: int, known: list[Topology], virtual: VirtualFunctionFacts | None
) -> tuple[FunctionKind, list[str]]:
    if virtual is not None:
        return "virtual-function", []
    if known:
        return function_facts.kind(topology.functions[key] for topology in known)
    if any(key in topology.ignored for topology in study.topologies):
        return "unknown", []
    return ("undiscovered" if function_facts.answers(study, key) else "silent"), []


def _port_type(study: Study, key: int) -> str | None:
    for kexec_analysis in study.kexec_analyses:
        for bridge in kexec_analysis.result.bridges:
            if bridge.bdf == bdf.text(key):
                return bridge.port_type
    return None


def _unknown(study: Study, key: int) -> list[str]:
    text = bdf.text(key)
    found: list[str] = []
    for kexec_analysis in study.kexec_analyses:
        found.extend(
            f"kexec {kexec_analysis.result.index}: {bridge.missing_access}"
            for bridge in kexec_analysis.result.bridges
            if bridge.bdf == text and bridge.missing_access
        )
    return found


def _at_kexec(
    kexec_analysis: KexecAnalysis, key: int, virtual: VirtualFunctionFacts | None
) -> KexecExplanation:
    """The same as :func:`at_kexec`, also of a virtual function, which no kernel enumerates."""
    found = at_kexec(kexec_analysis, key)
    device, outgoing = found.device, kexec_analysis.handover.outgoing
    if virtual is None or (device is not None and device.reason != "never-seen"):
        return found
    incoming = kexec_analysis.handover.incoming
    what = f"{'looks like' if virtual.physical is None else 'is'} a virtual function"
    if _is_virtual(outgoing, key):
        said = f"{what}, which {_NOT_PRESERVED}"
        if device is not None:
            said = f"is {device.verdict}: it {said}"
    elif _is_virtual(incoming, key):
        said = f"{what}; the input does not show it before the kexec"
    else:
        return found
    return replace(found, conclusion=f"{bdf.text(key)} {said}")


def _is_virtual(topology: Topology, key: int) -> bool:
    return key in topology.nameless or bool(virtual_functions.among(topology, [key]))


def at_kexec(kexec_analysis: KexecAnalysis, key: int) -> KexecExplanation:
    """Explain one function (``domain << 16 | bus << 8 | devfn``) at one kexec."""
    result = kexec_analysis.result
    text = bdf.text(key)
    bridge = next((item for item in result.bridges if item.bdf == text), None)
    device = next((item for item in result.devices if item.bdf == text), None)
    node = kexec_analysis.world.by_outgoing.get(key) or _incoming_node(kexec_analysis, key)
    shown = bridge if bridge is not None else _bridge_above(kexec_analysis, node)
    return KexecExplanation(
        index=result.index,
        kind=result.kind,
        at_access=result.at_access,
        observed_policy=result.observed_policy,
        policy=result.policy,
        series=result.series,
        conclusion=_conclusion(bridge, device),
        bridge=bridge,
        device=device,
        decisions=[] if node is None else [_decision(kexec_analysis, node, name) for name in POLICIES],
        walks={} if node is None else _walks(kexec_analysis, node),
        cause=None if shown is None else shown.cause,
        cause_source="docs/replay.md, causes" if shown is not None and shown.cause else None,
        confidence=None if shown is None else shown.confidence,
        evidence=[] if shown is None else shown.evidence,
        state=registers.at_kexec(kexec_analysis, key),
    )


def _incoming_node(kexec_analysis: KexecAnalysis, key: int) -> Node | None:
    return next((node for node in kexec_analysis.world.nodes() if node.incoming == key), None)


def _bridge_above(kexec_analysis: KexecAnalysis, node: Node | None) -> BridgeVerdict | None:
    above = None if node is None else kexec_analysis.world.parent(node)
    if above is None:
        return None
    text = bdf.text(above.name)
    return next((item for item in kexec_analysis.result.bridges if item.bdf == text), None)


_NOT_PRESERVED = "no series preserves: the incoming kernel clears VF Enable"


def _conclusion(bridge: BridgeVerdict | None, device: DeviceVerdict | None) -> str:
    if bridge is not None:
        cause = f", cause {bridge.cause}" if bridge.cause else ""
        where = f" of {bridge.cause_bdf}" if bridge.cause_bdf else ""
        return f"{bridge.bdf} is {bridge.verdict}{cause}{where}"
    if device is None:
        return "neither kernel of this kexec found it"
    if device.verdict == "reachable":
        return f"{device.bdf} is discovered"
    return f"{device.bdf} is {device.verdict}: {REASONS[device.reason]}" if device.reason else device.verdict


def _decision(kexec_analysis: KexecAnalysis, node: Node, name: PolicyName) -> PolicyDecision:
    """What a policy does with the bridge itself, or with the bridge above an endpoint."""
    prediction = kexec_analysis.predictions[name]
    bridge = node if node.is_bridge and node.children else kexec_analysis.world.parent(node)
    found: bool | None = node.path in prediction.certain
    if node.path in prediction.possible:
        found = None
    rule, source, ari, writes = _rule(bridge, prediction)
    if bridge is None and not _is_on_root_bus(kexec_analysis, node):
        found, rule, source = None, "the bridge above is not in the input", ""
    runs = name == kexec_analysis.ran and kexec_analysis.result.observed_policy != "unknown"
    return PolicyDecision(name, ari, found, rule, source, writes, runs)


def _is_on_root_bus(kexec_analysis: KexecAnalysis, node: Node) -> bool:
    kexec = kexec_analysis.handover
    return any(topology.is_root(node.path[0]) for topology in (kexec.outgoing, kexec.incoming))


def _rule(bridge: Node | None, prediction: Prediction) -> tuple[str, str, bool | None, str | None]:
    if bridge is None:
        return "on a root bus every device number is probed", "Linux 7.3 only_one_child()", None, None
    decision = prediction.decisions.get(bridge.path)
    numbers = prediction.numbers.get(bridge.path)
    if numbers in ("refuse", "unknown"):
        return (*citations.NUMBERS[numbers], None, None)
    if decision is None:
        return "the bridge is not reached", "Linux 7.3 pci_scan_child_bus_extend()", None, None
    writes = {"set": "1", "clear": "0", "healed": "1 if it is 0", "restored": "if it differs"}.get(
        decision.branch
    )
    return (*citations.ARI[decision.branch], decision.enabled, writes)


def _walks(kexec_analysis: KexecAnalysis, node: Node) -> dict[str, list[ChainStep]]:
    """The walk over the function's bus: under the policy that verdicts go by, and under any that differs."""
    above = kexec_analysis.world.parent(node)
    if above is None or (node.is_bridge and node.children):
        above = node if node.children else above
    if above is None or not above.one_child:
        return {}
    walks: dict[str, list[ChainStep]] = {}
    for name in (kexec_analysis.result.policy, *POLICIES):
        decision = kexec_analysis.predictions[name].decisions.get(above.path)
        if decision is None or decision.enabled is None:
            continue
        steps = _steps(above, kexec_analysis, name, enabled=decision.enabled)
        if name not in walks and steps not in walks.values():
            walks[name] = steps
    return walks


def _steps(
    bridge: Node, kexec_analysis: KexecAnalysis, name: PolicyName, *, enabled: bool
) -> list[ChainStep]:
    answering = {devfn: child for devfn, child in bridge.children.items() if child.present}
    bus = _bus_below(bridge, kexec_analysis.predictions[name])
    isolated = kexec_analysis.profiles[name].isolated_functions
    steps = slots.slot_steps(answering, 0, enabled=enabled, go_on=False, isolated=isolated)
    return [_step(bus, step) for step in steps]


def _bus_below(bridge: Node, prediction: Prediction) -> int:
    for child in bridge.children.values():
        if child.path in prediction.keys:
            return prediction.keys[child.path] >> 8
    numbers = bridge.outgoing_numbers or bridge.numbers
    return bridge.name >> 16 << 8 | (numbers.secondary if numbers is not None else 0)


def _step(bus: int, step: Step) -> ChainStep:
    node = step.node
    outcome: StepOutcome = "absent" if node is None else "found"
    return ChainStep(
        bdf=bdf.text(bus << 8 | step.devfn & 0xFF),
        outcome=outcome,
        multifunction=None if node is None else node.multifunction,
        ari_capability=None if node is None else node.has_ari,
        next_function=None if node is None else node.next_function,
        note=step.why,
    )
