"""Faults inside a port that show in no trace: knobs that only the lab's own QEMU has (docs/lab-build.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from analyzer.lab.topologies import GuestTopology

#: What a scenario calls a fault -> the property of the port.
KNOBS = {"lose-ari": "x-lab-lose-ari", "reset": "x-lab-reset", "reset-below": "x-lab-reset-below"}
_PORTS = ("pcie-root-port", "x3130-upstream", "xio3130-downstream")


@dataclass(frozen=True)
class PortFault:
    """One turn of a knob: ``device`` is QEMU's id of the port at ``bdf``."""

    bdf: str
    device: str
    knob: str

    def __str__(self) -> str:
        return f"{self.bdf} {self.knob} set, with no write"

    @property
    def arguments(self) -> dict[str, object]:
        """Arguments of QMP's ``qom-set``."""
        return {"path": f"/machine/peripheral/{self.device}", "property": self.knob, "value": True}


def fault_of(topology: GuestTopology, bdf: str, fault: str) -> PortFault:
    """Return the fault that a scenario names.

    Raises:
        UsageError: no such fault, or no port there.
    """
    if fault not in KNOBS:
        raise UsageError(f"unknown fault {fault!r}", advice=f"known: {', '.join(KNOBS)}")
    device = topology.device(bdf)
    if device.model not in _PORTS:
        raise UsageError(f"{bdf} is a {device.model}: only ports have the fault {fault!r}")
    return PortFault(bdf, device.name, KNOBS[fault])
