"""What the accesses of one or two boots say of each function, as columns of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.observed.registers.function_table import DEVCTL2
from analyzer.observed.registers.run_accesses import place
from analyzer.replay.node_table import BUSES, FLAGS, NUMBERS, PARTS
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcix_capability import PCIX_ID, PCIX_MODE_2, PCIX_STATUS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from analyzer.observed.registers.function_table import FunctionTable

    Column = NDArray[np.int64]
    #: A table of functions, and the row of each function of the machine in it; :data:`NONE`: it has none.
    Boot = tuple[FunctionTable, Column]

_FACTS = ("is_pcie", "pcie_type", "multifunction", "ari_supported", "has_ari", "next_function")
_IDS = ("vendor", "device")  # known together
#: A bridge with a PCI-X capability whose status was not read.
_UNKNOWN_MODE = 2


def columns(before: Boot, after: Boot) -> dict[str, Column]:
    """The columns of a machine; what the later boot does not say keeps the earlier one's value."""
    size = len(before[1])
    found = {name: np.full(size, NONE) for name in NUMBERS}
    found |= {name: np.zeros(size, np.int64) for name in FLAGS}
    found["present"] += 1
    found["hardware"] += NONE
    earlier, later = _shown(*before), _shown(*after)
    found |= {name: np.where(column == NONE, earlier[name], column) for name, column in later.items()}
    found["is_bridge"] = np.maximum(found["is_bridge"], 0)
    mode = found["pcix_mode_2"]
    found["pcix_mode_2"] = np.where(mode == NONE, 0, np.where(mode == _UNKNOWN_MODE, NONE, mode))
    return found


def _shown(table: FunctionTable, rows: Column) -> dict[str, Column]:
    """What one boot says of the functions; that one is no bridge is left open."""
    shown = {name: taken(table.facts[name], rows) for name in (*_FACTS, *_IDS)}
    named = np.all([shown[name] != NONE for name in _IDS], axis=0)
    shown |= {name: np.where(named, shown[name], NONE) for name in _IDS}
    is_bridge = taken(table.is_bridge.astype(np.int64), rows) == 1
    shown["is_bridge"] = np.where(is_bridge, 1, NONE)
    shown["pcix_mode_2"] = np.where(is_bridge, taken(_pcix_modes(table), rows), NONE)
    return shown


def taken(column: Column, rows: Column) -> Column:
    """The values at some rows; :data:`NONE` where the row is that."""
    nothing = np.full((1, *column.shape[1:]), NONE)
    found: Column = np.concatenate([column, nothing])[rows]
    return found


def bus_numbers(held: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of bus numbers: by the names in :data:`BUSES` a row of :data:`PARTS` for each function."""
    return {
        f"{name}_{part}": column for name in BUSES for part, column in zip(PARTS, held[name].T, strict=True)
    }


def _pcix_modes(table: FunctionTable) -> NDArray[np.int64]:
    """PCI-X mode 2 of each function that has a PCI-X capability; 0 without it."""
    offsets = table.offsets(PCIX_ID, extended=False)
    found = np.zeros(len(offsets), np.int64)
    for row in np.flatnonzero(offsets != NONE).tolist():
        status = table.function(row).register(int(offsets[row]) + PCIX_STATUS, 4)
        found[row] = _UNKNOWN_MODE if status is None else bool(status[0] & PCIX_MODE_2)
    return found


def hardware_bits(table: FunctionTable) -> NDArray[np.int64]:
    """Bit 5 of DEVCTL2 of each function as its boot's first read of it returned it, before its own write.

    An all-ones read without an error is data to the kernel (bit set); a read that failed leaves the preset 0
    (Linux 7.3 pcie_capability_read_word).
    """
    mask = ARI_FORWARDING.mask
    accesses = table.accesses_to(DEVCTL2)
    accesses = accesses.of(accesses.masks & mask != 0)
    every = np.arange(table.rows)
    first = accesses.first(
        place(every, np.full(table.rows, NONE)), place(every + 1, np.zeros(table.rows, np.int64))
    )
    read = np.where(first.dead, ~first.failed, first.values & mask != 0)
    written = first.writes & first.there
    return np.where(first.there & ~written, read, NONE)
