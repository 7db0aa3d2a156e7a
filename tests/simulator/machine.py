"""Hardware that answers config requests: root buses, bridges that route by their bus numbers, functions.

Requests are routed as hardware does (PCI Express 7.3): Type 0 on the bus named, Type 1 through the bridges
whose bus numbers *at that moment* enclose it. With ``gates_ari`` a downstream port passes device number 0
only, unless its ARI Forwarding Enable is set (7.3.1); QEMU passes every device number always.

A function is named by the address that firmware gives it at first (depth first); :meth:`Machine.function`
and everything that takes an address uses that name, even when bus numbers are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from schemas.power_management import CAP_ID as PM_ID
from simulator import errors as pcie_errors
from simulator import faults
from simulator.functions import devfn as number_of
from simulator.register_names import locate
from simulator.virtual_functions import is_disabled, refresh, virtual_function

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator.functions import Function, Place

#: An accessor error in place of an answer (see :meth:`Machine.answer`).
ERROR = None


class _Route(NamedTuple):
    """Where a request goes.

    ``gate``: the port that lets it pass with ARI Forwarding only. ``quiet``: QEMU does not log the access (a
    virtual function that is not enabled).
    """

    function: Function | None
    gate: Function | None = None
    quiet: bool = False


_ABSENT = _Route(None)


class Machine:
    """A host: root buses with everything below them.

    Attributes:
        roots: (domain, bus number) -> functions on that root bus.
        gates_ari: device numbers above 0 below a downstream port need ARI Forwarding (hardware: yes).
        accessor_errors: an unanswered request makes the accessor fail (some SoCs); else it returns all ones.
        answered: whether the last request was answered; failed: whether the accessor returned an error.
        hidden: the last request left no trace in QEMU's events (ECAM to an absent function, or beyond the
            function's config space).
    """

    def __init__(
        self,
        roots: Mapping[tuple[int, int], Mapping[Place, Function]],
        *,
        gates_ari: bool = False,
        accessor_errors: bool = False,
    ) -> None:
        self.roots: dict[tuple[int, int], dict[int, Function]] = {
            root: {
                number_of(place): function
                for place, function in sorted(children.items(), key=lambda item: number_of(item[0]))
            }
            for root, children in roots.items()
        }
        self.gates_ari = gates_ari
        self.accessor_errors = accessor_errors
        self.answered = True
        self.failed = False
        self.hidden = False
        self._routes: dict[int, _Route] = {}
        self._by_name: dict[str, Function] = {}
        for (domain, bus), children in self.roots.items():
            self._name(domain, bus, children, None, bus)

    # -- who is where ---------------------------------------------------------------------------------------

    def _name(
        self, domain: int, bus: int, children: dict[int, Function], parent: Function | None, last: int
    ) -> int:
        """Name the functions of a bus; return the last bus number used below it."""
        for devfn, function in children.items():
            function.devfn, function.parent = devfn, parent
            function.name = f"{domain:04x}:{bus:02x}:{devfn >> 3:02x}.{devfn & 7}"
            self._by_name[function.name] = function
        for function in children.values():
            if function.children is not None:
                last = self._name(domain, last + 1, function.children, function, last + 1)
        return last

    def function(self, name: str) -> Function:
        """The function of that name (firmware's first numbering).

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    def names(self) -> list[str]:
        """Names of all functions, in order."""
        return sorted(self._by_name)

    def above(self, name: str) -> list[str]:
        """Names of the bridges above a function, nearest first."""
        found = []
        bridge = self.function(name).parent
        while bridge is not None:
            found.append(bridge.name)
            bridge = bridge.parent
        return found

    def with_bridges(self, *names: str) -> frozenset[str]:
        """A preserved set: these functions and every bridge above them."""
        return frozenset(names).union(*(self.above(name) for name in names))

    def below(self, function: Function) -> Iterator[Function]:
        """Every function behind a bridge (virtual functions aside)."""
        for child in (function.children or {}).values():
            yield child
            yield from self.below(child)

    def everything(self) -> Iterator[Function]:
        """Every function of the machine."""
        for children in self.roots.values():
            for function in children.values():
                yield function
                yield from self.below(function)

    def who(self, domain: int, bus: int, devfn: int) -> str | None:
        """Name of the function that a request to this address reaches now."""
        function, gate, _ = self._route(domain, bus, devfn)
        return None if function is None or (gate is not None and not gate.ari_forwarding) else function.name

    # -- config requests ------------------------------------------------------------------------------------

    def read(self, domain: int, bus: int, devfn: int, offset: int, width: int) -> int:
        """Answer a read; all ones where nobody does (see ``answered``, ``failed``)."""
        function = self._target(domain, bus, devfn, offset)
        if function is not None and function.reads_left is not None:
            function.reads_left -= 1
            if function.reads_left < 0:
                self.kill(function.name)
                function = self._target(domain, bus, devfn, offset)
        if function is None:
            return (1 << 8 * width) - 1
        if function.overrides and offset in function.overrides:
            return self._overridden(function, offset, width)
        if offset == 0 and function.rrs and width == 4:
            function.rrs -= 1
            if self._rrs_visible(function):
                return 0xFFFF0001
        return int.from_bytes(function.config.data[offset : offset + width], "little")

    def write(self, domain: int, bus: int, devfn: int, offset: int, width: int, value: int) -> None:
        """Take a write; one that reaches nobody is dropped."""
        function = self._target(domain, bus, devfn, offset)
        if function is None:
            return
        value &= (1 << 8 * width) - 1
        watched = self._watched(function, offset)
        before = function.config.get(watched[0], watched[1]) if watched else 0
        function.config.write(offset, width, value)
        if watched:
            self._routes.clear()
            self._act(function, watched, before, value)

    def _target(self, domain: int, bus: int, devfn: int, offset: int) -> Function | None:
        key = domain << 16 | bus << 8 | devfn
        known = self._routes.get(key)
        if known is None:
            known = self._routes[key] = self._route(domain, bus, devfn)
        function, gate, quiet = known
        if function is None or (gate is not None and not gate.ari_forwarding) or offset >= function.size:
            self.answered, self.failed = False, self.accessor_errors
            self.hidden = quiet or offset > 0xFF or domain > 0
            return None
        self.answered, self.failed, self.hidden = True, False, False
        return function

    def _overridden(self, function: Function, offset: int, width: int) -> int:
        answer, times = function.overrides[offset]
        if times is not None:
            if times > 1:
                function.overrides[offset] = (answer, times - 1)
            else:
                del function.overrides[offset]
        if answer is ERROR:
            self.answered, self.failed = False, True
            return (1 << 8 * width) - 1
        return answer & ((1 << 8 * width) - 1)

    def _rrs_visible(self, function: Function) -> bool:
        """RRS reaches software only where the root port above has RRS Software Visibility enabled."""
        root = function
        while root.parent is not None:
            root = root.parent
        return bool(root.pcie and root.config.get(root.pcie + exp.RTCTL, 2) & exp.RTCTL_RRS_VISIBLE)

    # -- routing --------------------------------------------------------------------------------------------

    def _route(self, domain: int, bus: int, devfn: int) -> _Route:
        direct = self.roots.get((domain, bus))
        if direct is not None:
            function = direct.get(devfn)
            return _Route(function) if function is not None and _answers(function) else _ABSENT
        for (root_domain, root_bus), children in self.roots.items():
            if root_domain == domain and root_bus < bus:
                found = self._descend(children, bus, devfn)
                if found is not None:
                    return found
        return _ABSENT

    def _descend(self, children: dict[int, Function], bus: int, devfn: int) -> _Route | None:
        for bridge in children.values():
            if bridge.children is None or not _answers(bridge) or not _forwards(bridge):
                continue
            secondary, subordinate = bridge.config.data[0x19], bridge.config.data[0x1A]
            if not secondary or not secondary <= bus <= subordinate:
                continue
            if bus == secondary:
                return self._arrive(bridge, bridge.children, bus, devfn)
            found = self._descend(bridge.children, bus, devfn)
            return found if found is not None else _Route(virtual_function(bridge, bus, devfn))
        return None

    def _arrive(self, bridge: Function, children: dict[int, Function], bus: int, devfn: int) -> _Route:
        """Type 1 becomes Type 0 on the bus right below ``bridge``."""
        function = children.get(devfn) or virtual_function(bridge, bus, devfn)
        if function is None or not _answers(function):
            return _Route(None, quiet=is_disabled(bridge, bus, devfn))
        gated = self.gates_ari and bridge.converts_device_0_only and devfn > 7
        return _Route(function, bridge if gated else None)

    # -- what writes do beside changing a register ----------------------------------------------------------

    @staticmethod
    def _watched(function: Function, offset: int) -> tuple[int, int] | None:
        """The register (offset, size) behind ``offset`` whose write has effects, if any."""
        if function.children is not None and 0x18 <= offset <= 0x1B:
            return 0x18, 4
        if function.children is not None and offset in (0x3C, 0x3E, 0x3F):
            return 0x3E, 2
        capability = function.pcie
        if capability is not None and 0x08 <= offset - capability <= 0x13:
            start = capability + (exp.DEVCTL if offset - capability < 0x0A else exp.LNKCTL)
            return start, 2
        power = function.standard.get(PM_ID)
        if power is not None and offset in (power + 4, power + 5):
            return power + 4, 2
        sriov = function.extended.get(ext.SRIOV_ID)
        if sriov is not None and sriov + ext.SRIOV_CTRL <= offset < sriov + ext.SRIOV_VF_OFFSET:
            return sriov + ext.SRIOV_CTRL, 2
        return None

    def _act(self, function: Function, register: tuple[int, int], before: int, _written: int) -> None:
        offset, size = register
        after = function.config.get(offset, size)
        rising = after & ~before
        if offset == 0x3E and rising & 0x40:
            faults.reset_below(self, function)
        elif function.pcie is not None and offset == function.pcie + exp.DEVCTL and rising & 0x8000:
            faults.function_level_reset(self, function)
        elif function.pcie is not None and offset == function.pcie + exp.LNKCTL:
            if rising & exp.LNKCTL_LINK_DISABLE:
                faults.link_down(self, function)
            elif before & ~after & exp.LNKCTL_LINK_DISABLE:
                faults.link_up(self, function)
        elif offset == function.standard.get(PM_ID, -8) + 4 and before & 3 == 3 and after & 3 == 0:
            if not after & 8:
                faults.reset_function(self, function)
        elif offset == function.extended.get(ext.SRIOV_ID, -8) + ext.SRIOV_CTRL:
            refresh(function)

    # -- the world outside the kernel -----------------------------------------------------------------------

    def peek(self, name: str, register: str) -> int:
        """What a register holds, without a config request."""
        function = self.function(name)
        offset, width = locate(function, register)
        return function.config.get(offset, width)

    def poke(self, name: str, register: str, value: int) -> None:
        """Change a register behind the kernel's back (firmware, SMM, a management controller)."""
        function = self.function(name)
        offset, width = locate(function, register)
        function.config.put(offset, width, value)
        self._routes.clear()

    def clear(self, name: str, register: str, bits: int) -> None:
        """Clear bits of a register behind the kernel's back."""
        self.poke(name, register, self.peek(name, register) & ~bits)

    def answer(self, name: str, register: str, value: int | None, *, times: int | None = None) -> None:
        """Force the answer to reads of a register: a value, or :data:`ERROR`; ``times`` reads, or always."""
        function = self.function(name)
        function.overrides[locate(function, register)[0]] = (value, times)

    def port_reset(self, name: str) -> None:
        """Reset one port as QEMU's device reset does, and everything below it."""
        faults.qemu_port_reset(self, self.function(name))

    def conventional_reset(self, name: str) -> None:
        """Reset a function whole (hot reset from above) and everything below it."""
        faults.conventional_reset(self, self.function(name))

    def secondary_bus_reset(self, name: str) -> None:
        """Reset everything below a bridge; the bridge itself keeps its registers."""
        faults.reset_below(self, self.function(name))

    def link_drop(self, name: str) -> None:
        """Take the link below a port down and up again."""
        faults.link_down(self, self.function(name))
        faults.link_up(self, self.function(name))

    def link_down(self, name: str) -> None:
        """Take the link below a port down."""
        faults.link_down(self, self.function(name))

    def link_up(self, name: str) -> None:
        """Bring the link below a port back."""
        faults.link_up(self, self.function(name))

    def error(self, name: str, *errors: str) -> None:
        """PCIe errors that a function detects, by lspci's words (``DLP``, ``UnsupReq``, ``BadTLP``)."""
        for error in errors:
            pcie_errors.record(self.function(name), error)

    def surprise_down(self, name: str) -> None:
        """The link below a port goes down unasked, and comes up again."""
        self.link_drop(name)
        self.error(name, "SDES")

    def power_cycle(self, name: str) -> None:
        """Take the power of a function and of everything below it: sticky registers go too."""
        faults.power_cycle(self, self.function(name))

    def kill(self, name: str) -> None:
        """The function answers nothing from now on; a bridge forwards nothing."""
        self.function(name).dead = True
        self._routes.clear()

    def die_after(self, name: str, reads: int) -> None:
        """The function answers so many reads from now on, then none (:meth:`kill`)."""
        self.function(name).reads_left = reads

    def unplug(self, name: str) -> None:
        """Take a function out of its slot."""
        self.function(name).present = False
        self._routes.clear()

    def plug(self, name: str) -> None:
        """Put a function back, freshly powered."""
        function = self.function(name)
        function.present = True
        faults.power_cycle(self, function)

    def reset(self) -> None:
        """Platform reset: every function loses its state (a reboot)."""
        for function in self.everything():
            function.config.reset(power=True)
            refresh(function)
        self.rerouted()

    def rerouted(self) -> None:
        """Forget cached routes (bus numbers, links or functions changed)."""
        self._routes.clear()


def _answers(function: Function) -> bool:
    return function.present and not function.dead


def _forwards(bridge: Function) -> bool:
    if not bridge.link_up:
        return False
    power = bridge.standard.get(PM_ID)
    return power is None or bridge.config.data[power + 4] & 3 != 3
