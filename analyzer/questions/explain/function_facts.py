"""What a function is and which bridge leads to it, as the input shows; the rest is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed import virtual_functions
from analyzer.observed.register_state import is_on
from analyzer.observed.registers import missing_bytes
from analyzer.questions.explain.explanation import VirtualFunctionFacts
from schemas import config_header
from schemas.inherited_state import ARI_FORWARDING
from schemas.pcie_capability import (
    DOWNSTREAM_TYPES,
    PORT_TYPES,
    TYPE_RC_ENDPOINT,
    TYPE_RC_EVENT_COLLECTOR,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.analysis import Study
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.questions.explain.explanation import FunctionKind

_TYPE_0, _CARDBUS = 0, 2
_INTEGRATED: dict[int, FunctionKind] = {
    TYPE_RC_ENDPOINT: "rc-endpoint",
    TYPE_RC_EVENT_COLLECTOR: "rc-event-collector",
}
_PORTS: dict[str, FunctionKind] = {
    "root-port": "root-port",
    "switch-upstream": "switch-upstream",
    "switch-downstream": "switch-downstream",
    "pcie-to-pci": "pcie-to-pci",
    "pci-to-pcie": "pci-to-pcie",
    "pci": "pci",
}
#: What says nothing, or not all, of the kind: what another boot shows goes before it.
_OPEN: tuple[FunctionKind, ...] = ("bridge", "unknown", "silent")


@dataclass(frozen=True)
class Reach:
    """How configuration requests get to an address, by the bus numbers of one boot.

    Attributes:
        bridge: the bridge that has its bus as secondary bus, else the last one that forwards requests for it.
        is_above: ``bridge`` has its bus as secondary bus.
        needs_ari: only ARI Forwarding passes requests on: above function 7, below a port that passes device
            0 only. None if the input does not show it.
        ari: the bit of ``bridge`` as the last access of the boot shows it.
    """

    bridge: Function | None
    is_above: bool
    needs_ari: bool | None
    ari: bool | None


def kind(functions: Iterable[Function]) -> tuple[FunctionKind, list[str]]:
    """What a function is, by header type and port type, and the bytes that would show what is unknown.

    Args:
        functions: the function in several boots: the first that shows it counts.
    """
    every = [_kind(function) for function in functions]
    known = [found for found in every if found[0] not in _OPEN]
    return known[0] if known else min(every, key=lambda found: _OPEN.index(found[0]))


def _kind(function: Function) -> tuple[FunctionKind, list[str]]:
    if function.silent:
        return "silent", []
    if function.header_type is None:
        return "unknown", missing_bytes.of_header_type(function)
    if function.is_bridge:
        return _bridge_kind(function)
    layout = function.header_type & config_header.HEADER_TYPE_LAYOUT
    if layout == _CARDBUS:
        return "cardbus", []
    if layout != _TYPE_0:
        return "unknown", []
    number = function.pcie_type
    return ("endpoint" if number is None else _INTEGRATED.get(number, "endpoint")), []


def _bridge_kind(bridge: Function) -> tuple[FunctionKind, list[str]]:
    if bridge.pcie_type is None and bridge.is_pcie is not False:
        return "bridge", missing_bytes.of_port_type(bridge)
    return _PORTS[PORT_TYPES.get(bridge.pcie_type or 0, "pci")], []


def port_type(kind_of_function: FunctionKind) -> str | None:
    """The kind as the results name port types, None of what is no bridge or a bridge of unknown type."""
    return kind_of_function if kind_of_function in _PORTS else None


def reach(topology: Topology, key: int) -> Reach:
    """Which bridge leads to an address, by bus numbers, and whether that takes ARI Forwarding."""
    above = topology.parent(key)
    if above is not None:
        return Reach(above, True, _needs_ari(above, key), is_on(above, ARI_FORWARDING))
    passing = _forwarding(topology, key >> 8)
    unneeded = False if passing is None and topology.is_root(key >> 8) else None
    return Reach(passing, False, unneeded, is_on(passing, ARI_FORWARDING))


def _needs_ari(above: Function, key: int) -> bool | None:
    if key & 0xFF < 8 or above.is_pcie is False:
        return False
    return None if above.pcie_type is None else above.pcie_type in DOWNSTREAM_TYPES


def _forwarding(topology: Topology, bus: int) -> Function | None:
    """The deepest bridge whose range of buses holds ``bus`` (``domain << 8 | bus``)."""
    found = [
        (numbers.secondary, bridge)
        for bridge in topology.bridges()
        if (numbers := bridge.bus_numbers) is not None
        and bridge.bus >> 8 == bus >> 8
        and numbers.secondary < bus & 0xFF <= numbers.subordinate
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def virtual_function(study: Study, key: int) -> VirtualFunctionFacts | None:
    """What is known of a virtual function, in the last boot that shows it; None if nothing shows that it is.

    By the SR-IOV capability of its physical function, or by its own bytes: all ones at the vendor ID and not
    elsewhere (PCIe 9.3.4.1.1).
    """
    for topology in reversed(study.topologies):
        found = virtual_functions.among(topology, [key]).get(key)
        if found is not None:
            return _by_registers(topology, key, found)
    functions = (topology.functions.get(key) for topology in study.topologies)
    if any(function is not None and function.vendor_device is not None for function in functions):
        return None  # a virtual function never has an ID: this one was one of its own before
    for topology in reversed(study.topologies):
        if key in topology.nameless:
            way = reach(topology, key)
            return VirtualFunctionFacts(topology.boot.index, needs_ari=way.needs_ari, ari=way.ari)
    return None


def _by_registers(
    topology: Topology, key: int, found: virtual_functions.VirtualFunction
) -> VirtualFunctionFacts:
    physical = found.physical.function
    way = reach(topology, physical)
    needs = reach(topology, key).needs_ari
    if key >> 8 != physical >> 8 and topology.parent(key) is None:
        needs = False  # another bus: the port forwards its requests as Type 1
    return VirtualFunctionFacts(
        topology.boot.index,
        physical=bdf.text(physical),
        number=found.number,
        offset=found.offset,
        stride=found.stride,
        count=found.count,
        needs_ari=needs,
        ari=way.ari if way.is_above else None,
    )


def answers(study: Study, key: int) -> bool:
    """Whether a function answered any read."""
    index = study.index
    return bool(index.live[index.rows_of(key)].any())


def is_dumped(study: Study, key: int) -> bool:
    """Whether a snapshot in the input holds bytes of a function."""
    rows = study.index.rows_of(key)
    return any(
        topology.is_snapshot and bool(((rows >= topology.boot.first) & (rows <= topology.boot.last)).any())
        for topology in study.topologies
    )
