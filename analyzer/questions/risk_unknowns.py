"""What ``analyze atrisk`` would have to know and the input does not show: bytes, functions, bridges.

With exactly the bytes that are named there is an answer: what a list leads to, once its missing bytes are
known, is named with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf
from analyzer.observed.register_state import is_on
from analyzer.observed.registers import missing_bytes
from analyzer.replay import enumeration
from schemas.config_header import HEADER_TYPE
from schemas.inherited_state import ARI_FORWARDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from analyzer.questions.ports_at_risk import Machine, PortAtRisk
    from analyzer.replay.world import Node


@dataclass(frozen=True)
class Unknown:
    """What the input does not show and the answer needs: of which function (None: of the machine)."""

    bdf: str | None
    missing: str


def of_machine(machine: Machine, ports: Sequence[PortAtRisk]) -> Iterator[Unknown]:
    """What is not in the input and could contradict the answer, each once.

    Args:
        machine: the machine.
        ports: the ports that have an answer.
    """
    yield from dict.fromkeys(_every(machine, ports))


def _every(machine: Machine, ports: Sequence[PortAtRisk]) -> Iterator[Unknown]:
    notes = machine.notes
    if notes.may_lack_functions or notes.dropped or notes.truncated or not notes.whole_order:
        yield Unknown(None, "functions, because the input is damaged or cut")
    topology = machine.topology
    if topology.scan_is_cut:
        yield Unknown(None, "functions, because the scan of the last kernel is not in the input to its end")
    yield from _bridges_above(machine)
    yield from _names(machine, ports)
    yield from _unreached(machine, ports)
    yield from _bridges(machine)
    answered = {port.bdf for port in ports if port.dependent}
    for node in machine.candidates:
        if bdf.text(node.name) not in answered:
            yield from _of_port(node, machine)


def _bridges_above(machine: Machine) -> Iterator[Unknown]:
    """Of functions that no bridge in the input leads to."""
    nodes = machine.hardware.by_outgoing
    # The bridge may be in the input without its bus numbers: then what it leads to counts.
    may_be_listed = any(
        function.header_type is None or (function.is_bridge and function.bus_numbers is None)
        for function in machine.topology.functions.values()
        if not function.silent
    )
    for bus, below in machine.topology.orphans.items():
        if machine.is_assumed or machine.preserved.keys & set(below):
            yield Unknown(None, f"{bdf.bridge_above(bus)} ({', '.join(map(bdf.text, below[:4]))})")
            if may_be_listed:
                yield from _chains(machine, (nodes[key] for key in below if key >> 8 == bus))


def _names(machine: Machine, ports: Sequence[PortAtRisk]) -> Iterator[Unknown]:
    """Of the preserved list, and of functions that do not answer."""
    known = machine.functions.keys() | machine.virtual_keys.keys()
    judged = {name for port in ports for name in port.dependent}
    for key in sorted(machine.preserved.keys - known):
        if bdf.text(key) not in judged:
            yield Unknown(bdf.text(key), "this preserved function is not in the input")
    # What reads ff may be a bridge, with functions below that nothing lists.
    for key in sorted(machine.topology.silent):
        if bdf.text(key) not in judged and machine.wanted(key):
            yield Unknown(bdf.text(key), "every byte reads ff, so that nothing is known of this function")


def _unreached(machine: Machine, ports: Sequence[PortAtRisk]) -> Iterator[Unknown]:
    """Functions in the input that a scan does not reach, for no reason that a port says."""
    topology, hardware = machine.topology, machine.hardware
    reached = enumeration.predict(machine.table, machine.profile).keys.keys()
    explained = {name for port in ports for name in port.dependent}
    for node in hardware.nodes():
        above = hardware.parent(node)
        if node.path in reached or (above is not None and above.path not in reached):
            continue
        wanted = machine.wanted(node.name if above is None else above.name)
        if wanted and node.name in topology.functions and bdf.text(node.name) not in explained:
            yield Unknown(bdf.text(node.name), "no chain or slot in the input leads a scan to this function")
    for key in sorted(topology.without_vendor - machine.virtual_keys.keys()):
        above_it = topology.parent(key)
        if key & 0xFF > 7 and above_it is not None and machine.wanted(above_it.function):
            what = "it answers as virtual functions do, and no SR-IOV capability in the input names it"
            yield Unknown(bdf.text(key), what)


def _bridges(machine: Machine) -> Iterator[Unknown]:
    """Of functions that are or may be bridges: header type, bus numbers."""
    for key, function in machine.topology.functions.items():
        name = bdf.text(key)
        if function.silent:
            continue
        missing = missing_bytes.of_header_type(function)
        if missing or (function.is_bridge and machine.wanted(key)):
            numbers = missing_bytes.of_bus_numbers(function)
            if function.is_bridge and function.bus_numbers is None and not numbers:
                yield Unknown(name, "its bus numbers are unset, so that what is below it is hidden")
            missing += numbers
        if missing:
            missing += missing_bytes.of_port(function, bit_known=is_on(function, ARI_FORWARDING) is not None)
        yield from (Unknown(name, one) for one in missing)


def _of_port(node: Node, machine: Machine) -> Iterator[Unknown]:
    """Of a port that has no answer, or that nothing in the input depends on: chains may name functions."""
    function = machine.topology.functions[node.name]
    missing = missing_bytes.of_port(function, bit_known=machine.bits[node.name] is not None)
    yield from (Unknown(bdf.text(node.name), one) for one in missing)
    if not missing or all(devfn <= 7 for devfn in node.children):
        yield from _chains(machine, node.children.values())
        yield from _other_functions(node)


def _other_functions(node: Node) -> Iterator[Unknown]:
    """Of the functions 1 to 7 of the device below: whether a scan finds them without the chain."""
    first = node.children.get(0)
    if first is None or first.multifunction is not None or first.has_ari is False:
        return
    if any(devfn <= 7 for devfn in node.children.keys() - {0}):
        yield Unknown(bdf.text(first.name), f"{HEADER_TYPE:02x}")


def _chains(machine: Machine, on_bus: Iterable[Node]) -> Iterator[Unknown]:
    """Of the functions of a bus: where the chain from function 0 leads, and virtual functions."""
    following: int | None = 0
    unknown = False
    for node in sorted(on_bus, key=lambda node: node.devfn):
        name, missing = bdf.text(node.name), []
        if unknown or node.devfn == following:
            missing = machine.missing_chain(node)
            unknown = unknown or bool(missing)
            following = node.next_function if node.has_ari else None
        function = machine.topology.functions.get(node.name)
        if function is not None and machine.topology.is_snapshot:
            # A kernel that scans sets VF Enable itself.
            missing = [*missing, *missing_bytes.of_virtual_functions(function)]
        yield from (Unknown(name, one) for one in missing)
