"""Findings beside the question: other inherited state that the same loss took from bridges and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import register_state, virtual_functions
from analyzer.results import Secondary
from schemas.extended_capabilities import SRIOV_CTRL_VFE
from schemas.inherited_state import ACS_CONTROL, ARI_CAPABLE_HIERARCHY, BUS_MASTER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.observed.topology import Topology
    from analyzer.verdicts.evidence import EvidenceBuilder
    from schemas.inherited_state import InheritedState


def findings(
    outgoing: Topology,
    incoming: Topology,
    preserved: frozenset[int],
    builder: EvidenceBuilder,
    settled: frozenset[int],
    with_sriov: Collection[int],
) -> list[Secondary]:
    """Secondary findings of one kexec, by function.

    Args:
        outgoing: the outgoing boot.
        incoming: the incoming boot.
        preserved: functions that were handed over.
        builder: makes evidence.
        settled: functions of which it is known that neither ACS Control nor Command differs.
        with_sriov: those of which both boots show SR-IOV Control.
    """
    found: list[Secondary] = []
    both = outgoing.functions.keys() & incoming.functions.keys()
    handed_over = preserved - settled
    for key in sorted(both & {*handed_over, *with_sriov}):
        before, after = outgoing.functions[key], incoming.functions[key]
        if key in handed_over:
            found.extend(_acs(before, after, builder))
            if (
                incoming.boot.orderly is True
            ):  # what the shutdown left is known only where it is in the capture
                found.extend(_bus_master(before, after, builder))
        found.extend(_sriov_hierarchy(before, after, builder))
    return found


def _lost(
    state: InheritedState, before: Function, after: Function, *, last: bool = False
) -> tuple[Sample, Sample] | None:
    """The last access that shows a state set, and the one that shows it clear, or None.

    A write of the outgoing kernel counts: it is what the kernel wanted. Of the incoming kernel its first read
    counts, or what it last wrote or read (``last``).
    """
    held = register_state.last_shown(before, state)
    look = register_state.last_shown if last else register_state.first_after
    now = look(after, state)
    if held is None or now is None or not held.field(state.mask) or now.field(state.mask):
        return None
    return held, now


def _acs(before: Function, after: Function, builder: EvidenceBuilder) -> Iterator[Secondary]:
    """Bits of ACS Control were on and read off: isolation is lost, and the series keep what they find.

    v9 reads the register when it saves the state and leaves it alone, v4 to v8 write back what they read; a
    stock kernel sets its own bits again (Linux 7.3 pci_enable_acs).
    """
    state, register = ACS_CONTROL, ACS_CONTROL.register
    held, read = register_state.last_shown(before, state), register_state.first_after(after, state)
    if held is None or read is None:
        return
    lost = held.value & ~read.value & state.mask
    if not lost:
        return
    words = register.words(lost)
    note = (
        f"ACS Control was 0x{held.value:04x} before the kexec and reads 0x{read.value:04x} after it: "
        f"lost {', '.join(words)}"
    )
    left = register_state.last_shown(after, state)
    if left is not None and not lost & ~left.value:
        note += f"; the incoming kernel set {'it' if len(words) == 1 else 'them'} again"
    proof = [
        builder.access(held.row, register, " ".join(f"{word}+" for word in words), before),
        builder.access(read.row, register, " ".join(f"{word}-" for word in words), after),
    ]
    yield Secondary(bdf.text(after.function), "acs-lost", note, proof)


def _bus_master(before: Function, after: Function, builder: EvidenceBuilder) -> Iterator[Secondary]:
    """A preserved bridge kept Bus Master through the shutdown, and it reads off.

    An outgoing kernel without the series' bus-master patch clears it everywhere (Linux 7.3
    pci_device_shutdown), VFIO clears it on endpoints: both write the register, so that what it held last is
    off already.
    """
    lost = _lost(BUS_MASTER, before, after) if after.is_bridge else None
    if lost is not None:
        note = "Bus Master was on when the outgoing kernel ended and is off after the kexec"
        proof = [
            builder.access(lost[0].row, BUS_MASTER.register, "Bus Master on", before),
            builder.access(lost[1].row, BUS_MASTER.register, "Bus Master off", after),
        ]
        yield Secondary(bdf.text(after.function), "bus-master-lost", note, proof)


def _sriov_hierarchy(before: Function, after: Function, builder: EvidenceBuilder) -> Iterator[Secondary]:
    """The incoming kernel set ARI Capable Hierarchy up as 0 where it was 1: VFs get other routing IDs.

    Linux 7.3 sriov_init writes the bit from the ARI state of the bus; First VF Offset and VF Stride may
    depend on it (PCI Express 9.3.3.3.5).
    """
    state = ARI_CAPABLE_HIERARCHY
    lost = _lost(state, before, after, last=True)
    if lost is not None:
        held, wrote = lost
        note = "ARI Capable Hierarchy was 1 and is 0: virtual functions get other routing IDs, or fewer fit"
        if held.field(SRIOV_CTRL_VFE):
            note += "; VFs were enabled" + _routing_ids(before)
        proof = [
            builder.access(held.row, state.register, state.text(1), before),
            builder.access(wrote.row, state.register, state.text(0), after),
        ]
        yield Secondary(bdf.text(after.function), "sriov-hierarchy-lost", note, proof)


def _routing_ids(function: Function) -> str:
    """Where the outgoing kernel's VFs were, as text, if number, offset and stride are in the capture."""
    its = virtual_functions.placement_of(function)
    if its is None or not its.count:
        return ""
    return f" at {bdf.text(its.key(1))} to {bdf.text(its.key(its.count))}"
