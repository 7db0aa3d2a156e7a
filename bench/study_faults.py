"""The faults of the study: what happens to the hardware between the outgoing and the incoming kernel.

Each takes the recording and a port that is right above functions that were handed over. What writes a
register in the blackout is recorded like a stray write, firmware and resets of the hardware are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from simulator.register_names import locate

from schemas import pcie_capability as exp

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Function, Recording
    from study_machines import Host

_DEVCTL, _LNKCTL, _DEVCTL2 = "CAP_EXP+08.w", "CAP_EXP+10.w", "CAP_EXP+28.w"
_BUS_NUMBERS, _BRIDGE_CONTROL, _PMCSR = "PRIMARY_BUS", "BRIDGE_CONTROL", "CAP_PM+04.w"
_SRIOV_CONTROL = "ECAP_SRIOV+08.w"
_SBR, _FLR, _D3 = 0x40, 0x8000, 3
_ARI_HIERARCHY = 0x10
#: By how much a firmware that counts otherwise moves every bus number.
_MOVED = 0x40

#: ``bit``: a register of the port is written; ``below``: what is below the port is reset, and not the port;
#: ``port``: the port is reset; ``numbers``: its bus numbers change, and nothing else.
Group = Literal["none", "bit", "below", "port", "numbers"]


@dataclass(frozen=True)
class Fault:
    """One thing that happens.

    Attributes:
        name: as the tables have it.
        group: what it does to the port.
        happen: does it.
        running: it happens before the shutdown of the outgoing kernel, else in the blackout.
        needs: what the machine has to have: a switch above the port, or a physical function below it.
        beside: it happens to a port without handed-over functions.
    """

    name: str
    group: Group
    happen: Callable[[Recording, str], object]
    running: bool = False
    needs: Literal["", "switch", "sriov"] = ""
    beside: bool = False

    def ports(self, host: Host) -> list[str]:
        """The ports that it can happen to."""
        names = host.other_ports if self.beside else host.ports
        return [name for name in names if self._possible(host.machine.function(name))]

    def _possible(self, port: Function) -> bool:
        if self.needs == "switch":
            return port.parent is not None
        if self.needs == "sriov":
            return any(child.sriov is not None for child in (port.children or {}).values())
        return True


def _write(
    recording: Recording, name: str, register: str, value: int, *, width: int = 0, skip: int = 0
) -> None:
    """Write a register of a function that has the bus numbers of the outgoing kernel."""
    offset, size = locate(recording.machine.function(name), register)
    domain, bus, devfn = int(name[:4], 16), int(name[5:7], 16), int(name[8:10], 16) << 3 | int(name[11])
    recording.wire.write(domain, bus, devfn, offset + skip, width or size, value)


def _without_bit(width: int) -> Callable[[Recording, str], None]:
    """Clear bit 5 alone by a write of that width; a dword takes Device Status 2 along, which is reserved."""

    def happen(recording: Recording, port: str) -> None:
        held = recording.machine.peek(port, _DEVCTL2) & ~exp.DEVCTL2_ARI
        _write(recording, port, _DEVCTL2, held & (1 << 8 * width) - 1, width=width)

    return happen


def _unseen(recording: Recording, port: str) -> None:
    recording.machine.clear(port, _DEVCTL2, exp.DEVCTL2_ARI)


def _zeroed(recording: Recording, port: str) -> None:
    _write(recording, port, _DEVCTL2, 0)


def _setpci(recording: Recording, port: str) -> None:
    recording.setpci(port, _DEVCTL2, 0, mask=exp.DEVCTL2_ARI)


def _stale(recording: Recording, port: str) -> None:
    recording.restore(port, stale=True)


def _numbers_cleared(recording: Recording, port: str) -> None:
    _write(recording, port, _BUS_NUMBERS, 0, width=2)
    _write(recording, port, _BUS_NUMBERS, 0, width=1, skip=2)


def _numbers_moved(recording: Recording, _port: str) -> None:
    """Firmware numbers every bus anew, and higher: no register but the bus numbers changes."""
    machine = recording.machine
    for bridge in machine.everything():
        if bridge.is_bridge:
            primary, secondary, subordinate = bridge.config.data[0x18:0x1B]
            moved = (primary and primary + _MOVED, secondary + _MOVED, subordinate + _MOVED)
            bridge.config.data[0x18:0x1B] = bytes(moved)
    machine.rerouted()


def _hierarchy(recording: Recording, port: str) -> None:
    """ARI Capable Hierarchy of the lowest physical function."""
    children = recording.machine.function(port).children or {}
    physical = next(child.name for child in children.values() if child.sriov is not None)
    recording.machine.clear(physical, _SRIOV_CONTROL, _ARI_HIERARCHY)


def _bus_reset(recording: Recording, bridge: str) -> None:
    control = recording.machine.peek(bridge, _BRIDGE_CONTROL)
    _write(recording, bridge, _BRIDGE_CONTROL, control | _SBR)
    _write(recording, bridge, _BRIDGE_CONTROL, control & ~_SBR)


def _bus_reset_above(recording: Recording, port: str) -> None:
    _bus_reset(recording, recording.machine.above(port)[0])


def _bus_reset_of_root_port(recording: Recording, port: str) -> None:
    _bus_reset(recording, recording.machine.above(port)[-1])


def _switch_reset(recording: Recording, port: str) -> None:
    recording.machine.conventional_reset(recording.machine.above(port)[0])


def _link_lost_above(recording: Recording, port: str) -> None:
    """The link above the switch: its upstream port's parent sees it go down."""
    recording.machine.surprise_down(recording.machine.above(port)[1])


def _switch_power(recording: Recording, port: str) -> None:
    upstream, above = recording.machine.above(port)[:2]
    recording.machine.link_drop(above)
    recording.machine.power_cycle(upstream)


def _function_reset(recording: Recording, port: str) -> None:
    machine = recording.machine
    first = min((machine.function(port).children or {}).values(), key=lambda child: child.devfn)
    _write(recording, first.name, _DEVCTL, machine.peek(first.name, _DEVCTL) | _FLR)


def _link_disable(recording: Recording, port: str) -> None:
    held = recording.machine.peek(port, _LNKCTL)
    _write(recording, port, _LNKCTL, held | exp.LNKCTL_LINK_DISABLE)
    _write(recording, port, _LNKCTL, held & ~exp.LNKCTL_LINK_DISABLE)


def _device_power(recording: Recording, port: str) -> None:
    machine = recording.machine
    machine.link_drop(port)
    for child in (machine.function(port).children or {}).values():
        machine.power_cycle(child.name)


def _power_state(recording: Recording, port: str) -> None:
    _write(recording, port, _PMCSR, _D3)
    _write(recording, port, _PMCSR, 0)


def _root_port_reset(recording: Recording, port: str) -> None:
    recording.machine.conventional_reset((recording.machine.above(port) or [port])[-1])


def _platform_reset(recording: Recording, _port: str) -> None:
    """Everything is reset, and firmware that the recorder does not see numbers the buses as it did before."""
    recording.machine.reset()
    recording.wire.muted = True
    recording.firmware()
    recording.wire.muted = False


FAULTS = (
    Fault("nothing", "none", lambda _recording, _port: None),
    Fault("bit 5 cleared by a byte write", "bit", _without_bit(1)),
    Fault("bit 5 cleared by a word write", "bit", _without_bit(2)),
    Fault("bit 5 cleared by a dword write", "bit", _without_bit(4)),
    Fault("bit 5 cleared, and no recorded write", "bit", _unseen),
    Fault("bit 5 cleared by setpci before the kexec", "bit", _setpci, running=True),
    Fault("state saved before ARI was on is restored before the kexec", "bit", _stale, running=True),
    Fault("Device Control 2 written as 0", "bit", _zeroed),
    Fault("ARI Capable Hierarchy cleared", "below", _hierarchy, needs="sriov"),
    Fault("function level reset of function 0", "below", _function_reset),
    Fault("secondary bus reset by the port itself", "below", _bus_reset),
    Fault("link of the port disabled and trained again", "below", _link_disable),
    Fault("power cycle of the device", "below", _device_power),
    Fault("secondary bus reset by the bridge above", "port", _bus_reset_above, needs="switch"),
    Fault("secondary bus reset by the root port above", "port", _bus_reset_of_root_port, needs="switch"),
    Fault("hot reset of the switch", "port", _switch_reset, needs="switch"),
    Fault("link above the switch lost and trained again", "port", _link_lost_above, needs="switch"),
    Fault("power cycle of the switch", "port", _switch_power, needs="switch"),
    Fault("D3hot and back without No_Soft_Reset", "port", _power_state),
    Fault("D3hot and back of a port without them", "port", _power_state, beside=True),
    Fault("reset of the root port itself", "port", _root_port_reset),
    Fault("platform reset, firmware enumerates as before", "port", _platform_reset),
    Fault("bus numbers of the port cleared", "numbers", _numbers_cleared),
    Fault("firmware gives every bus another number", "numbers", _numbers_moved),
)
