"""The accesses that show, change or decide what matters for one function, decoded field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import register_state
from analyzer.questions.explain import decode
from analyzer.questions.explain.decode import of_access
from analyzer.questions.explain.explanation import TimelineEntry
from schemas import config_header, extended_capabilities, pcie_capability
from schemas.inherited_state import ARI_FORWARDING
from schemas.registers import BRIDGE_CONTROL, DEVCAP2, SRIOV_CTRL, setpci_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.analysis import Study
    from analyzer.observed.boots import BootSpan
    from analyzer.observed.decisions import Decision
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.observed.topology import Topology
    from analyzer.questions.explain.explanation import EntryKind
    from schemas.inherited_state import InheritedState

_RULE_NOTES = {
    "set": "stock rule: ARI Forwarding switched on",
    "clear": "stock rule: ARI Forwarding switched off",
    "inherit": "inherit rule: taken as it is",
    "untouched": "DEVCTL2 left alone (pci=noari)",
    "skipped": "no ARI access at all (pci=noari)",
}


def of_function(
    study: Study, key: int, physical: int | None = None, state: InheritedState = ARI_FORWARDING
) -> list[TimelineEntry]:
    """Timeline of a function over all boots, in access order.

    For a bridge: its bus numbers, Bridge Control and the state. For an endpoint: how it was found, its ARI
    capability, and the same of the bridge above it. For a virtual function: VF Enable of its physical
    function ``physical``, and the bridge above that.

    Args:
        study: the capture.
        key: the function.
        physical: of a virtual function, its physical one.
        state: the state that is followed, of the function or (as the state says) of the bridge above.
    """
    place = key if physical is None else physical
    discovered = any(key in topology.functions for topology in study.topologies)
    entries: dict[int, TimelineEntry] = {}
    for number, topology in enumerate(study.topologies):
        boundary = _boundary(study, topology)
        entries[-1 - number] = boundary
        function = topology.functions.get(key)
        bridge = function if function is not None and function.is_bridge else topology.parent(place)
        if function is not None:
            _add(entries, _own(study, topology, function))
        elif not discovered:
            _add(entries, _answer(study, topology, key))
        if physical is not None and physical in topology.functions:
            _add(entries, _vf_enable(study, topology, topology.functions[physical]))
        holder = bridge if state.on_bridge else function
        if holder is not None:
            _add(entries, _state(study, topology, holder, state))
        if bridge is not None:
            _add(entries, _bus_numbers(study, topology, bridge))
            _add(entries, _resets(study, topology, bridge))
    return sorted(entries.values(), key=lambda entry: (entry.access or 0, entry.kind != "boundary"))


def _add(entries: dict[int, TimelineEntry], more: Iterator[TimelineEntry]) -> None:
    for entry in more:
        if entry.access is not None:
            entries.setdefault(entry.access, entry)


def _boundary(study: Study, topology: Topology) -> TimelineEntry:
    boot = topology.boot
    how = {"start": "the capture begins", "kexec": "kexec", "reboot": "reboot"}[boot.entered_by]
    return TimelineEntry(
        access=int(study.index.seq[boot.first]),
        time_ns=study.index.time_at(boot.first),
        boot=boot.index,
        kind="boundary",
        note=f"boot {boot.index} ({boot.kind}): {how}",
    )


def _decisions(study: Study, topology: Topology, key: int) -> dict[int, Decision]:
    """Row of the deciding access -> decision, of one bridge in one boot."""
    found: dict[int, Decision] = {}
    for kexec_analysis in study.kexec_analyses:
        for side, decided in (
            (kexec_analysis.handover.outgoing, kexec_analysis.handover.decided_before),
            (kexec_analysis.handover.incoming, kexec_analysis.handover.decided_after),
        ):
            if side is topology:
                found.update({decision.row: decision for decision in decided.get(key, [])})
    return found


def _own(study: Study, topology: Topology, function: Function) -> Iterator[TimelineEntry]:
    if function.silent:
        note = "listed, but every byte reads ff: powered down, or off the bus"
        entry = _entry(study, topology, int(function.view.rows[0]), "HEADER0", 0, "shows", note)
        yield replace(entry, fields=[])  # all ones are no values
    for row in function.scans:
        yield _entry(study, topology, row, "HEADER0", 0, "context", "discovered by the scan")
    header = function.register(config_header.HEADER_TYPE, 1)
    if header is not None and function.scans:
        note = "multi-function" if header[0] & config_header.HEADER_TYPE_MULTIFUNCTION else "single function"
        yield _entry(study, topology, header[1], "HEADER0", 0, "context", note)
    if function.ari is not None:
        chain = function.register(function.ari + extended_capabilities.ARI_CAP, 2)
        if chain is not None:
            note = (
                f"the chain goes on to function {chain[0] >> 8 & 0xFF}"
                if chain[0] >> 8
                else "end of the chain"
            )
            yield _entry(study, topology, chain[1], "ECAP_ARI", function.ari, "context", note)


def _state(
    study: Study, topology: Topology, holder: Function, state: InheritedState
) -> Iterator[TimelineEntry]:
    """Every access to the register of the state, and with ARI Forwarding whether the port supports it."""
    is_ari = state is ARI_FORWARDING
    register, start = state.register, holder.start_of(state.register.base) or 0
    decided = _decisions(study, topology, holder.function) if is_ari else {}
    shown = {sample.row: sample.field(state.mask) for sample in register_state.history(holder, state)}
    for sample in holder.accesses_to(register):
        kind, note = _state_note(sample, decided.get(sample.row))
        field = shown.get(sample.row)
        value = bool(field) if field is not None and state.is_flag else field
        yield _entry(study, topology, sample.row, register.base, start, kind, note, ari=value)
    support = holder.first(DEVCAP2) if is_ari else None
    if support is not None:
        word = "supported" if support[0] & pcie_capability.DEVCAP2_ARI else "not supported"
        yield _entry(study, topology, support[1], DEVCAP2.base, start, "context", f"{state.name} {word}")


def _answer(study: Study, topology: Topology, key: int) -> Iterator[TimelineEntry]:
    """The first read in a boot that a function answered which no boot discovered."""
    index, boot = study.index, topology.boot
    rows = index.rows_of(key)
    answered = rows[(rows >= boot.first) & (rows <= boot.last) & index.live[rows]]
    if answered.size:
        yield _entry(study, topology, int(answered[0]), "HEADER0", 0, "shows", "it answers")


def _vf_enable(study: Study, topology: Topology, physical: Function) -> Iterator[TimelineEntry]:
    """The first access that shows VF Enable, and each that changes it."""
    start = physical.start_of(SRIOV_CTRL.base) or 0
    last: int | None = None
    for sample in physical.accesses_to(SRIOV_CTRL):
        bit = sample.field(extended_capabilities.SRIOV_CTRL_VFE)
        if bit is None or bit == last:
            continue
        last = bit
        note = f"VF Enable {'set' if bit else 'clear'}"
        kind: EntryKind = "event" if sample.write else "shows"
        yield _entry(study, topology, sample.row, SRIOV_CTRL.base, start, kind, note)


def _state_note(sample: Sample, decision: Decision | None) -> tuple[EntryKind, str]:
    if decision is not None:
        return "decides", _RULE_NOTES.get(decision.rule, decision.rule)
    if sample.dead:
        return "shows", "all ones: no response"
    return ("changes", "") if sample.write else ("shows", "")


def _bus_numbers(study: Study, topology: Topology, bridge: Function) -> Iterator[TimelineEntry]:
    """The first read, every change, and every write of the bus numbers by a kernel."""
    if topology.boot.kind == "firmware":
        return  # firmware sets them byte by byte while it counts; only the outcome matters
    last: int | None = None
    for sample in bridge.bus_number_samples():
        if sample.dead or sample.mask & 0xFFFFFF != 0xFFFFFF:
            continue
        value = sample.value & 0xFFFFFF
        if sample.write or value != last:
            numbers = f"[bus {value >> 8 & 0xFF:02x}-{value >> 16:02x}] on bus {value & 0xFF:02x}"
            kind: EntryKind = "changes" if sample.write else "context"
            yield _entry(study, topology, sample.row, "HEADER1", 0, kind, numbers)
        last = value


def _resets(study: Study, topology: Topology, bridge: Function) -> Iterator[TimelineEntry]:
    """Writes of Bridge Control that change Secondary Bus Reset, here and on every bridge above."""
    for port in (bridge, *topology.ancestors(bridge.function)):
        state = 0
        for sample in port.accesses_to(BRIDGE_CONTROL):
            value = sample.field(config_header.BRIDGE_CONTROL_SBR)
            if value is None:
                continue
            if sample.write and value != state:
                note = "Secondary Bus Reset " + ("asserted" if value else "released")
                yield _entry(study, topology, sample.row, "HEADER1", 0, "event", note)
            state = value


def _entry(
    study: Study,
    topology: Topology,
    row: int,
    base: str,
    start: int,
    kind: EntryKind,
    note: str,
    *,
    ari: int | None = None,
) -> TimelineEntry:
    index = study.index
    offset, width, value = int(index.offset[row]) - start, int(index.width[row]), int(index.value[row])
    known = -1 if index.known is None else int(index.known[row])
    parts = decode.parts(base, offset, width, value)
    shown = width or max((part.register.size for part in parts[:1]), default=1)
    number = int(index.file[row])
    return TimelineEntry(
        access=int(index.seq[row]),
        time_ns=index.time_at(row),
        boot=topology.boot.index,
        kind=kind,
        file=study.result.files[number].path if number < len(study.result.files) else "",
        offset_bytes=int(index.where[row]),
        op="write" if index.is_write[row] else "read",
        bdf=bdf.text(int(index.function[row])),
        register=setpci_name(base, offset, shown),
        value=f"0x{value:0{2 * shown}x}" if index.is_whole(row) else None,
        fields=of_access(base, offset, width, value, known),
        ari=ari,
        note="; ".join(part for part in (note, _when(topology.boot, row)) if part),
    )


def _when(boot: BootSpan, row: int) -> str:
    """What is to be said of the time of an access that a boot's kernel did not make itself."""
    return "in the blackout" if row > boot.end else ""
