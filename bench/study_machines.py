"""The machines of the study: drawn at random, of six kinds, and the functions that are handed over on each.

All of them answer as silicon does: without ARI Forwarding a port passes device number 0 only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator import (
    SILICON,
    Function,
    Machine,
    Sriov,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    pci_bridge,
    root_port,
    upstream_port,
)
from simulator.register_blocks import PM

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from simulator.functions import Place

    Device = dict[Place, Function]

#: Share of the devices that are handed over.
_HANDED_OVER = 0.8
_PMCSR = 4


@dataclass(frozen=True)
class Host:
    """A machine as the outgoing kernel finds it.

    Attributes:
        kind: one of :data:`KINDS`.
        handed_over: endpoint functions to hand over, by name; one of them at least.
        ports: the ports right above those, by name.
        other_ports: the ports right above the other endpoint functions.
        virtual: physical functions of which virtual functions are enabled, and how many.
    """

    kind: str
    machine: Machine
    handed_over: tuple[str, ...]
    ports: tuple[str, ...]
    other_ports: tuple[str, ...]
    virtual: dict[str, int]


def build(kind: str, dice: random.Random) -> Host:
    """Draw a machine of one kind."""
    roots: dict[Place, Function] = {"00.0": host_bridge(), "1f.0": conventional()}
    for place, port in enumerate(KINDS[kind](dice), start=1):
        roots[place << 3] = port
    machine = Machine({(0, 0): roots}, gates_ari=True)
    _without_no_soft_reset(machine)
    devices: dict[str, list[str]] = {}
    for function in machine.everything():
        if function.kind == "endpoint" and function.pcie is not None and function.parent is not None:
            devices.setdefault(function.parent.name, []).append(function.name)
    chosen = [port for port in devices if dice.random() < _HANDED_OVER] or [max(devices)]
    handed_over = tuple(name for port in chosen for name in devices[port])
    virtual = {
        function.name: dice.randint(1, function.sriov.total)
        for function in machine.everything()
        if function.sriov is not None
    }
    others = tuple(port for port in devices if port not in chosen)
    return Host(kind, machine, handed_over, tuple(chosen), others, virtual)


def _without_no_soft_reset(machine: Machine) -> None:
    """Let ports lose their registers on the way from D3hot to D0 (PCI Express 5.3.1.4)."""
    for function in machine.everything():
        if function.is_bridge and PM in function.standard:
            function.config.put(function.standard[PM] + _PMCSR, 2, 0)
            function.config.freeze()


# -- devices -------------------------------------------------------------------------------------------------


def _single(dice: random.Random) -> Device:
    return {0: endpoint(ari=dice.choice((0, None)), model=SILICON)}


def _flat(dice: random.Random) -> Device:
    return ari_device(*range(dice.randint(8, 20)), model=SILICON)


def _sparse(dice: random.Random) -> Device:
    """Function 0, some of 1 to 7, some above; a chain that leaves holes."""
    low = sorted(dice.sample(range(1, 8), dice.randint(0, 3)))
    high = sorted(dice.sample(range(8, 256), dice.randint(1, 6)))
    return ari_device(0, *low, *high, model=SILICON)


def _low(dice: random.Random) -> Device:
    """Functions 0 to 7 that only the chain names: header type bit 7 is clear (PCI Express 7.5.1.1.9)."""
    numbers = sorted(dice.sample(range(1, 8), dice.randint(1, 4)))
    return ari_device(0, *numbers, multifunction=False, model=SILICON)


def _conventional_numbers(dice: random.Random) -> Device:
    """A device of several functions without ARI."""
    numbers = range(dice.randint(2, 4))
    return {number: endpoint(multifunction=True, model=SILICON) for number in numbers}


def _sriov(dice: random.Random) -> Device:
    """Physical functions, the last of them above 7 in half of the devices."""
    numbers = [0, *range(1, dice.randint(1, 3))]
    if dice.random() < 0.5:
        numbers.append(dice.randint(8, 15))
    vfs = {
        number: Sriov(total=dice.randint(2, 8), offset=16 + 16 * place, offset_without_ari=256 + 16 * place)
        for place, number in enumerate(numbers)
    }
    return ari_device(*numbers, sriov=vfs, model=SILICON)


_DEVICES: tuple[Callable[[random.Random], Device], ...] = (
    _single,
    _flat,
    _sparse,
    _low,
    _conventional_numbers,
    _sriov,
)


def _any(dice: random.Random) -> Device:
    return dice.choice(_DEVICES)(dice)


# -- what a kind of machine has below its root bus -----------------------------------------------------------


def _port(device: Device) -> Function:
    return root_port(device, model=SILICON)


def _switch(ports: dict[Place, Function]) -> Function:
    return upstream_port(ports, model=SILICON)


def _ports(dice: random.Random, below: list[Device]) -> dict[Place, Function]:
    devices = [*below, *(_any(dice) for _ in range(dice.randint(1, 3)))]
    return {
        number << 3: downstream_port(device, model=SILICON, slot=number + 8)
        for number, device in enumerate(devices)
    }


def _single_ports(dice: random.Random) -> list[Function]:
    return [_port(_single(dice)) for _ in range(dice.randint(2, 4))]


def _flat_ports(dice: random.Random) -> list[Function]:
    return [_port(dice.choice((_flat, _sparse))(dice)) for _ in range(dice.randint(1, 2))]


def _sriov_ports(dice: random.Random) -> list[Function]:
    return [_port(_sriov(dice)) for _ in range(dice.randint(1, 2))]


def _one_switch(dice: random.Random) -> list[Function]:
    return [_port({0: _switch(_ports(dice, [_flat(dice)]))}), _port(_any(dice))]


def _deep_switches(dice: random.Random) -> list[Function]:
    """Two or three switches, one below the other."""
    switch = _switch(_ports(dice, [_sparse(dice)]))
    for _ in range(dice.randint(1, 2)):
        switch = _switch(_ports(dice, [{0: switch}]))
    return [_port({0: switch})]


def _several_bridges(dice: random.Random) -> list[Function]:
    ports = [_port(_any(dice)) for _ in range(dice.randint(3, 5))]
    ports.append(_port({0: _switch(_ports(dice, [_flat(dice)]))}))
    return [*ports, pci_bridge({"01.0": conventional()})]


#: Kind -> the bridges below its root bus.
KINDS: dict[str, Callable[[random.Random], list[Function]]] = {
    "one function below each root port": _single_ports,
    "one ARI device below each root port": _flat_ports,
    "SR-IOV below a root port": _sriov_ports,
    "one switch": _one_switch,
    "switches below switches": _deep_switches,
    "several bridges": _several_bridges,
}
