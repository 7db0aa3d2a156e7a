"""What a kernel decided about ARI on each bridge, recognised from the accesses around the decision.

Linux pci_configure_ari (7.3, drivers/pci/pci.c) runs while function 0 of the bus is being set up. Its
accesses, between function 0's vendor read and the next function's, tell which rule ran (docs/replay.md,
decisions): the stock rule reads DEVCAP2 of the bridge, walks function 0's extended capabilities, then reads
and always writes DEVCTL2; the inherit rule (series v4 to v9) reads DEVCAP2 and then DEVCTL2 at once and
writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from schemas import pcie_capability

if TYPE_CHECKING:
    from analyzer.index import AccessIndex
    from analyzer.registers.functions import Function
    from analyzer.registers.samples import Sample
    from analyzer.topology import Topology

ARI_BIT = pcie_capability.DEVCTL2_ARI.bit_length() - 1

#: ``set``/``clear``: the stock rule wrote the bit. ``inherit``: read, not written. ``untouched``: DEVCAP2
#: says supported and DEVCTL2 was left alone (pci=noari on a patched kernel, or a failed read).
#: ``unsupported``: DEVCAP2 bit 5 is clear. ``skipped``: the bridge has DEVCAP2 and function 0 is PCIe, yet it
#: was not read (stock with pci=noari). ``none``: nothing to decide (bridge or function 0 not PCIe, or
#: capability version 1). ``cut``: the capture ends inside the decision.
Rule = Literal["set", "clear", "inherit", "untouched", "unsupported", "skipped", "none", "cut"]


@dataclass(frozen=True)
class Decision:
    """One run of pci_configure_ari.

    Attributes:
        bridge, function_0: keys.
        rule: see :data:`Rule`.
        enabled: the value that the kernel used from then on, None if the capture does not tell.
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
        """DEVCAP2 bit 5 as the kernel took it, None if it did not read it.

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
            decisions.setdefault(bridge.function, []).append(_decide(bridge, function_0, scan, end, cut=cut))
    return decisions


def _window_end(index: AccessIndex, topology: Topology, key: int, scan: int) -> tuple[int, bool]:
    """Row of the next function's vendor read behind ``scan``, or the boot's end and True if there is none."""
    rows = topology.vendor_rows
    position = int(np.searchsorted(rows, scan, side="right"))
    while position < rows.size and int(index.function[rows[position]]) == key:
        position += 1
    if position < rows.size:
        return int(rows[position]), False
    return topology.boot.last + 1, True


def _decide(bridge: Function, function_0: Function, scan: int, end: int, *, cut: bool) -> Decision:
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
    accesses = [sample for sample in bridge.devctl2 if devcap2.row < sample.row < end]
    return _from_devctl2(function_0, devcap2.row, accesses, (key, child), cut=cut)


def _from_devctl2(
    function_0: Function, devcap2: int, accesses: list[Sample], keys: tuple[int, int], *, cut: bool
) -> Decision:
    """Tell the rules apart by what follows the DEVCAP2 read."""
    key, child = keys
    if not accesses:
        return Decision(key, child, "cut" if cut else "untouched", None if cut else False, devcap2, devcap2)
    read = next((sample for sample in accesses if not sample.write), None)
    write = next((sample for sample in accesses if sample.write), None)
    if write is not None or read is None:
        enabled = None if write is None else write.bit(ARI_BIT)
        row = devcap2 if write is None else write.row
        return Decision(key, child, "set" if enabled else "clear", enabled, row, devcap2, read)
    view = function_0.view
    between = (view.rows > devcap2) & (view.rows < read.row) & (view.offsets >= 0x100)
    if between.any():  # the stock rule walks function 0 before it reads
        if not read.failed:
            return Decision(
                key, child, "cut", None, read.row, devcap2, read
            )  # its write is beyond the capture
        # A read that fails is followed by no write, but ari_enabled is set all the same.
        has_ari = bool(function_0.has_ari)
        return Decision(key, child, "set" if has_ari else "clear", has_ari, read.row, devcap2, read)
    # An all-ones read that raised no error is data to the kernel, bit 5 set; a failed one leaves the preset
    # 0.
    enabled = not read.failed if read.dead else read.bit(ARI_BIT)
    return Decision(key, child, "inherit", enabled, read.row, devcap2, read)


def observed_policy(
    decisions: dict[int, list[Decision]], topology: Topology
) -> Literal["stock", "inherit", "unknown"]:
    """The policy a kernel followed.

    One inherit decision proves the rule; stock writes alone mean stock, and so do decisions that were
    skipped: with pci=noari a patched kernel still reads DEVCAP2. A bridge that is left without bus numbers
    proves the series as well (stock always assigns); new numbers and no other sign speak for stock.
    """
    refused, renumbered = topology.lost_numbers()
    rules = {decision.rule for several in decisions.values() for decision in several[:1]}
    if "inherit" in rules or refused:
        return "inherit"
    if rules & {"set", "clear"} or (renumbered and "untouched" not in rules):
        return "stock"
    return "stock" if "skipped" in rules and "untouched" not in rules else "unknown"


def observed_noari(decisions: dict[int, list[Decision]]) -> bool | None:
    """Whether pci=noari was in force, as far as the accesses show it.

    A stock write shows that it was not; DEVCAP2 with bit 5 set and DEVCTL2 left alone shows that it was (on a
    patched kernel: for bridges that are not preserved).
    """
    rules = {decision.rule for several in decisions.values() for decision in several[:1]}
    if rules & {"set", "clear"}:
        return False
    return True if rules & {"untouched", "skipped"} else None
