"""The hardware at a kexec, from what two boots' reads show: who is there, and who does not answer.

Only what the incoming kernel's own reads returned shows that something is gone: a vendor read without an
answer, a header type that is none, bus numbers of ones, a bus that nothing forwards to. Whether it
*enumerated* a function is never recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.observed import register_state
from analyzer.replay.world import Node, World, fill, link
from schemas.config_header import ABSENT_VENDOR_DWORDS, HEADER_TYPE_ONES, RRS_VENDOR
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from analyzer.observed.decisions import Decision
    from analyzer.observed.index import AccessIndex
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.replay.world import Path


def build(
    index: AccessIndex,
    outgoing: Topology,
    incoming: Topology,
    decisions: dict[int, list[Decision]],
) -> World:
    """Merge what two boots' reads say into one world.

    Args:
        index: the capture.
        outgoing: topology of the outgoing boot.
        incoming: topology of the incoming boot.
        decisions: ARI decisions of the incoming boot: only what DEVCAP2 returned then, and *where* they were
            made, to know from which reads a function above 7 can be called absent.
    """
    by_path: dict[Path, Node] = {}
    for key in sorted(outgoing.functions):  # hot-added ones too: they are there at the kexec
        path = _path(outgoing, key, incoming)
        node = by_path.setdefault(path, Node(path))
        node.outgoing, node.assumed = key, True
        node.silent = outgoing.functions[key].silent
        fill(node, outgoing.functions[key])
        node.outgoing_numbers = outgoing.functions[key].bus_numbers
    fallen: list[Node] = []
    for key in sorted(incoming.enumerated):
        path = _path(incoming, key, outgoing)
        node = by_path.setdefault(path, Node(path))
        node.incoming, node.assumed = key, False
        function = incoming.functions[key]
        if function.silent and node.outgoing is not None and not node.silent:
            fallen.append(node)
        node.silent = function.silent and (node.outgoing is None or node.silent)
        fill(node, function)
        node.numbers, node.incoming_numbers = function.first_bus_numbers, function.bus_numbers
        node.numbers_silent = incoming.boot.scan is not None and _numbers_silent(function)
        if node.is_bridge:
            node.hardware = hardware_bit(function)
        taken = decisions.get(key)
        if taken and taken[0].supported is not None:
            node.ari_supported = taken[0].supported
    world = link(by_path)
    mark_fallen(fallen, world)
    mark_ignored(incoming, world)
    mark_absent(index, incoming, decisions, world)
    mark_unroutable(world)
    return world


def _path(topology: Topology, key: int, other: Topology) -> Path:
    """Where a function sits; where the bridge above is not in its boot, as the other boot shows it."""
    path = topology.path(key)
    if topology.is_root(path[0]) or key not in other.functions:
        return path
    place = other.path(key)
    return place if other.is_root(place[0]) else path


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


def hardware_bit(function: Function) -> bool | None:
    """Bit 5 of DEVCTL2 as the incoming kernel's first read of it returned it, before its own write.

    An all-ones read without an error is data to the kernel (bit set); a read that failed leaves the preset 0
    (Linux 7.3 pcie_capability_read_word).
    """
    first = next(register_state.history(function, ARI_FORWARDING), None)
    if first is None or first.write:
        return None
    return not first.failed if first.dead else bool(first.field(ARI_FORWARDING.mask))


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


def mark_absent(
    index: AccessIndex, incoming: Topology, decisions: dict[int, list[Decision]], world: World
) -> None:
    """Note the functions that did not answer a vendor read of the incoming kernel's scan.

    With ARI Forwarding off a downstream port passes device 0 only (PCIe 7.5.3.16), so silence of function 8
    and up is no evidence of absence then.
    """
    scan = incoming.boot.scan
    if scan is None:
        return
    rows = incoming.vendor_rows[incoming.vendor_rows >= scan]
    value = index.value[rows]
    silent = index.absent[rows] | np.isin(value, ABSENT_VENDOR_DWORDS) | ((value & 0xFFFF) == RRS_VENDOR)
    probed = index.function[rows[silent]]
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
