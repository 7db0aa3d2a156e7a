"""Why a bridge lost an inherited state or its bus numbers: signature to cause, first row that fits.

The table is in docs/replay.md (causes), which cites each row with its test. It rests on PCI Express 6.6.1 and
7.5.1.3.13 (what a reset of which port resets) and on how Linux 7.3 saves and restores registers. Of the
incoming kernel only first reads count: it rewrites Command, Bridge Control, DEVCTL and LTR itself before it
looks at ARI Forwarding.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import register_state
from analyzer.verdicts import reset_evidence
from schemas import pcie_capability
from schemas.config_header import BRIDGE_CONTROL_BITS
from schemas.inherited_state import ARI_FORWARDING
from schemas.registers import BRIDGE_CONTROL, BUS_NUMBERS, DEVCTL, DEVCTL2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.register_state import OutgoingState
    from analyzer.observed.registers.functions import Function
    from analyzer.results import Cause, Confidence, Evidence
    from analyzer.verdicts.error_status import LatchedBit
    from analyzer.verdicts.evidence import EvidenceBuilder
    from analyzer.verdicts.reset_evidence import LogMessage
    from schemas.inherited_state import InheritedState


@dataclass
class Attribution:
    """A cause with its confidence and the accesses that prove it.

    ``row`` is the row of the access that changed the state, where the capture shows it. ``note`` names the
    alternatives where the input cannot tell them apart.
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
        since: row from which on a loss is looked for: the last access that showed the state, or the end of
            the outgoing scan.
        decision: row of the incoming kernel's decision, or of its end.
        outgoing_state: what the outgoing kernel last used.
        messages: messages and events about functions.
        scanned: the incoming kernel's scan is in the input; else only what it left is known.
        logged: its log shows that scan, in place of accesses.
        state: the state that was lost.
        link_errors: errors on bridges above, recorded around the kexec, that go with a lost link: the
            address of each bridge and the bit, topmost first.
    """

    outgoing: Function | None
    incoming: Function | None
    ancestors: Sequence[Function]
    since: int
    decision: int
    outgoing_state: OutgoingState
    messages: Sequence[LogMessage] = ()
    scanned: bool = True
    logged: bool = False
    state: InheritedState = ARI_FORWARDING
    link_errors: Sequence[tuple[str, LatchedBit]] = ()


#: From dumps alone these look the same.
_LEFT_BY_THE_KERNEL = (
    "lost before the incoming kernel ran, cleared by that kernel (function 0 without ARI), never set by it "
    "(pci=noari), or cleared later: a dump shows only what was left"
)
_RENUMBERED_BY = (
    "assigned by the incoming kernel (after a reset, or with pci=assign-busses) or later (remove and "
    "rescan): a dump shows only what was left"
)
_LEFT_UNCONFIGURED = (
    "lost before the incoming kernel's scan, which left the bridge unconfigured, or cleared later: a dump "
    "shows only what was left"
)
#: From the messages "bridge configuration invalid" and "PCI bridge to".
_FOUND_INVALID = (
    "the incoming kernel found invalid bus numbers and {}: they were lost before its scan, by a reset or a "
    "write; no kernel message shows which"
)
_FOUND_OTHERS = (
    "assigned before the incoming kernel's scan, or by it with pci=assign-busses: the kernel log shows only "
    "the numbers in use"
)


def attribute(
    context: CauseContext, builder: EvidenceBuilder, *, gone: bool = False, needs_state: bool = True
) -> Attribution:
    """Name the cause of a loss.

    Args:
        context: the bridge.
        builder: makes evidence.
        gone: the bridge does not answer: its state is unknown, only links and power can be blamed.
        needs_state: the state itself was lost, not only the bus numbers of a bridge.
    """
    if gone:
        above = _reset_above(context, builder) or _from_link_errors(context, builder)
        return above or Attribution("unknown", "high")
    written = _by_write(context, builder) if needs_state else None
    if written is not None:
        return written
    if was_reset(context):
        return _reset(context, builder)
    return _selective(context, builder) if context.scanned else _from_dumps(context, builder, needs_state)


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
    return bridge.value(BRIDGE_CONTROL, BRIDGE_CONTROL_BITS) == 0 or _reporting_lost(context)


def _reporting_lost(context: CauseContext) -> bool:
    """Whether error reporting was on before and is off in the first read of DEVCTL."""
    reporting_bits = pcie_capability.DEVCTL_ERROR_REPORTING
    after = None if context.incoming is None else context.incoming.value(DEVCTL, reporting_bits)
    if after is None or after & reporting_bits:
        return False
    if context.outgoing is None:
        return True  # how it was is not in the input
    reporting = (sample.field(reporting_bits) for sample in context.outgoing.accesses_to(DEVCTL))
    held = [field for field in reporting if field is not None]
    return not held or bool(held[-1])


def _by_write(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Rows 2 and 3: a write changed the state."""
    state, held = context.state, context.outgoing_state.value
    if context.outgoing is not None:
        found = register_state.changing_write(context.outgoing, state, held, context.since, sys.maxsize)
        if found is not None:
            write, read = found
            note = f"{state.bits} ({state.word}) written as {write.field(state.mask)}"
            proof = [builder.access(write.row, state.register, note, context.outgoing)]
            if read is not None:
                note = "last read before that write"
                proof.insert(0, builder.access(read.row, state.register, note, context.outgoing))
            cause: Cause = "restore-write" if _is_restore(context.outgoing, write.row) else "explicit-write"
            return Attribution(cause, "high", None, proof, row=write.row)
    if context.incoming is not None:
        found = register_state.changing_write(context.incoming, state, held, -1, context.decision)
        if found is not None:
            write, _ = found
            note = f"{state.bits} written as {write.field(state.mask)} before the decision read"
            proof = [builder.access(write.row, state.register, note, context.incoming)]
            return Attribution("incoming-write", "high", None, proof, row=write.row)
    return None


def _is_restore(bridge: Function, row: int) -> bool:
    """Whether a write is part of Linux's PCIe state restore.

    pci_restore_pcie_state (7.3) writes DEVCTL, LNKCTL, SLTCTL, RTCTL, DEVCTL2 and LNKCTL2 one after the
    other, as far as the port implements them, with no read between.
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
    """Rows 5d to 5f: nothing above was seen; the port's own registers decide."""
    bridge = context.incoming or context.outgoing
    if bridge is not None and bridge.pcie_type == pcie_capability.TYPE_ROOT_PORT:
        # A root port's registers do not reset with its own link (PCIe 6.6.1): the host bridge was.
        return Attribution("host-bridge-reinit", "medium")
    sticky = reset_evidence.sticky_lost(context.outgoing, context.incoming, builder)
    if sticky is not None:
        return Attribution("power-cycle", sticky.confidence, None, [sticky.evidence])
    return _from_link_errors(context, builder) or Attribution("hot-reset", "medium")


def _from_link_errors(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Row 5f with a Surprise Down or Data Link Protocol error on a bridge above: its link went down."""
    for place, error in context.link_errors:
        note = f"{error.word}+: the link below had an error"
        proof = builder.access(error.row, error.status.register, note, error.function)
        return Attribution("upstream-link-down", "medium", place, [proof])
    return None


def _reset_proof(context: CauseContext, builder: EvidenceBuilder) -> list[Evidence]:
    bridge = context.incoming
    if bridge is None or bridge.first_bus_numbers is None:
        return []
    note = "bus numbers are 0: the port was reset"
    proof = [builder.access(bridge.first_bus_numbers.row, BUS_NUMBERS, note, bridge)]
    control = bridge.first(BRIDGE_CONTROL, BRIDGE_CONTROL_BITS)
    devctl = bridge.first(DEVCTL, pcie_capability.DEVCTL_ERROR_REPORTING)
    if control is not None and control[0] == 0:
        proof.append(
            builder.access(control[1], BRIDGE_CONTROL, "Bridge Control reads its reset value", bridge)
        )
    if devctl is not None and _reporting_lost(context):
        proof.append(builder.access(devctl[1], DEVCTL, "error reporting is off", bridge))
    return proof


def _reset_above(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Rows 5a and 5b: a reset or a lost link on a bridge above, the topmost one that shows it."""
    for ancestor in reversed(context.ancestors):
        seen = reset_evidence.secondary_bus_reset(ancestor, context.since, builder)
        if seen is not None:
            place = bdf.text(ancestor.function)
            return Attribution("secondary-bus-reset", "high", place, [seen.evidence], row=seen.row)
    for ancestor in reversed(context.ancestors):
        seen = reset_evidence.link_lost(ancestor, context.since, context.messages, builder)
        if seen is not None:
            place = bdf.text(ancestor.function)
            return Attribution("upstream-link-down", seen.confidence, place, [seen.evidence])
    return None


def _from_power_state(context: CauseContext, builder: EvidenceBuilder) -> Attribution | None:
    """Row 5c: the port was in D3 and does not keep its state."""
    if context.outgoing is None:
        return None
    seen = reset_evidence.powered_down(context.outgoing, context.since, builder)
    if seen is None:
        return None
    return Attribution("power-state", seen.confidence, None, [seen.evidence], row=seen.row)


def _from_dumps(context: CauseContext, builder: EvidenceBuilder, needs_state: bool) -> Attribution:
    """Without the incoming kernel's scan: a reset that was seen before, else nothing but alternatives."""
    seen = _reset_above(context, builder) or _from_power_state(context, builder)
    if seen is not None:
        return seen
    return Attribution("unknown", "low", note=_LEFT_BY_THE_KERNEL if needs_state else _on_numbers(context))


def _on_numbers(context: CauseContext) -> str:
    """What may have become of lost bus numbers: the bridge was left without, or got others."""
    bridge = context.incoming
    unset = bridge is None or bridge.bus_numbers is None
    if not context.logged:
        return _LEFT_UNCONFIGURED if unset else _RENUMBERED_BY
    first = None if bridge is None else bridge.first_bus_numbers
    if bridge is not None and first is not None and not first.broken_on(bridge.bus & 0xFF):
        return _FOUND_OTHERS
    return _FOUND_INVALID.format("left the bridge unconfigured" if unset else "assigned new ones")


def _selective(context: CauseContext, builder: EvidenceBuilder) -> Attribution:
    """Row 6: the state is lost, its neighbours are intact, and no write is in the capture."""
    power = _from_power_state(context, builder)
    if power is not None:
        return power
    bridge = context.incoming
    if bridge is None or bridge.first_bus_numbers is None:
        return Attribution("unknown", "low")
    proof = [builder.access(bridge.first_bus_numbers.row, BUS_NUMBERS, "bus numbers are intact", bridge)]
    control = bridge.first(BRIDGE_CONTROL, BRIDGE_CONTROL_BITS)
    if control is not None:
        note = "Bridge Control is intact" if control[0] else "Bridge Control reads 0"
        proof.append(builder.access(control[1], BRIDGE_CONTROL, note, bridge))
    proof.extend(_latency_tolerance(context, builder))
    return Attribution("selective-loss", "medium", None, proof)


def _latency_tolerance(context: CauseContext, builder: EvidenceBuilder) -> list[Evidence]:
    """LTR Enable in the same register: a port loses it with its own link, ARI Forwarding it does not.

    LTR kept means that only the state was written; LTR lost, too, means that the link went down besides (PCIe
    7.5.3.16). Ports that never had it on say nothing.
    """
    before, after = context.outgoing, context.incoming
    if before is None or after is None or context.state.register != DEVCTL2:
        return []
    ltr = pcie_capability.DEVCTL2_LTR
    known = [bit for sample in before.accesses_to(DEVCTL2) if (bit := sample.field(ltr)) is not None]
    first = next(
        (one for one in after.accesses_to(DEVCTL2) if one.field(pcie_capability.DEVCTL2_LTR) is not None),
        None,
    )
    if not known or not known[-1] or first is None or first.write:
        return []
    note = (
        f"LTR Enable is still on: only {context.state.name} was cleared"
        if first.field(ltr)
        else "LTR Enable is off too: the link went down"
    )
    return [builder.access(first.row, DEVCTL2, note, after)]
