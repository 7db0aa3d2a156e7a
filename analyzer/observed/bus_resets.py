"""Bus resets that a kernel itself initiated (Secondary Bus Reset in Bridge Control)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas.config_header import BRIDGE_CONTROL, BRIDGE_CONTROL_SBR

if TYPE_CHECKING:
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.topology import Topology


def of_kernel(index: AccessIndex, topology: Topology) -> dict[int, int]:
    """Bridge -> row of the last write by which the kernel of a boot reset the bus below.

    What something else wrote in the blackout is none of the kernel's.
    """
    boot = topology.boot
    own = slice(boot.first, boot.end + 1)
    rows = np.flatnonzero(index.is_write[own] & (index.offset[own] == BRIDGE_CONTROL)) + boot.first
    rows = rows[index.value[rows] & BRIDGE_CONTROL_SBR != 0]
    bridges = set(topology.functions.keys_of_bridges)
    keys = index.function[rows].tolist()
    return {key: row for key, row in zip(keys, rows.tolist(), strict=True) if key in bridges}
