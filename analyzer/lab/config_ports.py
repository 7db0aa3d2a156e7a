"""Config writes from outside the guest: through the ports 0xcf8 and 0xcfc, with QEMU's monitor.

As firmware or a BMC would do it, while the guest is stopped. Registers are named as setpci names them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from analyzer.errors import UsageError
from analyzer.lab.topologies import EXPRESS_CAPABILITY, GuestTopology

ADDRESS_PORT, DATA_PORT = 0xCF8, 0xCFC
_WIDTHS = {"b": 1, "w": 2, "l": 4}
_NAMES = {
    "COMMAND": 0x04,
    "PRIMARY_BUS": 0x18,
    "SECONDARY_BUS": 0x19,
    "SUBORDINATE_BUS": 0x1A,
    "BRIDGE_CONTROL": 0x3E,
}
_REGISTER = re.compile(
    r"(?:(?P<name>[A-Z_]+)(?:\+(?P<plus>[0-9a-f]+))?|(?P<number>[0-9a-f]+))\.(?P<width>[bwl])"
)


@dataclass(frozen=True)
class ConfigWrite:
    """One write: ``offset`` in config space, ``width`` in bytes."""

    bdf: str
    offset: int
    width: int
    value: int

    def __str__(self) -> str:
        return f"{self.bdf} {self.offset:#x} width {self.width} <- {self.value:#x}"


def write_of(topology: GuestTopology, bdf: str, register: str, value: int) -> ConfigWrite:
    """Return the write that a scenario names.

    Args:
        topology: knows which model sits at ``bdf``, and so where its PCI Express capability is.
        bdf: the function.
        register: ``3e.w``, ``BRIDGE_CONTROL.w``, ``CAP_EXP+28.w``; widths b, w, l as in setpci.
        value: what to write.

    Raises:
        UsageError: no such register, or a value or address that does not fit.
    """
    match = _REGISTER.fullmatch(register)
    if match is None:
        raise UsageError(f"expected a register such as CAP_EXP+28.w or 3e.w, found {register!r}")
    device = topology.device(bdf)
    width = _WIDTHS[match["width"]]
    if match["number"]:
        offset = int(match["number"], 16)
    elif match["name"] == "CAP_EXP":
        if device.model not in EXPRESS_CAPABILITY:
            raise UsageError(f"where {device.model} has its PCI Express capability is not known")
        offset = EXPRESS_CAPABILITY[device.model] + int(match["plus"] or "0", 16)
    elif match["name"] in _NAMES:
        offset = _NAMES[match["name"]] + int(match["plus"] or "0", 16)
    else:
        raise UsageError(f"unknown register {match['name']!r}", advice=f"known: CAP_EXP, {', '.join(_NAMES)}")
    if offset % width or offset + width > 0x100:
        raise UsageError(
            f"{register} of {bdf} is at {offset:#x}: not aligned, or beyond what the ports reach"
        )
    if not 0 <= value < 1 << 8 * width:
        raise UsageError(f"{value:#x} does not fit into the {width} bytes of {register}")
    return ConfigWrite(bdf, offset, width, value)


def monitor_commands(write: ConfigWrite) -> list[str]:
    """Return the monitor commands that do the write; they leave the address latch changed."""
    return [
        select_command(address(write)),
        f"o/{write.width} {DATA_PORT + write.offset % 4:#x} {write.value:#x}",
    ]


def select_command(latch: int) -> str:
    """Return the monitor command that puts ``latch`` into the address port."""
    return f"o/4 {ADDRESS_PORT:#x} {latch:#x}"


def address(write: ConfigWrite) -> int:
    """Return what the address port must hold for the write."""
    domain, bus, rest = write.bdf.split(":")
    if int(domain, 16):
        raise UsageError(f"the ports reach domain 0 only, not {write.bdf}")
    slot, function = rest.split(".")
    devfn = int(slot, 16) << 3 | int(function)
    return 0x80000000 | int(bus, 16) << 16 | devfn << 8 | write.offset & 0xFC
