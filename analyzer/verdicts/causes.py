"""Why a bridge lost ARI Forwarding or its bus numbers: signature to cause, first row that fits.

The table is in docs/replay.md (causes); it rests on PCI Express 6.6.1 and 7.5.1.3.13 (what a
reset of which port resets) and on Linux 7.3 save/restore; docs/replay.md cites each row with its test. Only
first reads behind the boundary count: the incoming kernel rewrites Command, Bridge Control, DEVCTL and LTR
itself before it looks at ARI.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.decisions import ARI_BIT
from analyzer.verdicts import reset_evidence
from schemas import config_header, pcie_capability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.ari_state import OutgoingState
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.results import Cause, Confidence, Evidence
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.reset_evidence import LogMessage

LTR_BIT = pcie_capability.DEVCTL2_LTR.bit_length() - 1


@dataclass
class Attribution:
    """A cause with its confidence and the accesses that prove it.

    ``row`` is the row of the access before the incoming kernel that cleared the bit, where the capture shows
    it. ``note`` names the alternatives where the input cannot tell them apart.
    """

    cause: Cause
    confidence: Confidence
    cause_bdf: str | None = None
    evidence: list[Evidence] = field(default_factory=list)
    row: int | None = None
    note: str | None = None


@dataclass(frozen=True)
class CauseContext:
    """What the attribution of one bridge looks at.

    Attributes:
        outgoing, incoming: the bridge in both boots (None: not seen there).
        ancestors: bridges above it in the outgoing boot, nearest first.
        since: row from which on a loss is looked for (the last access that showed the bit on, or the end of
        the
            outgoing scan).
        decision: row of the incoming kernel's decision, or of its end.
        outgoing_state: what the outgoing kernel believed.
        messages: messages and events about functions.
        scanned: the incoming kernel's scan is in the input; else only what it left is known.
    """

    outgoing: Function | None
    incoming: Function | None
    ancestors: Sequence[Function]
    since: int
    decision: int
    outgoing_state: OutgoingState
    messages: Sequence[LogMessage] = ()
    scanned: bool = True


#: From dumps alone these look the same.
_LEFT_BY_THE_KERNEL = (
    "lost before the incoming kernel ran, cleared by that kernel (function 0 without ARI), never set by it "
    "(pci=noari), or cleared later: a dump shows only what was left"
)
_RENUMBERED_BY = (
    "assigned by the incoming kernel (after a reset, or with pci=assign-busses) or later (remove and "
    "rescan): a dump shows only what was left"
)


def attribute(
    context: CauseContext, builder: EvidenceBuilder, *, gone: bool = False, needs_bit: bool = True
) -> Attribution:
    """Name the cause of a loss.

    Args:
        context: the bridge.
        builder: makes evidence.
        gone: the bridge does not answer: its state is unknown, only links and power can be blamed.
        needs_bit: ARI itself was lost (else bus numbers only, on a bridge without ARI).
    """
    found = _by_write(context, builder) if needs_bit and not gone else None
    if found is None and gone:
        found = _reset_above(context, builder) or Attribution("unknown", "high")
    if found is None:
        if was_reset(context):
            found = _reset(context, builder)
        else:
            found = (
                _selective(context, builder) if context.scanned else _from_dumps(context, builder, needs_bit)
            )
    return found


def was_reset(context: CauseContext) -> bool:
    """The reset signature R of a port in its first reads after the boundary.

    Bus numbers zero, and Bridge Control zero or DEVCTL error reporting (bits 3:0) zero where it was not
    zero before.
    """
    bridge = context.incoming
    if bridge is None:
        return False
    numbers = bridge.first_bus_numbers
    if numbers is None or (numbers.primary, numbers.secondary, numbers.subordinate) != (0, 0, 0):
        return False
    control = bridge.value(config_header.BRIDGE_CONTROL)
    return control == 0 or _reporting_lost(context)


def _reporting_lost(context: CauseContext) -> bool:
    """Whether error reporting was on before and is off in the first read of DEVCTL."""
    after = None if context.incoming is None else context.incoming.pcie_value(pcie_capability.DEVCTL)
    if after is None or after & pcie_capability.DEVCTL_ERROR_REPORTING:
        return False
    before = context.outgoing
    if before is None or before.pcie is None:
        return True  # how it was is not in the input
    held = [
        sample.value & pcie_capability.DEVCTL_ERROR_REPORTING
        for sample in before.view.samples(before.pcie + pcie_capability.DEVCTL, 2)
        if not sample.dead and sample.mask & pcie_capability.DEVCTL_ERROR_REPORTING
    ]
    return not held or bool(held[-1])


def clearing_write(bridge: Function, since: int, until: int) -> tuple[Sample, Sample | None] | None:
    """The write that cleared bit 5 between two rows, and the read before it, or None.

    A read-modify-write that carries a 0 which it just read is no clear, nor is a write after an all-ones
    read.
    """
    shown: bool | None = True
    before: Sample | None = None
    found: tuple[Sample, Sample | None] | None = None
    for sample in bridge.devctl2:
        if not since < sample.row < until or not sample.mask >> ARI_BIT & 1:
            continue
        bit = sample.bit(ARI_BIT)
        if sample.write:
            if bit is False and shown:
                found = (sample, before)
            elif bit:
                found = None
            shown = bit if shown is not None else None
        else:
            shown, before = (None if sample.dead else bit), sample
            if shown:
                found = None  # the write did not stick
    return found


def _by_write(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Rows 2 and 3: somebody wrote 0."""
    if context.outgoing is not None and context.outgoing.pcie is not None:
        found = clearing_write(context.outgoing, context.since, context.outgoing.view.rows[-1] + 1)
        if found is not None:
            write, read = found
            restore = _is_restore(context.outgoing, write.row)
            proof = [builder.pcie(write, context.outgoing.pcie, "bit 5 (ARIFwd) written as 0")]
            if read is not None:
                proof.insert(0, builder.pcie(read, context.outgoing.pcie, "last read before that write"))
            return Attribution(
                "restore-write" if restore else "explicit-write", "high", None, proof, row=write.row
            )
    if context.incoming is not None and context.incoming.pcie is not None and context.incoming.view.rows.size:
        found = clearing_write(context.incoming, int(context.incoming.view.rows[0]) - 1, context.decision)
        if found is not None:
            write, _ = found
            proof = [
                builder.pcie(write, context.incoming.pcie, "bit 5 written as 0 before the decision read")
            ]
            return Attribution("incoming-write", "high", None, proof)
    return None


def _is_restore(bridge: Function, row: int) -> bool:
    """Whether a DEVCTL2 write is part of Linux's PCIe state restore.

    pci_restore_pcie_state (7.3) writes DEVCTL, LNKCTL, SLTCTL, RTCTL, DEVCTL2, LNKCTL2 one after the other,
    as far as the port implements them, with no read between.
    """
    view = bridge.view
    position = int(view.rows.searchsorted(row)) - 1
    written: list[int] = []
    while position >= 0 and view.writes[position] and len(written) < 4:
        written.append(int(view.offsets[position]) - (bridge.pcie or 0))
        position -= 1
    order = [pcie_capability.DEVCTL, pcie_capability.LNKCTL]
    return written[::-1][:2] == order


def _reset(context: CauseContext, builder: EvidenceBuilder) -> Attribution:
    """Row 5: the port was reset; by what else is seen."""
    proof = _reset_proof(context, builder)
    found = _reset_above(context, builder) or _from_power_state(context, builder)
    if found is None:
        found = _from_the_port(context, builder)
    found.evidence.extend(proof)
    return found


def _from_the_port(context: CauseContext, builder: EvidenceBuilder) -> Attribution:
    """Rows 5d to 5f: nothing above was seen; the port itself tells what is left."""
    bridge = context.incoming or context.outgoing
    if bridge is not None and bridge.pcie_type == pcie_capability.TYPE_ROOT_PORT:
        # A root port's registers do not reset with its own link (PCIe 6.6.1): the host bridge was.
        return Attribution("host-bridge-reinit", "medium")
    sticky = reset_evidence.sticky_lost(context.outgoing, context.incoming, builder)
    if sticky is not None:
        return Attribution("power-cycle", sticky.confidence, None, [sticky.evidence])
    return Attribution("hot-reset", "medium")


def _reset_proof(context: CauseContext, builder: EvidenceBuilder) -> list[Evidence]:
    bridge = context.incoming
    if bridge is None or bridge.first_bus_numbers is None:
        return []
    note = "bus numbers are 0: the port was reset"
    proof = [builder.access(bridge.first_bus_numbers.row, "PRIMARY_BUS.l", note, size=4)]
    control = bridge.register(config_header.BRIDGE_CONTROL, 2)
    if control is not None and control[0] == 0:
        note = "Bridge Control reads its reset value"
        proof.append(builder.access(control[1], "BRIDGE_CONTROL", note, size=2))
    devctl = None if bridge.pcie is None else bridge.register(bridge.pcie + pcie_capability.DEVCTL, 2)
    if devctl is not None and _reporting_lost(context) and bridge.pcie is not None:
        note = "error reporting is off"
        proof.append(builder.access(devctl[1], "CAP_EXP", note, capability=bridge.pcie, size=2))
    return proof


def _reset_above(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Rows 5a and 5b: a reset or a lost link on a bridge above, the topmost one that shows it."""
    for ancestor in reversed(context.ancestors):
        sign = reset_evidence.secondary_bus_reset(ancestor, context.since, builder)
        if sign is not None:
            place = bdf.text(ancestor.function)
            return Attribution("secondary-bus-reset", "high", place, [sign.evidence], row=sign.row)
    for ancestor in reversed(context.ancestors):
        sign = reset_evidence.link_lost(ancestor, context.since, context.messages, builder)
        if sign is not None:
            place = bdf.text(ancestor.function)
            return Attribution("upstream-link-down", sign.confidence, place, [sign.evidence])
    return None


def _from_power_state(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Row 5c: the port was in D3 and does not keep its state."""
    if context.outgoing is None:
        return None
    sign = reset_evidence.powered_down(context.outgoing, context.since, builder)
    if sign is None:
        return None
    return Attribution("power-state", sign.confidence, None, [sign.evidence], row=sign.row)


def _from_dumps(context: CauseContext, builder: EvidenceBuilder, needs_bit: bool) -> Attribution:
    """Without the incoming kernel's scan: a reset that was seen before, else nothing but alternatives."""
    seen = _reset_above(context, builder) or _from_power_state(context, builder)
    if seen is not None:
        return seen
    return Attribution("unknown", "low", note=_LEFT_BY_THE_KERNEL if needs_bit else _RENUMBERED_BY)


def _selective(context: CauseContext, builder: EvidenceBuilder) -> Attribution:
    """Row 6: the bit is gone, its neighbours are intact, nobody was seen writing."""
    power = _from_power_state(context, builder)
    if power is not None:
        return power
    bridge = context.incoming
    if bridge is None or bridge.first_bus_numbers is None:
        return Attribution("unknown", "low")
    note = "bus numbers are intact"
    proof = [builder.access(bridge.first_bus_numbers.row, "PRIMARY_BUS.l", note, size=4)]
    control = bridge.register(config_header.BRIDGE_CONTROL, 2)
    if control is not None:
        note = "Bridge Control is intact" if control[0] else "Bridge Control reads 0"
        proof.append(builder.access(control[1], "BRIDGE_CONTROL", note, size=2))
    proof.extend(_latency_tolerance(context, builder))
    return Attribution("selective-loss", "medium", None, proof)


def _latency_tolerance(context: CauseContext, builder: EvidenceBuilder) -> list[Evidence]:
    """LTR Enable beside it: a port loses it with its own link, ARI Forwarding it does not.

    Kept with ARI gone means a selective write; gone as well means that the link went down besides (PCIe
    7.5.3.16). Ports that never had it on say nothing.
    """
    before, after = context.outgoing, context.incoming
    if before is None or after is None or after.pcie is None:
        return []
    held = [sample.bit(LTR_BIT) for sample in before.devctl2]
    known = [bit for bit in held if bit is not None]
    first = next((sample for sample in after.devctl2 if sample.bit(LTR_BIT) is not None), None)
    if not known or not known[-1] or first is None or first.write:
        return []
    kept = first.bit(LTR_BIT)
    note = (
        "LTR Enable is still on: only bit 5 was taken"
        if kept
        else "LTR Enable is off too: the link went down"
    )
    return [builder.pcie(first, after.pcie, note)]
