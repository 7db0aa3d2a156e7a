"""What each function was used as in one boot, and whether it might do DMA when that boot ended.

sysfs says what is; a kernel log says what was last said. Where both speak of a function, sysfs is taken
first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.capture.uses import merged_maps
from analyzer.observed import register_state
from schemas.state_watch import BUS_MASTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.capture import FunctionUse, PlacedUse
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.results import DeviceVerdict
    from analyzer.verdicts.boot_logs import BootLogs
    from analyzer.verdicts.evidence import EvidenceBuilder


def of_boot(
    boot: int, index: AccessIndex, logs: BootLogs, placed: Sequence[PlacedUse]
) -> dict[int, FunctionUse]:
    """Use of each function of one boot, where the input says it, by function key.

    Args:
        boot: number of the boot.
        index: the accesses.
        logs: the kernel logs.
        placed: uses with the access that each was read before.
    """
    starts = [int(index.seq[span.first]) for span in logs.spans]
    first = starts[boot] if boot else 0
    end = starts[boot + 1] if boot + 1 < len(starts) else None
    shown = {
        one.function: one.use
        for one in sorted(placed, key=lambda one: one.seq)
        if one.seq >= first and (end is None or one.seq < end)
    }
    for runs in logs.by_source.values():
        run = runs.get(boot)
        if run is not None:
            shown = merged_maps(shown, run.uses)
    return shown


def added(
    devices: Sequence[DeviceVerdict],
    outgoing: Topology,
    incoming: Topology,
    uses: Mapping[int, FunctionUse],
    builder: EvidenceBuilder,
    *,
    whole: bool,
) -> list[DeviceVerdict]:
    """The verdicts with what each function was, and of those that were not found Bus Master.

    ``whole``: no access is known to be missing; a later write to Command may be among those that are.

    A function without Bus Master makes no memory request (PCI Express 7.5.1.1.3). VFIO's freeze clears it
    (vfio-pci Live Update series v5), and so does the shutdown of every function that is not preserved (Linux
    7.3 pci_device_shutdown): what it was before says nothing where the shutdown is not in the input.
    """
    ending_known = whole and incoming.boot.orderly is True
    found = []
    for device in devices:
        lost = device.verdict in ("stranded", "missing")
        if not lost and not uses:
            found.append(device)
            continue
        key = bdf.parse(device.bdf)
        function = outgoing.functions.get(key) if lost and ending_known else None
        shown = None if function is None else _bus_master(function)
        found.append(
            replace(
                device,
                was=uses.get(key),
                bus_master=None if shown is None else shown[0],
                bus_master_access=None if shown is None else builder.number(shown[1]),
            )
        )
    return found


def _bus_master(function: Function) -> tuple[bool, int] | None:
    """Bus Master as the last access shows it, and its row; None: not shown, or the function fell silent.

    What is written to a function that reads all ones goes nowhere.
    """
    state = BUS_MASTERS[function.is_bridge]
    shown: tuple[bool, int] | None = None
    silent = False
    for sample in register_state.history(function, state):
        if sample.dead:
            silent, shown = True, None
        elif not (sample.write and silent):
            silent = False
            value = sample.field(state.mask)
            shown = shown if value is None else (bool(value), sample.row)
    return shown
