"""What a kernel decided about ARI on each bridge, recognised from the accesses around the decision.

Linux pci_configure_ari (7.3, drivers/pci/pci.c) runs while function 0 of the bus is being set up. Its
accesses, between function 0's vendor read and the next function's, show which rule ran (docs/replay.md,
decisions): the stock rule reads DEVCAP2 of the bridge, walks function 0's extended capabilities, then reads
and always writes DEVCTL2; the inherit rule (series v4 to v9) reads DEVCAP2 and then DEVCTL2 at once and
writes nothing. A kernel that heals or restores the bit reads like the inherit rule and then writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from analyzer.observed.register_state import OutgoingState
from schemas import pcie_capability
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.registers.samples import Sample
    from analyzer.observed.topology import Topology
    from analyzer.results import ObservedPolicy

#: ``set``/``clear``: the stock rule wrote the bit. ``inherit``: read, not written. ``restore``: read at once,
#: then written, without the stock rule's walk of function 0 (heal or serialize). ``untouched``: DEVCAP2
#: says supported and DEVCTL2 was left alone (pci=noari on a patched kernel, or a failed read).
#: ``unsupported``: DEVCAP2 bit 5 is clear. ``skipped``: the bridge has DEVCAP2 and function 0 is PCIe, yet it
#: was not read (stock with pci=noari). ``none``: nothing to decide (bridge or function 0 not PCIe, or
#: capability version 1). ``cut``: the capture ends inside the decision.
Rule = Literal[
    "set", "clear", "inherit", "restore", "untouched", "unsupported", "skipped", "none", "cut"
]  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """One run of pci_configure_ari.

    Attributes:
        bridge, function_0: keys.
        rule: see :data:`Rule`.
        enabled: the value that the kernel used from then on, None if the capture does not show it.
        row: row of the deciding access (the write, or the inherit read), else of the DEVCAP2 read or of
            function 0's vendor read.
        devcap2: row of the DEVCAP2 read, or None.
        read: the DEVCTL2 read of the decision, or None.
    """

    bridge: int
    function_0: int
    rule: Rule
    enabled: bool | None
    row: int
    devcap2: int | None = None
    read: Sample | None = None

    @property
    def supported(self) -> bool | None:
        """DEVCAP2 bit 5 as the kernel read it, None if it did not read it.

        All ones that raised no error are data, a read that failed counts as 0 (Linux 7.3
        pcie_capability_read_dword).
        """
        return None if self.devcap2 is None else self.rule != "unsupported"


def of_boot(index: AccessIndex, topology: Topology) -> dict[int, list[Decision]]:
    """Every ARI decision of one boot by bridge, in order (several after a remove and rescan)."""
    decisions: dict[int, list[Decision]] = {}
    for key in sorted(topology.functions):
        if key & 0xFF:
            continue
        bridge = topology.parent(key)
        if bridge is None:
            continue
        function_0 = topology.functions[key]
        for scan in function_0.scans:
            end, cut = _window_end(index, topology, key, scan)
            decisions.setdefault(bridge.function, []).append(
                _decide(index, (bridge, function_0), scan, end, cut=cut)
            )
    return decisions


def _window_end(index: AccessIndex, topology: Topology, key: int, scan: int) -> tuple[int, bool]:
    """Row of the next function's vendor read after ``scan``, or the boot's end and True if there is none."""
    rows = topology.vendor_rows
    position = int(np.searchsorted(rows, scan, side="right"))
    while position < rows.size and int(index.function[rows[position]]) == key:
        position += 1
    if position < rows.size:
        return int(rows[position]), False
    return topology.boot.last + 1, True


def _decide(
    index: AccessIndex, pair: tuple[Function, Function], scan: int, end: int, *, cut: bool
) -> Decision:
    bridge, function_0 = pair
    key, child = bridge.function, function_0.function
    if bridge.pcie is None:
        return Decision(key, child, "none", None if bridge.is_pcie is None else False, scan)
    supported = [sample for sample in bridge.devcap2 if scan < sample.row < end and not sample.write]
    if not supported:
        if cut:
            return Decision(key, child, "cut", None, scan)
        flags = bridge.pcie_flags
        decides = flags is not None and flags & pcie_capability.FLAGS_VERSION > 1 and function_0.is_pcie
        return Decision(key, child, "skipped" if decides else "none", False, scan)
    devcap2 = supported[-1]
    if devcap2.failed or not devcap2.value & pcie_capability.DEVCAP2_ARI:
        return Decision(key, child, "unsupported", False, devcap2.row, devcap2.row)
    accesses = [
        sample for sample in bridge.accesses_to(ARI_FORWARDING.register) if devcap2.row < sample.row < end
    ]
    return _from_devctl2(index, function_0, devcap2.row, accesses, (key, child), cut=cut)


def _from_devctl2(
    index: AccessIndex,
    function_0: Function,
    devcap2: int,
    accesses: list[Sample],
    keys: tuple[int, int],
    *,
    cut: bool,
) -> Decision:
    """Distinguish the rules by what follows the DEVCAP2 read."""
    key, child = keys
    if not accesses:
        return Decision(key, child, "cut" if cut else "untouched", None if cut else False, devcap2, devcap2)
    read = next((sample for sample in accesses if not sample.write), None)
    write = next((sample for sample in accesses if sample.write), None)
    if write is not None or read is None:
        enabled = None if write is None else _is_on(write)
        row = devcap2 if write is None else write.row
        rule: Rule = "set" if enabled else "clear"
        if write is not None and read is not None and _is_restore(index, function_0, devcap2, read, write):
            rule = "restore"
        return Decision(key, child, rule, enabled, row, devcap2, read)
    if _walked(function_0, devcap2, read.row):  # the stock rule walks function 0 before it reads
        if not read.failed:  # its write is not in the capture
            return Decision(key, child, "cut", None, read.row, devcap2, read)
        # A read that fails is followed by no write, but ari_enabled is set all the same.
        has_ari = bool(function_0.has_ari)
        return Decision(key, child, "set" if has_ari else "clear", has_ari, read.row, devcap2, read)
    # All ones that raised no error are data to the kernel, bit 5 set; a failed read leaves the preset 0.
    enabled = not read.failed if read.dead else _is_on(read)
    return Decision(key, child, "inherit", enabled, read.row, devcap2, read)


def _is_on(sample: Sample) -> bool | None:
    field = sample.field(ARI_FORWARDING.mask)
    return None if field is None else bool(field)


def _walked(function_0: Function, devcap2: int, read: int) -> bool:
    """Whether function 0's extended space was read between the reads of DEVCAP2 and DEVCTL2."""
    view = function_0.view
    return bool(((view.rows > devcap2) & (view.rows < read) & (view.offsets >= 0x100)).any())


def _is_restore(index: AccessIndex, function_0: Function, devcap2: int, read: Sample, write: Sample) -> bool:
    """Whether the bit was written right after it was read, with no look at function 0's ARI capability.

    The stock rule sets the bit only after it found that capability in extended space; it clears the bit
    without a walk where function 0 has no extended space. Where a very long capture was thinned between the
    two reads, the walk may have been among what was left out.
    """
    thinned = index.seq[read.row] - index.seq[devcap2] != read.row - devcap2
    if thinned or write.row < read.row or _walked(function_0, devcap2, read.row):
        return False
    return bool(_is_on(write) or function_0.has_ari)


def last_decided(decisions: Iterable[Decision]) -> OutgoingState:
    """What a kernel last decided on a bridge, as far as the capture shows it."""
    known = [
        OutgoingState(int(decision.enabled), decision.row)
        for decision in decisions
        if decision.enabled is not None
    ]
    return known[-1] if known else OutgoingState()


def observed_policy(
    decisions: dict[int, list[Decision]], topology: Topology, before: Mapping[int, bool | None]
) -> ObservedPolicy:
    """The policy a kernel followed.

    One inherit decision proves the rule; stock writes alone mean stock, and so do decisions that were
    skipped: with pci=noari a patched kernel still reads DEVCAP2. A bridge that is left without bus numbers
    proves the series as well (stock always assigns); new numbers and no other sign speak for stock. A bit
    that was written right after it was read is ``heal``, or ``serialize`` where only that fits.

    Args:
        decisions: of the kernel, by bridge.
        topology: its boot.
        before: what the outgoing kernel last used on each bridge.
    """
    refused, renumbered = topology.lost_numbers()
    first = [several[0] for several in decisions.values() if several]
    rules = {decision.rule for decision in first}
    if "restore" in rules:
        return _writing_policy(first, topology, before)
    if "inherit" in rules or refused:
        return "inherit"
    if rules & {"set", "clear"} or (renumbered and "untouched" not in rules):
        return "stock"
    return "stock" if "skipped" in rules and "untouched" not in rules else "unknown"


def _writing_policy(
    first: list[Decision], topology: Topology, before: Mapping[int, bool | None]
) -> ObservedPolicy:
    """Tell heal from serialize by every bridge that was adopted; heal where both fit.

    Heal only sets the bit, and only where a function above 7 needs it; serialize makes it what the outgoing
    kernel used.
    """
    adopted = [decision for decision in first if decision.rule in ("restore", "inherit")]
    above_seven = {key >> 8 for key in topology.functions if key & 0xFF > 7}
    heals = all(
        (decision.enabled and decision.function_0 >> 8 in above_seven)
        if decision.rule == "restore"
        else (decision.enabled is not False or decision.function_0 >> 8 not in above_seven)
        for decision in adopted
    )
    serializes = all(
        before.get(decision.bridge) in (None, decision.enabled) or decision.enabled is None
        for decision in adopted
    )
    cleared = any(decision.rule == "restore" and decision.enabled is False for decision in adopted)
    return "serialize" if cleared or (serializes and not heals) else "heal"


def observed_noari(decisions: dict[int, list[Decision]]) -> bool | None:
    """Whether pci=noari was in force, as far as the accesses show it.

    A stock write shows that it was not; DEVCAP2 with bit 5 set and DEVCTL2 left alone shows that it was (on a
    patched kernel: for bridges that are not preserved).
    """
    rules = {decision.rule for several in decisions.values() for decision in several[:1]}
    if rules & {"set", "clear"}:
        return False
    return True if rules & {"untouched", "skipped"} else None
