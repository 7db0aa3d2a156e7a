"""Findings beside the question: other state that the same loss took from preserved bridges and devices.

Only preserved functions are looked at, and only first reads behind the boundary count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.results import Secondary
from schemas import config_header, extended_capabilities

if TYPE_CHECKING:
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.observed.topology import Topology
    from analyzer.verdicts.evidence import EvidenceBuilder

_MASTER_BIT = config_header.COMMAND_MASTER.bit_length() - 1
_HIERARCHY_BIT = extended_capabilities.SRIOV_CTRL_ARI.bit_length() - 1
_VF_ENABLE_BIT = extended_capabilities.SRIOV_CTRL_VFE.bit_length() - 1


def findings(
    outgoing: Topology, incoming: Topology, preserved: frozenset[int], builder: EvidenceBuilder
) -> list[Secondary]:
    """Secondary findings of one kexec, by function."""
    found: list[Secondary] = []
    for key in sorted(incoming.functions):
        before, after = outgoing.functions.get(key), incoming.functions[key]
        if before is None:
            continue
        if key in preserved:
            # What the shutdown left is known only where the shutdown is in the capture.
            whole = incoming.boot.orderly is True
            master = _bus_master(before, after, builder) if whole else None
            found.extend(filter(None, (_acs(before, after, builder), master)))
        hierarchy = _sriov_hierarchy(before, after, builder)
        if hierarchy is not None:
            found.append(hierarchy)
    return found


def _last_held(samples: list[Sample], mask: int) -> Sample | None:
    """The last access that tells the masked bits (a write counts: it is what the kernel wanted)."""
    telling = (sample for sample in reversed(samples) if not sample.dead and sample.mask & mask == mask)
    return next(telling, None)


def _first_read(samples: list[Sample], mask: int) -> Sample | None:
    """The first read that tells the masked bits, None if a write came before it."""
    telling = next((sample for sample in samples if not sample.dead and sample.mask & mask == mask), None)
    return None if telling is None or telling.write else telling


def _acs(before: Function, after: Function, builder: EvidenceBuilder) -> Secondary | None:
    """ACS Control was set and reads 0: isolation is lost, and the series inherits that silently."""
    old = before.capabilities.extended.get(extended_capabilities.ACS_ID)
    new = after.capabilities.extended.get(extended_capabilities.ACS_ID)
    if old is None or new is None:
        return None
    held = _last_held(before.acs_control, 0x7F)
    read = _first_read(after.acs_control, 0x7F)
    if held is None or read is None or not held.value & 0x7F or read.value & 0x7F:
        return None
    note = f"ACS Control was 0x{held.value:04x} before the kexec and reads 0x{read.value:04x} behind it"
    proof = [
        builder.access(held.row, "ECAP_ACS", "isolation on", capability=old, size=2),
        builder.access(read.row, "ECAP_ACS", "isolation off", capability=new, size=2),
    ]
    return Secondary(bdf.text(after.function), "acs-lost", note, proof)


def _bus_master(before: Function, after: Function, builder: EvidenceBuilder) -> Secondary | None:
    """A preserved bridge kept Bus Master through the shutdown and reads it off.

    An outgoing kernel without the series' bus-master patch clears it everywhere (Linux 7.3
    pci_device_shutdown), VFIO clears it on endpoints: both write the register, so that what
    it held last is off already.
    """
    if not after.is_bridge:
        return None
    held = _last_held(before.command, config_header.COMMAND_MASTER)
    read = _first_read(after.command, config_header.COMMAND_MASTER)
    if held is None or read is None or not held.bit(_MASTER_BIT) or read.bit(_MASTER_BIT):
        return None
    proof = [
        builder.access(held.row, "COMMAND", "Bus Master on", size=2),
        builder.access(read.row, "COMMAND", "Bus Master off", size=2),
    ]
    note = "Bus Master was on when the outgoing kernel ended and is off behind the kexec"
    return Secondary(bdf.text(after.function), "bus-master-lost", note, proof)


def _sriov_hierarchy(before: Function, after: Function, builder: EvidenceBuilder) -> Secondary | None:
    """The incoming kernel set ARI Capable Hierarchy up as 0 where it was 1: VFs get other routing IDs.

    Linux 7.3 sriov_init writes the bit from the ARI state of the bus; First VF Offset and VF Stride may
    depend on it (PCI Express 9.3.3.3.5).
    """
    old = before.capabilities.extended.get(extended_capabilities.SRIOV_ID)
    new = after.capabilities.extended.get(extended_capabilities.SRIOV_ID)
    if old is None or new is None:
        return None
    mask = extended_capabilities.SRIOV_CTRL_ARI
    held = _last_held(before.sriov_control, mask)
    wrote = _last_held(after.sriov_control, mask)
    if held is None or wrote is None or not held.bit(_HIERARCHY_BIT) or wrote.bit(_HIERARCHY_BIT):
        return None
    enabled = held.bit(_VF_ENABLE_BIT)
    note = "ARI Capable Hierarchy was 1 and is 0: virtual functions get other routing IDs, or fewer fit"
    if enabled:
        note += "; VFs were enabled" + _routing_ids(before, old)
    proof = [
        builder.access(held.row, "ECAP_SRIOV", "ARIHierarchy+", capability=old, size=2),
        builder.access(wrote.row, "ECAP_SRIOV", "ARIHierarchy-", capability=new, size=2),
    ]
    return Secondary(bdf.text(after.function), "sriov-hierarchy-lost", note, proof)


def _routing_ids(function: Function, capability: int) -> str:
    """Where the outgoing kernel's VFs were, as text, if the capture holds number, offset and stride."""
    values = [
        _last_held(function.view.samples(capability + offset, 2), 0xFFFF)
        for offset in (
            extended_capabilities.SRIOV_NUM_VF,
            extended_capabilities.SRIOV_VF_OFFSET,
            extended_capabilities.SRIOV_VF_STRIDE,
        )
    ]
    if any(value is None for value in values):
        return ""
    number, offset, stride = (value.value for value in values if value is not None)
    if not number:
        return ""
    first, last = (bdf.text(vf_key(function.function, n, offset, stride)) for n in (1, number))
    return f" at {first} to {last}"


def vf_key(physical: int, number: int, offset: int, stride: int) -> int:
    """Key of VF ``number`` (from 1): routing ID = PF + First VF Offset + (n-1) * VF Stride, 16 bits.

    PCI Express 9.2.1.2; Linux 7.3 pci_iov_virtfn_bus and pci_iov_virtfn_devfn.
    """
    return physical >> 16 << 16 | (physical + offset + (number - 1) * stride) & 0xFFFF
