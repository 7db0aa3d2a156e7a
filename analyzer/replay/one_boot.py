"""The hardware as one kernel sees it, for questions about a kexec that has not happened yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import boot_rows, node_table
from analyzer.replay.node_table import NodeTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.observed.topology import Topology
    from analyzer.replay.world import Path


def build(topology: Topology, bits: Mapping[int, bool | None], earlier: Topology | None = None) -> NodeTable:
    """Put the functions of one kernel together.

    Args:
        topology: the kernel's functions.
        bits: bridge key -> its ARI Forwarding bit.
        earlier: the kernel that it was kexec'd from. Capabilities that it read count; a function that it had
            and the later kernel has not is there only below a port whose bit is off: it may not be seen.
    """
    found: dict[Path, list[int]] = {} if earlier is None else _earlier(earlier, topology, bits)
    for key in sorted(topology.functions):
        found.setdefault(topology.path(key), [NONE] * 3)[1:] = topology.functions.row_of(key), key
    paths = sorted(found)
    before, after, keys = np.array([found[path] for path in paths], np.int64).reshape(len(paths), 3).T
    table = topology.functions.table
    first = table if earlier is None else earlier.functions.table
    columns = boot_rows.columns((first, before), (table, after))
    columns["outgoing"] = keys
    last, held = boot_rows.taken(table.last_numbers, after), boot_rows.taken(first.last_numbers, before)
    numbers = np.where(last[:, -1:] == NONE, held, last)
    columns |= boot_rows.bus_numbers(
        {"numbers": numbers, "outgoing_numbers": numbers, "incoming_numbers": np.full_like(numbers, NONE)}
    )
    for row in np.flatnonzero(after != NONE).tolist():
        key = int(keys[row])
        bit = bits.get(key)
        columns["hardware"][row] = NONE if bit is None else bit
        columns["silent"][row] = key in topology.silent
    made = NodeTable(paths, columns)
    node_table.correct(paths, made.above, columns)
    return made


def _earlier(earlier: Topology, topology: Topology, bits: Mapping[int, bool | None]) -> dict[Path, list[int]]:
    """What an earlier kernel had: what the later one has too, and what is below ports that are off."""
    off = {topology.path(key) for key, bit in bits.items() if bit is False}
    found: dict[Path, list[int]] = {}
    for key in sorted(earlier.functions):
        path = earlier.path(key)
        known = key in topology.functions and topology.path(key) == path
        if known or any(path[:length] in off for length in range(2, len(path))):
            found.setdefault(path, [NONE] * 3)[0::2] = earlier.functions.row_of(key), key
    return found
