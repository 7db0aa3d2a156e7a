"""What shows that a port was reset or cut off: bus resets, lost links, power states, errors; registers, logs.

Each function looks for one indicator on one bridge and returns it with its evidence, or None. What resets
which registers: PCI Express 6.6.1 and 7.5.1.3.13; a port's own link, SBR or DPC never resets the port itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from analyzer.verdicts.evidence import log_line
from schemas import config_header, extended_capabilities, pcie_capability, power_management
from schemas.registers import BRIDGE_CONTROL, DPC_STATUS, LNKSTA, PMCSR, REGISTERS, SLTSTA, UESTA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.results import Confidence, Evidence
    from analyzer.verdicts.evidence import EvidenceBuilder

#: Messages that say that the link below a port went down (pciehp, DPC, AER; docs/replay.md, log lines).
_LINK_LOST = re.compile(
    r"Link Down(?!/)|Card not present|containment event|EDR event received|Surprise Down"
    r"|link has been reset|not ready \d+ms after (?:bus reset|slot reset|DPC)"
    r"|Data Link Layer Link Active not set"
)


@dataclass(frozen=True)
class LogMessage:
    """A message or event about a function: from a kernel log (``access`` None) or from the capture."""

    function: int
    text: str
    source: str
    access: int | None = None
    time_ns: int | None = None


class ResetIndicator(NamedTuple):
    """What was seen, and how sure it makes the cause."""

    evidence: Evidence
    confidence: Confidence
    row: int | None


def secondary_bus_reset(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    """First write after ``since`` that takes Secondary Bus Reset from 0 to 1."""
    state = 0
    for sample in bridge.accesses_to(BRIDGE_CONTROL):
        bit = sample.field(config_header.BRIDGE_CONTROL_SBR)
        if bit is None:
            continue
        if sample.write and bit and not state and sample.row > since:
            evidence = builder.access(sample.row, BRIDGE_CONTROL, "Secondary Bus Reset set (0 to 1)", bridge)
            return ResetIndicator(evidence, "high", sample.row)
        state = bit
    return None


def link_lost(
    bridge: Function, since: int, messages: Sequence[LogMessage], builder: EvidenceBuilder
) -> ResetIndicator | None:
    """The link below a bridge went down: Data Link Layer status, slot status, DPC, AER, or a message."""
    if bridge.pcie is None:
        return None
    found = _link_status(bridge, since, builder) or _error_status(bridge, since, builder)
    if found is not None:
        return found
    for item in messages:
        if item.function == bridge.function and _LINK_LOST.search(item.text):
            return ResetIndicator(log_line(item.text, item.source, item.access, item.time_ns), "high", None)
    return None


def _link_status(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    active = 0
    for sample in bridge.accesses_to(LNKSTA):
        bit = sample.field(pcie_capability.LNKSTA_DLLLA)
        if bit is None or sample.write:
            continue
        if active and not bit and sample.row > since:
            evidence = builder.access(sample.row, LNKSTA, "Data Link Layer no longer active", bridge)
            return ResetIndicator(evidence, "high", sample.row)
        active = active or bit
    return None


#: Status bits that stay set after the link below a port was lost, until they are cleared.
_ERROR_STATUS = (
    (SLTSTA, pcie_capability.SLTSTA_DLL_CHANGED),
    (DPC_STATUS, extended_capabilities.DPC_STATUS_TRIGGER),
    (UESTA, extended_capabilities.AER_UNC_SURPRISE_DOWN),
)


def _error_status(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    """The first status bit that says so: Data Link Layer State Changed, DPC Trigger, Surprise Down."""
    for register, mask in _ERROR_STATUS:
        clear_before = True
        for sample in bridge.accesses_to(register):
            bit = sample.field(mask)
            if bit is None or sample.write:
                continue
            if bit and clear_before and sample.row > since:
                evidence = builder.access(sample.row, register, "the link below went down", bridge)
                return ResetIndicator(evidence, "medium", sample.row)
            clear_before = not bit
    return None


def powered_down(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    """The port was put into D3 and does not keep its state on the way back (No_Soft_Reset = 0)."""
    for sample in bridge.accesses_to(PMCSR):
        in_d3 = sample.field(power_management.PMCSR_STATE) == 3
        if sample.row > since and in_d3 and sample.field(power_management.PMCSR_NO_SOFT_RESET) == 0:
            note = "in D3, No_Soft_Reset 0: state is lost on the way back"
            return ResetIndicator(builder.access(sample.row, PMCSR, note, bridge), "medium", sample.row)
    return None


#: Sticky registers of the AER capability that a kernel changes (PCI Express 7.8.4.3, 7.8.4.4, 7.8.4.6); Linux
#: unmasks Advisory Non-Fatal in the correctable mask at every boot.
_STICKY = tuple(
    REGISTERS["ECAP_AER"][offset]
    for offset in (
        extended_capabilities.AER_UNCOR_MASK,
        extended_capabilities.AER_UNCOR_SEVERITY,
        extended_capabilities.AER_COR_MASK,
    )
)


def sticky_lost(
    outgoing: Function | None, incoming: Function | None, builder: EvidenceBuilder
) -> ResetIndicator | None:
    """A sticky register had been changed and has its first value again: only a loss of power does that.

    AER masks and severities survive every other reset. Their defaults differ between devices, so the outgoing
    kernel's first read stands for them.
    """
    if outgoing is None or incoming is None:
        return None
    for register in _STICKY:
        held = [sample for sample in outgoing.accesses_to(register) if not sample.dead]
        now = next((sample for sample in incoming.accesses_to(register) if not sample.dead), None)
        if not held or held[0].write or now is None or now.write:
            continue
        last, shown = held[-1].value, held[0].mask & held[-1].mask & now.mask
        if (last ^ held[0].value) & shown and not (now.value ^ held[0].value) & shown:
            note = f"a sticky AER register was 0x{last:08x} and has its first value again"
            return ResetIndicator(builder.access(now.row, register, note, incoming), "medium", now.row)
    return None
