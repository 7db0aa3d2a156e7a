"""Faults from outside the guest: how scenarios name them, how they are made, and whether they took place.

A fault is a config write through the ports 0xcf8 and 0xcfc, as firmware or a BMC would make it (from 0x100
on, and on Arm, in memory-mapped config space), or a property that ports have in the lab's own QEMU only and
that no trace shows (docs/lab-build.md). The guest is stopped meanwhile. Registers are named as setpci names
them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer import bdf as addresses
from analyzer.errors import UsageError
from analyzer.lab.topologies import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from analyzer.lab.topologies import GuestTopology


ADDRESS_PORT, DATA_PORT = 0xCF8, 0xCFC
_WIDTHS = {"b": 1, "w": 2, "l": 4}
_LETTERS = {width: letter for letter, width in _WIDTHS.items()}
_NAMES = {
    "COMMAND": 0x04,
    "PRIMARY_BUS": 0x18,
    "SECONDARY_BUS": 0x19,
    "SUBORDINATE_BUS": 0x1A,
    "BRIDGE_CONTROL": 0x3E,
    **{f"BASE_ADDRESS_{number}": 0x10 + 4 * number for number in range(6)},
}
_PORTS_REACH, _CONFIG_SPACE = 0x100, 0x1000
#: What a scenario calls a fault of a port, and the property that is set.
PORT_PROPERTIES = {"lose-ari": "x-lab-lose-ari", "reset": "x-lab-reset", "reset-below": "x-lab-reset-below"}
_PORTS = ("pcie-root-port", "x3130-upstream", "xio3130-downstream")
_REGISTER = re.compile(
    r"(?:(?P<name>[A-Z_]+(?:_[0-5])?)(?:\+(?P<plus>[0-9a-f]+))?|(?P<number>[0-9a-f]+))\.(?P<width>[bwl])"
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
        topology: knows which model sits at ``bdf``, and so where its capabilities are.
        bdf: the function.
        register: ``3e.w``, ``BRIDGE_CONTROL.w``, ``CAP_EXP+28.w``, ``ECAP_ACS+06.w``; widths b, w, l as in
            setpci.
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
    elif match["name"].startswith(("CAP_", "ECAP_")):
        places = CAPABILITIES.get(device.model, {})
        if match["name"] not in places:
            raise UsageError(
                f"the place of {match['name']} of {device.model} is not known",
                advice=f"known: {', '.join(places) or 'none'}; a number as in 3e.w is always taken",
            )
        offset = places[match["name"]] + int(match["plus"] or "0", 16)
    elif match["name"] in _NAMES:
        offset = _NAMES[match["name"]] + int(match["plus"] or "0", 16)
    else:
        raise UsageError(
            f"unknown register {match['name']!r}",
            advice=f"known: {', '.join(_NAMES)}, CAP_EXP and other capabilities",
        )
    if offset % width or offset + width > _CONFIG_SPACE:
        raise UsageError(f"{register} of {bdf} is at {offset:#x}: not aligned, or outside of config space")
    if not 0 <= value < 1 << 8 * width:
        raise UsageError(f"{value:#x} does not fit into the {width} bytes of {register}")
    return ConfigWrite(bdf, offset, width, value)


def within_ports(write: ConfigWrite) -> bool:
    """Whether the ports 0xcf8 and 0xcfc reach the register."""
    return write.offset + write.width <= _PORTS_REACH


def monitor_commands(write: ConfigWrite) -> list[str]:
    """Return the monitor commands that do the write; they change the address latch."""
    return [
        select_command(address(write)),
        f"o/{write.width} {DATA_PORT + write.offset % 4:#x} {write.value:#x}",
    ]


def bus_command(write: ConfigWrite, ecam: int) -> str:
    """Return the command of QEMU's test protocol that does the write in memory-mapped config space.

    Args:
        write: what to write.
        ecam: physical address of bus 0 (PCIe 7.2.2: 4 KiB for each function).
    """
    place = ecam + (addresses.parse(write.bdf) << 12) + write.offset
    return f"write{_LETTERS[write.width]} {place:#x} {write.value:#x}"


def select_command(latch: int) -> str:
    """Return the monitor command that puts ``latch`` into the address port."""
    return f"o/4 {ADDRESS_PORT:#x} {latch:#x}"


def address(write: ConfigWrite) -> int:
    """Return what the address port must hold for the write."""
    function = addresses.parse(write.bdf)
    if function >> 16:
        raise UsageError(f"the ports reach domain 0 only, not {write.bdf}")
    return 0x80000000 | function << 8 | write.offset & 0xFC


@dataclass(frozen=True)
class PortFault:
    """A property of a port that is set: ``device`` is QEMU's id of the port at ``bdf``."""

    bdf: str
    device: str
    name: str

    def __str__(self) -> str:
        return f"{self.bdf} {self.name} set, with no write"

    @property
    def arguments(self) -> dict[str, object]:
        """Arguments of QMP's ``qom-set``."""
        return {"path": f"/machine/peripheral/{self.device}", "property": self.name, "value": True}


def fault_of(topology: GuestTopology, bdf: str, fault: str) -> PortFault:
    """Return the fault that a scenario names.

    Raises:
        UsageError: no such fault, or no port there.
    """
    if fault not in PORT_PROPERTIES:
        raise UsageError(f"unknown fault {fault!r}", advice=f"known: {', '.join(PORT_PROPERTIES)}")
    device = topology.device(bdf)
    if device.model not in _PORTS:
        raise UsageError(f"{bdf} is a {device.model}: only ports have the fault {fault!r}")
    return PortFault(bdf, device.name, PORT_PROPERTIES[fault])


@dataclass(frozen=True)
class Blackout:
    """Faults that were made while the guest was stopped; times in wall-clock ns, as in QEMU's trace."""

    stopped_ns: int
    resumed_ns: int
    faults: tuple[ConfigWrite | PortFault, ...]

    @property
    def writes(self) -> tuple[ConfigWrite, ...]:
        """Those of the faults that a capture must show."""
        return tuple(fault for fault in self.faults if isinstance(fault, ConfigWrite))


def doubts(accesses: pl.DataFrame, blackouts: Sequence[Blackout]) -> list[str]:
    """Compare the faults with what the capture recorded.

    Args:
        accesses: the capture's table (:data:`analyzer.capture.accesses.SCHEMA`).
        blackouts: what was done.

    Returns:
        a sentence for each fault that the capture does not show: while the guest was stopped there must be
        these writes and no other access, and the first read of each register must return the last value that
        was written to it.
    """
    found = []
    for number, blackout in enumerate(blackouts):
        found += [f"blackout {number}: {text}" for text in _doubts(accesses, blackout)]
    return found


def _doubts(accesses: pl.DataFrame, blackout: Blackout) -> list[str]:
    import polars as pl

    # QEMU's times have microseconds only.
    times = pl.col("time_ns").is_between(blackout.stopped_ns // 1000 * 1000, blackout.resumed_ns)
    inside = accesses.filter(times)
    wanted = [("write", *_place(write), write.value) for write in blackout.writes]
    seen = list(inside.select("op", "bus", "devfn", "offset", "value").iter_rows())
    if seen != wanted:
        meant = ", ".join(map(str, blackout.writes)) or "none"
        return [f"expected these writes only while the guest was stopped: {meant}; found {seen!r}"]
    if not wanted:
        return []
    later = accesses.filter(pl.col("seq") > inside["seq"].max())
    last = {(write.bdf, write.offset): write for write in blackout.writes}
    return [text for write in last.values() if (text := _other_value_read(later, write)) is not None]


def _other_value_read(later: pl.DataFrame, write: ConfigWrite) -> str | None:
    import polars as pl

    bus, devfn, offset = _place(write)
    rows = later.filter((pl.col("bus") == bus) & (pl.col("devfn") == devfn) & (pl.col("offset") == offset))
    if rows.is_empty() or rows["op"][0] == "write":
        return None  # it was not read before it was written again
    value = rows["value"][0] & (1 << 8 * write.width) - 1
    if value == write.value:
        return None
    return f"{write.bdf} register {offset:#x}: wrote {write.value:#x}, the next kernel read {value:#x}"


def _place(write: ConfigWrite) -> tuple[int, int, int]:
    function = addresses.parse(write.bdf)
    return function >> 8 & 0xFF, function & 0xFF, write.offset
