"""Signs of what reset or cut off a port: pulses, lost links, power states, errors; in registers and in logs.

Each function answers for one bridge and one sign, with the evidence, or None. What resets which registers:
PCI Express 6.6.1 and 7.5.1.3.13; a port's own link, SBR or DPC never resets the port itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from analyzer.verdicts.evidence import log_line
from schemas import config_header, extended_capabilities, pcie_capability, power_management

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.observed.registers.functions import Function
    from analyzer.results import Confidence, Evidence
    from analyzer.verdicts.evidence import EvidenceBuilder

_SBR_BIT = config_header.BRIDGE_CONTROL_SBR.bit_length() - 1
_DLLLA_BIT = pcie_capability.LNKSTA_DLLLA.bit_length() - 1
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
    """First write behind ``since`` that takes Secondary Bus Reset from 0 to 1."""
    state = False
    for sample in bridge.view.samples(config_header.BRIDGE_CONTROL, 2):
        bit = sample.bit(_SBR_BIT)
        if bit is None:
            continue
        if sample.write and bit and not state and sample.row > since:
            note = "Secondary Bus Reset set (0 to 1)"
            return ResetIndicator(
                builder.access(sample.row, "BRIDGE_CONTROL", note, size=2), "high", sample.row
            )
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
    capability = bridge.pcie or 0
    active = False
    for sample in bridge.view.samples(capability + pcie_capability.LNKSTA, 2):
        bit = sample.bit(_DLLLA_BIT)
        if bit is None or sample.write:
            continue
        if active and not bit and sample.row > since:
            return ResetIndicator(
                builder.pcie(sample, capability, "Data Link Layer no longer active"), "high", sample.row
            )
        active = active or bit
    return None


def _error_status(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    """Sticky notes of a lost link: SLTSTA data link change, DPC triggered, AER Surprise Down."""
    capability = bridge.pcie or 0
    extended = bridge.capabilities.extended
    places = [
        (capability + pcie_capability.SLTSTA, 2, pcie_capability.SLTSTA_DLL_CHANGED, "CAP_EXP", capability)
    ]
    dpc, aer = extended.get(extended_capabilities.DPC_ID), extended.get(extended_capabilities.AER_ID)
    if dpc is not None:
        status = dpc + extended_capabilities.DPC_STATUS
        places.append((status, 2, extended_capabilities.DPC_STATUS_TRIGGER, "ECAP_DPC", dpc))
    if aer is not None:
        status = aer + extended_capabilities.AER_UNCOR_STATUS
        places.append((status, 4, extended_capabilities.AER_UNC_SURPRISE_DOWN, "ECAP_AER", aer))
    for offset, size, bit, name, base in places:
        clear_before = True
        for sample in bridge.view.samples(offset, size):
            if sample.write or sample.dead or not sample.mask & bit:
                continue
            if sample.value & bit and clear_before and sample.row > since:
                note = "the link below went down"
                return ResetIndicator(
                    builder.access(sample.row, name, note, capability=base, size=size), "medium", sample.row
                )
            clear_before = not sample.value & bit
    return None


def powered_down(bridge: Function, since: int, builder: EvidenceBuilder) -> ResetIndicator | None:
    """The port was put into D3 and does not keep its state on the way back (No_Soft_Reset = 0)."""
    capability = bridge.capabilities.standard.get(power_management.CAP_ID)
    if capability is None:
        return None
    for sample in bridge.view.samples(capability + power_management.PMCSR, 2):
        if sample.row <= since or sample.dead or not sample.mask & 0xFF:
            continue
        in_d3 = sample.value & power_management.PMCSR_STATE == 3
        if in_d3 and not sample.value & power_management.PMCSR_NO_SOFT_RESET:
            note = "in D3, No_Soft_Reset 0: state is lost on the way back"
            evidence = builder.access(sample.row, "CAP_PM", note, capability=capability, size=2)
            return ResetIndicator(evidence, "medium", sample.row)
    return None


#: Sticky registers of the AER capability that a kernel changes (PCI Express 7.8.4.3, 7.8.4.4, 7.8.4.6); Linux
#: unmasks Advisory Non-Fatal in the correctable mask at every boot.
_STICKY = (
    extended_capabilities.AER_UNCOR_MASK,
    extended_capabilities.AER_UNCOR_SEVERITY,
    extended_capabilities.AER_COR_MASK,
)


def sticky_lost(
    outgoing: Function | None, incoming: Function | None, builder: EvidenceBuilder
) -> ResetIndicator | None:
    """A sticky register had been changed and is back at what it was at first: only a loss of power does that.

    AER masks and severities survive every reset but that. Their defaults differ between devices, so the
    outgoing kernel's first read stands for them.
    """
    if outgoing is None or incoming is None:
        return None
    before = outgoing.capabilities.extended.get(extended_capabilities.AER_ID)
    after = incoming.capabilities.extended.get(extended_capabilities.AER_ID)
    if before is None or after is None:
        return None
    for offset in _STICKY:
        held = [sample for sample in outgoing.view.samples(before + offset, 4) if not sample.dead]
        now = next((sample for sample in incoming.view.samples(after + offset, 4) if not sample.dead), None)
        if not held or held[0].write or now is None or now.write:
            continue
        default, last = held[0].value, held[-1].value
        if last != default and now.value == default:
            note = f"a sticky AER register was 0x{last:08x} and is at its first value again"
            evidence = builder.access(now.row, "ECAP_AER", note, capability=after, size=4)
            return ResetIndicator(evidence, "medium", now.row)
    return None
