"""How much of a port, and of what is below it, stands at reset values after a kexec: a reset, or one bit.

A conventional reset puts every register back (PCI Express 6.6.1); a stray write, or firmware that clears one
bit, leaves the others. The numbers stand beside a cause and choose none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.plurals import count, counted

if TYPE_CHECKING:
    from analyzer.replay.node_table import NodeTable
    from analyzer.results import BridgeVerdict
    from analyzer.verdicts.state_watch import StateWatch


def noted(bridge: BridgeVerdict, machine: NodeTable, watch: StateWatch) -> BridgeVerdict:
    """The verdict on a bridge with the numbers, where it has a cause and the registers were compared."""
    if bridge.cause is None:
        return bridge
    key = bdf.parse(bridge.bdf)
    node, own = machine.world.by_outgoing.get(key), watch.at_reset(key)
    if node is None or own is None:
        return bridge
    depth = len(node.path)
    below = [
        counted
        for path, other in machine.world.by_path.items()
        if len(path) > depth and path[:depth] == node.path and other.outgoing is not None
        if (counted := watch.at_reset(other.outgoing)) is not None and counted[1]
    ]
    return replace(bridge, registers_note=text(own, below))


def text(own: tuple[int, int], below: list[tuple[int, int]]) -> str:
    """The numbers in words.

    Args:
        own: how many other watched registers of the port had a value of their own before the kexec and stand
            at their reset value after it, and how many had one.
        below: the same of each function below.
    """
    reset, had = own
    if not had:
        said = "no other watched register of the port had a value that a reset would change"
    elif not reset:
        registers = count(had, "other watched register")
        said = f"none of {registers} of the port has its reset value"
    elif reset == had:
        said = counted("[the one other|all {} other] watched [register|registers] of the port ", had)
        said += "has its reset value" if had == 1 else "have their reset values"
    else:
        said = f"{reset} of {had} other watched registers of the port have their reset values"
    if not below:
        return said
    counts = f"{sum(one for one, _ in below)} of {sum(all_of for _, all_of in below)}"
    return f"{said}; on {count(len(below), 'function')} below it {counts}"
