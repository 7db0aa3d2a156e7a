"""What resets, link drops and power events do to the registers of simulated functions.

Sources: PCI Express 6.6.1 (conventional reset), 6.6.2 (FLR), 7.5.3.16 (LTR Enable clears on DL_Down); QEMU
10.0 hw/pci-bridge (rp_reset_hold, xio3130_downstream_reset) for the resets of its port models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import register_blocks as blocks
from simulator.virtual_functions import refresh

if TYPE_CHECKING:
    from simulator.functions import Function
    from simulator.machine import Machine

_WINDOWS_AND_NUMBERS = ((0x18, 3), (0x1C, 2), (0x20, 0x10), (0x30, 4), (0x3E, 2))


def reset_function(machine: Machine, function: Function, *, power: bool = False) -> None:
    """Reset one function's registers; sticky bits only with ``power``."""
    function.config.reset(power=power)
    refresh(function)
    machine.rerouted()


def reset_below(machine: Machine, bridge: Function, *, power: bool = False) -> None:
    """Conventional reset of everything behind a bridge."""
    for function in machine.below(bridge):
        function.config.reset(power=power)
        refresh(function)
    machine.rerouted()


def conventional_reset(machine: Machine, function: Function) -> None:
    """Hot reset of a function from above, and of everything below it."""
    reset_function(machine, function)
    reset_below(machine, function)


def power_cycle(machine: Machine, function: Function) -> None:
    """Loss of main and auxiliary power of a function and of everything below it."""
    reset_function(machine, function, power=True)
    reset_below(machine, function, power=True)


def function_level_reset(machine: Machine, function: Function) -> None:
    """FLR: the function's own registers, sticky ones aside; link and other functions are not touched."""
    reset_function(machine, function)


def qemu_port_reset(machine: Machine, port: Function) -> None:
    """Device reset of a QEMU port: bit 5 of DEVCTL2, bus numbers, windows, Bridge Control, DEVCTL 3:0.

    A root port also loses ACS Control, RTCTL and the AER root command. Command, Extended Tag, payload size
    and LNKCTL stay.
    """
    config, at = port.config, port.pcie
    config.restore(_WINDOWS_AND_NUMBERS)
    if at is not None:
        config.put(at + exp.DEVCTL, 2, config.get(at + exp.DEVCTL, 2) & ~0xF)
        config.put(at + exp.DEVCTL2, 2, config.get(at + exp.DEVCTL2, 2) & ~exp.DEVCTL2_ARI)
        if port.kind == "root-port":
            config.restore([(at + exp.RTCTL, 2)])
    if port.kind == "root-port":
        for identity, offset, size in (
            (blocks.ACS, ext.ACS_CTRL, 2),
            (blocks.AER, ext.AER_ROOT_COMMAND, 4),
        ):
            if identity in port.extended:
                config.restore([(port.extended[identity] + offset, size)])
    reset_below(machine, port)


def link_down(machine: Machine, port: Function) -> None:
    """The link below a port goes down: LTR Enable clears, the slot notes it, the other end is reset."""
    config, at = port.config, port.pcie
    port.link_up = False
    if at is not None:
        config.put(at + exp.DEVCTL2, 2, config.get(at + exp.DEVCTL2, 2) & ~exp.DEVCTL2_LTR)
        config.put(at + exp.LNKSTA, 2, config.get(at + exp.LNKSTA, 2) & ~exp.LNKSTA_DLLLA)
        config.put(at + exp.SLTSTA, 2, config.get(at + exp.SLTSTA, 2) | exp.SLTSTA_DLL_CHANGED)
    reset_below(machine, port)


def link_up(machine: Machine, port: Function) -> None:
    """The link below a port comes up again."""
    config, at = port.config, port.pcie
    port.link_up = True
    if at is not None and config.get(at + exp.LNKCAP, 4) & exp.LNKCAP_DLLLARC:
        config.put(at + exp.LNKSTA, 2, config.get(at + exp.LNKSTA, 2) | exp.LNKSTA_DLLLA)
    machine.rerouted()
