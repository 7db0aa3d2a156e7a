"""Ports whose ARI Forwarding is off although a stock kernel sets it: lost, never set, or inherited off.

A stock kernel sets the bit while it sets function 0 of the bus below up, if the port supports ARI Forwarding
and function 0 has the ARI capability, and pci=noari is not given (Linux 7.3 drivers/pci/pci.c
pci_configure_ari). Series v4 to v9 leave it as it is on preserved bridges. A dump shows what was left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer import bdf
from schemas.pcie_capability import PORT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.observed.decisions import Decision, Rule
    from analyzer.questions.ports_at_risk import Machine
    from analyzer.replay.world import Node

RULE: Final = (
    "A stock kernel sets the bit when it scans such a function (Linux 7.3 drivers/pci/pci.c, "
    "pci_configure_ari)"
)
_CLEARED: Final = (
    "it was cleared after the kernel had {}: by a reset of the port, by firmware, or by a tool that wrote "
    "the register (setpci), on purpose or not"
)
_LOST: Final = _CLEARED.format("set it")
_NOARI: Final = "the kernel runs with pci=noari, so that it never set it"
_INHERITED: Final = (
    "a kernel of the Live Update series took the bridge as preserved and inherited the bit as it was, off: "
    "it was lost before that kernel decided, or never on"
)
#: What explains a bit that is off, by the running kernel's decision to leave it off.
_BY_RULE: Final[dict[Rule, str]] = {
    "inherit": _INHERITED,
    "untouched": _NOARI,
    "skipped": _NOARI,
}


#: Decisions after which the bit is off by rule, whatever the rest of the input says.
_NOT_SET_BY_A_STOCK_KERNEL: Final[frozenset[Rule]] = frozenset({"clear", "none", "unsupported"})


@dataclass(frozen=True)
class PortShouldBeOn:
    """A port whose ARI Forwarding is off, and which a stock kernel sets.

    Attributes:
        bdf: the port.
        port_type, secondary: as of a port at risk.
        function_0: function 0 below it, which has the ARI capability.
        explanations: each may be why it is off; only one where the capture shows the kernel's decision.
        access: number of the access that shows the kernel's decision, None where none is in the input.
    """

    bdf: str
    port_type: str | None
    secondary: int | None
    function_0: str
    explanations: list[str]
    access: int | None = None


def of_machine(machine: Machine) -> Iterator[PortShouldBeOn]:
    """Every such port that has anything below it that is to be handed over.

    A port or function 0 of which the deciding bytes are not in the input is none.
    """
    for node in machine.candidates:
        if not node.ari_supported or machine.bits[node.name] is not False:
            continue
        decided = machine.decided.get(node.name)
        decision = decided[-1] if decided else None
        if decision is not None and decision.rule in _NOT_SET_BY_A_STOCK_KERNEL:
            continue
        first = machine.topology.functions.get(machine.bus_below(node) << 8)
        # What pci=earlydump prints is from before the kernel set the port up, and has no extended space.
        if first is not None and first.has_ari:
            yield _port(node, bdf.text(first.function), decision, machine)


def _port(node: Node, function_0: str, decision: Decision | None, machine: Machine) -> PortShouldBeOn:
    numbers = node.outgoing_numbers
    shown = None if decision is None else _shown(decision)
    return PortShouldBeOn(
        bdf=bdf.text(node.name),
        port_type=PORT_TYPES.get(node.pcie_type) if node.pcie_type is not None else None,
        secondary=None if numbers is None else numbers.secondary,
        function_0=function_0,
        explanations=[_LOST, _NOARI, _INHERITED] if shown is None else [shown],
        access=None if shown is None or decision is None else int(machine.index.seq[decision.row]),
    )


def _shown(decision: Decision) -> str | None:
    """What a decision of the running kernel leaves as explanation; None if it shows none."""
    if decision.enabled:
        return _CLEARED.format("inherited it on") if decision.rule == "inherit" else _LOST
    return _BY_RULE.get(decision.rule)
