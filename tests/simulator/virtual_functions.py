"""Virtual functions of simulated physical functions: where they answer, and with what (PCIe 9.3).

The Routing ID of VF n is the physical function's plus First VF Offset plus (n-1) times VF Stride, a 16-bit
sum that may carry into the bus number; those on other buses are reached by Type 1 requests, so the device
captures them without any ARI Forwarding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas import extended_capabilities as ext
from schemas import pcie_capability as exp
from simulator import register_blocks as blocks
from simulator.config_space import ConfigSpace
from simulator.functions import Function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.register_blocks import Sriov


def refresh(function: Function) -> None:
    """Bring First VF Offset in line with ARI Capable Hierarchy; VF Enable may have changed too.

    The bit is that of the device's lowest physical function, and holds for all of them (PCIe 9.3.3.3.5).
    """
    at = function.extended.get(ext.SRIOV_ID)
    if at is None or function.sriov is None:
        return
    if not function.config.get(at + ext.SRIOV_CTRL, 2) & ext.SRIOV_CTRL_VFE:
        function.virtual.clear()
    siblings = [function] if function.parent is None else (function.parent.children or {}).values()
    physical = [one for one in siblings if one.sriov is not None and ext.SRIOV_ID in one.extended]
    lowest = min(physical, key=lambda one: one.devfn)
    control = lowest.config.get(lowest.extended[ext.SRIOV_ID] + ext.SRIOV_CTRL, 2)
    for one in physical:
        if one.sriov is not None:
            offset = first_offset(one.sriov, control)
            one.config.put(one.extended[ext.SRIOV_ID] + ext.SRIOV_VF_OFFSET, 2, offset)


def first_offset(sriov: Sriov, control: int) -> int:
    """First VF Offset under a value of the lowest physical function's SR-IOV control register."""
    if sriov.offset_without_ari is None or control & ext.SRIOV_CTRL_ARI:
        return sriov.offset
    return sriov.offset_without_ari


def virtual_function(bridge: Function, bus: int, devfn: int) -> Function | None:
    """The virtual function of that Routing ID below ``bridge``, if it is enabled."""
    for physical, at, number in _owners(bridge, bus, devfn):
        enabled = physical.config.get(at + ext.SRIOV_CTRL, 2) & ext.SRIOV_CTRL_VFE
        if enabled and number < physical.config.get(at + ext.SRIOV_NUM_VF, 2):
            if number not in physical.virtual:
                physical.virtual[number] = _made(physical, number)
            return physical.virtual[number]
    return None


def is_disabled(bridge: Function, bus: int, devfn: int) -> bool:
    """The Routing ID is that of a virtual function which exists but is not enabled."""
    return any(
        number < physical.config.get(at + ext.SRIOV_TOTAL_VF, 2)
        for physical, at, number in _owners(bridge, bus, devfn)
    )


def _owners(bridge: Function, bus: int, devfn: int) -> Iterator[tuple[Function, int, int]]:
    """Physical functions below ``bridge`` that count this Routing ID: function, SR-IOV offset, VF from 0."""
    secondary = bridge.config.data[0x19]
    for function in (bridge.children or {}).values():
        at = function.extended.get(ext.SRIOV_ID)
        if at is None or function.sriov is None or not function.present or function.dead:
            continue
        first = (secondary << 8 | function.devfn) + function.config.get(at + ext.SRIOV_VF_OFFSET, 2)
        stride = function.config.get(at + ext.SRIOV_VF_STRIDE, 2)
        distance = (bus << 8 | devfn) - first
        number, rest = divmod(distance, stride) if stride else (distance, distance)
        if rest == 0 and number >= 0:
            yield function, at, number


def _made(physical: Function, number: int) -> Function:
    """The registers of one virtual function; its IDs and BARs read as the specification fixes them."""
    config = ConfigSpace()
    identity = physical.config.get(0, 4)
    blocks.header(config, 0xFFFFFFFF, physical.config.get(8, 4), 0)
    config.define(0x2C, 4, identity & 0xFFFF | 0x11000000)
    standard = {blocks.MSIX: 0x70, blocks.PCIE: 0xA0}
    blocks.standard(config, standard, blocks.Port(exp.TYPE_ENDPOINT), msix=0x01)
    extended = {blocks.ARI: 0x100}
    blocks.extended(config, extended, blocks.Port(exp.TYPE_ENDPOINT))
    blocks.ari(config, 0x100, 0)
    config.freeze()
    made = Function("endpoint", config, standard, extended)
    made.name, made.parent = f"{physical.name} VF {number}", physical.parent
    return made
