"""Where the scan of each root bus of a boot is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from schemas import config_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from analyzer.observed.boots import BootSpan
    from analyzer.observed.index import AccessIndex


def of_boot(
    index: AccessIndex, boot: BootSpan, vendor_rows: NDArray[np.int64], root_bus: Callable[[int], int]
) -> dict[int, int]:
    """Root bus -> row at which its first scan was over (missing: the capture ends before).

    Only then does pci_bus_add_device save each device's header, dword by dword from 0x00 (Linux 7.3
    pci_save_state); lspci reads the same way. In a scan a vendor read is never followed by 0x04.

    Args:
        index: the capture.
        boot: the boot.
        vendor_rows: rows of its reads at 0x00.
        root_bus: the root bus above a bus.
    """
    ends: dict[int, int] = {}
    if boot.scan is None:
        return ends
    rows = vendor_rows[vendor_rows > boot.scan]
    rows = rows[index.present_id[rows]]
    following = index.next_of_function(rows)
    saved = rows[
        (following >= 0) & (index.offset[following] == config_header.COMMAND) & index.is_read[following]
    ]
    buses = index.function[saved] >> 8
    for row, bus in zip(saved.tolist(), buses.tolist(), strict=True):
        root = root_bus(bus)
        if root not in ends and not _early_dump(index, row):
            ends[root] = row
    return ends


def _early_dump(index: AccessIndex, row: int) -> bool:
    """Whether a vendor read begins the dump of ``pci=earlydump``: it follows the function's class dword.

    Linux 7.3 pci_setup_device reads the class and then calls early_dump_pci_device, which reads 256 bytes
    from 0x00 on; no other code reads the header from its start right after the class.
    """
    own = index.rows_of(int(index.function[row]))
    before = int(np.searchsorted(own, row)) - 1
    return before >= 0 and bool(index.is_read[own[before]]) and int(index.offset[own[before]]) == 0x08
