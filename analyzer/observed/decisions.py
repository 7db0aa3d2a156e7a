"""What a kernel decided about ARI on each bridge, recognised from the accesses around the decision.

Linux pci_configure_ari (7.3, drivers/pci/pci.c) runs while function 0 of the bus is being set up. Its
accesses, between function 0's vendor read and the next function's, show which rule ran (docs/replay.md,
decisions): the stock rule reads DEVCAP2 of the bridge, walks function 0's extended capabilities, then reads
and always writes DEVCTL2; the inherit rule (series v4 to v9) reads DEVCAP2 and then DEVCTL2 at once and
writes nothing. A kernel that heals or restores the bit reads like the inherit rule and then writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from analyzer import distinct_questions
from analyzer.observed.register_state import OutgoingState
from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.function_table import DEVCAP2, DEVCTL2
from analyzer.observed.registers.run_accesses import flags_of, place
from schemas import pcie_capability
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from analyzer.observed.registers.run_accesses import ChosenAccesses
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
        read: row of the DEVCTL2 read of the decision, or None.
        read_dead: that read returned all ones.
    """

    bridge: int
    function_0: int
    rule: Rule
    enabled: bool | None
    row: int
    devcap2: int | None = None
    read: int | None = None
    read_dead: bool = False

    @property
    def supported(self) -> bool | None:
        """DEVCAP2 bit 5 as the kernel read it, None if it did not read it.

        All ones that raised no error are data, a read that failed counts as 0 (Linux 7.3
        pcie_capability_read_dword).
        """
        return None if self.devcap2 is None else self.rule != "unsupported"


#: Which access decides: function 0's vendor read, the DEVCAP2 read, the read or the write of DEVCTL2.
_Deciding = Literal["scan", "devcap2", "read", "write"]


class _DecisionWindow(NamedTuple):
    """What is between the vendor read of function 0 and that of the next function; None is unknown.

    Attributes:
        cut: the boot ends first.
        pcie: the bridge has a PCI Express capability; ``is_pcie``: whether it can have one.
        decides: the kernel would read DEVCAP2 (capability version 2, function 0 is PCI Express).
        has_ari: of function 0.
        supported: bit 5 of DEVCAP2 as the kernel read it last (None: it did not); a failed read is 0.
        walked: function 0's extended space was accessed between DEVCAP2 and DEVCTL2.
        thinned: something between these two was left out of the capture.
        read, wrote: the kernel read DEVCTL2, wrote it; ``read_on``, ``wrote_on``: bit 5 then.
        read_dead: it read all ones; ``read_failed``: with an error.
        wrote_first: before it read.
    """

    cut: bool
    pcie: bool
    is_pcie: bool | None
    decides: bool
    has_ari: bool | None
    supported: bool | None
    walked: bool
    thinned: bool
    read: bool
    read_dead: bool
    read_failed: bool
    read_on: bool | None
    wrote: bool
    wrote_on: bool | None
    wrote_first: bool


def recognise(*facts: Any) -> tuple[Rule, bool | None, _Deciding]:
    """The rule that one run of pci_configure_ari followed, what it used, and the access that shows it.

    Args:
        facts: those of a window, in order.
    """
    seen = _DecisionWindow(*facts)
    if not seen.pcie:
        return "none", None if seen.is_pcie is None else False, "scan"
    if seen.supported is None:
        if seen.cut:
            return "cut", None, "scan"
        return "skipped" if seen.decides else "none", False, "scan"
    if not seen.supported:
        return "unsupported", False, "devcap2"
    if seen.wrote:
        rule: Rule = "restore" if _restores(seen) else "set" if seen.wrote_on else "clear"
        return rule, seen.wrote_on, "write"
    if not seen.read:
        return ("cut", None, "devcap2") if seen.cut else ("untouched", False, "devcap2")
    if seen.walked:  # the stock rule walks function 0 before it reads
        if not seen.read_failed:  # its write is not in the capture
            return "cut", None, "read"
        # A read that fails is followed by no write, but ari_enabled is set all the same.
        return "set" if seen.has_ari else "clear", bool(seen.has_ari), "read"
    # All ones that raised no error are data to the kernel, bit 5 set; a failed read leaves the preset 0.
    return "inherit", not seen.read_failed if seen.read_dead else seen.read_on, "read"


def _restores(seen: _DecisionWindow) -> bool:
    """Whether the bit was written right after it was read, with no look at function 0's ARI capability.

    The stock rule sets the bit only after it found that capability in extended space; it clears the bit
    without a walk where function 0 has no extended space. Where a very long capture was thinned between the
    two reads, the walk may have been among what was left out.
    """
    if not seen.read or seen.thinned or seen.wrote_first or seen.walked:
        return False
    return bool(seen.wrote_on or seen.has_ari)


def of_boot(topology: Topology) -> dict[int, list[Decision]]:
    """Every ARI decision of one boot by bridge, in order (several after a remove and rescan)."""
    (found,) = of_boots([topology])
    return found


def of_boots(topologies: Sequence[Topology]) -> list[dict[int, list[Decision]]]:
    """The same of several boots, whose functions are in one table."""
    found: list[dict[int, list[Decision]]] = [{} for _ in topologies]
    windows = [(boot, *window) for boot, topology in enumerate(topologies) for window in _windows(topology)]
    if not windows:
        return found
    boots, bridges, functions, scans, ends, cut, *keys = np.array(windows, np.int64).T
    table = topologies[0].functions.table
    begin, end = place(bridges, scans), place(bridges, ends)
    to_devcap2, to_devctl2 = table.accesses_to(DEVCAP2), table.accesses_to(DEVCTL2)
    devcap2 = to_devcap2.of(~to_devcap2.writes).last(begin, end)
    after = place(bridges, devcap2.rows)
    read, wrote = (to_devctl2.of(to_devctl2.writes == write).first(after, end) for write in (False, True))
    extended = table.extended_accesses
    walked = read.there & (
        np.searchsorted(extended, place(functions, read.rows))
        > np.searchsorted(extended, place(functions, devcap2.rows), side="right")
    )
    flags, is_pcie = table.facts["pcie_flags"], table.facts["is_pcie"]
    version = np.where(flags == NONE, 0, flags & pcie_capability.FLAGS_VERSION)
    seen: dict[str, NDArray[np.generic]] = {
        "cut": cut == 1,
        "pcie": table.facts["pcie"][bridges] != NONE,
        "is_pcie": is_pcie[bridges],
        "decides": (version[bridges] > 1) & (is_pcie[functions] == 1),
        "has_ari": table.facts["has_ari"][functions],
        "supported": np.where(
            devcap2.there, ~devcap2.failed & (devcap2.values & pcie_capability.DEVCAP2_ARI != 0), NONE
        ),
        "walked": walked,
        "thinned": _thinned(topologies, boots, devcap2, read),
        "read": read.there,
        "read_dead": read.dead,
        "read_failed": read.failed,
        "read_on": read.flag(ARI_FORWARDING.mask),
        "wrote": wrote.there,
        "wrote_on": wrote.flag(ARI_FORWARDING.mask),
        "wrote_first": wrote.rows < read.rows,
    }
    answers = distinct_questions.each(
        recognise, zip(*(flags_of(seen[name]) for name in _DecisionWindow._fields), strict=True)
    )
    rows = {"scan": scans, "devcap2": devcap2.rows, "read": read.rows, "write": wrote.rows}
    deciding = [rows[answer[2]][number] for number, answer in enumerate(answers)]
    columns = (boots, *keys, np.array(deciding), devcap2.rows, read.rows, read.dead)
    for answer, (boot, bridge, function_0, row, probed, first, dead) in zip(
        answers, zip(*(column.tolist() for column in columns), strict=True), strict=True
    ):
        made = Decision(bridge, function_0, *answer[:2], row, _row(probed), _row(first), dead)
        found[boot].setdefault(bridge, []).append(made)
    return found


def _row(row: int) -> int | None:
    return None if row == NONE else row


def _windows(topology: Topology) -> Iterator[tuple[int, ...]]:
    """Where decisions may be: rows of bridge and function 0 in their table, scan, end, cut, both keys.

    A window ends at the next function's vendor read, or with the boot (cut).
    """
    functions, rows = topology.functions, topology.vendor_rows
    probed = topology.probed
    for key, scan in topology.scans_of_functions_0:
        bridge = topology.bridge_above(key >> 8)
        if bridge is None:
            continue
        position = int(np.searchsorted(rows, scan, side="right"))
        while position < rows.size and probed[position] == key:
            position += 1
        cut = position == rows.size
        end = topology.boot.last + 1 if cut else int(rows[position])
        yield functions.row_of(bridge), functions.row_of(key), scan, end, cut, bridge, key


def _thinned(
    topologies: Sequence[Topology],
    boots: NDArray[np.int64],
    devcap2: ChosenAccesses,
    read: ChosenAccesses,
) -> NDArray[np.bool_]:
    """Whether accesses between the reads of DEVCAP2 and of DEVCTL2 were left out."""
    found = np.zeros(len(boots), np.bool_)
    for boot in np.unique(boots[read.there]).tolist():
        its = np.flatnonzero(read.there & (boots == boot))
        found[its] = topologies[boot].left_out(devcap2.rows[its], read.rows[its])
    return found


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
