"""The hardware at kexecs, from what two boots' reads show: who is there, and who does not answer.

Only what the incoming kernel's own reads returned shows that something is gone: a vendor read without an
answer, a header type that is none, bus numbers of ones, a bus that nothing forwards to. Whether it
*enumerated* a function is never recorded.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analyzer.observed.registers.first_reads import NONE
from analyzer.replay import boot_rows, node_table
from analyzer.replay.node_table import PARTS, NodeTable
from schemas.config_header import HEADER_TYPE_ONES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analyzer.observed.decisions import Decision
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.replay.node_table import Column
    from analyzer.replay.world import Path


class TwoBoots(NamedTuple):
    """The boots of one kexec.

    Attributes:
        decisions: ARI decisions of the incoming boot: only what DEVCAP2 returned then, and *where* they were
            made, to know from which reads a function above 7 can be called absent.
    """

    outgoing: Topology
    incoming: Topology
    decisions: dict[int, list[Decision]]


def build(kexecs: Sequence[TwoBoots]) -> list[NodeTable]:
    """Merge what two boots' reads say, for kexecs whose functions are in one table."""
    if not kexecs:
        return []
    placed = [_placed(kexec) for kexec in kexecs]
    edges = [0, *itertools.accumulate(map(len, placed))]
    paths = [path for one in placed for path in sorted(one)]
    rows = np.array([one[path] for one in placed for path in sorted(one)], np.int64).reshape(len(paths), 4)
    table = kexecs[0].outgoing.functions.table
    before, after, outgoing, incoming = rows.T
    columns = boot_rows.columns((table, before), (table, after))
    columns["outgoing"], columns["incoming"] = outgoing, incoming
    columns["assumed"] = (after == NONE).astype(np.int64)
    numbers = {
        "numbers": boot_rows.taken(table.first_numbers, after),
        "outgoing_numbers": boot_rows.taken(table.last_numbers, before),
        "incoming_numbers": boot_rows.taken(table.last_numbers, after),
    }
    columns |= boot_rows.bus_numbers(numbers)
    bits = boot_rows.taken(boot_rows.hardware_bits(table), after)
    columns["hardware"] = np.where(columns["is_bridge"] == 1, bits, NONE)
    slices = [slice(*pair) for pair in itertools.pairwise(edges)]
    machines = [
        NodeTable(paths[its], {name: column[its] for name, column in columns.items()}) for its in slices
    ]
    for kexec, one in zip(kexecs, machines, strict=True):
        _add_supported(one, kexec.decisions)
        _add_silence(one, kexec)
    above = [
        np.where(one.above == NONE, NONE, one.above + first)
        for one, first in zip(machines, edges, strict=False)
    ]
    node_table.correct(paths, np.concatenate(above), columns)
    for kexec, one in zip(kexecs, machines, strict=True):
        _mark(one, kexec)
    return machines


def _placed(kexec: TwoBoots) -> dict[Path, list[int]]:
    """Place -> rows of the function in the outgoing and the incoming boot's table, and its keys there."""
    outgoing, incoming = kexec.outgoing, kexec.incoming
    found: dict[Path, list[int]] = {}
    for key in sorted(outgoing.functions):  # hot-added ones too: they are there at the kexec
        path = _path(outgoing, key, incoming)
        found.setdefault(path, [NONE] * 4)[0::2] = outgoing.functions.row_of(key), key
    for key in sorted(incoming.enumerated):
        path = _path(incoming, key, outgoing)
        found.setdefault(path, [NONE] * 4)[1::2] = incoming.functions.row_of(key), key
    return found


def _path(topology: Topology, key: int, other: Topology) -> Path:
    """Where a function sits; where the bridge above is not in its boot, as the other boot shows it."""
    path = topology.path(key)
    if topology.is_root(path[0]) or key not in other.functions:
        return path
    place = other.path(key)
    return place if other.is_root(place[0]) else path


def _add_supported(one: NodeTable, decisions: dict[int, list[Decision]]) -> None:
    """Take DEVCAP2 as the incoming kernel read it when it decided."""
    if not decisions:
        return
    rows = {key: row for row, key in enumerate(one.columns["incoming"].tolist())}
    for key, taken in decisions.items():
        row, supported = rows.get(key), taken[0].supported
        if row is not None and supported is not None:
            one.columns["ari_supported"][row] = supported


def _add_silence(one: NodeTable, kexec: TwoBoots) -> None:
    """Note what reads all ones: functions that a snapshot lists, bus numbers of bridges that were set up."""
    columns, before, after = one.columns, kexec.outgoing.silent, kexec.incoming.silent
    if before or after:
        was, now = (
            np.isin(columns[name], list(keys)) for name, keys in (("outgoing", before), ("incoming", after))
        )
        found = columns["incoming"] != NONE
        columns["silent"][:] = np.where(found, now & ((columns["outgoing"] == NONE) | was), was)
    if kexec.incoming.boot.scan is None:
        return
    unread = (columns["incoming"] != NONE) & (columns["is_bridge"] == 1) & (columns["numbers_row"] == NONE)
    for row in np.flatnonzero(unread).tolist():
        function = kexec.incoming.functions[int(columns["incoming"][row])]
        columns["numbers_silent"][row] = _numbers_silent(function)


def _numbers_silent(function: Function) -> bool:
    """Whether a bridge was set up and read nothing but all ones for its bus numbers: it died on the way.

    Ones are data to pci_scan_bridge_extend of Linux 7.3: broken in pass 0, whose write of 0 is lost; set in
    pass 1, which leaves them to pass 0.
    """
    if not function.is_bridge or function.first_bus_numbers is not None:
        return False
    reads = [
        sample
        for sample in function.bus_number_samples()
        if not sample.write and sample.row > function.scans[0]  # not the early quirks
    ]
    return bool(reads) and all(sample.dead for sample in reads)


def _mark(machine: NodeTable, kexec: TwoBoots) -> None:
    """Note what does not answer; where every function was found, only one that has fallen silent since."""
    if kexec.incoming.silent:
        mark_fallen(machine, kexec.incoming)
    if (machine.columns["incoming"] == NONE).any():
        mark_ignored(machine, kexec.incoming)
        mark_absent(machine, kexec.incoming, kexec.decisions)
        mark_unroutable(machine)


def mark_fallen(machine: NodeTable, incoming: Topology) -> None:
    """Note the functions that answered before the kexec and that a snapshot after it lists as all ones.

    Whatever its kernel found when it scanned, they do not answer now: for lack of ARI Forwarding, if they
    need it and it is off above them.
    """
    columns = machine.columns
    fallen = np.isin(columns["incoming"], list(incoming.silent)) & (columns["silent"] != 1)
    _mark_absent(machine, fallen, off_above=columns["hardware"][machine.above] == 0)


def mark_ignored(machine: NodeTable, incoming: Topology) -> None:
    """Note the functions that the incoming kernel gave up for the header type that it read.

    To Linux such a function is as absent as one that does not answer (7.3 pci_scan_single_device): function 0
    ends its slot, a member ends the chain of Next Function Numbers.
    """
    for row, address in enumerate(_probed(machine).tolist() if incoming.ignored else ()):
        layout = incoming.ignored.get(address)
        if layout is not None:
            machine.columns["present"][row] = machine.columns["assumed"][row] = 0
            machine.ignored[row] = "no-response" if layout == HEADER_TYPE_ONES else "unknown-header-type"


def mark_absent(machine: NodeTable, incoming: Topology, decisions: dict[int, list[Decision]]) -> None:
    """Note the functions that did not answer a vendor read of the incoming kernel's scan.

    With ARI Forwarding off a downstream port passes device 0 only (PCIe 7.5.3.16), so silence of function 8
    and up is no evidence of absence then.
    """
    if incoming.boot.scan is None:
        return
    probed = _probed(machine)
    silent = (probed != NONE) & np.isin(probed, incoming.probed_in_vain)
    silent[list(machine.ignored)] = False
    forwarding = [key for key, taken in decisions.items() if taken and taken[0].enabled]
    on_above = np.isin(machine.columns["incoming"], forwarding)[machine.above]
    _mark_absent(machine, silent, off_above=~on_above)


def _probed(machine: NodeTable) -> Column:
    """Where the incoming kernel probed for functions that it did not discover; else :data:`NONE`."""
    above, incoming = machine.above, machine.columns["incoming"]
    secondary = machine.columns["incoming_numbers_secondary"]
    known = (incoming != NONE) & (secondary != NONE)
    below = np.where(known, incoming >> 16 << 8 | secondary, NONE)[above]
    bus = np.where(above == NONE, machine.root_buses, below)
    return np.where((incoming == NONE) & (bus != NONE), bus << 8 | machine.devfns, NONE)


def _mark_absent(machine: NodeTable, silent: NDArray[np.bool_], *, off_above: NDArray[np.bool_]) -> None:
    """Note silent functions as gated where they need ARI Forwarding and it is off above, else as absent."""
    columns, above = machine.columns, machine.above
    needs_ari = (above != NONE) & (machine.one_child[above] != 0) & (machine.devfns > 7)
    gated = silent & needs_ari & off_above
    columns["gated"][gated] = 1
    for name in ("present", "assumed"):
        columns[name][silent & ~gated] = 0


def mark_unroutable(machine: NodeTable) -> None:
    """Note the functions below bridges with new bus numbers that no bridge above forwards.

    Linux 7.3 pci_scan_bridge_extend gives a bridge the number after the highest in use on its bus, and does
    not widen a bridge above that kept its numbers: in a packed switch nothing answers there.
    """
    columns, above = machine.columns, machine.above.tolist()
    first, now = (
        np.array([columns[f"{name}_{part}"] for part in PARTS[:3]])
        for name in ("numbers", "incoming_numbers")
    )
    known = (first[1] != NONE) & (now[1] != NONE)
    same = (first == now).all(axis=0)
    kept, renumbered = known & same, known & ~same & (columns["is_bridge"] == 1)
    for row in np.flatnonzero(renumbered).tolist():
        bridge = above[row]
        while bridge != NONE:
            if kept[bridge] and now[1][row] > first[2][bridge]:
                below = machine.rows_below(row)
                lost = below[columns["incoming"][below] == NONE]
                columns["present"][lost] = columns["assumed"][lost] = 0
                columns["unroutable"][lost] = 1
            bridge = above[bridge]
