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

    from analyzer.observed.decisions import Decision
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.replay.world import Node, Path, World


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
    rows = np.array([one[path] for one in placed for path in sorted(one)], np.int64).reshape(-1, 4)
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
    return [_marked(one, kexec) for kexec, one in zip(kexecs, machines, strict=True)]


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
        columns["fallen"] = (now & (columns["outgoing"] != NONE) & ~was).astype(np.int64)
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


def _marked(one: NodeTable, kexec: TwoBoots) -> NodeTable:
    """The machine without what does not answer; nothing is to be looked at where every function was found."""
    columns = one.columns
    fallen = np.flatnonzero(columns["fallen"]) if "fallen" in columns else ()
    moved = (columns["incoming_numbers_row"] != NONE) & (columns["numbers_row"] != NONE)
    changed = [columns[f"incoming_numbers_{part}"] != columns[f"numbers_{part}"] for part in PARTS[:3]]
    all_found = (columns["incoming"] != NONE).all() and not kexec.incoming.ignored
    if all_found and not len(fallen) and not (moved & np.any(changed, axis=0)).any():
        return one
    world = one.world
    mark_fallen([one.nodes[row] for row in fallen], world)
    mark_ignored(kexec.incoming, world)
    mark_absent(kexec.incoming, kexec.decisions, world)
    mark_unroutable(world)
    one.take("present", "assumed", "gated", "unroutable")
    return one


def mark_unroutable(world: World) -> None:
    """Note the functions below bridges with new bus numbers that no bridge above forwards.

    Linux 7.3 pci_scan_bridge_extend gives a bridge the number after the highest in use on its bus, and does
    not widen a bridge above that kept its numbers: in a packed switch nothing answers there.
    """
    for node in world.nodes():
        numbers = node.incoming_numbers
        if not node.is_bridge or numbers is None or node.numbers is None or numbers == node.numbers:
            continue
        above = world.parent(node)
        while above is not None and numbers is not None:
            kept = above.numbers
            if kept is not None and kept == above.incoming_numbers and numbers.secondary > kept.subordinate:
                _silence(node)
            above = world.parent(above)


def _silence(bridge: Node) -> None:
    for child in bridge.children.values():
        if child.incoming is None:
            child.present, child.assumed, child.unroutable = False, False, True
        _silence(child)


def mark_fallen(fallen: list[Node], world: World) -> None:
    """Note the functions that answered before the kexec and that a snapshot after it lists as all ones.

    Whatever its kernel found when it scanned, they do not answer now: for lack of ARI Forwarding, if they
    need it and it is off above them.
    """
    for node in fallen:
        above = world.parent(node)
        if above is not None and above.one_child is not False and node.devfn > 7 and above.hardware is False:
            node.gated = True
        else:
            node.present, node.assumed = False, False


def _address(node: Node, world: World) -> int | None:
    """Where the incoming kernel probed for a function that it did not discover; None: it did, or nowhere."""
    above = world.parent(node)
    if node.incoming is not None:
        return None
    if above is None:
        return node.path[0] << 8 | node.devfn
    if above.incoming is None or above.incoming_numbers is None:
        return None
    return above.incoming >> 16 << 16 | above.incoming_numbers.secondary << 8 | node.devfn


def mark_ignored(incoming: Topology, world: World) -> None:
    """Note the functions that the incoming kernel gave up for the header type that it read.

    To Linux such a function is as absent as one that does not answer (7.3 pci_scan_single_device): function 0
    ends its slot, a member ends the chain of Next Function Numbers.
    """
    for node in world.by_path.values() if incoming.ignored else ():
        layout = incoming.ignored.get(-1 if (address := _address(node, world)) is None else address)
        if layout is not None:
            node.present, node.assumed = False, False
            node.ignored = "no-response" if layout == HEADER_TYPE_ONES else "unknown-header-type"


def mark_absent(incoming: Topology, decisions: dict[int, list[Decision]], world: World) -> None:
    """Note the functions that did not answer a vendor read of the incoming kernel's scan.

    With ARI Forwarding off a downstream port passes device 0 only (PCIe 7.5.3.16), so silence of function 8
    and up is no evidence of absence then.
    """
    scan = incoming.boot.scan
    if scan is None:
        return
    probed = incoming.probed_in_vain
    for node in world.by_path.values():
        address = _address(node, world)
        if address is None or node.ignored is not None or not (probed == address).any():
            continue
        above = world.parent(node)
        if above is not None and above.one_child is not False and node.devfn > 7:
            taken = decisions.get(above.incoming or 0)
            if not taken or not taken[0].enabled:
                node.gated = True
                continue
        node.present, node.assumed = False, False
