"""A function that the input does not show: which bridge would lead to it, and what finding it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analyzer import bdf
from analyzer.observed import virtual_functions
from analyzer.observed.registers import missing_bytes
from analyzer.plurals import counted
from analyzer.questions.explain import logged_headers
from analyzer.questions.explain.function_facts import reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.analysis import Study
    from analyzer.observed.registers.functions import Function
    from analyzer.observed.topology import Topology
    from analyzer.questions.explain.function_facts import Reach
    from analyzer.results import BridgeVerdict

#: Bridges without bus numbers that are named before the rest is counted.
_MOST_BRIDGES = 4
_STATES = {True: "on", False: "off", None: "unknown"}


@dataclass(frozen=True)
class Absence:
    """What is known of a function that is not in the input.

    Attributes:
        where: the bridge that would lead to it, its ARI Forwarding, and whether that is needed; one sentence.
        facts: what else the input shows of that address, or lacks; a sentence each.
    """

    where: str
    facts: tuple[str, ...] = ()


def of_function(study: Study, key: int) -> Absence:
    """What the input shows of the place of a function that it does not show."""
    probes = int(np.count_nonzero(study.index.is_read[study.index.rows_of(key)]))
    asked = (
        f"it was read {probes:,} {'time' if probes == 1 else 'times'}, without a response; " if probes else ""
    )
    kernels = [topology for topology in study.topologies if topology.boot.kind != "firmware"]
    if not kernels:
        return Absence(f"{asked}the capture holds no kernel")
    place = _AbsentAddress(study, kernels, key)
    return Absence(asked + place.where(), tuple(place.facts()))


class _AbsentAddress:
    """An address at which the input shows no function, in the last boot that shows a bridge to it."""

    def __init__(self, study: Study, kernels: Sequence[Topology], key: int) -> None:
        self.study = study
        self.kernels = kernels
        self.key = key
        self.topology, self.way = _last_way(kernels, key)

    def where(self) -> str:
        """The bridge that would lead to it, the state of its ARI Forwarding, and whether that is needed."""
        way, bus = self.way, f"bus {self.key >> 8 & 0xFF:02x}"
        if way.bridge is None:
            if way.needs_ari is False:
                return f"no bridge leads to {bus}, a root bus: ARI Forwarding does not apply"
            return f"no bridge in the input leads to {bus}"
        name, numbers = bdf.text(way.bridge.function), way.bridge.bus_numbers
        buses = "" if numbers is None else f" [{numbers.secondary:02x}-{numbers.subordinate:02x}]"
        if not way.is_above:
            return f"{bus} is below {name}{buses}, but no bridge in the input has it as its secondary bus"
        several = len(self.kernels) > 1
        is_on, when = ("was", f" when boot {self.topology.boot.index} ended") if several else ("is", "")
        state = {
            True: f"where ARI Forwarding {is_on} on{when}",
            False: f"where ARI Forwarding {is_on} off{when}",
            None: "and whether ARI Forwarding is on there is not in the input",
        }[way.ari]
        function = f"function {self.key & 0xFF}"
        type_bytes = missing_bytes.in_words(missing_bytes.of_port_type(way.bridge))
        needs = {
            True: f"{function} needs it",
            False: f"{function} does not need it",
            None: f"whether {function} needs it is unknown: the input lacks {type_bytes} of {name}",
        }[way.needs_ari]
        return f"by its bus number it would be below {name}{buses}, {state}; {needs}"

    def facts(self) -> Iterator[str]:
        """What else the input shows of the address: across kexecs, by chains and registers, in logs."""
        yield from self._at_kexecs()
        if self.way.is_above and self.topology.logged is None:
            yield from self._in_chain()
        yield from self._as_virtual_function()
        yield from logged_headers.of_absent(self.study, self.key, self.way)
        yield from self._not_shown()

    def _at_kexecs(self) -> Iterator[str]:
        """What became of the bridge."""
        name = None if self.way.bridge is None else bdf.text(self.way.bridge.function)
        for kexec in self.study.kexec_analyses:
            for bridge in kexec.result.bridges:
                if bridge.bdf == name:
                    yield f"kexec {kexec.result.index}: {_across(bridge)}"

    def _in_chain(self) -> Iterator[str]:
        """Whether the chain of Next Function Numbers, or the header of function 0, leads a scan to it."""
        on_bus = self._on_bus()
        first = on_bus.get(0)
        if not on_bus:
            yield f"no function on bus {self.key >> 8 & 0xFF:02x} is in the input"
        elif first is None:
            yield f"function 0, {bdf.text(self.key & ~0xFF)}, is not in the input: a scan begins with it"
        elif self.key & 0xFF > 7 or (self.way.ari and first.has_ari):
            yield self._chain(on_bus, first)
        elif first.multifunction is False and self.key & 0xFF:
            yield f"{bdf.text(first.function)} is not multi-function: a scan asks for no other function"

    def _chain(self, on_bus: dict[int, Function], first: Function) -> str:
        named = [one for one in on_bus.values() if one.has_ari and one.next_function == self.key & 0xFF]
        if named:
            needed = ": a scan finds it while ARI Forwarding is on" if self.key & 0xFF > 7 else ""
            return f"the Next Function Number of {bdf.text(named[0].function)} names it{needed}"
        seen, at = {0}, first
        while True:
            missing = missing_bytes.of_ari_capability(at)
            name = bdf.text(at.function)
            if missing:
                return (
                    "whether the chain of Next Function Numbers leads to it is unknown: the input lacks "
                    f"{missing_bytes.in_words(missing)} of {name}"
                )
            following = at.next_function if at.has_ari else 0
            if not following or following in seen:
                what = "" if at.has_ari else ", which has no ARI capability"
                return f"the chain of Next Function Numbers ends with {name}{what}; it does not lead to it"
            if following not in on_bus:
                further = bdf.text(self.key & ~0xFF | following)
                return f"the chain of Next Function Numbers goes on to {further}, which is not in the input"
            seen.add(following)
            at = on_bus[following]

    def _on_bus(self) -> dict[int, Function]:
        """Functions of the bus by number, each from the last of the boots that show most of its chain."""
        found: dict[int, Function] = {}
        for topology in self.kernels:
            for key, function in topology.functions.items():
                if key >> 8 != self.key >> 8:
                    continue
                known = found.get(key & 0xFF)
                if known is None or _shows_chain(function) >= _shows_chain(known):
                    found[key & 0xFF] = function
        return found

    def _as_virtual_function(self) -> Iterator[str]:
        """The physical function that has a virtual one at the address once they are enabled."""
        unknown: dict[str, str] = {}
        for topology in reversed(self.kernels):
            for key, function in sorted(topology.functions.items()):
                placement = virtual_functions.if_enabled(function) if key >> 16 == self.key >> 16 else None
                number = None if placement is None else placement.number(self.key)
                if placement is not None and number is not None:
                    yield (
                        f"virtual function {number} of {bdf.text(key)} would be at this address with VF "
                        f"Enable set and NumVFs {number} or more (First VF Offset {placement.offset}, VF "
                        f"Stride {placement.stride}, TotalVFs {placement.count}); a scan does not find it"
                    )
                    return
                if placement is not None or function.is_bridge or topology.logged is not None:
                    continue
                missing = missing_bytes.of_virtual_function_places(function)
                if key >> 8 == self.key >> 8 and missing:
                    unknown.setdefault(bdf.text(key), missing_bytes.in_words(missing))
        for name, missing_text in list(unknown.items())[:1]:
            yield f"whether it is a virtual function is unknown: the input lacks {missing_text} of {name}"

    def _not_shown(self) -> Iterator[str]:
        """What the input lacks to say more."""
        logged = [topology.logged for topology in self.kernels if topology.logged is not None]
        if self.topology.logged is not None and self.way.bridge is not None:
            yield (
                "a kernel log shows neither ARI Forwarding nor Next Function Numbers nor virtual functions: "
                "as root, lspci -D -xxxx on that machine does"
            )
        if self.way.bridge is None and self.way.needs_ari is None:
            yield from self._bridges_without_numbers()
        for scan in logged:
            for missing in scan.missing:
                yield f"in {scan.path}: {missing}"
        for topology in self.kernels:
            if topology.scan_is_cut:
                yield f"the scan of boot {topology.boot.index} is not in the input to its end"

    def _bridges_without_numbers(self) -> Iterator[str]:
        """Bridges that may lead to the address: their bus numbers are unset, or not in the input."""
        found = [
            (bdf.text(bridge.function), missing_bytes.of_bus_numbers(bridge))
            for bridge in self.topology.bridges()
            if bridge.bus_numbers is None and not bridge.silent
        ]
        for name, missing in found[:_MOST_BRIDGES]:
            unset = f"the bus numbers of {name} are unset, so that nothing below it is reached"
            yield (
                f"bus numbers of {name} are not in the input: {missing_bytes.in_words(missing)}"
                if missing
                else unset
            )
        if len(found) > _MOST_BRIDGES:
            rest = len(found) - _MOST_BRIDGES
            yield counted("{} more [bridge has|bridges have] no bus numbers in the input", rest)


def _last_way(kernels: Sequence[Topology], key: int) -> tuple[Topology, Reach]:
    """The last boot that shows ARI Forwarding above an address, else the bridge, else one that passes on."""
    ways = [(topology, reach(topology, key)) for topology in reversed(kernels)]
    above = [one for one in ways if one[1].is_above]
    known = [one for one in above if one[1].ari is not None]
    passing = [one for one in ways if one[1].bridge is not None]
    return (known or above or passing or ways)[0]


def _across(bridge: BridgeVerdict) -> str:
    states = (
        f"ARI Forwarding before: {_STATES[bridge.ari_before]}, after: {_STATES[bridge.ari_after]}, decided "
        f"by the incoming kernel: {_STATES[bridge.ari_decided]}"
    )
    missing = f"; not in the input: {bridge.missing_access}" if bridge.missing_access else ""
    return f"{bridge.bdf} {bridge.verdict} ({states}){missing}"


def _shows_chain(function: Function) -> int:
    leads = function.has_ari is False or function.next_function is not None
    return (function.has_ari is not None) + leads
