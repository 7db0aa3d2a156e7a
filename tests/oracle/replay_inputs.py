"""A random case as the replay takes it: :class:`NodeTable` and :class:`Profile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hand_made_worlds import of_machines
from naive_scan import ABSENT, ARI_BIT, DOWNSTREAM, MULTIFUNCTION, PCI_TO_PCIE, ROOT_PORT, UPSTREAM

from analyzer.observed.registers.functions import BusNumbers
from analyzer.replay.profile import Profile
from analyzer.replay.world import Node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from naive_scan import Hardware, Kernel
    from random_worlds import Case, Numbers, Path

    from analyzer.replay.node_table import NodeTable


def profile(case: Case, policy: str) -> Profile:
    return Profile(
        policy=policy,
        series=case.series,
        preserved=case.preserved,
        noari=case.noari,
        scan_all=case.scan_all,
        saved=dict(case.saved),
        handover=case.handover,
        assign_busses=case.assign_busses,
        isolated_functions=case.isolated,
        handed_over=case.handed_over,
    )


def nodes(case: Case, ran: Kernel | None = None) -> dict[Path, Node]:
    """The functions of the machine as two boots' reads describe them, not yet connected.

    Args:
        case: the machine.
        ran: the kernel that scanned it, so that its bus numbers are known as the capture shows them; None:
            what another policy would have done is asked, and the convention holds that new bus numbers are
            the outgoing ones.
    """
    by_path = {path: _node(case, path, hardware) for path, hardware in case.functions()}
    for (domain, bus), wired in case.machine.roots.items():
        _forget_unread((domain << 8 | bus,), wired, (None, False), by_path)
    if ran is not None:
        _add_observed(by_path, ran)
    return by_path


def machines(described: Sequence[dict[Path, Node]]) -> list[NodeTable]:
    """Connect nodes and correct port types, as the tables are built from captures."""
    return of_machines([by_path.values() for by_path in described])


def _node(case: Case, path: Path, hardware: Hardware) -> Node:
    node = Node(path, outgoing=case.outgoing.get(path))
    node.incoming = None if path in case.outgoing else case.addresses[path]
    node.present = hardware.vendor not in ABSENT and hardware.vendor & 0xFFFF != 1
    if node.present and hardware.header_read is not None:
        ones = hardware.header_read & 0x7F == 0x7F
        node.present, node.ignored = False, "no-response" if ones else "unknown-header-type"
    node.gated = hardware.gated
    node.is_bridge = hardware.header & 0x7F == 1
    node.multifunction = bool(hardware.header & MULTIFUNCTION)
    node.is_pcie = hardware.pcie is not None
    node.pcie_type = None if hardware.pcie is None else hardware.pcie[1]
    node.has_ari = node.is_pcie and hardware.extended and hardware.ari is not None
    node.next_function = hardware.ari if node.has_ari else None
    if node.is_bridge:
        node.ari_supported = _supports_ari(hardware)
        node.hardware = {"ones": True, "error": False}.get(
            hardware.devctl2_read, bool(hardware.devctl2 & ARI_BIT)
        )
        primary, secondary, subordinate = hardware.numbers
        node.numbers = _numbers((0 if hardware.hard_wired else primary, secondary, subordinate))
        node.pcix_mode_2 = hardware.pcix
        if hardware.dies:
            node.numbers, node.numbers_silent = None, True
        if path in case.outgoing_numbers:
            node.outgoing_numbers = _numbers(case.outgoing_numbers[path])
        else:
            node.incoming_numbers = BusNumbers(0, hardware.renumber, hardware.renumber, 0)
    return node


def _forget_unread(
    path: Path, wired: dict[int, Hardware], above: tuple[int | None, bool], by_path: dict[Path, Node]
) -> None:
    """No kernel reads extended space where it takes it for inaccessible: nothing is known of it there.

    ``above``: port type of the bridge above as the kernel takes it, and whether that is so on this bus.
    """
    parent, conventional = above
    for devfn, hardware in wired.items():
        node = by_path[*path, devfn]
        claimed = None if hardware.pcie is None else hardware.pcie[1]
        if claimed == DOWNSTREAM and parent in (ROOT_PORT, DOWNSTREAM, PCI_TO_PCIE):
            claimed = UPSTREAM
        elif claimed == UPSTREAM and parent == UPSTREAM:
            claimed = DOWNSTREAM
        if conventional and node.has_ari:
            node.has_ari = node.next_function = None
        passes = claimed in (ROOT_PORT, UPSTREAM, DOWNSTREAM) or hardware.pcix
        _forget_unread((*path, devfn), hardware.below, (claimed, conventional or not passes), by_path)


def _supports_ari(hardware: Hardware) -> bool:
    return hardware.pcie is not None and hardware.pcie[0] > 1 and bool(hardware.devcap2 & ARI_BIT)


def _numbers(numbers: Numbers) -> BusNumbers:
    return BusNumbers(*numbers, row=0)


def _add_observed(by_path: dict[Path, Node], ran: Kernel) -> None:
    """What a capture of this kernel's scan shows: keys of what it found, numbers of the bridges it read."""
    found = {device.path: device for device in ran.found}
    for path, node in by_path.items():
        device = found.get(path)
        node.incoming = None if device is None else device.bdf
        node.incoming_numbers = None
        if device is None:
            node.numbers = None  # never read
        elif device.subordinate is not None:
            number = device.subordinate.number
            node.incoming_numbers = BusNumbers(device.bus.number, number, number, 0)
