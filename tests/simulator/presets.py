"""Machines that many tests want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator import register_blocks as blocks
from simulator.functions import (
    QEMU,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    root_port,
    upstream_port,
)
from simulator.machine import Machine
from simulator.register_blocks import Sriov

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.functions import Function, Model, Place


def chipset() -> dict[Place, Function]:
    """The functions of a q35 machine that have no bus below: host bridge, LPC, AHCI, SMBus."""
    return {
        "00.0": host_bridge(),
        "1f.0": conventional(multifunction=True),
        "1f.2": conventional(
            0x29228086,
            0x01060102,
            multifunction=True,
            capabilities={blocks.MSI: 0x80, 0x12: 0xA8},
            bars={4: (0x20, 1), 5: (0x1000, 0)},
            interrupt_pin=1,
        ),
        "1f.3": conventional(
            0x29308086, 0x0C050002, multifunction=True, bars={4: (0x40, 1)}, interrupt_pin=1
        ),
    }


def lab_topology(*, gates_ari: bool = False) -> Machine:
    """The machine that the project's real captures were taken on.

    ::

        00:03.0 root port - 01:00.0 upstream - 02:00.0 downstream - 03: functions 0, 1, 8, 9, 16
                                             - 02:01.0 downstream - 04:00.0 SR-IOV physical function
        00:04.0 root port - 05: functions 0, 8
        00:05.0 root port - 06:00.0
    """
    sriov = endpoint(ari=0, sriov=Sriov(total=14, offset=1, stride=1))
    switch = upstream_port(
        {
            "00.0": downstream_port(ari_device(0, 1, 8, 9, 16), slot=2),
            "01.0": downstream_port({"00.0": sriov}, slot=3),
        }
    )
    ports: dict[Place, Function] = {
        "03.0": root_port({"00.0": switch}, slot=1),
        "04.0": root_port(ari_device(0, 8), slot=4),
        "05.0": root_port({"00.0": endpoint(ari=0)}, slot=5),
    }
    return Machine({(0, 0): {**chipset(), **ports}}, gates_ari=gates_ari)


def one_port(
    device: Mapping[Place, Function] | None = None, *, model: Model = QEMU, gates_ari: bool = True
) -> Machine:
    """A root port 00:01.0 with one device on bus 01; besides only the host bridge and an LPC bridge."""
    below = ari_device(0, 1, 8, 9, model=model) if device is None else device
    return Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port(below, model=model),
                "1f.0": conventional(),
            }
        },
        gates_ari=gates_ari,
    )


def one_switch(*devices: Mapping[Place, Function], model: Model = QEMU, gates_ari: bool = True) -> Machine:
    """A root port 00:01.0, a switch 01:00.0, and a device below each of its downstream ports.

    The ports are 02:00.0, 02:01.0, ...; buses below them are numbered from 03 as they come.
    """
    ports: dict[Place, Function] = {
        number << 3: downstream_port(device, model=model) for number, device in enumerate(devices)
    }
    return Machine(
        {
            (0, 0): {
                "00.0": host_bridge(),
                "01.0": root_port({"00.0": upstream_port(ports, model=model)}, model=model),
                "1f.0": conventional(),
            }
        },
        gates_ari=gates_ari,
    )
